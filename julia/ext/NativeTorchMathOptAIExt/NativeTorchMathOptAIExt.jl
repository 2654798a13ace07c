# MathOptAI's own predictors of PyTorch models, without Python: MathOptAI.build_predictor and MathOptAI.add_predictor take a
# NativeTorch.PytorchModel. Layers that MathOptAI has not, or computes other than torch does, are formulated by NativeTorch.

module NativeTorchMathOptAIExt

import JuMP
import JuMP: MOI
import MathOptAI
import NativeTorch
import NativeTorch: InvalidArgumentError, Layer, UnsupportedError

const _Size = Union{Nothing,Tuple{Vararg{Int}}}

function MathOptAI.build_predictor(
    predictor::NativeTorch.PytorchModel;
    config::AbstractDict = Dict{Any,Any}(),
    gray_box::Bool = false,
    hessian::Bool = gray_box,
    device::String = "cpu",
    input_size::_Size = nothing,
)
    if gray_box
        NativeTorch._check_engine(_engine(device))
        isempty(config) || throw(InvalidArgumentError("a gray box has no layers to configure; leave config out"))
        is_image = input_size !== nothing && length(input_size) > 1
        return MathOptAI.GrayBox(is_image ? _ImageModel(predictor, input_size) : predictor; hessian, device)
    end
    if device != "cpu"
        throw(UnsupportedError("device is $(repr(device)), but a formulation evaluates nothing there; it is for gray_box = true"))
    end
    layer = Layer(NativeTorch.load(predictor.filename))
    return MathOptAI.build_predictor(layer; config, input_size)
end

function MathOptAI.build_predictor(
    layer::Layer;
    config::AbstractDict = Dict{Any,Any}(),
    input_size::_Size = nothing,
    kwargs...,
)
    foreach(NativeTorch._check_key, keys(config))
    if NativeTorch._kind(layer) !== :sequential || NativeTorch._callback(layer, config) !== nothing
        return first(_convert(layer, config, _three(input_size)))
    end
    size, predictors = _three(input_size), MathOptAI.AbstractPredictor[]
    for inner in NativeTorch._steps(layer)
        NativeTorch._short_class(inner) in NativeTorch._IDENTITIES && continue
        predictor, size = _convert(inner, config, size)
        push!(predictors, predictor)
    end
    return MathOptAI.Pipeline(predictors)
end

# A layer as NativeTorch formulates it.
struct NativeLayer <: MathOptAI.AbstractPredictor
    layer::NativeTorch.TorchLayer
    input_size::_Size
end

Base.show(io::IO, predictor::NativeLayer) = print(io, "NativeTorch.", predictor.layer)

function MathOptAI.output_size(predictor::NativeLayer, ::Any)
    return NativeTorch.output_size(predictor.layer, predictor.input_size)
end

function _add(model, predictor::NativeLayer, x::Vector; kwargs...)
    size = predictor.input_size
    image = size !== nothing && length(size) > 1 ? reshape(x, size) : x
    return NativeTorch.add_predictor(model, predictor.layer, image; kwargs...)
end

function MathOptAI.add_predictor(model::JuMP.AbstractModel, predictor::NativeLayer, x::Vector)
    y, added = _add(model, predictor, x)
    return y, MathOptAI.Formulation(predictor, added.variables, added.constraints)
end

function MathOptAI.add_predictor(model::JuMP.AbstractModel, predictor::MathOptAI.ReducedSpace{NativeLayer}, x::Vector)
    y, _ = _add(model, predictor.predictor, x; reduced_space = true)
    return y, MathOptAI.Formulation(predictor)
end

_native(layer::Layer, size) = NativeLayer(NativeTorch.TorchLayer(layer), size)

_three(size::Tuple{Int,Int}) = (size..., 1)
_three(size) = size

# The predictor of a layer, and the size of what it gives.
function _convert(layer::Layer, config, size::_Size)
    callback = NativeTorch._callback(layer, config)
    if callback !== nothing
        predictor = callback(layer; input_size = size, config)
        return predictor, MathOptAI.output_size(predictor, size)
    elseif NativeTorch._kind(layer) !== :standard
        NativeTorch._predictor(layer, config, size)    # throws what is wrong with it
    end
    after = size === nothing ? nothing : NativeTorch.output_size(NativeTorch.TorchLayer(layer), size)
    class = Symbol(NativeTorch._short_class(layer))
    predictor = _predictor(Val(class), layer, config, size)
    return predictor, something(after, MathOptAI.output_size(predictor, nothing), Some(nothing))
