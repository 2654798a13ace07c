# Predictors that are affine in a form of their own: scaling, permutation, graph convolutions.

"""
    Scale(scale::Vector, bias::Vector)

`y = scale .* x .+ bias`. [`standardize`](@ref) and [`destandardize`](@ref) make it of a mean and a deviation. The entries may
be JuMP's decision variables: see [`replace_weights_with_variables`](@ref).
"""
struct Scale{T} <: AbstractPredictor
    scale::Vector{T}
    bias::Vector{T}

    function Scale{T}(scale::Vector{T}, bias::Vector{T}) where {T}
        if length(scale) != length(bias)
            throw(DimensionMismatch("Scale: scale has length $(length(scale)), but bias has length $(length(bias))"))
        end
        return new{T}(scale, bias)
    end
end

function Scale(scale::AbstractVector, bias::AbstractVector)
    T = promote_type(eltype(scale), eltype(bias))
    return Scale{T}(convert(Vector{T}, scale), convert(Vector{T}, bias))
end

Base.show(io::IO, ::Scale) = print(io, "Scale(scale, bias)")

output_size(::Scale, input_size) = input_size

"""
    standardize(mean, deviation) -> Scale

`y = (x - mean) / deviation`, for the inputs of a network that was trained on standardised data.
"""
function standardize(mean::AbstractVector{<:Real}, deviation::AbstractVector{<:Real})
    i = findfirst(d -> !(0 < d < Inf), deviation)
    i === nothing || throw(InvalidArgumentError("standardize: deviation[$i] is $(deviation[i]), but must be positive and finite"))
    i = findfirst(!isfinite, mean)
    i === nothing || throw(InvalidArgumentError("standardize: mean[$i] is $(mean[i]), but must be finite"))
    return Scale(1 ./ deviation, -mean ./ deviation)
end

"""
    destandardize(mean, deviation) -> Scale

`y = deviation x + mean`, for the outputs of a network that was trained on standardised data.
"""
destandardize(mean::AbstractVector{<:Real}, deviation::AbstractVector{<:Real}) = Scale(deviation, mean)

"""
    Permutation(p::Vector{Int})

`y = x[p]`, without variables and constraints.
"""
struct Permutation <: AbstractPredictor
    p::Vector{Int}
end

output_size(::Permutation, input_size) = input_size

"""
    GCNConv(layer::Layer; edge_index, n = maximum node)
    GCNConv(; weights, bias, edge_index, n)

torch_geometric's `GCNConv` for a graph of `n` nodes: `Y = D^{-1/2} (A + I) D^{-1/2} X W + b`. `x` is `vec` of the `n x F`
matrix of features, or that matrix, and `y` is `vec` of an `n x G` matrix. `edge_index` has a pair `i => j` for each edge
from node `i` to node `j`, counted from 1. `weights` is `F x G`. The options `improved`, `add_self_loops` and `normalize` of
the layer are taken from the file, unless they are given as keywords. With `improved` loops count twice, as torch_geometric
documents it; its version 2.8 counts them once where edges have no weights, which is `improved = false` here.

Kipf and Welling, Semi-Supervised Classification with Graph Convolutional Networks, ICLR 2017.
"""
struct GCNConv <: AbstractPredictor
    weights::Matrix{Float64}
    bias::Vector{Float64}
    # What multiplies the features from the left.
    propagation::Matrix{Float64}
end

function GCNConv(;
    weights::AbstractMatrix,
    bias::AbstractVector,
    edge_index::Vector{Pair{Int,Int}},
    n::Int = _node_count(edge_index),
    improved::Bool = false,
    add_self_loops::Bool = true,
    normalize::Bool = true,
)
    A = _adjacency(edge_index, n)
    if add_self_loops
        for i in 1:n
            A[i, i] = iszero(A[i, i]) ? (improved ? 2.0 : 1.0) : A[i, i]
        end
    end
    return GCNConv(weights, bias, normalize ? _normalized(A) : A)
end

