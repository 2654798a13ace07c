# Every call of libnative_torch, and the structs of its header include/native_torch.h. Nothing else in this package calls
# C. Arguments are converted by `Base.cconvert` and `Base.unsafe_convert`, which keeps what they point to alive.

import Libdl

const _ABI_VERSION = 4

# The addresses of the library's functions, by the names in the header; NULL until the library is loaded. A library that
# is chosen at run time cannot be named in a `ccall`.
mutable struct _Functions
    nt_version::Ptr{Cvoid}
    nt_last_error::Ptr{Cvoid}
    nt_check_panic::Ptr{Cvoid}
    nt_model_open::Ptr{Cvoid}
    nt_model_open_bytes::Ptr{Cvoid}
    nt_model_open_reader::Ptr{Cvoid}
    nt_value_open::Ptr{Cvoid}
    nt_value_open_bytes::Ptr{Cvoid}
    nt_value_open_reader::Ptr{Cvoid}
    nt_value_destroy::Ptr{Cvoid}
    nt_value_describe::Ptr{Cvoid}
    nt_value_children::Ptr{Cvoid}
    nt_value_child::Ptr{Cvoid}
    nt_value_key::Ptr{Cvoid}
    nt_value_model::Ptr{Cvoid}
    nt_value_tensors::Ptr{Cvoid}
    nt_value_tensor_values::Ptr{Cvoid}
    nt_value_tensor_integers::Ptr{Cvoid}
    nt_value_verify::Ptr{Cvoid}
    nt_model_destroy::Ptr{Cvoid}
    nt_model_submodule::Ptr{Cvoid}
    nt_model_layer::Ptr{Cvoid}
    nt_model_chain::Ptr{Cvoid}
    nt_model_tensors::Ptr{Cvoid}
    nt_model_tensor_values::Ptr{Cvoid}
    nt_model_attributes::Ptr{Cvoid}
    nt_model_modules::Ptr{Cvoid}
    nt_model_input_shape::Ptr{Cvoid}
    nt_model_inputs::Ptr{Cvoid}
    nt_model_with_inputs::Ptr{Cvoid}
    nt_model_verify::Ptr{Cvoid}
    nt_model_write::Ptr{Cvoid}
    nt_function_compile_for::Ptr{Cvoid}
    nt_function_parameters::Ptr{Cvoid}
    nt_function_parameter_gradient::Ptr{Cvoid}
    nt_libtorch_open::Ptr{Cvoid}
    nt_function_destroy::Ptr{Cvoid}
    nt_function_signature::Ptr{Cvoid}
    nt_function_jacobian_pattern::Ptr{Cvoid}
    nt_function_hessian_pattern::Ptr{Cvoid}
    nt_workspace_create::Ptr{Cvoid}
    nt_workspace_destroy::Ptr{Cvoid}
    nt_workspace_set_threads::Ptr{Cvoid}
    nt_function_value::Ptr{Cvoid}
    nt_function_jacobian::Ptr{Cvoid}
    nt_function_jvp::Ptr{Cvoid}
    nt_function_vjp::Ptr{Cvoid}
    nt_function_hessian::Ptr{Cvoid}
    nt_function_hvp::Ptr{Cvoid}
    nt_function_bounds::Ptr{Cvoid}
    nt_bounds_create::Ptr{Cvoid}
    nt_bounds_destroy::Ptr{Cvoid}
    nt_bounds_tables::Ptr{Cvoid}
    nt_formulation_create::Ptr{Cvoid}
    nt_formulation_create_bounded::Ptr{Cvoid}
    nt_formulation_destroy::Ptr{Cvoid}
    nt_formulation_tables::Ptr{Cvoid}
    nt_formulation_write::Ptr{Cvoid}

    _Functions() = new((C_NULL for _ in fieldnames(_Functions))...)
end

const _NT = _Functions()

# What was tried, where no library was found.
const _TRIED = Ref("nothing")

function _require_library()
    _NT.nt_version == C_NULL || return
    throw(LibraryError("libnative_torch was not found. Tried:\n$(_TRIED[])\n" *
                       "Build it with `cargo build --release -p native-torch-capi` in the checkout, or set the " *
                       "environment variable NATIVE_TORCH_LIBRARY, or the preference `libnative_torch`, to its path, and " *
                       "start Julia again."))
