# Networks of the fixtures in full space and as gray boxes: values, bounds, start values.

# One example of a fixture as the caller gives it: a vector, or an H x W x C image.
function example(case)
    x = from_rows(case.x, case.input_size)
    length(case.input_size) == 4 && return permutedims(x[1, :, :, :], (2, 3, 1))
    return ndims(x) == 2 ? x[1, :] : x
end

# An example as torch takes it, with a batch of one.
as_torch(x::Vector) = reshape(x, 1, :)
as_torch(x::Array{Float64,3}) = reshape(permutedims(x, (3, 1, 2)), 1, size(x, 3), size(x, 1), size(x, 2))

# What torch gives for an example, as the caller gets it.
function torch(m, x)
    y = m(as_torch(x))
    return ndims(y) == 4 ? vec(permutedims(y[1, :, :, :], (2, 3, 1))) : NativeTorch._flatten(y)
end

nets() = [fixture("nets/$name") for name in
          ["mlp_relu", "mlp_leakyrelu", "mlp_tanh", "mlp_sigmoid", "mlp_gelu", "mlp_softplus", "mlp_softmax_inside",
           "mlp_gelu_layernorm", "cnn", "cnn_smooth", "view_conv", "nested", "float64", "empty", "linear_only"]]

uses_nonlinear(model) = any(((F, S),) -> F <: GenericNonlinearExpr, list_of_constraint_types(model))
uses_binaries(model) = num_constraints(model, VariableRef, MOI.ZeroOne) > 0

@testset "Full space holds where torch says: $(case.name)" for case in nets()
    m, x = NativeTorch.load(case.path), example(case)
    model = Model()
    variables = box_variables(model, x, 0.7)
    y, formulation = NativeTorch.add_predictor(model, m, variables)
    @test difference(start_value.(y), torch(m, x)) <= 1e-11
    # All variables start at the forward pass, which no constraint and no bound cuts off.
    @test all(variable -> start_value(variable) !== nothing, all_variables(model))
    @test isempty(primal_feasibility_report(start_value, model; atol = 1e-9))
    @test length(formulation.variables) == num_variables(model) - length(x)
    # Nothing else is feasible.
    if !(uses_nonlinear(model) && uses_binaries(model))
        set_optimizer(model, uses_nonlinear(model) ? Ipopt.Optimizer : HiGHS.Optimizer)
        set_silent(model)
        for other in (x, x .+ 0.6 .* sin.(reshape(1:length(x), size(x))))
            fix.(variables, other; force = true)
            @objective(model, Max, y[1])
            optimize!(model)
            @test is_solved_and_feasible(model)
            @test difference(value.(y), torch(m, other)) <= 1e-6
        end
    end
end

@testset "The range of a ReLU net" begin
    m = NativeTorch.load(fixture_path("nets", "mlp_relu.pt"))
    model = silent_model(HiGHS.Optimizer)
    @variable(model, -1 <= x[1:4] <= 1)
    y, _ = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(fixture_path("nets", "mlp_relu.pt")), x)
    samples = [m(2 .* rand(4) .- 1) for _ in 1:10_000]
    for j in 1:3, (sense, best) in ((MIN_SENSE, minimum), (MAX_SENSE, maximum))
        @objective(model, sense, y[j])
        optimize!(model)
        @test termination_status(model) == OPTIMAL
        @test value(y[j]) ≈ m(value.(x))[j] atol = 1e-6
        sampled = best(sample[j] for sample in samples)
        @test sense == MIN_SENSE ? value(y[j]) <= sampled + 1e-6 : value(y[j]) >= sampled - 1e-6
    end
end

# The smallest change of the digit that makes another label win.
function smallest_change(other, label, x0, margin)
    model = silent_model(HiGHS.Optimizer)
    @variable(model, 0 <= x[1:64] <= 1)
    @variable(model, radius >= 0)
    @constraint(model, x .- x0 .<= radius)
    @constraint(model, x0 .- x .<= radius)
    y, _ = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(DIGITS), x)
    @constraint(model, y[other+1] >= y[label+1] + margin)
    @objective(model, Min, radius)
    optimize!(model)
    @assert termination_status(model) == OPTIMAL
    return value.(x), value(radius)
