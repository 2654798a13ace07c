# Tighter bounds: of a network in a JuMP model, and the programs of single neurons with the user's optimizer.

# Bounds of all values by the method that was asked for; `nothing` for intervals, which the library finds by itself.
function _network_bounds(model::JuMP.Model, network, inputs::_Inputs, options::_Options)
    (; bounds, optimizer, time_limit, progress) = options.bounds
    if !(bounds in NativeTorch._METHODS)
        known = join(repr.(NativeTorch._METHODS), ", ")
        throw(InvalidArgumentError("bounds is $(repr(bounds)); $known are known"))
    end
    bounds === :interval && return nothing
    return NativeTorch._find_bounds(
        network,
        NativeTorch._input_shape(inputs.f),
        inputs.lower,
        inputs.upper,
        bounds;
        rows = _input_rows(model, inputs),
        time_limit,
        progress = progress ? NativeTorch._progress_bar(stderr) : nothing,
        solve = NativeTorch._solver_of(optimizer, 0, time_limit),
    )
end

# The model's affine rows as rows of the network's inputs: variables that are no inputs go with their bounds.
function _input_rows(model::JuMP.Model, inputs::_Inputs)
    places = Dict{JuMP.VariableRef,Int}()
    for (i, element) in enumerate(inputs.elements)
        variable = _plain_variable(element)
        variable === nothing || get!(places, variable, i)
    end
    known, rows = _known_bounds(model), NativeTorch._InputRows()
    for (terms, lower, upper) in _affine_rows(model)
        any(term -> haskey(places, first(term)), terms) || continue
        others = [(a, _bounds(variable, known)) for (variable, a) in terms if !haskey(places, variable)]
        low, high = _affine_bounds(others, 0.0, length(others))
        (lower, upper) = (lower - high, upper - low)
        (isfinite(lower) || isfinite(upper)) || continue
        for (variable, a) in terms
            haskey(places, variable) || continue
            push!(rows.elements, places[variable] - 1)
            push!(rows.coefficients, a)
        end
        push!(rows.starts, length(rows.elements))
        push!(rows.lower, isnan(lower) ? -Inf : lower)
        push!(rows.upper, isnan(upper) ? Inf : upper)
    end
    return rows
end

# A linear or mixed-integer program over the part of a network before a layer, as plain arrays that a worker can receive.
struct _Program
    lower::Vector{Float64}
    upper::Vector{Float64}
    is_binary::Vector{Bool}
    starts::Vector{Int}
    columns::Vector{Int}
    coefficients::Vector{Float64}
    row_lower::Vector{Float64}
    row_upper::Vector{Float64}
end

function _Program(tables, integer::Bool)
    variables, rows = tables.variables, tables.rows
    copy_of(T, data, count) = NativeTorch._copy(T, data, count)
    starts = copy_of(Int, rows.starts, rows.count + 1)
    return _Program(
        copy_of(Float64, variables.lower, variables.count),
        copy_of(Float64, variables.upper, variables.count),
        integer .& (copy_of(Int, variables.domains, variables.count) .!= 0),
        starts,
        copy_of(Int, rows.variables, starts[end]) .+ 1,
        copy_of(Float64, rows.coefficients, starts[end]),
        copy_of(Float64, rows.lower, rows.count),
        copy_of(Float64, rows.upper, rows.count),
    )
end

# What a task or a worker failed with, without the layers of tasks around it.
_cause(error) = error
_cause(error::TaskFailedException) = _cause(error.task.result)
_cause(error::CapturedException) = _cause(error.ex)
_cause(error::Distributed.RemoteException) = _cause(error.captured)
_cause(error::CompositeException) = _cause(first(error))

function NativeTorch._optimizer_calls(optimizer, threads::Integer, time_limit::Real)
    return function (tables, elements::Vector{Int}, asked)
        limit = Float64(time_limit) / asked.rounds
        try
            return _solve_shared(_Program(tables, asked.integer), optimizer, elements, threads, limit, asked.points)
        catch error
            throw(_cause(error))
        end
    end
