# Predictors that the library formulates: layers of a file, and those that are made here.

# A layer that the library knows. `_part` gives it as a model, `_form` how its kinks or its curvature are formulated.
abstract type _LibraryLayer <: AbstractPredictor end

# A way to formulate a layer; what the parameter is depends on the kind.
struct _Form
    kind::Symbol
    parameter::Float64
end

_Form(kind::Symbol) = _Form(kind, NaN)

# Big-M where the bounds allow it and the solver takes binaries, else nonlinear.
const _AUTOMATIC = _Form(:automatic)

_form(::_LibraryLayer) = _AUTOMATIC

Base.show(io::IO, predictor::_LibraryLayer) = _show_call(io, predictor)

# A predictor as the call that makes it, by its fields.
function _show_call(io::IO, predictor)
    fields = (getfield(predictor, name) for name in fieldnames(typeof(predictor)))
    print(io, nameof(typeof(predictor)), "(", join(fields, ", "), ")")
    return
end

# What a layer is called among those of a pipeline, where no file names it.
_layer_name(predictor::_LibraryLayer) = string(nameof(typeof(predictor)))

# A layer without parameters.
_make(kind::String, attributes::String = "") = Model(_model_layer(kind, attributes, nothing, nothing, nothing, nothing), kind)

"""
    TorchLayer(layer::Layer; relu = nothing)

A layer of a file as torch defines it. `relu` is the predictor whose formulation its kinks take, such as
[`ReLUSOS1`](@ref)`()`.
"""
struct TorchLayer <: _LibraryLayer
    layer::Layer
    relu::Union{Nothing,AbstractPredictor}

    TorchLayer(layer::Layer; relu = nothing) = new(layer, relu)
end

_part(predictor::TorchLayer) = _part(predictor.layer)
_form(predictor::TorchLayer) = predictor.relu === nothing ? _AUTOMATIC : _form(predictor.relu)
_layer_name(predictor::TorchLayer) = _path(predictor.layer)

function Base.show(io::IO, predictor::TorchLayer)
    print(io, getfield(predictor.layer, :description))
    predictor.relu === nothing || print(io, " by ", predictor.relu)
    return
end

"""
    TorchProgram(layer::Layer, forms = [])

A program of `torch.export` or TorchScript. `forms` pairs kinds of its operations with their forms.
"""
struct TorchProgram <: _LibraryLayer
    layer::Layer
    forms::Vector{Pair{String,_Form}}

    TorchProgram(layer::Layer, forms = Pair{String,_Form}[]) = new(layer, forms)
end

_part(predictor::TorchProgram) = _model(predictor.layer)
_layer_name(::TorchProgram) = ""

function Base.show(io::IO, predictor::TorchProgram)
    choices = _choices(predictor, "")
    return print(io, getfield(predictor.layer, :description), isempty(choices) ? "" : " by ", join(choices, ", "))
end

# The forms that a layer of this name chooses, as the library reads them, and whether it leaves any choice open.
_choices(predictor::_LibraryLayer, name::String) = _choice("layer $name", _form(predictor))
_choices(predictor::TorchProgram, ::String) = String[text for (kind, form) in predictor.forms for text in _choice(kind, form)]
_choice(what::String, form::_Form) = form.kind === :automatic ? String[] : ["$what=$(_spell(form))"]
_leaves_choice(predictor::_LibraryLayer) = _form(predictor).kind === :automatic
_leaves_choice(predictor::TorchProgram) = !(["relu", "max_pool"] ⊆ map(first, predictor.forms))

function _spell(form::_Form)
    kind, number = form.kind, form.parameter
    kind === :big_m && return isfinite(number) ? "big_m($number)" : "big_m"
    kind === :quadratic && return number > 0 ? "quadratic($number)" : "quadratic"
    kind === :partition && return "partition($(Int(number)))"
    kind === :cones && return "cone"
    return string(kind)
end

