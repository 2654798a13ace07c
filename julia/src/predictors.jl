# The interface of predictors. What is here needs no modelling language; the methods that add a predictor to a JuMP model
# are in ext/NativeTorchJuMPExt, which is loaded with JuMP.

"""
    abstract type AbstractPredictor end

What can be added to an optimisation model by [`add_predictor`](@ref). A subtype of your own needs one method, and may then
stand anywhere in a [`Pipeline`](@ref):

```julia
struct Square <: NativeTorch.AbstractPredictor end

function NativeTorch.add_predictor(model::JuMP.AbstractModel, predictor::Square, x::Vector; kwargs...)
    y = @variable(model, [1:length(x)])
    constraints = @constraint(model, y .== x .^ 2)
    return y, NativeTorch.Formulation(predictor, y, constraints)
end
```

Where it changes the size of an image it needs a method of [`output_size`](@ref) too.
"""
abstract type AbstractPredictor end

"The type of what [`add_predictor`](@ref) gives besides `y`."
abstract type AbstractFormulation end

"""
    Formulation(predictor, variables, constraints)
    Formulation(predictor)

What a predictor added to a model: the fields `predictor`, `variables` and `constraints`, the bounds of the new variables
among these. Prints as a tree.
"""
struct Formulation{P<:AbstractPredictor} <: AbstractFormulation
    predictor::P
    variables::Vector{Any}
    constraints::Vector{Any}
    # The networks that it contains, for `formulation_error`.
    networks::Vector{Any}

    function Formulation(predictor::P, variables = [], constraints = []; networks = []) where {P<:AbstractPredictor}
        return new{P}(predictor, collect(Any, variables), collect(Any, constraints), collect(Any, networks))
    end
end

"""
    PipelineFormulation(predictor, layers)

What a [`Pipeline`](@ref) added to a model: the formulations of its `layers`. Prints them one after another. Its properties
`variables` and `constraints` are those of all layers.
"""
struct PipelineFormulation{P<:AbstractPredictor} <: AbstractFormulation
    predictor::P
    layers::Vector{Any}
    networks::Vector{Any}

    function PipelineFormulation(predictor::P, layers; networks = []) where {P<:AbstractPredictor}
        return new{P}(predictor, collect(Any, layers), collect(Any, networks))
    end
end

function Base.getproperty(formulation::PipelineFormulation, name::Symbol)
    if name === :variables || name === :constraints
        return reduce(vcat, (getproperty(layer, name) for layer in formulation.layers); init = Any[])
    end
    return getfield(formulation, name)
end

Base.propertynames(::PipelineFormulation) = (:predictor, :layers, :variables, :constraints)

function Base.show(io::IO, formulation::Formulation)
    print(io, formulation.predictor)
    _show_branch(io, "├ ", "│ ", "variables", formulation.variables)
    _show_branch(io, "└ ", "  ", "constraints", formulation.constraints)
    return
end

Base.show(io::IO, formulation::PipelineFormulation) = join(io, formulation.layers, "\n")

function _show_branch(io::IO, own::String, below::String, name::String, items::Vector{Any})
    print(io, "\n", own, name, " [", length(items), "]")
    for (i, item) in enumerate(items)
        is_last = i == length(items)
        text = replace(string(item), "\n" => "\n" * below * (is_last ? "  " : "│ "))
        print(io, "\n", below, is_last ? "└ " : "├ ", text)
    end
    return
end

"""
    PytorchModel(filename)

A model that `torch.save(model, filename)` wrote, for [`add_predictor`](@ref). The file is read without Python.
"""
struct PytorchModel
    filename::String
end

"""
    ReducedSpace(predictor::AbstractPredictor) <: AbstractPredictor

The predictor without variables and constraints of its own where that can be: its outputs are expressions of its inputs.
`add_predictor` with `reduced_space = true` makes it.
"""
struct ReducedSpace{P<:AbstractPredictor} <: AbstractPredictor
    predictor::P

    ReducedSpace(predictor::P) where {P<:AbstractPredictor} = new{P}(predictor)
end

ReducedSpace(predictor::ReducedSpace) = predictor

Base.show(io::IO, predictor::ReducedSpace) = print(io, "ReducedSpace(", predictor.predictor, ")")

