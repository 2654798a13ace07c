# Full space: the tables of the library's formulation become variables and constraints of a JuMP model. Everything goes
# straight to MathOptInterface; by way of JuMP's expressions it takes ten times as long.

# Adds the layers of `network`; gives the variables of the outputs in torch's order, and a formulation for each layer.
function _formulate(model::JuMP.Model, network, inputs::_Inputs, layers, names, options::_Options)
    handle = _lower(model, network, inputs, layers, names, options)
    try
        tables = NativeTorch._formulation_tables(handle)
        # Here nothing can fail any more: an error leaves the JuMP model as it was.
        input_variables, added, input_constraints = _add_inputs(model, inputs)
        lists = _Lists(model, tables, names, added, input_constraints)
        variables = _add_variables(model, tables, input_variables, lists)
        _add_rows(model, tables, variables, lists)
        _add_sets(model, tables, variables, lists)
        _add_definitions(model, tables, variables, lists)
        model.is_model_dirty = true
        y = variables[NativeTorch._positions(tables.outputs, tables.output_count)]
        return y, _formulations(layers, lists)
    finally
        NativeTorch._formulation_destroy(handle)
    end
end

# What each layer adds: its variables, their bounds and its rows, in this order.
struct _Lists
    model::JuMP.Model
    # The predictor of each of the library's layers, which count from 0.
    predictors::Vector{Int}
    variables::Vector{Vector{Any}}
    constraints::Vector{Vector{Any}}
end

function _Lists(model::JuMP.Model, tables, names::Vector{String}, added, constraints)
    predictors = _predictors_of(NativeTorch._copy(tables.layers, tables.layer_count), names)
    lists = _Lists(model, predictors, [Any[] for _ in names], [Any[] for _ in names])
    append!(lists.variables[1], added)
    append!(lists.constraints[1], constraints)
    return lists
end

# The number of the predictor that each layer belongs to: its name, or what its name begins with, stands between backticks.
# Layers that were folded into one are listed, and the last of them names the variables.
function _predictors_of(layers::Vector{String}, names::Vector{String})
    return map(layers) do layer
        place = match(r"^.*layer `(.*)`"s, layer)
        path = place === nothing ? "" : place[1]
        found = findfirst(name -> path == name || startswith(path, name * "."), names)
        return something(found, length(names))
    end
end

# What stands for no layer: constant outputs.
_predictor(lists::_Lists, layer::Integer) = layer < length(lists.predictors) ? lists.predictors[layer+1] : length(lists.variables)

function _push!(lists::_Lists, layer::Integer, index::MOI.ConstraintIndex, shape = JuMP.ScalarShape())
    push!(lists.constraints[_predictor(lists, layer)], JuMP.ConstraintRef(lists.model, index, shape))
    return
end

function _formulations(layers, lists::_Lists)
    return _Formulation[
        NativeTorch.Formulation(layer, lists.variables[i], lists.constraints[i]) for (i, layer) in enumerate(layers)
    ]
end

# The forms that layers choose.
_choices(layers, names) = reduce(vcat, map(NativeTorch._choices, layers, names))

# The library's formulation with the forms of the layers. Where a layer leaves the choice, big-M; but nonlinear equations
# where the solver takes no binaries or a bound is infinite.
function _lower(model::JuMP.Model, network, inputs::_Inputs, layers, names, options::_Options)
    bounds = _network_bounds(model, network, inputs, options)
    create(choices) = _create(network, inputs, bounds, join(choices, ", "))
    chosen = _choices(layers, names)
    is_left = any(NativeTorch._leaves_choice, layers)
    nonlinear = ["relu=nonlinear"; "max_pool=nonlinear"; chosen]
    if is_left && !_takes_binaries(model)
        return create(nonlinear)
    end
    try
        return create(chosen)
    catch error
        is_left && error isa InvalidArgumentError || rethrow()
        return create(nonlinear)
    end
end

