# Gray boxes beyond one point: several predictors, batches, operators.

@testset "Several points as one oracle, hessian = $hessian" for hessian in (true, false)
    m = NativeTorch.load(fixture_path("nets", "mlp_tanh.pt"))
    n = NativeTorch.input_size(m)[end]
    model = silent_model(Ipopt.Optimizer)
    @variable(model, -1 <= x[1:3, i in 1:n] <= 1, start = cos(i) / 2)
    points = [x[k, :] for k in 1:3]
    ys, formulation = NativeTorch.add_predictor(model, m, points; gray_box = true, hessian)
    @test length(ys) == 3
    set = oracle(model)
    f = NativeTorch.compile(m, (n,))
    @test set.input_dimension == 3 * (f.n + f.m) && set.output_dimension == 3 * f.m
    # Blocks on the diagonal.
    block(i, size) = (i - 1) ÷ size
    @test all(((i, j),) -> j > 3n || block(i, f.m) == block(j, n), set.jacobian_structure)
    @test all(((i, j),) -> block(i, n) == block(j, n), set.hessian_lagrangian_structure)
    @test isempty(set.hessian_lagrangian_structure) == !hessian
    # Values and derivatives are those of each point.
    z, mu = randn(3 * (f.n + f.m)), randn(3 * f.m)
    values, entries = zeros(3 * f.m), zeros(length(set.jacobian_structure))
    set.eval_f(values, z)
    set.eval_jacobian(entries, z)
    J = zeros(3 * f.m, 3 * (f.n + f.m))
    foreach(((i, j), v) -> J[i, j] += v, set.jacobian_structure, entries)
    for k in 1:3
        own = z[(k-1)*n+1:k*n]
        rows = (k-1)*f.m+1:k*f.m
        @test values[rows] ≈ m(own) .- z[3n .+ rows] atol = 1e-12
        @test difference(J[rows, (k-1)*n+1:k*n], NativeTorch.jacobian(m, own)) <= 1e-12
        if hessian
            H, curvature = zeros(3n, 3n), zeros(length(set.hessian_lagrangian_structure))
            set.eval_hessian_lagrangian(curvature, z, mu)
            foreach(((i, j), v) -> H[i, j] = H[j, i] = v, set.hessian_lagrangian_structure, curvature)
            own_H = NativeTorch.hessian_lagrangian(m, own, mu[rows])
            @test difference(H[(k-1)*n+1:k*n, (k-1)*n+1:k*n], own_H) <= 1e-12
        end
    end
    @objective(model, Min, sum(sum(y .^ 2) for y in ys) + sum((x .- 0.1) .^ 2))
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test NativeTorch.formulation_error(formulation) <= 1e-6
end

@testset "Several gray boxes in one model, and points in full space" begin
    m = NativeTorch.load(fixture_path("nets", "mlp_gelu.pt"))
    model = silent_model(Ipopt.Optimizer)
    @variable(model, -1 <= x[1:4] <= 1)
    y, first_formulation = NativeTorch.add_predictor(model, m, x; gray_box = true)
    z, second_formulation = NativeTorch.add_predictor(model, m, [x[1:2]; y[1:2]]; gray_box = true)
    @objective(model, Min, z[1] + sum(x .^ 2))
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test max(NativeTorch.formulation_error(first_formulation), NativeTorch.formulation_error(second_formulation)) <= 1e-6
    @test value.(z) ≈ m([value.(x[1:2]); m(value.(x))[1:2]]) atol = 1e-5
    ys, formulation = NativeTorch.add_predictor(model, m, [x, reverse(x)])
    optimize!(model)
    @test value.(ys[2]) ≈ m(reverse(value.(x))) atol = 1e-5
    @test length(formulation.layers) == 2
end

@testset "An operator of an image has derivatives in the order of its arguments" begin
    conv = NativeTorch.load(jump_path("conv_flatten_linear"))
    parts = [conv, NativeTorch._make("Tanh"), NativeTorch._part(NativeTorch.Affine([1.0 -2.0 0.5]))]
    m = NativeTorch.Model(NativeTorch._model_chain(parts, ["a", "b", "c"]), parts, "a chain")
    model = Model()
    NativeTorch.add_operator(model, m, 24; name = :net, input_size = (3, 4, 2))
    f, gradient!, hessian! = MOI.get(model, MOI.UserDefinedFunction(:net, 24))
    x, step = sin.(1:24) ./ 2, 1e-4
    moved(i, d) = (z = copy(x); z[i] += d; z)
    g, H = zeros(24), zeros(24, 24)
    gradient!(g, x...)
    hessian!(H, x...)
    @test f(x...) ≈ only(m(as_torch(reshape(x, 3, 4, 2))))
    @test g ≈ [(f(moved(i, step)...) - f(moved(i, -step)...)) / 2step for i in 1:24] atol = 1e-6
    slope(z) = (a = zeros(24); gradient!(a, z...); a)
    full = reduce(hcat, [(slope(moved(i, step)) .- slope(moved(i, -step))) ./ 2step for i in 1:24])
    @test all(isapprox(H[i, j], full[i, j]; atol = 1e-6) for j in 1:24 for i in j:24)
end

@testset "An operator" begin
    m = NativeTorch.load(jump_path("tanh_10_50_50_1"))
    predictor = NativeTorch.PytorchModel(jump_path("tanh_10_50_50_1"))
    found = map((true, false)) do hessian
        model = silent_model(Ipopt.Optimizer)
        @variable(model, -1 <= x[i in 1:10] <= 1, start = sin(i) / 2)
        op = NativeTorch.add_operator(model, predictor, 10; name = :net, hessian)
        @objective(model, Min, op(x...) + sum(x .^ 2))
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test objective_value(model) ≈ only(m(value.(x))) + sum(value.(x) .^ 2) atol = 1e-8
        return objective_value(model)
    end
    @test found[1] ≈ found[2] atol = 1e-6
    boxed = silent_model(Ipopt.Optimizer)
    @variable(boxed, -1 <= x[i in 1:10] <= 1, start = sin(i) / 2)
    y, _ = NativeTorch.add_predictor(boxed, predictor, x; gray_box = true)
    @objective(boxed, Min, y[1] + sum(x .^ 2))
    optimize!(boxed)
    @test objective_value(boxed) ≈ found[1] atol = 1e-6
    @test refuses(() -> NativeTorch.add_operator(Model(), NativeTorch.PytorchModel(jump_path("relu_3_8_8_2")), 3),
                  NativeTorch.InvalidArgumentError, "one output", "2")
end
