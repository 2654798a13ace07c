# Predictors of smooth functions, and what predictors of one element give for a number.

"""
    Sigmoid()

`y = 1 / (1 + exp(-x))` as a nonlinear equation.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.Sigmoid(), x);

julia> formulation
Sigmoid()
├ variables [2]
│ ├ Sigmoid.y[1]
│ └ Sigmoid.y[2]
└ constraints [6]
  ├ Sigmoid.y[1] ≥ 0.2689414213699946
  ├ Sigmoid.y[1] ≤ 0.8807970779778839
  ├ Sigmoid.y[2] ≥ 0.2689414213699946
  ├ Sigmoid.y[2] ≤ 0.8807970779778839
  ├ Sigmoid.y[1] - (0.5 + 0.5 * tanh(0.5 * x[1])) = 0
  └ Sigmoid.y[2] - (0.5 + 0.5 * tanh(0.5 * x[2])) = 0
```
"""
struct Sigmoid <: _LibraryLayer end

_part(::Sigmoid) = _make("Sigmoid")

"""
    Tanh()

`y = tanh(x)` as a nonlinear equation.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.Tanh(), x);

julia> formulation
Tanh()
├ variables [2]
│ ├ Tanh.y[1]
│ └ Tanh.y[2]
└ constraints [6]
  ├ Tanh.y[1] ≥ -0.7615941559557662
  ├ Tanh.y[1] ≤ 0.9640275800758186
  ├ Tanh.y[2] ≥ -0.7615941559557662
  ├ Tanh.y[2] ≤ 0.9640275800758186
  ├ Tanh.y[1] - tanh(x[1]) = 0
  └ Tanh.y[2] - tanh(x[2]) = 0
```
"""
struct Tanh <: _LibraryLayer end

_part(::Tanh) = _make("Tanh")

"""
    GELU(; approximate = "none")

The Gaussian error linear unit as a nonlinear equation: `"none"` with the error function, `"tanh"` with its approximation.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.GELU(), x);

julia> formulation
GELU(none)
├ variables [2]
│ ├ GELU.y[1]
│ └ GELU.y[2]
└ constraints [6]
  ├ GELU.y[1] ≥ -0.1699712074799075
  ├ GELU.y[1] ≤ 1.9544997361036487
  ├ GELU.y[2] ≥ -0.1699712074799075
  ├ GELU.y[2] ≤ 1.9544997361036487
  ├ GELU.y[1] - (0.5 * x[1]) * (1 + erf(0.7071067811865476 * x[1])) = 0
  └ GELU.y[2] - (0.5 * x[2]) * (1 + erf(0.7071067811865476 * x[2])) = 0
```
"""
struct GELU <: _LibraryLayer
    approximate::String

    function GELU(; approximate::AbstractString = "none")
        if approximate != "none" && approximate != "tanh"
            throw(InvalidArgumentError("GELU: approximate is $(repr(approximate)); \"none\" and \"tanh\" are known"))
        end
        return new(approximate)
    end
end

_part(predictor::GELU) = _make("GELU", "approximate='$(predictor.approximate)'")

"""
    SoftMax(; dim = nothing)

`y = exp(x) / sum(exp(x))` over torch's dimension `dim` (by default the last but for batches of sequences, as torch
chooses), as nonlinear equations that cannot overflow.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.SoftMax(), x);

julia> formulation
SoftMax(nothing)
├ variables [3]
│ ├ SoftMax.shift[1]
│ ├ SoftMax.y[1]
│ └ SoftMax.y[2]
└ constraints [9]
  ├ SoftMax.shift[1] ≥ -0.30685281944006293
  ├ SoftMax.shift[1] ≤ 2.6931471805599534
  ├ SoftMax.y[1] ≥ 0.04742587317755097
  ├ SoftMax.y[1] ≤ 0.9525741268227511
  ├ SoftMax.y[2] ≥ 0.04742587317755097
  ├ SoftMax.y[2] ≤ 0.9525741268227511
  ├ SoftMax.y[1] + SoftMax.y[2] = 1
  ├ SoftMax.y[1] - exp(x[1] - SoftMax.shift[1]) = 0
  └ SoftMax.y[2] - exp(x[2] - SoftMax.shift[1]) = 0
```
"""
struct SoftMax <: _LibraryLayer
    dim::Union{Nothing,Int}

    SoftMax(; dim = nothing) = new(dim)
end

_part(predictor::SoftMax) = _make("Softmax", "dim=$(something(predictor.dim, "None"))")

"""
    SoftPlus(; beta = 1.0, threshold = 20.0)

`y = log(1 + exp(beta x)) / beta`, and `x` where `beta x > threshold`, as a nonlinear equation.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.SoftPlus(), x);

julia> formulation
SoftPlus(1.0, 20.0)
├ variables [2]
│ ├ SoftPlus.y[1]
│ └ SoftPlus.y[2]
└ constraints [6]
  ├ SoftPlus.y[1] ≥ 0.3132616875182223
  ├ SoftPlus.y[1] ≤ 2.1269280110429767
  ├ SoftPlus.y[2] ≥ 0.3132616875182223
  ├ SoftPlus.y[2] ≤ 2.1269280110429767
  ├ SoftPlus.y[1] - log1p(exp(x[1])) = 0
  └ SoftPlus.y[2] - log1p(exp(x[2])) = 0
```
"""
struct SoftPlus <: _LibraryLayer
    beta::Float64
    threshold::Float64

    SoftPlus(; beta::Real = 1.0, threshold::Real = 20.0) = new(beta, threshold)
