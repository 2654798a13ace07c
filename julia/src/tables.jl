# Tables of the library's formulations: what their codes mean, for whatever modelling language.

# What the codes of a tape are called, by their numbers, as MathOptInterface calls them.
const _OPERATORS = (
    :constant, :variable, :+, :-, :*, :/, :^, :-, :exp, :log, :log1p, :sqrt, :tanh, :erf, :abs, :max, :min, :ifelse, :>,
    :expression, :sin, :atan,
)

# Positions of the library count from 0.
_positions(data::Ptr, count::Integer) = _copy(Int, data, count) .+ 1
