# Gray boxes that libtorch evaluates, where it is there: Ipopt comes to the same points as with the native engine.

function libtorch_optimum(path, n; kwargs...)
    model = silent_model(Ipopt.Optimizer; tol = 1e-10)
    @variable(model, -1 <= x[i = 1:n] <= 1, start = sin(i) / 2)
    predictor = NativeTorch.PytorchModel(path)
    y, _ = NativeTorch.add_predictor(model, predictor, x; gray_box = true, kwargs...)
    @objective(model, Min, sum(y) + 0.1 * sum((x .- 0.2) .^ 2))
    optimize!(model)
    return is_solved_and_feasible(model), value.(x), objective_value(model)
end

@testset Counted "Ipopt on libtorch" begin
    for (path, n) in ((fixture_path("nets", "mlp_tanh.pt"), 10), (fixture_path("nets", "mlp_gelu.pt"), nothing))
        n = n === nothing ? prod(NativeTorch.compile(NativeTorch.load(path)).inputs[1].size) : n
        native = libtorch_optimum(path, n)
        libtorch = libtorch_optimum(path, n; backend = "libtorch", device = "cpu")
        @test native[1] && libtorch[1]
        @test difference(libtorch[2], native[2]) <= 1e-6
        @test abs(libtorch[3] - native[3]) <= 1e-8
    end
end

@testset Counted "A gray box that the native engine cannot evaluate" begin
    m = NativeTorch.load(fixture_path("foreign", "special.pt2"))
    start = [0.3 * sin(i + 2j) for i in 1:2, j in 1:3]
    values = map((true, false)) do hessian
        model = silent_model(Ipopt.Optimizer; tol = 1e-10)
        x = [@variable(model, lower_bound = -1, upper_bound = 1, start = start[i, j]) for i in 1:2, j in 1:3]
        y, formulation = NativeTorch.add_predictor(
            model, m, vec(permutedims(x)); gray_box = true, backend = "libtorch", hessian = hessian)
        @objective(model, Min, sum(y .^ 2) + sum(x .^ 2))
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test NativeTorch.formulation_error(formulation) <= 1e-8
        @test difference(value.(y), vec(permutedims(m(value.(x); backend = "libtorch")))) <= 1e-8
        objective_value(model)
    end
    @test abs(values[1] - values[2]) <= 1e-6
end