end

"""
    SoftPlusEpigraph(; beta = 1.0, threshold = 20.0)

`y >= log(1 + exp(beta x)) / beta` as a nonlinear inequality, exact where the objective presses `y` down.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.SoftPlusEpigraph(), x);

julia> formulation
SoftPlusEpigraph(1.0, 20.0)
├ variables [2]
│ ├ SoftPlus.y[1]
│ └ SoftPlus.y[2]
└ constraints [6]
  ├ SoftPlus.y[1] ≥ 0.3132616875182223
  ├ SoftPlus.y[1] ≤ 2.1269280110429767
  ├ SoftPlus.y[2] ≥ 0.3132616875182223
  ├ SoftPlus.y[2] ≤ 2.1269280110429767
  ├ SoftPlus.y[1] - log1p(exp(x[1])) ≥ 0
  └ SoftPlus.y[2] - log1p(exp(x[2])) ≥ 0
```
"""
struct SoftPlusEpigraph <: _LibraryLayer
    beta::Float64
    threshold::Float64

    SoftPlusEpigraph(; beta::Real = 1.0, threshold::Real = 20.0) = new(beta, threshold)
end

"""
    SoftPlusConicEpigraph(; beta = 1.0, threshold = 20.0)

`y >= log(1 + exp(beta x)) / beta` with two exponential cones, exact where the objective presses `y` down.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.SoftPlusConicEpigraph(), x);

julia> formulation
SoftPlusConicEpigraph(1.0, 20.0)
├ variables [6]
│ ├ SoftPlus.y[1]
│ ├ SoftPlus.share[1]
│ ├ SoftPlus.rest[1]
│ ├ SoftPlus.y[2]
│ ├ SoftPlus.share[2]
│ └ SoftPlus.rest[2]
└ constraints [18]
  ├ SoftPlus.y[1] ≥ 0.3132616875182223
  ├ SoftPlus.y[1] ≤ 2.1269280110429767
  ├ SoftPlus.share[1] ≥ 0
  ├ SoftPlus.share[1] ≤ 1
  ├ SoftPlus.rest[1] ≥ 0
  ├ SoftPlus.rest[1] ≤ 1
  ├ SoftPlus.y[2] ≥ 0.3132616875182223
  ├ SoftPlus.y[2] ≤ 2.1269280110429767
  ├ SoftPlus.share[2] ≥ 0
  ├ SoftPlus.share[2] ≤ 1
  ├ SoftPlus.rest[2] ≥ 0
  ├ SoftPlus.rest[2] ≤ 1
  ├ SoftPlus.share[1] + SoftPlus.rest[1] ≤ 1
  ├ SoftPlus.share[2] + SoftPlus.rest[2] ≤ 1
  ├ [x[1] - SoftPlus.y[1], 1, SoftPlus.share[1]] ∈ MathOptInterface.ExponentialCone()
  ├ [-SoftPlus.y[1], 1, SoftPlus.rest[1]] ∈ MathOptInterface.ExponentialCone()
  ├ [x[2] - SoftPlus.y[2], 1, SoftPlus.share[2]] ∈ MathOptInterface.ExponentialCone()
  └ [-SoftPlus.y[2], 1, SoftPlus.rest[2]] ∈ MathOptInterface.ExponentialCone()
```
"""
struct SoftPlusConicEpigraph <: _LibraryLayer
    beta::Float64
    threshold::Float64

    SoftPlusConicEpigraph(; beta::Real = 1.0, threshold::Real = 20.0) = new(beta, threshold)
end

const _SoftPluses = Union{SoftPlus,SoftPlusEpigraph,SoftPlusConicEpigraph}

_part(predictor::_SoftPluses) = _make("Softplus", "beta=$(predictor.beta), threshold=$(_python(predictor.threshold))")
_layer_name(::_SoftPluses) = "SoftPlus"
_form(::SoftPlus) = _Form(:nonlinear)
_form(::SoftPlusEpigraph) = _Form(:epigraph)
_form(::SoftPlusConicEpigraph) = _Form(:cones)

_python(number::Float64) = isinf(number) ? (number > 0 ? "inf" : "-inf") : string(number)

# Values at numbers, for callbacks that fold weights.
(::_ReLUs)(x::Real) = max(0, x)
(predictor::LeakyReLU)(x::Real) = x > 0 ? x : predictor.negative_slope * x
(::Sigmoid)(x::Real) = 0.5 + 0.5 * tanh(0.5 * x)
(::Tanh)(x::Real) = tanh(x)

function (predictor::_SoftPluses)(x::Real)
    t = predictor.beta * x
    return t > predictor.threshold ? float(x) : (max(t, 0) + log1p(exp(-abs(t)))) / predictor.beta
end
