"""
Trained PyTorch models without Python: values and exact derivatives, and, where JuMP is loaded, models as parts of
optimisation models.

    m = NativeTorch.load("model.pt")
    y = m(x)                                   # size(x) is torch's shape
    J = NativeTorch.jacobian(m, x)

    y, formulation = NativeTorch.add_predictor(model, NativeTorch.PytorchModel("model.pt"), x)

Nothing is exported. Names and keywords of MathOptAI are kept where they mean the same.
"""
module NativeTorch

include("binding.jl")
include("library.jl")
include("layer.jl")
include("predictors.jl")
include("bounds.jl")
include("library_layers.jl")
include("piecewise_layers.jl")
include("smooth_layers.jl")
include("sizes.jl")
include("other_layers.jl")
include("build.jl")
include("write.jl")
include("add_predictor.jl")

function __init__()
    _find_library()
    _find_libtorch()
    return
end

end # module