"""
    Affine(A::Matrix, b::Vector = zeros(size(A, 1)))

`y = A x + b`. The entries may be JuMP's decision variables: see [`replace_weights_with_variables`](@ref).

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.Affine([2.0 3.0], [4.0]), x);

julia> formulation
Affine(A, b) [input: 2, output: 1]
├ variables [1]
│ └ Affine.z[1]
└ constraints [3]
  ├ Affine.z[1] ≥ -1.0000000000000124
  ├ Affine.z[1] ≤ 14.000000000000012
  └ -2 x[1] - 3 x[2] + Affine.z[1] = 4
```
"""
struct Affine{T} <: _LibraryLayer
    A::Matrix{T}
    b::Vector{T}
    name::String

    function Affine{T}(A::Matrix{T}, b::Vector{T}; name::String = "Affine") where {T}
        if size(A, 1) != length(b)
            throw(DimensionMismatch("Affine: A has $(size(A, 1)) rows, but b has length $(length(b))"))
        end
        return new{T}(A, b, name)
    end
end

function Affine(A::AbstractMatrix, b::AbstractVector = zeros(size(A, 1)); name::String = "Affine")
    T = promote_type(eltype(A), eltype(b))
    return Affine{T}(convert(Matrix{T}, A), convert(Vector{T}, b); name = name)
end

Affine(A::AbstractVector) = Affine(reshape(A, 1, length(A)))

_layer_name(predictor::Affine) = predictor.name

function _part(predictor::Affine{<:Real})
    m, n = size(predictor.A)
    weight = vec(permutedims(convert(Matrix{Float64}, predictor.A)))
    handle = _model_layer(
        "Linear",
        "in_features=$n, out_features=$m",
        Csize_t[m, n],
        weight,
        Csize_t[m],
        convert(Vector{Float64}, predictor.b),
    )
    return Model(handle, "Affine")
end

function Base.show(io::IO, predictor::Affine)
    m, n = size(predictor.A)
    return print(io, "Affine(A, b) [input: ", n, ", output: ", m, "]")
end

"""
    ReLU()

`y = max(0, x)` as a nonlinear equation. Where a network is added without `config`, its ReLUs are formulated by big-M
instead if the bounds of their inputs are finite and the solver takes binary variables.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReLU(), x);

julia> formulation
ReLU()
├ variables [2]
│ ├ ReLU.y[1]
│ └ ReLU.y[2]
└ constraints [6]
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 2
  ├ ReLU.y[2] ≥ 0
  ├ ReLU.y[2] ≤ 2
  ├ ReLU.y[1] - max(x[1], 0) = 0
  └ ReLU.y[2] - max(x[2], 0) = 0
```
"""
struct ReLU <: _LibraryLayer end

"""
    ReLUBigM(M = Inf)

`y = max(0, x)` with a binary variable `z`:
```math
y \\ge 0, \\quad y \\ge x, \\quad y \\le u z, \\quad y \\le x - l (1 - z)
```
where `l` and `u` are the bounds of `x`; where `x` has none, `M` stands for them, and the formulation then says that `x` is
between `-M` and `M`. An `M` smaller than a bound is not used: it would cut off points.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReLUBigM(100.0), x);

julia> formulation
ReLUBigM(100.0)
├ variables [4]
│ ├ ReLU.y[1]
│ ├ ReLU.on[1]
│ ├ ReLU.y[2]
│ └ ReLU.on[2]
└ constraints [12]
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 2
  ├ ReLU.on[1] binary
  ├ ReLU.y[2] ≥ 0
  ├ ReLU.y[2] ≤ 2
  ├ ReLU.on[2] binary
  ├ -x[1] + ReLU.y[1] ≥ 0
  ├ -x[1] + ReLU.y[1] + ReLU.on[1] ≤ 1
  ├ ReLU.y[1] - 2 ReLU.on[1] ≤ 0
  ├ -x[2] + ReLU.y[2] ≥ 0
  ├ -x[2] + ReLU.y[2] + ReLU.on[2] ≤ 1
  └ ReLU.y[2] - 2 ReLU.on[2] ≤ 0
```
"""
struct ReLUBigM <: _LibraryLayer
    M::Float64

    function ReLUBigM(M::Real = Inf)
        M > 0 || throw(InvalidArgumentError("ReLUBigM: M is $M, but must be positive"))
        return new(M)
    end
