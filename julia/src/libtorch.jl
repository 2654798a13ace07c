# The libtorch backend: which library it is, and the device that it uses where none is given.

# The path of the backend's library where a preference or an artifact names it; set when the package is loaded.
const _LIBTORCH = Ref{Union{Nothing,String}}(nothing)
const _DEVICE = Ref("cpu")

"""
    NativeTorch.libtorch() -> (version, path, cuda_devices)

Open the libtorch backend, unless it is open, and say which it is and how many CUDA devices it can use. Functions compiled
with `backend = "libtorch"` open it by themselves.

Its library `libnative_torch_libtorch.so` is the one that the preference `libnative_torch_libtorch` names, then the
environment variable `NATIVE_TORCH_LIBTORCH`, then the artifact, then the one beside `libnative_torch`. `cargo xtask libtorch`
builds it.

Throws [`UnsupportedError`](@ref) if it is not there, if libtorch is missing or if either has another version.
"""
function libtorch()
    _require_library()
    return _libtorch_open(_LIBTORCH[])
end

"""
    NativeTorch.set_torch_device!(device)

Let functions that are compiled with `backend = "libtorch"` and without a `device` from now on compute there: `"cpu"`,
`"cuda"`, which is the first CUDA device, or `"cuda:1"`.

Throws [`InvalidArgumentError`](@ref) for another name, [`UnsupportedError`](@ref) if the device is not there.
"""
function set_torch_device!(device::AbstractString)
    _check_engine(_engine(; backend = "libtorch", device = device))
    _DEVICE[] = device
    return
end

# Throws if a backend or its device is not known or not there: the smallest function is compiled for it.
function _check_engine(engine)
    layer = Model(_model_layer("Tanh", "", nothing, nothing, nothing, nothing), "Tanh")
    compile(layer, (1,); engine...)
    return
end

# A backend and a device as the library takes them.
function _engine(; backend::AbstractString = "native", device::Union{Nothing,AbstractString} = nothing)
    backend == "libtorch" && libtorch()
    own = backend == "libtorch" ? _DEVICE[] : "cpu"
    return (backend = String(backend), device = String(device === nothing ? own : device))
end

"""
    NativeTorch.parameters(f::CompiledFunction)

The parameters by which [`parameter_gradient`](@ref) gives derivatives, a vector of [`Signature`](@ref); none if `f` was
compiled for the native engine.
"""
parameters(f::CompiledFunction) = _function_parameters(f)

"""
    NativeTorch.parameter_gradient(f::CompiledFunction, x, u) -> Dict{String,Array{Float64}}

The derivatives of u'f at `x` by the parameters, under their names and with torch's sizes. `x` and `u` are vectors in torch's
flattened order.

Throws [`UnsupportedError`](@ref) if `f` was not compiled with `backend = "libtorch"`.
"""
function parameter_gradient(f::CompiledFunction, x::AbstractVector{<:Real}, u::AbstractVector{<:Real})
    all = parameters(f)
    lengths = Int[prod(parameter.size) for parameter in all]
    out = zeros(sum(lengths))
    numbers(values) = convert(Vector{Float64}, values)
    _borrow(workspace -> _function_parameter_gradient(f, workspace, numbers(x), numbers(u), out), f)
    ends = cumsum(lengths)
    return Dict(all[i].name => _unflatten(out[ends[i]-lengths[i]+1:ends[i]], all[i].size) for i in eachindex(all))
end
