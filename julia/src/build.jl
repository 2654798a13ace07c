# Files to predictors: one for each layer, chosen by `config`.

"""
    build_predictor(predictor::Union{PytorchModel,Model,Layer}; kwargs...) -> AbstractPredictor

The predictor that [`add_predictor`](@ref) adds: a [`Pipeline`](@ref) of layers, a [`GrayBox`](@ref), or what a callback made
of a custom layer. The file is read here.

# Keywords
 * `config = Dict()`: how layers are formulated. The keys are `:ReLU`, `:MaxPool2d`, `:GELU`, `:LayerNorm`, `:Sigmoid`,
   `:SoftMax`, `:SoftPlus`, `:Tanh`, and the names of custom classes, `"custom_model.Skip"`, or Julia types of the same name.
   The value of a symbol is called to make the predictor of such a layer: a type such as [`ReLUSOS1`](@ref), or a function
   such as `() -> ReLUBigM(100.0)`; for `:MaxPool2d` with the size of the window and keywords, `(k; kwargs...) ->
   MaxPool2d(k; relu = ReLUSOS1(), kwargs...)`; `:SoftPlus` gets the keywords `beta` and `threshold`, `:GELU` `approximate` and
   `:SoftMax` `dim` if it takes them. `:ReLU` also chooses how LeakyReLU and its kin are formulated.
   The value of a class is a callback `(layer::Layer; input_size, config, kwargs...)` that returns a predictor; it is called
   for classes of torch's own, too. In a program of `torch.export` or TorchScript, which has operations in place of layers, a
   symbol stands for all operations of its kind, and its value must make a predictor of this package: `:ReLU` is for all that
   is piecewise linear but maxima, `:MaxPool2d` for these.
 * `gray_box = false`: if true, the model is one vector-valued oracle.
 * `hessian = gray_box`: whether the oracle gives the Hessian of the Lagrangian.
 * `input_size = nothing`: the size of an image, `(height, width, channels)` or `(height, width)`; for a model of several
   inputs torch's sizes of all of them, `((5, 3), (5, 4))`, where the file leaves them open.
 * `backend = "native"`: what evaluates the gray box, `"native"` or `"libtorch"`; see [`libtorch`](@ref).
 * `device = nothing`: where libtorch evaluates it, `"cpu"`, `"cuda"` or `"cuda:1"`; [`set_torch_device!`](@ref) says where it
   does without.

Throws [`InvalidArgumentError`](@ref) for a key that is not known, [`UnsupportedError`](@ref) for a layer that is not supported.
"""
function build_predictor(predictor; kwargs...)
    throw(InvalidArgumentError("no predictor can be built of a $(typeof(predictor)); a NativeTorch.PytorchModel, a " *
                               "NativeTorch.Model and a NativeTorch.Layer are known"))
end

build_predictor(predictor::AbstractPredictor; kwargs...) = predictor
build_predictor(predictor::PytorchModel; kwargs...) = build_predictor(load(predictor.filename); kwargs...)

function build_predictor(
    model::Model;
    config::AbstractDict = Dict{Any,Any}(),
    gray_box::Bool = false,
    hessian::Bool = gray_box,
    device::Union{Nothing,AbstractString} = nothing,
    backend::AbstractString = "native",
    input_size = nothing,
)
    model, input_size = _sized(model, input_size)
    if !gray_box && (backend != "native" || !(device in (nothing, "cpu")))
        throw(UnsupportedError("backend is $(repr(backend)) and device $(repr(device)), but a formulation evaluates nothing " *
                               "there; they are for gray_box = true"))
    end
    if gray_box
        if !isempty(config)
            key = repr(first(keys(config)))
            throw(UnsupportedError("config has the key $key, but a gray box has no layers to configure; leave config out"))
        end
        return GrayBox(model; hessian = hessian, input_size = input_size, backend = backend, device = device)
    end
    layer = Layer(model)
    _check_classes(config, layer)
    return build_predictor(layer; config = config, input_size = input_size)
end

# With sizes for several inputs, a model whose inputs have them.
_sized(model::Model, input_size) = model, input_size
_sized(model::Model, sizes::_SeveralSizes) = _with_inputs(model, sizes, Int64[]), nothing

