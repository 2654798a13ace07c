"""Small models in every form that a torch file can have: the legacy stream, the tar archive, all pickle protocols,
big-endian archives. What torch 2.13 does not write any more is put together by `old_torch.py`."""

import functools
import io
import struct
import zipfile
from unittest import mock

import torch
from torch import nn

import old_torch

from .case import Case


def small():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def tied():
    """Two Linears on one storage: the second weight is the first one's transpose."""
    first, second = nn.Linear(3, 4), nn.Linear(4, 3)
    second.weight = nn.Parameter(first.weight.detach().t())
    return nn.Sequential(first, nn.Tanh(), second)


def protocol_0(model, path):
    """torch writes protocol 0, in which it keeps references as text, but cannot read it."""
    torch.save(model, path, pickle_protocol=0)


def big_endian(value, path, tensors=None):
    """The archive that a big-endian machine writes: each number of each storage the other way round."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    tensors = distinct(value) if tensors is None else tensors
    # Of a complex number, each part by itself.
    sizes = {str(key): tensor.element_size() // (1 + tensor.is_complex()) for key, tensor in enumerate(tensors)}
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            name = info.filename.split("/", 1)[1]
            if name == "byteorder":
                data = b"big"
            if name.startswith("data/"):
                data = old_torch.swapped(data, sizes[name.removeprefix("data/")])
            new.writestr(zipfile.ZipInfo(info.filename), data)


def distinct(model):
    """The parameters that have a storage of their own, in the order in which torch numbers them."""
    found = {}
    for tensor in model.state_dict().values():
        found.setdefault(tensor.untyped_storage().data_ptr(), tensor)
    return found.values()


def zip64(model, path):
    """An archive whose every size and offset stands in a zip64 field, as of records beyond 4 GB."""
    buffer = io.BytesIO()
    torch.save(model, buffer)
    with zipfile.ZipFile(buffer) as old:
        records = [(info.filename.encode(), old.read(info), info.CRC) for info in old.infolist()]
    body, directory = b"", b""
    full = 0xFFFFFFFF
    for name, data, crc in records:
        size = len(data)
        local = struct.pack("<HHQQ", 1, 16, size, size)
        central = struct.pack("<HHQQQ", 1, 24, size, size, len(body))
        common = struct.pack("<HHHHHIII", 45, 0, 0, 0, 33, crc, full, full)
        directory += b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<HHHHHII", len(name), 28, 0, 0, 0, 0, full) + name + central
        body += b"PK\3\4" + common + struct.pack("<HH", len(name), 20) + name + local + data
    end = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, len(records), len(records), len(directory), len(body))
    locator = b"PK\6\7" + struct.pack("<IQI", 0, len(body) + len(directory), 1)
    last = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, full, full, 0)
    path.write_bytes(body + directory + b"PK\6\6" + end + locator + last)


def legacy(model, path, protocol=2):
    buffer = io.BytesIO()
    patch = functools.partial(mock.patch.multiple, "torch.serialization", create=True)
    # torch sorts storages by their addresses.
    with patch(get_source_lines_and_file=old_torch.source_lines, sorted=list):
        torch.save(model, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    path.write_bytes(old_torch.with_small_keys(buffer.getvalue()))


def files():
    def file(name, save, model=small, note=""):
        return Case(f"files/{name}", (2, 3), model, save=save, note=note)

    cases = [file(f"zip_protocol_{p}", functools.partial(torch.save, pickle_protocol=p)) for p in (1, 3, 4, 5)]
    cases += [file(f"legacy_protocol_{p}", functools.partial(legacy, protocol=p)) for p in (0, 1, 4)]
    return cases + [
        file("zip_protocol_0", protocol_0),
        file("zip64", zip64),
        file("big_endian", big_endian),
        file("big_endian_mixed", big_endian, lambda: nn.Sequential(nn.Linear(3, 4).half(), nn.Tanh(), nn.Linear(4, 2).double())),
        file("legacy", legacy),
        file("legacy_tied", legacy, tied, note="two views of one storage"),
        file("legacy_views", old_torch.save_legacy, tied, note="storages that are parts of others, as in torch 0.1 to 0.3"),
        file("legacy_big_endian_machine", functools.partial(old_torch.save_legacy, little_endian=False),
             note="lengths are big-endian, numbers are not, as torch wrote there"),
        file("tar", old_torch.save_tar),
        file("tar_views", functools.partial(old_torch.save_tar, views=True), tied, note="storages that are parts of others"),
        file("tar_big_endian_machine", functools.partial(old_torch.save_tar, little_endian=False)),
    ]
