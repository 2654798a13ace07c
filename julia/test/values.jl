# Files from every source, and what they hold whose root is no module.

module Values

using Test
import ..N, ..fixture_path, ..refuses, ..Json

# A value as `test/models/values.py` describes it; numbers beyond doubles are text there.
described(::Nothing) = Dict("kind" => "None")
described(v::Bool) = Dict("kind" => "bool", "value" => v)
described(v::Integer) = Dict("kind" => "int", "value" => number(v))
described(v::Float64) = Dict("kind" => "float", "value" => number(v))
described(v::String) = Dict("kind" => "str", "value" => v)
described(v::Vector{UInt8}) = Dict("kind" => "bytes", "value" => Int.(v))
described(v::Symbol) = Dict("kind" => "class", "value" => String(v))
described(v::N.Model) = Dict("kind" => "module", "class" => first(N.layers(v)).class)
described(v::N.Sequence) = Dict("kind" => String(v.kind), "elements" => Any[described(w) for w in v])
described(v::N.Entries) = Dict("kind" => "dict", "entries" => Any[Any[described(k), described(w)] for (k, w) in v])
function described(t::N.Tensor)
    found = Dict{String,Any}("kind" => "tensor", "layout" => String(t.kind), "dtype" => t.dtype)
    found["shape"] = t.kind === :nested ? nothing : collect(size(t))
    if isempty(t.reason)
        array = Array(t)
        flat = ndims(array) == 0 ? vec(array) : vec(permutedims(array, ndims(array):-1:1))
        found["values"] = Any[v isa Complex ? Any[number(real(v)), number(imag(v))] : number(v) for v in flat]
    end
    return found
end

number(v::Bool) = v
number(v::Integer) = abs(big(v)) > big(2)^53 ? string(v) : Int(v)
number(v::AbstractFloat) = isfinite(v) ? Float64(v) : isnan(v) ? "nan" : v > 0 ? "inf" : "-inf"

same(a::AbstractDict, b::AbstractDict) = all(haskey(b, k) && same(v, b[k]) for (k, v) in a)
same(a::AbstractVector, b::AbstractVector) = length(a) == length(b) && all(same.(a, b))
same(a, b) = a == b

sources(path) = (path, read(path), open(path), IOBuffer(read(path)))

@testset "Values: $(case["file"])" for case in Json.read_file(fixture_path("values", "index.json"))
    for source in sources(fixture_path("values", case["file"]))
        @test same(case["root"], described(N.load_value(source)))
    end
end

@testset "Models from bytes and streams" begin
    for name in ("legacy", "tar_views", "big_endian", "zip_protocol_0")
        path = fixture_path("files", name * ".pt")
        y = N.load(path)(ones(3))
        for source in sources(path)
            m = N.load(source)
            GC.gc()
            @test m(ones(3)) == y
        end
        # A stream is read from where it stands.
        io = IOBuffer([UInt8[1, 2, 3]; read(path)])
        seek(io, 3)
        @test N.load(io)(ones(3)) == y
    end
    bytes = read(fixture_path("files", "legacy.pt"))
    @test refuses(() -> N.load(bytes[1:end-1]), N.FormatError, "truncated")
    @test refuses(() -> N.load(IOBuffer(bytes[1:end-1])), N.FormatError, "truncated")
    @test refuses(() -> N.load(UInt8[]), N.FormatError, "empty")
    closed = open(fixture_path("files", "legacy.pt"))
    m = N.load(closed)
    close(closed)
    VERSION >= v"1.9" && @test refuses(() -> m(ones(3)), N.IOError, "reader")
end

@testset "Containers and tensors" begin
    root = N.load_value(fixture_path("values", "with_module.pt"))
    @test collect(keys(root)) == ["epoch", "model", "lr"] && root["epoch"] == 3 && root["lr"] == [0.1, 0.01]
    @test root["model"](ones(2)) isa Vector{Float64}
    @test refuses(() -> root["loss"], KeyError)
    keyed = N.load_value(fixture_path("values", "keys.pt"))
    @test keyed[7] == 2 && keyed[-big(2)^70] == 3 && keyed[nothing] == 5 && keyed["ä\n€"] == 12
    rows = N.tensors(fixture_path("values", "views.pt"))
    @test first(rows).name == "base" && length(unique(row.storage for row in rows if row.name in ("base", "part", "steps"))) == 1
    unusable = N.load_value(fixture_path("values", "unusable.pt"))
    @test refuses(() -> Array(unusable["csr"]), N.UnsupportedError, "sparse")
    @test eltype(N.load_value(fixture_path("values", "dtypes.pt"))["uint16"]) == UInt16
end

end # module