end

"""
    _open_library(path::String)

Load the library at `path`, check its version, and look up its functions. Throws [`LibraryError`](@ref).
"""
function _open_library(path::String)
    library = Libdl.dlopen(path; throw_error = false)
    if library === nothing
        reason = ispath(path) ? "it cannot be loaded: $(_dlerror(path))" : "there is no such file"
        throw(LibraryError("$path: $reason"))
    end
    version = Libdl.dlsym(library, :nt_abi_version; throw_error = false)
    if version === nothing
        throw(LibraryError("$path: it is no libnative_torch: it has no function nt_abi_version"))
    end
    found = ccall(version, UInt32, ())
    if found != _ABI_VERSION
        throw(LibraryError("$path: it has ABI version $found, but this NativeTorch.jl needs $_ABI_VERSION; build both " *
                           "from the same checkout"))
    end
    for name in fieldnames(_Functions)
        address = Libdl.dlsym(library, name; throw_error = false)
        if address === nothing
            throw(LibraryError("$path: it has no function $name; build it from the checkout of this package"))
        end
        setfield!(_NT, name, address)
    end
    return
end

function _dlerror(path::String)
    try
        Libdl.dlopen(path)
    catch error
        return sprint(showerror, error)
    end
    return "it could not be loaded a moment ago"
end

# Calls a function of the library that returns a status, `@_call nt_name(argument::Type, ...)`, and throws what it reports.
# The garbage collector may run in other threads meanwhile: between the two calls into Julia's runtime nothing is touched
# that it could move or free, as every argument is converted before, and preserved.
macro _call(call)
    name = call.args[1]::Symbol
    arguments = call.args[2:end]
    types = [esc(argument.args[2]) for argument in arguments]
    roots = [gensym("root") for _ in arguments]
    values = [gensym("value") for _ in arguments]
    root(i) = :($(roots[i]) = Base.cconvert($(types[i]), $(esc(arguments[i].args[1]))))
    value(i) = :($(values[i]) = Base.unsafe_convert($(types[i]), $(roots[i])))
    return quote
        address = _NT.$name
        $(map(root, eachindex(roots))...)
        status = GC.@preserve $(roots...) begin
            $(map(value, eachindex(values))...)
            state = ccall(:jl_gc_safe_enter, Int8, ())
            result = ccall(address, Cint, ($(types...),), $(values...))
            ccall(:jl_gc_safe_leave, Cvoid, (Int8,), state)
            result
        end
        _check(status)
    end
end

@inline function _check(status::Cint)
    status == 0 || _throw(status)
    return
end

@noinline function _throw(status::Cint)
    message = unsafe_string(ccall(_NT.nt_last_error, Cstring, ()))
    status == 1 && throw(InvalidArgumentError(message))
    status == 2 && throw(IOError(message))
    status == 3 && throw(FormatError(message))
    status == 4 && throw(UnsupportedError(message))
    status == 5 && throw(SolverError(message))
    throw(InternalError(message))
end

# Structs of the header, and what they become.

struct _Slice
    data::Ptr{Cdouble}
    len::Csize_t
end

# Memory that can be lent to the library as it is.
const _Numbers = Union{
    DenseArray{Float64},
    SubArray{Float64,1,<:DenseArray{Float64},<:Tuple{AbstractUnitRange{Int}},true},
}

Base.cconvert(::Type{_Slice}, x::_Numbers) = x
Base.unsafe_convert(::Type{_Slice}, x::_Numbers) = _Slice(pointer(x), length(x))

# NULL: none is given.
Base.cconvert(::Type{_Slice}, ::Nothing) = _Slice(C_NULL, 0)

struct _Shape
    data::Ptr{Csize_t}
    len::Csize_t
end

Base.cconvert(::Type{_Shape}, x::Vector{Csize_t}) = x
Base.unsafe_convert(::Type{_Shape}, x::Vector{Csize_t}) = _Shape(pointer(x), length(x))
# NULL: the model's own shape.
Base.cconvert(::Type{_Shape}, ::Nothing) = _Shape(C_NULL, 0)

