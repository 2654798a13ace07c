# The exceptions of this package: one type for each kind of error that the library knows.

"""
    NativeTorch.Error <: Exception

The type of every exception of NativeTorch. The field `message` names the thing, where it is, and what to do.

Its subtypes are [`InvalidArgumentError`](@ref), [`IOError`](@ref), [`FormatError`](@ref), [`UnsupportedError`](@ref),
[`SolverError`](@ref), [`InternalError`](@ref) and [`LibraryError`](@ref).
"""
abstract type Error <: Exception end

"An argument is wrong: a length, a shape, an option."
struct InvalidArgumentError <: Error
    message::String
end

"The operating system refused to read or write."
struct IOError <: Error
    message::String
end

"A file is malformed: truncated, contradicts itself, or claims more than it holds."
struct FormatError <: Error
    message::String
end

"A file or model is well formed, but asks for something that is not there."
struct UnsupportedError <: Error
    message::String
end

"A solver failed for a reason of its own."
struct SolverError <: Error
    message::String
end

"A defect of the library."
struct InternalError <: Error
    message::String
end

"The library `libnative_torch` cannot be loaded, or is not the one that this package was written for."
struct LibraryError <: Error
    message::String
end

function Base.showerror(io::IO, error::Error)
    print(io, "NativeTorch.", nameof(typeof(error)), ": ", error.message)
    return
end