function GCNConv(layer::Layer; edge_index::Vector{Pair{Int,Int}}, kwargs...)
    values = _own_values(layer)
    options = (name => values[name] for name in (:improved, :add_self_loops, :normalize) if get(values, name, nothing) isa Bool)
    weight = layer.lin.weight
    bias = something(get(values, :bias, nothing), zeros(size(weight, 1)))
    return GCNConv(; weights = permutedims(weight), bias, edge_index, options..., kwargs...)
end

"""
    TAGConv(layer::Layer; edge_index, n = maximum node)
    TAGConv(; weights, bias, edge_index, n)

torch_geometric's `TAGConv` for a graph of `n` nodes: `Y = sum over k of (D^{-1/2} A D^{-1/2})^k X W_k + b`. `weights` holds
the matrices `W_0, W_1, ..`, each `F x G`. Other arguments, and the order of `x` and `y`, are those of [`GCNConv`](@ref).

Du, Zhang, Wu, Moura and Kar, Topology Adaptive Graph Convolutional Networks, 2017.
"""
struct TAGConv <: AbstractPredictor
    weights::Vector{Matrix{Float64}}
    bias::Vector{Float64}
    propagation::Matrix{Float64}
end

function TAGConv(;
    weights::Vector{<:AbstractMatrix},
    bias::AbstractVector,
    edge_index::Vector{Pair{Int,Int}},
    n::Int = _node_count(edge_index),
    normalize::Bool = true,
)
    A = _adjacency(edge_index, n)
    return TAGConv(weights, bias, normalize ? _normalized(A) : A)
end

function TAGConv(layer::Layer; edge_index::Vector{Pair{Int,Int}}, kwargs...)
    values = _own_values(layer)
    options = (name => values[name] for name in (:normalize,) if get(values, name, nothing) isa Bool)
    weights = [permutedims(lin.weight) for lin in layer.lins]
    bias = something(get(values, :bias, nothing), zeros(size(weights[1], 2)))
    return TAGConv(; weights, bias, edge_index, options..., kwargs...)
end

_node_count(edge_index) = mapreduce(maximum, max, edge_index; init = 0)

# Entry (j, i) counts the edges from i to j: messages go from the source to the target.
function _adjacency(edge_index, n::Int)
    A = zeros(n, n)
    for (i, j) in edge_index
        if !(1 <= i <= n && 1 <= j <= n)
            throw(InvalidArgumentError("edge_index has the edge $i => $j, but the nodes are 1 to $n"))
        end
        A[j, i] += 1
    end
    return A
end

# D^{-1/2} A D^{-1/2}, where D counts the edges into each node; a node without any gets zero.
function _normalized(A::Matrix{Float64})
    d = [degree > 0 ? 1 / sqrt(degree) : 0.0 for degree in vec(sum(A; dims = 2))]
    return d .* A .* d'
end

# The map of `vec` of the features to `vec` of the result.
_graph_matrix(predictor::GCNConv) = _kron(permutedims(predictor.weights), predictor.propagation)

function _graph_matrix(predictor::TAGConv)
    return sum(_kron(permutedims(W), predictor.propagation^(k - 1)) for (k, W) in enumerate(predictor.weights))
end

function _kron(a::Matrix, b::Matrix)
    return reduce(vcat, [reduce(hcat, [a[i, j] * b for j in axes(a, 2)]) for i in axes(a, 1)])
end

function _affine(predictor::Union{GCNConv,TAGConv})
    bias = repeat(predictor.bias; inner = size(predictor.propagation, 1))
    return Affine(_graph_matrix(predictor), bias; name = string(nameof(typeof(predictor))))
end

output_size(predictor::Union{GCNConv,TAGConv}, ::Any) = (size(predictor.propagation, 1), length(predictor.bias))

function Base.show(io::IO, predictor::Union{GCNConv,TAGConv})
    features = size(predictor isa GCNConv ? predictor.weights : predictor.weights[1], 1)
    print(io, nameof(typeof(predictor)), " [nodes: ", size(predictor.propagation, 1), ", features: ", features, " => ",
          length(predictor.bias), "]")
    return
end