struct _Bytes
    data::Ptr{UInt8}
    len::Csize_t
end

Base.cconvert(::Type{_Bytes}, x::Vector{UInt8}) = x
Base.unsafe_convert(::Type{_Bytes}, x::Vector{UInt8}) = _Bytes(pointer(x), length(x))

struct _Integers
    data::Ptr{Int64}
    len::Csize_t
end

Base.cconvert(::Type{_Integers}, x::Vector{Int64}) = x
Base.unsafe_convert(::Type{_Integers}, x::Vector{Int64}) = _Integers(pointer(x), length(x))

struct _Models
    data::Ptr{Ptr{Cvoid}}
    len::Csize_t
end

Base.cconvert(::Type{_Models}, x::Vector{Ptr{Cvoid}}) = x
Base.unsafe_convert(::Type{_Models}, x::Vector{Ptr{Cvoid}}) = _Models(pointer(x), length(x))

struct _Strings
    text::Ptr{UInt8}
    offsets::Ptr{Csize_t}
end

struct _Modules
    count::Csize_t
    kinds::Ptr{UInt32}
    paths::_Strings
    classes::_Strings
    descriptions::_Strings
    reasons::_Strings
    parameters::Ptr{Csize_t}
end

struct _Description
    kind::UInt32
    number::Cdouble
    data::Ptr{UInt8}
    length::Csize_t
    count::Csize_t
end

# The kinds of values in the order of the header's constants.
const _KINDS = (:none, :bool, :int, :float, :str, :bytes, :list, :tuple, :set, :dict, :tensor, :module, :object, :class, :storage)

struct _Children
    count::Csize_t
    kinds::Ptr{UInt32}
    key_kinds::Ptr{UInt32}
    keys::_Strings
end

struct _Tensors
    count::Csize_t
    names::_Strings
    kinds::_Strings
    dtypes::_Strings
    reasons::_Strings
    is_parameter::Ptr{UInt8}
    storages::Ptr{Csize_t}
    shape_starts::Ptr{Csize_t}
    sizes::Ptr{Csize_t}
end

struct _Inputs
    count::Csize_t
    names::_Strings
    is_integer::Ptr{UInt8}
    has_shape::Ptr{UInt8}
    shape_starts::Ptr{Csize_t}
    sizes::Ptr{Csize_t}
end

struct _Attributes
    count::Csize_t
    names::_Strings
    kinds::_Strings
    values::_Strings
    numbers::Ptr{Cdouble}
end

struct _Sizes
    rank::Csize_t
    sizes::Ptr{Csize_t}
end

struct _Values
    count::Csize_t
    names::_Strings
    shape_starts::Ptr{Csize_t}
    sizes::Ptr{Csize_t}
end

struct _Signature
    n::Csize_t
    m::Csize_t
    dtype::UInt32
    inputs::_Values
    outputs::_Values
end

struct _Pattern
    count::Csize_t
    rows::Ptr{Csize_t}
    columns::Ptr{Csize_t}
end

struct _Variables
    count::Csize_t
    lower::Ptr{Cdouble}
    upper::Ptr{Cdouble}
    domains::Ptr{UInt8}
    start::Ptr{Cdouble}
    blocks::Ptr{UInt32}
    indices::Ptr{UInt32}
end

struct _Blocks
    count::Csize_t
    names::_Strings
    layers::Ptr{UInt32}
end

struct _Rows
    count::Csize_t
    starts::Ptr{Csize_t}
    variables::Ptr{UInt32}
    coefficients::Ptr{Cdouble}
    lower::Ptr{Cdouble}
    upper::Ptr{Cdouble}
    layers::Ptr{UInt32}
end

struct _Lists
    count::Csize_t
    starts::Ptr{Csize_t}
    variables::Ptr{UInt32}
    weights::Ptr{Cdouble}
    layers::Ptr{UInt32}
end

struct _Indicators
    binaries::Ptr{UInt32}
    active::Ptr{UInt8}
    rows::_Rows
end

struct _QuadraticRows
    rows::_Rows
    starts::Ptr{Csize_t}
    first::Ptr{UInt32}
    second::Ptr{UInt32}
    coefficients::Ptr{Cdouble}
end

