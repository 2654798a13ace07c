# Bounds: by four methods, alone and in JuMP models, with the user's optimizer, from affine rows, over workers.

import Distributed

binaries(model) = num_constraints(model, VariableRef, MOI.ZeroOne)
width(row) = sum(row.upper .- row.lower)

@testset "Bounds of a network" begin
    m, path = NativeTorch.load(jump_path("relu_3_8_8_2")), jump_path("relu_3_8_8_2")
    found = Dict(method => NativeTorch.network_bounds(path, (-1, 1); method) for method in (:interval, :linear, :lp, :mip))
    samples = [m(2 .* rand(3) .- 1) for _ in 1:2000]
    for rows in values(found)
        @test length(rows) == 6 && rows[1].operation == "" && size(rows[end].lower) == (1, 2)
        for y in samples
            @test all(vec(rows[end].lower) .<= y .<= vec(rows[end].upper))
        end
    end
    for (loose, tight) in [(:interval, :linear), (:linear, :lp), (:lp, :mip)], k in 1:6
        @test width(found[tight][k]) <= width(found[loose][k]) + 1e-5
    end
    @test width(found[:mip][end]) < width(found[:interval][end])
    # The box by arrays, also of images.
    same = NativeTorch.network_bounds(m, (fill(-1.0, 1, 3), fill(1.0, 1, 3)))
    @test same[end].lower == found[:linear][end].lower
    conv = NativeTorch.network_bounds(jump_path("pools"), (zeros(1, 1, 6, 5), ones(1, 1, 6, 5)); method = :interval)
    @test size(conv[1].lower) == (1, 1, 6, 5)
    @test refuses(() -> NativeTorch.network_bounds(m, (-1, 1); method = :tight), NativeTorch.InvalidArgumentError, ":tight", ":linear")
    @test refuses(() -> NativeTorch.network_bounds(m, (1, -1)), NativeTorch.InvalidArgumentError)
    @test refuses(() -> NativeTorch.network_bounds(m, (-1, 1); time_limit = 0), NativeTorch.InvalidArgumentError, "time_limit")
end

@testset "Bounds by the user's optimizer: $method" for method in (:lp, :mip)
    m = NativeTorch.load(jump_path("relu_3_8_8_2"))
    own = NativeTorch.network_bounds(m, (-1, 1); method)
    theirs = NativeTorch.network_bounds(m, (-1, 1); method, optimizer = HiGHS.Optimizer)
    for (a, b) in zip(own, theirs)
        @test a.lower ≈ b.lower atol = 1e-4
        @test a.upper ≈ b.upper atol = 1e-4
    end
    # An optimizer that fails is the caller's error, and comes out as it is.
    @test refuses(() -> NativeTorch.network_bounds(m, (-1, 1); method, optimizer = () -> error("no licence")), ErrorException, "no licence")
end

@testset "Progress" begin
    m, io = NativeTorch.load(jump_path("relu_3_8_8_2")), IOBuffer()
    size, lower, upper = NativeTorch._box(m, (-1, 1))
    NativeTorch._find_bounds(m, size, lower, upper, :lp; progress = NativeTorch._progress_bar(io))
    text = String(take!(io))
    @test occursin("LP [", text) && occursin("layer `2`", text)
end

@testset "Tighter bounds make fewer binaries and the same optimum" begin
    predictor = NativeTorch.PytorchModel(jump_path("relu_10_50_50_1"))
    found = map((:interval, :linear, :lp)) do bounds
        model = silent_model(HiGHS.Optimizer)
        @variable(model, -0.05 <= x[1:10] <= 0.15)
        y, formulation = NativeTorch.add_predictor(model, predictor, x; bounds)
        @objective(model, Min, y[1])
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test NativeTorch.formulation_error(formulation) <= 1e-6
        return binaries(model), objective_value(model)
    end
    @test found[1][1] >= found[2][1] >= found[3][1]
    @test found[1][1] > found[3][1]
    @test all(entry -> isapprox(entry[2], found[1][2]; atol = 1e-5), found)
end

@testset "Bounds come from affine rows: $bounds" for bounds in (:interval, :linear, :lp)
    affine = NativeTorch.Pipeline(NativeTorch.Affine([1.0 1.0], [-1.0]), NativeTorch.ReLUBigM())
    model = silent_model(HiGHS.Optimizer)
    @variable(model, 0 <= x[1:2])
    @constraint(model, x[1] + x[2] <= 0.9)
    y, _ = NativeTorch.add_predictor(model, affine, x; bounds)
    # Bounds of x follow from the row; that the sum stays below 1 is found by linear programs.
    @test (binaries(model) == 0) == (bounds === :lp)
    @objective(model, Max, y[1])
    optimize!(model)
    @test abs(objective_value(model)) <= 1e-6
    # Rows of networks that were added before are no rows of the inputs.
    z, _ = NativeTorch.add_predictor(model, affine, x; bounds)
    @test length(z) == 1
