# The inputs of a network: from what the caller gives to variables in torch's order.

# What a network is applied to. Nothing of it is in the JuMP model yet.
struct _Inputs
    # The network for inputs of torch's size.
    f::NativeTorch.CompiledFunction
    # Numbers, variables and expressions, their bounds and start values, all in torch's order.
    elements::Vector{Any}
    lower::Vector{Float64}
    upper::Vector{Float64}
    starts::Vector{Union{Nothing,Float64}}
    # Whether the elements of the caller's `x` are those of an H x W x C image.
    is_image::Bool
end

function _inputs(model::JuMP.Model, predictor::Union{FullSpace,GrayBox}, x::AbstractVector)
    f, order, is_image = _compile(predictor.model, length(x), predictor.input_size)
    elements = Array{Any}(Array(x)[order])
    for element in elements
        element isa Real || JuMP.check_belongs_to_model(element, model)
    end
    bounds = map(_bounds, elements)
    return _Inputs(f, elements, map(first, bounds), map(last, bounds), map(_start, elements), is_image)
end

# All start values, or `nothing`.
_all_starts(inputs::_Inputs) = any(isnothing, inputs.starts) ? nothing : convert(Vector{Float64}, inputs.starts)

# A variable for each element, none twice; those that were made; and what fixes them.
function _add_inputs(model::JuMP.Model, inputs::_Inputs)
    variables, added, constraints = JuMP.VariableRef[], JuMP.VariableRef[], Any[]
    seen = Set{JuMP.VariableRef}()
    for (i, element) in enumerate(inputs.elements)
        variable = _plain_variable(element)
        if element isa Real
            variable = _new_variable(model, "input[$i]", element, element, element, constraints)
            push!(added, variable)
        elseif variable === nothing || variable in seen
            # Its bounds follow from the equation.
            variable = _new_variable(model, "input[$i]", -Inf, Inf, inputs.starts[i], constraints)
            push!(added, variable)
            push!(constraints, JuMP.@constraint(model, variable == element))
        end
        push!(seen, variable)
        push!(variables, variable)
    end
    return variables, added, constraints
end

# The variable that a scalar is, or `nothing`.
_plain_variable(x::JuMP.VariableRef) = x
_plain_variable(::Real) = nothing
_plain_variable(::JuMP.AbstractJuMPScalar) = nothing

function _plain_variable(x::JuMP.AffExpr)
    terms = collect(JuMP.linear_terms(x))
    is_variable = length(terms) == 1 && terms[1][1] == 1 && iszero(x.constant)
    return is_variable ? terms[1][2] : nothing
end

# The network for n elements of x, their order, and whether they are an image: the first of torch's sizes that fits.
function _compile(network::NativeTorch.Model, n::Int, input_size)
    if input_size !== nothing && prod(input_size) != n
        throw(InvalidArgumentError("x has $n elements, but input_size = $input_size has $(prod(input_size))"))
    end
    is_image = input_size !== nothing && length(input_size) > 1
    sizes = is_image ? _torch_image_sizes(input_size) : ((n,), (1, n))
    reason = ""
    for size in sizes
        try
            f = NativeTorch.compile(network, size)
            return f, is_image ? invperm(_image_order(input_size)) : collect(1:n), is_image
        catch error
            error isa InvalidArgumentError || rethrow()
            reason = isempty(reason) ? error.message : reason
        end
    end
    hint = is_image ? "" : "; x is a vector of length $n: for an image give input_size = (height, width, channels)"
    throw(InvalidArgumentError(reason * hint))
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

# Outputs in torch's order, in that of the caller: those that are images after an image are `vec` of an H x W x C array.
function _outputs(inputs::_Inputs, y::Vector)
    size = only(inputs.f.outputs).size
    if !inputs.is_image || length(size) != length(only(inputs.f.inputs).size)
        return y
    end
    channels, height, width = size[end-2:end]
    return y[_image_order((height, width, channels))]
end
