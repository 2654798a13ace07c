# Bounds of all values of a network over a box of its inputs.

# The library's bounds of one network over one box.
mutable struct _Bounds
    handle::Ptr{Cvoid}

    function _Bounds(handle::Ptr{Cvoid})
        bounds = new(handle)
        finalizer(_free, bounds)
        return bounds
    end
end

Base.unsafe_convert(::Type{Ptr{Cvoid}}, bounds::_Bounds) = bounds.handle

function _free(bounds::_Bounds)
    _bounds_destroy(bounds.handle)
    bounds.handle = C_NULL
    return
end

const _METHODS = (:interval, :linear, :lp, :mip)

# Affine rows of the inputs, whose elements count from 0: row `i` has the entries `starts[i] + 1` to `starts[i+1]`.
struct _InputRows
    starts::Vector{Csize_t}
    elements::Vector{Csize_t}
    coefficients::Vector{Float64}
    lower::Vector{Float64}
    upper::Vector{Float64}
end

_InputRows() = _InputRows(Csize_t[0], Csize_t[], Float64[], Float64[], Float64[])

# What the library calls back: the caller's functions, and what one of them threw.
mutable struct _Callbacks
    progress::Any
    solve::Any
    failure::Any
end

# Exceptions must not leave a function that the library calls: they end the work, and are thrown afterwards.
function _guarded(call, calls::_Callbacks)
    calls.failure === nothing || return 0x00
    try
        return call()::Bool ? 0x01 : 0x00
    catch error
        calls.failure = error
        return 0x00
    end
end

function _on_progress(data::Ptr{Cvoid}, layer::Cstring, done::Csize_t, total::Csize_t, integer::UInt8)
    calls = unsafe_pointer_to_objref(data)::_Callbacks
    return _guarded(calls) do
        calls.progress(unsafe_string(layer), Int(done), Int(total), integer == 1)
        return true
    end
end

# Solves the programs of some elements of a layer: `elements` are variables of the formulation. `points` takes the solutions.
function _on_program(
    data::Ptr{Cvoid},
    formulation::Ptr{Cvoid},
    elements::Ptr{UInt32},
    count::Csize_t,
    integer::UInt8,
    rounds::UInt32,
    lower::Ptr{Cdouble},
    upper::Ptr{Cdouble},
    points::Ptr{Cdouble},
)
    calls = unsafe_pointer_to_objref(data)::_Callbacks
    return _guarded(calls) do
        tables = _formulation_tables(formulation)
        asked = (integer = integer == 1, rounds = Int(rounds), points = points != C_NULL)
        found = calls.solve(tables, _copy(Int, elements, count) .+ 1, asked)
        n = Int(tables.variables.count)
        for (i, ends) in enumerate(found)
            unsafe_store!(lower, ends[1].limit, i)
            unsafe_store!(upper, ends[2].limit, i)
            for (k, found_end) in enumerate(ends), (j, value) in enumerate(found_end.point)
                unsafe_store!(points, value, (2 * (i - 1) + k - 1) * n + j)
            end
        end
        return true
    end
end

# Bounds for inputs of torch's size, or of those that the file fixes, within `lower` and `upper`, flat in torch's order.
function _find_bounds(
    m::Model,
    size::Union{Nothing,Vector{Csize_t}},
    lower::Vector{Float64},
    upper::Vector{Float64},
    method::Symbol;
    rows::_InputRows = _InputRows(),
    threads::Integer = 0,
    time_limit::Real = Inf,
    progress = nothing,
    solve = nothing,
)
    number = findfirst(==(method), _METHODS)
    if number === nothing
        throw(InvalidArgumentError("bounds by $(repr(method)); $(join(repr.(_METHODS), ", ")) are known"))
    elseif !(time_limit > 0)
        throw(InvalidArgumentError("time_limit is $time_limit seconds, but must be positive"))
    end
    calls = _Callbacks(progress, solve, nothing)
    slice(a) = _Slice(pointer(a), length(a))
    shape(a) = _Shape(pointer(a), length(a))
    shape(::Nothing) = _Shape(C_NULL, 0)
    handle = GC.@preserve calls rows begin
        options = _BoundsOptions(
            threads,
            isfinite(time_limit) ? time_limit : 0.0,
            Cstring(C_NULL),
            shape(rows.starts),
            shape(rows.elements),
            slice(rows.coefficients),
            slice(rows.lower),
            slice(rows.upper),
            progress === nothing ? C_NULL :
            @cfunction(_on_progress, UInt8, (Ptr{Cvoid}, Cstring, Csize_t, Csize_t, UInt8)),
            solve === nothing ? C_NULL :
            @cfunction(
                _on_program,
                UInt8,
                (Ptr{Cvoid}, Ptr{Cvoid}, Ptr{UInt32}, Csize_t, UInt8, UInt32, Ptr{Cdouble}, Ptr{Cdouble}, Ptr{Cdouble})
            ),
            pointer_from_objref(calls),
        )
        size_slice, lower_slice, upper_slice = shape(size), slice(lower), slice(upper)
        GC.@preserve size lower upper _bounds_create(m, size_slice, lower_slice, upper_slice, number - 1, options)
    end
    bounds = _Bounds(handle)
    calls.failure === nothing || throw(calls.failure)
    return bounds
