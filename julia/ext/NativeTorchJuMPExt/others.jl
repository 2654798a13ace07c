# Predictors that the library does not formulate: scaling, permutation, graph convolutions, weights as variables.

function _add(model::JuMP.Model, predictor::Scale, signal::_Signal, options::_Options)
    x = signal.x
    _check_length(predictor, length(predictor.scale), length(x))
    values = predictor.scale .* x .+ predictor.bias
    return _add_affine(model, predictor, signal, values, signal.input_size, options)
end

function _add(model::JuMP.Model, predictor::NativeTorch.Affine{<:JuMP.AbstractJuMPScalar}, signal::_Signal, options::_Options)
    _check_length(predictor, size(predictor.A, 2), length(signal.x))
    values = predictor.A * signal.x .+ predictor.b
    return _add_affine(model, predictor, signal, values, (length(values),), options)
end

function _add(model::JuMP.Model, predictor::Permutation, signal::_Signal, options::_Options)
    y = _Signal(signal.x[predictor.p], signal.input_size, signal.torch_size)
    return y, _Formulation[NativeTorch.Formulation(predictor)], []
end

function _add(model::JuMP.Model, predictor::Union{GCNConv,TAGConv}, signal::_Signal, options::_Options)
    _check_length(predictor, size(NativeTorch._graph_matrix(predictor), 2), length(signal.x))
    affine = NativeTorch._affine(predictor)
    y, formulations, networks = _add_segment(model, [affine], [NativeTorch._layer_name(affine)], _Signal(signal.x), options)
    inner = only(formulations)
    formulation = NativeTorch.Formulation(predictor, inner.variables, inner.constraints)
    return _Signal(y.x, NativeTorch.output_size(predictor, nothing)), _Formulation[formulation], networks
end

function _check_length(predictor, expected::Int, found::Int)
    if expected != found
        throw(DimensionMismatch("$predictor takes $expected elements, but x has $found"))
    end
    return
end

# Variables `y == values`, with the bounds and start values of these; in reduced space, the values themselves.
function _add_affine(model::JuMP.Model, predictor, signal::_Signal, values, input_size, options)
    if options.reduced_space
        return _Signal(values, input_size, nothing), _Formulation[NativeTorch.Formulation(predictor)], []
    end
    known, name, constraints = _known_bounds(model), string(nameof(typeof(predictor))), Any[]
    variables = map(enumerate(values)) do (i, value)
        lower, upper = _bounds(value, known)
        return _new_variable(model, "$name[$i]", lower, upper, _start(value), constraints)
    end
    rows = [JuMP.@constraint(model, value == variable) for (value, variable) in zip(values, variables)]
    formulation = NativeTorch.Formulation(predictor, variables, [constraints; rows])
    torch_size = length(values) == length(signal.x) ? signal.torch_size : nothing
    return _Signal(variables, input_size, torch_size), _Formulation[formulation], []
end

function NativeTorch.replace_weights_with_variables(::JuMP.Model, predictor::NativeTorch.AbstractPredictor; kwargs...)
    return predictor
end

function NativeTorch.replace_weights_with_variables(model::JuMP.Model, predictor::NativeTorch.Affine; kwargs...)
    A = [_weight(model, "A[$i,$j]", predictor.A[i, j]) for i in axes(predictor.A, 1), j in axes(predictor.A, 2)]
    b = [_weight(model, "b[$i]", predictor.b[i]) for i in axes(predictor.b, 1)]
    return NativeTorch.Affine(A, b; name = predictor.name)
end

function NativeTorch.replace_weights_with_variables(model::JuMP.Model, predictor::Scale; kwargs...)
    scale = [_weight(model, "scale[$i]", predictor.scale[i]) for i in eachindex(predictor.scale)]
    bias = [_weight(model, "bias[$i]", predictor.bias[i]) for i in eachindex(predictor.bias)]
    return Scale(scale, bias)
end

function NativeTorch.replace_weights_with_variables(model::JuMP.Model, predictor::Pipeline; filter = Returns(true))
    replace(layer) = layer isa Pipeline || filter(layer) ?
                     NativeTorch.replace_weights_with_variables(model, layer; filter) : layer
    return Pipeline(map(replace, predictor.layers); input_size = predictor.input_size)
end

_weight(model::JuMP.Model, name::String, start::Real) = JuMP.@variable(model, base_name = name, start = start)
