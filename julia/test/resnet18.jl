# torchvision's resnet18 as a gray box in JuMP. Its file is too large to be committed: NATIVE_TORCH_RESNET18 names one, a
# program or TorchScript of `torchvision.models.resnet18(num_classes=10)` for inputs of size [1, 3, 64, 64], as
# `cargo xtask conformance resnet` makes it.

using JuMP
import Ipopt

@testset "resnet18 through JuMP's gray box" begin
    m = NativeTorch.load(ENV["NATIVE_TORCH_RESNET18"])
    image = [sin(i + 2j) * cos(c * j) for i in 1:64, j in 1:64, c in 1:3]
    as_torch = permutedims(reshape(image, 64, 64, 3, 1), (4, 3, 1, 2))
    expected = vec(m(as_torch))
    model = Model(Ipopt.Optimizer)
    set_silent(model)
    set_attribute(model, "hessian_approximation", "limited-memory")
    set_attribute(model, "max_iter", 30)
    x = [@variable(model, lower_bound = v - 0.05, upper_bound = v + 0.05, start = v) for v in vec(image)]
    y, formulation = NativeTorch.add_predictor(model, m, x; gray_box = true, hessian = false, input_size = size(image))
    @test start_value.(y) ≈ expected
    class = argmax(expected)
    rival = argmax([k == class ? -Inf : v for (k, v) in enumerate(expected)])
    @objective(model, Min, sum((x .- vec(image)) .^ 2) + y[class] - y[rival])
    optimize!(model)
    # Thousands of kinks keep Ipopt from meeting the equations to the last digit in so few iterations.
    @test NativeTorch.formulation_error(formulation) <= 1e-3 * maximum(abs, expected)
    found = reshape(clamp.(value.(x), vec(image) .- 0.05, vec(image) .+ 0.05), size(image))
    reached = vec(m(permutedims(reshape(found, 64, 64, 3, 1), (4, 3, 1, 2))))
    @test reached[class] - reached[rival] < expected[class] - expected[rival]
end