end

@testset "Digits" begin
    expected = Json.read_file(joinpath(dirname(DIGITS), "expected.json"))
    x0 = Float64[value for value in Json.read_file(joinpath(dirname(DIGITS), "image.json"))]
    label, m = Int(expected["label"]), NativeTorch.load(DIGITS)
    @test argmax(m(x0)) == label + 1
    for other in (Int(expected["other_digit"]), 5)
        x, radius = smallest_change(other, label, x0, expected["margin"])
        @test radius ≈ expected["per_digit"]["$other"] atol = 1e-6
        @test maximum(abs, x .- x0) ≈ radius atol = 1e-6
        scores = m(x)
        @test scores[other+1] - scores[label+1] ≈ expected["margin"] atol = 1e-6
    end
end

# The oracle of the only gray box of a model.
oracle(model) = constraint_object(only(all_constraints(
    model, Vector{VariableRef}, MOI.VectorNonlinearOracle{Float64},
))).set

@testset "The oracle's values and derivatives: $(case.name)" for case in nets()
    m, x = NativeTorch.load(case.path), example(case)
    model = Model()
    variables = box_variables(model, x, 0.5)
    y, formulation = NativeTorch.add_predictor(model, m, variables; gray_box = true)
    set = oracle(model)
    flat = as_torch(x)
    numbers, reference = NativeTorch._flatten(flat), NativeTorch._flatten(m(flat))
    n, p = length(numbers), length(reference)
    @test set.input_dimension == n + p && set.output_dimension == p
    @test difference(start_value.(y), torch(m, x)) <= 1e-12
    @test all(lower_bound(v) <= start_value(v) <= upper_bound(v) for v in y)

    # The solver's buffer is the same at every call; what is remembered of the last point must not survive its change.
    z, mu = [numbers; zeros(p)], randn(p)
    f, jacobian = zeros(p), zeros(length(set.jacobian_structure))
    hessian = zeros(length(set.hessian_lagrangian_structure))
    for point in (numbers, numbers .+ 0.3, numbers)
        z[1:n] = point
        z[n+1:end] = randn(p)
        at = NativeTorch._unflatten(point, size(flat))
        set.eval_f(f, z)
        @test f ≈ NativeTorch._flatten(m(at)) .- z[n+1:end] atol = 1e-14
        set.eval_jacobian(jacobian, z)
        dense = zeros(p, n + p)
        foreach(((i, j), value) -> dense[i, j] += value, set.jacobian_structure, jacobian)
        @test difference(dense, [NativeTorch.jacobian(m, at) -[i == j for i in 1:p, j in 1:p]]) <= 1e-12
        set.eval_hessian_lagrangian(hessian, z, mu)
        dense = zeros(n, n)
        foreach(((i, j), value) -> dense[i, j] = dense[j, i] = value, set.hessian_lagrangian_structure, hessian)
        @test difference(dense, NativeTorch.hessian_lagrangian(m, at, mu)) <= 1e-12
    end
    # Other kinds of vectors serve too.
    wide = zeros(2, p)
    set.eval_f(view(wide, 1, :), view([z z], :, 2))
    set.eval_f(f, z)
    @test wide[1, :] == f
end

function oracle_allocations(set, f, jacobian, hessian, z, mu)
    return (
        @allocated(set.eval_f(f, z)),
        @allocated(set.eval_jacobian(jacobian, z)),
        @allocated(set.eval_hessian_lagrangian(hessian, z, mu)),
    )
end

@testset "The oracle allocates nothing: $name" for name in ["mlp_tanh", "cnn_smooth"]
    case = fixture("nets/$name")
    model = Model()
    NativeTorch.add_predictor(model, NativeTorch.load(case.path), box_variables(model, example(case), 1); gray_box = true)
    set = oracle(model)
    m, n = length(case.y), length(case.x)
    arguments = set, zeros(m), zeros(length(set.jacobian_structure)), zeros(length(set.hessian_lagrangian_structure)),
                [case.x; zeros(m)], ones(m)
    oracle_allocations(arguments...)
    @test oracle_allocations(arguments...) == (0, 0, 0)
    # With a solver's views, what Julia takes to pass a view to a function that is not known when the solver is compiled.
    views = set, map(a -> view(a, 1:length(a)), arguments[2:4])..., arguments[5:6]...
    oracle_allocations(views...)
    @test all(<=(64), oracle_allocations(views...))