struct _AffineFunctions
    count::Csize_t
    starts::Ptr{Csize_t}
    variables::Ptr{UInt32}
    coefficients::Ptr{Cdouble}
    constants::Ptr{Cdouble}
end

struct _Cones
    count::Csize_t
    kinds::Ptr{UInt8}
    starts::Ptr{Csize_t}
    members::_AffineFunctions
    layers::Ptr{UInt32}
end

struct _Complementarities
    count::Csize_t
    first::Ptr{UInt32}
    second::Ptr{UInt32}
    layers::Ptr{UInt32}
end

struct _Tapes
    count::Csize_t
    starts::Ptr{Csize_t}
    codes::Ptr{UInt8}
    arguments::Ptr{UInt32}
    constant_count::Csize_t
    constants::Ptr{Cdouble}
    layers::Ptr{UInt32}
end

struct _Definitions
    variables::Ptr{UInt32}
    relations::Ptr{UInt8}
    tapes::_Tapes
end

struct _Tables
    variables::_Variables
    blocks::_Blocks
    rows::_Rows
    sos1::_Lists
    indicators::_Indicators
    quadratic::_QuadraticRows
    cones::_Cones
    complementarities::_Complementarities
    definitions::_Definitions
    expressions::_Tapes
    input_count::Csize_t
    inputs::Ptr{UInt32}
    output_count::Csize_t
    outputs::Ptr{UInt32}
    output_expressions::Ptr{UInt32}
    output_lower::Ptr{Cdouble}
    output_upper::Ptr{Cdouble}
    layer_count::Csize_t
    layers::_Strings
end

struct _BoundsOptions
    threads::Csize_t
    time_limit::Cdouble
    solver::Cstring
    row_starts::_Shape
    row_elements::_Shape
    row_coefficients::_Slice
    row_lower::_Slice
    row_upper::_Slice
    progress::Ptr{Cvoid}
    solve::Ptr{Cvoid}
    data::Ptr{Cvoid}
end

struct _BoundsTables
    count::Csize_t
    names::_Strings
    operations::_Strings
    shape_starts::Ptr{Csize_t}
    sizes::Ptr{Csize_t}
    starts::Ptr{Csize_t}
    lower::Ptr{Cdouble}
    upper::Ptr{Cdouble}
    output_count::Csize_t
    outputs::Ptr{Csize_t}
    solved::Csize_t
    timed_out::Csize_t
    failed::Csize_t
    cancelled::UInt8
    failure::Cstring
end

# A copy of `count` entries of a table, as `T`.
_copy(::Type{T}, data::Ptr, count::Integer) where {T} = T[unsafe_load(data, i) for i in 1:count]

function _copy(strings::_Strings, count::Integer)
    offsets = _copy(Int, strings.offsets, count + 1)
    return [unsafe_string(strings.text + offsets[i], offsets[i+1] - offsets[i] - 1) for i in 1:count]
end

# Models.

function _model_open(source)
    function by_path(path)
        out = Ref{Ptr{Cvoid}}(C_NULL)
        @_call nt_model_open(path::Cstring, out::Ptr{Ptr{Cvoid}})
        return out[]
    end
    function by_bytes(bytes)
        out = Ref{Ptr{Cvoid}}(C_NULL)
        @_call nt_model_open_bytes(bytes::_Bytes, C_NULL::Ptr{Cvoid}, C_NULL::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}})
        return out[]
    end
    function by_reader(table)
        out = Ref{Ptr{Cvoid}}(C_NULL)
        @_call nt_model_open_reader(Ref(table)::Ptr{_CReader}, out::Ptr{Ptr{Cvoid}})
        return out[]
    end
    return _open(source, by_path, by_bytes, by_reader)
end

# A model of the module that a value is.
function _value_model(value)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_value_model(value::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}})
    return out[]
end

_model_destroy(model::Ptr{Cvoid}) = ccall(_NT.nt_model_destroy, Cint, (Ptr{Cvoid},), model)

function _model_submodule(model, path::String)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_model_submodule(model::Ptr{Cvoid}, path::Cstring, out::Ptr{Ptr{Cvoid}})
    return out[]
end

