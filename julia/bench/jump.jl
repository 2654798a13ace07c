# Speed in JuMP, against MathOptAI in the same run; prints tables in Markdown.
#
#     NATIVE_TORCH_LIBRARY=target/release/libnative_torch.so JULIA_LOAD_PATH=@:<environment>:@stdlib \
#         julia --project=julia julia/bench/jump.jl [build] [gray_box] [bounds] [hard]
#
# The environment holds JuMP, HiGHS, Ipopt and MathOptAI; `gray_box` also needs PythonCall, with a Python that has torch.

using JuMP
import HiGHS
import MathOptAI
import NativeTorch

# Only one part needs it, and its extension of MathOptAI comes with it.
if isempty(ARGS) || "gray_box" in ARGS
    import PythonCall
end

const ROOT = joinpath(@__DIR__, "..", "..")
const MODELS = joinpath(ROOT, "test", "models", "jump")

# The median time in seconds of calls, after a first one.
function median_time(call; seconds = 1.0)
    call()
    times = Float64[]
    while sum(times; init = 0.0) < seconds || length(times) < 3
        push!(times, @elapsed call())
    end
    return sort(times)[(end+1)÷2]
end

row(cells...) = println("| ", join(cells, " | "), " |")

function header(cells...)
    row(cells...)
    println("|", "---|"^length(cells))
end

milliseconds(t) = string(round(1e3 * t; sigdigits = 3))
microseconds(t) = string(round(1e6 * t; sigdigits = 3))
times(ratio) = string(round(ratio; sigdigits = 3))

# A number between -1 and 1 for each i, the same in every run.
noise(i) = mod(sin(12.9898 * i) * 43758.5453, 1.0) * 2 - 1

function layers(widths, affine, activation)
    made, count = Any[], 0
    for (n, m) in zip(widths, widths[2:end])
        A = [noise(count + (i - 1) * n + j) / sqrt(n) for i in 1:m, j in 1:n]
        b = [noise(count + m * n + i) / sqrt(n) for i in 1:m]
        count += m * n + m
        push!(made, affine(A, b), activation())
    end
    return made[1:end-1]
end

function build()
    println("## Building the full-space model of a 784-512-512-10 ReLU net\n")
    widths = [784, 512, 512, 10]
    ours = NativeTorch.Pipeline(layers(widths, NativeTorch.Affine, NativeTorch.ReLU)...)
    theirs = MathOptAI.Pipeline(layers(widths, MathOptAI.Affine, MathOptAI.ReLU))
    function built(add, predictor)
        model = Model()
        @variable(model, -1 <= x[1:784] <= 1)
        add(model, predictor, x)
        return
    end
    own() = built(NativeTorch.add_predictor, ours)
    other() = built(MathOptAI.add_predictor, theirs)
    t, s = median_time(own), median_time(other)
    a, b = @allocated(own()), @allocated(other())
    header("", "NativeTorch", "MathOptAI", "ratio")
    row("ms", milliseconds(t), milliseconds(s), times(s / t))
    row("MB allocated by Julia", round(a / 1e6; digits = 1), round(b / 1e6; digits = 1), times(b / a))
    println()
    return
end

# Seconds of a processor that a call takes: other processes do not count.
function processor_seconds(call)
    clock() = ccall(:clock, Clong, ()) / 1e6
    start = clock()
    result = call()
    return clock() - start, result
end

# A Sequential of Linear and Tanh with random weights, saved by torch.
function tanh_net(path, widths)
    torch = PythonCall.pyimport("torch")
    torch.set_num_threads(1)
    made = mapreduce(vcat, zip(widths, widths[2:end])) do (n, m)
        return [torch.nn.Linear(n, m), torch.nn.Tanh()]
    end
    torch.save(torch.nn.Sequential(made[1:end-1]...), path)
    return
end

# The oracle that a predictor becomes as a gray box, and calls of its f, J and H, each at a new point: what was computed before
# is not used again.
function oracle_calls(add_predictor, predictor, n)
    model = Model()
    @variable(model, -1 <= x[1:n] <= 1)
    add_predictor(model, predictor, x; gray_box = true, hessian = true)
    oracles = all_constraints(model, Vector{VariableRef}, MOI.VectorNonlinearOracle{Float64})
    set = constraint_object(only(oracles)).set
    z, mu = collect(range(-1, 1; length = set.input_dimension)), ones(set.output_dimension)
    step!() = (z[1] = mod(z[1] + 1e-3, 1.0); z)
    y, J, H = zeros(set.output_dimension), zeros(length(set.jacobian_structure)), zeros(length(set.hessian_lagrangian_structure))
    return (
        () -> set.eval_f(y, step!()),
        () -> set.eval_jacobian(J, step!()),
        () -> set.eval_hessian_lagrangian(H, step!(), mu),
    )
