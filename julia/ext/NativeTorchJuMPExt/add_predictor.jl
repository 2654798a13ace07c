# The interface: files and models become predictors, arrays and JuMP's containers become vectors.

function NativeTorch.add_predictor(
    model::JuMP.Model,
    predictor::Union{NativeTorch.PytorchModel,NativeTorch.Model},
    x::AbstractArray;
    reduced_space::Bool = false,
    input_size = nothing,
    kwargs...,
)
    _refuse_reduced_space(reduced_space)
    if ndims(x) > 1
        if input_size !== nothing && Tuple(input_size) != size(x)
            throw(InvalidArgumentError("x has size $(size(x)), but input_size is $input_size; leave it out"))
        end
        input_size = size(x)
    end
    inner = NativeTorch.build_predictor(predictor; input_size = input_size, kwargs...)
    return NativeTorch.add_predictor(model, inner, vec(Array(x)))
end

function _refuse_reduced_space(reduced_space::Bool)
    if reduced_space
        throw(UnsupportedError("reduced_space = true is not there yet; full space (the default) and gray_box = true are"))
    end
    return
end
