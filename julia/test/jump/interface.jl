# The interface: pipelines, config, reduced space, predictors of the user's, what x may be.

const RELU_NET = fixture_path("nets", "mlp_relu.pt")

@testset "Pipelines" begin
    predictor = NativeTorch.build_predictor(NativeTorch.PytorchModel(RELU_NET))
    @test predictor isa NativeTorch.Pipeline && length(predictor.layers) == 5
    @test predictor.layers[1] isa NativeTorch.Affine
    @test size(predictor.layers[1].A) == (16, 4)
    @test sprint(show, NativeTorch.Pipeline(NativeTorch.Affine([1.0 2.0]), NativeTorch.ReLUBigM(100.0))) ==
          "Pipeline with layers:\n * Affine(A, b) [input: 2, output: 1]\n * ReLUBigM(100.0)"
    inner = NativeTorch.Pipeline(NativeTorch.ReLU(), NativeTorch.Tanh())
    @test length(NativeTorch.Pipeline(NativeTorch.Sigmoid(), inner).layers) == 3
    @test isempty(NativeTorch.Pipeline(Any[]).layers)
    # Weights of one's own.
    A, b = [1.0 2.0; -1.0 0.5], [0.5, -0.25]
    model = silent_model(Ipopt.Optimizer)
    @variable(model, -1 <= x[1:2] <= 1)
    y, formulation = NativeTorch.add_predictor(model, NativeTorch.Pipeline(NativeTorch.Affine(A, b), NativeTorch.Tanh()), x)
    @test formulation isa NativeTorch.PipelineFormulation && length(formulation.layers) == 2
    @objective(model, Min, sum((x .- [0.3, -0.4]) .^ 2))
    optimize!(model)
    @test value.(y) ≈ tanh.(A * [0.3, -0.4] + b) atol = 1e-6
    @test_throws DimensionMismatch NativeTorch.Affine(A, [1.0])
    # A layer of a pipeline may be changed.
    changed = NativeTorch.build_predictor(NativeTorch.PytorchModel(RELU_NET))
    changed.layers[2] = NativeTorch.ReLUBigM(1e4)
    free = Model()
    @variable(free, unbounded[1:4])
    # Only the second ReLU is left to choose, and bounds are infinite.
    NativeTorch.add_predictor(free, changed, unbounded)
    @test num_constraints(free, VariableRef, MOI.ZeroOne) == 16
    @test num_constraints(free, NonlinearExpr, MOI.EqualTo{Float64}) > 0
end

@testset "Config" begin
    build(config) = NativeTorch.build_predictor(NativeTorch.PytorchModel(RELU_NET); config)
    @test build(Dict(:ReLU => NativeTorch.ReLUSOS1)).layers[2] == NativeTorch.ReLUSOS1()
    @test build(Dict(:ReLU => () -> NativeTorch.ReLUBigM(7.0))).layers[4].M == 7
    relaxed = build(Dict(:ReLU => () -> NativeTorch.ReLUQuadratic(; relaxation_parameter = 1e-6)))
    @test relaxed.layers[2].relaxation_parameter == 1e-6
    @test build(Dict(:Tanh => NativeTorch.Tanh)).layers[2] isa NativeTorch.TorchLayer
    @test refuses(() -> build(Dict(:Relu => NativeTorch.ReLU)), NativeTorch.InvalidArgumentError, ":Relu", ":ReLU", ":MaxPool2d", ":Tanh")
    @test refuses(() -> build(Dict(1 => NativeTorch.ReLU)), NativeTorch.InvalidArgumentError, "Int64")
    @test refuses(() -> build(Dict(:ReLU => () -> 3)), NativeTorch.InvalidArgumentError, "Int64", "AbstractPredictor")
    softplus = NativeTorch.PytorchModel(fixture_path("layers", "softplus_beta.pt"))
    made = NativeTorch.build_predictor(softplus; config = Dict(:SoftPlus => (; beta) -> NativeTorch.SoftPlusEpigraph(; beta)))
    predictor = made isa NativeTorch.Pipeline ? made.layers[end] : made
    @test predictor isa NativeTorch.SoftPlusEpigraph && predictor.beta != 1
    gelu = NativeTorch.PytorchModel(fixture_path("layers", "gelu_tanh.pt"))
    made = NativeTorch.build_predictor(gelu; config = Dict(:GELU => NativeTorch.GELU))
    @test (made isa NativeTorch.Pipeline ? made.layers[end] : made).approximate == "tanh"
end

@testset "By default the formulation suits the solver and the bounds" begin
    predictor = NativeTorch.PytorchModel(RELU_NET)
    binaries(optimizer, bound) = begin
        model = Model(optimizer)
        x = [@variable(model, lower_bound = -bound, upper_bound = bound) for _ in 1:4]
        bound == Inf && foreach(v -> (delete_lower_bound(v); delete_upper_bound(v)), filter(has_lower_bound, x))
        NativeTorch.add_predictor(model, predictor, x)
        (num_constraints(model, VariableRef, MOI.ZeroOne), num_constraints(model, NonlinearExpr, MOI.EqualTo{Float64}))
    end
    @test binaries(HiGHS.Optimizer, 1)[1] > 0 && binaries(HiGHS.Optimizer, 1)[2] == 0
    @test binaries(nothing, 1)[1] > 0
    @test binaries(Ipopt.Optimizer, 1)[1] == 0 && binaries(Ipopt.Optimizer, 1)[2] > 0
    @test binaries(nothing, Inf)[1] == 0 && binaries(nothing, Inf)[2] > 0
