# New variables.

# A variable with these bounds and start value, where there are any; `constraints` receives its bounds.
function _new_variable(model::JuMP.Model, name::String, lower::Real, upper::Real, start, constraints)
    variable = JuMP.@variable(model, base_name = name)
    if lower == upper
        JuMP.fix(variable, lower)
        push!(constraints, JuMP.FixRef(variable))
    else
        if isfinite(lower)
            JuMP.set_lower_bound(variable, lower)
            push!(constraints, JuMP.LowerBoundRef(variable))
        end
        if isfinite(upper)
            JuMP.set_upper_bound(variable, upper)
            push!(constraints, JuMP.UpperBoundRef(variable))
        end
    end
    if start !== nothing && !isnan(start)
        JuMP.set_start_value(variable, start)
    end
    return variable
end

function _new_binary(model::JuMP.Model, name::String, start, constraints)
    variable = JuMP.@variable(model, base_name = name, binary = true)
    push!(constraints, JuMP.BinaryRef(variable))
    isnan(start) || JuMP.set_start_value(variable, start)
    return variable
end
