"""
Trained PyTorch models without Python: values and exact derivatives.

    m = NativeTorch.load("model.pt")
    y = m(x)                                   # size(x) is torch's shape
    J = NativeTorch.jacobian(m, x)

Nothing is exported.
"""
module NativeTorch

include("binding.jl")
include("library.jl")

function __init__()
    _find_library()
    return
end

end # module
