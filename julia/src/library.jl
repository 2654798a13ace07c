# Where the library is: the first of these that is set, or that exists, is loaded.
#   1. the preference `libnative_torch` of this package (LocalPreferences.toml, or `Preferences.set_preferences!`)
#   2. the environment variable NATIVE_TORCH_LIBRARY
#   3. the artifact `libnative_torch` of Artifacts.toml
#   4. what cargo built in this checkout: target/release, then target/debug

import Artifacts
import Libdl

const _UUID = Base.UUID("6023359a-666e-46b7-a0a5-e3785ec1b1d0")
const _CHECKOUT = dirname(dirname(@__DIR__))

_preference(name::String) = get(Base.get_preferences(_UUID), name, nothing)

# The artifact's library, or `nothing` if Artifacts.toml has none for this platform or it is not installed.
function _artifact_library(artifact::String, file::String)
    toml = joinpath(_CHECKOUT, "Artifacts.toml")
    isfile(toml) || return nothing
    hash = Artifacts.artifact_hash(artifact, toml)
    (hash === nothing || !Artifacts.artifact_exists(hash)) && return nothing
    return joinpath(Artifacts.artifact_path(hash), "lib", file)
end

# Loads the library, or remembers what was tried: an error comes when a model is loaded, not with the package.
function _find_library()
    file = "libnative_torch." * Libdl.dlext
    preference, variable = _preference("libnative_torch"), get(ENV, "NATIVE_TORCH_LIBRARY", "")
    artifact = _artifact_library("libnative_torch", file)
    builds = [joinpath(_CHECKOUT, "target", profile, file) for profile in ("release", "debug")]
    # What a person has set is loaded, or it is an error: another library in its place would surprise.
    if preference !== nothing
        return _try_libraries(["the preference libnative_torch" => String(preference)])
    elseif !isempty(variable)
        return _try_libraries(["NATIVE_TORCH_LIBRARY" => variable])
    end
    found = Pair{String,String}[]
    artifact === nothing || push!(found, "the artifact" => artifact)
    append!(found, ["the checkout" => build for build in builds])
    return _try_libraries(found)
end

function _try_libraries(candidates)
    tried = String[]
    for (origin, path) in candidates
        try
            return _open_library(path)
        catch error
            error isa LibraryError || rethrow()
            push!(tried, "  $origin: $(error.message)")
        end
    end
    _TRIED[] = join(tried, "\n")
    return
end

# The library of the libtorch backend, if a preference or an artifact names it. The environment variable
# NATIVE_TORCH_LIBTORCH stands between the two and is read by the library itself.
function _find_libtorch()
    name = "libnative_torch_libtorch"
    preference = _preference(name)
    artifact = isempty(get(ENV, "NATIVE_TORCH_LIBTORCH", "")) ? _artifact_library(name, "$name.so") : nothing
    _LIBTORCH[] = preference === nothing ? artifact : String(preference)
    return
end
