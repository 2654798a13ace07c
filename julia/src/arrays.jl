# The order of arrays: Julia's are column-major, torch's row-major. A Julia array has torch's size; its numbers cross to
# the library flat, in torch's order.

# The numbers of an array of torch's size, flat in torch's order.
_flatten(a::AbstractVector) = convert(Vector{Float64}, a)
_flatten(a::AbstractArray{<:Any,0}) = Float64[a[]]
_flatten(a::AbstractArray) = convert(Vector{Float64}, vec(permutedims(a, ndims(a):-1:1)))

# The array of torch's size with these numbers, which are flat in torch's order.
_unflatten(flat::AbstractVector, ::Tuple{Int}) = flat
_unflatten(flat::AbstractVector, size::Dims) = permutedims(reshape(flat, reverse(size)), length(size):-1:1)
_unflatten(flat::AbstractVector, ::Tuple{}) = fill(flat[1])

# The numbers of K arrays, one column each. An array has torch's size, or is a vector in torch's order already.
function _columns(name::String, arrays, size::Dims, points::Int)
    if length(arrays) != points
        throw(InvalidArgumentError("$(length(arrays)) arrays $name are given for $points inputs x"))
    end
    columns = Matrix{Float64}(undef, prod(size), points)
    for (k, array) in enumerate(arrays)
        if Base.size(array) != size && Base.size(array) != (prod(size),)
            throw(InvalidArgumentError("$name has size $(Base.size(array)), but $size is expected, or a vector of " *
                                       "length $(prod(size)) in torch's flattened order"))
        end
        columns[:, k] = _flatten(array)
    end
    return columns
end

# The results of K points: of torch's size where the array `like` has it, else flat in torch's order.
function _results(f::CompiledFunction, columns::Matrix{Float64}, size::Dims, like, like_size::Dims)
    function result(k, form)
        flat = _numbers(f, columns[:, k])
        return Base.size(form) == like_size ? _unflatten(flat, size) : flat
    end
    return [result(k, form) for (k, form) in enumerate(like)]
end

# Results in the precision in which they were computed.
_numbers(f::CompiledFunction, a::Array{Float64}) = f.dtype === Float32 ? Float32.(a) : a
