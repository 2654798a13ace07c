# The binding: handles, calls, evaluation, printing. It needs Base and Libdl alone, and no syntax newer than Julia 1.5, so
# that a test can include this file where no newer Julia is had.

include("errors.jl")
include("source.jl")
include("capi.jl")
include("function.jl")
include("libtorch.jl")
include("model.jl")
include("arrays.jl")
include("value.jl")
include("evaluate.jl")
include("save.jl")
include("tables.jl")
include("show.jl")
