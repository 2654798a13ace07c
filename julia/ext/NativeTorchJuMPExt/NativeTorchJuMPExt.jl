# Models as parts of JuMP models.

module NativeTorchJuMPExt

import JuMP
import JuMP: MOI
import NativeTorch
import NativeTorch: FullSpace, GrayBox, InvalidArgumentError, UnsupportedError

include("bounds.jl")
include("inputs.jl")
include("variables.jl")
include("full_space.jl")
include("gray_box.jl")
include("add_predictor.jl")

end # module
