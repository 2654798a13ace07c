# What a JuMP model says about the values of its variables and expressions.

# Lower and upper bound; infinite where there is none.
_bounds(x::Real) = (Float64(x), Float64(x))
_bounds(::JuMP.AbstractJuMPScalar) = (-Inf, Inf)

function _bounds(x::JuMP.VariableRef)
    lower = JuMP.has_lower_bound(x) ? JuMP.lower_bound(x) : -Inf
    upper = JuMP.has_upper_bound(x) ? JuMP.upper_bound(x) : Inf
    if JuMP.is_fixed(x)
        lower = upper = JuMP.fix_value(x)
    end
    return JuMP.is_binary(x) ? (max(lower, 0.0), min(upper, 1.0)) : (lower, upper)
end

function _bounds(x::JuMP.AffExpr)
    lower = upper = x.constant
    magnitude = abs(x.constant)
    for (coefficient, variable) in JuMP.linear_terms(x)
        iszero(coefficient) && continue
        ends = coefficient .* _bounds(variable)
        lower += minimum(ends)
        upper += maximum(ends)
        magnitude += maximum(abs, ends)
    end
    # A solver's value of the sum may be off by rounding.
    margin = isfinite(magnitude) ? (length(x.terms) + 1) * eps() * magnitude : 0.0
    return lower - margin, upper + margin
end

# The start value, or `nothing`.
_start(x::Real) = Float64(x)

function _start(x::JuMP.VariableRef)
    start = JuMP.start_value(x)
    return start === nothing && JuMP.is_fixed(x) ? JuMP.fix_value(x) : start
end

function _start(x::JuMP.AbstractJuMPScalar)
    value = JuMP.value(variable -> something(_start(variable), NaN), x)
    return isnan(value) ? nothing : value
end
