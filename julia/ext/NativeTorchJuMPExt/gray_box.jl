# Gray box: a network at K points as one `MOI.VectorNonlinearOracle` of the K n inputs and K m outputs, 0 <= f(x) - y <= 0.

# A network for the calls of a solver. f, J and H at one x share the forward pass, which the workspace remembers by value.
struct _Oracle
    f::NativeTorch.CompiledFunction
    workspace::NativeTorch.Workspace
    # Solvers may call from several threads.
    lock::ReentrantLock
    inputs::Int
    outputs::Int
    jacobian_entries::Int
end

function _oracle_set(f::NativeTorch.CompiledFunction, points::Int; hessian::Bool)
    n, m = points * f.n, points * f.m
    jacobian = _blocks(NativeTorch.jacobian_pattern(f), f.m, f.n, points)
    oracle = _Oracle(f, NativeTorch.Workspace(f), ReentrantLock(), n, m, length(jacobian))
    return MOI.VectorNonlinearOracle(;
        dimension = n + m,
        l = zeros(m),
        u = zeros(m),
        eval_f = (ret, z) -> _eval_f(oracle, ret, z),
        jacobian_structure = [jacobian; [(i, n + i) for i in 1:m]],
        eval_jacobian = (ret, z) -> _eval_jacobian(oracle, ret, z),
        hessian_lagrangian_structure = hessian ? _hessian_blocks(f, points) : Tuple{Int,Int}[],
        eval_hessian_lagrangian = hessian ? (ret, z, mu) -> _eval_hessian(oracle, ret, z, mu) : nothing,
    )
end

# The pattern of a matrix with `points` blocks of `rows` x `columns` on its diagonal.
function _blocks(pattern, rows::Int, columns::Int, points::Int)
    return [(i + k * rows, j + k * columns) for k in 0:points-1 for (i, j) in zip(pattern...)]
end

_hessian_blocks(f, points::Int) = _blocks(NativeTorch.hessian_lagrangian_pattern(f), f.n, f.n, points)

function _eval_f(oracle::_Oracle, ret::AbstractVector, z::AbstractVector)
    _call!(_value!, oracle, ret, view(z, 1:oracle.inputs))
    for i in 1:oracle.outputs
        ret[i] -= z[oracle.inputs+i]
    end
    return
end

function _eval_jacobian(oracle::_Oracle, ret::AbstractVector, z::AbstractVector)
    _call!(_jacobian!, oracle, view(ret, 1:oracle.jacobian_entries), view(z, 1:oracle.inputs))
    for i in oracle.jacobian_entries+1:length(ret)
        ret[i] = -1.0
    end
    return
end

function _eval_hessian(oracle::_Oracle, ret::AbstractVector, z::AbstractVector, mu::AbstractVector)
    _call!(_hessian!, oracle, ret, view(z, 1:oracle.inputs), mu)
    return
end

# The points stand one after another; the library checks the lengths.
_value!(ret, f, workspace, x) = NativeTorch._function_value(f, workspace, x, ret)
_jacobian!(ret, f, workspace, x) = NativeTorch._function_jacobian(f, workspace, x, NativeTorch._PATTERN, ret)
_hessian!(ret, f, workspace, x, mu) = NativeTorch._function_hessian(f, workspace, x, mu, NativeTorch._PATTERN, ret)

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

# A network at several points of one size; gives the outputs of each.
function _add_gray_box(model::JuMP.Model, predictor::GrayBox, signals::Vector{_Signal})
    known = _known_bounds(model)
    inputs = [_inputs(model, predictor.model, signal, known; predictor.engine...) for signal in signals]
    if length(unique(point.f for point in inputs)) > 1
        throw(InvalidArgumentError("the points of a gray box must have one size; add those of other sizes by themselves"))
    end
    f, points = inputs[1].f, length(inputs)
    set = _oracle_set(f, points; hessian = predictor.hessian)
    # Here nothing can fail any more: an error leaves the JuMP model as it was.
    variables, added, constraints = _add_inputs(model, _together(inputs))
    y = Vector{JuMP.VariableRef}[]
    for (k, point) in enumerate(inputs)
        prefix = points == 1 ? "output" : "output_$k"
        push!(y, _add_outputs(model, point, prefix, constraints))
    end
    outputs = reduce(vcat, y)
    push!(constraints, JuMP.@constraint(model, [variables; outputs] in set))
    networks = [_Network(point.f, point.elements, outputs) for (point, outputs) in zip(inputs, y)]
    formulation = NativeTorch.Formulation(predictor, [added; outputs], constraints; networks)
    return [_output_signal(point, outputs) for (point, outputs) in zip(inputs, y)], formulation
