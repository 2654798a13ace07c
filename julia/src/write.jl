# Formulations as files for other solvers and modelling languages.

"""
    write_formulation(path, model, box; kwargs...)

Write the formulation of a network, whose inputs lie in a box, to a file in the format that `path` ends with: `.mps`, `.lp`,
`.nl` (AMPL's) or `.mof.json` (MathOptFormat). JuMP reads the last with `read_from_file`. Needs no JuMP.

`model` is a [`Model`](@ref), a [`PytorchModel`](@ref) or the name of a file; `box` is `(lower, upper)` as in
[`network_bounds`](@ref): two arrays of torch's size, or two numbers.

# Keywords
 * `objective = nothing`: `"minimize"` or `"maximize"` and an expression in the inputs `x[i]` and outputs `y[j]`, flat in torch's
   order and counted from 0: `"maximize y[0] - 2 * y[1]"`.
 * `options = ""`: the forms, by kind of operation or by layer: `"relu=sos1, max_pool=pairwise, layer 2=big_m(100)"`, and
   `"space=reduced"`.
 * `bounds = :interval`: how bounds are found; see [`network_bounds`](@ref), which has the keywords `optimizer`, `threads`,
   `time_limit` and `progress` too.

Throws [`InvalidArgumentError`](@ref) where the path ends otherwise or the objective is not linear, [`UnsupportedError`](@ref)
where the format does not hold a part of the formulation, [`IOError`](@ref) where the file cannot be written.
"""
function write_formulation(
    path::AbstractString,
    model::Model,
    box;
    objective::Union{Nothing,AbstractString} = nothing,
    options::AbstractString = "",
    bounds::Symbol = :interval,
    kwargs...,
)
    size, lower, upper = _box(model, box)
    found = bounds === :interval && isempty(kwargs) ? nothing : _box_bounds(model, size, lower, upper, bounds; kwargs...)
    formulation = found === nothing ? _formulation_create(model, size, lower, upper, nothing, String(options)) :
                  _formulation_create_bounded(found, nothing, String(options))
    try
        _formulation_write(formulation, String(path), objective === nothing ? nothing : String(objective))
    finally
        _formulation_destroy(formulation)
    end
    return
end

function write_formulation(path::AbstractString, model::Union{AbstractString,PytorchModel}, box; kwargs...)
    return write_formulation(path, load(_file_of(model)), box; kwargs...)
end

_file_of(path::AbstractString) = path
_file_of(model::PytorchModel) = model.filename
