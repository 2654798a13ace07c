# Modules of a file as objects, as the callbacks of custom layers see them.

"""
    NativeTorch.Layer

A module of a file, as a callback for custom layers receives it. Its properties are what the module has in Python:

 * children, as `Layer`s: `layer.inner`; those of a `Sequential` or `ModuleList` are also `layer[1]`, and iterate;
 * parameters and buffers, as arrays of torch's size: `layer.weight`;
 * attributes that are `None`, bools, numbers, texts, and tuples or lists of numbers: `layer.factor`. Others are their text
   as Python prints it.

`layer.__class__` is the name of the class, `"custom_model.Skip"`. [`build_predictor`](@ref) makes a predictor of a layer.
"""
struct Layer
    # The file's, or a part of it that has these modules.
    model::Model
    path::String
    class::String
    description::String
    kind::Symbol
    reason::String
    children::Vector{Layer}
end

# The tree of a model's modules.
function Layer(model::Model)
    rows = layers(model)
    # Each row stands in front of those below it.
    tree = Layer[]
    open = Tuple{String,Vector{Layer}}[]
    for row in rows
        while !isempty(open) && !_is_below(row.path, open[end][1])
            pop!(open)
        end
        below = Layer[]
        layer = Layer(model, row.path, row.class, row.description, row.kind, row.reason, below)
        push!(isempty(open) ? tree : open[end][2], layer)
        push!(open, (row.path, below))
    end
    return only(tree)
end

_is_below(path::String, above::String) = isempty(above) || startswith(path, above * ".")

# The module as a model of its own.
_part(layer::Layer) = Model(_model_submodule(_model(layer), _path(layer)), _model(layer), _model(layer).path)

_model(layer::Layer) = getfield(layer, :model)
_path(layer::Layer) = getfield(layer, :path)
_class(layer::Layer) = getfield(layer, :class)
_kind(layer::Layer) = getfield(layer, :kind)
_children(layer::Layer) = getfield(layer, :children)
_name(layer::Layer) = String(last(split(_path(layer), '.')))
_short_class(layer::Layer) = String(last(split(_class(layer), '.')))

# As errors name it.
_place(layer::Layer) = isempty(_path(layer)) ? "the model ($(_class(layer)))" : "layer `$(_path(layer))` ($(_class(layer)))"

# The values of the module's own tensors and attributes, by name.
function _own_values(layer::Layer)
    values = Dict{Symbol,Any}()
    part = _part(layer)
    for row in _model_attributes(part)
        values[Symbol(row.name)] = _python_value(row)
    end
    for (name, text) in _arguments(getfield(layer, :description))
        get!(() -> _python_literal(text), values, Symbol(name))
    end
    for (index, tensor) in enumerate(_model_tensors(part))
        # Those of the modules in it have dots in their names.
        if !occursin('.', tensor.name)
            values[Symbol(tensor.name)] = _tensor(part, index, tensor)
        end
    end
    # What torch's own layers are made without is Python's None; their descriptions say only that it is not there.
    if _kind(layer) === :standard && any(name -> haskey(values, name), (:bias, :affine, :elementwise_affine))
        foreach(name -> get(values, name, false) === false && (values[name] = nothing), (:weight, :bias))
    end
    return values
end

function _tensor(part::Model, index::Int, tensor)
    isempty(tensor.reason) || throw(UnsupportedError("tensor `$(tensor.name)`: $(tensor.reason)"))
    flat = Vector{Float64}(undef, prod(tensor.size))
    _model_tensor_values(part, index, flat)
    return _unflatten(flat, tensor.size)
end

function _python_value(row)
    row.kind == "str" && return row.value
    row.kind == "None" && return nothing
    row.kind == "bool" && return row.number == 1
    row.kind == "int" && return isinteger(row.number) ? Int(row.number) : row.number
    row.kind == "float" && return row.number
    return _python_literal(row.value)
end

# A number, a bool, None, a text, or a tuple or list of these; the text itself where it is none of them.
function _python_literal(text::AbstractString)
    text = strip(text)
    constants = Dict("None" => nothing, "True" => true, "False" => false)
    haskey(constants, text) && return constants[text]
    number = something(tryparse(Int, text), tryparse(Float64, text), Some(nothing))
    number === nothing || return number
    if length(text) >= 2 && text[1] == '\'' && text[end] == '\''
        return String(text[2:end-1])
    elseif length(text) >= 2 && (text[1], text[end]) in (('(', ')'), ('[', ']')) && !any(in("([{'\""), text[2:end])
        parts = filter(!isempty, strip.(split(text[2:end-1], ',')))
        return text[1] == '(' ? Tuple(_python_literal.(parts)) : map(_python_literal, parts)
    end
    return String(text)
end

# The arguments in a description, `Conv2d(kernel_size=(2, 2), bias=True)`: names with texts.
function _arguments(description::String)
    inside = match(r"^[^(]*\((.*)\)$", description)
    inside === nothing && return Tuple{String,String}[]
    found = Tuple{String,String}[]
    for piece in eachmatch(r"(\w+)=('[^']*'|\([^)]*\)|\[[^\]]*\]|[^,]*)", inside[1])
        push!(found, (piece[1], piece[2]))
    end
    return found
end

function Base.getproperty(layer::Layer, name::Symbol)
    name === :__class__ && return _class(layer)
    for child in _children(layer)
        _name(child) == string(name) && return child
    end
    values = _own_values(layer)
    haskey(values, name) && return values[name]
    known = join(string.(propertynames(layer)), ", ")
    throw(InvalidArgumentError("$(_place(layer)) has no `$name`; it has $known"))
end

function Base.propertynames(layer::Layer, private::Bool = false)
    return [Symbol.(_name.(_children(layer))); sort!(collect(keys(_own_values(layer))))]
end

Base.length(layer::Layer) = length(_children(layer))
Base.getindex(layer::Layer, i::Integer) = _children(layer)[i]
Base.firstindex(::Layer) = 1
Base.lastindex(layer::Layer) = length(layer)
Base.iterate(layer::Layer, i::Int = 1) = i > length(layer) ? nothing : (layer[i], i + 1)
Base.eltype(::Type{Layer}) = Layer

Base.show(io::IO, layer::Layer) = print(io, "NativeTorch.Layer: ", _place(layer), ", ", getfield(layer, :description))
