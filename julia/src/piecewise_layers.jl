# Predictors with kinks, in all forms: ReLU, LeakyReLU and maximum pools.

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
between `-M` and `M`. An `M` smaller than a bound is an error: it would cut off points.

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

_pair(size::Integer) = (Int(size), Int(size))
_pair(size) = Tuple(Int.(size))::Tuple{Int,Int}

"""
    MaxPool2d(kernel_size; stride = kernel_size, padding = (0, 0), dilation = (1, 1), ceil_mode = false, input_size = nothing,
              relu = nothing)

Maximum pooling as nonlinear equations, padded with -inf; with a `relu`, such as [`ReLUSOS1`](@ref)`()`, by its formulation.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:4] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.MaxPool2d((1, 2); input_size = (1, 4)), x);

julia> formulation
MaxPool2d((1, 2), (1, 2), (0, 0), (1, 1), false, (1, 4), nothing)
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
    relu::Union{Nothing,_ReLUs}

    function MaxPool2d(
        kernel_size;
        stride = kernel_size,
        padding = 0,
        dilation = 1,
        ceil_mode = false,
        input_size = nothing,
        relu = nothing,
    )
        return new(_pair.((kernel_size, stride, padding, dilation))..., ceil_mode, _check_input_size(input_size), relu)
    end
end

"""
    MaxPool2dBigM(kernel_size; M = Inf, kwargs...)

Maximum pooling by big-M, with a binary variable for each element of a window that can be the largest. The bounds of the
input give the constants; where there are none, `M` stands for them: the formulation then says that the elements of a window
lie within `M` of each other. An `M` smaller than the bounds ask for is an error. Other keywords are those of
[`MaxPool2d`](@ref).

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.MaxPool2dBigM((1, 2); input_size = (1, 2)), x);

julia> formulation
MaxPool2dBigM(MaxPool2d((1, 2), (1, 2), (0, 0), (1, 1), false, (1, 2), nothing), Inf)
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

    function MaxPool2dBigM(kernel_size; M::Real = Inf, kwargs...)
        M > 0 || throw(InvalidArgumentError("MaxPool2dBigM: M is $M, but must be positive"))
        return new(MaxPool2d(kernel_size; kwargs...), M)
    end
end

"""
    MaxPool2dPairwise(kernel_size; kwargs...)

Maximum pooling two by two, as `max(a, b) = b + max(a - b, 0)` with the big-M of [`ReLUBigM`](@ref): one binary less for each
window than [`MaxPool2dBigM`](@ref) has. Keywords are those of [`MaxPool2d`](@ref), which has other forms of pairs by its
`relu`.

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.MaxPool2dPairwise((1, 2); input_size = (1, 2)), x);

julia> formulation
MaxPool2dPairwise(MaxPool2d((1, 2), (1, 2), (0, 0), (1, 1), false, (1, 2), nothing))
├ variables [4]
│ ├ MaxPool2d.difference[1]
│ ├ MaxPool2d.positive[1]
│ ├ MaxPool2d.on[1]
│ └ MaxPool2d.y[1]
└ constraints [12]
  ├ MaxPool2d.difference[1] ≥ -3.0000000000000036
  ├ MaxPool2d.difference[1] ≤ 3.0000000000000036
  ├ MaxPool2d.positive[1] ≥ 0
  ├ MaxPool2d.positive[1] ≤ 3.0000000000000036
  ├ MaxPool2d.on[1] binary
  ├ MaxPool2d.y[1] ≥ -1
  ├ MaxPool2d.y[1] ≤ 2
  ├ -x[1] + x[2] + MaxPool2d.difference[1] = 0
  ├ -MaxPool2d.difference[1] + MaxPool2d.positive[1] ≥ 0
  ├ -MaxPool2d.difference[1] + MaxPool2d.positive[1] + 3.0000000000000036 MaxPool2d.on[1] ≤ 3.0000000000000036
  ├ MaxPool2d.positive[1] - 3.0000000000000036 MaxPool2d.on[1] ≤ 0
  └ -x[2] - MaxPool2d.positive[1] + MaxPool2d.y[1] = 0
```
"""
struct MaxPool2dPairwise <: _LibraryLayer
    pool::MaxPool2d

    MaxPool2dPairwise(kernel_size; kwargs...) = new(MaxPool2d(kernel_size; kwargs...))
end

function _part(predictor::MaxPool2d)
    return _make(
        "MaxPool2d",
        "kernel_size=$(predictor.kernel_size), stride=$(predictor.stride), padding=$(predictor.padding), " *
        "dilation=$(predictor.dilation), ceil_mode=$(predictor.ceil_mode ? "True" : "False")",
    )
end

const _MaxPools = Union{MaxPool2d,MaxPool2dBigM,MaxPool2dPairwise}

_part(predictor::Union{MaxPool2dBigM,MaxPool2dPairwise}) = _part(predictor.pool)
_form(predictor::MaxPool2d) = predictor.relu === nothing ? _Form(:nonlinear) : _form(predictor.relu)
_form(predictor::MaxPool2dBigM) = _Form(:big_m, predictor.M)
_form(::MaxPool2dPairwise) = _Form(:pairwise)
_layer_name(::_MaxPools) = "MaxPool2d"
