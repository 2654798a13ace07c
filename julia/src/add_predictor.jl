# What one does with predictors and JuMP models: generic functions, which ext/NativeTorchJuMPExt gives their methods.

"""
    y, formulation = add_predictor(model, predictor, x; kwargs...)

Add variables and constraints to `model` such that `y = predictor(x)`. Needs JuMP.

`predictor` is a [`PytorchModel`](@ref), a [`Model`](@ref) (read once for several calls), what [`build_predictor`](@ref)
made of one, or an [`AbstractPredictor`](@ref), also of your own.

`x` may mix numbers, variables and expressions. What is no variable, or stands in `x` twice, gets a variable of its own and
a constraint that fixes it, unless the formulation needs none. `y` is a vector. Bounds of `x` become bounds of all variables;
where all of `x` has start values, the forward pass gives start values to all variables. A `x` that is a vector of K arrays
stands for K points of one network; `y` is then a vector of K vectors, and a gray box one oracle.

# Order
 * A vector `x` of length n is torch's `[n]`, or `[1, n]` where the model does not take that.
 * An array is an image, H x W x C, and a matrix H x W: torch's `[1, C, H, W]`, or `[C, H, W]` where the model does not take
   that. Then outputs that are images are `vec` of an H x W x C array too; after a Flatten `y` is in torch's order.
 * A vector with `input_size = (H, W, C)` or `(H, W)` is `vec` of such an array.

Values are always torch's.

# Keywords
 * `reduced_space = false`: if true, `y` are expressions of `x`, without new variables and constraints.
 * `bounds = :interval`: how the bounds of the neurons are computed: `:interval`, `:linear`, `:lp` or `:mip`; see
   [`network_bounds`](@ref), which takes the same keywords `optimizer`, `time_limit` and `progress`.
 * `config`, `gray_box`, `hessian`, `input_size`, `device`, `backend`: those of [`build_predictor`](@ref).

# Formulations
Without `config`, kinks (ReLU and its kin, maximum pools) are formulated by big-M where the bounds of their inputs are finite
and the solver takes binary variables, else as nonlinear equations; neurons whose sign is certain are linear. Smooth layers
are nonlinear equations. Linear layers, convolutions, average pools and normalisations with stored statistics are linear rows.

# Errors
[`InvalidArgumentError`](@ref) if `x` does not fit the model, or if a big-M that was asked for is unbounded (the message names
the layer; give `x` bounds); [`UnsupportedError`](@ref) for a layer that is custom or not supported, or has no such form; the
errors of [`load`](@ref) and [`build_predictor`](@ref).

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
    if predictor isa Union{PytorchModel,Model,Layer,Pipeline,GrayBox,ReducedSpace,_LibraryLayer}
        throw(InvalidArgumentError("a PyTorch model can be added to a JuMP.Model, after `import JuMP`, for an array x; here " *
                                   "are a $(typeof(model)) and a $(typeof(x))"))
    elseif predictor isa AbstractPredictor
        throw(InvalidArgumentError("$kind has no method for these arguments; define " *
                                   "NativeTorch.add_predictor(model, predictor::$kind, x; kwargs...)"))
    end
    throw(InvalidArgumentError("a $kind cannot be added to a model; a NativeTorch.PytorchModel, or a subtype of " *
                               "NativeTorch.AbstractPredictor with its own method of add_predictor, can"))
end

"""
    add_operator(model, predictor, dimension; name = :network, hessian = true, input_size = nothing)

A network with one output as a nonlinear operator of `dimension` scalar arguments, for use in expressions:
`@objective(model, Min, op(x...) + x[1]^2)`. `predictor` is a [`PytorchModel`](@ref) or a [`Model`](@ref). Values, gradients
and, with `hessian`, second derivatives are exact. Needs JuMP.
"""
function add_operator end

"""
    classify(model, y, label; margin = 0.0)

Constraints that the largest of `y` is `y[label]`, by at least `margin`: `y[label] >= y[j] + margin` for all other `j`. They
are returned in the order of `j`. Needs JuMP.
"""
function classify end

"""
    delete(model, formulation)

Remove the variables and constraints of a formulation from the model. `JuMP.delete` has the same method. Needs JuMP.
"""
function delete end

"""
    formulation_error(formulation)

The largest difference between the solver's values of a network's outputs and the forward pass at the solver's values of its
inputs, after `optimize!`. Where predictors of your own stand between the layers, each part between them counts. Needs JuMP.
"""
function formulation_error end

"""
    replace_weights_with_variables(model, predictor; filter = Returns(true))

The predictor with decision variables in the place of the trained weights of its [`Affine`](@ref) and [`Scale`](@ref)
layers, or of those for which `filter(layer)` holds. Trained weights become start values. Needs JuMP.
"""
function replace_weights_with_variables end
