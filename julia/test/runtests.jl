# All tests of the Julia package:
#
#     julia --project=julia julia/test/runtests.jl
#
# The binding is tested on Julia 1.5 too, where its files are included. The JuMP suite runs where JuMP, HiGHS, Ipopt and
# SCS load. The last line counts: `N passed, M failed, K skipped`.

include("julia15.jl")
include("support.jl")

const SKIPPED = String[]

# Runs the tests of one file.
suite(name) = @testset Counted "$name" begin
    include("$name.jl")
end

suite("binding")
suite("values")
suite("save")
suite("library")
suite("threads")

const HAS_LIBTORCH = try
    NativeTorch.libtorch()
    true
catch error
    error isa NativeTorch.UnsupportedError || rethrow()
    push!(SKIPPED, "libtorch suite (the libtorch backend is not built; `cargo xtask libtorch` builds it)")
    false
end
HAS_LIBTORCH && suite("libtorch")

if VERSION < v"1.10"
    push!(SKIPPED, "JuMP suite (Julia $VERSION is older than 1.10)")
elseif all(package -> Base.find_package(package) !== nothing, ["JuMP", "HiGHS", "Ipopt", "SCS"])
    suite("jump")
    suite("doctests")
    if Base.find_package("MathOptAI") === nothing
        push!(SKIPPED, "MathOptAI suite (MathOptAI does not load)")
    else
        suite("mathoptai")
    end
    suite("tutorials")
    if haskey(ENV, "NATIVE_TORCH_RESNET18")
        suite("resnet18")
    else
        push!(SKIPPED, "resnet18 as a gray box (NATIVE_TORCH_RESNET18 names no file)")
    end
else
    push!(SKIPPED, "JuMP suite (JuMP, HiGHS, Ipopt, SCS do not load)")
end

foreach(name -> println("skipped: ", name), SKIPPED)
println(COUNTS.passed, " passed, ", COUNTS.failed, " failed, ", length(SKIPPED), " skipped")
exit(COUNTS.failed == 0 ? 0 : 1)
