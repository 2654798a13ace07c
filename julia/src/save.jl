# Models written as files that torch loads.

"""
    NativeTorch.save(m::Model, path; size = nothing, format = nothing, dtype = nothing)

Write the model to a file that torch 2.13 loads and runs: a program for `torch.export.load` where the path ends with
`.pt2`, TorchScript for `torch.jit.load` where it ends with `.pt`; `format` is `"pt2"` or `"torchscript"` for another path.
Weights keep their names. The file computes in `dtype`, `Float64` or `Float32`; `nothing` stands for that of the weights.

`size` is the size of the input, torch's shape, with `nothing` for a dimension that is left open; of a model of several
[`inputs`](@ref), a size for each. Without it, it is what the model asks for by itself.

Throws [`InvalidArgumentError`](@ref) if the size does not fit, or if the path ends otherwise and no format is given;
[`UnsupportedError`](@ref) for a layer that is custom or not supported, or that cannot be written for an open size;
[`IOError`](@ref) if the file cannot be written.

# Example
```julia
NativeTorch.save(NativeTorch.load("model.pt"), "model.pt2"; size = (nothing, 3, 8, 8))
```
"""
function save(m::Model, path::AbstractString; size = nothing, format = nothing, dtype = nothing)
    format_name = format === nothing ? C_NULL : String(format)
    dtype_name = dtype === nothing ? C_NULL : _is_single(dtype) ? "float32" : "float64"
    if size === nothing
        return _model_write(m, String(path), format_name, dtype_name, nothing, nothing)
    end
    sizes = any(n -> n === nothing || n isa Integer, size) ? (size,) : size
    for each in sizes, n in each
        if !(n === nothing || (n isa Integer && n >= 0))
            throw(InvalidArgumentError("the input cannot have the size $each"))
        end
    end
    ranks = Csize_t[length(each) for each in sizes]
    flat = Csize_t[n === nothing ? typemax(Csize_t) : n for each in sizes for n in each]
    return _model_write(m, String(path), format_name, dtype_name, ranks, flat)
end