# A layer of its attributes, as Python writes them; `nothing` for a parameter that is not there. Numbers are row-major.
function _model_layer(kind::String, attributes::String, weight_shape, weight, bias_shape, bias)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_model_layer(
        kind::Cstring,
        attributes::Cstring,
        weight_shape::_Shape,
        weight::_Slice,
        bias_shape::_Shape,
        bias::_Slice,
        out::Ptr{Ptr{Cvoid}},
    )
    return out[]
end

# Models one after another, each with the path by which errors and formulations name it.
function _model_chain(models::Vector, paths::Vector{String})
    out = Ref{Ptr{Cvoid}}(C_NULL)
    GC.@preserve models begin
        handles = Ptr{Cvoid}[Base.unsafe_convert(Ptr{Cvoid}, model) for model in models]
        text = join(paths, "\n")
        @_call nt_model_chain(handles::_Models, text::Cstring, out::Ptr{Ptr{Cvoid}})
    end
    return out[]
end

# The names and sizes of parameters and buffers, and why one is not supported.
function _model_tensors(model)
    GC.@preserve model begin
        out = Ref{_Tensors}()
        @_call nt_model_tensors(model::Ptr{Cvoid}, out::Ptr{_Tensors})
        table = out[]
        count = Int(table.count)
        names, reasons = _copy(table.names, count), _copy(table.reasons, count)
        starts = _copy(Int, table.shape_starts, count + 1)
        sizes = _copy(Int, table.sizes, starts[end])
    end
    return [(name = names[i], size = Tuple(sizes[starts[i]+1:starts[i+1]]), reason = reasons[i]) for i in 1:count]
end

# The numbers of the tensor at this place of `_model_tensors`, from 1.
function _model_tensor_values(model, index::Integer, values)
    return @_call nt_model_tensor_values(model::Ptr{Cvoid}, (index - 1)::Csize_t, values::_Slice)
end

# The attributes of the model's own module: what each is in Python's words, as text, and as a number if it is one.
function _model_attributes(model)
    GC.@preserve model begin
        out = Ref{_Attributes}()
        @_call nt_model_attributes(model::Ptr{Cvoid}, out::Ptr{_Attributes})
        table = out[]
        count = Int(table.count)
        names, kinds, values = _copy(table.names, count), _copy(table.kinds, count), _copy(table.values, count)
        numbers = _copy(Float64, table.numbers, count)
    end
    return [(name = names[i], kind = kinds[i], value = values[i], number = numbers[i]) for i in 1:count]
end

# The modules in the file's order, each in front of those in it.
function _model_modules(model)
    GC.@preserve model begin
        out = Ref{_Modules}()
        @_call nt_model_modules(model::Ptr{Cvoid}, out::Ptr{_Modules})
        table = out[]
        count = Int(table.count)
        kinds = _copy(Int, table.kinds, count)
        paths, classes = _copy(table.paths, count), _copy(table.classes, count)
        descriptions, reasons = _copy(table.descriptions, count), _copy(table.reasons, count)
        parameters = _copy(Int, table.parameters, count)
    end
    return [(
        path = paths[i],
        class = classes[i],
        description = descriptions[i],
        kind = (:sequential, :standard, :custom, :unsupported, :program)[kinds[i]+1],
        parameters = parameters[i],
        reason = reasons[i],
    ) for i in 1:count]
end

# The sizes of the input; `nothing` for one that the caller chooses.
function _model_input_shape(model)
    GC.@preserve model begin
        out = Ref{_Sizes}()
        @_call nt_model_input_shape(model::Ptr{Cvoid}, out::Ptr{_Sizes})
        sizes = _copy(Csize_t, out[].sizes, out[].rank)
    end
    return _chosen(sizes)
end

# Sizes, `nothing` for one that the caller chooses.
_chosen(sizes) = Union{Int,Nothing}[size == typemax(Csize_t) ? nothing : Int(size) for size in sizes]

function _model_inputs(model)
    GC.@preserve model begin
        out = Ref{_Inputs}()
        @_call nt_model_inputs(model::Ptr{Cvoid}, out::Ptr{_Inputs})
        table = out[]
        count = Int(table.count)
        names = _copy(table.names, count)
        integer, known = _copy(Bool, table.is_integer, count), _copy(Bool, table.has_shape, count)
        starts = _copy(Int, table.shape_starts, count + 1)
        sizes = _copy(Csize_t, table.sizes, starts[end])
    end
    size(i) = known[i] ? _chosen(sizes[starts[i]+1:starts[i+1]]) : nothing
    return [(name = names[i], integer = integer[i], size = size(i)) for i in 1:count]