function _create(network, inputs::_Inputs, bounds, choices::String)
    bounds === nothing || return NativeTorch._formulation_create_bounded(bounds, _all_starts(inputs), choices)
    return NativeTorch._formulation_create(
        network,
        NativeTorch._input_shape(inputs.f),
        inputs.lower,
        inputs.upper,
        _all_starts(inputs),
        choices,
    )
end

_takes_binaries(model::JuMP.Model) = MOI.supports_constraint(JuMP.backend(model), MOI.VariableIndex, MOI.ZeroOne)

# An array of the library's, valid as long as the formulation.
_array(data::Ptr{T}, count::Integer) where {T} = count == 0 ? T[] : unsafe_wrap(Array, data, Int(count))

# The JuMP variables of all variables of the tables.
function _add_variables(model::JuMP.Model, tables, inputs::Vector{JuMP.VariableRef}, lists::_Lists)
    table, backend = tables.variables, JuMP.backend(model)
    count = Int(table.count)
    lower, upper, domains = _array(table.lower, count), _array(table.upper, count), _array(table.domains, count)
    starts, blocks, indices = _array(table.start, count), _array(table.blocks, count), _array(table.indices, count)
    names = NativeTorch._copy(tables.blocks.names, tables.blocks.count)
    # `layer 0.z` is the layer `0` of a file; `layer ReLU.y` a layer that was made here.
    names = [replace(name, r"^layer (?=[A-Z])" => "", ' ' => '_') for name in names]
    block_layers = _array(tables.blocks.layers, tables.blocks.count)
    variables = Vector{JuMP.VariableRef}(undef, count)
    is_input = falses(count)
    for (position, variable) in zip(NativeTorch._positions(tables.inputs, tables.input_count), inputs)
        variables[position] = variable
        is_input[position] = true
    end
    new = findall(!, is_input)
    takes_names, takes_starts =
        map(attribute -> MOI.supports(backend, attribute, MOI.VariableIndex), (MOI.VariableName(), MOI.VariablePrimalStart()))
    made = MOI.add_variables(backend, length(new))
    for (position, index) in zip(new, made)
        variables[position] = JuMP.VariableRef(model, index)
        name = string(names[blocks[position]+1], "[", indices[position] + 1, "]")
        takes_names && MOI.set(backend, MOI.VariableName(), index, name)
        takes_starts && !isnan(starts[position]) && MOI.set(backend, MOI.VariablePrimalStart(), index, starts[position])
        push!(lists.variables[_predictor(lists, block_layers[blocks[position]+1])], variables[position])
    end
    for (position, index) in zip(new, made)
        layer, l, u = block_layers[blocks[position]+1], lower[position], upper[position]
        if domains[position] == 1
            _push!(lists, layer, MOI.add_constraint(backend, index, MOI.ZeroOne()))
            continue
        elseif l == u
            _push!(lists, layer, MOI.add_constraint(backend, index, MOI.EqualTo(l)))
        else
            l == -Inf || _push!(lists, layer, MOI.add_constraint(backend, index, MOI.GreaterThan(l)))
            u == Inf || _push!(lists, layer, MOI.add_constraint(backend, index, MOI.LessThan(u)))
        end
        domains[position] == 2 && _push!(lists, layer, MOI.add_constraint(backend, index, MOI.Integer()))
    end
    return variables
end

# The terms of rows, `terms_of(i)` for each row. A model's cache copies what it is given, so that they always stand in the
# same vector; an optimizer that is used directly may keep it.
function _row_terms(model::JuMP.Model, table, variables::Vector{JuMP.VariableRef})
    count = Int(table.count)
    starts = _array(table.starts, count + 1)
    entries = count == 0 ? 0 : Int(starts[end])
    columns, coefficients = _array(table.variables, entries), _array(table.coefficients, entries)
    is_kept = JuMP.mode(model) == JuMP.DIRECT
    shared = MOI.ScalarAffineTerm{Float64}[]
    return function (i::Int)
        first, last = Int(starts[i]) + 1, Int(starts[i+1])
        terms = is_kept ? similar(shared, last - first + 1) : resize!(shared, last - first + 1)
        for k in first:last
            terms[k-first+1] = MOI.ScalarAffineTerm(coefficients[k], JuMP.index(variables[columns[k]+1]))
        end
        return terms
    end
