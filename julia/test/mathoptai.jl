# MathOptAI's own predictors of PyTorch models.

import MathOptAI

@testset "MathOptAI's predictors" begin
    predictor = MathOptAI.build_predictor(NativeTorch.PytorchModel(fixture_path("nets", "mlp_relu.pt")))
    @test predictor isa MathOptAI.Pipeline
    @test map(typeof, predictor.layers[1:2]) == [MathOptAI.Affine{Float64}, MathOptAI.ReLU]
    predictor = MathOptAI.build_predictor(NativeTorch.PytorchModel(jump_path("conv_flatten_linear")); input_size = (3, 4, 2))
    @test predictor.layers[1] isa MathOptAI.Conv2d && predictor.layers[2] isa MathOptAI.ReducedSpace
    chosen = MathOptAI.build_predictor(
        NativeTorch.PytorchModel(fixture_path("nets", "mlp_relu.pt"));
        config = Dict(:ReLU => MathOptAI.ReLUSOS1),
    )
    @test chosen.layers[2] isa MathOptAI.ReLUSOS1
end

@testset "Values through MathOptAI: $name" for (name, optimizer) in [
    ("nets/mlp_tanh", Ipopt.Optimizer), ("nets/mlp_leakyrelu", Ipopt.Optimizer), ("nets/view_conv", Ipopt.Optimizer),
    ("nets/mlp_sigmoid", Ipopt.Optimizer), ("layers/layernorm_plain", Ipopt.Optimizer),
]
    case = fixture(name)
    m, x0 = NativeTorch.load(case.path), example(case)
    model = silent_model(optimizer)
    x = box_variables(model, x0, 1)
    y, _ = MathOptAI.add_predictor(model, NativeTorch.PytorchModel(case.path), x)
    fix.(x, x0; force = true)
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(y), torch(m, x0)) <= 1e-5
end

@testset "Conv2d-Flatten-Linear through MathOptAI" begin
    case = jump_case("conv_flatten_linear")
    for (point, expected) in zip(case.x, case.y)
        model = silent_model(HiGHS.Optimizer)
        x = box_variables(model, as_image(point), 1)
        y, _ = MathOptAI.add_predictor(model, NativeTorch.PytorchModel(jump_path("conv_flatten_linear")), x)
        fix.(x, as_image(point); force = true)
        optimize!(model)
        @test value.(y) ≈ vec(expected) atol = 1e-6
    end
end

@testset "Affine layers that MathOptAI has not: $name" for name in ("avgpool2d_padding_not_counted", "conv2d_groups", "conv2d_circular_1")
    case = fixture("layers/$name")
    m, x0 = NativeTorch.load(case.path), example(case)
    x0 isa Array{Float64,3} || continue
    model = silent_model(HiGHS.Optimizer)
    x = box_variables(model, x0, 1)
    y, _ = MathOptAI.add_predictor(model, NativeTorch.PytorchModel(case.path), x)
    fix.(x, x0; force = true)
    optimize!(model)
    @test difference(value.(y), torch(m, x0)) <= 1e-6
end

@testset "A gray box of MathOptAI" begin
    m = NativeTorch.load(fixture_path("nets", "mlp_gelu.pt"))
    model = silent_model(Ipopt.Optimizer)
    @variable(model, -1 <= x[1:4] <= 1)
    y, _ = MathOptAI.add_predictor(model, NativeTorch.PytorchModel(fixture_path("nets", "mlp_gelu.pt")), x; gray_box = true)
    @objective(model, Min, sum((x .- 0.3) .^ 2) + y[1])
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test value.(y) ≈ m(value.(x)) atol = 1e-5
end

@testset "Devices of MathOptAI's gray boxes" begin
    file = NativeTorch.PytorchModel(fixture_path("nets", "mlp_gelu.pt"))
    build(device; kwargs...) = () -> MathOptAI.build_predictor(file; device, kwargs...)
    @test refuses(build("cuda"), NativeTorch.UnsupportedError, "cuda", "gray_box")
    # Without libtorch that is what is missing.
    kind = HAS_LIBTORCH ? NativeTorch.InvalidArgumentError : NativeTorch.UnsupportedError
    @test refuses(build("gpu"; gray_box = true), kind, HAS_LIBTORCH ? "gpu" : "libtorch")
    if HAS_LIBTORCH && NativeTorch.libtorch().cuda_devices == 0
        @test refuses(build("cuda"; gray_box = true), NativeTorch.UnsupportedError, "CUDA")
    end
end

struct MathOptAISkip <: MathOptAI.AbstractPredictor
    p::MathOptAI.Pipeline
end

function MathOptAI.add_predictor(model::JuMP.AbstractModel, predictor::MathOptAISkip, x::Vector; kwargs...)
    y, formulation = MathOptAI.add_predictor(model, predictor.p, x; kwargs...)
    return y .+ x, formulation
end

@testset "Custom layers through MathOptAI, and what it would get wrong" begin
    case = jump_case("skip")
    config = Dict("custom_model.Skip" => (layer; kwargs...) -> MathOptAISkip(MathOptAI.build_predictor(layer.inner)))
    model = silent_model(Ipopt.Optimizer)
    @variable(model, x[i in 1:3] == case.x[1][i])
    y, _ = MathOptAI.add_predictor(model, NativeTorch.PytorchModel(jump_path("skip")), x; config)
    optimize!(model)
    @test value.(y) ≈ case.y[1] atol = 1e-5
    pool = NativeTorch.PytorchModel(fixture_path("layers", "maxpool2d_padding.pt"))
    config = Dict(:MaxPool2d => MathOptAI.MaxPool2dBigM)
    build() = MathOptAI.build_predictor(pool; input_size = (5, 6, 2), config)
    @test refuses(build, NativeTorch.UnsupportedError, "pad with 0")
end

@testset "Layers that MathOptAI has not, or computes otherwise: $name" for name in (
    "gelu", "softplus_threshold", "elu", "maxpool2d_padding_all_negative", "maxpool2d_ceil_padding", "maxpool2d_dilation",
)
    case = fixture("layers/$name")
    x0 = example(case)
    expected = torch(NativeTorch.load(case.path), x0)
    size = ndims(x0) > 1 ? (; input_size = Base.size(x0)) : (;)
    for reduced_space in (false, true)
        model = silent_model(Ipopt.Optimizer)
        x = box_variables(model, x0, 1)
        y, _ = MathOptAI.add_predictor(model, NativeTorch.PytorchModel(case.path), vec(x); reduced_space, size...)
        fix.(x, x0; force = true)
        reduced_space || optimize!(model)
        found = reduced_space ? map(e -> e isa Number ? e : value(fix_value, e), y) : value.(y)
        @test difference(found, expected) <= 1e-6
    end
end

@testset "Gray boxes of images through MathOptAI: $name" for name in ("layers/maxpool2d_padding", "layers/conv2d_groups")
    case = fixture(name)
    x0 = example(case)
    expected = torch(NativeTorch.load(case.path), x0)
    model = silent_model(Ipopt.Optimizer)
    x = box_variables(model, x0, 1)
    predictor = NativeTorch.PytorchModel(case.path)
    y, _ = MathOptAI.add_predictor(model, predictor, vec(x); gray_box = true, hessian = false, input_size = size(x0))
    @objective(model, Min, sum((vec(x) .- vec(x0)) .^ 2))
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(y), expected) <= 1e-5
end
