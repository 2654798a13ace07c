# All tests of the Julia package:
#
#     julia --project=julia julia/test/runtests.jl
#
# The binding is tested on Julia 1.5 too, where its files are included. The last line counts: `N passed, M failed, K skipped`.

include("julia15.jl")
include("support.jl")

const SKIPPED = String[]

# Runs the tests of one file.
suite(name) = @testset Counted "$name" begin
    include("$name.jl")
end

suite("binding")
suite("library")
suite("threads")

foreach(name -> println("skipped: ", name), SKIPPED)
println(COUNTS.passed, " passed, ", COUNTS.failed, " failed, ", length(SKIPPED), " skipped")
exit(COUNTS.failed == 0 ? 0 : 1)