end

function _model_with_inputs(model, ranks, sizes, integers)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_model_with_inputs(
        model::Ptr{Cvoid},
        ranks::_Shape,
        sizes::_Shape,
        integers::_Integers,
        out::Ptr{Ptr{Cvoid}},
    )
    return out[]
end

_model_verify(model) = @_call nt_model_verify(model::Ptr{Cvoid})

function _model_write(model, path, format, dtype, ranks, sizes)
    return @_call nt_model_write(
        model::Ptr{Cvoid},
        path::Cstring,
        format::Cstring,
        dtype::Cstring,
        ranks::_Shape,
        sizes::_Shape,
    )
end

# Values.

function _value_open(source)
    function by_path(path)
        out = Ref{Ptr{Cvoid}}(C_NULL)
        @_call nt_value_open(path::Cstring, out::Ptr{Ptr{Cvoid}})
        return out[]
    end
    function by_bytes(bytes)
        out = Ref{Ptr{Cvoid}}(C_NULL)
        @_call nt_value_open_bytes(bytes::_Bytes, C_NULL::Ptr{Cvoid}, C_NULL::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}})
        return out[]
    end
    function by_reader(table)
        out = Ref{Ptr{Cvoid}}(C_NULL)
        @_call nt_value_open_reader(Ref(table)::Ptr{_CReader}, out::Ptr{Ptr{Cvoid}})
        return out[]
    end
    return _open(source, by_path, by_bytes, by_reader)
end

_value_destroy(value::Ptr{Cvoid}) = ccall(_NT.nt_value_destroy, Cint, (Ptr{Cvoid},), value)

function _value_describe(value)
    GC.@preserve value begin
        out = Ref{_Description}()
        @_call nt_value_describe(value::Ptr{Cvoid}, out::Ptr{_Description})
        found = out[]
        return (kind = _KINDS[found.kind+1], number = found.number, data = _copy(UInt8, found.data, found.length),
                count = Int(found.count))
    end
end

# The keys of the values in a value: texts as they are, others as Python prints them.
function _value_keys(value)
    GC.@preserve value begin
        out = Ref{_Children}()
        @_call nt_value_children(value::Ptr{Cvoid}, out::Ptr{_Children})
        return _copy(out[].keys, Int(out[].count))
    end
end

function _value_child(value, index::Integer)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_value_child(value::Ptr{Cvoid}, (index - 1)::Csize_t, out::Ptr{Ptr{Cvoid}})
    return out[]
end

function _value_key(value, index::Integer)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_value_key(value::Ptr{Cvoid}, (index - 1)::Csize_t, out::Ptr{Ptr{Cvoid}})
    return out[]
end

# The tensors in a value, in the file's order.
function _value_tensors(value)
    GC.@preserve value begin
        out = Ref{_Tensors}()
        @_call nt_value_tensors(value::Ptr{Cvoid}, out::Ptr{_Tensors})
        table = out[]
        count = Int(table.count)
        names, kinds, dtypes, reasons = (_copy(list, count) for list in (table.names, table.kinds, table.dtypes, table.reasons))
        starts = _copy(Int, table.shape_starts, count + 1)
        sizes = _copy(Int, table.sizes, starts[end])
        is_parameter, storages = _copy(Bool, Ptr{Bool}(table.is_parameter), count), _copy(UInt, table.storages, count)
    end
    return [(
        name = names[i],
        kind = Symbol(kinds[i]),
        dtype = dtypes[i],
        size = Tuple(sizes[starts[i]+1:starts[i+1]]),
        is_parameter = is_parameter[i],
        storage = storages[i],
        reason = reasons[i],
    ) for i in 1:count]
end

function _value_tensor_values!(values::Vector{Float64}, value, index::Integer)
    @_call nt_value_tensor_values(value::Ptr{Cvoid}, (index - 1)::Csize_t, values::_Slice)
    return values
