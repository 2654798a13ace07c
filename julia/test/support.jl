# What the tests share: the package, counts, fixtures.

using Test

const ROOT = dirname(dirname(@__DIR__))

if VERSION >= v"1.10"
    import NativeTorch
else
    # Preferences, artifacts and extensions came later than this Julia; the binding needs none of them.
    @eval module NativeTorch
    include(joinpath($ROOT, "julia", "src", "binding.jl"))
    end
    let builds = [joinpath(ROOT, "target", profile, "libnative_torch.so") for profile in ("release", "debug")]
        path = get(ENV, "NATIVE_TORCH_LIBRARY", "")
        NativeTorch._open_library(isempty(path) ? builds[findfirst(isfile, builds)] : path)
    end
end

mutable struct Counts
    passed::Int
    failed::Int
end

const COUNTS = Counts(0, 0)

# A test set that counts, prints what fails, and goes on.
struct Counted <: Test.AbstractTestSet
    description::String

    Counted(description; kwargs...) = new(description)
end

Test.record(::Counted, ::Test.Pass) = COUNTS.passed += 1
Test.record(::Counted, ::Counted) = nothing
Test.record(::Counted, result) = (COUNTS.failed += 1; println(result))
Test.finish(set::Counted) = (Test.get_testset_depth() > 0 && Test.record(Test.get_testset(), set); set)

# The type of the exception that `f` throws, and its message.
function thrown(f)
    try
        f()
    catch error
        return typeof(error), sprint(showerror, error)
    end
    return Nothing, ""
end

# Whether `f` throws `type`, with all of the words in its message.
function refuses(f, type, words...)
    found, message = thrown(f)
    good = found == type && all(word -> occursin(word, message), words)
    good || println("found $found: $message")
    return good
end

# max|a - b| relative to the largest magnitude of b, or to 1e-3 where all of b is noise about zero.
function difference(a, b)
    size(a) == size(b) || return Inf
    isempty(b) && return 0.0
    return maximum(abs.(a .- b)) / max(maximum(abs.(b)), 1e-3)
end

# A reader of JSON, for the fixtures.
module Json

read_file(path) = parse_value(read(path, String), 1)[1]

space(s, i) = (while isspace(s[i]); i = nextind(s, i); end; i)

function parse_value(s, i)
    i = space(s, i)
    s[i] == '{' && return parse_object(s, i)
    s[i] == '[' && return parse_list(s, i)
    s[i] == '"' && return parse_string(s, i)
    for (text, value) in ("true" => true, "false" => false, "null" => nothing)
        startswith(SubString(s, i), text) && return value, i + length(text)
    end
    stop = findnext(c -> !(c in "+-.0123456789eE"), s, i)
    return parse(Float64, SubString(s, i, prevind(s, stop))), stop
end

function parse_list(s, i)
    values = Any[]
    i = space(s, i + 1)
    while s[i] != ']'
        value, i = parse_value(s, i)
        push!(values, value)
        i = space(s, i)
        i = s[i] == ',' ? space(s, i + 1) : i
    end
    return values, i + 1
end

function parse_object(s, i)
    values = Dict{String,Any}()
    i = space(s, i + 1)
    while s[i] != '}'
        name, i = parse_string(s, i)
        value, i = parse_value(s, space(s, i) + 1)
        values[name] = value
        i = space(s, i)
        i = s[i] == ',' ? space(s, i + 1) : i
    end
    return values, i + 1
end

function parse_string(s, i)
    io = IOBuffer()
    i = nextind(s, i)
    while s[i] != '"'
        if s[i] == '\\'
            i += 1
            if s[i] == 'u'
                print(io, Char(parse(UInt16, SubString(s, i + 1, i + 4); base = 16)))
                i += 4
            else
                print(io, get(Dict('n' => '\n', 't' => '\t'), s[i], s[i]))
            end
        else
            print(io, s[i])
        end
        i = nextind(s, i)
    end
    return String(take!(io)), i + 1
end

end # module

fixture_path(name...) = joinpath(ROOT, "test", "models", name...)

# A fixture of test/models: its name, the model's path, and what torch computed, flat and row-major.
function fixture(name)
    values = Json.read_file(fixture_path("$name.json"))
    path = joinpath(dirname(fixture_path(name)), values["model"])
    numbers(key) = Float64[value for value in values[key]]
    sizes(key) = Tuple(Int[value for value in values[key]])
    return (
        name = name, path = path, kinks = values["kinks"],
        x = numbers("x"), y = numbers("y"), jacobian = numbers("jacobian"), hessian = numbers("hessian"),
        mu = numbers("mu"), v = numbers("v"), u = numbers("u"),
        jvp = numbers("jvp"), vjp = numbers("vjp"), hvp = numbers("hvp"), y_f32 = numbers("y_f32"),
        input_size = sizes("input_shape"), output_size = sizes("output_shape"),
    )
end

fixtures() = (fixture(name) for name in Json.read_file(fixture_path("index.json")))

# The array of this size whose numbers, row by row, are these.
from_rows(numbers, ::Tuple{}) = fill(only(numbers))
from_rows(numbers, size) = permutedims(reshape(numbers, reverse(size)), length(size):-1:1)
