# The tutorials of docs/tutorials, each run as it stands.

using JuMP
import HiGHS
import Ipopt

tutorials() = filter(endswith(".md"), readdir(joinpath(ROOT, "docs", "tutorials"); join = true))

# The Julia program of a tutorial: its blocks one after another.
program(path) = join((block[1] for block in eachmatch(r"```julia\n(.*?)```"s, read(path, String))), "\n")

@testset "Tutorial $(basename(path))" for path in tutorials()
    place = Module(Symbol(basename(path)))
    Core.eval(place, :(using Base))
    Core.eval(place, :(const EXAMPLES = $(joinpath(ROOT, "docs", "examples"))))
    Core.eval(place, :(const TUTORIALS = $(joinpath(ROOT, "docs", "tutorials"))))
    text = program(path)
    @test !isempty(text)
    include_string(place, text, path)
    @test true
end