end

"""
    network_bounds(model, box; method = :linear, kwargs...)

Bounds of all values of a network where its inputs lie in a box: a vector of `(name, operation, lower, upper)`, the inputs
first, then what each operation of the network gives, in order; `lower` and `upper` are arrays of torch's size. No true value
is cut off, also not by rounding. The last entry is the output.

`model` is a [`Model`](@ref), a [`PytorchModel`](@ref) or the name of a file. `box` is `(lower, upper)`: two arrays of torch's
size, or two numbers where the model fixes the size of its input.

# Keywords
 * `method`: `:interval` arithmetic; `:linear` relaxation through the whole network (Zhang, Weng, Chen, Hsieh and Daniel,
   Efficient Neural Network Robustness Certification with General Activation Functions, NeurIPS 2018); `:lp` and `:mip`, which
   tighten neuron by neuron, layer by layer, by linear and by mixed-integer programs. Each is at least as tight as the one
   before it. Linear programs hold the neurons before a layer within their convex hulls, by cuts (Tjandraatmadja, Anderson,
   Huchette, Ma, Patel and Vielma, The Convex Relaxation Barrier, Revisited, NeurIPS 2020).
 * `optimizer = nothing`: what solves the programs of `:lp` and `:mip`, such as `HiGHS.Optimizer`; needs JuMP. Neurons are shared
   out among the workers of `Distributed`, if there are any that have loaded JuMP, NativeTorch and the optimizer, else among
   threads. Without an optimizer the library's own solver does the work.
 * `threads = 0`: how many threads work; 0 for as many as there are.
 * `time_limit = Inf`: seconds for the programs of one neuron, linear and mixed-integer ones each. A neuron that takes longer
   keeps the bounds it had.
 * `progress = false`: whether a progress bar is printed.
"""
function network_bounds(m::Model, box; method::Symbol = :linear, kwargs...)
    size, lower, upper = _box(m, box)
    return _bounds_rows(_box_bounds(m, size, lower, upper, method; kwargs...))
end

function _box_bounds(
    m::Model,
    size,
    lower,
    upper,
    method::Symbol;
    optimizer = nothing,
    threads::Integer = 0,
    time_limit::Real = Inf,
    progress::Bool = false,
)
    bar = progress ? _progress_bar(stderr) : nothing
    solve = _solver_of(optimizer, threads, time_limit)
    return _find_bounds(m, size, lower, upper, method; threads, time_limit, progress = bar, solve)
end

network_bounds(path::AbstractString, box; kwargs...) = network_bounds(load(path), box; kwargs...)
network_bounds(model::PytorchModel, box; kwargs...) = network_bounds(load(model.filename), box; kwargs...)

# A function that solves the programs of a layer with an optimizer. The JuMP extension has its method.
function _optimizer_calls end

function _solver_of(optimizer, threads::Integer, time_limit::Real)
    optimizer === nothing && return nothing
    if isempty(methods(_optimizer_calls))
        throw(InvalidArgumentError("an optimizer needs JuMP; `import JuMP` first, and give a type such as HiGHS.Optimizer"))
    end
    return _optimizer_calls(optimizer, threads, time_limit)
end

function _box(m::Model, box)
    lower, upper = box
    if lower isa Real && upper isa Real
        own = Csize_t[something(length, 1) for length in input_size(m)]
        return own, fill(Float64(lower), prod(own)), fill(Float64(upper), prod(own))
    elseif size(lower) != size(upper)
        throw(InvalidArgumentError("the box has a lower corner of size $(size(lower)) and an upper one of size $(size(upper))"))
    end
    return collect(Csize_t, size(lower)), copy(_flatten(lower)), copy(_flatten(upper))
end

function _bounds_rows(bounds::_Bounds)
    GC.@preserve bounds begin
        table = _bounds_tables(bounds)
        count = Int(table.count)
        names, operations = _copy(table.names, count), _copy(table.operations, count)
        shapes, starts = _copy(Int, table.shape_starts, count + 1), _copy(Int, table.starts, count + 1)
        sizes = _copy(Int, table.sizes, shapes[end])
        lower, upper = _copy(Float64, table.lower, starts[end]), _copy(Float64, table.upper, starts[end])
    end
    return map(1:count) do i
        size, own = Tuple(sizes[shapes[i]+1:shapes[i+1]]), starts[i]+1:starts[i+1]
        return (
            name = names[i],
            operation = operations[i],
            lower = _unflatten(lower[own], size),
            upper = _unflatten(upper[own], size),
        )
    end
end

# Prints a bar for each layer, on one line.
function _progress_bar(io::IO)
    width = 30
    return function (layer::String, done::Int, total::Int, integer::Bool)
        full = round(Int, width * done / max(total, 1))
        bar = "#"^full * "-"^(width - full)
        print(io, "\r", integer ? "MIP" : "LP", " [", bar, "] ", done, "/", total, " ", layer, done == total ? "\n" : "")
        return
    end
end
