# Reduced space: the outputs of layers as expressions of their inputs.

function _reduce(model::JuMP.Model, network, inputs::_Inputs, layers, names)
    formulations = _Formulation[NativeTorch.Formulation(ReducedSpace(layer)) for layer in layers]
    if all(element -> element isa Real, inputs.elements)
        y = Vector{Float64}(undef, inputs.f.m)
        x = convert(Vector{Float64}, inputs.elements)
        NativeTorch._borrow(workspace -> NativeTorch.value!(y, inputs.f, workspace, x), inputs.f)
        return convert(Vector{Any}, y), formulations
    end
    text = join(["space=reduced"; _choices(layers, names)], ", ")
    handle = NativeTorch._formulation_create(network, NativeTorch._input_shape(inputs.f), inputs.lower, inputs.upper, nothing, text)
    try
        tables = NativeTorch._formulation_tables(handle)
        elements = Vector{Any}(undef, length(inputs.elements))
        elements[NativeTorch._positions(tables.inputs, tables.input_count)] = inputs.elements
        expressions = _expressions(_Tapes(tables.expressions), _JumpOperations(elements), Any[])
        y = Any[expressions[i] for i in NativeTorch._positions(tables.output_expressions, tables.output_count)]
        return y, formulations
    finally
        NativeTorch._formulation_destroy(handle)
    end
end
