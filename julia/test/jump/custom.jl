# Custom layers: callbacks for classes that torch does not define, and graph neural layers of torch_geometric.

struct SkipPredictor <: NativeTorch.AbstractPredictor
    p::NativeTorch.Pipeline
end

NativeTorch.output_size(::SkipPredictor, input_size) = input_size

function NativeTorch.add_predictor(model::JuMP.AbstractModel, predictor::SkipPredictor, x::Vector; kwargs...)
    y, formulation = NativeTorch.add_predictor(model, predictor.p, x; kwargs...)
    @assert length(x) == length(y)
    return y .+ x, formulation
end

function skip_callback(layer; input_size, config, kwargs...)
    @assert layer isa NativeTorch.Layer
    return SkipPredictor(NativeTorch.build_predictor(layer.inner; input_size, config, kwargs...))
end

module custom_model
struct Skip end
end

# The values of a model with custom layers where x is fixed.
function custom_value(name, x0, config; optimizer = Ipopt.Optimizer, kwargs...)
    model = silent_model(optimizer)
    x = box_variables(model, x0, 1)
    y, _ = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(jump_path(name)), x; config, kwargs...)
    fix.(x, x0; force = true)
    optimize!(model)
    @test is_solved_and_feasible(model)
    return value.(y)
end

@testset "Skip connections: $name, key $(repr(key))" for name in ("skip", "skip_inside"),
    key in ("custom_model.Skip", custom_model.Skip)

    case = jump_case(name)
    for (x, expected) in zip(case.x, case.y)
        @test custom_value(name, x, Dict(key => skip_callback)) ≈ expected atol = 1e-6
    end
end

@testset "A skip connection between convolutions" begin
    case = jump_case("skip_image")
    for (x, expected) in zip(case.x, case.y)
        config = Dict("custom_model.Skip" => skip_callback)
        @test custom_value("skip_image", as_image(x), config; optimizer = HiGHS.Optimizer) ≈ vec(expected) atol = 1e-6
    end
end

struct Through <: NativeTorch.AbstractPredictor
    p::NativeTorch.AbstractPredictor
end

NativeTorch.output_size(predictor::Through, input_size) = NativeTorch.output_size(predictor.p, input_size)

function NativeTorch.add_predictor(model::JuMP.AbstractModel, predictor::Through, x::Vector; kwargs...)
    return NativeTorch.add_predictor(model, predictor.p, x; kwargs...)
end

@testset "A single layer that is made for an image" begin
    # A predictor of the user's gets `vec` of the image.
    m, case = NativeTorch.load(jump_path("conv_flatten_linear")), jump_case("conv_flatten_linear")
    root = NativeTorch.Layer(m)
    image = as_image(case.x[1])
    conv = NativeTorch.build_predictor(root[1]; input_size = size(image))
    @test NativeTorch.output_size(conv, size(image)) isa NTuple{3,Int}
    y, _ = NativeTorch.add_predictor(Model(), Through(conv), vec(image))
    expected, _ = NativeTorch.add_predictor(Model(), conv, image)
    @test start_value.(y) ≈ start_value.(expected)
end

@testset "A skip connection in reduced space" begin
    case = jump_case("skip_inside")
    model = Model()
    @variable(model, x[1:3])
    predictor = NativeTorch.PytorchModel(jump_path("skip_inside"))
    config = Dict("custom_model.Skip" => skip_callback)
    y, _ = NativeTorch.add_predictor(model, predictor, x; config, reduced_space = true)
    @test num_variables(model) == 3
    values = Dict(zip(x, case.x[1]))
    @test value.(v -> values[v], y) ≈ case.y[1] atol = 1e-12
end

