# What a predictor is applied to, and its translation to torch's order and back.

# The values between two predictors: numbers, variables and expressions in the caller's order.
struct _Signal
    x::Vector{Any}
    # How the caller sees them: an image, a vector, or unknown.
    input_size::Union{Nothing,Dims}
    # Torch's size of them, where a network gave them.
    torch_size::Union{Nothing,Dims}
end

_Signal(x::AbstractVector, input_size = nothing) = _Signal(x, input_size, nothing)

# As a user's predictor gets them: of one type where they have one.
_vector(signal::_Signal) = identity.(signal.x)

# What a network is applied to, in torch's order. Nothing of it is in the JuMP model yet.
struct _Inputs
    # The network for inputs of torch's size.
    f::NativeTorch.CompiledFunction
    elements::Vector{Any}
    lower::Vector{Float64}
    upper::Vector{Float64}
    starts::Vector{Union{Nothing,Float64}}
    # Whether the elements of the caller's `x` are those of an H x W x C image.
    is_image::Bool
end

function _inputs(model::JuMP.Model, network::NativeTorch.Model, signal::_Signal, known::_KnownBounds; engine...)
    n = length(signal.x)
    sizes = signal.torch_size === nothing ? nothing : (signal.torch_size,)
    f, is_image = NativeTorch._compile_for(network, n, signal.input_size; sizes, engine...)
    ends = [_checked_bounds(model, element, i, known) for (i, element) in enumerate(signal.x)]
    order = is_image ? invperm(NativeTorch._image_order(signal.input_size)) : eachindex(signal.x)
    elements, bounds = signal.x[order], ends[order]
    return _Inputs(f, elements, map(first, bounds), map(last, bounds), map(_start, elements), is_image)
end

# The bounds of the i-th element of the caller's `x`; an error if it is nothing that a network can be applied to.
function _checked_bounds(::JuMP.Model, element::Real, i::Int, ::_KnownBounds)
    isfinite(element) || throw(InvalidArgumentError("x[$i] is $element; numbers in x must be finite"))
    return Float64(element), Float64(element)
end

function _checked_bounds(model::JuMP.Model, element::JuMP.AbstractJuMPScalar, i::Int, known::_KnownBounds)
    JuMP.check_belongs_to_model(element, model)
    lower, upper = _bounds(element, known)
    if !(lower <= upper)
        throw(InvalidArgumentError("x[$i], which is $element, has the bounds $lower and $upper; the lower must not exceed the upper"))
    end
    return lower, upper
end

function _checked_bounds(::JuMP.Model, element, i::Int, ::_KnownBounds)
    throw(InvalidArgumentError("x[$i] is a $(typeof(element)); x takes numbers, variables and expressions of the model"))
end

# All start values, or `nothing`.
_all_starts(inputs::_Inputs) = any(isnothing, inputs.starts) ? nothing : convert(Vector{Float64}, inputs.starts)

# Outputs in torch's order as the caller sees them: those that are images after an image are `vec` of an H x W x C array.
function _output_signal(inputs::_Inputs, y::Vector)
    size = length(inputs.f.outputs) == 1 ? only(inputs.f.outputs).size : nothing
    input_size = NativeTorch._size_after(inputs.f, inputs.is_image)
    ordered = length(input_size) == 3 ? y[NativeTorch._image_order(input_size)] : y
    return _Signal(ordered, input_size, size)
end

# A variable for each element, none twice; those that were made; and what fixes them.
function _add_inputs(model::JuMP.Model, inputs::_Inputs)
    variables, added, constraints = JuMP.VariableRef[], JuMP.VariableRef[], Any[]
    sizehint!(variables, length(inputs.elements))
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
