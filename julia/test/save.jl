# Models written for torch, read back.

module Saved

using Test
import ..N, ..fixture_path, ..refuses

@testset "Models are written for torch: $name" for name in ("model.pt2", "model.pt", "model.bin")
    m = N.load(fixture_path("nets", "mlp_gelu_layernorm.pt"))
    x = [sin(3.0 * i + j) for i in 1:2, j in 1:5]
    mktempdir() do folder
        path = joinpath(folder, name)
        format = name == "model.bin" ? "torchscript" : nothing
        N.save(m, path; size = (nothing, 5), format = format, dtype = Float64)
        written = N.load(path)
        @test written(x) == m(x)
        @test N.layers(written)[1].kind === :program
        # Without a size, the model's own; in single precision, half the numbers' length.
        size_in_double = filesize(path)
        N.save(m, path; format = format, dtype = Float32)
        @test filesize(path) < size_in_double
        @test isapprox(N.load(path)(x), m(x); rtol = 1e-5)
    end
end

@testset "Models of several inputs are written" begin
    m = N.load(fixture_path("inputs", "bilinear.pt"))
    sizes = [Tuple(input.size) for input in N.inputs(m)]
    sizes = [map(n -> n === nothing ? 2 : n, size) for size in sizes]
    x = [cos(2.0 * i) for i in 1:sum(prod, sizes)]
    mktempdir() do folder
        path = joinpath(folder, "bilinear.pt2")
        N.save(m, path; size = sizes)
        y = map((N.load(path), m)) do model
            f = N.compile(model, sizes)
            return N.value!(zeros(sum(prod(output.size) for output in f.outputs)), f, N.Workspace(f), x)
        end
        @test y[1] == y[2]
    end
end

@testset "What cannot be written is an error" begin
    m = N.load(fixture_path("nets", "mlp_gelu_layernorm.pt"))
    mktempdir() do folder
        path = joinpath(folder, "model.pt2")
        @test refuses(() -> N.save(m, joinpath(folder, "model.onnx")), N.InvalidArgumentError, "names no format")
        @test refuses(() -> N.save(m, path; format = "onnx"), N.InvalidArgumentError, "there is no format")
        @test refuses(() -> N.save(m, path; dtype = Float16), N.InvalidArgumentError, "Float16")
        @test refuses(() -> N.save(m, path; size = (2, 4)), N.InvalidArgumentError, "5")
        @test refuses(() -> N.save(m, path; size = (-1, 5)), N.InvalidArgumentError, "-1")
        @test refuses(() -> N.save(m, joinpath(folder, "no", "model.pt2")), N.IOError, "model.pt2")
        @test isempty(readdir(folder))
    end
end

end # module
