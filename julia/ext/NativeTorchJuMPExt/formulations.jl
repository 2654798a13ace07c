# What one does with a formulation afterwards, and constraints on a network's outputs.

function NativeTorch.classify(model::JuMP.Model, y::AbstractVector, label::Integer; margin::Real = 0.0)
    if !(label in eachindex(y))
        throw(InvalidArgumentError("label is $label, but y has the indices $(first(eachindex(y))) to $(last(eachindex(y)))"))
    end
    return [JuMP.@constraint(model, y[label] - y[j] >= margin) for j in eachindex(y) if j != label]
end

function NativeTorch.delete(model::JuMP.Model, formulation::NativeTorch.Formulation)
    _delete_rows(model, formulation)
    _delete_variables(model, formulation)
    return
end

# What was added last may refer to what was added first, and rows of one layer to variables of another.
function NativeTorch.delete(model::JuMP.Model, formulation::NativeTorch.PipelineFormulation)
    _delete_rows(model, formulation)
    _delete_variables(model, formulation)
    return
end

function _delete_rows(model::JuMP.Model, formulation::NativeTorch.Formulation)
    constraints = filter(_is_valid, formulation.constraints)
    rows = filter(constraint -> !_is_bound(constraint), constraints)
    own = _own_rows(model)
    for constraint in rows
        JuMP.delete(model, constraint)
        delete!(own, JuMP.index(constraint))
    end
    return
end

# Bounds go with their variables; those of the caller's own variables are left.
function _delete_variables(model::JuMP.Model, formulation::NativeTorch.Formulation)
    JuMP.delete(model, JuMP.VariableRef[variable for variable in formulation.variables if _is_valid(variable)])
    return
end

function _delete_rows(model::JuMP.Model, formulation::NativeTorch.PipelineFormulation)
    foreach(inner -> _delete_rows(model, inner), reverse(formulation.layers))
    return
end

function _delete_variables(model::JuMP.Model, formulation::NativeTorch.PipelineFormulation)
    foreach(inner -> _delete_variables(model, inner), reverse(formulation.layers))
    return
end

# A formulation of the user's is deleted as a whole.
_delete_rows(model::JuMP.Model, formulation::NativeTorch.AbstractFormulation) = NativeTorch.delete(model, formulation)
_delete_variables(::JuMP.Model, ::NativeTorch.AbstractFormulation) = nothing

JuMP.delete(model::JuMP.Model, formulation::NativeTorch.AbstractFormulation) = NativeTorch.delete(model, formulation)

_is_valid(x) = JuMP.is_valid(JuMP.owner_model(x), x)

_is_bound(constraint::JuMP.ConstraintRef) = JuMP.index(constraint) isa MOI.ConstraintIndex{MOI.VariableIndex}

function NativeTorch.formulation_error(formulation::NativeTorch.AbstractFormulation)
    if isempty(formulation.networks)
        throw(InvalidArgumentError("the formulation contains no network"))
    end
    return maximum(_error_of, formulation.networks)
end

function _error_of(network::_Network)
    found = Float64[_value_of(y) for y in network.y]
    exact = Vector{Float64}(undef, network.f.m)
    x = Float64[_value_of(element) for element in network.x]
    NativeTorch._borrow(workspace -> NativeTorch.value!(exact, network.f, workspace, x), network.f)
    return maximum(abs, found .- exact; init = 0.0)
end

_value_of(x::Real) = Float64(x)
_value_of(x::JuMP.AbstractJuMPScalar) = JuMP.value(x)
