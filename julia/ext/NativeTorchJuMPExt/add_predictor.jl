# The interface: files and models become predictors, arrays and JuMP's containers become vectors.

const _Sources = Union{NativeTorch.PytorchModel,NativeTorch.Model,NativeTorch.Layer}
const _Ours = Union{NativeTorch._LibraryLayer,Pipeline,Scale,Permutation,GCNConv,TAGConv,GrayBox,ReducedSpace}

function NativeTorch.add_predictor(
    model::JuMP.Model,
    predictor::_Sources,
    x::AbstractArray;
    reduced_space::Bool = false,
    bounds::Symbol = :interval,
    optimizer = nothing,
    time_limit::Real = Inf,
    progress::Bool = false,
    input_size = nothing,
    kwargs...,
)
    flat, own_size = _flat(x)
    if own_size !== nothing && input_size !== nothing && Tuple(input_size) != own_size
        throw(InvalidArgumentError("x has size $own_size, but input_size is $input_size; leave it out"))
    end
    input_size = something(own_size, input_size, Some(nothing))
    inner = NativeTorch.build_predictor(predictor; input_size, kwargs...)
    input_size isa NativeTorch._SeveralSizes && (input_size = nothing)
    if !(inner isa _Ours)
        return NativeTorch.add_predictor(model, inner, flat; (reduced_space ? (; reduced_space) : (;))...)
    end
    return _add_all(model, inner, flat, input_size, _options(reduced_space; bounds, optimizer, time_limit, progress))
end

function NativeTorch.add_predictor(
    model::JuMP.Model,
    predictor::_Ours,
    x::AbstractArray;
    reduced_space::Bool = false,
    bounds::Symbol = :interval,
    optimizer = nothing,
    time_limit::Real = Inf,
    progress::Bool = false,
)
    flat, input_size = _flat(x)
    return _add_all(model, predictor, flat, input_size, _options(reduced_space; bounds, optimizer, time_limit, progress))
end

# A point, or several, as vectors; and their size where they are images.
_flat(x::AbstractArray) = vec(Array(x)), ndims(x) > 1 ? size(x) : nothing

function _flat(x::AbstractVector{<:AbstractArray})
    sizes = unique(map(size, x))
    if length(sizes) > 1
        throw(InvalidArgumentError("the points of x have the sizes $(join(sizes, ", ")); add those of other sizes by themselves"))
    end
    is_image = !isempty(x) && ndims(x[1]) > 1
    return map(point -> vec(Array(point)), x), is_image ? only(sizes) : nothing
end

# A user's predictor in reduced space; one that knows it takes the keyword.
function NativeTorch.add_predictor(
    model::JuMP.Model,
    predictor::ReducedSpace{P},
    x::AbstractVector,
) where {P<:NativeTorch.AbstractPredictor}
    predictor isa ReducedSpace{<:_Ours} && return _add_all(model, predictor, _flat(x)..., _options(true))
    types = Tuple{typeof(model),P,typeof(x)}
    if hasmethod(NativeTorch.add_predictor, types, (:reduced_space,))
        return NativeTorch.add_predictor(model, predictor.predictor, x; reduced_space = true)
    end
    return NativeTorch.add_predictor(model, predictor.predictor, x)
end

_options(reduced_space::Bool; kwargs...) = _Options(reduced_space, values(kwargs))

function _add_all(model::JuMP.Model, predictor, x::Vector, input_size, options::_Options)
    signal = _Signal(x, something(input_size, _size_of(predictor), Some(nothing)))
    y, formulations, networks = _add(model, predictor, signal, options)
    return _vector(y), _formulation_of(predictor, formulations, networks)
end

_size_of(predictor::Union{Pipeline,GrayBox}) = predictor.input_size
_size_of(predictor::ReducedSpace) = _size_of(predictor.predictor)
_size_of(predictor::NativeTorch.AbstractPredictor) = NativeTorch._own_input_size(predictor)

# Several points of one network: y is a vector of vectors.
function _add_all(
    model::JuMP.Model,
    predictor,
    points::Vector{<:AbstractVector},
    input_size,
    options::_Options,
)
    isempty(points) && throw(InvalidArgumentError("x has no points"))
    if predictor isa GrayBox
        options.reduced_space && _refuse_reduced_gray_box()
        size = something(input_size, _size_of(predictor), Some(nothing))
        signals, formulation = _add_gray_box(model, predictor, [_Signal(point, size) for point in points])
        return map(_vector, signals), formulation
    end
    added = [_add_all(model, predictor, point, input_size, options) for point in points]
    formulations = map(last, added)
    networks = reduce(vcat, (formulation.networks for formulation in formulations))
    return map(first, added), NativeTorch.PipelineFormulation(predictor, formulations; networks)
end

function _formulation_of(predictor::Union{Pipeline,ReducedSpace{Pipeline}}, formulations, networks)
    return NativeTorch.PipelineFormulation(predictor, formulations; networks)
end

function _formulation_of(predictor, formulations, networks)
    inner = only(formulations)
    inner isa NativeTorch.Formulation || return inner
    return NativeTorch.Formulation(predictor, inner.variables, inner.constraints; networks)
end
