# The binding against what torch computed, in and out of place; errors; memory; printing.

const N = NativeTorch
const DIGITS = joinpath(ROOT, "docs", "examples", "digits", "digits.pt")

@testset "torch's values and derivatives: $(case.name)" for case in fixtures()
    tolerance = startswith(case.name, "layers/") ? 1e-12 : 1e-11
    m = N.load(case.path)
    x, y = from_rows(case.x, case.input_size), from_rows(case.y, case.output_size)
    n, p = length(case.x), length(case.y)
    J, H = from_rows(case.jacobian, (p, n)), from_rows(case.hessian, (n, n))
    close(a, b) = difference(a, b) <= tolerance

    @test close(m(x), y)
    @test close(N.jacobian(m, x), J)
    @test close(N.hessian_lagrangian(m, x, case.mu), H)
    @test close(N.hessian_lagrangian(m, x, from_rows(case.mu, case.output_size)), H)
    # Arrays of torch's size give such arrays, other vectors give vectors.
    for v in (case.v, from_rows(case.v, case.input_size))
        jvp, hvp = N.jvp(m, x, v), N.hvp(m, x, case.mu, v)
        like_torch = size(v) == case.input_size
        @test close(jvp, like_torch ? from_rows(case.jvp, case.output_size) : case.jvp)
        @test close(hvp, like_torch ? from_rows(case.hvp, case.input_size) : case.hvp)
    end
    for u in (case.u, from_rows(case.u, case.output_size))
        like_torch = size(u) == case.output_size
        @test close(N.vjp(m, x, u), like_torch ? from_rows(case.vjp, case.input_size) : case.vjp)
    end

    single = m(x; dtype = Float32)
    @test eltype(single) == Float32
    # Single precision has other rounding than torch's, in another order.
    @test difference(single, from_rows(case.y_f32, case.output_size)) <= 1e-4

    f = N.compile(m, case.input_size)
    workspace = N.Workspace(f)
    rows, columns = N.jacobian_pattern(f)
    @test issorted(collect(zip(rows, columns)))
    values = zeros(length(rows))
    N.jacobian_values!(values, f, workspace, case.x)
    dense = zeros(p, n)
    foreach((i, j, value) -> dense[i, j] = value, rows, columns, values)
    @test close(dense, J)
    rows, columns = N.hessian_lagrangian_pattern(f)
    values = zeros(length(rows))
    N.hessian_lagrangian_values!(values, f, workspace, case.x, case.mu)
    dense = zeros(n, n)
    foreach((i, j, value) -> dense[i, j] = dense[j, i] = value, rows, columns, values)
    @test all(rows .>= columns) && close(dense, H)
end

@testset "K points at once" begin
    m = N.load(fixture_path("nets", "cnn_smooth.pt"))
    shape = fixture("nets/cnn_smooth").input_size
    xs = [sin.(k .+ reshape(1:prod(shape), shape)) for k in 1:3]
    ys = m(xs)
    # Products over several points are summed in another order.
    close(as, bs) = length(as) == length(bs) && all(difference(a, b) <= 1e-13 for (a, b) in zip(as, bs))
    @test close(ys, [m(x) for x in xs])
    @test close(N.jacobian(m, xs), [N.jacobian(m, x) for x in xs])
    @test close(N.vjp(m, xs, ys), [N.vjp(m, x, y) for (x, y) in zip(xs, ys)])
    @test close(N.jvp(m, xs, xs), [N.jvp(m, x, x) for x in xs])
    @test close(N.hessian_lagrangian(m, xs, ys), [N.hessian_lagrangian(m, x, y) for (x, y) in zip(xs, ys)])
    @test close(N.hvp(m, xs, ys, xs), [N.hvp(m, x, y, x) for (x, y) in zip(xs, ys)])
    @test m([xs[1]]) == [m(xs[1])]

    f = N.compile(m, shape)
    workspace = N.Workspace(f)
    X = randn(f.n, 4)
    J, H, mu = zeros(f.m, f.n, 4), zeros(f.n, f.n, 4), randn(f.m, 4)
    N.jacobian!(J, f, workspace, X)
    N.hessian_lagrangian!(H, f, workspace, X, mu)
    for k in 1:4
        @test difference(J[:, :, k], N.jacobian!(zeros(f.m, f.n), f, workspace, X[:, k])) <= 1e-13
        @test difference(H[:, :, k], N.hessian_lagrangian!(zeros(f.n, f.n), f, workspace, X[:, k], mu[:, k])) <= 1e-13
    end

    # Threads change nothing but the time.
    four = N.Workspace(f; threads = 4)
    @test N.jacobian!(zeros(f.m, f.n, 4), f, four, X) == J
    @test N.hessian_lagrangian!(zeros(f.n, f.n, 4), f, four, X, mu) == H
    @test m(xs; threads = 3) == ys
    @test N.hessian_lagrangian(m, xs, ys; threads = 2) == N.hessian_lagrangian(m, xs, ys)
    @test_throws N.InvalidArgumentError N.Workspace(f; threads = 0)
    @test_throws N.InvalidArgumentError m(xs; threads = -1)
