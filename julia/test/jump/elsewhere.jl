# What is known to be wrong elsewhere.

# The value of a fixture's model, added as a MIP or an NLP with fixed inputs.
function added_value(name, optimizer; kwargs...)
    case = fixture(name)
    m, x = NativeTorch.load(case.path), example(case)
    model = silent_model(optimizer)
    variables = box_variables(model, x, 1)
    y, _ = NativeTorch.add_predictor(model, m, variables; kwargs...)
    fix.(variables, x; force = true)
    optimize!(model)
    @test is_solved_and_feasible(model)
    return value.(y), torch(m, x)
end

@testset "$what: $name" for (what, names, optimizer) in [
    ("MaxPool pads with -inf", ["maxpool2d_padding", "maxpool2d_padding_all_negative"], HiGHS.Optimizer),
    ("ceil_mode", ["maxpool2d_ceil_padding", "avgpool2d_ceil_padding"], HiGHS.Optimizer),
    ("count_include_pad", ["avgpool2d_padding_not_counted", "avgpool2d_divisor"], HiGHS.Optimizer),
    ("dilation", ["conv2d_dilation_2", "maxpool2d_dilation"], HiGHS.Optimizer),
    ("padding modes", ["conv2d_circular_1", "conv2d_reflect_1", "conv2d_replicate_1"], HiGHS.Optimizer),
    ("bias = False, groups, padding = same", ["conv2d_no_bias", "conv2d_groups", "conv2d_same_even", "linear_no_bias"], HiGHS.Optimizer),
    ("Softmax's dim", ["softmax_rank2_dim_1", "softmax_rank4_dim_1"], Ipopt.Optimizer),
    ("GELU none and tanh", ["gelu", "gelu_tanh"], Ipopt.Optimizer),
    ("Softplus's threshold", ["softplus_threshold", "softplus_beta"], Ipopt.Optimizer),
], name in names
    found, expected = added_value("layers/$name", optimizer)
    @test difference(found, expected) <= 1e-6
end

@testset "GELU's lower bound is valid" begin
    for approximate in ("none", "tanh")
        model = Model()
        @variable(model, -3 <= x[1:1] <= 1)
        y, _ = NativeTorch.add_predictor(model, NativeTorch.GELU(; approximate), x)
        @test lower_bound(y[1]) >= -0.1701
        @test lower_bound(y[1]) <= minimum(NativeTorch._make("GELU", "approximate='$approximate'")([v])[1] for v in -3:0.001:1)
    end
end

@testset "The upper bound of a Softplus epigraph is that of the function" begin
    for softplus in (NativeTorch.SoftPlusEpigraph, NativeTorch.SoftPlusConicEpigraph)
        model = Model()
        @variable(model, -1 <= x[1:1] <= 1)
        y, _ = NativeTorch.add_predictor(model, softplus(), x)
        @test log1p(exp(1.0)) <= upper_bound(y[1]) <= log1p(exp(1.0)) + 1e-8
    end
end

@testset "A big-M below a valid bound does not cut off points in silence" begin
    model = silent_model(HiGHS.Optimizer)
    @variable(model, -10 <= x[1:1] <= 10)
    @test refuses(() -> NativeTorch.add_predictor(model, NativeTorch.ReLUBigM(1.0), x), NativeTorch.InvalidArgumentError, "10")
    y, _ = NativeTorch.add_predictor(model, NativeTorch.ReLUBigM(1e3), x)
    @objective(model, Max, y[1])
    optimize!(model)
    @test objective_value(model) ≈ 10
end

@testset "Bounds are kept after $name" for name in
                                           ["conv2d_plain", "maxpool2d_plain", "avgpool2d_plain", "layernorm_plain", "leakyrelu"]
    case = fixture("layers/$name")
    model = Model()
    y, _ = NativeTorch.add_predictor(model, NativeTorch.load(case.path), box_variables(model, example(case), 0.5))
    @test all(has_lower_bound, y) && all(has_upper_bound, y)
end

@testset "Softmax and softplus do not overflow" begin
    m = NativeTorch.load(jump_path("relu_far"))
    for far in (800.0, -800.0), kwargs in ((;), (; gray_box = true))
        model = silent_model(Ipopt.Optimizer)
        @variable(model, far - 1 <= x[1:2] <= far + 1, start = far)
        y, _ = NativeTorch.add_predictor(model, m, x; kwargs...)
        @objective(model, Min, sum((x .- [far + 0.5, far - 0.5]) .^ 2))
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test value.(y) ≈ m(value.(x)) atol = 1e-5
    end
end

@testset "Gray boxes of CNNs, and of float32 weights, in double precision" begin
    m, case = NativeTorch.load(jump_path("conv_flatten_linear")), jump_case("conv_flatten_linear")
    model = silent_model(Ipopt.Optimizer)
    x = box_variables(model, as_image(case.x[1]), 1)
    y, _ = NativeTorch.add_predictor(model, m, x; gray_box = true)
    @objective(model, Min, sum((x .- as_image(case.x[2])) .^ 2) + y[1])
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(y), torch(m, value.(x))) <= 1e-6
end