end

# Expressions of deep nets are trees, and large ones take long to evaluate.
small_nets() = [fixture("nets/$name") for name in ["mlp_gelu", "cnn_smooth", "view_conv", "linear_only", "empty", "mlp_gelu_layernorm"]]

@testset "Reduced space: $(case.name)" for case in small_nets()
    m, x = NativeTorch.load(case.path), example(case)
    model = Model()
    variables = box_variables(model, x, 0.7)
    y, formulation = NativeTorch.add_predictor(model, m, variables; reduced_space = true)
    @test num_variables(model) == length(x)
    @test num_constraints(model; count_variable_in_set_constraints = false) == 0
    for other in (x, x .+ 0.6 .* sin.(reshape(1:length(x), size(x))))
        values = Dict(zip(vec(variables), vec(other)))
        found = [value(variable -> values[variable], element) for element in y]
        @test difference(found, torch(m, other)) <= 1e-11
    end
    # Numbers in, numbers out.
    y, _ = NativeTorch.add_predictor(model, m, x; reduced_space = true)
    @test y isa Vector{Float64} && difference(y, torch(m, x)) <= 1e-12
end

@testset "Reduced space is affine where the layers are" begin
    model = Model()
    @variable(model, x[1:2])
    affine = NativeTorch.Affine([2.0 3.0], [4.0])
    y, formulation = NativeTorch.add_predictor(model, NativeTorch.ReducedSpace(affine), x)
    @test y isa Vector{AffExpr} && string(y[1]) == "2 x[1] + 3 x[2] + 4"
    @test sprint(show, formulation) == "ReducedSpace(Affine(A, b) [input: 2, output: 1])\n├ variables [0]\n└ constraints [0]"
    y, _ = NativeTorch.add_predictor(model, affine, [x[1] + 1, x[2]^2]; reduced_space = true)
    @test value(v -> v == x[1] ? 0.5 : 2.0, y[1]) == 2 * 1.5 + 3 * 4 + 4
    y, _ = NativeTorch.add_predictor(model, NativeTorch.ReLU(), x; reduced_space = true)
    @test y isa Vector{NonlinearExpr} && occursin("max", string(y[1]))
    set_optimizer(model, Ipopt.Optimizer)
    set_silent(model)
    z, _ = NativeTorch.add_predictor(model, NativeTorch.Pipeline(affine, NativeTorch.Sigmoid()), x; reduced_space = true)
    @constraint(model, [i in 1:2], -1 <= x[i] <= 1)
    @objective(model, Max, z[1])
    optimize!(model)
    @test objective_value(model) ≈ 1 / (1 + exp(-9)) atol = 1e-6
    @test refuses(() -> NativeTorch.add_predictor(model, NativeTorch.PytorchModel(RELU_NET), x; reduced_space = true, gray_box = true),
                  NativeTorch.UnsupportedError, "reduced space")
end

@testset "What x may be in full space" begin
    m = NativeTorch.load(RELU_NET)
    model = silent_model(HiGHS.Optimizer)
    @variable(model, -1 <= v[1:2] <= 1)
    y, _ = NativeTorch.add_predictor(model, m, Any[v[1], 0.5, 2v[2] - v[1] + 0.25, v[1]])
    fix.(v, [0.75, -0.5]; force = true)
    optimize!(model)
    @test value.(y) ≈ m([0.75, 0.5, -1.5, 0.75]) atol = 1e-7
    # Bounds of quadratic and nonlinear expressions.
    tanh_net = NativeTorch.load(fixture_path("nets", "mlp_gelu.pt"))
    nlp = silent_model(Ipopt.Optimizer)
    @variable(nlp, -1 <= w[1:2] <= 1)
    z, _ = NativeTorch.add_predictor(nlp, tanh_net, Any[w[1]^2, sin(w[2]), exp(w[1]) * w[2], 1.0])
    @test all(has_lower_bound, z) && all(has_upper_bound, z)
    @objective(nlp, Min, (w[1] - 0.3)^2 + (w[2] + 0.2)^2)
    optimize!(nlp)
    @test value.(z) ≈ tanh_net([0.09, sin(-0.2), exp(0.3) * -0.2, 1.0]) atol = 1e-5
end

