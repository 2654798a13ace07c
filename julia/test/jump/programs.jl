# Programs of torch.export: residual networks, branches, several inputs.

function program_case(name)
    values = Json.read_file(fixture_path("exported", "$name.json"))
    numbers(key) = Float64[number for number in values[key]]
    sizes = [Tuple(Int[size for size in shape]) for shape in values["shapes"]]
    return (path = fixture_path("exported", "$name.pt2"), sizes = sizes, x = numbers("x"), y = numbers("y"))
end

# As the caller gives it: an image of one point as H x W x C, all else flat.
function program_input(case)
    size = only(case.sizes)
    length(size) == 4 && size[1] == 1 || return case.x
    return as_image(from_rows(case.x, size))
end

function program_error(case, x0, optimizer; kwargs...)
    model = silent_model(optimizer)
    x = box_variables(model, x0, 0.5)
    y, formulation = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(case.path), x; kwargs...)
    fix.(x, x0; force = true)
    optimize!(model)
    @test is_solved_and_feasible(model)
    return difference(value.(y), case.y)
end

@testset "A residual network and one of branches: $name" for name in ("residual", "branches")
    case = program_case(name)
    x0 = program_input(case)
    @test program_error(case, x0, HiGHS.Optimizer) <= 1e-6
    @test program_error(case, x0, HiGHS.Optimizer; bounds = :linear) <= 1e-6
    @test program_error(case, x0, HiGHS.Optimizer; config = Dict(:ReLU => NativeTorch.ReLUSOS1)) <= 1e-6
    @test program_error(case, x0, Ipopt.Optimizer) <= 1e-6
    @test program_error(case, x0, Ipopt.Optimizer; gray_box = true) <= 1e-6
    @test program_error(case, x0, Ipopt.Optimizer; reduced_space = true) <= 1e-6
end

@testset "Several inputs, one after another in x" begin
    case = program_case("arithmetic")
    @test length(case.sizes) == 2
    @test program_error(case, case.x, Ipopt.Optimizer) <= 1e-6
    @test program_error(case, case.x, Ipopt.Optimizer; gray_box = true) <= 1e-6
    @test program_error(case, case.x, Ipopt.Optimizer; reduced_space = true) <= 1e-6
    model = Model()
    @variable(model, x[1:5])
    add(; kwargs...) = () -> NativeTorch.add_predictor(model, NativeTorch.PytorchModel(case.path), x; kwargs...)
    @test refuses(add(), NativeTorch.InvalidArgumentError, "5", string(length(case.x)))
    @test refuses(add(; config = Dict(:Tanh => NativeTorch.Tanh)), NativeTorch.UnsupportedError, ":Tanh", ":ReLU")
    @test num_variables(model) == 5
end