"""
    Pipeline(layers...) <: AbstractPredictor
    Pipeline(layers::Vector; input_size = nothing)

Predictors one after another; the field `layers` may be changed. `input_size` is that of [`add_predictor`](@ref).

Neighbouring layers that the library knows are formulated together: bounds are propagated through all of them, an element
whose value is certain takes no variable, and a neuron whose sign is certain no binary.
"""
struct Pipeline <: AbstractPredictor
    layers::Vector{AbstractPredictor}
    input_size::Union{Nothing,Dims}
    # Where the layers stand in a file, for messages and names; each beside the layer, which may have been replaced.
    paths::Vector{Pair{AbstractPredictor,String}}

    function Pipeline(layers::Vector; input_size = nothing, paths = String[])
        own = convert(Vector{AbstractPredictor}, layers)
        named = Pair{AbstractPredictor,String}[layer => path for (layer, path) in zip(own, paths)]
        return new(own, _check_input_size(input_size), named)
    end
end

# What the i-th layer is called.
function _layer_name(pipeline::Pipeline, i::Integer)
    layer = pipeline.layers[i]
    if i <= length(pipeline.paths) && pipeline.paths[i].first === layer
        return pipeline.paths[i].second
    end
    return _layer_name(layer)
end

function Pipeline(layers::AbstractPredictor...)
    flat(layer) = layer isa Pipeline ? layer.layers : [layer]
    return Pipeline(AbstractPredictor[inner for layer in layers for inner in flat(layer)])
end

function Base.show(io::IO, predictor::Pipeline)
    print(io, "Pipeline with layers:")
    foreach(layer -> print(io, "\n * ", layer), predictor.layers)
    return
end

"""
    GrayBox(model::Model; hessian = true, input_size = nothing, backend = "native", device = nothing) <: AbstractPredictor

A model as one vector-valued oracle with exact derivatives. It is what [`build_predictor`](@ref) makes with
`gray_box = true`.

# Example
A LeakyReLU of the variables `-1 <= x[1:2] <= 1`:
```text
GrayBox("leakyrelu.pt")
├ variables [2]
│ ├ output[1]
│ └ output[2]
└ constraints [5]
  ├ output[1] ≥ -0.010000000000000018
  ├ output[1] ≤ 1.0000000000000018
  ├ output[2] ≥ -0.010000000000000018
  ├ output[2] ≤ 1.0000000000000018
  └ [x[1], x[2], output[1], output[2]] ∈ VectorNonlinearOracle{Float64}(;
        dimension = 4,
        l = [0.0, 0.0],
        u = [0.0, 0.0],
        ...,
    )
```
"""
struct GrayBox <: AbstractPredictor
    model::Model
    hessian::Bool
    input_size::Union{Nothing,Dims}
    # What evaluates it, and where.
    engine::NamedTuple{(:backend, :device),Tuple{String,String}}

    function GrayBox(
        model::Model;
        hessian::Bool = true,
        input_size = nothing,
        backend::AbstractString = "native",
        device::Union{Nothing,AbstractString} = nothing,
    )
        engine = _engine(; backend = backend, device = device)
        _check_engine(engine)
        return new(model, hessian, _check_input_size(input_size), engine)
    end
end

Base.show(io::IO, predictor::GrayBox) = print(io, "GrayBox(", repr(predictor.model.path), ")")

function _check_input_size(input_size)
    input_size === nothing && return nothing
    if !(input_size isa Tuple{Vararg{Integer}}) || !(1 <= length(input_size) <= 3) || any(n -> n < 1, input_size)
        throw(InvalidArgumentError("input_size is $(repr(input_size)); (height, width, channels), (height, width) for " *
                                   "one channel, or (n,) are known"))
    end
    return Int.(input_size)
end

"""
    output_size(predictor::AbstractPredictor, input_size)

The size of what the predictor gives for an input of this size: `(height, width, channels)` for images, `(n,)` for vectors,
`nothing` where it is not known. A predictor of your own that changes sizes needs a method.
"""
output_size(::AbstractPredictor, ::Any) = nothing
output_size(predictor::ReducedSpace, input_size) = output_size(predictor.predictor, input_size)

function output_size(predictor::Pipeline, input_size)
    return foldl((size, layer) -> output_size(layer, size), predictor.layers; init = input_size)
end