end

function _add_rows(model::JuMP.Model, tables, variables, lists::_Lists)
    table, backend, own = tables.rows, JuMP.backend(model), _own_rows(model)
    count = Int(table.count)
    terms_of = _row_terms(model, table, variables)
    lower, upper, layers = _array(table.lower, count), _array(table.upper, count), _array(table.layers, count)
    for i in 1:count
        f = MOI.ScalarAffineFunction(terms_of(i), 0.0)
        index = _add_row(backend, f, lower[i], upper[i])
        push!(own, index)
        _push!(lists, layers[i], index)
    end
    return
end

# `lower <= f <= upper`; each kind of set by its own type.
function _add_row(backend, f, lower::Float64, upper::Float64)
    lower == upper && return MOI.add_constraint(backend, f, MOI.EqualTo(lower))
    lower == -Inf && return MOI.add_constraint(backend, f, MOI.LessThan(upper))
    upper == Inf && return MOI.add_constraint(backend, f, MOI.GreaterThan(lower))
    return MOI.add_constraint(backend, f, MOI.Interval(lower, upper))
end

# SOS1 sets, indicators, quadratic rows, cones and complementary pairs.
function _add_sets(model::JuMP.Model, tables, variables, lists::_Lists)
    _add_sos1(model, tables.sos1, variables, lists)
    _add_indicators(model, tables.indicators, variables, lists)
    _add_quadratic_rows(model, tables.quadratic, variables, lists)
    _add_cones(model, tables.cones, variables, lists)
    _add_complementarities(model, tables.complementarities, variables, lists)
    return
end

function _add_sos1(model::JuMP.Model, table, variables, lists::_Lists)
    count = Int(table.count)
    starts, layers = _array(table.starts, count + 1), _array(table.layers, count)
    entries = count == 0 ? 0 : Int(starts[end])
    members, weights = _array(table.variables, entries), _array(table.weights, entries)
    for i in 1:count
        places = Int(starts[i])+1:Int(starts[i+1])
        f = MOI.VectorOfVariables([JuMP.index(variables[members[k]+1]) for k in places])
        _push!(lists, layers[i], MOI.add_constraint(JuMP.backend(model), f, MOI.SOS1(weights[places])), JuMP.VectorShape())
    end
    return
end

function _add_indicators(model::JuMP.Model, table, variables, lists::_Lists)
    rows, count = table.rows, Int(table.rows.count)
    terms_of = _row_terms(model, rows, variables)
    lower, upper, layers = _array(rows.lower, count), _array(rows.upper, count), _array(rows.layers, count)
    binaries, active = _array(table.binaries, count), _array(table.active, count)
    for i in 1:count
        binary = MOI.ScalarAffineTerm(1.0, JuMP.index(variables[binaries[i]+1]))
        terms = [MOI.VectorAffineTerm(1, binary); [MOI.VectorAffineTerm(2, term) for term in terms_of(i)]]
        f = MOI.VectorAffineFunction(terms, [0.0, 0.0])
        side = active[i] == 1 ? MOI.ACTIVATE_ON_ONE : MOI.ACTIVATE_ON_ZERO
        # Solvers take one-sided and equal rows.
        for set in _one_sided(lower[i], upper[i])
            index = MOI.add_constraint(JuMP.backend(model), f, MOI.Indicator{side}(set))
            _push!(lists, layers[i], index, JuMP.VectorShape())
        end
    end
    return
end

function _one_sided(lower::Float64, upper::Float64)
    lower == upper && return [MOI.EqualTo(lower)]
    lower == -Inf && return [MOI.LessThan(upper)]
    upper == Inf && return [MOI.GreaterThan(lower)]
    return [MOI.GreaterThan(lower), MOI.LessThan(upper)]
