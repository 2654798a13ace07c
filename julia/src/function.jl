# Compiled functions and their workspaces: calls on flat arrays, in place, without allocation.

"""
    NativeTorch.Workspace(f::CompiledFunction; threads = 1)

The memory for calls of `f`, one at a time, each on so many threads. They share the points of a call, or the large products
of a single point; results do not depend on their number. Values at the last point are kept in it, so that f, J and H at one x share the
forward pass. Two calls at once with one workspace are an error for the later one.
"""
mutable struct Workspace
    handle::Ptr{Cvoid}
    threads::Int

    function Workspace(handle::Ptr{Cvoid})
        workspace = new(handle, 1)
        finalizer(_free, workspace)
        return workspace
    end
end

Base.unsafe_convert(::Type{Ptr{Cvoid}}, workspace::Workspace) = workspace.handle

function _free(workspace::Workspace)
    _workspace_destroy(workspace.handle)
    workspace.handle = C_NULL
    return
end

"""
    NativeTorch.CompiledFunction

A model compiled for one size of input and one precision: f from `n` inputs to `m` outputs. Made by [`compile`](@ref). It
never changes; any number of threads may use it, each with a [`Workspace`](@ref) of its own.

The fields `n`, `m`, `dtype`, `inputs` and `outputs` (vectors of [`Signature`](@ref)) may be read.

# In place
Functions that end in `!` write into arrays of `Float64` (whatever `dtype` is) and allocate nothing once a workspace has
seen each kind of call: [`value!`](@ref), [`jacobian!`](@ref), [`jacobian_values!`](@ref), [`jvp!`](@ref), [`vjp!`](@ref),
[`hessian_lagrangian!`](@ref), [`hessian_lagrangian_values!`](@ref), [`hvp!`](@ref). There vectors are in torch's flattened
(row-major) order. For K points at once each vector becomes a matrix with K columns, and each matrix an array with K
slices. What is written must not share memory with what is read.
"""
mutable struct CompiledFunction
    handle::Ptr{Cvoid}
    n::Int
    m::Int
    dtype::DataType
    inputs::Vector{Signature}
    outputs::Vector{Signature}
    # Workspaces that no call is using.
    idle::Vector{Workspace}
    lock::ReentrantLock

    function CompiledFunction(handle::Ptr{Cvoid}, single::Bool)
        n, m, inputs, outputs = _function_signature(handle)
        f = new(handle, n, m, single ? Float32 : Float64, inputs, outputs, Workspace[], ReentrantLock())
        finalizer(_free, f)
        return f
    end
end

Base.unsafe_convert(::Type{Ptr{Cvoid}}, f::CompiledFunction) = f.handle

function _free(f::CompiledFunction)
    _function_destroy(f.handle)
    f.handle = C_NULL
    return
end

function Workspace(f::CompiledFunction; threads::Integer = 1)
    workspace = Workspace(_workspace_create(f))
    _set_threads(workspace, threads)
    return workspace
end

function _set_threads(workspace::Workspace, threads::Integer)
    if threads < 0
        throw(InvalidArgumentError("threads is $threads; a call uses 1 to 1024"))
    end
    if threads != workspace.threads
        _workspace_set_threads(workspace, threads)
        workspace.threads = threads
    end
    return
end

# Calls `use` with a workspace of so many threads that no other call is using.
function _borrow(use, f::CompiledFunction, threads::Integer = 1)
    workspace = lock(f.lock) do
        return isempty(f.idle) ? nothing : pop!(f.idle)
    end
    workspace = workspace === nothing ? Workspace(f) : workspace
    _set_threads(workspace, threads)
    result = use(workspace)
    # After an error the workspace is left to the garbage collector.
    lock(() -> push!(f.idle, workspace), f.lock)
    return result
end

# The number of points in `x`, n numbers each.
function _points(f::CompiledFunction, x::_Numbers)
    if ndims(x) > 2 || size(x, 1) != f.n
        _wrong_size("x", x, (f.n,))
    end
    return size(x, 2)
end

# Throws unless `a` has this size, with the points as last dimension where there are several.
function _check_size(name::String, a::_Numbers, size::Dims, points::Int)
    fits = Base.size(a) == (size..., points) || (points == 1 && Base.size(a) == size)
    fits || _wrong_size(name, a, size)
    return
end

@noinline function _wrong_size(name::String, a, size::Dims)
    throw(InvalidArgumentError("$name has size $(Base.size(a)), but $size is expected, or $((size..., :K)) for K points, " *
                               "in torch's flattened order"))
end

"""
    NativeTorch.value!(y, f::CompiledFunction, workspace, x)

Write f(x) into `y`. Sizes: `x` (n), `y` (m); for K points (n, K) and (m, K). Throws [`InvalidArgumentError`](@ref) where a
size is wrong.
"""
function value!(y::_Numbers, f::CompiledFunction, workspace::Workspace, x::_Numbers)
    _check_size("y", y, (f.m,), _points(f, x))
    _function_value(f, workspace, x, y)
    return y
end