@testset "What x may not be leaves the model as it was: $kwargs" for kwargs in ((;), (; gray_box = true), (; reduced_space = true))
    model = Model()
    @variable(model, -1 <= v[1:6] <= 1)
    @variable(model, 1 <= empty <= 0)
    add(x, predictor = jump_path("relu_3_8_8_2")) = () ->
        NativeTorch.add_predictor(model, NativeTorch.PytorchModel(predictor), x; kwargs...)
    for (x, words) in [
        (Any[v[1], v[2], NaN], ("x[3]", "NaN")), (Any[v[1], Inf, v[2]], ("x[2]", "Inf")), (Any[v[1], "a", v[2]], ("x[2]", "String")),
        ([v[1], v[2], 2 * empty], ("x[3]", "2 empty", "bounds")),
        # A module is applied to one point: neither to a batch nor to none.
        (v, ("[6]", "3")), (v[1:4], ("[4]", "3")), (VariableRef[], ("[0]", "3")),
    ]
        @test refuses(add(x), NativeTorch.InvalidArgumentError, words...)
    end
    image = Any[0.1i for i in 1:3, j in 1:4, c in 1:2]
    image[2, 1, 1] = NaN
    @test refuses(add(image, jump_path("conv_flatten_linear")), NativeTorch.InvalidArgumentError, "x[2]", "NaN")
    @test num_variables(model) == 7
    @test num_constraints(model; count_variable_in_set_constraints = false) == 0
end

@testset "Pools know the size of their images within a pipeline, fixed variables their value" begin
    pipeline = NativeTorch.Pipeline(NativeTorch.Affine([1.0 0.0; 0.0 1.0; 1.0 1.0; 1.0 -1.0]), NativeTorch.MaxPool2d((1, 2); input_size = (1, 4)))
    model = Model()
    @variable(model, x[i = 1:2] == i)
    y, _ = NativeTorch.add_predictor(model, pipeline, x)
    @test start_value.(NativeTorch.add_predictor(model, NativeTorch.Affine([1.0 1.0]), x)[1]) == [3.0]
    @test NativeTorch.add_predictor(Model(), pipeline, [1.0, 2.0]; reduced_space = true)[1] == [2.0, 3.0]
    @test length(y) == 2
end

@testset "Models that take no names, and copies" begin
    m, path = NativeTorch.load(jump_path("relu_3_8_8_2")), jump_path("relu_3_8_8_2")
    model = direct_model(Ipopt.Optimizer())
    set_silent(model)
    @variable(model, -1 <= x[i = 1:3] <= 1, start = 0.1i)
    y, _ = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(path), x)
    fix.(x, [0.1, 0.2, 0.3]; force = true)
    optimize!(model)
    @test value.(y) ≈ m([0.1, 0.2, 0.3]) atol = 1e-6
    model = Model()
    @variable(model, -1 <= x[1:3] <= 1)
    y, _ = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(path), x)
    copied, places = copy_model(model)
    z, formulation = NativeTorch.add_predictor(copied, NativeTorch.PytorchModel(path), places[x])
    set_optimizer(copied, HiGHS.Optimizer)
    set_silent(copied)
    @objective(copied, Max, z[1])
    optimize!(copied)
    @test value(z[1]) ≈ value(places[y[1]]) atol = 1e-6
    NativeTorch.delete(copied, formulation)
    @test num_variables(copied) == num_variables(model)
end

@testset "Engines that are not there are errors of their own" begin
    model = Model()
    @variable(model, x[1:3])
    add(; engine...) = () -> NativeTorch.add_predictor(model, NativeTorch.PytorchModel(jump_path("relu_3_8_8_2")), x; gray_box = true, engine...)
    for (engine, words) in (((; backend = "tpu"), ("tpu", "native")), ((; device = "gpu"), ("gpu", "cuda:1")), ((; device = "cuda"), ("libtorch",)))
        found, message = thrown(add(; engine...))
        @test found == NativeTorch.InvalidArgumentError && all(word -> occursin(word, message), words)
        @test !occursin("input_size", message)
    end
end

struct Doubling <: NativeTorch.AbstractPredictor end

function NativeTorch.add_predictor(model::JuMP.AbstractModel, predictor::Doubling, x::Vector; kwargs...)
    y = @variable(model, [1:length(x)], base_name = "double")
    return y, NativeTorch.Formulation(predictor, y, @constraint(model, y .== 2 .* x))
end

@testset "A predictor of the user's anywhere in a pipeline" for place in 1:4
    layers = NativeTorch.AbstractPredictor[
        NativeTorch.Affine([1.0 -2.0; 0.5 1.0]),
        NativeTorch.ReLUBigM(100.0),
        NativeTorch.Affine([1.0 1.0; 2.0 -1.0], [0.1, 0.2]),
    ]
    insert!(layers, place, Doubling())
    model = silent_model(HiGHS.Optimizer)
    @variable(model, -1 <= x[1:2] <= 1)
    y, formulation = NativeTorch.add_predictor(model, NativeTorch.Pipeline(layers), x)
    @test length(formulation.layers) == 4 && formulation.layers[place].predictor isa Doubling
    fix.(x, [0.5, 0.75]; force = true)
    optimize!(model)
    expected = [0.5, 0.75]
    for layer in layers
        expected = layer isa Doubling ? 2 .* expected : layer isa NativeTorch.Affine ? layer.A * expected + layer.b : max.(0, expected)
    end
    @test value.(y) ≈ expected atol = 1e-7
end
