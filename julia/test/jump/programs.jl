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
    @test num_variables(model) == 5
end

@testset "TorchScript leaves the sizes of several inputs open" begin
    case = program_case("multihead")
    scripted = (; case..., path = fixture_path("scripted", "multihead_scripted.pt"))
    sizes = Tuple(case.sizes)
    for kwargs in ((;), (; gray_box = true), (; reduced_space = true), (; bounds = :linear))
        @test program_error(scripted, case.x, Ipopt.Optimizer; input_size = sizes, kwargs...) <= 1e-6
    end
    model = Model()
    x = [@variable(model) for _ in case.x]
    add(; kwargs...) = () -> NativeTorch.add_predictor(model, NativeTorch.PytorchModel(scripted.path), x; kwargs...)
    @test refuses(add(), NativeTorch.UnsupportedError, "input_size", "((")
    @test refuses(add(; input_size = (sizes[1],)), NativeTorch.InvalidArgumentError, "input")
end

@testset "config chooses the forms of a program's operations" begin
    count_of(model, S) = num_constraints(model, Vector{VariableRef}, S)
    case = program_case("residual")
    x0 = program_input(case)
    function added(config)
        model = Model()
        _, formulation = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(case.path), box_variables(model, x0, 0.5); config)
        return model, formulation
    end
    model, formulation = added(Dict(:ReLU => NativeTorch.ReLUSOS1))
    @test count_of(model, MOI.SOS1{Float64}) > 0
    @test occursin("by relu=sos1", sprint(show, formulation))
    others = Dict(:Tanh => NativeTorch.Tanh, :GELU => NativeTorch.GELU, :Sigmoid => NativeTorch.Sigmoid,
                  :SoftMax => NativeTorch.SoftMax, :SoftPlus => NativeTorch.SoftPlusEpigraph,
                  :MaxPool2d => (k; kwargs...) -> NativeTorch.MaxPool2dBigM(k; M = 10.0, kwargs...))
    @test num_variables(first(added(others))) > length(x0)
    @test refuses(() -> added(Dict(:Tanh => NativeTorch.ReLU)), NativeTorch.UnsupportedError, ":Tanh", "ReLU")
    @test refuses(() -> added(Dict(:LayerNorm => NativeTorch.ReLU)), NativeTorch.UnsupportedError, ":LayerNorm")
    @test refuses(() -> added(Dict(:Relu => NativeTorch.ReLU)), NativeTorch.InvalidArgumentError, ":Relu", ":ReLU")
end