end

# The inputs of all points as those of one.
function _together(inputs::Vector{_Inputs})
    all(field) = reduce(vcat, (getfield(point, field) for point in inputs))
    return _Inputs(inputs[1].f, all(:elements), all(:lower), all(:upper), all(:starts), inputs[1].is_image)
end

# Variables for the outputs at a point, with the bounds and the values that follow from those of the inputs.
function _add_outputs(model::JuMP.Model, inputs::_Inputs, prefix::String, constraints)
    f = inputs.f
    lower, upper = Vector{Float64}(undef, f.m), Vector{Float64}(undef, f.m)
    NativeTorch._function_bounds(f, inputs.lower, inputs.upper, lower, upper)
    start, point = fill(NaN, f.m), _all_starts(inputs)
    if point !== nothing
        NativeTorch._borrow(workspace -> NativeTorch.value!(start, f, workspace, point), f)
    end
    return [_new_variable(model, "$prefix[$i]", lower[i], upper[i], start[i], constraints) for i in 1:f.m]
end

function NativeTorch.add_operator(
    model::JuMP.Model,
    predictor::Union{NativeTorch.PytorchModel,NativeTorch.Model},
    dimension::Integer;
    name::Symbol = :network,
    hessian::Bool = true,
    input_size = nothing,
)
    network = predictor isa NativeTorch.Model ? predictor : NativeTorch.load(predictor.filename)
    f, is_image = NativeTorch._compile_for(network, Int(dimension), NativeTorch._check_input_size(input_size))
    if f.m != 1
        throw(InvalidArgumentError("an operator has one output, but the network has $(f.m); add it as a gray box"))
    end
    order = is_image ? NativeTorch._image_order(input_size) : collect(1:f.n)
    operator = _Operator(f, order, NativeTorch.hessian_lagrangian_pattern(f))
    value(x...) = _operator_value(operator, collect(Float64, x))
    gradient(g, x...) = _operator_gradient!(g, operator, collect(Float64, x))
    curvature(H, x...) = _operator_hessian!(H, operator, collect(Float64, x))
    if dimension == 1
        # JuMP wants functions of one variable to return their derivatives.
        slope(x) = only(_operator_gradient!(zeros(1), operator, [Float64(x)]))
        bend(x) = only(_operator_hessian!(zeros(1, 1), operator, [Float64(x)]))
        derivatives = hessian ? (slope, bend) : (slope,)
    else
        derivatives = hessian ? (gradient, curvature) : (gradient,)
    end
    return JuMP.add_nonlinear_operator(model, Int(dimension), value, derivatives...; name)
end

# A network with one output, called with the caller's order of its inputs.
struct _Operator
    f::NativeTorch.CompiledFunction
    # The place in torch's order of each argument.
    order::Vector{Int}
    pattern::Tuple{Vector{Int},Vector{Int}}
end

_torch_order(operator::_Operator, x::Vector{Float64}) = x[invperm(operator.order)]

function _operator_value(operator::_Operator, x::Vector{Float64})
    f, y = operator.f, zeros(1)
    NativeTorch._borrow(workspace -> NativeTorch.value!(y, f, workspace, _torch_order(operator, x)), f)
    return y[1]
end

function _operator_gradient!(g, operator::_Operator, x::Vector{Float64})
    f, J = operator.f, zeros(1, length(x))
    NativeTorch._borrow(workspace -> NativeTorch.jacobian!(J, f, workspace, _torch_order(operator, x)), f)
    copyto!(g, vec(J)[operator.order])
    return g
end

# The lower triangle; what stays untouched is zero.
function _operator_hessian!(H, operator::_Operator, x::Vector{Float64})
    f, (rows, columns) = operator.f, operator.pattern
    values, place = zeros(length(rows)), invperm(operator.order)
    evaluate!(workspace) = NativeTorch.hessian_lagrangian_values!(values, f, workspace, _torch_order(operator, x), [1.0])
    NativeTorch._borrow(evaluate!, f)
    for (i, j, value) in zip(rows, columns, values)
        a, b = place[i], place[j]
        H[max(a, b), min(a, b)] = value
    end
    return H
end