end

"""
    ReLUSOS1()

`y = max(0, x)` by `x = y - z`, `y, z >= 0`, of which one is zero by an SOS1 set.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReLUSOS1(), x);

julia> formulation
ReLUSOS1()
├ variables [4]
│ ├ ReLU.y[1]
│ ├ ReLU.negative[1]
│ ├ ReLU.y[2]
│ └ ReLU.negative[2]
└ constraints [12]
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 2
  ├ ReLU.negative[1] ≥ 0
  ├ ReLU.negative[1] ≤ 1
  ├ ReLU.y[2] ≥ 0
  ├ ReLU.y[2] ≤ 2
  ├ ReLU.negative[2] ≥ 0
  ├ ReLU.negative[2] ≤ 1
  ├ x[1] - ReLU.y[1] + ReLU.negative[1] = 0
  ├ x[2] - ReLU.y[2] + ReLU.negative[2] = 0
  ├ [ReLU.y[1], ReLU.negative[1]] ∈ MathOptInterface.SOS1{Float64}([1.0, 2.0])
  └ [ReLU.y[2], ReLU.negative[2]] ∈ MathOptInterface.SOS1{Float64}([1.0, 2.0])
```
"""
struct ReLUSOS1 <: _LibraryLayer end

"""
    ReLUQuadratic(; relaxation_parameter = nothing)

`y = max(0, x)` by `x = y - z`, `y, z >= 0`, `y z = 0`; with a `relaxation_parameter` ε, `y z <= ε`.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReLUQuadratic(), x);

julia> formulation
ReLUQuadratic(nothing)
├ variables [4]
│ ├ ReLU.y[1]
│ ├ ReLU.negative[1]
│ ├ ReLU.y[2]
│ └ ReLU.negative[2]
└ constraints [12]
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 2
  ├ ReLU.negative[1] ≥ 0
  ├ ReLU.negative[1] ≤ 1
  ├ ReLU.y[2] ≥ 0
  ├ ReLU.y[2] ≤ 2
  ├ ReLU.negative[2] ≥ 0
  ├ ReLU.negative[2] ≤ 1
  ├ x[1] - ReLU.y[1] + ReLU.negative[1] = 0
  ├ x[2] - ReLU.y[2] + ReLU.negative[2] = 0
  ├ ReLU.y[1]*ReLU.negative[1] = 0
  └ ReLU.y[2]*ReLU.negative[2] = 0
```
"""
struct ReLUQuadratic <: _LibraryLayer
    relaxation_parameter::Union{Nothing,Float64}

    function ReLUQuadratic(; relaxation_parameter::Union{Nothing,Real} = nothing)
        if relaxation_parameter !== nothing && !(relaxation_parameter >= 0)
            throw(InvalidArgumentError("ReLUQuadratic: relaxation_parameter is $relaxation_parameter, but must not be negative"))
        end
        return new(relaxation_parameter)
    end
end

"""
    ReLUComplementarity()

`y = max(0, x)` by `x = y - z` and MathOptInterface's `Complements`: `0 <= y`, `0 <= z`, one of them zero.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReLUComplementarity(), x);

julia> formulation
ReLUComplementarity()
├ variables [4]
│ ├ ReLU.y[1]
│ ├ ReLU.negative[1]
│ ├ ReLU.y[2]
│ └ ReLU.negative[2]
└ constraints [12]
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 2
  ├ ReLU.negative[1] ≥ 0
  ├ ReLU.negative[1] ≤ 1
  ├ ReLU.y[2] ≥ 0
  ├ ReLU.y[2] ≤ 2
  ├ ReLU.negative[2] ≥ 0
  ├ ReLU.negative[2] ≤ 1
  ├ x[1] - ReLU.y[1] + ReLU.negative[1] = 0
  ├ x[2] - ReLU.y[2] + ReLU.negative[2] = 0
  ├ [ReLU.y[1], ReLU.negative[1]] ∈ MathOptInterface.Complements(2)
  └ [ReLU.y[2], ReLU.negative[2]] ∈ MathOptInterface.Complements(2)
```
"""
struct ReLUComplementarity <: _LibraryLayer end

