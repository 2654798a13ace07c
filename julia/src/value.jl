# Values: what a file holds, whatever was saved.

"""
    NativeTorch.load_value(path)
    NativeTorch.load_value(bytes::Vector{UInt8})
    NativeTorch.load_value(io::IO)

Read what `torch.save(value, path)` wrote, whatever it is. Python's values become Julia's:

| Python | Julia |
|---|---|
| `None`, bool, float, str, bytes | `nothing`, `Bool`, `Float64`, `String`, `Vector{UInt8}` |
| int | `Int`, or `BigInt` where it is larger |
| list, tuple, set | [`Sequence`](@ref), a vector |
| dict | [`Entries`](@ref), a dictionary in the file's order |
| tensor | [`Tensor`](@ref), of which `Array` gives the numbers |
| module | [`Model`](@ref) |
| class, dtype | `Symbol`, its name |
| any other object | [`Object`](@ref), by its class, with its attributes |

What is in a container is read when it is asked for. Throws as [`load`](@ref) does.
"""
function load_value(source::Union{AbstractString,AbstractVector{UInt8},IO})
    _require_library()
    kept = _source(source)
    return _julia(_Value(_value_open(kept), kept, _origin(kept)))
end

mutable struct _Value
    handle::Ptr{Cvoid}
    source::Any
    path::String

    function _Value(handle::Ptr{Cvoid}, source, path::String)
        value = new(handle, source, path)
        finalizer(_free, value)
        return value
    end
end

Base.unsafe_convert(::Type{Ptr{Cvoid}}, value::_Value) = value.handle

function _free(value::_Value)
    _value_destroy(value.handle)
    value.handle = C_NULL
    return
end

_child(value::_Value, index::Integer) = _julia(_Value(_value_child(value, index), value.source, value.path))
_key(value::_Value, index::Integer) = _julia(_Value(_value_key(value, index), value.source, value.path))

"""
    NativeTorch.Sequence <: AbstractVector

A Python list, tuple or set; `kind` is `:list`, `:tuple` or `:set`.
"""
struct Sequence <: AbstractVector{Any}
    value::_Value
    kind::Symbol
    count::Int
end

Base.size(s::Sequence) = (s.count,)
Base.IndexStyle(::Type{Sequence}) = IndexLinear()
function Base.getindex(s::Sequence, index::Int)
    @boundscheck checkbounds(s, index)
    return _child(s.value, index)
end

"""
    NativeTorch.Entries <: AbstractDict

A Python dict, in the file's order. A key may be anything that [`load_value`](@ref) gives.
"""
struct Entries <: AbstractDict{Any,Any}
    value::_Value
    keys::Vector{Any}
end

Base.length(d::Entries) = length(d.keys)
Base.keys(d::Entries) = d.keys
Base.iterate(d::Entries, i::Int = 1) = i > length(d) ? nothing : (d.keys[i] => _child(d.value, i), i + 1)
function Base.get(d::Entries, key, default)
    # `1`, `1.0` and `true` are one key in Python; of keys that are equal, the last one counts.
    index = findlast(k -> isequal(k, key) || (k isa Number && key isa Number && k == key), d.keys)
    return index === nothing ? default : _child(d.value, index)
end
Base.haskey(d::Entries, key) = get(d, key, d) !== d
function Base.getindex(d::Entries, key)
    value = get(d, key, d)
    value === d && throw(KeyError(key))
    return value
end

"""
    NativeTorch.Object

An object that is no module: `class` is the name of its class, and `attributes` has its attributes by name.
"""
struct Object
    value::_Value
    class::String
end

Base.propertynames(::Object) = (:class, :attributes)
function Base.getproperty(o::Object, name::Symbol)
    name === :attributes || return getfield(o, name)
    value = getfield(o, :value)
    return [key => _child(value, i) for (i, key) in enumerate(_value_keys(value))]
end

