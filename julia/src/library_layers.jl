# Predictors that the library formulates: layers and programs of a file, affine layers, and what all of these have in common.

# A layer that the library knows. `_part` gives it as a model, `_form` how its kinks or its curvature are formulated.
abstract type _LibraryLayer <: AbstractPredictor end

# A way to formulate a layer; what the parameter is depends on the kind.
struct _Form
    kind::Symbol
    parameter::Float64
end

_Form(kind::Symbol) = _Form(kind, NaN)

# Big-M where the bounds allow it and the solver takes binaries, else nonlinear.
const _AUTOMATIC = _Form(:automatic)

_form(::_LibraryLayer) = _AUTOMATIC

Base.show(io::IO, predictor::_LibraryLayer) = _show_call(io, predictor)

# A predictor as the call that makes it, by its fields.
function _show_call(io::IO, predictor)
    fields = (getfield(predictor, name) for name in fieldnames(typeof(predictor)))
    print(io, nameof(typeof(predictor)), "(", join(fields, ", "), ")")
    return
end

# What a layer is called among those of a pipeline, where no file names it.
_layer_name(predictor::_LibraryLayer) = string(nameof(typeof(predictor)))

# A layer without parameters.
_make(kind::String, attributes::String = "") = Model(_model_layer(kind, attributes, nothing, nothing, nothing, nothing), kind)

"""
    TorchLayer(layer::Layer; relu = nothing, input_size = nothing)

A layer of a file as torch defines it. `relu` is the predictor whose formulation its kinks take, such as
[`ReLUSOS1`](@ref)`()`; `input_size` says which image a vector is.
"""
struct TorchLayer <: _LibraryLayer
    layer::Layer
    relu::Union{Nothing,AbstractPredictor}
    input_size::Union{Nothing,Dims}

    TorchLayer(layer::Layer; relu = nothing, input_size = nothing) = new(layer, relu, _check_input_size(input_size))
end

_part(predictor::TorchLayer) = _part(predictor.layer)
_form(predictor::TorchLayer) = predictor.relu === nothing ? _AUTOMATIC : _form(predictor.relu)
_layer_name(predictor::TorchLayer) = _path(predictor.layer)

function Base.show(io::IO, predictor::TorchLayer)
    print(io, getfield(predictor.layer, :description))
    predictor.relu === nothing || print(io, " by ", predictor.relu)
    return
end

"""
    TorchProgram(layer::Layer, forms = [])

A program of `torch.export` or TorchScript. `forms` pairs kinds of its operations with their forms.
"""
struct TorchProgram <: _LibraryLayer
    layer::Layer
    forms::Vector{Pair{String,_Form}}

    TorchProgram(layer::Layer, forms = Pair{String,_Form}[]) = new(layer, forms)
end

_part(predictor::TorchProgram) = _model(predictor.layer)
_layer_name(::TorchProgram) = ""

function Base.show(io::IO, predictor::TorchProgram)
    choices = _choices(predictor, "")
    return print(io, getfield(predictor.layer, :description), isempty(choices) ? "" : " by ", join(choices, ", "))
end

# The forms that a layer of this name chooses, as the library reads them, and whether it leaves any choice open.
_choices(predictor::_LibraryLayer, name::String) = _choice("layer $name", _form(predictor))
_choices(predictor::TorchProgram, ::String) = String[text for (kind, form) in predictor.forms for text in _choice(kind, form)]
_choice(what::String, form::_Form) = form.kind === :automatic ? String[] : ["$what=$(_spell(form))"]
_leaves_choice(predictor::_LibraryLayer) = _form(predictor).kind === :automatic
_leaves_choice(predictor::TorchProgram) = !(["relu", "max_pool"] ⊆ map(first, predictor.forms))

function _spell(form::_Form)
    kind, number = form.kind, form.parameter
    kind === :big_m && return isfinite(number) ? "big_m($number)" : "big_m"
    kind === :quadratic && return number > 0 ? "quadratic($number)" : "quadratic"
    kind === :partition && return "partition($(Int(number)))"
    kind === :cones && return "cone"
    return string(kind)
end

"""
    Affine(A::Matrix, b::Vector = zeros(size(A, 1)))

`y = A x + b`. The entries may be JuMP's decision variables: see [`replace_weights_with_variables`](@ref).

# Example
```jldoctest
julia> using JuMP

julia> import NativeTorch

julia> model = Model();

julia> @variable(model, -1 <= x[1:2] <= 2);

julia> y, formulation = NativeTorch.add_predictor(model, NativeTorch.Affine([2.0 3.0], [4.0]), x);

julia> formulation
Affine(A, b) [input: 2, output: 1]
├ variables [1]
│ └ Affine.z[1]
└ constraints [3]
  ├ Affine.z[1] ≥ -1.0000000000000124
  ├ Affine.z[1] ≤ 14.000000000000012
  └ -2 x[1] - 3 x[2] + Affine.z[1] = 4
```
"""
struct Affine{T} <: _LibraryLayer
    A::Matrix{T}
    b::Vector{T}
    name::String

    function Affine{T}(A::Matrix{T}, b::Vector{T}; name::String = "Affine") where {T}
        if size(A, 1) != length(b)
            throw(DimensionMismatch("Affine: A has $(size(A, 1)) rows, but b has length $(length(b))"))
        end
        return new{T}(A, b, name)
    end
end

function Affine(A::AbstractMatrix, b::AbstractVector = zeros(size(A, 1)); name::String = "Affine")
    T = promote_type(eltype(A), eltype(b))
    return Affine{T}(convert(Matrix{T}, A), convert(Vector{T}, b); name = name)
end

Affine(A::AbstractVector) = Affine(reshape(A, 1, length(A)))

_layer_name(predictor::Affine) = predictor.name

function _part(predictor::Affine{<:Real})
    m, n = size(predictor.A)
    weight = vec(permutedims(convert(Matrix{Float64}, predictor.A)))
    handle = _model_layer(
        "Linear",
        "in_features=$n, out_features=$m",
        Csize_t[m, n],
        weight,
        Csize_t[m],
        convert(Vector{Float64}, predictor.b),
    )
    return Model(handle, "Affine")
end

function Base.show(io::IO, predictor::Affine)
    m, n = size(predictor.A)
    return print(io, "Affine(A, b) [input: ", n, ", output: ", m, "]")
end