"""
    ReLUIndicator()

`y = max(0, x)` with a binary variable and indicator constraints: `z = 1` implies `y = x`, `z = 0` implies `y = 0`. Needs no
bounds of `x`.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReLUIndicator(), x);

julia> formulation
ReLUIndicator()
├ variables [4]
│ ├ ReLU.y[1]
│ ├ ReLU.on[1]
│ ├ ReLU.y[2]
│ └ ReLU.on[2]
└ constraints [14]
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 2
  ├ ReLU.on[1] binary
  ├ ReLU.y[2] ≥ 0
  ├ ReLU.y[2] ≤ 2
  ├ ReLU.on[2] binary
  ├ !ReLU.on[1] --> {ReLU.y[1] = 0}
  ├ !ReLU.on[1] --> {x[1] ≤ 0}
  ├ ReLU.on[1] --> {-x[1] + ReLU.y[1] = 0}
  ├ ReLU.on[1] --> {x[1] ≥ 0}
  ├ !ReLU.on[2] --> {ReLU.y[2] = 0}
  ├ !ReLU.on[2] --> {x[2] ≤ 0}
  ├ ReLU.on[2] --> {-x[2] + ReLU.y[2] = 0}
  └ ReLU.on[2] --> {x[2] ≥ 0}
```
"""
struct ReLUIndicator <: _LibraryLayer end

"""
    ReLUEpigraph()

`y >= max(0, x)`, exact where the objective presses `y` down.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReLUEpigraph(), x);

julia> formulation
ReLUEpigraph()
├ variables [2]
│ ├ ReLU.y[1]
│ └ ReLU.y[2]
└ constraints [6]
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 2
  ├ ReLU.y[2] ≥ 0
  ├ ReLU.y[2] ≤ 2
  ├ -x[1] + ReLU.y[1] ≥ 0
  └ -x[2] + ReLU.y[2] ≥ 0
```
"""
struct ReLUEpigraph <: _LibraryLayer end

"""
    ReLUPartition(n)

`y = max(0, w'x + b)` with the inputs of the neuron in `n` parts: between big-M (`n = 1`) and the convex hull (`n` the
number of inputs). Tsay, Kronqvist, Thebelt and Misener, Partition-based formulations for mixed-integer optimization of
trained ReLU neural networks, NeurIPS 2021.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> pipeline = NativeTorch.Pipeline([NativeTorch.Affine([2.0 3.0], [-0.5]), NativeTorch.ReLUPartition(2)]);

julia> y, formulation = NativeTorch.add_predictor(model, pipeline, x);

julia> formulation
Affine(A, b) [input: 2, output: 1]
├ variables [1]
│ └ Affine.z[1]
└ constraints [3]
  ├ Affine.z[1] ≥ -5.50000000000001
  ├ Affine.z[1] ≤ 9.500000000000009
  └ -2 x[1] - 3 x[2] + Affine.z[1] = -0.5
ReLUPartition(2)
├ variables [4]
│ ├ ReLU.on[1]
│ ├ ReLU.share[1]
│ ├ ReLU.share[2]
│ └ ReLU.y[1]
└ constraints [17]
  ├ ReLU.on[1] binary
  ├ ReLU.share[1] ≥ -3.000000000000004
  ├ ReLU.share[1] ≤ 6.000000000000004
  ├ ReLU.share[2] ≥ -2.0000000000000027
  ├ ReLU.share[2] ≤ 4.000000000000003
  ├ ReLU.y[1] ≥ 0
  ├ ReLU.y[1] ≤ 9.500000000000009
  ├ 3.000000000000004 ReLU.on[1] + ReLU.share[1] ≥ 0
  ├ -6.000000000000004 ReLU.on[1] + ReLU.share[1] ≤ 0
  ├ 3 x[2] - 3.000000000000004 ReLU.on[1] - ReLU.share[1] ≥ -3.000000000000004
  ├ 3 x[2] + 6.000000000000004 ReLU.on[1] - ReLU.share[1] ≤ 6.000000000000004
  ├ 2.0000000000000027 ReLU.on[1] + ReLU.share[2] ≥ 0
  ├ -4.000000000000003 ReLU.on[1] + ReLU.share[2] ≤ 0
  ├ 2 x[1] - 2.0000000000000027 ReLU.on[1] - ReLU.share[2] ≥ -2.0000000000000027
  ├ 2 x[1] + 4.000000000000003 ReLU.on[1] - ReLU.share[2] ≤ 4.000000000000003
  ├ 0.5 ReLU.on[1] - ReLU.share[1] - ReLU.share[2] + ReLU.y[1] = 0
  └ -Affine.z[1] + ReLU.y[1] ≥ 0
```
"""
struct ReLUPartition <: _LibraryLayer
    n::Int

    function ReLUPartition(n::Integer)
        n >= 1 || throw(InvalidArgumentError("ReLUPartition: n is $n, but must be positive"))
        return new(n)
    end