"""
    NativeTorch.jacobian!(J, f::CompiledFunction, workspace, x)

Write the Jacobian at `x` into `J`. Sizes: `x` (n), `J` (m, n); for K points (n, K) and (m, n, K). Throws
[`InvalidArgumentError`](@ref) where a size is wrong.
"""
function jacobian!(J::_Numbers, f::CompiledFunction, workspace::Workspace, x::_Numbers)
    _check_size("J", J, (f.m, f.n), _points(f, x))
    _function_jacobian(f, workspace, x, _COLUMN_MAJOR, J)
    return J
end

"""
    NativeTorch.jacobian_values!(values, f::CompiledFunction, workspace, x)

Write the entries of the Jacobian at `x` into `values`, in the order of [`jacobian_pattern`](@ref). Sizes: `x` (n),
`values` (the pattern's length); for K points each with K columns. Throws [`InvalidArgumentError`](@ref) where a size is
wrong.
"""
function jacobian_values!(values::_Numbers, f::CompiledFunction, workspace::Workspace, x::_Numbers)
    _points(f, x)
    _function_jacobian(f, workspace, x, _PATTERN, values)
    return values
end

"""
    NativeTorch.jvp!(out, f::CompiledFunction, workspace, x, v)

Write J v at `x` into `out`. Sizes: `x` and `v` (n), `out` (m); for K points each with K columns. Throws
[`InvalidArgumentError`](@ref) where a size is wrong.
"""
function jvp!(out::_Numbers, f::CompiledFunction, workspace::Workspace, x::_Numbers, v::_Numbers)
    points = _points(f, x)
    _check_size("v", v, (f.n,), points)
    _check_size("out", out, (f.m,), points)
    _function_jvp(f, workspace, x, v, out)
    return out
end

"""
    NativeTorch.vjp!(out, f::CompiledFunction, workspace, x, u)

Write J' u at `x` into `out`. Sizes: `x` and `out` (n), `u` (m); for K points each with K columns. Throws
[`InvalidArgumentError`](@ref) where a size is wrong.
"""
function vjp!(out::_Numbers, f::CompiledFunction, workspace::Workspace, x::_Numbers, u::_Numbers)
    points = _points(f, x)
    _check_size("u", u, (f.m,), points)
    _check_size("out", out, (f.n,), points)
    _function_vjp(f, workspace, x, u, out)
    return out
end

"""
    NativeTorch.hessian_lagrangian!(H, f::CompiledFunction, workspace, x, mu)

Write the Hessian of mu'f at `x` into `H`, both triangles. Sizes: `x` (n), `mu` (m), `H` (n, n); for K points (n, K), (m, K)
and (n, n, K). Throws [`InvalidArgumentError`](@ref) where a size is wrong.
"""
function hessian_lagrangian!(H::_Numbers, f::CompiledFunction, workspace::Workspace, x::_Numbers, mu::_Numbers)
    points = _points(f, x)
    _check_size("mu", mu, (f.m,), points)
    _check_size("H", H, (f.n, f.n), points)
    _function_hessian(f, workspace, x, mu, _COLUMN_MAJOR, H)
    return H
end

"""
    NativeTorch.hessian_lagrangian_values!(values, f::CompiledFunction, workspace, x, mu)

Write the entries of the lower triangle of the Hessian of mu'f at `x` into `values`, in the order of
[`hessian_lagrangian_pattern`](@ref). Sizes: `x` (n), `mu` (m), `values` (the pattern's length); for K points each with K
columns. Throws [`InvalidArgumentError`](@ref) where a size is wrong.
"""
function hessian_lagrangian_values!(
    values::_Numbers,
    f::CompiledFunction,
    workspace::Workspace,
    x::_Numbers,
    mu::_Numbers,
)
    _check_size("mu", mu, (f.m,), _points(f, x))
    _function_hessian(f, workspace, x, mu, _PATTERN, values)
    return values
end

"""
    NativeTorch.hvp!(out, f::CompiledFunction, workspace, x, mu, v)

Write the Hessian of mu'f at `x`, times `v`, into `out`. Sizes: `x`, `v` and `out` (n), `mu` (m); for K points each with K
columns. Throws [`InvalidArgumentError`](@ref) where a size is wrong.
"""
function hvp!(out::_Numbers, f::CompiledFunction, workspace::Workspace, x::_Numbers, mu::_Numbers, v::_Numbers)
    points = _points(f, x)
    _check_size("mu", mu, (f.m,), points)
    _check_size("v", v, (f.n,), points)
    _check_size("out", out, (f.n,), points)
    _function_hvp(f, workspace, x, mu, v, out)
    return out
end

"""
    rows, columns = NativeTorch.jacobian_pattern(f::CompiledFunction)

The places, from 1, of the entries of the m x n Jacobian that can be other than zero, sorted by row, then column.
"""
jacobian_pattern(f::CompiledFunction) = _function_jacobian_pattern(f)

"""
    rows, columns = NativeTorch.hessian_lagrangian_pattern(f::CompiledFunction)

The places, from 1, of the entries of the lower triangle of the n x n Hessian of mu'f that can be other than zero, whatever
mu is, sorted by row, then column. There are none for a net of ReLUs.
"""
hessian_lagrangian_pattern(f::CompiledFunction) = _function_hessian_pattern(f)
