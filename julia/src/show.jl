# Printing.

Base.show(io::IO, m::Model) = print(io, "NativeTorch.Model(", repr(m.path), ")")

# The layers as a table, with what is not supported and why.
function Base.show(io::IO, ::MIME"text/plain", m::Model)
    modules = layers(m)
    print(io, "NativeTorch.Model ", m.path, ", ", sum(row.parameters for row in modules), " parameters")
    sizes = _try(() -> input_size(m))
    if sizes !== nothing
        print(io, ", input [", join((size === nothing ? "any" : size for size in sizes), ", "), "]")
    end
    paths = [isempty(row.path) ? "(model)" : row.path for row in modules]
    counts = [row.parameters == 0 ? "" : string(row.parameters) for row in modules]
    widths = maximum(textwidth, ["layer"; paths]), maximum(textwidth, ["parameters"; counts])
    print(io, "\n  ", rpad("layer", widths[1]), "  ", lpad("parameters", widths[2]), "  class")
    for (row, path, count) in zip(modules, paths, counts)
        print(io, "\n  ", rpad(path, widths[1]), "  ", lpad(count, widths[2]), "  ", row.description)
        if !isempty(row.reason)
            print(io, "\n  ", " "^widths[1], "  ", " "^widths[2], "  not supported: ", row.reason)
        end
    end
    return
end

# A model whose input size is not fixed, or that has no graph, prints without it.
function _try(get)
    try
        return get()
    catch error
        error isa Error || rethrow()
        return nothing
    end
end

function Base.show(io::IO, f::CompiledFunction)
    describe(values) = join(["$(value.name)[$(join(value.size, ", "))]" for value in values], ", ")
    print(io, "NativeTorch.CompiledFunction: ", describe(f.inputs), " -> ", describe(f.outputs), ", ", f.dtype)
    return
end

Base.show(io::IO, ::Workspace) = print(io, "NativeTorch.Workspace")
