# Sizes of inputs and outputs: images as MathOptAI has them, and torch's sizes that models are compiled for.

# The size that a layer itself fixes for its input.
_own_input_size(::AbstractPredictor) = nothing
_own_input_size(predictor::Union{TorchLayer,MaxPool2d}) = predictor.input_size
_own_input_size(predictor::Union{MaxPool2dBigM,MaxPool2dPairwise}) = predictor.pool.input_size

output_size(predictor::Affine, ::Nothing) = (size(predictor.A, 1),)
output_size(predictor::Affine, ::Tuple{Int}) = (size(predictor.A, 1),)
output_size(::_LibraryLayer, ::Nothing) = nothing

function output_size(predictor::_LibraryLayer, input_size::Dims)
    f, is_image = _compile_for(_part(predictor), prod(input_size), input_size)
    return _size_after(f, is_image)
end

# The size of a function's output as `input_size` says it.
function _size_after(f::CompiledFunction, is_image::Bool)
    size = first(f.outputs).size
    if is_image && length(f.outputs) == 1 && length(size) == length(only(f.inputs).size)
        return (size[end-1], size[end], size[end-2])
    end
    return (f.m,)
end

# The size of a function's input as the library takes it; `nothing` where the file fixes those of several inputs.
_input_shape(f::CompiledFunction) = length(f.inputs) == 1 ? collect(Csize_t, only(f.inputs).size) : nothing

# A model for n elements of x: the first of torch's sizes that fits, and whether x is an image.
function _compile_for(network::Model, n::Int, input_size; sizes = nothing, engine...)
    if input_size !== nothing && prod(input_size) != n
        throw(InvalidArgumentError("x has $n elements, but input_size = $input_size has $(prod(input_size))"))
    end
    is_image = input_size !== nothing && length(input_size) > 1
    inputs = _model_inputs(network)
    length(inputs) > 1 && return _compile_several(network, inputs, n; engine...), false
    sizes = something(sizes, is_image ? _torch_image_sizes(input_size) : ((n,), (1, n), _own_sizes(network, inputs, n)...))
    reason = ""
    for size in sizes
        try
            return compile(network, size; engine...), is_image
        catch error
            error isa InvalidArgumentError || rethrow()
            reason = isempty(reason) ? error.message : reason
        end
    end
    hint = is_image ? "" : "; x is a vector of length $n: for an image give input_size = (height, width, channels)"
    throw(InvalidArgumentError(reason * hint))
end

# The size that a file fixes, where it has n elements; one dimension may be open. The batch of a module is one point.
function _own_sizes(network::Model, inputs, n::Int)
    size = isempty(inputs) ? nothing : only(inputs).size
    size === nothing && return ()
    known, open = prod(filter(!isnothing, size); init = 1), count(isnothing, size)
    (open == 0 && known == n) || (open == 1 && 0 < known <= n && n % known == 0) || return ()
    size[1] === nothing && known < n && first(layers(network)).kind !== :program && return ()
    return (Tuple(Int[something(length, n ÷ known) for length in size]),)
end

# A model of several inputs: x is all of them in signature order, each flat in torch's order.
function _compile_several(network::Model, inputs, n::Int; engine...)
    open = [input.name for input in inputs if input.size === nothing || any(isnothing, input.size)]
    if !isempty(open)
        throw(UnsupportedError("the model has $(length(inputs)) inputs, and its file leaves the size of $(join(open, ", ")) " *
                               "open; give them all: input_size = ((5, 3), (5, 4))"))
    end
    f = compile(network; engine...)
    if f.n != n
        sizes = join(("$(input.name) of size $(Tuple(input.size))" for input in inputs), ", ")
        throw(InvalidArgumentError("x has $n elements, but the inputs have $(f.n) in all: $sizes"))
    end
    return f
end

_channels(input_size) = length(input_size) == 3 ? input_size[3] : 1

function _torch_image_sizes(input_size)
    (height, width), channels = input_size, _channels(input_size)
    return ((1, channels, height, width), (channels, height, width))
end

# For each element of an H x W x C array, column by column, its place in torch's C x H x W, row by row.
function _image_order(input_size)
    (height, width), channels = input_size, _channels(input_size)
    places = reshape(1:height*width*channels, width, height, channels)
    return vec(permutedims(places, (2, 1, 3)))
end
