# How the library is found.

@testset "Opening the library" begin
    directory = mktempdir()
    wrong = joinpath(directory, "libwrong.so")
    write(wrong, "no library")
    @test refuses(() -> NativeTorch._open_library(joinpath(directory, "none.so")), NativeTorch.LibraryError, "no such file")
    @test refuses(() -> NativeTorch._open_library(wrong), NativeTorch.LibraryError, "libwrong.so", "cannot be loaded")
    libm = VERSION >= v"1.10" ? "libm.so.6" : "/lib/x86_64-linux-gnu/libm.so.6"
    @test refuses(() -> NativeTorch._open_library(libm), NativeTorch.LibraryError, "nt_abi_version")
    @test occursin(r"^\d+\.\d+\.\d+", NativeTorch._library_version())
end

if VERSION >= v"1.10"
    # What a new process with this environment and this preference says when it loads a model.
    function first_words(variable; preference = nothing)
        environment = mktempdir()
        write(joinpath(environment, "Project.toml"), "[deps]\nNativeTorch = \"$(NativeTorch._UUID)\"\n")
        if preference !== nothing
            write(joinpath(environment, "LocalPreferences.toml"), "[NativeTorch]\nlibnative_torch = \"$preference\"\n")
        end
        script = """
        import NativeTorch
        try
            NativeTorch.load("none.pt")
        catch error
            showerror(stdout, error)
        end
        """
        command = `$(Base.julia_cmd()) --startup-file=no -e $script`
        path = join([joinpath(ROOT, "julia"), environment, "@stdlib"], ":")
        return withenv(() -> read(command, String), "NATIVE_TORCH_LIBRARY" => variable, "JULIA_LOAD_PATH" => path)
    end

    @testset "Where it is looked for" begin
        used = get(ENV, "NATIVE_TORCH_LIBRARY", nothing)
        @test occursin("IOError: none.pt", first_words(used))
        missing_library = first_words("/nowhere/libnative_torch.so")
        @test occursin("LibraryError", missing_library)
        @test occursin("NATIVE_TORCH_LIBRARY: /nowhere/libnative_torch.so: there is no such file", missing_library)
        @test occursin("cargo build", missing_library)
        preferred = first_words(used; preference = "/elsewhere/libnative_torch.so")
        @test occursin("the preference libnative_torch: /elsewhere/libnative_torch.so", preferred)
    end
end
