# What one does with formulations, and weights as variables.

@testset "Scaling of inputs and outputs" for reduced_space in (true, false)
    m = NativeTorch.load(jump_path("relu_3_8_8_2"))
    net = NativeTorch.build_predictor(NativeTorch.PytorchModel(jump_path("relu_3_8_8_2")))
    mean, deviation = [1.0, 2.0, -1.0], [0.5, 2.0, 4.0]
    y_mean, y_deviation = [10.0, -3.0], [2.0, 0.25]
    into, back = NativeTorch.standardize(mean, deviation), NativeTorch.destandardize(y_mean, y_deviation)
    pipeline = NativeTorch.Pipeline(reduced_space ? NativeTorch.ReducedSpace(into) : into, net, back)
    model = silent_model(HiGHS.Optimizer)
    @variable(model, 0 <= x[1:3] <= 3)
    y, formulation = NativeTorch.add_predictor(model, pipeline, x)
    fix.(x, [0.5, 2.5, 3.0]; force = true)
    optimize!(model)
    @test value.(y) ≈ y_deviation .* m(([0.5, 2.5, 3.0] .- mean) ./ deviation) .+ y_mean atol = 1e-6
    @test all(has_lower_bound, y)
    gray = NativeTorch.GrayBox(m)
    nlp = silent_model(Ipopt.Optimizer)
    @variable(nlp, 0 <= w[1:3] <= 3)
    z, _ = NativeTorch.add_predictor(nlp, NativeTorch.Pipeline(into, gray, back), w)
    @objective(nlp, Min, sum((w .- [0.5, 2.5, 3.0]) .^ 2))
    optimize!(nlp)
    @test value.(z) ≈ y_deviation .* m((value.(w) .- mean) ./ deviation) .+ y_mean atol = 1e-4
    @test refuses(() -> NativeTorch.standardize([0.0], [0.0]), NativeTorch.InvalidArgumentError, "deviation[1]")
    @test refuses(() -> NativeTorch.standardize([0.0, NaN], [1.0, 1.0]), NativeTorch.InvalidArgumentError, "mean[2]")
end

@testset "Delete: $(name)" for (name, kwargs) in [
    ("full space", (;)),
    ("SOS1", (; config = Dict(:ReLU => NativeTorch.ReLUSOS1))),
    ("indicator", (; config = Dict(:ReLU => NativeTorch.ReLUIndicator))),
    ("complementarity", (; config = Dict(:ReLU => NativeTorch.ReLUComplementarity))),
    ("nonlinear", (; config = Dict(:ReLU => NativeTorch.ReLU))),
    ("gray box", (; gray_box = true)),
]
    model = Model()
    @variable(model, -1 <= x[1:3] <= 1)
    @constraint(model, sum(x) <= 2)
    count() = (num_variables(model), num_constraints(model; count_variable_in_set_constraints = true))
    before = count()
    for remove in (NativeTorch.delete, delete)
        _, formulation = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(jump_path("relu_3_8_8_2")), [x[1] + 1, x[2], 2x[3]]; kwargs...)
        @test count() != before
        remove(model, formulation)
        @test count() == before
    end
end

@testset "The error of a formulation" begin
    model = silent_model(HiGHS.Optimizer)
    @variable(model, -1 <= x[1:3] <= 1)
    config = Dict(:ReLU => NativeTorch.ReLUEpigraph)
    y, formulation = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(jump_path("relu_3_8_8_2")), x; config)
    # Epigraphs are a relaxation here, and the error says so.
    @objective(model, Max, y[1])
    optimize!(model)
    m = NativeTorch.load(jump_path("relu_3_8_8_2"))
    @test NativeTorch.formulation_error(formulation) ≈ maximum(abs, value.(y) .- m(value.(x))) atol = 1e-9
    @test NativeTorch.formulation_error(formulation) > 1e-3
end

@testset "Classify" begin
    m, x0 = NativeTorch.load(DIGITS), Float64[v for v in Json.read_file(joinpath(dirname(DIGITS), "image.json"))]
    model = silent_model(HiGHS.Optimizer)
    @variable(model, 0 <= x[1:64] <= 1)
    @variable(model, r >= 0)
    @constraint(model, -r .<= x .- x0)
    @constraint(model, x .- x0 .<= r)
    y, _ = NativeTorch.add_predictor(model, m, x)
    rows = NativeTorch.classify(model, y, 6; margin = 0.01)
    @test length(rows) == 9
    set_attribute(model, "time_limit", 60.0)
    set_attribute(model, "mip_rel_gap", 0.5)
    @objective(model, Min, r)
    optimize!(model)
    @test primal_status(model) == FEASIBLE_POINT
    scores = m(value.(x))
    @test argmax(scores) == 6 && scores[6] - sort(scores)[end-1] >= 0.01 - 1e-6
    @test refuses(() -> NativeTorch.classify(model, y, 11), NativeTorch.InvalidArgumentError, "11", "1 to 10")
end

