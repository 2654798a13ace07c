# Models: files that were opened, and what was compiled from them.

"""
    NativeTorch.Model

A model read by [`load`](@ref). It never changes, may be called from any thread, and prints as a table of its layers.
"""
mutable struct Model
    handle::Ptr{Cvoid}
    # What the handle needs as long as it lives: bytes, a stream.
    source::Any
    path::String
    functions::Dict{Tuple{Vector{Int},Bool,String,String},CompiledFunction}
    lock::ReentrantLock

    function Model(handle::Ptr{Cvoid}, source, path::String)
        model = new(handle, source, path, Dict{Tuple{Vector{Int},Bool,String,String},CompiledFunction}(), ReentrantLock())
        finalizer(_free, model)
        return model
    end
end

Model(handle::Ptr{Cvoid}, path::String) = Model(handle, nothing, path)

Base.unsafe_convert(::Type{Ptr{Cvoid}}, model::Model) = model.handle

function _free(model::Model)
    _model_destroy(model.handle)
    model.handle = C_NULL
    return
end

"""
    NativeTorch.load(path) -> Model
    NativeTorch.load(bytes::Vector{UInt8}) -> Model
    NativeTorch.load(io::IO) -> Model

Read a model that `torch.save(model, path)`, with any version of torch, or `torch.export.save(program, path)` wrote: a file,
bytes in memory, or what a stream holds from where it stands to its end. Nothing that the file names is called. Numbers are read when they are needed, so a file,
the bytes and the stream must not be changed or closed while the model lives. Layers that are not supported do not fail
here: the model prints them with the reason. What a file holds that is no model, [`load_value`](@ref) gives.

Throws [`IOError`](@ref) if the file cannot be read, [`FormatError`](@ref) if it is damaged, [`UnsupportedError`](@ref) if
it is of another kind, [`LibraryError`](@ref) if there is no `libnative_torch`.
"""
function load(source::Union{AbstractString,AbstractVector{UInt8},IO})
    _require_library()
    kept = _source(source)
    return Model(_model_open(kept), kept, _origin(kept))
end

"""
    NativeTorch.layers(m::Model)

The modules of the model, each in front of those in it: a vector of `(path, class, description, kind, parameters, reason)`.
`kind` is `:sequential`, `:standard`, `:custom` or `:unsupported`, or `:program` for the only entry of a program of
`torch.export`; `reason` says why the module keeps the model from being evaluated, and is empty where it does not.
"""
layers(m::Model) = _model_modules(m)

"""
    NativeTorch.input_size(m::Model)

The size of the input that the model asks for by itself, `nothing` standing for one that the caller chooses: `[nothing, 64]`
where it begins with a Linear layer of 64 features.

Throws [`InvalidArgumentError`](@ref) where its first layers do not fix the size.
"""
input_size(m::Model) = _model_input_shape(m)

"""
    NativeTorch.verify(m::Model)

Check the CRC-32 of every record of the file, and throw [`FormatError`](@ref) if one is damaged. Without this a record is
checked when its numbers are first used.
"""
verify(m::Model) = _model_verify(m)

"""
    NativeTorch.inputs(m::Model)

What the model takes, in torch's order: a vector of `(name, integer, size)`. `integer` says whether it holds integers,
which are given to [`compile`](@ref). `size` is `nothing` where the model's first layers do not fix it, and has `nothing`
for a dimension that the caller chooses.
"""
inputs(m::Model) = _model_inputs(m)

const _Size = Union{Tuple{Vararg{Integer}},AbstractVector{<:Integer}}
const _SeveralSizes = Union{Tuple{_Size,Vararg{_Size}},AbstractVector{<:_Size}}

"""
    NativeTorch.compile(m::Model, size; dtype = Float64, integers = nothing, backend = "native", device = nothing)
    NativeTorch.compile(m::Model, sizes; dtype = Float64, integers = nothing, backend = "native", device = nothing)
    NativeTorch.compile(m::Model; dtype = Float64, backend = "native", device = nothing)

The model for inputs of this size (a tuple or vector, torch's shape, the batch included), computed in `Float64` or
`Float32`. Without a size it is the model's own, with a batch of one. What was compiled is kept: a second call gives the
same object.

A model of several [`inputs`](@ref) takes a size for each, as `((5, 3), (5, 4))`. The point `x` is then all of them flat
in torch's order, one after the other.

A model that begins with an Embedding takes `integers`: rows of the table, flat in torch's order and, as torch's, counted
from 0. They are no part of `x` and stay as they are in the function, which is not kept: other integers are another call.

With `backend = "libtorch"` libtorch computes, on the `device` `"cpu"`, `"cuda"` or `"cuda:1"`, or on that of
[`set_torch_device!`](@ref): see [`libtorch`](@ref). A program of `torch.jit.save` or `torch.export`
runs there whatever its operations.

Throws [`InvalidArgumentError`](@ref) if the size does not fit the model, if there are more or fewer inputs or integers
than expected, or for an integer that is no row of the table; [`UnsupportedError`](@ref) for a layer that is custom or not
supported.

# Example
```julia
f = NativeTorch.compile(NativeTorch.load("embedding.pt"), (2, 3); integers = [3, 3, 0, 1, 4, 0])
```
"""
function compile(m::Model, size::_Size; dtype::Type = Float64, integers = nothing, engine...)
    engine = _engine(; engine...)
    integers === nothing || return _compile_given(m, (size,), integers, dtype, engine)
    _check_sizes((size,))
    key = (Int[n for n in size], _is_single(dtype), engine...)
    return lock(m.lock) do
        get!(m.functions, key) do
            CompiledFunction(_function_compile(m, Csize_t.(key[1]), key[2], engine...), key[2])
        end
    end
end

function compile(m::Model, sizes::_SeveralSizes; dtype::Type = Float64, integers = nothing, engine...)
    return _compile_given(m, sizes, integers === nothing ? Int64[] : integers, dtype, _engine(; engine...))
end

function compile(m::Model; dtype::Type = Float64, engine...)
    single, engine = _is_single(dtype), _engine(; engine...)
    f = CompiledFunction(_function_compile(m, nothing, single, engine...), single)
    length(f.inputs) == 1 || return f
    key = (Int[n for n in f.inputs[1].size], single, engine...)
    return lock(() -> get!(m.functions, key, f), m.lock)
end

function _compile_given(m::Model, sizes, integers, dtype::Type, engine)
    single = _is_single(dtype)
    given = _with_inputs(m, sizes, integers)
    try
        return CompiledFunction(_function_compile(given, nothing, single, engine...), single)
    finally
        finalize(given)
    end
end

# The model for inputs of these sizes, and these integers.
function _with_inputs(m::Model, sizes, integers)
    _check_sizes(sizes)
    if !(integers isa AbstractVector{<:Integer})
        throw(InvalidArgumentError("integers is a $(typeof(integers)); give a vector of them, flat in torch's order"))
    end
    ranks = Csize_t[length(size) for size in sizes]
    flat = Csize_t[n for size in sizes for n in size]
    return Model(_model_with_inputs(m, ranks, flat, Int64[i for i in integers]), m, m.path)
end

function _check_sizes(sizes)
    for size in sizes
        any(n -> n < 0, size) && throw(InvalidArgumentError("the input cannot have the size $size"))
    end
    return
end

# Whether this is single precision; an error if it is neither single nor double.
function _is_single(dtype::Type)
    if dtype !== Float64 && dtype !== Float32
        throw(InvalidArgumentError("cannot compute in $dtype; dtype is Float64 or Float32"))
    end
    return dtype === Float32
end
