# Formulations of kinks, each checked three ways: y fixed by x is the forward pass; the range of y agrees with that of another
# exact formulation and brackets samples.

const SMALL = "relu_3_8_8_2"

EXACT_MIP = [
    "big-M" => NativeTorch.ReLUBigM,
    "big-M with a number" => () -> NativeTorch.ReLUBigM(100.0),
    "SOS1" => NativeTorch.ReLUSOS1,
    "indicator" => NativeTorch.ReLUIndicator,
    "partition 1" => () -> NativeTorch.ReLUPartition(1),
    "partition 2" => () -> NativeTorch.ReLUPartition(2),
    "partition 8" => () -> NativeTorch.ReLUPartition(8),
]

function add_small(optimizer, relu, box = (-1.0, 1.0); kwargs...)
    model = silent_model(optimizer)
    @variable(model, box[1] <= x[1:3] <= box[2], start = 0.1)
    config = Dict(:ReLU => relu)
    y, formulation = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(jump_path(SMALL)), x; config, kwargs...)
    return model, x, y, formulation
end

# The smallest and the largest value of an output.
function range_of(model, y)
    return map((MIN_SENSE, MAX_SENSE)) do sense
        @objective(model, sense, y)
        optimize!(model)
        @test is_solved_and_feasible(model)
        return objective_value(model)
    end
end

sampled(m, n, count = 10_000) = m([2 .* rand(n) .- 1 for _ in 1:count])

@testset "Exact for fixed inputs: $name" for (name, relu) in EXACT_MIP
    case = jump_case(SMALL)
    model, x, y, formulation = add_small(HiGHS.Optimizer, relu, (-4.0, 4.0))
    for (point, expected) in zip(case.x, case.y)
        fix.(x, point; force = true)
        @objective(model, Max, y[1])
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test value.(y) ≈ expected atol = 1e-6
        @test NativeTorch.formulation_error(formulation) <= 1e-6
    end
end

@testset "The range of y: $name" for (name, relu) in EXACT_MIP
    m = NativeTorch.load(jump_path(SMALL))
    model, x, y, _ = add_small(HiGHS.Optimizer, relu)
    reference, _, z, _ = add_small(HiGHS.Optimizer, NativeTorch.ReLUBigM)
    values = sampled(m, 3)
    for j in 1:2
        found = range_of(model, y[j])
        @test all(isapprox.(found, range_of(reference, z[j]); atol = 1e-5))
        lowest, highest = extrema(value[j] for value in values)
        @test found[1] <= lowest + 1e-6 && highest <= found[2] + 1e-6
    end
end

@testset "Nonlinear forms for fixed inputs: $name" for (name, relu) in [
    "nonlinear" => NativeTorch.ReLU,
    "quadratic" => NativeTorch.ReLUQuadratic,
]
    case = jump_case(SMALL)
    model, x, y, formulation = add_small(Ipopt.Optimizer, relu, (-4.0, 4.0))
    for (point, expected) in zip(case.x, case.y)
        fix.(x, point; force = true)
        set_start_value.(all_variables(model), nothing)
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test value.(y) ≈ expected atol = 1e-3
        @test NativeTorch.formulation_error(formulation) <= 1e-3
    end
end

# The best of local optima from several starts.
function best_of(model, x, y, sense)
    @objective(model, sense, y)
    found = Float64[]
    for _ in 1:20
        set_start_value.(x, 2 .* rand(3) .- 1)
        optimize!(model)
        is_solved_and_feasible(model) && push!(found, objective_value(model))
    end
    return sense == MIN_SENSE ? minimum(found) : maximum(found)
end

@testset "The range of y by products" begin
    relaxed() = NativeTorch.ReLUQuadratic(; relaxation_parameter = 1e-6)
    model, x, y, _ = add_small(Ipopt.Optimizer, relaxed)
    reference, _, z, _ = add_small(HiGHS.Optimizer, NativeTorch.ReLUBigM)
    values = sampled(NativeTorch.load(jump_path(SMALL)), 3)
    lowest, highest = range_of(reference, z[1])
    # Local solvers find points of the range, and its ends but for what the relaxation adds.
    @test lowest - 1e-2 <= best_of(model, x, y[1], MIN_SENSE) <= minimum(first, values) + 1e-2
    @test maximum(first, values) - 1e-2 <= best_of(model, x, y[1], MAX_SENSE) <= highest + 1e-2
end

@testset "Complementarity holds at the forward pass and nowhere else" begin
    model, x, y, _ = add_small(nothing, NativeTorch.ReLUComplementarity)
    m = NativeTorch.load(jump_path(SMALL))
    rows = all_constraints(model, Vector{VariableRef}, MOI.Complements)
    @test !isempty(rows)
    for row in rows
        pair = constraint_object(row).func
        @test all(lower_bound.(pair) .== 0)
        @test minimum(start_value.(pair)) == 0
    end
    @test start_value.(y) ≈ m(fill(0.1, 3))
end

@testset "Epigraphs are exact where the objective presses" begin
    # Positive weights behind the first layer: a convex function.
    layers(relu) = (NativeTorch.Affine([1.0 -2.0; -1.5 0.5; 0.3 0.4], [0.1, -0.2, 0.3]), relu(), NativeTorch.Affine([1.0 2.0 0.5]))
    optima = map((NativeTorch.ReLUEpigraph, NativeTorch.ReLUBigM)) do relu
        model = silent_model(HiGHS.Optimizer)
        @variable(model, -1 <= x[1:2] <= 1)
        y, formulation = NativeTorch.add_predictor(model, NativeTorch.Pipeline(layers(relu)...), x)
        @test (num_constraints(model, VariableRef, MOI.ZeroOne) == 0) == (relu === NativeTorch.ReLUEpigraph)
        @objective(model, Min, y[1] + 0.3x[1])
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test NativeTorch.formulation_error(formulation) <= 1e-6
        return objective_value(model)
    end
    @test optima[1] ≈ optima[2] atol = 1e-6