end

function _add_quadratic_rows(model::JuMP.Model, table, variables, lists::_Lists)
    rows, count = table.rows, Int(table.rows.count)
    terms_of = _row_terms(model, rows, variables)
    lower, upper, layers = _array(rows.lower, count), _array(rows.upper, count), _array(rows.layers, count)
    starts = _array(table.starts, count + 1)
    entries = count == 0 ? 0 : Int(starts[end])
    first, second, coefficients = (_array(field, entries) for field in (table.first, table.second, table.coefficients))
    for i in 1:count
        products = map(Int(starts[i])+1:Int(starts[i+1])) do k
            # MathOptInterface counts half of a square.
            factor = first[k] == second[k] ? 2.0 : 1.0
            a, b = JuMP.index(variables[first[k]+1]), JuMP.index(variables[second[k]+1])
            return MOI.ScalarQuadraticTerm(factor * coefficients[k], a, b)
        end
        f = MOI.ScalarQuadraticFunction(products, terms_of(i), 0.0)
        _push!(lists, layers[i], _add_row(JuMP.backend(model), f, lower[i], upper[i]))
    end
    return
end

function _add_complementarities(model::JuMP.Model, table, variables, lists::_Lists)
    count = Int(table.count)
    first, second, layers = _array(table.first, count), _array(table.second, count), _array(table.layers, count)
    for i in 1:count
        f = MOI.VectorOfVariables([JuMP.index(variables[first[i]+1]), JuMP.index(variables[second[i]+1])])
        _push!(lists, layers[i], MOI.add_constraint(JuMP.backend(model), f, MOI.Complements(2)), JuMP.VectorShape())
    end
    return
end

function _add_cones(model::JuMP.Model, table, variables, lists::_Lists)
    count = Int(table.count)
    starts, kinds, layers = _array(table.starts, count + 1), _array(table.kinds, count), _array(table.layers, count)
    members = table.members
    total = Int(members.count)
    member_starts, constants = _array(members.starts, total + 1), _array(members.constants, total)
    entries = total == 0 ? 0 : Int(member_starts[end])
    columns, coefficients = _array(members.variables, entries), _array(members.coefficients, entries)
    for i in 1:count
        places = Int(starts[i])+1:Int(starts[i+1])
        terms = MOI.VectorAffineTerm{Float64}[]
        for (row, member) in enumerate(places), k in Int(member_starts[member])+1:Int(member_starts[member+1])
            variable = JuMP.index(variables[columns[k]+1])
            push!(terms, MOI.VectorAffineTerm(row, MOI.ScalarAffineTerm(coefficients[k], variable)))
        end
        f = MOI.VectorAffineFunction(terms, constants[places])
        set = kinds[i] == 0 ? MOI.ExponentialCone() : MOI.SecondOrderCone(length(places))
        _push!(lists, layers[i], MOI.add_constraint(JuMP.backend(model), f, set), JuMP.VectorShape())
    end
    return
end

# Nonlinear equations `variable == expression`, and inequalities.
function _add_definitions(model::JuMP.Model, tables, variables, lists::_Lists)
    table = tables.definitions
    tapes, operations = _Tapes(table.tapes), _MoiOperations(variables)
    shared = _expressions(_Tapes(tables.expressions), operations, Any[])
    count = length(tapes)
    left, relations = _array(table.variables, count), _array(table.relations, count)
    for i in 1:count
        expression = _expression(tapes, i, operations, shared)
        f = MOI.ScalarNonlinearFunction(:-, Any[JuMP.index(variables[left[i]+1]), expression])
        set = (MOI.EqualTo(0.0), MOI.GreaterThan(0.0), MOI.LessThan(0.0))[relations[i]+1]
        _push!(lists, tapes.layers[i], MOI.add_constraint(JuMP.backend(model), f, set))
    end
    return
end