end

function _value_tensor_integers!(values::Vector{Int64}, value, index::Integer)
    @_call nt_value_tensor_integers(value::Ptr{Cvoid}, (index - 1)::Csize_t, values::_Integers)
    return values
end

_value_verify(value) = @_call nt_value_verify(value::Ptr{Cvoid})

# Functions and workspaces.

function _function_compile(model, shape, dtype::Integer, backend::String, device::String)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_function_compile_for(
        model::Ptr{Cvoid}, shape::_Shape, dtype::UInt32, backend::Cstring, device::Cstring, out::Ptr{Ptr{Cvoid}})
    return out[]
end

struct _Libtorch
    version::Cstring
    path::Cstring
    cuda_devices::Csize_t
end

# Opens the backend's library, that of `path` or, for `nothing`, the one that the library finds by itself.
function _libtorch_open(path::Union{Nothing,String})
    out = Ref{_Libtorch}()
    @_call nt_libtorch_open(something(path, Cstring(C_NULL))::Cstring, out::Ptr{_Libtorch})
    return (version = unsafe_string(out[].version), path = unsafe_string(out[].path), cuda_devices = Int(out[].cuda_devices))
end

function _function_parameters(f)
    out = Ref{_Values}()
    GC.@preserve f begin
        @_call nt_function_parameters(f::Ptr{Cvoid}, out::Ptr{_Values})
        return _copy(out[])
    end
end

function _function_parameter_gradient(f, workspace, x, u, out)
    @_call nt_function_parameter_gradient(f::Ptr{Cvoid}, workspace::Ptr{Cvoid}, x::_Slice, u::_Slice, out::_Slice)
    return out
end

_function_destroy(f::Ptr{Cvoid}) = ccall(_NT.nt_function_destroy, Cint, (Ptr{Cvoid},), f)

"""
The name and size of an input or output.
"""
struct Signature
    name::String
    size::Tuple{Vararg{Int}}
end

function _copy(values::_Values)
    count = Int(values.count)
    names = _copy(values.names, count)
    starts = _copy(Int, values.shape_starts, count + 1)
    sizes = _copy(Int, values.sizes, starts[end])
    return [Signature(names[i], Tuple(sizes[starts[i]+1:starts[i+1]])) for i in 1:count]
end

function _function_signature(f::Ptr{Cvoid})
    out = Ref{_Signature}()
    @_call nt_function_signature(f::Ptr{Cvoid}, out::Ptr{_Signature})
    signature = out[]
    return Int(signature.n), Int(signature.m), _copy(signature.inputs), _copy(signature.outputs)
end

# Rows and columns of a pattern, from 1.
function _copy(pattern::_Pattern)
    return _copy(Int, pattern.rows, pattern.count) .+ 1, _copy(Int, pattern.columns, pattern.count) .+ 1
end

function _function_jacobian_pattern(f)
    out = Ref{_Pattern}()
    GC.@preserve f begin
        @_call nt_function_jacobian_pattern(f::Ptr{Cvoid}, out::Ptr{_Pattern})
        return _copy(out[])
    end
end

function _function_hessian_pattern(f)
    out = Ref{_Pattern}()
    GC.@preserve f begin
        @_call nt_function_hessian_pattern(f::Ptr{Cvoid}, out::Ptr{_Pattern})
        return _copy(out[])
    end
end

function _workspace_create(f)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_workspace_create(f::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}})
    return out[]
end

function _workspace_set_threads(workspace, threads::Integer)
    return @_call nt_workspace_set_threads(workspace::Ptr{Cvoid}, threads::Csize_t)
end

_workspace_destroy(workspace::Ptr{Cvoid}) = ccall(_NT.nt_workspace_destroy, Cint, (Ptr{Cvoid},), workspace)

# Evaluation. K points stand one after another in every array; the library checks the lengths.

const _COLUMN_MAJOR = UInt32(1)
const _PATTERN = UInt32(2)

function _function_value(f, workspace, x, y)
    return @_call nt_function_value(f::Ptr{Cvoid}, workspace::Ptr{Cvoid}, x::_Slice, y::_Slice)
end

