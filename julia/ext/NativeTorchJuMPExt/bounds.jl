# What a JuMP model says about the values of its variables and expressions: bounds of variables, tightened by affine rows.

# The bounds of those variables that affine rows tighten.
const _KnownBounds = Dict{JuMP.VariableRef,Tuple{Float64,Float64}}

# Lower and upper bound; infinite where there is none.
_bounds(x::Real, ::_KnownBounds) = (Float64(x), Float64(x))

function _bounds(x::JuMP.VariableRef, known::_KnownBounds)
    return get(() -> _own_bounds(x), known, x)
end

function _own_bounds(x::JuMP.VariableRef)
    JuMP.is_fixed(x) && return (JuMP.fix_value(x), JuMP.fix_value(x))
    lower = JuMP.has_lower_bound(x) ? JuMP.lower_bound(x) : -Inf
    upper = JuMP.has_upper_bound(x) ? JuMP.upper_bound(x) : Inf
    return JuMP.is_binary(x) ? (max(lower, 0.0), min(upper, 1.0)) : (lower, upper)
end

function _bounds(x::JuMP.AffExpr, known::_KnownBounds)
    terms = ((coefficient, _bounds(variable, known)) for (coefficient, variable) in JuMP.linear_terms(x))
    return _affine_bounds(terms, x.constant, length(x.terms))
end

# Of a sum of products of numbers with what has these bounds; wider by what a solver's value of it may be off by rounding.
function _affine_bounds(terms, constant::Float64, count::Int)
    lower = upper = constant
    magnitude = abs(constant)
    for (coefficient, (l, u)) in terms
        iszero(coefficient) && continue
        low, high = coefficient > 0 ? (coefficient * l, coefficient * u) : (coefficient * u, coefficient * l)
        lower += low
        upper += high
        magnitude += max(abs(low), abs(high))
    end
    margin = isfinite(magnitude) ? (count + 1) * eps() * magnitude : 0.0
    return lower - margin, upper + margin
end

function _bounds(x::JuMP.QuadExpr, known::_KnownBounds)
    products = [(coefficient, _product(_bounds(a, known), _bounds(b, known), a == b)) for
                (coefficient, a, b) in JuMP.quad_terms(x)]
    affine = _bounds(x.aff, known)
    return _affine_bounds([products; (1.0, affine)], 0.0, length(products) + 1)
end

function _bounds(x::JuMP.NonlinearExpr, known::_KnownBounds)
    arguments = map(argument -> _bounds(argument, known), x.args)
    return _call_bounds(Val(x.head), arguments...)
end

_bounds(::JuMP.AbstractJuMPScalar, ::_KnownBounds) = (-Inf, Inf)

const _WHOLE = (-Inf, Inf)
const _Ends = Tuple{Float64,Float64}

# A product's bounds; 0 times infinity is 0, as the factors are finite.
function _product(a::_Ends, b::_Ends, is_square::Bool = false)
    times(p, q) = iszero(p) || iszero(q) ? 0.0 : p * q
    ends = (times(a[1], b[1]), times(a[1], b[2]), times(a[2], b[1]), times(a[2], b[2]))
    lower, upper = extrema(ends)
    return _outward(is_square ? (a[1] <= 0 <= a[2] ? 0.0 : min(ends[1], ends[4])) : lower, upper)
end

# Wider by more than the rounding of an elementary function.
function _outward(lower::Float64, upper::Float64)
    return (isfinite(lower) ? lower - 4 * eps(lower) : lower, isfinite(upper) ? upper + 4 * eps(upper) : upper)
end

# The bounds of a call of an operator; what is not listed may have any value.
_call_bounds(::Val, ::_Ends...) = _WHOLE
_call_bounds(::Val{:+}, a::_Ends...) = _affine_bounds(((1.0, ends) for ends in a), 0.0, length(a))
_call_bounds(::Val{:-}, a::_Ends) = (-a[2], -a[1])
_call_bounds(::Val{:-}, a::_Ends, b::_Ends) = _affine_bounds(((1.0, a), (-1.0, b)), 0.0, 2)
_call_bounds(::Val{:*}, a::_Ends...) = foldl((p, q) -> _product(p, q), a)
_call_bounds(::Val{:/}, a::_Ends, b::_Ends) = b[1] > 0 || b[2] < 0 ? _product(a, _outward(1 / b[2], 1 / b[1])) : _WHOLE
_call_bounds(::Val{:sin}, ::_Ends) = (-1.0, 1.0)
_call_bounds(::Val{:cos}, ::_Ends) = (-1.0, 1.0)
_call_bounds(::Val{:atan}, a::_Ends) = _outward(atan(a[1]), atan(a[2]))
_call_bounds(::Val{:tanh}, a::_Ends) = _outward(tanh(a[1]), tanh(a[2]))
_call_bounds(::Val{:exp}, a::_Ends) = (max(0.0, _outward(exp(a[1]), exp(a[2]))[1]), _outward(exp(a[1]), exp(a[2]))[2])
_call_bounds(::Val{:log}, a::_Ends) = a[2] > 0 ? _outward(log(max(a[1], 0.0)), log(a[2])) : _WHOLE
_call_bounds(::Val{:sqrt}, a::_Ends) = a[2] >= 0 ? _outward(sqrt(max(a[1], 0.0)), sqrt(a[2])) : _WHOLE
_call_bounds(::Val{:max}, a::_Ends...) = (maximum(first, a), maximum(last, a))
_call_bounds(::Val{:min}, a::_Ends...) = (minimum(first, a), minimum(last, a))

