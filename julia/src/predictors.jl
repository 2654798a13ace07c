# Predictors: models as parts of optimisation models. What is here needs no modelling language; the methods that add a
# predictor to a JuMP model are in ext/NativeTorchJuMPExt, which is loaded with JuMP.

"""
    abstract type AbstractPredictor end

What can be added to an optimisation model by [`add_predictor`](@ref). A subtype of your own needs one method:

```julia
struct Square <: NativeTorch.AbstractPredictor end

function NativeTorch.add_predictor(model, ::Square, x; kwargs...)
    y = @variable(model, [1:length(x)])
    constraints = @constraint(model, y .== x .^ 2)
    return y, NativeTorch.Formulation(Square(), y, constraints)
end
```
"""
abstract type AbstractPredictor end

"The type of what [`add_predictor`](@ref) gives besides `y`."
abstract type AbstractFormulation end

"""
    Formulation(predictor, variables, constraints)

What a predictor added to a model: the fields `predictor`, `variables` and `constraints`, the bounds of the new variables
among these. Prints as a tree.
"""
struct Formulation{P<:AbstractPredictor} <: AbstractFormulation
    predictor::P
    variables::Vector{Any}
    constraints::Vector{Any}

    function Formulation(predictor::P, variables, constraints) where {P<:AbstractPredictor}
        return new{P}(predictor, collect(Any, variables), collect(Any, constraints))
    end
end

function Base.show(io::IO, formulation::Formulation)
    print(io, formulation.predictor)
    _show_branch(io, "├ ", "│ ", "variables", formulation.variables)
    _show_branch(io, "└ ", "  ", "constraints", formulation.constraints)
    return
end

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
    FullSpace(model::Model; input_size = nothing) <: AbstractPredictor

A model in full space: a variable for each element of each layer, linear rows, big-M constraints for ReLU, LeakyReLU and
max pools, with bounds by interval propagation from those of the input, and nonlinear equations for smooth layers. It is
what [`build_predictor`](@ref) makes without `gray_box`.

# Example
A LeakyReLU of the variables `-1 <= x[1:2] <= 1`, the second one as `x[2] + 2`:
```text
FullSpace("leakyrelu.pt")
├ variables [3]
│ ├ input[2]
│ ├ layer_0.y[1]
│ └ layer_0.on[1]
└ constraints [8]
  ├ -x[2] + input[2] = 2
  ├ layer_0.y[1] ≥ -0.010000000000000023
  ├ layer_0.y[1] ≤ 1.0000000000000022
  ├ layer_0.on[1] binary
  ├ -x[1] + layer_0.y[1] ≥ 0
  ├ -0.01 x[1] + layer_0.y[1] ≥ 0
  ├ -x[1] + layer_0.y[1] + 0.9900000000000004 layer_0.on[1] ≤ 0.9900000000000004
  └ -0.01 x[1] + layer_0.y[1] - 0.9900000000000004 layer_0.on[1] ≤ 0
```
The second element is never negative: it needs no variable of its own.
"""
struct FullSpace <: AbstractPredictor
    model::Model
    input_size::Union{Nothing,Dims}

    FullSpace(model::Model; input_size = nothing) = new(model, _check_input_size(input_size))
end

"""
    GrayBox(model::Model; hessian = true, input_size = nothing) <: AbstractPredictor

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

    function GrayBox(model::Model; hessian::Bool = true, input_size = nothing)
        return new(model, hessian, _check_input_size(input_size))
    end
end

Base.show(io::IO, predictor::FullSpace) = print(io, "FullSpace(", repr(predictor.model.path), ")")
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
    build_predictor(predictor::Union{PytorchModel,Model}; kwargs...) -> AbstractPredictor

