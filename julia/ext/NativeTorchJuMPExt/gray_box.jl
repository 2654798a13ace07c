# Gray box: the network as one `MOI.VectorNonlinearOracle` of the n inputs and m outputs, 0 <= f(x) - y <= 0.

# A network for the calls of a solver. f, J and H at one x share the forward pass, which the workspace remembers by value.
struct _Oracle
    f::NativeTorch.CompiledFunction
    workspace::NativeTorch.Workspace
    # Solvers may call from several threads.
    lock::ReentrantLock
    jacobian_entries::Int
end

function _oracle_set(f::NativeTorch.CompiledFunction; hessian::Bool)
    rows, columns = NativeTorch.jacobian_pattern(f)
    jacobian_structure = [collect(zip(rows, columns)); [(i, f.n + i) for i in 1:f.m]]
    oracle = _Oracle(f, NativeTorch.Workspace(f), ReentrantLock(), length(rows))
    return MOI.VectorNonlinearOracle(;
        dimension = f.n + f.m,
        l = zeros(f.m),
        u = zeros(f.m),
        eval_f = (ret, z) -> _eval_f(oracle, ret, z),
        jacobian_structure,
        eval_jacobian = (ret, z) -> _eval_jacobian(oracle, ret, z),
        hessian_lagrangian_structure = hessian ? collect(zip(NativeTorch.hessian_lagrangian_pattern(f)...)) :
                                       Tuple{Int,Int}[],
        eval_hessian_lagrangian = hessian ? (ret, z, mu) -> _eval_hessian(oracle, ret, z, mu) : nothing,
    )
end

function _eval_f(oracle::_Oracle, ret::AbstractVector, z::AbstractVector)
    f = oracle.f
    _call!(NativeTorch.value!, oracle, ret, view(z, 1:f.n))
    for i in 1:f.m
        ret[i] -= z[f.n+i]
    end
    return
end

function _eval_jacobian(oracle::_Oracle, ret::AbstractVector, z::AbstractVector)
    _call!(NativeTorch.jacobian_values!, oracle, view(ret, 1:oracle.jacobian_entries), view(z, 1:oracle.f.n))
    for i in oracle.jacobian_entries+1:length(ret)
        ret[i] = -1.0
    end
    return
end

function _eval_hessian(oracle::_Oracle, ret::AbstractVector, z::AbstractVector, mu::AbstractVector)
    _call!(NativeTorch.hessian_lagrangian_values!, oracle, ret, view(z, 1:oracle.f.n), mu)
    return
end

# Calls the network with the solver's own memory.
function _call!(
    evaluate!::F,
    oracle::_Oracle,
    ret::NativeTorch._Numbers,
    arguments::Vararg{NativeTorch._Numbers,N},
) where {F,N}
    lock(oracle.lock)
    try
        evaluate!(ret, oracle.f, oracle.workspace, arguments...)
    finally
        unlock(oracle.lock)
    end
    return
end

# Memory that cannot be lent, such as a view with strides, is copied.
function _call!(
    evaluate!::F,
    oracle::_Oracle,
    ret::AbstractVector,
    arguments::Vararg{AbstractVector,N},
) where {F,N}
    result = Vector{Float64}(undef, length(ret))
    _call!(evaluate!, oracle, result, map(argument -> convert(Vector{Float64}, argument), arguments)...)
    copyto!(ret, result)
    return
end

function NativeTorch.add_predictor(model::JuMP.Model, predictor::GrayBox, x::AbstractVector; reduced_space::Bool = false)
    _refuse_reduced_space(reduced_space)
    inputs = _inputs(model, predictor, x)
    f = inputs.f
    lower, upper = Vector{Float64}(undef, f.m), Vector{Float64}(undef, f.m)
    NativeTorch._function_bounds(f, inputs.lower, inputs.upper, lower, upper)
    start, point = fill(NaN, f.m), _all_starts(inputs)
    if point !== nothing
        NativeTorch.value!(start, f, NativeTorch.Workspace(f), point)
    end
    set = _oracle_set(f; hessian = predictor.hessian)
    variables, added, constraints = _add_inputs(model, inputs)
    y = [_new_variable(model, "output[$i]", lower[i], upper[i], start[i], constraints) for i in 1:f.m]
    push!(constraints, JuMP.@constraint(model, [variables; y] in set))
    return _outputs(inputs, y), NativeTorch.Formulation(predictor, [added; y], constraints)
end