function _call_bounds(::Val{:abs}, a::_Ends)
    return (a[1] <= 0 <= a[2] ? 0.0 : min(abs(a[1]), abs(a[2])), max(abs(a[1]), abs(a[2])))
end

function _call_bounds(::Val{:^}, a::_Ends, b::_Ends)
    power = b[1]
    (b[1] == b[2] && isinteger(power) && power > 0) || return _WHOLE
    if isodd(power)
        return _outward(a[1]^power, a[2]^power)
    end
    ends = _call_bounds(Val(:abs), a)
    return max.(_outward(ends[1]^power, ends[2]^power), (0.0, 0.0))
end

# How often rows are gone through: each round can only tighten, and the first do most.
const _ROUNDS = 3

# What the affine rows of a model say about its variables, besides their bounds.
# The rows of networks that were added before are left out: they say nothing about inputs that their bounds do not.
function _known_bounds(model::JuMP.Model)
    known = _KnownBounds()
    rows = _affine_rows(model)
    isempty(rows) && return known
    for _ in 1:_ROUNDS
        changed = false
        for (terms, lower, upper) in rows
            changed |= _propagate!(known, terms, lower, upper)
        end
        changed || break
    end
    return known
end

const _Row = Tuple{Vector{Pair{JuMP.VariableRef,Float64}},Float64,Float64}

# The sets that rows lie in: those of one row, and those of several that stand in one constraint.
const _SETS = (MOI.LessThan{Float64}, MOI.GreaterThan{Float64}, MOI.EqualTo{Float64}, MOI.Interval{Float64})
const _VECTOR_SETS = (MOI.Nonnegatives, MOI.Nonpositives, MOI.Zeros, MOI.HyperRectangle{Float64})

# The limits of the i-th row of a set.
_limits(set::Union{_SETS...}, ::Int) = (interval = MOI.Interval(set); (interval.lower, interval.upper))
_limits(::MOI.Nonnegatives, ::Int) = (0.0, Inf)
_limits(::MOI.Nonpositives, ::Int) = (-Inf, 0.0)
_limits(::MOI.Zeros, ::Int) = (0.0, 0.0)
_limits(set::MOI.HyperRectangle{Float64}, i::Int) = (set.lower[i], set.upper[i])

_rows_of(f::MOI.ScalarAffineFunction{Float64}) = (f,)
_rows_of(f::MOI.AbstractVectorFunction) = (convert(MOI.ScalarAffineFunction{Float64}, row) for row in MOI.Utilities.eachscalar(f))

function _affine_rows(model::JuMP.Model)
    rows, own, backend = _Row[], _own_rows(model), JuMP.backend(model)
    for (functions, sets) in (
            ((MOI.ScalarAffineFunction{Float64},), _SETS),
            ((MOI.VectorAffineFunction{Float64}, MOI.VectorOfVariables), _VECTOR_SETS),
        ),
        F in functions, S in sets, index in MOI.get(backend, MOI.ListOfConstraintIndices{F,S}())

        index in own && continue
        set = MOI.get(backend, MOI.ConstraintSet(), index)
        for (i, f) in enumerate(_rows_of(MOI.get(backend, MOI.ConstraintFunction(), index)))
            terms = [JuMP.VariableRef(model, term.variable) => term.coefficient for term in f.terms]
            lower, upper = _limits(set, i)
            push!(rows, (terms, lower - f.constant, upper - f.constant))
        end
    end
    return rows
end

# The rows that this package added to a model.
struct _OwnRows
    indices::Set{Any}
end

_own_rows(model::JuMP.Model) = (get!(() -> _OwnRows(Set{Any}()), model.ext, :NativeTorch)::_OwnRows).indices

# A copy's rows have indices of their own, of which these say nothing.
JuMP.copy_extension_data(::_OwnRows, ::JuMP.AbstractModel, ::JuMP.AbstractModel) = _OwnRows(Set{Any}())

# Tightens the bounds of a row's variables by those of its others; whether any became notably tighter.
function _propagate!(known::_KnownBounds, terms, lower::Float64, upper::Float64)
    ends = [_bounds(variable, known) for (variable, _) in terms]
    # Sums without those that are infinite, which are counted.
    low, high, free_low, free_high = 0.0, 0.0, 0, 0
    magnitude = sum(abs, filter(isfinite, (lower, upper)); init = 0.0)
    part(a, (l, u)) = a > 0 ? (a * l, a * u) : a < 0 ? (a * u, a * l) : (0.0, 0.0)
    for ((_, a), bounds) in zip(terms, ends)
        l, u = part(a, bounds)
        isfinite(l) ? (low += l; magnitude += abs(l)) : (free_low += 1)
        isfinite(u) ? (high += u; magnitude += abs(u)) : (free_high += 1)
    end
    margin = 4 * (length(terms) + 1) * eps() * magnitude
    changed = false
    for ((variable, a), bounds) in zip(terms, ends)
        iszero(a) && continue
        l, u = part(a, bounds)
        rest_low = free_low - !isfinite(l) > 0 ? -Inf : low - (isfinite(l) ? l : 0.0)
        rest_high = free_high - !isfinite(u) > 0 ? Inf : high - (isfinite(u) ? u : 0.0)
        from, to = (lower - rest_high - margin) / a, (upper - rest_low + margin) / a
        from, to = a > 0 ? (from, to) : (to, from)
        new = (max(bounds[1], _outward(from, to)[1]), min(bounds[2], _outward(from, to)[2]))
        # An infeasible model is left to the solver.
        new[1] <= new[2] || continue
        if any(i -> !isapprox(new[i], bounds[i]; rtol = 1e-9, atol = 1e-9), 1:2)
            known[variable] = new
            changed = true
        end
    end
    return changed
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
