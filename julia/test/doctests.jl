# The examples in docstrings: every block `jldoctest` is a session whose printed results must be those that stand there.
# With `NATIVE_TORCH_BLESS=1` they are written anew.

using JuMP

# A session as pairs: what was typed, and what stands below it.
function session(block)
    steps = Tuple{String,String}[]
    for part in split(block, r"^julia> "m)[2:end]
        lines = split(part, '\n')
        typed = 1
        while typed < length(lines) && startswith(lines[typed+1], "       ")
            typed += 1
        end
        push!(steps, (join(lines[1:typed], "\n"), strip(join(lines[typed+1:end], "\n"), '\n')))
    end
    return steps
end

# What Julia prints after `typed`.
function printed(place, typed)
    value = include_string(place, typed)
    endswith(rstrip(typed), ';') && return ""
    value === nothing && return ""
    text = sprint(show, MIME("text/plain"), value; context = :module => place)
    return join(rstrip.(split(text, '\n')), "\n")
end

function played(block)
    place = Module(:Doctest)
    Core.eval(place, :(const LAYERS = $(fixture_path("layers"))))
    parts = map(session(block)) do (typed, _)
        output = printed(place, typed)
        return "julia> " * typed * "\n" * (isempty(output) ? "" : output * "\n")
    end
    return join(parts, "\n")
end

const SOURCES = joinpath(ROOT, "julia", "src")
const BLOCK = r"```jldoctest\n(.*?)```"s

@testset "Doctests of $name" for name in filter(endswith(".jl"), readdir(SOURCES))
    path = joinpath(SOURCES, name)
    text = read(path, String)
    # Backslashes and dollars are escaped in docstrings.
    shown(block) = replace(replace(block, "\\\\" => "\\"), "\\\$" => "\$")
    hidden(block) = replace(replace(block, "\\" => "\\\\"), "\$" => "\\\$")
    for block in eachmatch(BLOCK, text)
        found = played(shown(block[1]))
        if get(ENV, "NATIVE_TORCH_BLESS", "") == "1"
            text = replace(text, block[1] => hidden(found))
        else
            @test found == shown(block[1])
        end
    end
    get(ENV, "NATIVE_TORCH_BLESS", "") == "1" && write(path, text)
end
