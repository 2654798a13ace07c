# Models as parts of JuMP models.

module NativeTorchJuMPExt

import Distributed
import JuMP
import JuMP: MOI
import NativeTorch
import NativeTorch: GCNConv, GrayBox, InvalidArgumentError, Permutation, Pipeline, ReducedSpace, Scale, TAGConv, UnsupportedError

include("bounds.jl")
include("inputs.jl")
include("variables.jl")
include("pipeline.jl")
include("tighten.jl")
include("tapes.jl")
include("formulate.jl")
include("reduce.jl")
include("others.jl")
include("gray_box.jl")
include("formulations.jl")
include("add_predictor.jl")

end # module
