# Models as parts of JuMP models, solved with HiGHS, Ipopt and SCS.

using JuMP
import HiGHS
import Ipopt
import SCS

const MOI = JuMP.MOI

function silent_model(optimizer; options...)
    model = Model(optimizer)
    set_silent(model)
    foreach(option -> set_attribute(model, string(option[1]), option[2]), options)
    return model
end

box_variables(model, x, radius) = [@variable(model, lower_bound = v - radius, upper_bound = v + radius, start = v) for v in x]

jump_path(name) = fixture_path("jump", "$name.pt")

# What torch says about a model of `jump/`: inputs and outputs at three points, of torch's size.
function jump_case(name)
    values = Json.read_file(fixture_path("jump", "$name.json"))
    sizes(key) = Tuple(Int[size for size in values[key]])
    points(key, size) = [from_rows(Float64[number for number in point], size) for point in values[key]]
    return (x = points("x", sizes("input_shape")), y = points("y", sizes("output_shape")))
end

# Torch's [1, C, H, W] as an H x W x C image.
as_image(x::Array{Float64,4}) = permutedims(x[1, :, :, :], (2, 3, 1))

for name in ("networks", "interface", "images", "forms", "elsewhere", "custom", "gray_box", "bounds", "more", "page", "programs")
    include(joinpath("jump", "$name.jl"))
end
HAS_LIBTORCH && include(joinpath("jump", "libtorch.jl"))
