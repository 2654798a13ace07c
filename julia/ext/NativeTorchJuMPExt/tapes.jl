# Expressions as tapes in postfix order, read as whatever the operations make of them.

struct _Tapes
    starts::Vector{Csize_t}
    codes::Vector{UInt8}
    arguments::Vector{UInt32}
    constants::Vector{Float64}
    layers::Vector{UInt32}
end

function _Tapes(table)
    count = Int(table.count)
    starts = _array(table.starts, count + 1)
    places = count == 0 ? 0 : Int(starts[end])
    return _Tapes(
        starts,
        _array(table.codes, places),
        _array(table.arguments, places),
        _array(table.constants, table.constant_count),
        _array(table.layers, count),
    )
end

Base.length(tapes::_Tapes) = length(tapes.layers)

# Expression `i`, where `shared` holds the expressions that it may refer to.
function _expression(tapes::_Tapes, i::Int, operations, shared::Vector)
    stack = Any[]
    for k in Int(tapes.starts[i])+1:Int(tapes.starts[i+1])
        operator, argument = NativeTorch._OPERATORS[tapes.codes[k]+1], Int(tapes.arguments[k])
        if operator === :constant
            push!(stack, tapes.constants[argument+1])
        elseif operator === :variable
            push!(stack, _variable(operations, argument + 1))
        elseif operator === :expression
            push!(stack, shared[argument+1])
        else
            operands = stack[end-argument+1:end]
            resize!(stack, length(stack) - argument)
            push!(stack, _call(operations, operator, operands))
        end
    end
    return only(stack)
end

# All expressions of a table, each of which may refer to those before it.
function _expressions(tapes::_Tapes, operations, shared::Vector)
    for i in 1:length(tapes)
        push!(shared, _expression(tapes, i, operations, shared))
    end
    return shared
end

# Functions of MathOptInterface over a model's variables.
struct _MoiOperations
    variables::Vector{JuMP.VariableRef}
end

_variable(operations::_MoiOperations, i::Int) = JuMP.index(operations.variables[i])
_call(::_MoiOperations, operator::Symbol, operands::Vector{Any}) = MOI.ScalarNonlinearFunction(operator, operands)

# JuMP's scalars over what the caller gave: affine where they can be.
struct _JumpOperations
    elements::Vector{Any}
end

_variable(operations::_JumpOperations, i::Int) = operations.elements[i]

function _call(::_JumpOperations, operator::Symbol, operands::Vector{Any})
    is_nonlinear = any(operand -> operand isa JuMP.NonlinearExpr, operands)
    if operator === :+ && !is_nonlinear
        return _sum(operands)
    elseif operator === :- && !is_nonlinear
        return -(operands...)
    elseif operator === :* && !is_nonlinear && length(operands) == 2 && any(operand -> operand isa Real, operands)
        return operands[1] * operands[2]
    elseif operator === :/ && operands[2] isa Real && !is_nonlinear
        return operands[1] / operands[2]
    elseif all(operand -> operand isa Real, operands) && haskey(_NUMERIC, operator)
        return _NUMERIC[operator](operands...)
    end
    return JuMP.NonlinearExpr(operator, operands)
end

const _NUMERIC = Dict{Symbol,Function}(
    :+ => +, :- => -, :* => *, :/ => /, :^ => ^, :exp => exp, :log => log, :log1p => log1p, :sqrt => sqrt, :tanh => tanh,
    :sin => sin, :atan => atan, :abs => abs, :max => max, :min => min, :ifelse => (c, a, b) -> c != 0 ? a : b, :> => (a, b) -> a > b ? 1.0 : 0.0,
)

# A sum of numbers, variables, affine and quadratic expressions.
function _sum(operands::Vector{Any})
    has_square = any(operand -> operand isa JuMP.QuadExpr, operands)
    total = has_square ? zero(JuMP.QuadExpr) : zero(JuMP.AffExpr)
    foreach(operand -> JuMP.add_to_expression!(total, operand), operands)
    return total
end