function _function_jacobian(f, workspace, x, order::UInt32, values)
    return @_call nt_function_jacobian(f::Ptr{Cvoid}, workspace::Ptr{Cvoid}, x::_Slice, order::UInt32, values::_Slice)
end

function _function_jvp(f, workspace, x, v, out)
    return @_call nt_function_jvp(f::Ptr{Cvoid}, workspace::Ptr{Cvoid}, x::_Slice, v::_Slice, out::_Slice)
end

function _function_vjp(f, workspace, x, u, out)
    return @_call nt_function_vjp(f::Ptr{Cvoid}, workspace::Ptr{Cvoid}, x::_Slice, u::_Slice, out::_Slice)
end

function _function_hessian(f, workspace, x, mu, order::UInt32, values)
    return @_call nt_function_hessian(
        f::Ptr{Cvoid},
        workspace::Ptr{Cvoid},
        x::_Slice,
        mu::_Slice,
        order::UInt32,
        values::_Slice,
    )
end

function _function_hvp(f, workspace, x, mu, v, out)
    return @_call nt_function_hvp(
        f::Ptr{Cvoid},
        workspace::Ptr{Cvoid},
        x::_Slice,
        mu::_Slice,
        v::_Slice,
        out::_Slice,
    )
end

# Formulations.

function _function_bounds(f, lower, upper, y_lower, y_upper)
    return @_call nt_function_bounds(
        f::Ptr{Cvoid},
        lower::_Slice,
        upper::_Slice,
        y_lower::_Slice,
        y_upper::_Slice,
    )
end

# `options` are choices of forms, as the header describes them.
function _formulation_create(model, shape, lower, upper, start, options::String)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_formulation_create(
        model::Ptr{Cvoid},
        shape::_Shape,
        lower::_Slice,
        upper::_Slice,
        start::_Slice,
        options::Cstring,
        out::Ptr{Ptr{Cvoid}},
    )
    return out[]
end

# The formulation with bounds that were found before.
function _formulation_create_bounded(bounds, start, options::String)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    @_call nt_formulation_create_bounded(
        bounds::Ptr{Cvoid},
        start::_Slice,
        options::Cstring,
        out::Ptr{Ptr{Cvoid}},
    )
    return out[]
end

_formulation_destroy(formulation::Ptr{Cvoid}) = ccall(_NT.nt_formulation_destroy, Cint, (Ptr{Cvoid},), formulation)

# The pointers of the result are valid as long as the formulation.
function _formulation_tables(formulation)
    out = Ref{_Tables}()
    @_call nt_formulation_tables(formulation::Ptr{Cvoid}, out::Ptr{_Tables})
    return out[]
end

function _formulation_write(formulation, path::String, objective::Union{Nothing,String})
    return @_call nt_formulation_write(formulation::Ptr{Cvoid}, path::Cstring, something(objective, Cstring(C_NULL))::Cstring)
end

# Bounds of all values. Functions of Julia's are called back on this thread, so that it stays one that the garbage collector
# waits for.
function _bounds_create(model, shape, lower, upper, method::Integer, options::_BoundsOptions)
    out = Ref{Ptr{Cvoid}}(C_NULL)
    data = Ref(options)
    GC.@preserve model shape lower upper data begin
        status = ccall(
            _NT.nt_bounds_create,
            Cint,
            (Ptr{Cvoid}, _Shape, _Slice, _Slice, UInt32, Ptr{_BoundsOptions}, Ptr{Ptr{Cvoid}}),
            Base.unsafe_convert(Ptr{Cvoid}, model),
            shape,
            lower,
            upper,
            method,
            data,
            out,
        )
    end
    _check(status)
    return out[]
end

_bounds_destroy(bounds::Ptr{Cvoid}) = ccall(_NT.nt_bounds_destroy, Cint, (Ptr{Cvoid},), bounds)

# The pointers of the result are valid as long as the bounds.
function _bounds_tables(bounds)
    out = Ref{_BoundsTables}()
    @_call nt_bounds_tables(bounds::Ptr{Cvoid}, out::Ptr{_BoundsTables})
    return out[]
end

_check_panic() = @_call nt_check_panic()

"The version of the library that is loaded."
_library_version() = unsafe_string(ccall(_NT.nt_version, Cstring, ()))