end

@testset "Softplus: $name" for (name, softplus, optimizer, tolerance) in [
    ("nonlinear", NativeTorch.SoftPlus, Ipopt.Optimizer, 1e-6),
    ("epigraph", NativeTorch.SoftPlusEpigraph, Ipopt.Optimizer, 1e-6),
    ("cones", NativeTorch.SoftPlusConicEpigraph, SCS.Optimizer, 1e-3),
]
    for beta in (1.0, 0.2)
        model = silent_model(optimizer)
        @variable(model, -3 <= x[1:2] <= 2)
        y, formulation = NativeTorch.add_predictor(model, softplus(; beta), x)
        # The upper bound does not cut off the epigraph's points.
        @constraint(model, x[1] == 1.5)
        @objective(model, Min, sum(y) - 0.4x[2])
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test value.(y) ≈ log1p.(exp.(beta .* value.(x))) ./ beta atol = tolerance
        @test NativeTorch.formulation_error(formulation) <= tolerance
    end
end

@testset "Max pools: $name" for (name, config, optimizer) in [
    ("by default", Dict(), HiGHS.Optimizer),
    ("big-M", Dict(:MaxPool2d => (k; kwargs...) -> NativeTorch.MaxPool2dBigM(k; M = 100.0, kwargs...)), HiGHS.Optimizer),
    ("pairwise", Dict(:MaxPool2d => NativeTorch.MaxPool2dPairwise), HiGHS.Optimizer),
    ("SOS1", Dict(:MaxPool2d => (k; kwargs...) -> NativeTorch.MaxPool2d(k; relu = NativeTorch.ReLUSOS1(), kwargs...)), HiGHS.Optimizer),
    ("partition", Dict(:MaxPool2d => (k; kwargs...) -> NativeTorch.MaxPool2d(k; relu = NativeTorch.ReLUPartition(2), kwargs...)), HiGHS.Optimizer),
    ("nonlinear", Dict(:MaxPool2d => NativeTorch.MaxPool2d), Ipopt.Optimizer),
]
    m, case = NativeTorch.load(jump_path("pools")), jump_case("pools")
    for (point, expected) in zip(case.x, case.y)
        image = as_image(point)
        model = silent_model(optimizer)
        x = box_variables(model, image, 0.5)
        y, formulation = NativeTorch.add_predictor(model, m, x; config)
        fix.(x, image; force = true)
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test value.(y) ≈ vec(as_image(expected)) atol = 1e-6
    end
end

@testset "The range of a maximum, in all forms" begin
    forms = [
        NativeTorch.MaxPool2dBigM((1, 3)), NativeTorch.MaxPool2dBigM((1, 3); M = 10.0), NativeTorch.MaxPool2dPairwise((1, 3)),
        (NativeTorch.MaxPool2d((1, 3); relu) for relu in (NativeTorch.ReLUSOS1(), NativeTorch.ReLUIndicator(), NativeTorch.ReLUPartition(1)))...,
    ]
    for pool in forms
        model = silent_model(HiGHS.Optimizer)
        @variable(model, -1 <= x[1:1, 1:3] <= 2)
        y, _ = NativeTorch.add_predictor(model, pool, x)
        # Three binaries of one choice, two of pairs.
        pool isa NativeTorch.MaxPool2dPairwise && @test num_constraints(model, VariableRef, MOI.ZeroOne) == 2
        for (objective, expected) in ((y[1], (-1, 2)), (y[1] - x[1, 1] - 0.5x[1, 2], (-1, 3.5)))
            @test all(isapprox.(range_of(model, objective), expected; atol = 1e-6))
        end
    end
    @test refuses(() -> NativeTorch.MaxPool2dBigM(2; M = 0), NativeTorch.InvalidArgumentError, "M is 0")
end

@testset "Hardswish between its kinks is a square" begin
    m = NativeTorch.load(fixture_path("layers", "hardswish.pt"))
    n = 3
    model = silent_model(Ipopt.Optimizer)
    @variable(model, -1 <= x[1:n] <= 1)
    y, _ = NativeTorch.add_predictor(model, m, x; config = Dict(:ReLU => NativeTorch.ReLUBigM))
    @test num_constraints(model, QuadExpr, MOI.EqualTo{Float64}) == n
    @constraint(model, x .== sin.(1:n))
    optimize!(model)
    @test value.(y) ≈ sin.(1:n) .* (sin.(1:n) .+ 3) ./ 6 atol = 1e-6
end

@testset "LeakyReLU takes the form of ReLU" begin
    for relu in (NativeTorch.ReLUSOS1, NativeTorch.ReLUIndicator, () -> NativeTorch.ReLUBigM(50.0))
        model = silent_model(HiGHS.Optimizer)
        @variable(model, -1 <= x[1:2] <= 1)
        m = NativeTorch.load(fixture_path("layers", "leakyrelu.pt"))
        y, _ = NativeTorch.add_predictor(model, m, x; config = Dict(:ReLU => relu))
        fix.(x, [-0.5, 0.75]; force = true)
        optimize!(model)
        @test value.(y) ≈ m([-0.5, 0.75]) atol = 1e-7
    end
end
