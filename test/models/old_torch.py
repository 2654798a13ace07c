"""Writes files in the layouts of old versions of torch, which no torch writes any more:

save_tar       the tar archive of torch before 0.1.10: members sys_info, pickle, tensors, storages
save_legacy    the stream of torch 0.1.10 to 0.3, with storages that are views of others, and Parameters made by their class

Both are read back with torch 2.13 where it can read them.
"""

import collections
import io
import pickle
import re
import struct
import tarfile
import warnings

import torch

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {torch.float16: torch.HalfStorage, torch.float32: torch.FloatStorage, torch.float64: torch.DoubleStorage, torch.int64: torch.LongStorage}
PROTOCOL = 2


def swapped(data, size):
    """Elements of `size` bytes, each the other way round."""
    return b"".join(data[i : i + size][::-1] for i in range(0, len(data), size))


def with_small_keys(data):
    """torch takes addresses as the keys of storages, which differ from run to run; here they are numbered."""
    keys = list(dict.fromkeys(re.findall(rb"(?<![0-9])[0-9]{13,15}(?![0-9])", data)))
    for i, key in enumerate(keys):
        data = data.replace(key, str(i + 1).zfill(len(key)).encode())
    return data


class Pickler(pickle._Pickler):
    """Keeps Parameters as torch before 0.4 did: as calls of their class with a tensor."""

    def __init__(self, file, persistent_id):
        super().__init__(file, PROTOCOL)
        self.persistent_id = persistent_id

    def reducer_override(self, value):
        if type(value) is torch.nn.Parameter:
            return torch.nn.Parameter, (value.data,), (value.requires_grad, False, collections.OrderedDict())
        return NotImplemented


def sys_info(little_endian):
    return {"protocol_version": 1000, "little_endian": little_endian, "type_sizes": {"short": 2, "int": 4, "long": 8}}


def source_lines(cls):
    """In place of the source text that torch kept of each class: (lines, number of the first, file)."""
    return [f"class {cls.__name__}(Module):\n", '    """It\'s a stand-in for torch\'s \\ own text."""\n'], 1, "stand_in.py"


def module_source(cls):
    lines, _, file = source_lines(cls)
    return cls, file, "".join(lines)


def is_module_class(value):
    return isinstance(value, type) and issubclass(value, torch.nn.Module)


class Storages:
    """The storages of a model's tensors by small keys."""

    def __init__(self):
        self.keys, self.kept = {}, []

    def key(self, tensor):
        at = tensor.untyped_storage().data_ptr()
        if at not in self.keys:
            self.keys[at] = len(self.keys) + 1
            self.kept.append(tensor)  # lest its storage be freed, and another one take its place
        return self.keys[at]

    def items(self):
        for tensor in self.kept:
            whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
            yield self.key(tensor), tensor.dtype, whole.numpy()


def save_tar(model, path, views=False, little_endian=True):
    """With `views`, the first storage is a part, from element 5 on, of a longer one."""
    order = "<" if little_endian else ">"
    storages, tensors, sources = Storages(), {}, {}

    def persistent_id(value):
        if is_module_class(value):
            if value in sources:
                return None
            sources[value] = True
            return module_source(value)
        if type(value) is torch.Tensor:
            key = 100 + len(tensors)
            tensors[key] = value
            return str(key)
        return None

    members = {}
    pickled = io.BytesIO()
    Pickler(pickled, persistent_id).dump(model)
    members["sys_info"] = pickle.dumps(sys_info(little_endian), PROTOCOL)
    members["pickle"] = pickled.getvalue()
    out = pickle.dumps(len(tensors), PROTOCOL)
    for key, tensor in tensors.items():
        out += pickle.dumps((key, storages.key(tensor), torch.FloatTensor), PROTOCOL)
        longs = (*tensor.shape, *tensor.stride(), tensor.storage_offset())
        out += struct.pack(f"{order}q{len(longs)}q", tensor.dim(), *longs)
    members["tensors"] = out
    root, viewed = 999, []
    out = pickle.dumps(len(storages.kept), PROTOCOL)
    for i, (key, dtype, data) in enumerate(storages.items()):
        if views and i == 0:
            viewed = [(key, root, 5, len(data))]
            key, data = root, [0] * 5 + list(data) + [0]
        raw = torch.tensor(data, dtype=dtype).numpy().tobytes()
        out += pickle.dumps((key, "cpu", STORAGES[dtype]), PROTOCOL) + struct.pack(f"{order}q", len(data)) + raw
    members["storages"] = out + pickle.dumps(viewed, PROTOCOL)
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5  # a fraction, as of a real file, asks for a pax header
            tar.addfile(info, io.BytesIO(data))
    if little_endian:
        check(model, path)


def save_legacy(model, path, little_endian=True):
    """Every storage is a part, from element 2 on, of a longer one."""
    storages, sources = Storages(), {}

    def persistent_id(value):
        if is_module_class(value):
            if value in sources:
                return None
            sources[value] = True
            return "module", *module_source(value)
        if isinstance(value, torch.storage.TypedStorage):
            tensor = torch.empty(0, dtype=value.dtype).set_(value._untyped_storage)
            key, count = storages.key(tensor), tensor.untyped_storage().nbytes() // tensor.element_size()
            return "storage", STORAGES[value.dtype], str(key), "cpu", count + 3, (f"view {key}", 2, count)
        return None

    def reduce(tensor):
        args = (tensor._typed_storage(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        return torch._utils._rebuild_tensor, args

    class LegacyPickler(Pickler):
        def reducer_override(self, value):
            return reduce(value) if type(value) is torch.Tensor else super().reducer_override(value)

    out = io.BytesIO()
    for value in (MAGIC, VERSION, sys_info(little_endian)):
        out.write(pickle.dumps(value, PROTOCOL))
    LegacyPickler(out, persistent_id).dump(model)
    out.write(pickle.dumps([str(key) for key, _, _ in storages.items()], PROTOCOL))
    for _, dtype, data in storages.items():
        data = [0, 0, *data, 0]
        out.write(struct.pack("<q" if little_endian else ">q", len(data)) + torch.tensor(data, dtype=dtype).numpy().tobytes())
    path.write_bytes(out.getvalue())
    if little_endian:
        check(model, path)


def check(model, path):
    """torch 2.13 reads the same from the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's classes have other source texts
        found = torch.load(path, weights_only=False).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name], tensor), name
