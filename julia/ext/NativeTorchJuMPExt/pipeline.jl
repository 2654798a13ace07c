# Layers one after another: runs of layers that the library knows are formulated together, others add themselves.

# How a predictor is added.
struct _Options
    reduced_space::Bool
    # Keywords of `network_bounds`.
    bounds::NamedTuple
end

const _Formulation = NativeTorch.AbstractFormulation

# A network as part of a model, its inputs and outputs in torch's order.
struct _Network
    f::NativeTorch.CompiledFunction
    x::Vector{Any}
    y::Vector{Any}
end

# Adds a predictor; gives its outputs, the formulations of its layers, and the networks in it.
function _add(model::JuMP.Model, predictor::Pipeline, signal::_Signal, options::_Options)
    formulations, networks = _Formulation[], Any[]
    layers = predictor.layers
    first = 1
    while first <= length(layers)
        if _is_formulated(layers[first])
            last = something(findnext(i -> _begins_anew(layers[i-1], layers[i]), eachindex(layers), first + 1), length(layers) + 1) - 1
            names = [NativeTorch._layer_name(predictor, i) for i in first:last]
            signal, added, inner = _add_segment(model, layers[first:last], names, signal, options)
        else
            last = first
            signal, added, inner = _add(model, layers[first], signal, options)
        end
        append!(formulations, added)
        append!(networks, inner)
        first = last + 1
    end
    return signal, formulations, networks
end

function _add(model::JuMP.Model, predictor::NativeTorch._LibraryLayer, signal::_Signal, options::_Options)
    return _add_segment(model, [predictor], [NativeTorch._layer_name(predictor)], signal, options)
end

function _add(model::JuMP.Model, predictor::ReducedSpace, signal::_Signal, options::_Options)
    return _add(model, predictor.predictor, signal, _Options(true, options.bounds))
end

function _add(model::JuMP.Model, predictor::GrayBox, signal::_Signal, options::_Options)
    options.reduced_space && _refuse_reduced_gray_box()
    signals, formulation = _add_gray_box(model, predictor, [signal])
    return only(signals), _Formulation[formulation], formulation.networks
end

# A predictor of the user's.
function _add(model::JuMP.Model, predictor::NativeTorch.AbstractPredictor, signal::_Signal, options::_Options)
    x = _vector(signal)
    wrapped = options.reduced_space ? ReducedSpace(predictor) : predictor
    y, formulation = NativeTorch.add_predictor(model, wrapped, x)
    size = NativeTorch.output_size(predictor, signal.input_size)
    same = length(y) == length(x)
    size = size === nothing && same ? signal.input_size : size
    after = _Signal(y, size, same && size == signal.input_size ? signal.torch_size : nothing)
    return after, _Formulation[formulation], []
end

# Whether a layer is not formulated together with the one before it. One that is made for an image is not told by a vector
# that it is one.
_begins_anew(before, layer) = !_is_formulated(layer) || (before isa NativeTorch.Affine && _is_image(NativeTorch._own_input_size(layer)))

# Whether the library formulates a layer.
_is_formulated(::NativeTorch.AbstractPredictor) = false
_is_formulated(::NativeTorch._LibraryLayer) = true
_is_formulated(::NativeTorch.Affine{<:JuMP.AbstractJuMPScalar}) = false

_refuse_reduced_gray_box() = throw(UnsupportedError("a gray box has no reduced space; leave out gray_box or reduced_space"))

# Layers that the library formulates, as one model, and the names of the layers in it, each once.
function _chain(layers, wanted::Vector{String})
    # A program is a model already.
    length(layers) == 1 && only(layers) isa NativeTorch.TorchProgram && return NativeTorch._part(only(layers)), [""]
    names = String[]
    for name in wanted
        name = isempty(name) ? "0" : name
        unique = name
        k = 1
        while unique in names
            k += 1
            unique = "$name #$k"
        end
        push!(names, unique)
    end
    parts = [NativeTorch._part(layer) for layer in layers]
    return NativeTorch.Model(NativeTorch._model_chain(parts, names), parts, "a pipeline"), names
end

function _add_segment(model::JuMP.Model, layers::Vector, names::Vector{String}, signal::_Signal, options::_Options)
    network, names = _chain(layers, names)
    signal = _with_size_of(first(layers), signal)
    inputs = _inputs(model, network, signal, _known_bounds(model))
    y, formulations = options.reduced_space ? _reduce(model, network, inputs, layers, names) :
                      _formulate(model, network, inputs, layers, names, options)
    return _output_signal(inputs, y), formulations, [_Network(inputs.f, inputs.elements, y)]
end

# A layer that was made for one size of image says what a vector is.
function _with_size_of(layer, signal::_Signal)
    own = NativeTorch._own_input_size(layer)
    return _is_image(own) && !_is_image(signal.input_size) ? _Signal(signal.x, own, nothing) : signal
end

_is_image(size) = size !== nothing && length(size) > 1