The predictor that [`add_predictor`](@ref) adds: a [`FullSpace`](@ref) or a [`GrayBox`](@ref). The keywords are those of
`add_predictor`, without `reduced_space`. The file is read here.
"""
build_predictor(predictor::PytorchModel; kwargs...) = build_predictor(load(predictor.filename); kwargs...)

function build_predictor(
    model::Model;
    config::AbstractDict = Dict{Any,Any}(),
    gray_box::Bool = false,
    hessian::Bool = true,
    device::AbstractString = "cpu",
    input_size = nothing,
)
    if device != "cpu"
        throw(UnsupportedError("device is $(repr(device)), but models are evaluated on \"cpu\" alone"))
    end
    if !isempty(config)
        key = repr(first(keys(config)))
        reason = gray_box ? "a gray box has no layers to configure" :
                 "ReLU and max pools are formulated by big-M, smooth layers by nonlinear equations, and nothing else is " *
                 "there yet"
        throw(UnsupportedError("config has the key $key, but no key is known: $reason; leave config out"))
    end
    return gray_box ? GrayBox(model; hessian = hessian, input_size = input_size) :
           FullSpace(model; input_size = input_size)
end

"""
    y, formulation = add_predictor(model, predictor, x; kwargs...)

Add variables and constraints to `model` such that `y = predictor(x)`. Needs JuMP.

`predictor` is a [`PytorchModel`](@ref), a [`Model`](@ref) (read once for several calls), what [`build_predictor`](@ref)
made of one, or an [`AbstractPredictor`](@ref) of your own.

`x` may mix numbers, variables and expressions. What is no variable, or stands in `x` twice, gets a variable of its own and
a constraint that fixes it. `y` is a vector. Bounds of `x` become bounds of all variables; where all of `x` has start values,
the forward pass gives start values to all variables.

# Order
 * A vector `x` of length n is torch's `[n]`, or `[1, n]` where the model does not take that.
 * An array is an image, H x W x C, and a matrix H x W: torch's `[1, C, H, W]`, or `[C, H, W]` where the model does not take
   that. Then outputs that are images are `vec` of an H x W x C array too; after a Flatten `y` is in torch's order.
 * A vector with `input_size = (H, W, C)` or `(H, W)` is `vec` of such an array.

Values are always torch's.

# Keywords
 * `gray_box = false`: if true, the model is one vector-valued oracle (`MOI.VectorNonlinearOracle`) with exact derivatives,
   for nonlinear solvers such as Ipopt. Otherwise it is formulated in full space: a mixed-integer linear model where all
   layers are piecewise linear, nonlinear equations for smooth ones.
 * `hessian = true`: with `gray_box`, whether the oracle gives the Hessian of the Lagrangian.
 * `device = "cpu"`: nothing else is there yet.
 * `input_size = nothing`: the size of an image that `x` holds as a vector.
 * `config = Dict()`: no key is known yet.
 * `reduced_space = false`: not there yet.

# Errors
[`InvalidArgumentError`](@ref) if `x` does not fit the model, or if a big-M is unbounded (the message names the layer; give
`x` bounds); [`UnsupportedError`](@ref) for a layer that is custom or not supported and for keywords that are not there yet;
the errors of [`load`](@ref).

# Example
```julia
using JuMP, HiGHS
import NativeTorch
model = Model(HiGHS.Optimizer)
@variable(model, 0 <= x[1:64] <= 1)
predictor = NativeTorch.PytorchModel("docs/examples/digits/digits.pt")
y, formulation = NativeTorch.add_predictor(model, predictor, x)
@objective(model, Max, y[4])
optimize!(model)
```
"""
function add_predictor(model, predictor, x; kwargs...)
    kind = typeof(predictor)
    if predictor isa Union{PytorchModel,Model,FullSpace,GrayBox}
        throw(InvalidArgumentError("a PyTorch model can be added to a JuMP.Model, after `import JuMP`, for an array x; here " *
                                   "are a $(typeof(model)) and a $(typeof(x))"))
    elseif predictor isa AbstractPredictor
        throw(InvalidArgumentError("$kind has no method for these arguments; define " *
                                   "NativeTorch.add_predictor(model, predictor::$kind, x; kwargs...)"))
    end
    throw(InvalidArgumentError("a $kind cannot be added to a model; a NativeTorch.PytorchModel, or a subtype of " *
                               "NativeTorch.AbstractPredictor with its own method of add_predictor, can"))
end