end

function _choice(config, key::Symbol, default)
    return get(config, key, default)
end

function _predictor(::Val{:Linear}, layer, config, size)
    size isa Tuple{Int,Int,Int} && return _affine(layer, size)
    affine = NativeTorch._affine(layer)
    return MathOptAI.Affine(affine.A, affine.b)
end

_predictor(::Val{:ReLU}, layer, config, size) = _choice(config, :ReLU, MathOptAI.ReLU)()
_predictor(::Val{:Sigmoid}, layer, config, size) = _choice(config, :Sigmoid, MathOptAI.Sigmoid)()
_predictor(::Val{:Tanh}, layer, config, size) = _choice(config, :Tanh, MathOptAI.Tanh)()

function _predictor(::Val{:LeakyReLU}, layer, config, size)
    relu = _choice(config, :ReLU, MathOptAI.ReLU)()
    return MathOptAI.LeakyReLU(; negative_slope = Float64(layer.negative_slope), relu)
end

function _predictor(::Val{:GELU}, layer, config, size)
    if layer.approximate != "tanh" && !haskey(config, :GELU)
        # MathOptAI.GELU is the approximation by tanh.
        return _native(layer, size)
    end
    return _choice(config, :GELU, MathOptAI.GELU)()
end

function _predictor(::Val{:Softplus}, layer, config, size)
    if layer.threshold < 18 && !haskey(config, :SoftPlus)
        # MathOptAI.SoftPlus has no threshold, and that of the layer matters.
        return _native(layer, size)
    end
    return _choice(config, :SoftPlus, MathOptAI.SoftPlus)(; beta = Float64(layer.beta))
end

function _predictor(::Val{:Softmax}, layer, config, size)
    if size isa Tuple{Int,Int,Int}
        # MathOptAI.SoftMax is over all elements.
        haskey(config, :SoftMax) || return _native(layer, size)
        _refuse(layer, "MathOptAI.SoftMax is over all elements; it comes after an image here. Leave it out of config")
    end
    return _choice(config, :SoftMax, MathOptAI.SoftMax)()
end

function _predictor(::Val{:MaxPool2d}, layer, config, size)
    kernel, stride, padding = map(NativeTorch._pair, (layer.kernel_size, layer.stride, layer.padding))
    if padding != (0, 0) || layer.ceil_mode || NativeTorch._pair(layer.dilation) != (1, 1)
        haskey(config, :MaxPool2d) || return _native(layer, _image(layer, size))
        _refuse(layer, "MathOptAI's maximum pools pad with 0, and have neither ceil_mode nor dilation; leave it out of config")
    end
    make = _choice(config, :MaxPool2d, MathOptAI.MaxPool2d)
    return make(kernel; input_size = _image(layer, size), stride, padding)
end

function _predictor(::Val{:Conv2d}, layer, config, size)
    is_plain = layer.padding isa Tuple && layer.groups == 1 && NativeTorch._pair(layer.dilation) == (1, 1) &&
               !occursin("padding_mode", getfield(layer, :description))
    is_plain || return _affine(layer, _image(layer, size))
    weight = reverse(permutedims(layer.weight, (3, 4, 2, 1)); dims = (1, 2))
    bias = layer.bias isa Vector ? layer.bias : zeros(last(Base.size(weight)))
    return MathOptAI.Conv2d(weight, bias; input_size = _image(layer, size), padding = layer.padding, stride = layer.stride)
end

function _predictor(::Val{:AvgPool2d}, layer, config, size)
    kernel, stride, padding = map(NativeTorch._pair, (layer.kernel_size, layer.stride, layer.padding))
    description = getfield(layer, :description)
    if padding != (0, 0) || layer.ceil_mode || occursin("divisor_override=", description)
        return _affine(layer, _image(layer, size))
    end
    return MathOptAI.AvgPool2d(kernel; input_size = _image(layer, size), padding, stride)
end

# From an H x W x C image, column by column, to torch's C x H x W, row by row.
function _predictor(::Val{:Flatten}, layer, config, size)
    p = size isa Tuple{Int,Int,Int} ? invperm(NativeTorch._image_order(size)) : collect(1:prod(_known(layer, size)))
    return MathOptAI.ReducedSpace(MathOptAI.Permutation(p))
end

