# Run by threads.jl with two threads.

include("support.jl")

function evaluate_everywhere(m, f, x, y, rounds)
    wrong = Threads.Atomic{Int}(0)
    Threads.@threads for k in 1:4*rounds
        # Calls of the model share its pool of workspaces; others bring their own.
        own = NativeTorch.value!(zeros(f.m), f, NativeTorch.Workspace(f), x)
        (own == y && m(x) == y && vec(m(x')) == y) || Threads.atomic_add!(wrong, 1)
        k % 50 == 0 && GC.gc()
    end
    return wrong[]
end

# The longest collection during one call of the library, as a part of the time of the call. Without leave to run, a
# collection waits for the call.
function longest_collection(f)
    workspace, X, out = NativeTorch.Workspace(f), rand(f.n, 100_000), zeros(f.n, 100_000)
    mu = ones(f.m, 100_000)
    call() = NativeTorch.hvp!(out, f, workspace, X, mu, X)
    call()
    seconds = @elapsed call()
    task = Threads.@spawn call()
    longest = 0.0
    while !istaskdone(task)
        longest = max(longest, @elapsed GC.gc(false))
        yield()
    end
    fetch(task)
    return longest / seconds
end

m = NativeTorch.load(joinpath(ROOT, "docs", "examples", "digits", "digits.pt"))
f = NativeTorch.compile(m, (64,))
x = rand(64)
wrong = evaluate_everywhere(m, f, x, m(x), 100)
net = NativeTorch.compile(NativeTorch.load(fixture_path("nets", "mlp_tanh.pt")))
# Other programs may keep a processor from the collection, but not each time.
longest = minimum(longest_collection(net) for _ in 1:5)
if Threads.nthreads() != 2 || wrong > 0 || longest > 0.5
    println("$(Threads.nthreads()) threads, $wrong wrong results, a collection took $longest of a call")
    exit(1)
end