end

# What a variable does not pass on one side, and, where that is asked for, the values of all variables there.
const _End = NamedTuple{(:limit, :point),Tuple{Float64,Vector{Float64}}}

# The ends of the ranges of these variables, shared out among workers where there are any, else among threads.
function _solve_shared(program::_Program, optimizer, elements::Vector{Int}, threads::Integer, time_limit::Float64, points::Bool)
    if Distributed.nprocs() > 1
        workers = Distributed.workers()
        parts = [elements[k:length(workers):end] for k in eachindex(workers)]
        results = asyncmap(zip(workers, parts)) do (worker, part)
            return Distributed.remotecall_fetch(_solve_elements, worker, program, optimizer, part, time_limit, points)
        end
    else
        count = clamp(threads == 0 ? Threads.nthreads() : Int(threads), 1, max(1, length(elements)))
        parts = [elements[k:count:end] for k in 1:count]
        results = fetch.([Threads.@spawn _solve_elements(program, optimizer, part, time_limit, points) for part in parts])
    end
    found = Dict{Int,Tuple{_End,_End}}()
    for (part, ranges) in zip(parts, results)
        merge!(found, Dict(zip(part, ranges)))
    end
    return [found[element] for element in elements]
end

# The smallest and the largest value of each of these variables, as far as the solver proves them; infinite else.
function _solve_elements(program::_Program, optimizer, elements::Vector{Int}, time_limit::Float64, points::Bool)
    isempty(elements) && return Tuple{_End,_End}[]
    model = JuMP.Model(optimizer)
    JuMP.set_silent(model)
    x = JuMP.@variable(model, [i in eachindex(program.lower)])
    for (variable, l, u, is_binary) in zip(x, program.lower, program.upper, program.is_binary)
        isfinite(l) && JuMP.set_lower_bound(variable, l)
        isfinite(u) && JuMP.set_upper_bound(variable, u)
        is_binary && JuMP.set_binary(variable)
    end
    for i in eachindex(program.row_lower)
        places = program.starts[i]+1:program.starts[i+1]
        row = JuMP.@expression(model, sum(program.coefficients[k] * x[program.columns[k]] for k in places))
        JuMP.add_constraint(model, JuMP.build_constraint(error, row, _set(program.row_lower[i], program.row_upper[i])))
    end
    return map(elements) do element
        stop = time() + time_limit
        return map((MOI.MIN_SENSE, MOI.MAX_SENSE)) do sense
            limit = _limit(model, x[element], sense, stop, any(program.is_binary))
            return _End((limit, points && isfinite(limit) && JuMP.has_values(model) ? JuMP.value.(x) : Float64[]))
        end
    end
end

function _set(lower::Float64, upper::Float64)
    lower == upper && return MOI.EqualTo(lower)
    lower == -Inf && return MOI.LessThan(upper)
    upper == Inf && return MOI.GreaterThan(lower)
    return MOI.Interval(lower, upper)
end

# What a variable does not pass on one side.
function _limit(model::JuMP.Model, variable, sense, stop::Float64, is_integer::Bool)
    none = sense == MOI.MIN_SENSE ? -Inf : Inf
    left = stop - time()
    left > 0 || return none
    isfinite(left) && JuMP.set_time_limit_sec(model, left)
    JuMP.set_objective(model, sense, variable)
    JuMP.optimize!(model)
    status = JuMP.termination_status(model)
    if !is_integer
        status == MOI.OPTIMAL || return none
        return JuMP.has_duals(model) ? JuMP.dual_objective_value(model) : JuMP.objective_value(model)
    end
    # A solver that has proven nothing may say anything.
    is_known = status in (MOI.OPTIMAL, MOI.TIME_LIMIT, MOI.NODE_LIMIT)
    bound = is_known ? JuMP.objective_bound(model) : none
    return isfinite(bound) ? bound : none
end