function build_predictor(layer::Layer; config::AbstractDict = Dict{Any,Any}(), input_size = nothing, kwargs...)
    foreach(_check_key, keys(config))
    input_size = _check_input_size(input_size)
    if _kind(layer) !== :sequential || _callback(layer, config) !== nothing
        return _predictor(layer, config, input_size)
    end
    predictors, paths, size = AbstractPredictor[], String[], input_size
    for inner in _steps(layer)
        _short_class(inner) in _IDENTITIES && _kind(inner) === :standard && continue
        predictor = _predictor(inner, config, size)
        # Only what `config` calls wants to know it.
        size = isempty(config) ? nothing : output_size(predictor, size)
        push!(predictors, predictor)
        push!(paths, _path(inner))
    end
    return Pipeline(predictors; input_size = input_size, paths = paths)
end

# Layers that give what they get where a model is evaluated.
const _IDENTITIES = ("Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")

# The symbols that `config` may have, and the classes of torch's that each stands for.
const _CONFIG = (
    :ReLU => ("ReLU",),
    :MaxPool2d => ("MaxPool2d",),
    :GELU => ("GELU",),
    :LayerNorm => ("LayerNorm",),
    :Sigmoid => ("Sigmoid",),
    :SoftMax => ("Softmax",),
    :SoftPlus => ("Softplus",),
    :Tanh => ("Tanh",),
)

function _check_key(key)
    if key isa Symbol && !any(entry -> entry[1] === key, _CONFIG)
        known = join((repr(entry[1]) for entry in _CONFIG), ", ")
        throw(InvalidArgumentError("config has the key $(repr(key)); known are $known, and names of classes such as " *
                                   "\"custom_model.Skip\""))
    elseif !(key isa Union{Symbol,AbstractString,Type})
        throw(InvalidArgumentError("config has the key $(repr(key)) of type $(typeof(key)); symbols, names of classes " *
                                   "such as \"custom_model.Skip\", and Julia types of the same name are known"))
    end
    return
end

# A class that `config` names must be there: a name that is misspelt would change nothing.
function _check_classes(config, layer::Layer)
    layers = _all_layers(layer)
    for key in keys(config)
        key isa Union{AbstractString,Type} && !any(inner -> _names_class(key, inner), layers) || continue
        named = key isa Type ? "$key, but the model has no layer of a class $(nameof(key))" :
                "$(repr(key)), but the model has no layer of this class"
        known = join(unique!(map(repr ∘ _class, layers)), ", ")
        throw(InvalidArgumentError("config has the key $named; it has $known"))
    end
    return
end

# A layer and all that are in it.
_all_layers(layer::Layer) = Layer[layer; (inner for child in _children(layer) for inner in _all_layers(child))...]

# Whether a key of `config` names the class of a layer.
_names_class(key::AbstractString, layer::Layer) = key == _class(layer)
_names_class(key::Type, layer::Layer) = string(nameof(key)) == _short_class(layer)
_names_class(::Any, ::Layer) = false

# The layers that a Sequential calls one after another.
function _steps(layer::Layer)
    _kind(layer) === :sequential || return [layer]
    return [step for child in _children(layer) for step in _steps(child)]
end

# The callback for a layer's class, or `nothing`.
function _callback(layer::Layer, config)
    for (key, value) in config
        _names_class(key, layer) && return value
    end
    return nothing
end

function _predictor(layer::Layer, config, input_size)
    callback = _callback(layer, config)
    callback === nothing || return _checked(callback(layer; input_size = input_size, config = config), layer)
    if _kind(layer) === :custom
        throw(UnsupportedError("$(_place(layer)): torch does not define this class, and the file does not hold its forward; " *
                               "give config = Dict($(repr(_class(layer))) => callback), where callback(layer; input_size, " *
                               "config, kwargs...) returns a predictor"))
    elseif _kind(layer) === :unsupported
        throw(UnsupportedError("$(_place(layer)): $(getfield(layer, :reason))"))
    end
    class = _short_class(layer)
    class == "Linear" && return _affine(layer)
    _kind(layer) === :program && return _program(layer, config)
    entry = findfirst(entry -> class in entry[2] && haskey(config, entry[1]), _CONFIG)
    entry === nothing && return TorchLayer(layer; relu = _relu(layer, config), input_size = input_size)
    key = _CONFIG[entry][1]
    make = config[key]
    return _checked(_construct(_made_by(make, key), layer, Val(key), input_size), layer)
end

# What makes the predictors of a key: a type or a function.
function _made_by(make, key::Symbol)
    if make isa AbstractPredictor
        throw(InvalidArgumentError("config has $(repr(key)) => $make, one predictor for all layers; give a type, or a function " *
                                   "that makes one: () -> $make"))
    end
    return make
