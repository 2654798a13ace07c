# Several threads at once, with the garbage collector running: in a process of its own, as the tests have one thread.

@testset "Threads" begin
    child = joinpath(ROOT, "julia", "test", "threads_child.jl")
    command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) $child`
    @test withenv(() -> success(pipeline(command; stdout = stdout, stderr = stderr)), "JULIA_NUM_THREADS" => "2")
end
