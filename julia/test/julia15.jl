# Julia 1.5 as Debian has it crashes at any exception that compiled code throws, where the system's libunwind is newer than
# the one that it was built with: it describes its compiled code to libunwind in a struct whose layout has changed since.
# There this file runs the script again with those descriptions left out.

function run_without_unwind_tables(script)
    # Not in a temporary folder of Julia's: removing it at exit throws, and so crashes.
    shim = joinpath(mkpath(joinpath(@__DIR__, "..", "..", "target", "julia15")), "no_unwind_tables")
    write("$shim.c", "void _U_dyn_register(void *d) { (void)d; }\nvoid _U_dyn_cancel(void *d) { (void)d; }\n")
    run(`cc -shared -fPIC -o $shim.so $shim.c`)
    command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) $script`
    return withenv(() -> success(pipeline(command; stdout = stdout, stderr = stderr)), "LD_PRELOAD" => "$shim.so")
end

if VERSION < v"1.6" && !occursin("no_unwind_tables", get(ENV, "LD_PRELOAD", ""))
    exit(run_without_unwind_tables(abspath(PROGRAM_FILE)) ? 0 : 1)
end
