# A formulation as arrays: variables and rows of the library's full-space formulation, for whatever modelling language.

# Linear rows `lower <= a'x <= upper`: row `i` has the entries `starts[i]` to `starts[i+1] - 1`.
struct _LinearRows
    starts::Vector{Int}
    variables::Vector{Int}
    coefficients::Vector{Float64}
    lower::Vector{Float64}
    upper::Vector{Float64}
    layers::Vector{Int}
end

# Nonlinear equations `variables[i] == expression`, the places `starts[i]` to `starts[i+1] - 1` of a tape in postfix order.
# A code 0 pushes the constant of number `argument`, 1 pushes a variable; others are of `argument` operands.
struct _NonlinearRows
    variables::Vector{Int}
    starts::Vector{Int}
    codes::Vector{UInt8}
    arguments::Vector{Int}
    constants::Vector{Float64}
    layers::Vector{Int}
end

# All positions count from 1. `layers` are numbers that rise from the first layer to the last.
struct _FormulationTables
    lower::Vector{Float64}
    upper::Vector{Float64}
    # 0 for continuous, 1 for binary, 2 for integer.
    domains::Vector{UInt8}
    # NaN where there is none.
    start::Vector{Float64}
    names::Vector{String}
    layers::Vector{Int}
    inputs::Vector{Int}
    outputs::Vector{Int}
    rows::_LinearRows
    definitions::_NonlinearRows
end

# What the codes of a tape are called, by their numbers, as MathOptInterface calls them.
const _OPERATORS = (
    :constant, :variable, :+, :-, :*, :/, :^, :-, :exp, :log, :log1p, :sqrt, :tanh, :erf, :abs, :max, :min, :ifelse, :>,
)

# The full-space formulation of a model for inputs of a size, with bounds for each input element and start values by the
# forward pass at `start`, if there is one. All flat in torch's order.
function _formulate(m::Model, size::Dims, lower::Vector{Float64}, upper::Vector{Float64}, start)
    handle = _formulation_create(m, collect(Csize_t, size), lower, upper, start)
    try
        return _copy(_formulation_tables(handle))
    finally
        _formulation_destroy(handle)
    end
end

# Positions of the library count from 0.
_positions(data::Ptr, count::Integer) = _copy(Int, data, count) .+ 1

function _copy(table::_Rows)
    starts = _positions(table.starts, table.count + 1)
    return _LinearRows(
        starts,
        _positions(table.variables, starts[end] - 1),
        _copy(Float64, table.coefficients, starts[end] - 1),
        _copy(Float64, table.lower, table.count),
        _copy(Float64, table.upper, table.count),
        _copy(Int, table.layers, table.count),
    )
end

function _copy(table::_Definitions)
    starts = _positions(table.starts, table.count + 1)
    return _NonlinearRows(
        _positions(table.variables, table.count),
        starts,
        _copy(UInt8, table.codes, starts[end] - 1),
        _copy(Int, table.arguments, starts[end] - 1),
        _copy(Float64, table.constants, table.constant_count),
        _copy(Int, table.layers, table.count),
    )
end

function _copy(tables::_Tables)
    others = tables.sos1.count + tables.indicators.rows.count + tables.quadratic.rows.count +
             tables.cones.members.count + tables.complementarities.count
    others == 0 || throw(InternalError("the formulation has rows of a kind that NativeTorch.jl does not translate yet"))
    variables, count = tables.variables, tables.variables.count
    block_names = _copy(tables.blocks.names, tables.blocks.count)
    block_layers = _copy(Int, tables.blocks.layers, tables.blocks.count)
    blocks, indices = _positions(variables.blocks, count), _positions(variables.indices, count)
    return _FormulationTables(
        _copy(Float64, variables.lower, count),
        _copy(Float64, variables.upper, count),
        _copy(UInt8, variables.domains, count),
        _copy(Float64, variables.start, count),
        ["$(block_names[block])[$index]" for (block, index) in zip(blocks, indices)],
        block_layers[blocks],
        _positions(tables.inputs, tables.input_count),
        _positions(tables.outputs, tables.output_count),
        _copy(tables.rows),
        _copy(tables.definitions),
    )
end