end

# Median seconds of a processor that each of two calls takes, by turns.
function by_turns(calls; turns = 21, seconds = 0.05)
    counts = map(calls) do call
        call()
        took, _ = processor_seconds(call)
        return clamp(round(Int, seconds / max(took, 1e-7)), 1, 100_000)
    end
    samples = [first(processor_seconds(() -> foreach(_ -> call(), 1:count))) / count
               for _ in 1:turns, (call, count) in zip(calls, counts)]
    return [sort(column)[(turns+1)÷2] for column in eachcol(samples)]
end

function gray_box()
    println("## Gray-box calls: ours in float64, MathOptAI's through PythonCall in float32\n")
    header("net", "call", "NativeTorch, us", "MathOptAI, us", "ratio")
    for widths in ([10, 50, 50, 1], [784, 512, 512, 10])
        path = tempname() * ".pt"
        tanh_net(path, widths)
        ours = oracle_calls(NativeTorch.add_predictor, NativeTorch.PytorchModel(path), first(widths))
        theirs = oracle_calls(MathOptAI.add_predictor, MathOptAI.PytorchModel(path), first(widths))
        for (name, calls...) in zip(("f", "J", "H"), ours, theirs)
            own, other = by_turns(calls)
            row(join(widths, '-') * " tanh", name, microseconds(own), microseconds(other), times(other / own))
        end
        rm(path)
    end
    println()
    return
end

points() = [parse.(Float64, split(line)) for line in eachline(joinpath(MODELS, "boxes.txt"))]

# Minimises the output of the 10-50-50-1 ReLU net over a box; seconds for the bounds and the model, seconds for the solver.
function minimized(centre, bounds, limit)
    model = Model(HiGHS.Optimizer)
    set_silent(model)
    set_time_limit_sec(model, limit)
    set_attribute(model, "threads", 1)
    @variable(model, centre[i] - 0.2 <= x[i in 1:10] <= centre[i] + 0.2)
    predictor = NativeTorch.PytorchModel(joinpath(MODELS, "relu_10_50_50_1.pt"))
    own = bounds === :interval ? (;) : (; optimizer = HiGHS.Optimizer, time_limit = 5.0)
    config = Dict(:ReLU => NativeTorch.ReLUBigM)
    before, (y, _) = processor_seconds(() -> NativeTorch.add_predictor(model, predictor, x; config, bounds, own...))
    @objective(model, Min, y[1])
    solving, _ = processor_seconds(() -> optimize!(model))
    proven = termination_status(model) == OPTIMAL
    return (; before, solving, proven, value = has_values(model) ? objective_value(model) : NaN, bound = objective_bound(model),
            binaries = count(is_binary, all_variables(model)), nodes = node_count(model))
end

function bounds()
    println("## Big-M with HiGHS: the minimum of a 10-50-50-1 ReLU net over boxes of radius 0.2\n")
    table_of_minima()
    minimized(zeros(10), :interval, 1.0)
    minimized(points()[1], :lp, 1.0)
    ratios = map(enumerate(points())) do (k, point)
        lp, interval = minimized(point, :lp, 60.0), minimized(point, :interval, 120.0)
        report(k, :lp, lp)
        report(k, :interval, interval)
        return (interval.before + interval.solving) / (lp.before + lp.solving)
    end
    println("\nWith `:lp` bounds, point by point ", join(times.(ratios), ", "), " times as fast as with intervals.\n")
    return
end

table_of_minima() = header("point", "bounds", "binaries", "bounds and model, s", "HiGHS, s", "nodes", "proven", "minimum", "bound")

function report(point, method, found)
    digits(x) = round(x; sigdigits = 4)
    row(point, method, found.binaries, digits(found.before), digits(found.solving), found.nodes, found.proven ? "yes" : "no",
        round(found.value; digits = 7), round(found.bound; digits = 7))
end

function hard()
    println("## The same around 0, ten minutes at most\n")
    table_of_minima()
    report(0, :mip, minimized(zeros(10), :mip, 600.0))
    println()
    return
end

const PARTS = Dict("build" => build, "gray_box" => gray_box, "bounds" => bounds, "hard" => hard)
for part in (isempty(ARGS) ? ["build", "gray_box", "bounds"] : ARGS)
    haskey(PARTS, part) || error("there is no part $(repr(part)); there are ", join(sort!(collect(keys(PARTS))), ", "))
    PARTS[part]()
end