end

@testset "Gray box with Ipopt: $(case.name), hessian = $hessian" for case in nets(), hessian in (true, false)
    case.name in ("nets/cnn", "nets/mlp_relu", "nets/mlp_leakyrelu", "nets/nested") && continue
    m, x = NativeTorch.load(case.path), example(case)
    model = silent_model(Ipopt.Optimizer)
    variables = box_variables(model, x, 1)
    y, _ = NativeTorch.add_predictor(model, m, variables; gray_box = true, hessian = hessian)
    @test (oracle(model).eval_hessian_lagrangian === nothing) == !hessian
    @objective(model, Min, sum(y .^ 2) + sum((variables .- 0.1) .^ 2))
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(y), torch(m, value.(variables))) <= 1e-6
    start = sum(torch(m, x) .^ 2) + sum((x .- 0.1) .^ 2)
    @test objective_value(model) <= start + 1e-8
end

@testset "Gray box and full space have one optimum" begin
    path = fixture_path("nets", "mlp_tanh.pt")
    found = map((true, false)) do gray_box
        model = silent_model(Ipopt.Optimizer)
        @variable(model, -1 <= x[i in 1:10] <= 1, start = cos(i) / 2)
        y, _ = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(path), x; gray_box)
        @objective(model, Min, 3y[1] + sum(x .^ 2))
        optimize!(model)
        @test is_solved_and_feasible(model)
        return objective_value(model)
    end
    @test found[1] ≈ found[2] atol = 1e-6
end

@testset "A net with kinks in a gray box" begin
    # An objective that keeps away from them.
    m = NativeTorch.load(fixture_path("nets", "cnn.pt"))
    x = example(fixture("nets/cnn"))
    model = silent_model(Ipopt.Optimizer)
    variables = box_variables(model, x, 1)
    y, _ = NativeTorch.add_predictor(model, m, variables; gray_box = true)
    @objective(model, Min, 100 * sum((variables .- x) .^ 2) + y[1])
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(y), torch(m, value.(variables))) <= 1e-6
    @test sum(value.(y)) ≈ 1 atol = 1e-6
end

@testset "What x may be: gray_box = $gray_box" for gray_box in (true, false)
    case = fixture("nets/mlp_gelu")
    m = NativeTorch.load(case.path)
    model = silent_model(Ipopt.Optimizer)
    @variable(model, -1 <= v[1:2] <= 1)
    @variable(model, fixed == 0.25)
    x = [v[1], 2v[2] - v[1] + 0.5, 0.75, v[1]]
    y, formulation = NativeTorch.add_predictor(model, m, x; gray_box)
    # A number, a sum, and a variable that stands there twice.
    @test length(formulation.variables) >= 3 + length(y)
    @objective(model, Min, (v[1] - 0.3)^2 + (v[2] + 0.2)^2 + y[1])
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(y), m(Float64[value(element) for element in x])) <= 1e-6
    # Expressions without bounds.
    z, _ = NativeTorch.add_predictor(model, m, Any[v[1]^2, sin(v[2]), fixed, 1 * v[2]]; gray_box)
    @objective(model, Max, z[2] - (v[1] - 0.1)^2)
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(z), m([value(v[1])^2, sin(value(v[2])), 0.25, value(v[2])])) <= 1e-6
end

@testset "Containers: gray_box = $gray_box" for gray_box in (true, false)
    predictor = NativeTorch.PytorchModel(fixture_path("nets", "mlp_gelu.pt"))
    x0 = [0.5, -0.25, 0.0, 1.0]
    y0 = NativeTorch.load(predictor.filename)(x0)
    model = Model()
    @variable(model, named[i in 3:6], start = x0[i-2])
    @variable(model, matrix[i in 1:2, j in 1:4], start = x0[j])
    for x in (named, view(matrix, 2, :), Vector{Any}(Array(named)))
        y, _ = NativeTorch.add_predictor(model, predictor, x; gray_box)
        @test start_value.(y) ≈ y0
        y, _ = NativeTorch.add_predictor(model, NativeTorch.build_predictor(predictor; gray_box), x)
        @test start_value.(y) ≈ y0
    end
    @test y0 ≈ start_value.(first(NativeTorch.add_predictor(model, predictor, x0; gray_box)))