end

@testset "Rows that stand in one constraint give bounds: $what" for (what, add!) in [
    ("below", (model, x) -> (@constraint(model, 2x .- 1 in MOI.Nonpositives(2)); @constraint(model, x in MOI.Nonnegatives(2)))),
    ("both sides", (model, x) -> @constraint(model, x in MOI.HyperRectangle([0.0, 0.0], [0.5, 0.5]))),
    ("equal", (model, x) -> (@constraint(model, x .- [0.0, 0.5] in MOI.Zeros(2)))),
]
    model = Model()
    @variable(model, x[1:2])
    add!(model, x)
    y, _ = NativeTorch.add_predictor(model, NativeTorch.Affine([1.0 1.0]), x)
    @test lower_bound(y[1]) ≈ (what == "equal" ? 0.5 : 0.0) atol = 1e-9
    @test upper_bound(y[1]) ≈ (what == "equal" ? 0.5 : 1.0) atol = 1e-9
end

@testset "Bounds of expressions and rows hold exactly" begin
    jump = Base.get_extension(NativeTorch, :NativeTorchJuMPExt)
    exact(value) = setprecision(() -> BigFloat(value), 300)
    for k in 1:200
        a, u = randn(5), rand(5)
        model = Model()
        @variable(model, 0 <= x[i = 1:5] <= u[i])
        sum_of = jump._bounds(sum(a .* x), jump._known_bounds(model))
        @test sum_of[1] <= sum(exact.(min.(a, 0)) .* exact.(u)) && sum(exact.(max.(a, 0)) .* exact.(u)) <= sum_of[2]
        square = jump._bounds(x[1] * x[2] + x[3] * x[4], jump._known_bounds(model))
        @test exact(u[1]) * exact(u[2]) + exact(u[3]) * exact(u[4]) <= square[2]
        @variable(model, -u[2] <= w <= u[2])
        @test jump._bounds(@expression(model, tanh(w)), jump._known_bounds(model))[1] <= tanh(-exact(u[2]))
        # A row that alone bounds a variable, by large terms whose sum is small.
        @variable(model, 1e6 + u[i] <= far[i = 1:4] <= 1e6 + 1)
        @variable(model, free)
        @constraint(model, free + sum(a[1:4] .* far) <= u[5])
        least(a, v) = exact(a) * exact(a > 0 ? lower_bound(v) : upper_bound(v))
        most = exact(u[5]) - sum(least.(a[1:4], far))
        @test most <= jump._bounds(free, jump._known_bounds(model))[2] <= most + 1e-6
    end
end

@testset "Rows with other variables bound the inputs by what these leave" begin
    model = silent_model(HiGHS.Optimizer)
    @variable(model, 0 <= x[1:2] <= 1)
    @variable(model, 0.5 <= other <= 1)
    @constraint(model, x[1] + x[2] + other <= 1.5)
    pipeline = NativeTorch.Pipeline(NativeTorch.Affine([1.0 1.0], [-0.9]), NativeTorch.ReLUBigM())
    y, _ = NativeTorch.add_predictor(model, pipeline, x; bounds = :lp)
    @objective(model, Max, y[1])
    optimize!(model)
    @test objective_value(model) ≈ 0.1 atol = 1e-6
end

@testset "An optimizer that gives up leaves the bounds that were known" begin
    m = NativeTorch.load(jump_path("relu_3_8_8_2"))
    idle = optimizer_with_attributes(HiGHS.Optimizer, "simplex_iteration_limit" => 0, "presolve" => "off")
    known = NativeTorch.network_bounds(m, (-1, 1))
    found = NativeTorch.network_bounds(m, (-1, 1); method = :lp, optimizer = idle)
    @test all(((a, b),) -> a.lower == b.lower && a.upper == b.upper, zip(known, found))
end

@testset "Bounds over two workers" begin
    workers = Distributed.addprocs(2)
    try
        Distributed.remotecall_eval(Main, workers, :(import JuMP, HiGHS, NativeTorch))
        m = NativeTorch.load(jump_path("relu_3_8_8_2"))
        shared = NativeTorch.network_bounds(m, (-1, 1); method = :lp, optimizer = HiGHS.Optimizer)
        own = NativeTorch.network_bounds(m, (-1, 1); method = :lp)
        @test all(((a, b),) -> isapprox(a.lower, b.lower; atol = 1e-4) && isapprox(a.upper, b.upper; atol = 1e-4), zip(shared, own))
    finally
        Distributed.rmprocs(workers)
    end
end