# Other layers that are affine.
function _predictor(::Val{name}, layer, config, size) where {name}
    if name in (:Conv1d, :Conv3d, :ConvTranspose2d, :BatchNorm1d, :BatchNorm2d, :AdaptiveAvgPool2d, :Unflatten, :ZeroPad2d)
        return _affine(layer, _known(layer, size))
    elseif name === :LayerNorm
        return _layer_norm(layer, something(size, Tuple(Int.(layer.normalized_shape))))
    end
    return _native(layer, size)
end

function _layer_norm(layer, size)
    shape = Tuple(Int.(layer.normalized_shape))
    rows = invperm(size isa Tuple{Int,Int,Int} ? NativeTorch._image_order(size) : collect(1:prod(size)))
    # Torch normalises the last dimensions, which stand first in Julia's order of torch's numbers.
    reversed(a) = permutedims(a, ndims(a):-1:1)
    numbers(a, default) = a isa AbstractArray ? reversed(a) : default
    torch_size = size isa Tuple{Int,Int,Int} ? (size[2], size[1], size[3]) : (size..., 1, 1)
    norm = MathOptAI.LayerNorm(
        reverse(shape);
        input_size = torch_size,
        eps = Float64(layer.eps),
        weight = numbers(layer.weight, ones(reverse(shape))),
        bias = numbers(layer.bias, zeros(reverse(shape))),
    )
    issorted(rows) && return norm
    permutation(p) = MathOptAI.ReducedSpace(MathOptAI.Permutation(p))
    return MathOptAI.Pipeline(permutation(rows), norm, permutation(invperm(rows)))
end

# An affine layer as its matrix, which is its Jacobian.
function _affine(layer, size)
    f, is_image = NativeTorch._compile_for(NativeTorch._part(layer), prod(size), size)
    b, A = zeros(f.m), zeros(f.m, f.n)
    NativeTorch._borrow(f) do workspace
        NativeTorch.value!(b, f, workspace, zeros(f.n))
        NativeTorch.jacobian!(A, f, workspace, zeros(f.n))
    end
    columns = is_image ? NativeTorch._image_order(size) : collect(1:f.n)
    after = NativeTorch._size_after(f, is_image)
    rows = length(after) == 3 ? NativeTorch._image_order(after) : collect(1:f.m)
    return MathOptAI.Affine(A[rows, columns], b[rows])
end

_known(layer, size::Tuple) = size
_known(layer, ::Nothing) = _refuse(layer, "it needs to know the size of its input; give input_size")

_image(layer, size::Tuple{Int,Int,Int}) = size
_image(layer, size) = _refuse(layer, "it takes an image; give input_size = (height, width, channels)")

_refuse(layer, reason::String) = throw(UnsupportedError("$(NativeTorch._place(layer)): $reason"))

# What evaluates a gray box: libtorch where it is not on the CPU.
_engine(device::String) = NativeTorch._engine(; backend = device == "cpu" ? "native" : "libtorch", device)

# A model of images, whose gray box takes and gives them as MathOptAI has them.
struct _ImageModel
    model::NativeTorch.PytorchModel
    input_size::Tuple{Vararg{Int}}
end

function _oracle(predictor::MathOptAI.GrayBox, model::NativeTorch.PytorchModel, input_dimension::Int, input_size)
    network, engine = NativeTorch.load(model.filename), _engine(predictor.device)
    f, is_image = NativeTorch._compile_for(network, input_dimension, input_size; engine...)
    set = Base.get_extension(NativeTorch, :NativeTorchJuMPExt)._oracle_set(f, 1; hessian = predictor.hessian)
    return set, NativeTorch._size_after(f, is_image)
end

function MOI.VectorNonlinearOracle(predictor::MathOptAI.GrayBox{NativeTorch.PytorchModel}, input_dimension::Int)
    return first(_oracle(predictor, predictor.predictor, input_dimension, nothing))
end

function MathOptAI.add_predictor(model::JuMP.AbstractModel, predictor::MathOptAI.GrayBox{_ImageModel}, x::Vector)
    (file, input_size) = (predictor.predictor.model, predictor.predictor.input_size)
    set, size = _oracle(predictor, file, length(x), input_size)
    y = MathOptAI.add_variables(model, x, set.output_dimension, "moai_GrayBox")
    inputs = x[invperm(NativeTorch._image_order(input_size))]
    constraint = JuMP.@constraint(model, [inputs; y] in set)
    order = length(size) == 3 ? NativeTorch._image_order(size) : eachindex(y)
    return y[order], MathOptAI.Formulation(predictor, y, [constraint])
end

end # module
