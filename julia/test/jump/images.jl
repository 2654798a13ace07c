# Images: H x W x C in the caller's arrays, torch's values.

@testset "Conv2d-Flatten-Linear is torch's: $kind" for (kind, kwargs) in [
    ("full space", (;)),
    ("reduced space", (; reduced_space = true)),
    ("gray box", (; gray_box = true)),
]
    for name in ("conv_flatten_linear", "pools")
        m, case = NativeTorch.load(jump_path(name)), jump_case(name)
        for (point, expected) in zip(case.x, case.y)
            image = as_image(point)
            y_expected = ndims(expected) == 4 ? vec(as_image(expected)) : vec(expected)
            for as_vector in (false, true)
                model = silent_model(Ipopt.Optimizer)
                x = box_variables(model, image, 1)
                more = as_vector ? (; input_size = size(image)) : (;)
                y, _ = NativeTorch.add_predictor(model, m, as_vector ? vec(x) : x; kwargs..., more...)
                fix.(x, image; force = true)
                @objective(model, Min, 0)
                haskey(kwargs, :gray_box) || optimize!(model)
                # The square of a gray box with fixed inputs is for Ipopt; its values are read from the start values.
                found = haskey(kwargs, :gray_box) ? start_value.(y) : value.(y)
                @test difference(found, y_expected) <= 1e-6
            end
        end
    end
end

@testset "Points that are images" begin
    m, case = NativeTorch.load(jump_path("conv_flatten_linear")), jump_case("conv_flatten_linear")
    images = map(as_image, case.x)
    for predictor in (m, NativeTorch.build_predictor(m), NativeTorch.build_predictor(m; gray_box = true))
        model = silent_model(Ipopt.Optimizer)
        points = [box_variables(model, image, 1) for image in images]
        ys, _ = NativeTorch.add_predictor(model, predictor, points)
        @test all(difference(start_value.(y), vec(expected)) <= 1e-12 for (y, expected) in zip(ys, case.y))
    end
    reduced, _ = NativeTorch.add_predictor(Model(), NativeTorch.ReducedSpace(NativeTorch.build_predictor(m)), images)
    @test all(difference(y, vec(expected)) <= 1e-12 for (y, expected) in zip(reduced, case.y))
    unequal = [images[1], images[1][1:2, :, :]]
    @test refuses(() -> NativeTorch.add_predictor(Model(), m, unequal), NativeTorch.InvalidArgumentError, "(2, ")
end

@testset "A vector without input_size is in torch's order" begin
    m, case = NativeTorch.load(jump_path("relu_3_8_8_2")), jump_case("relu_3_8_8_2")
    y, _ = NativeTorch.add_predictor(Model(), m, case.x[1]; reduced_space = true)
    @test difference(y, case.y[1]) <= 1e-12
    conv = NativeTorch.PytorchModel(jump_path("pools"))
    @test refuses(() -> NativeTorch.add_predictor(Model(), conv, zeros(30)), NativeTorch.InvalidArgumentError, "input_size")
end

@testset "Bounds and start values propagate through every layer" begin
    m, case = NativeTorch.load(jump_path("pools")), jump_case("pools")
    model = Model()
    x = box_variables(model, as_image(case.x[1]), 0.25)
    y, formulation = NativeTorch.add_predictor(model, m, x)
    @test all(v -> has_lower_bound(v) || is_binary(v) || is_fixed(v), formulation.variables)
    @test all(v -> start_value(v) !== nothing, all_variables(model))
    @test difference(start_value.(y), vec(as_image(case.y[1]))) <= 1e-12
    @test all(v -> !isempty(name(v)), formulation.variables)
end