end

const _ReLUs = Union{
    ReLU,ReLUBigM,ReLUSOS1,ReLUQuadratic,ReLUComplementarity,ReLUIndicator,ReLUEpigraph,ReLUPartition,
}

_part(::_ReLUs) = _make("ReLU")
_layer_name(::_ReLUs) = "ReLU"
_form(::ReLU) = _Form(:nonlinear)
_form(predictor::ReLUBigM) = _Form(:big_m, predictor.M)
_form(::ReLUSOS1) = _Form(:sos1)
_form(predictor::ReLUQuadratic) = _Form(:quadratic, something(predictor.relaxation_parameter, 0.0))
_form(::ReLUComplementarity) = _Form(:complementarity)
_form(::ReLUIndicator) = _Form(:indicator)
_form(::ReLUEpigraph) = _Form(:epigraph)
_form(predictor::ReLUPartition) = _Form(:partition, predictor.n)

"""
    LeakyReLU(; negative_slope, relu = nothing)

`y = max(0, x) + negative_slope * min(0, x)`. `relu` is the predictor whose formulation it takes.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.LeakyReLU(; negative_slope = 0.5), x);

julia> formulation
LeakyReLU(0.5, nothing)
├ variables [4]
│ ├ LeakyReLU.y[1]
│ ├ LeakyReLU.on[1]
│ ├ LeakyReLU.y[2]
│ └ LeakyReLU.on[2]
└ constraints [14]
  ├ LeakyReLU.y[1] ≥ -0.5000000000000009
  ├ LeakyReLU.y[1] ≤ 2.0000000000000036
  ├ LeakyReLU.on[1] binary
  ├ LeakyReLU.y[2] ≥ -0.5000000000000009
  ├ LeakyReLU.y[2] ≤ 2.0000000000000036
  ├ LeakyReLU.on[2] binary
  ├ -0.5 x[1] + LeakyReLU.y[1] ≥ 0
  ├ -x[1] + LeakyReLU.y[1] ≥ 0
  ├ -x[1] + LeakyReLU.y[1] + 0.5 LeakyReLU.on[1] ≤ 0.5
  ├ -0.5 x[1] + LeakyReLU.y[1] - LeakyReLU.on[1] ≤ 0
  ├ -0.5 x[2] + LeakyReLU.y[2] ≥ 0
  ├ -x[2] + LeakyReLU.y[2] ≥ 0
  ├ -x[2] + LeakyReLU.y[2] + 0.5 LeakyReLU.on[2] ≤ 0.5
  └ -0.5 x[2] + LeakyReLU.y[2] - LeakyReLU.on[2] ≤ 0
```
"""
struct LeakyReLU <: _LibraryLayer
    negative_slope::Float64
    relu::Union{Nothing,_ReLUs}

    LeakyReLU(; negative_slope::Real, relu = nothing) = new(negative_slope, relu)
end

_part(predictor::LeakyReLU) = _make("LeakyReLU", "negative_slope=$(predictor.negative_slope)")
_form(predictor::LeakyReLU) = predictor.relu === nothing ? _AUTOMATIC : _form(predictor.relu)

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