end

@testset "Arguments of other kinds" begin
    m = N.load(DIGITS)
    x = rand(0:1, 64)
    @test m(x) == m(Float64.(x)) == m(Float32.(x)) == m(view(Float64.(x), 1:64)) == m(x .// 1)
    @test m(reshape(x, 1, 64)) == reshape(m(x), 1, 10)
    @test m(transpose(x)) == reshape(m(x), 1, 10)
    @test size(m(rand(5, 64))) == (5, 10)
    @test size(N.jacobian(m, rand(2, 64))) == (20, 128)
    @test N.jacobian(m, x; dtype = Float32) isa Matrix{Float32}
    @test N.hvp(m, x, ones(10), x; dtype = Float32) isa Vector{Float32}
    # Contiguous parts of larger arrays serve in place.
    f = N.compile(m, (64,))
    workspace = N.Workspace(f)
    X, Y = rand(64, 3), zeros(30)
    N.value!(view(Y, 11:20), f, workspace, X[:, 2])
    @test Y[11:20] == m(X[:, 2]) && all(iszero, Y[[1:10; 21:30]])
    # A workspace compares points by value: what changes in place is seen.
    point, y = X[:, 1], zeros(10)
    N.value!(y, f, workspace, point)
    point[1] += 1
    @test N.value!(y, f, workspace, point) == m(point)
end

@testset "Compiled functions" begin
    m = N.load(DIGITS)
    f = N.compile(m)
    @test (f.n, f.m, f.dtype) == (64, 10, Float64)
    @test only(f.inputs).size == (1, 64) && only(f.outputs).size == (1, 10)
    @test N.compile(m, (1, 64)) === f === N.compile(m, [1, 64]) === N.compile(m)
    @test N.compile(m, (1, 64); dtype = Float32) !== f
    @test N.compile(m; dtype = Float32).dtype == Float32
    @test isempty(N.hessian_lagrangian_pattern(f)[1])
    @test length(N.jacobian_pattern(f)[1]) == 640
    @test N.input_size(m) == [nothing, 64]
    @test N.verify(m) === nothing
end

@testset "Several inputs, integers: $name" for name in Json.read_file(fixture_path("inputs", "index.json"))
    torch = Json.read_file(fixture_path("inputs", "$name.json"))
    numbers(key) = Float64[value for value in torch[key]]
    sizes = [Int[n for n in size] for size in torch["shapes"]]
    integers = Int[value for value in torch["integers"]]
    m = N.load(fixture_path("inputs", "$name.pt"))
    given = isempty(integers) ? nothing : integers
    @test [input.integer for input in N.inputs(m)] == (given === nothing ? [false, false] : [true])
    f = N.compile(m, Tuple(map(Tuple, sizes)); integers = given)
    x, mu, workspace = numbers("x"), numbers("mu"), N.Workspace(f)
    close(a, key) = isempty(a) ? isempty(torch[key]) : difference(a, numbers(key)) <= 1e-12
    @test (f.n, f.m) == (length(x), length(mu))
    @test close(N.value!(zeros(f.m), f, workspace, x), "y")
    @test close(vec(permutedims(N.jacobian!(zeros(f.m, f.n), f, workspace, x))), "jacobian")
    @test close(vec(N.hessian_lagrangian!(zeros(f.n, f.n), f, workspace, x, mu)), "hessian")
    again = N.compile(m, sizes; integers = given)
    @test N.value!(zeros(f.m), again, N.Workspace(again), x) == N.value!(zeros(f.m), f, workspace, x)
    # Integers without others may come with the one size.
    if given !== nothing
        one = N.compile(m, Tuple(sizes[1]); integers = Int32.(integers), dtype = Float32)
        @test difference(N.value!(zeros(f.m), one, N.Workspace(one), x), numbers("y")) <= 1e-6
    end
end

@testset "Wrong inputs" begin
    embedding, bilinear = N.load(fixture_path("inputs", "embedding.pt")), N.load(fixture_path("inputs", "bilinear.pt"))
    wrong(words...; integers) = refuses(() -> N.compile(embedding, (2,); integers = integers), N.InvalidArgumentError, words...)
    @test wrong("1 integers were given, but 2 are expected"; integers = [0])
    @test wrong("index 1 is -1", "rows 0 to"; integers = [0, -1])
    @test wrong("index 0 is 16777217"; integers = [2^24 + 1, 0])
    @test wrong("Float64"; integers = [1.0, 2.0])
    @test refuses(() -> N.compile(embedding, (2,)), N.InvalidArgumentError, "`input` holds integers")
    @test refuses(() -> N.compile(bilinear, ((2, 3),)), N.InvalidArgumentError, "has 2 inputs, but 1")
    @test refuses(() -> N.compile(bilinear, ((2, -3), (2, 3))), N.InvalidArgumentError, "-3")
    @test [(input.name, input.size[1]) for input in N.inputs(bilinear)] == [("input1", nothing), ("input2", nothing)]
    @test only(N.inputs(embedding)).size === nothing
    @test length(N.compile(bilinear).inputs) == 2
end

# In a function of its own, so that nothing but the call can allocate.
function allocations(f, workspace, x, y, mu, J, H, values, out, longer)
    return [
        @allocated(N.value!(y, f, workspace, x)),
        @allocated(N.jacobian!(J, f, workspace, x)),
        @allocated(N.hessian_lagrangian!(H, f, workspace, x, mu)),
        @allocated(N.hessian_lagrangian_values!(values, f, workspace, x, mu)),
        @allocated(N.jvp!(y, f, workspace, x, out)),
        @allocated(N.vjp!(out, f, workspace, x, mu)),
        @allocated(N.hvp!(out, f, workspace, x, mu, x)),
        @allocated(N.value!(view(longer, 2:length(y)+1), f, workspace, x)),
    ]
end

@testset "Nothing is allocated: $name" for name in ["mlp_tanh", "cnn_smooth", "mlp_relu"], dtype in [Float64, Float32]
    case = fixture("nets/$name")
    f = N.compile(N.load(case.path), case.input_size; dtype = dtype)
    arguments = (f, N.Workspace(f), case.x, zeros(f.m), case.mu, zeros(f.m, f.n), zeros(f.n, f.n),
                 zeros(length(N.hessian_lagrangian_pattern(f)[1])), zeros(f.n), zeros(f.m + 2))
    allocations(arguments...)
    @test allocations(arguments...) == zeros(Int, 8)
end

@testset "Errors" begin
    m = N.load(DIGITS)
    @test refuses(() -> N.load("no such file.pt"), N.IOError, "no such file.pt")
    @test refuses(() -> N.load(ROOT), N.IOError, ROOT)
    @test refuses(() -> N.load(joinpath(ROOT, "README.md")), N.FormatError, "zip")
    @test refuses(() -> N.load("a\0b"), ArgumentError)
    @test refuses(() -> N.load(fixture_path("refused", "state_dict.pt")), N.UnsupportedError, "state_dict", "torch.save(model")
    @test refuses(() -> m(zeros(3)), N.InvalidArgumentError, "layer `0`", "64")
    @test refuses(() -> m(Vector{Float64}[]), N.InvalidArgumentError, "no input")
    @test refuses(() -> m([zeros(64), zeros(1, 64)]), N.InvalidArgumentError, "(64,), (1, 64)")
    @test refuses(() -> m(zeros(64); dtype = Float16), N.InvalidArgumentError, "Float16", "Float32")
    @test refuses(() -> N.compile(m, (-1, 64)), N.InvalidArgumentError, "-1")
    @test refuses(() -> N.vjp(m, zeros(1, 64), zeros(9)), N.InvalidArgumentError, "(9,)", "(1, 10)")
    @test refuses(() -> N.jvp(m, zeros(64), zeros(64, 1)), N.InvalidArgumentError, "(64, 1)")
    @test refuses(() -> N.vjp(m, [zeros(64)], [zeros(10), zeros(10)]), N.InvalidArgumentError, "2 arrays", "1 inputs")
    @test refuses(() -> N.hessian_lagrangian(m, zeros(64), ones(11)), N.InvalidArgumentError, "mu", "(11,)")
    custom = N.load(fixture_path("refused", "custom_skip.pt"))
    @test refuses(() -> custom(zeros(3)), N.UnsupportedError, "Skip")
    @test occursin("not supported", sprint(show, MIME"text/plain"(), custom))
    cnn = N.load(fixture_path("nets", "cnn.pt"))
    @test refuses(() -> N.compile(cnn), N.InvalidArgumentError, "layer `0`")

    f = N.compile(m)
    workspace, x, y, J = N.Workspace(f), zeros(64), zeros(10), zeros(10, 64)
    @test refuses(() -> N.value!(y, f, workspace, zeros(63)), N.InvalidArgumentError, "(63,)", "(64,)")
    @test refuses(() -> N.value!(y, f, workspace, zeros(1, 64)), N.InvalidArgumentError, "(1, 64)")
    @test refuses(() -> N.value!(zeros(9), f, workspace, x), N.InvalidArgumentError, "y", "(9,)", "(10,)")
    @test refuses(() -> N.jacobian!(zeros(64, 10), f, workspace, x), N.InvalidArgumentError, "(64, 10)", "(10, 64)")
    @test refuses(() -> N.jacobian_values!(zeros(3), f, workspace, x), N.InvalidArgumentError, "3", "640")
    @test refuses(() -> N.hvp!(x, f, workspace, x, y, x), N.InvalidArgumentError, "overlap")
    other = N.compile(m, (2, 64))
    @test refuses(() -> N.value!(zeros(20), other, workspace, zeros(128)), N.InvalidArgumentError, "another function")
    @test refuses(N._check_panic, N.InternalError, "defect")
    # After errors all goes on.
    @test N.value!(y, f, workspace, x) == vec(m(zeros(1, 64)))
    @test all(type -> type <: N.Error <: Exception, [N.IOError, N.FormatError, N.UnsupportedError, N.LibraryError])
end

@testset "Damaged and hostile files" begin
    for case in Json.read_file(fixture_path("hostile", "index.json"))
        path = fixture_path("hostile", case["file"])
        use() = (m = N.load(path); N.verify(m); N.compile(m))
        type, message = thrown(use)
        @test type == Nothing || (type <: N.Error && type != N.InternalError && length(message) < 2000)
    end
end

@testset "Finalizers" begin
    m = N.load(DIGITS)
    x = rand(64)
    y = m(x)
    for k in 1:30
        f = N.compile(N.load(DIGITS), (64,))
        workspace = N.Workspace(f)
        k % 3 == 0 && GC.gc(k % 2 == 0)
        @test N.value!(zeros(10), f, workspace, x) == y
        # Freed in any order, more than once.
        k % 5 == 0 && (finalize(f); finalize(workspace); finalize(workspace))
    end
    f = N.compile(m, (64,))
    workspace = N.Workspace(f)
    finalize(workspace)
    @test refuses(() -> N.value!(zeros(10), f, workspace, x), N.InvalidArgumentError, "workspace is NULL")
    GC.gc()
    @test m(x) == y
end

@testset "Printing" begin
    cd(dirname(DIGITS)) do
        m = N.load("digits.pt")
        @test sprint(show, m) == "NativeTorch.Model(\"digits.pt\")"
        @test sprint(show, MIME"text/plain"(), m) == """
        NativeTorch.Model digits.pt, 1210 parameters, input [any, 64]
          layer    parameters  class
          (model)              Sequential()
          0              1040  Linear(in_features=64, out_features=16, bias=True)
          1                    ReLU(inplace=False)
          2               170  Linear(in_features=16, out_features=10, bias=True)"""
        f = N.compile(m)
        @test sprint(show, f) == "NativeTorch.CompiledFunction: input[1, 64] -> output[1, 10], Float64"
        @test sprint(show, N.Workspace(f)) == "NativeTorch.Workspace"
    end
end

@testset "programs of torch.export" begin
    folder = joinpath(ROOT, "test", "models", "exported")
    for name in ("patches", "patches_core")
        m = N.load(joinpath(folder, "$name.pt2"))
        @test only(N.layers(m)).kind === :program
        @test N.input_size(m) == [2, 1, 4, 4]
        expected = Json.read_file(joinpath(folder, "patches.json"))
        x = from_rows(Float64.(expected["x"]), (2, 1, 4, 4))
        @test difference(m(x), from_rows(Float64.(expected["y"]), (2, 4))) <= 1e-11
        @test difference(N.jacobian(m, x), from_rows(Float64.(expected["jacobian"]), (8, 32))) <= 1e-11
    end
    error = try
        N.compile(N.load(joinpath(folder, "refused", "operations.pt2")))
    catch error
        error
    end
    @test error isa N.UnsupportedError && occursin("aten.erfinv.default", error.message)
end
