# Speed in JuMP, against MathOptAI in the same run; prints tables in Markdown.
#
#     NATIVE_TORCH_LIBRARY=target/release/libnative_torch.so JULIA_LOAD_PATH=@:<environment>:@stdlib \
#         julia --project=julia julia/bench/jump.jl [build] [gray_box] [bounds] [hard]
#
# The environment holds JuMP, HiGHS, Ipopt and MathOptAI; `gray_box` also needs PYTHON, a Python with torch. PythonCall is not
# needed: what MathOptAI calls through it, torch.func in float32, is timed inside Python, and what it does with the arrays
# that it gets is timed here. What PythonCall itself costs is left out.

using JuMP
import HiGHS
import MathOptAI
import NativeTorch

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

# What MathOptAI's extension calls in Python, in seconds of a processor for f, J and H. Through PythonCall x is no list but a
# Julia vector, whose elements take longer to read.
const TORCH_CALLS = """
import sys, time, torch
torch.set_num_threads(1)
widths, path = [int(w) for w in sys.argv[1].split("-")], sys.argv[2]
net = []
for n, m in zip(widths, widths[1:]):
    net += [torch.nn.Linear(n, m), torch.nn.Tanh()]
net = torch.nn.Sequential(*net[:-1])
torch.save(net, path)
x = torch.linspace(-1, 1, widths[0]).tolist()
mu = [1.0] * widths[-1]
mu_layer = torch.nn.Linear(widths[-1], 1, bias=False)
jacobian = torch.func.jacrev(net)
hessian = torch.func.hessian(torch.nn.Sequential(net, mu_layer))
def weighted():
    mu_layer.weight = torch.nn.Parameter(torch.tensor([mu]), requires_grad=False)
    return hessian(torch.tensor(x))[0]
for call in [lambda: net(torch.tensor(x)), lambda: jacobian(torch.tensor(x)), weighted]:
    count, start, begin = 0, None, time.time()
    while start is None or time.time() < begin + 2 or count < 10:
        call().detach().cpu().numpy()
        if start is None:
            start = time.process_time()
        else:
            count += 1
    print((time.process_time() - start) / count)
"""

# What MathOptAI's extension does with the arrays that come from there, line by line: PythonCall converts them to an `Array`
# whose element type the compiler does not know, and each element is then read by a call that is found at run time.
copied(from) = Base.inferencebarrier(Array(from))::Array

function copy_value(ret, from, y)
    value = copied(from)
    for i in eachindex(ret)
        ret[i] = value[i] - y[i]
    end
end

function copy_jacobian(ret, from, y)
    value = copied(from)
    for i in 1:length(value)
        ret[i] = value[i]
    end
    for i in 1:length(y)
        ret[length(value)+i] = -1.0
    end
end

function copy_hessian(ret, from, y)
    value, k = copied(from), 0
    for j in 1:size(value, 2), i in 1:j
        k += 1
        ret[k] = value[i, j]
    end
end

function copying(n::Int, m::Int)
    y, of = zeros(m), Ref{Any}
    value, jacobian, hessian = of(zeros(Float32, m)), of(zeros(Float32, m, n)), of(zeros(Float32, n, n))
    f, J, H = zeros(m), zeros(m * n + m), zeros(n * (n + 1) ÷ 2)
    return (
        mean_time(() -> copy_value(f, value[], y)),
        mean_time(() -> copy_jacobian(J, jacobian[], y)),
        mean_time(() -> copy_hessian(H, hessian[], y)),
    )
end

# Seconds of a processor that a call takes, of those of two seconds after a first one.
function mean_time(call)
    call()
    count, stop = 0, time() + 2.0
    seconds, _ = processor_seconds() do
        while time() < stop || count < 10
            call()
            count += 1
        end
    end
    return seconds / count
end

# Seconds of a processor that a call takes: other processes do not count.
function processor_seconds(call)
    clock() = ccall(:clock, Clong, ()) / 1e6
    start = clock()
    result = call()
    return clock() - start, result
end

function gray_box()
    python = get(ENV, "PYTHON", nothing)
    python === nothing && error("gray_box: set PYTHON to a Python with torch")
    println("## Gray-box calls in float64, against MathOptAI's calls of torch in float32\n")
    header("net", "call", "NativeTorch, us", "torch, us", "copying, us", "ratio")
    for widths in ("10-50-50-1", "784-512-512-10")
        path = tempname() * ".pt"
        theirs = parse.(Float64, split(read(`$python -c $TORCH_CALLS $widths $path`, String)))
        model = Model()
        n = parse(Int, first(split(widths, '-')))
        @variable(model, -1 <= x[1:n] <= 1)
        _, formulation = NativeTorch.add_predictor(model, NativeTorch.PytorchModel(path), x; gray_box = true)
        set = JuMP.constraint_object(last(formulation.constraints)).set
        z = collect(range(-1, 1; length = set.input_dimension))
        mu = ones(set.output_dimension)
        y, J, H = zeros(set.output_dimension), zeros(length(set.jacobian_structure)), zeros(length(set.hessian_lagrangian_structure))
        # A new point for each call: what was computed before is not used again.
        step!() = (z[1] = mod(z[1] + 1e-3, 1.0); z)
        ours = (
            mean_time(() -> set.eval_f(y, step!())),
            mean_time(() -> set.eval_jacobian(J, step!())),
            mean_time(() -> set.eval_hessian_lagrangian(H, step!(), mu)),
        )
        copies = copying(n, set.output_dimension)
        for (name, own, other, copy) in zip(("f", "J", "H"), ours, theirs, copies)
            row(widths * " tanh", name, microseconds(own), microseconds(other), microseconds(copy), times((other + copy) / own))
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
