# Values and derivatives of a model at arrays of torch's size.

const _Array = AbstractArray{<:Real}
const _Arrays = AbstractVector{<:AbstractArray{<:Real}}

# The function for inputs like these, and their numbers, one column each.
function _prepare(m::Model, xs::_Arrays; options...)
    if isempty(xs)
        throw(InvalidArgumentError("no input is given; a call over K points takes one array or more"))
    end
    sizes = unique(map(size, xs))
    if length(sizes) > 1
        throw(InvalidArgumentError("the inputs of one call must have one size, but have $(join(sizes, ", "))"))
    end
    f = compile(m, sizes[1]; options...)
    return f, _columns("x", xs, sizes[1], length(xs))
end

"""
    (m::Model)(x; dtype = Float64, threads = 1, backend = "native", device = nothing)

The value of the model at `x`, an array of numbers of torch's size: `size(x) == (1, 3, 8, 8)` is torch's `[1, 3, 8, 8]`, and
the result has torch's size too. Numbers are computed in `dtype`, `Float64` or `Float32`, which is the result's element
type.

`backend` and `device` say what computes, as for [`compile`](@ref).

A call uses so many `threads`; they share the points, or the large products of a single point. Results do not depend on
their number.

For K points at once `x` is a vector of K such arrays of one size, and the result one of K arrays; this is something else
than torch's batch dimension. It holds for [`jacobian`](@ref), [`jvp`](@ref), [`vjp`](@ref),
[`hessian_lagrangian`](@ref) and [`hvp`](@ref) as well, each with K arrays `v`, `u`, `mu`.

Throws [`InvalidArgumentError`](@ref) if the size does not fit the model, [`UnsupportedError`](@ref) for a layer that is
custom or not supported.

# Example
```julia
m = NativeTorch.load("docs/examples/digits/digits.pt")
m(zeros(1, 64))                  # 1 x 10
m([rand(64), rand(64)])          # two vectors of length 10
```
"""
function (m::Model)(xs::_Arrays; threads::Integer = 1, options...)
    f, x = _prepare(m, xs; options...)
    y = Matrix{Float64}(undef, f.m, length(xs))
    _borrow(workspace -> value!(y, f, workspace, x), f, threads)
    return [_unflatten(_numbers(f, y[:, k]), f.outputs[1].size) for k in eachindex(xs)]
end

(m::Model)(x::_Array; threads::Integer = 1, options...) = only(m([x]; threads = threads, options...))

"""
    NativeTorch.jacobian(m::Model, x; dtype = Float64, threads = 1, backend = "native", device = nothing)

The m x n matrix of derivatives of the outputs by the inputs. Rows and columns are in torch's flattened order of outputs
and inputs, the batch dimension included. At kinks it is torch's choice: 0 for ReLU at 0.

Arguments, K points and errors: [`Model`](@ref)'s call.
"""
function jacobian(m::Model, xs::_Arrays; threads::Integer = 1, options...)
    f, x = _prepare(m, xs; options...)
    J = Array{Float64}(undef, f.m, f.n, length(xs))
    _borrow(workspace -> jacobian!(J, f, workspace, x), f, threads)
    return [_numbers(f, J[:, :, k]) for k in eachindex(xs)]
end

function jacobian(m::Model, x::_Array; threads::Integer = 1, options...)
    return only(jacobian(m, [x]; threads = threads, options...))
end

"""
    NativeTorch.hessian_lagrangian(m::Model, x, mu; dtype = Float64, threads = 1, backend = "native", device = nothing)

The n x n Hessian of mu'f at `x`, dense and symmetric, in torch's flattened order of the inputs. `mu` has the output's size,
or is a vector of length m in torch's flattened order. [`hessian_lagrangian_values!`](@ref) gives the sparse lower
triangle.

Arguments, K points and errors: [`Model`](@ref)'s call.
"""
function hessian_lagrangian(m::Model, xs::_Arrays, mus::_Arrays; threads::Integer = 1, options...)
    f, x = _prepare(m, xs; options...)
    mu = _columns("mu", mus, f.outputs[1].size, length(xs))
    H = Array{Float64}(undef, f.n, f.n, length(xs))
    _borrow(workspace -> hessian_lagrangian!(H, f, workspace, x, mu), f, threads)
    return [_numbers(f, H[:, :, k]) for k in eachindex(xs)]
end

function hessian_lagrangian(m::Model, x::_Array, mu::_Array; threads::Integer = 1, options...)
    return only(hessian_lagrangian(m, [x], [mu]; threads = threads, options...))
end

"""
    NativeTorch.jvp(m::Model, x, v; dtype = Float64, threads = 1, backend = "native", device = nothing)

The product J v at `x`. For `v` of the input's size the result has the output's size; for another
vector `v` of length n, in torch's flattened order, it is a vector of length m.

Arguments, K points and errors: [`Model`](@ref)'s call.
"""
function jvp(m::Model, xs::_Arrays, vs::_Arrays; threads::Integer = 1, options...)
    f, x = _prepare(m, xs; options...)
    v = _columns("v", vs, f.inputs[1].size, length(xs))
    out = Matrix{Float64}(undef, f.m, length(xs))
    _borrow(workspace -> jvp!(out, f, workspace, x, v), f, threads)
    return _results(f, out, f.outputs[1].size, vs, f.inputs[1].size)
end

function jvp(m::Model, x::_Array, v::_Array; threads::Integer = 1, options...)
    return only(jvp(m, [x], [v]; threads = threads, options...))
end

"""
    NativeTorch.vjp(m::Model, x, u; dtype = Float64, threads = 1, backend = "native", device = nothing)

The product J' u at `x`. For `u` of the output's size the result has the input's size; for another
vector `u` of length m, in torch's flattened order, it is a vector of length n.

Arguments, K points and errors: [`Model`](@ref)'s call.
"""
function vjp(m::Model, xs::_Arrays, us::_Arrays; threads::Integer = 1, options...)
    f, x = _prepare(m, xs; options...)
    u = _columns("u", us, f.outputs[1].size, length(xs))
    out = Matrix{Float64}(undef, f.n, length(xs))
    _borrow(workspace -> vjp!(out, f, workspace, x, u), f, threads)
    return _results(f, out, f.inputs[1].size, us, f.outputs[1].size)
end

function vjp(m::Model, x::_Array, u::_Array; threads::Integer = 1, options...)
    return only(vjp(m, [x], [u]; threads = threads, options...))
end

"""
    NativeTorch.hvp(m::Model, x, mu, v; dtype = Float64, threads = 1, backend = "native", device = nothing)

The Hessian of mu'f at `x`, times `v`. `mu` has the output's size, or is a vector of length m in torch's flattened order. For
`v` of the input's size the result has that size too; for another vector `v` of length n it is a vector of length n.

Arguments, K points and errors: [`Model`](@ref)'s call.
"""
function hvp(m::Model, xs::_Arrays, mus::_Arrays, vs::_Arrays; threads::Integer = 1, options...)
    f, x = _prepare(m, xs; options...)
    mu = _columns("mu", mus, f.outputs[1].size, length(xs))
    v = _columns("v", vs, f.inputs[1].size, length(xs))
    out = Matrix{Float64}(undef, f.n, length(xs))
    _borrow(workspace -> hvp!(out, f, workspace, x, mu, v), f, threads)
    return _results(f, out, f.inputs[1].size, vs, f.inputs[1].size)
end

function hvp(m::Model, x::_Array, mu::_Array, v::_Array; threads::Integer = 1, options...)
    return only(hvp(m, [x], [mu], [v]; threads = threads, options...))
end