@testset "Weights as variables" begin
    predictor = NativeTorch.build_predictor(NativeTorch.PytorchModel(jump_path("tanh_10_50_50_1")))
    small = NativeTorch.Pipeline(NativeTorch.Affine([0.5; -0.5;;], [0.1, 0.2]), NativeTorch.Tanh(), NativeTorch.Affine([1.0 0.3], [0.0]))
    model = silent_model(Ipopt.Optimizer)
    trained = NativeTorch.replace_weights_with_variables(model, small)
    @test num_variables(model) == 7
    @test start_value.(trained.layers[1].A) == [0.5; -0.5;;]
    # Train it: fit x^3 at a few points.
    points = -1:0.25:1
    outputs = [NativeTorch.add_predictor(model, trained, [x])[1][1] for x in points]
    @objective(model, Min, sum((y - x^3)^2 for (x, y) in zip(points, outputs)))
    optimize!(model)
    @test is_solved_and_feasible(model)
    untrained = NativeTorch.add_predictor.(Ref(Model()), Ref(small), [[x] for x in points]; reduced_space = true)
    @test objective_value(model) < sum((y[1] - x^3)^2 for (x, (y, _)) in zip(points, untrained)) / 3
    fitted = NativeTorch.Pipeline(NativeTorch.Affine(value.(trained.layers[1].A), value.(trained.layers[1].b)), NativeTorch.Tanh(),
                                  NativeTorch.Affine(value.(trained.layers[3].A), value.(trained.layers[3].b)))
    y, _ = NativeTorch.add_predictor(Model(), fitted, [0.5]; reduced_space = true)
    @test y[1] ≈ value(outputs[findfirst(==(0.5), points)]) atol = 1e-6
    partly = NativeTorch.replace_weights_with_variables(Model(), predictor; filter = layer -> layer isa NativeTorch.Affine && size(layer.A, 1) == 1)
    @test partly.layers[1].A isa Matrix{Float64} && partly.layers[end].A isa Matrix{VariableRef}
    scale = NativeTorch.replace_weights_with_variables(Model(), NativeTorch.Scale([1.0, 2.0], [3.0, 4.0]))
    @test start_value.(scale.bias) == [3.0, 4.0]
end

@testset "Folded layers stand under the last of them, and can be deleted: $name" for name in ("cnn", "bn")
    path = fixture_path("nets", "$name.pt")
    isfile(path) || (path = fixture_path("jump", "$name.pt"))
    m = NativeTorch.load(path)
    model = Model()
    x = name == "cnn" ? [@variable(model, lower_bound = -1, upper_bound = 1) for _ in example(fixture("nets/cnn"))] :
        @variable(model, -1 <= x[1:3] <= 1)
    before = num_variables(model)
    _, formulation = NativeTorch.add_predictor(model, m, x; config = Dict(:ReLU => NativeTorch.ReLU))
    for layer in formulation.layers, variable in layer.variables
        @test JuMP.is_valid(model, variable)
    end
    named(path) = filter(variable -> startswith(JuMP.name(variable), "layer_$path."), all_variables(model))
    for (i, layer) in enumerate(formulation.layers)
        own = named(NativeTorch._layer_name(formulation.predictor, i))
        @test Set(filter(variable -> startswith(JuMP.name(variable), "layer_"), layer.variables)) == Set(own)
    end
    NativeTorch.delete(model, formulation)
    @test num_variables(model) == before
    @test num_constraints(model; count_variable_in_set_constraints = false) == 0
end

@testset "Weights as variables before layers of the library" begin
    path = jump_path("bn")
    model = Model(Ipopt.Optimizer)
    set_silent(model)
    @variable(model, -1 <= x[1:3] <= 1, start = 0.1)
    predictor = NativeTorch.replace_weights_with_variables(model, NativeTorch.build_predictor(NativeTorch.PytorchModel(path)))
    y, _ = NativeTorch.add_predictor(model, predictor, x)
    @test length(y) == 2
end

@testset "Keys and values of config that fit nothing" begin
    build(config) = () -> NativeTorch.build_predictor(NativeTorch.PytorchModel(jump_path("bn")); config)
    @test refuses(build(Dict("Skp" => 1)), NativeTorch.InvalidArgumentError, "Skp", "BatchNorm1d")
    @test refuses(build(Dict(:ReLU => NativeTorch.ReLUBigM(10.0))), NativeTorch.InvalidArgumentError, ":ReLU", "() ->")
end

@testset "A formulation in a file: $ending" for ending in ("mof.json", "mps", "lp", "nl")
    case = jump_case("relu_3_8_8_2")
    mktempdir() do folder
        path = joinpath(folder, "model.$ending")
        objective = "maximize y[0] - 2 * y[1]"
        NativeTorch.write_formulation(path, jump_path("relu_3_8_8_2"), (-1, 1); objective, bounds = :linear)
        if ending != "nl"
            model = read_from_file(path)
            set_optimizer(model, HiGHS.Optimizer)
            set_silent(model)
            optimize!(model)
            own = silent_model(HiGHS.Optimizer)
            @variable(own, -1 <= x[1:3] <= 1)
            y, _ = NativeTorch.add_predictor(own, NativeTorch.PytorchModel(jump_path("relu_3_8_8_2")), x)
            @objective(own, Max, y[1] - 2 * y[2])
            optimize!(own)
            @test abs(objective_value(model)) ≈ abs(objective_value(own)) atol = 1e-5
        else
            @test startswith(read(path, String), "g")
        end
    end
    write(path; kwargs...) = () -> NativeTorch.write_formulation(path, jump_path("relu_3_8_8_2"), (-1, 1); kwargs...)
    @test refuses(write("model.xyz"), NativeTorch.InvalidArgumentError, "model.xyz")
    @test refuses(write("model.mps"; options = "relu=cone"), NativeTorch.InvalidArgumentError, "relu", "cone")
    @test refuses(write("model.mps"; objective = "y[0]"), NativeTorch.InvalidArgumentError, "minimize")
end