_pair(size::Integer) = (Int(size), Int(size))
_pair(size) = Tuple(Int.(size))::Tuple{Int,Int}

"""
    MaxPool2d(kernel_size; stride = kernel_size, padding = (0, 0), dilation = (1, 1), ceil_mode = false, input_size = nothing)

Maximum pooling as nonlinear equations, padded with -inf.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:4] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.MaxPool2d((1, 2); input_size = (1, 4)), x);

julia> formulation
MaxPool2d((1, 2), (1, 2), (0, 0), (1, 1), false, (1, 4))
├ variables [2]
│ ├ MaxPool2d.y[1]
│ └ MaxPool2d.y[2]
└ constraints [6]
  ├ MaxPool2d.y[1] ≥ -1
  ├ MaxPool2d.y[1] ≤ 2
  ├ MaxPool2d.y[2] ≥ -1
  ├ MaxPool2d.y[2] ≤ 2
  ├ MaxPool2d.y[1] - max(x[1], x[2]) = 0
  └ MaxPool2d.y[2] - max(x[3], x[4]) = 0
```
"""
struct MaxPool2d <: _LibraryLayer
    kernel_size::Tuple{Int,Int}
    stride::Tuple{Int,Int}
    padding::Tuple{Int,Int}
    dilation::Tuple{Int,Int}
    ceil_mode::Bool
    input_size::Union{Nothing,Dims}

    function MaxPool2d(kernel_size; stride = kernel_size, padding = 0, dilation = 1, ceil_mode = false, input_size = nothing)
        return new(_pair.((kernel_size, stride, padding, dilation))..., ceil_mode, _check_input_size(input_size))
    end
end

"""
    MaxPool2dBigM(kernel_size; M = Inf, kwargs...)

Maximum pooling by big-M, with a binary variable for each element of a window that can be the largest. The bounds of the
input give the constants; where there are none, `M` stands for them: the formulation then says that the elements of a window
lie within `M` of each other. An `M` smaller than the bounds ask for is not used. Other keywords are those of
[`MaxPool2d`](@ref).

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.MaxPool2dBigM((1, 2); input_size = (1, 2)), x);

julia> formulation
MaxPool2dBigM(MaxPool2d((1, 2), (1, 2), (0, 0), (1, 1), false, (1, 2)), Inf)
├ variables [3]
│ ├ MaxPool2d.y[1]
│ ├ MaxPool2d.chosen[1]
│ └ MaxPool2d.chosen[2]
└ constraints [9]
  ├ MaxPool2d.y[1] ≥ -1
  ├ MaxPool2d.y[1] ≤ 2
  ├ MaxPool2d.chosen[1] binary
  ├ MaxPool2d.chosen[2] binary
  ├ -x[1] + MaxPool2d.y[1] ≥ 0
  ├ -x[2] + MaxPool2d.y[1] ≥ 0
  ├ -x[1] + MaxPool2d.y[1] + 3 MaxPool2d.chosen[1] ≤ 3
  ├ -x[2] + MaxPool2d.y[1] + 3 MaxPool2d.chosen[2] ≤ 3
  └ MaxPool2d.chosen[1] + MaxPool2d.chosen[2] = 1
```
"""
struct MaxPool2dBigM <: _LibraryLayer
    pool::MaxPool2d
    M::Float64

    MaxPool2dBigM(kernel_size; M::Real = Inf, kwargs...) = new(MaxPool2d(kernel_size; kwargs...), M)
end

function _part(predictor::MaxPool2d)
    return _make(
        "MaxPool2d",
        "kernel_size=$(predictor.kernel_size), stride=$(predictor.stride), padding=$(predictor.padding), " *
        "dilation=$(predictor.dilation), ceil_mode=$(predictor.ceil_mode ? "True" : "False")",
    )
end

_form(::MaxPool2d) = _Form(:nonlinear)
_part(predictor::MaxPool2dBigM) = _part(predictor.pool)
_form(predictor::MaxPool2dBigM) = _Form(:big_m, predictor.M)
_layer_name(::Union{MaxPool2d,MaxPool2dBigM}) = "MaxPool2d"