end

@testset "Bounds and start values" begin
    m = NativeTorch.load(fixture_path("layers", "linear.pt"))
    n = NativeTorch.input_size(m)[end]
    for gray_box in (true, false)
        model = Model()
        @variable(model, x[1:n])
        y, _ = NativeTorch.add_predictor(model, m, x; gray_box)
        @test !any(has_lower_bound, y) && !any(has_upper_bound, y) && all(isnothing, start_value.(y))
        model = Model()
        @variable(model, -1 <= x[i in 1:n] <= i, start = i / 2)
        set_binary(x[1])
        fix(x[2], 0.125; force = true)
        x = 1 .* x
        x[3] = 2x[3] - 1
        y, _ = NativeTorch.add_predictor(model, m, x; gray_box)
        corners = [m(Float64[(0, 1)[1+(k&1)]; 0.125; ((-3, 5)[1+(k>>1&1)]); [(-1, i)[1+(k>>(i-2)&1)] for i in 4:n]])
                   for k in 0:2^(n-1)-1]
        for j in eachindex(y)
            lowest, highest = extrema(corner[j] for corner in corners)
            @test lower_bound(y[j]) ≈ lowest atol = 1e-9
            @test upper_bound(y[j]) ≈ highest atol = 1e-9
            @test lower_bound(y[j]) <= lowest && upper_bound(y[j]) >= highest
        end
        @test start_value.(y) ≈ m([0.5; 1.0; 2.0; (4:n) ./ 2])
    end
end

@testset "Images: gray_box = $gray_box" for gray_box in (true, false)
    # Two channels, an image as output: everything is H x W x C.
    case = fixture("nets/view_conv")
    m, image = NativeTorch.load(case.path), example(case)
    @test size(image) == (4, 5, 2)
    expected = vec(permutedims(from_rows(case.y, case.output_size)[1, :, :, :], (2, 3, 1)))
    model = Model()
    x = box_variables(model, image, 0.5)
    y, _ = NativeTorch.add_predictor(model, m, x; gray_box)
    @test difference(start_value.(y), expected) <= 1e-11
    y, _ = NativeTorch.add_predictor(model, m, vec(x); input_size = (4, 5, 2), gray_box)
    @test difference(start_value.(y), expected) <= 1e-11
    # One channel as a matrix, torch's order after Flatten.
    case = fixture("nets/cnn_smooth")
    m, image = NativeTorch.load(case.path), example(case)[:, :, 1]
    x = box_variables(model, image, 0.5)
    for (array, input_size) in ((x, nothing), (x, (5, 6)), (vec(x), (5, 6)), (vec(x), (5, 6, 1)))
        y, _ = NativeTorch.add_predictor(model, m, array; input_size, gray_box)
        @test difference(start_value.(y), case.y) <= 1e-11
    end
end

struct Square <: NativeTorch.AbstractPredictor end

function NativeTorch.add_predictor(model, predictor::Square, x; kwargs...)
    y = @variable(model, [1:length(x)], base_name = "square")
    constraints = @constraint(model, y .== x .^ 2)
    return y, NativeTorch.Formulation(predictor, y, constraints)
end

struct NetOfSquares <: NativeTorch.AbstractPredictor
    net::NativeTorch.AbstractPredictor
end

function NativeTorch.add_predictor(model::JuMP.AbstractModel, predictor::NetOfSquares, x::Vector; kwargs...)
    squares, _ = NativeTorch.add_predictor(model, Square(), x)
    return NativeTorch.add_predictor(model, predictor.net, squares; kwargs...)
end

struct Unfinished <: NativeTorch.AbstractPredictor end