@testset "What a callback sees of a layer" begin
    layer = NativeTorch.Layer(NativeTorch.load(jump_path("shift")))[1]
    @test layer.__class__ == "custom_model.Shift"
    @test layer.amount == 0.5 && layer.sizes == (1, 2) && layer.note == "plain"
    @test layer.offset == [1.0 2.0 3.0; 4.0 5.0 6.0]
    # What a module is made without is there, and is nothing.
    @test NativeTorch.Layer(NativeTorch.load(jump_path("gcn"))).conv.lin.bias === nothing
    @test NativeTorch.Layer(NativeTorch.load(fixture_path("layers", "linear_no_bias.pt")))[1].bias === nothing
    @test refuses(() -> layer.other, NativeTorch.InvalidArgumentError, "layer `0`", "other", "amount", "offset")
    seen = Ref{Any}()
    function callback(layer; kwargs...)
        seen[] = (; kwargs...)
        return NativeTorch.Scale(ones(2), fill(layer.amount, 2))
    end
    case = jump_case("shift")
    @test custom_value("shift", case.x[1], Dict("custom_model.Shift" => callback)) ≈ case.y[1] atol = 1e-6
    @test haskey(seen[], :input_size) && haskey(seen[], :config)
    skip = NativeTorch.PytorchModel(jump_path("skip"))
    add(config) = () -> NativeTorch.add_predictor(Model(), skip, zeros(3); config)
    @test refuses(add(Dict()), NativeTorch.UnsupportedError, "custom_model.Skip", "callback")
    @test refuses(add(Dict("custom_model.Skip" => (layer; kwargs...) -> 1)), NativeTorch.InvalidArgumentError, "Int64")
end

struct InputConvexPredictor <: NativeTorch.AbstractPredictor
    p::NativeTorch.Pipeline
end

function NativeTorch.add_predictor(model::JuMP.AbstractModel, predictor::InputConvexPredictor, x::Vector; kwargs...)
    layers = predictor.p.layers
    z, inner = NativeTorch.add_predictor(model, first(layers), x; kwargs...)
    formulation = NativeTorch.PipelineFormulation(predictor, Any[inner])
    for layer in layers[2:end]
        z, inner = NativeTorch.add_predictor(model, layer, layer isa NativeTorch.Affine ? [z; x] : z; kwargs...)
        push!(formulation.layers, inner)
    end
    return z, formulation
end

@testset "An input-convex network" begin
    function callback(icnn; input_size, kwargs...)
        softplus, p = NativeTorch.SoftPlus(), NativeTorch.Pipeline(Any[])
        for layer in icnn.layers
            if layer.__class__ == "icnn.InputConvex"
                push!(p.layers, NativeTorch.Affine([softplus.(layer.W) layer.D], layer.b))
            else
                push!(p.layers, NativeTorch.build_predictor(layer; kwargs...))
            end
        end
        return InputConvexPredictor(p)
    end
    case = jump_case("icnn")
    config = Dict("icnn.InputConvexChain" => callback)
    # The InputConvex after the ReLU takes its values and x.
    predictor = NativeTorch.build_predictor(NativeTorch.PytorchModel(jump_path("icnn")); config)
    @test predictor isa InputConvexPredictor && length(predictor.p.layers) == 4
    for (x, expected) in zip(case.x, case.y)
        @test custom_value("icnn", x, config) ≈ expected atol = 1e-6
    end
end

const EDGE_INDEX = [1 => 2, 2 => 1, 2 => 3, 3 => 2, 3 => 4, 4 => 3, 2 => 2, 1 => 4]

@testset "Graph neural layers: $name" for (name, conv) in [
    ("gcn", NativeTorch.GCNConv), ("gcn_improved", NativeTorch.GCNConv), ("tag", NativeTorch.TAGConv),
]
    function callback(layer; kwargs...)
        return NativeTorch.Pipeline(conv(layer.conv; edge_index = EDGE_INDEX), NativeTorch.Sigmoid())
    end
    case = jump_case(name)
    for (x, expected) in zip(case.x, case.y)
        @test custom_value(name, x, Dict("my_gnn.GNN" => callback)) ≈ vec(expected) atol = 1e-6
    end
    @test refuses(() -> conv(NativeTorch.Layer(NativeTorch.load(jump_path(name))).conv; edge_index = [1 => 9], n = 4),
                  NativeTorch.InvalidArgumentError, "1 => 9")
end