"""
    NativeTorch.Tensor

A tensor in a file. `Array(t)` gives its numbers with torch's size, in the Julia type of its `dtype` (floats of 8 and 16 bits
other than `Float16` as `Float32`); `size(t)`, `t.dtype` by torch's name, `t.kind` (`:strided`, or how else it is stored) and
`t.is_parameter` say what it is. One that cannot be used is there all the same; `t.reason` says why, and `Array(t)` throws.
"""
struct Tensor
    value::_Value
    kind::Symbol
    dtype::String
    size::Dims
    is_parameter::Bool
    reason::String
end

Base.size(t::Tensor) = t.size
Base.ndims(t::Tensor) = length(t.size)
Base.length(t::Tensor) = prod(t.size)

# The Julia types of the dtypes; others are read as Float32, which holds them exactly.
const _ELTYPES = Dict{String,DataType}(
    "float64" => Float64, "float32" => Float32, "float16" => Float16, "bool" => Bool,
    "int64" => Int64, "int32" => Int32, "int16" => Int16, "int8" => Int8,
    "uint64" => UInt64, "uint32" => UInt32, "uint16" => UInt16, "uint8" => UInt8,
    "complex128" => ComplexF64, "complex64" => ComplexF32, "complex32" => ComplexF16,
)

Base.eltype(t::Tensor) = get(_ELTYPES, t.dtype, Float32)

function Base.Array(t::Tensor)
    type = eltype(t)
    flat = if !isempty(t.reason)
        throw(UnsupportedError(t.reason))
    elseif type <: Complex
        _complex(type, _value_tensor_values!(zeros(2 * length(t)), t.value, 1))
    elseif type <: Integer
        integers = _value_tensor_integers!(zeros(Int64, length(t)), t.value, 1)
        type === UInt64 ? reinterpret(UInt64, integers) : convert(Vector{type}, integers)
    else
        convert(Vector{type}, _value_tensor_values!(zeros(length(t)), t.value, 1))
    end
    return t.size == () ? fill(flat[1]) : Array(_unflatten(flat, t.size))
end

_complex(type, parts) = type[Complex(parts[i], parts[i+1]) for i in 1:2:length(parts)]

"""
    NativeTorch.tensors(path_or_bytes_or_io)

All tensors of a file in its order, whatever its root is: a vector of `(name, kind, dtype, size, is_parameter, storage,
reason)`. Tensors with the same `storage` share their numbers.
"""
function tensors(source::Union{AbstractString,AbstractVector{UInt8},IO})
    _require_library()
    kept = _source(source)
    return _value_tensors(_Value(_value_open(kept), kept, _origin(kept)))
end

# What a value is in Julia.
function _julia(value::_Value)
    found = _value_describe(value)
    kind = found.kind
    kind === :none && return nothing
    kind === :bool && return found.number != 0
    kind === :int && return _integer(found.data)
    kind === :float && return found.number
    kind === :str && return String(found.data)
    kind === :bytes && return found.data
    kind in (:list, :tuple, :set) && return Sequence(value, kind, found.count)
    kind === :dict && return Entries(value, Any[_key(value, i) for i in 1:found.count])
    kind === :module && return Model(_value_model(value), value.source, value.path)
    kind === :class && return Symbol(String(found.data))
    if kind === :tensor
        row = only(_value_tensors(value))
        return Tensor(value, row.kind, row.dtype, row.size, row.is_parameter, row.reason)
    end
    return Object(value, String(found.data))
end

# The int of these bytes, two's complement, least significant first.
function _integer(bytes::Vector{UInt8})
    value = foldr((byte, rest) -> 256 * rest + byte, bytes; init = big(0))
    isempty(bytes) || bytes[end] < 0x80 || (value -= big(1) << 8length(bytes))
    return typemin(Int) <= value <= typemax(Int) ? Int(value) : value
end

Base.show(io::IO, t::Tensor) = print(io, "NativeTorch.Tensor(", t.kind, ", ", t.dtype, ", ", t.size, ")")
Base.show(io::IO, o::Object) = print(io, "NativeTorch.Object(", o.class, ")")