@testset "Predictors of the user's" begin
    net = NativeTorch.build_predictor(NativeTorch.PytorchModel(fixture_path("nets", "mlp_gelu.pt")); gray_box = true)
    @test net isa NativeTorch.GrayBox && net.hessian
    model = silent_model(Ipopt.Optimizer)
    @variable(model, -1 <= x[1:4] <= 1)
    y, formulation = NativeTorch.add_predictor(model, NetOfSquares(net), x)
    @objective(model, Min, sum((x .- 0.5) .^ 2) + y[1])
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test difference(value.(y), net.model(value.(x) .^ 2)) <= 1e-6
    @test refuses(() -> NativeTorch.add_predictor(model, Unfinished(), x), NativeTorch.InvalidArgumentError,
                  "Unfinished", "define NativeTorch.add_predictor")
end

@testset "What is refused" begin
    path = fixture_path("nets", "mlp_relu.pt")
    predictor = NativeTorch.PytorchModel(path)
    model = Model()
    @variable(model, x[1:4])
    @variable(Model(), stranger)
    add(x; kwargs...) = () -> NativeTorch.add_predictor(model, predictor, x; kwargs...)
    bigm = Dict(:ReLU => NativeTorch.ReLUBigM)
    @test refuses(add(x; config = bigm), NativeTorch.InvalidArgumentError, "layer `0.1`", "[-inf, inf]", "bounds")
    @test refuses(add(x; device = "cuda"), NativeTorch.UnsupportedError, "cuda", "gray_box")
    @test refuses(add(x; device = "cuda", gray_box = true), NativeTorch.InvalidArgumentError, "cuda", "libtorch")
    @test refuses(add(x; backend = "torch", gray_box = true), NativeTorch.InvalidArgumentError, "torch", "native")
    @test refuses(add(x; bounds = :tight), NativeTorch.InvalidArgumentError, ":tight", ":linear")
    @test refuses(add(x; config = Dict(:ReLU => 1), gray_box = true), NativeTorch.UnsupportedError, "gray box")
    @test refuses(add(x; colour = 1), MethodError, "colour")
    @test refuses(add(x[1:3]; gray_box = true), NativeTorch.InvalidArgumentError, "layer `0.0`", "[3]", "input_size")
    @test refuses(add(x; input_size = (3, 2)), NativeTorch.InvalidArgumentError, "4 elements", "(3, 2)")
    @test refuses(add(x; input_size = (2, 2, 1, 1)), NativeTorch.InvalidArgumentError, "height, width, channels")
    @test refuses(add(reshape(x, 2, 2); input_size = (4, 1)), NativeTorch.InvalidArgumentError, "(2, 2)", "(4, 1)")
    @test refuses(add([x[1:3]; stranger]; gray_box = true), VariableNotOwned{VariableRef})
    @test refuses(() -> NativeTorch.add_predictor(model, "model.pt", x), NativeTorch.InvalidArgumentError, "String")
    @test refuses(() -> NativeTorch.add_predictor(model, predictor, x[1]), NativeTorch.InvalidArgumentError, "array")
    @test refuses(() -> NativeTorch.add_predictor(model, NativeTorch.PytorchModel("none.pt"), x), NativeTorch.IOError)
    skip = NativeTorch.PytorchModel(fixture_path("refused", "custom_skip.pt"))
    @test refuses(() -> NativeTorch.add_predictor(model, skip, x[1:3]), NativeTorch.UnsupportedError, "Skip")
    cnn = NativeTorch.PytorchModel(fixture_path("nets", "cnn.pt"))
    @test refuses(() -> NativeTorch.add_predictor(model, cnn, @variable(model, [1:20])), NativeTorch.InvalidArgumentError,
                  "input_size = (height, width, channels)")
    # Nothing of this has changed the model, but for the variables of the line before.
    @test num_variables(model) == 24
    @test num_constraints(model; count_variable_in_set_constraints = true) == 0
end

@testset "Printing" begin
    cd(fixture_path("layers")) do
        model = Model()
        @variable(model, -1 <= x[1:2] <= 1)
        m = NativeTorch.load("leakyrelu.pt")
        _, formulation = NativeTorch.add_predictor(model, m, x; gray_box = true)
        @test occursin(sprint(show, formulation), string(@doc NativeTorch.GrayBox))
    end
end
