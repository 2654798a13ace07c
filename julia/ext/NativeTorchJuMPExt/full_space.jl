# Full space: the tables of the library's formulation become variables and constraints of a JuMP model. Rows go straight to
# MathOptInterface; by way of JuMP's expressions they take ten times as long.

function NativeTorch.add_predictor(model::JuMP.Model, predictor::FullSpace, x::AbstractVector; reduced_space::Bool = false)
    _refuse_reduced_space(reduced_space)
    inputs = _inputs(model, predictor, x)
    size = only(inputs.f.inputs).size
    tables = NativeTorch._formulate(predictor.model, size, inputs.lower, inputs.upper, _all_starts(inputs))
    # Here nothing can fail any more: an error leaves the JuMP model as it was.
    input_variables, added, input_constraints = _add_inputs(model, inputs)
    # What belongs to one layer is printed together.
    constraints = Tuple{Int,Any}[]
    variables = _add_variables(model, tables, input_variables, constraints)
    _add_rows(model, tables.rows, variables, constraints)
    _add_definitions(model, tables.definitions, variables, constraints)
    sort!(constraints; by = first, alg = MergeSort)
    new_variables = variables[setdiff(eachindex(variables), tables.inputs)]
    formulation = NativeTorch.Formulation(
        predictor,
        [added; new_variables],
        [input_constraints; Any[constraint for (_, constraint) in constraints]],
    )
    return _outputs(inputs, variables[tables.outputs]), formulation
end

# The JuMP variables of all variables of the tables; `constraints` receives the new ones' bounds with their layers.
function _add_variables(model::JuMP.Model, tables, inputs::Vector{JuMP.VariableRef}, constraints)
    variables = Vector{JuMP.VariableRef}(undef, length(tables.names))
    variables[tables.inputs] = inputs
    for i in setdiff(eachindex(variables), tables.inputs)
        own = Any[]
        name, start = replace(tables.names[i], ' ' => '_'), tables.start[i]
        variables[i] = if tables.domains[i] == 1
            _new_binary(model, name, start, own)
        else
            _new_variable(model, name, tables.lower[i], tables.upper[i], start, own)
        end
        tables.domains[i] == 2 && JuMP.set_integer(variables[i])
        append!(constraints, [(tables.layers[i], constraint) for constraint in own])
    end
    return variables
end

function _add_rows(model::JuMP.Model, rows, variables, constraints)
    for i in eachindex(rows.lower)
        entries = rows.starts[i]:rows.starts[i+1]-1
        terms = [
            MOI.ScalarAffineTerm(rows.coefficients[k], JuMP.index(variables[rows.variables[k]])) for k in entries
        ]
        row = _add_constraint(model, MOI.ScalarAffineFunction(terms, 0.0), _set(rows.lower[i], rows.upper[i]))
        push!(constraints, (rows.layers[i], row))
    end
    return
end

function _set(lower::Float64, upper::Float64)
    lower == upper && return MOI.EqualTo(lower)
    lower == -Inf && return MOI.LessThan(upper)
    upper == Inf && return MOI.GreaterThan(lower)
    return MOI.Interval(lower, upper)
end

function _add_definitions(model::JuMP.Model, definitions, variables, constraints)
    for (i, variable) in enumerate(definitions.variables)
        expression = _expression(definitions, i, variables)
        left = MOI.ScalarNonlinearFunction(:-, Any[JuMP.index(variables[variable]), expression])
        push!(constraints, (definitions.layers[i], _add_constraint(model, left, MOI.EqualTo(0.0))))
    end
    return
end

# The expression of a tape.
function _expression(definitions, i::Int, variables)
    stack = Any[]
    for k in definitions.starts[i]:definitions.starts[i+1]-1
        operator, argument = NativeTorch._OPERATORS[definitions.codes[k]+1], definitions.arguments[k]
        if operator == :constant
            push!(stack, definitions.constants[argument+1])
        elseif operator == :variable
            push!(stack, JuMP.index(variables[argument+1]))
        else
            operands = stack[end-argument+1:end]
            resize!(stack, length(stack) - argument)
            push!(stack, MOI.ScalarNonlinearFunction(operator, operands))
        end
    end
    return only(stack)
end

function _add_constraint(model::JuMP.Model, f::MOI.AbstractScalarFunction, set::MOI.AbstractScalarSet)
    return JuMP.ConstraintRef(model, MOI.add_constraint(JuMP.backend(model), f, set), JuMP.ScalarShape())
end
