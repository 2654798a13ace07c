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

# A call that takes long lets the garbage collector run: it would wait for the call otherwise.
function collects_during_a_call(m)
    xs = [rand(64, 64) for _ in 1:2000]
    task = Threads.@spawn m(xs)
    collections = 0
    while !istaskdone(task)
        GC.gc(false)
        collections += 1
        yield()
    end
    fetch(task)
    return collections
end

m = NativeTorch.load(joinpath(ROOT, "docs", "examples", "digits", "digits.pt"))
f = NativeTorch.compile(m, (64,))
x = rand(64)
wrong = evaluate_everywhere(m, f, x, m(x), 100)
collections = collects_during_a_call(m)
if Threads.nthreads() != 2 || wrong > 0 || collections < 3
    println("$(Threads.nthreads()) threads, $wrong wrong results, $collections collections during a call")
    exit(1)
end