end

_checked(predictor::AbstractPredictor, ::Layer) = predictor

function _checked(found, layer::Layer)
    throw(InvalidArgumentError("$(_place(layer)): config made a $(typeof(found)) of it; an AbstractPredictor is expected"))
end

# How the kinks of a layer are formulated, where `config` says it.
function _relu(layer::Layer, config)
    (haskey(config, :ReLU) && _short_class(layer) in _BENT) || return nothing
    relu = _checked(_made_by(config[:ReLU], :ReLU)(), layer)
    if !(relu isa _ReLUs)
        throw(UnsupportedError("$(_place(layer)): config's :ReLU makes a $(typeof(relu)), which can take the place of a ReLU " *
                               "but not of this layer; give config = Dict($(repr(_class(layer))) => callback) too"))
    end
    return relu
end

# The symbols of `config` for a program: the kind of operations that each stands for, what a value makes of it, and what it
# may make. Sizes and numbers are the operations' own.
const _OPERATIONS = (
    (:ReLU, "relu", make -> make(), _ReLUs),
    (:MaxPool2d, "max_pool", make -> make((1, 1)), _MaxPools),
    (:GELU, "gelu", make -> make(), GELU),
    (:Sigmoid, "sigmoid", make -> make(), Sigmoid),
    (:SoftMax, "softmax", make -> make(), SoftMax),
    (:SoftPlus, "softplus", make -> make(), _SoftPluses),
    (:Tanh, "tanh", make -> make(), Tanh),
)

# A program has operations in place of layers: what `config` makes chooses the form of all operations of a kind.
function _program(layer::Layer, config)
    forms = Pair{String,_Form}[]
    for (key, kind, call, known) in _OPERATIONS
        haskey(config, key) || continue
        made = _checked(call(_made_by(config[key], key)), layer)
        if !(made isa known)
            throw(UnsupportedError("$(_place(layer)) is a program, whose operations no other predictor can take the place of: " *
                                   "$(repr(key)) chooses their form by NativeTorch's own predictors, not by a $(typeof(made))"))
        end
        push!(forms, kind => _form(made))
    end
    if haskey(config, :LayerNorm)
        throw(UnsupportedError("$(_place(layer)) is a program: its normalisations have one form, which :LayerNorm cannot change"))
    end
    return TorchProgram(layer, forms)
end

# Layers whose kinks are formulated like those of ReLU.
const _BENT = (
    "LeakyReLU", "PReLU", "RReLU", "ReLU6", "Hardtanh", "Hardsigmoid", "Hardswish", "Softshrink",
    "MaxPool1d", "MaxPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
)

_construct(make, ::Layer, ::Val, ::Any) = make()
_construct(make, layer::Layer, ::Val{:GELU}, ::Any) = _with(make; approximate = layer.approximate)
_construct(make, layer::Layer, ::Val{:SoftMax}, ::Any) = _with(make; dim = layer.dim)
_construct(make, layer::Layer, ::Val{:SoftPlus}, ::Any) = _with(make; beta = layer.beta, threshold = layer.threshold)

function _construct(make, layer::Layer, ::Val{:LayerNorm}, input_size)
    return make(layer.normalized_shape; input_size = input_size, eps = layer.eps, weight = layer.weight, bias = layer.bias)
end

function _construct(make, layer::Layer, ::Val{:MaxPool2d}, input_size)
    kernel, stride, padding = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding)
    more = (dilation = _pair(layer.dilation), ceil_mode = layer.ceil_mode)
    # MathOptAI's keywords, and those of torch's that it does not know where they matter.
    plain = more == (dilation = (1, 1), ceil_mode = false)
    size = input_size === nothing || length(input_size) != 2 ? input_size : (input_size..., 1)
    return make(kernel; input_size = size, stride = stride, padding = padding, (plain ? (;) : more)...)
end

# Calls with those keywords that can be given.
function _with(make; kwargs...)
    taken = filter(name -> hasmethod(make, Tuple{}, (name,)), keys(kwargs))
    return make(; (name => kwargs[name] for name in taken)...)
end

function _affine(layer::Layer)
    values = _own_values(layer)
    weight = values[:weight]
    bias = get(values, :bias, nothing)
    return Affine(weight, bias isa Vector ? bias : zeros(size(weight, 1)); name = isempty(_path(layer)) ? "Linear" : _path(layer))
end
