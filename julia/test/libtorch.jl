# The libtorch backend against the native engine, where it is there.

@testset Counted "The backend and its devices" begin
    backend = NativeTorch.libtorch()
    @test backend.version == "2.13.0"
    @test isfile(backend.path)
    @test refuses(() -> NativeTorch.set_torch_device!("gpu"), NativeTorch.InvalidArgumentError, "cuda:1")
    missing_device = "cuda:$(backend.cuda_devices)"
    @test refuses(() -> NativeTorch.set_torch_device!(missing_device), NativeTorch.UnsupportedError, "NVIDIA", "\"cpu\"")
    NativeTorch.set_torch_device!("cpu")
    m = NativeTorch.load(fixture_path("nets", "mlp_tanh.pt"))
    on(; kwargs...) = () -> NativeTorch.compile(m, (1, 10); kwargs...)
    @test refuses(on(; backend = "torch"), NativeTorch.InvalidArgumentError, "libtorch", "native")
    @test refuses(on(; device = "cuda"), NativeTorch.InvalidArgumentError, "libtorch")
    @test refuses(on(; backend = "libtorch", device = missing_device), NativeTorch.UnsupportedError, "cuda")
    @test on(; backend = "libtorch")() === on(; backend = "libtorch", device = "cpu")()
    @test on(; backend = "libtorch")() !== on()()
end

@testset Counted "libtorch and the native engine agree" begin
    from_fixture(name) = Tuple(Int[n for n in Json.read_file(fixture_path("nets", "$name.json"))["input_shape"]])
    for (folder, name) in (("nets", "mlp_tanh"), ("nets", "cnn_smooth"), ("scripted", "mlp_traced"))
        m = NativeTorch.load(fixture_path(folder, "$name.pt"))
        size = folder == "nets" ? from_fixture(name) : Tuple(NativeTorch.input_size(m))
        x = reshape(sin.(1:prod(size)), size)
        mu = cos.(1:length(m(x)))
        for (dtype, tolerance) in ((Float64, 1e-11), (Float32, 1e-3))
            engine = (dtype = dtype, backend = "libtorch")
            @test difference(m(x; engine...), m(x)) <= tolerance
            @test difference(NativeTorch.jacobian(m, x; engine...), NativeTorch.jacobian(m, x)) <= tolerance
            H = NativeTorch.hessian_lagrangian(m, x, mu; engine...)
            @test difference(H, NativeTorch.hessian_lagrangian(m, x, mu)) <= tolerance
            @test difference(NativeTorch.vjp(m, x, mu; engine...), NativeTorch.vjp(m, x, mu)) <= tolerance
            @test difference(NativeTorch.jvp(m, x, x; engine...), NativeTorch.jvp(m, x, x)) <= tolerance
        end
    end
end

@testset Counted "Gradients by parameters" begin
    m = NativeTorch.load(fixture_path("nets", "mlp_tanh.pt"))
    f = NativeTorch.compile(m, (1, 10); backend = "libtorch")
    x = collect(sin.(1:10))
    gradient = NativeTorch.parameter_gradient(f, x, [2.0])
    @test gradient["0.4.bias"] == [2.0]
    @test difference(gradient["0.0.weight"], gradient["0.0.bias"] * x') <= 1e-14
    native = NativeTorch.compile(m, (1, 10))
    @test refuses(() -> NativeTorch.parameter_gradient(native, x, [2.0]), NativeTorch.UnsupportedError, "libtorch")
end

@testset Counted "Programs with operations that the native engine does not have" begin
    # The fixtures hold numbers in torch's order, Julia's arrays are the other way round.
    from_torch(numbers, size) = permutedims(reshape(Float64.(numbers), reverse(size)), length(size):-1:1)
    for name in ("special", "spectral", "choosing", "counting")
        m = NativeTorch.load(fixture_path("foreign", "$name.pt2"))
        expected = Json.read_file(fixture_path("foreign", "$name.json"))
        size = Tuple(Int.(expected["shapes"][1]))
        x, mu = from_torch(expected["x"], size), Float64.(expected["mu"])
        @test refuses(() -> m(x), NativeTorch.UnsupportedError, "aten.", "libtorch")
        engine = (backend = "libtorch",)
        y = m(x; engine...)
        @test difference(y, from_torch(expected["y"], Base.size(y))) <= 1e-11
        n, rows = length(x), length(mu)
        J = NativeTorch.jacobian(m, x; engine...)
        @test difference(J, from_torch(expected["jacobian"], (rows, n))) <= 1e-11
        H = NativeTorch.hessian_lagrangian(m, x, mu; engine...)
        @test difference(H, from_torch(expected["hessian"], (n, n))) <= 1e-11
    end
    custom = NativeTorch.load(fixture_path("foreign", "refused", "custom.pt2"))
    on_libtorch = () -> custom(zeros(2, 3); backend = "libtorch")
    @test refuses(on_libtorch, NativeTorch.UnsupportedError, "mylib.foo", "layer `0`", "foreign.py line")
end