# The size that a layer itself fixes for its input.
_own_input_size(::AbstractPredictor) = nothing
_own_input_size(predictor::MaxPool2d) = predictor.input_size
_own_input_size(predictor::MaxPool2dBigM) = predictor.pool.input_size

output_size(predictor::Affine, ::Nothing) = (size(predictor.A, 1),)
output_size(predictor::Affine, ::Tuple{Int}) = (size(predictor.A, 1),)
output_size(::_LibraryLayer, ::Nothing) = nothing

function output_size(predictor::_LibraryLayer, input_size::Dims)
    f, is_image = _compile_for(_part(predictor), prod(input_size), input_size)
    return _size_after(f, is_image)
end

# The size of a function's output as `input_size` says it.
function _size_after(f::CompiledFunction, is_image::Bool)
    size = first(f.outputs).size
    if is_image && length(f.outputs) == 1 && length(size) == length(only(f.inputs).size)
        return (size[end-1], size[end], size[end-2])
    end
    return (f.m,)
end

# The size of a function's input as the library takes it; `nothing` where the file fixes those of several inputs.
_input_shape(f::CompiledFunction) = length(f.inputs) == 1 ? collect(Csize_t, only(f.inputs).size) : nothing

# A model for n elements of x: the first of torch's sizes that fits, and whether x is an image.
function _compile_for(network::Model, n::Int, input_size; sizes = nothing)
    if input_size !== nothing && prod(input_size) != n
        throw(InvalidArgumentError("x has $n elements, but input_size = $input_size has $(prod(input_size))"))
    end
    is_image = input_size !== nothing && length(input_size) > 1
    inputs = _model_inputs(network)
    length(inputs) > 1 && return _compile_several(network, inputs, n), false
    sizes = something(sizes, is_image ? _torch_image_sizes(input_size) : ((n,), (1, n), _own_sizes(inputs, n)...))
    reason = ""
    for size in sizes
        try
            return compile(network, size), is_image
        catch error
            error isa InvalidArgumentError || rethrow()
            reason = isempty(reason) ? error.message : reason
        end
    end
    hint = is_image ? "" : "; x is a vector of length $n: for an image give input_size = (height, width, channels)"
    throw(InvalidArgumentError(reason * hint))
end

# The size that a file fixes, where it has n elements; one dimension may be open.
function _own_sizes(inputs, n::Int)
    size = isempty(inputs) ? nothing : only(inputs).size
    size === nothing && return ()
    known, open = prod(filter(!isnothing, size); init = 1), count(isnothing, size)
    (open == 0 && known == n) || (open == 1 && known > 0 && n % known == 0) || return ()
    return (Tuple(Int[something(length, n ÷ known) for length in size]),)
end

# A model of several inputs: x is all of them in signature order, each flat in torch's order.
function _compile_several(network::Model, inputs, n::Int)
    open = [input.name for input in inputs if input.size === nothing || any(isnothing, input.size)]
    if !isempty(open)
        throw(UnsupportedError("the model has $(length(inputs)) inputs, and its file leaves the size of $(join(open, ", ")) " *
                               "open; give them all: input_size = ((5, 3), (5, 4))"))
    end
    f = compile(network)
    if f.n != n
        sizes = join(("$(input.name) of size $(Tuple(input.size))" for input in inputs), ", ")
        throw(InvalidArgumentError("x has $n elements, but the inputs have $(f.n) in all: $sizes"))
    end
    return f
end

_channels(input_size) = length(input_size) == 3 ? input_size[3] : 1

function _torch_image_sizes(input_size)
    (height, width), channels = input_size, _channels(input_size)
    return ((1, channels, height, width), (channels, height, width))
end

# For each element of an H x W x C array, column by column, its place in torch's C x H x W, row by row.
function _image_order(input_size)
    (height, width), channels = input_size, _channels(input_size)
    places = reshape(1:height*width*channels, width, height, channels)
    return vec(permutedims(places, (2, 1, 3)))
end
