# Where files are that are opened: paths, bytes, and streams that the library reads through callbacks.

# What the library reads a stream through. A reader is kept by the handles that need it.
mutable struct _Reader
    io::IO
    start::Int
    # What a callback caught, for the error that follows.
    failure::Any
end

# Reads `length` bytes from `position` on; negative where it fails. Nothing is thrown through the library.
function _read_stream(context::Ptr{Cvoid}, position::UInt64, buffer::Ptr{UInt8}, length::Csize_t)
    reader = unsafe_pointer_to_objref(context)::_Reader
    try
        seek(reader.io, reader.start + Int(position))
        bytes = read(reader.io, Int(length))
        GC.@preserve bytes unsafe_copyto!(buffer, pointer(bytes), Base.length(bytes))
        return Int64(Base.length(bytes))
    catch failure
        reader.failure = failure
        return Int64(-1)
    end
end

# NtReader of the header.
struct _CReader
    context::Ptr{Cvoid}
    length::UInt64
    read::Ptr{Cvoid}
    release::Ptr{Cvoid}
end

# The source of a file: a path, bytes, or a stream from where it stands to its end.
_source(path::AbstractString) = String(path)
_source(bytes::Vector{UInt8}) = bytes
_source(bytes::AbstractVector{UInt8}) = Vector{UInt8}(bytes)
function _source(io::IO)
    # A callback runs Julia while the library's call counts as outside of it; older versions do not provide for that.
    (VERSION >= v"1.9" && applicable(seek, io, 0)) || return read(io)
    start = position(io)
    return _Reader(io, start, nothing)
end

_origin(path::String) = path
_origin(bytes::Vector{UInt8}) = "$(length(bytes)) bytes"
_origin(reader::_Reader) = "a stream"

# The bytes, the stream: what must live as long as a handle made of them. They are lent, never released: the handles'
# finalizers run before the collector takes them.
function _open(path::String, by_path, by_bytes, by_reader)
    return by_path(path)
end
function _open(bytes::Vector{UInt8}, by_path, by_bytes, by_reader)
    return by_bytes(bytes)
end
function _open(reader::_Reader, by_path, by_bytes, by_reader)
    io = reader.io
    seekend(io)
    count = position(io) - reader.start
    callback = @cfunction(_read_stream, Int64, (Ptr{Cvoid}, UInt64, Ptr{UInt8}, Csize_t))
    GC.@preserve reader begin
        table = _CReader(pointer_from_objref(reader), UInt64(max(count, 0)), callback, C_NULL)
        return by_reader(table)
    end
end
