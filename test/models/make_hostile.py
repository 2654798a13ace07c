"""Writes `hostile/`: files that are broken, that lie or that attack, and a few odd ones that are legal.

    python test/models/make_hostile.py

Needs Python alone, and writes the same bytes each time. Nothing here is ever unpickled: the pickles are put
together opcode by opcode, the zips header by header.

`hostile/index.json` has for each file:
  file, what     its name, and what it is
  outcome        "error"           loading must fail
                 "legal"           it must load, and give y at x
                 "error or legal"  either, but never another y
                 "error or custom" either; what loads is a record of a custom layer
                 "verify"          a record's checksum is wrong: reading that record, or --verify, must fail
  words          what the message must contain, upper and lower case alike; of a list within it, one
  place          (some) where in the model it is, as a dotted path; the message names that too
  x, y           (legal ones) an input and the output; exact in float32 and float64
"""

import json
import pathlib
import shutil
import struct
import zlib

import hostile_spatial

HERE = pathlib.Path(__file__).parent / "hostile"
INDEX = []


# ---- pickles, opcode by opcode ---------------------------------------------------------------------------------
# Each function gives the opcodes that leave one value on the stack.

NONE, TRUE, FALSE, EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT = b"N", b"\x88", b"\x89", b")", b"]", b"}"


def int_(n):
    if 0 <= n < 256:
        return b"K" + bytes([n])
    if -(2**31) <= n < 2**31:
        return b"J" + struct.pack("<i", n)
    raw = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def float_(v):
    return b"G" + struct.pack(">d", v)


def str_(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def value(v):
    """Opcodes of a plain value; bytes are taken as opcodes already."""
    if isinstance(v, bytes):
        return v
    if v is None:
        return NONE
    if isinstance(v, bool):
        return TRUE if v else FALSE
    if isinstance(v, int):
        return int_(v)
    if isinstance(v, float):
        return float_(v)
    if isinstance(v, str):
        return str_(v)
    if isinstance(v, tuple):
        return b"(" + b"".join(map(value, v)) + b"t"
    if isinstance(v, list):
        return b"](" + b"".join(map(value, v)) + b"e"
    if isinstance(v, dict):
        return b"}(" + b"".join(value(k) + value(w) for k, w in v.items()) + b"u"
    raise TypeError(v)


def global_(name):
    module, _, attribute = name.rpartition(".")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def call(name, *args):
    return global_(name) + value(args) + b"R"


def ordered_dict():
    return global_("collections.OrderedDict") + EMPTY_TUPLE + b"R"


def storage(key="0", numel=6, kind="torch.FloatStorage", location="cpu"):
    return value(("storage", global_(kind), key, location, numel)) + b"Q"


def tensor(size, stride=None, offset=0, at=None):
    if stride is None:
        stride, step = [], 1
        for n in reversed(size):
            stride.insert(0, step)
            step *= n
        stride = tuple(stride)
    return call("torch._utils._rebuild_tensor_v2", at or storage(), offset, size, stride, False, ordered_dict())


def parameter(data):
    return call("torch._utils._rebuild_parameter", data, True, ordered_dict())


def module(cls, parameters=None, children=None, drop=(), state=None, **attributes):
    """A module's class, and its state as torch 2.13 writes it."""
    if state is None:
        hooks = (
            "_backward_pre_hooks _backward_hooks _forward_hooks _forward_hooks_with_kwargs _forward_hooks_always_called "
            "_forward_pre_hooks _forward_pre_hooks_with_kwargs _state_dict_hooks _state_dict_pre_hooks "
            "_load_state_dict_pre_hooks _load_state_dict_post_hooks"
        )
        state = {
            "training": True,
            "_parameters": parameters or {},
            "_buffers": {},
            "_non_persistent_buffers_set": call("__builtin__.set", []),
            "_is_full_backward_hook": None,
            **{name: ordered_dict() for name in hooks.split()},
            "_modules": children or {},
            **attributes,
        }
        state = {k: v for k, v in state.items() if k not in drop}
    return global_(cls) + EMPTY_TUPLE + b"\x81" + value(state) + b"b"


def linear(weight=None, bias=None, **attributes):
    parameters = {
        "weight": parameter(tensor((2, 3))) if weight is None else weight,
        "bias": parameter(tensor((2,), at=storage("1", 2))) if bias is None else bias,
    }
    parameters = attributes.pop("parameters", parameters)
    return module("torch.nn.modules.linear.Linear", parameters, **{"in_features": 3, "out_features": 2, **attributes})


def conv2d(**attributes):
    defaults = {
        "in_channels": 1, "out_channels": 1, "kernel_size": (2, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1),
        "transposed": False, "output_padding": (0, 0), "groups": 1, "padding_mode": "zeros",
        "_reversed_padding_repeated_twice": [0, 0, 0, 0],
    }  # fmt: skip
    parameters = {"weight": parameter(tensor((1, 1, 2, 3))), "bias": None}
    return module("torch.nn.modules.conv.Conv2d", parameters, **{**defaults, **attributes})


def pool(kind, **attributes):
    own = {
        "Avg": {"count_include_pad": True, "divisor_override": None},
        "Max": {"dilation": 1, "return_indices": False},
    }[kind]
    defaults = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False, **own}
    return module(f"torch.nn.modules.pooling.{kind}Pool2d", **{**defaults, **attributes})


def layer_norm(**attributes):
    defaults = {"normalized_shape": (3,), "eps": 1e-5, "elementwise_affine": False}
    parameters = attributes.pop("parameters", {"weight": None, "bias": None})
    return module("torch.nn.modules.normalization.LayerNorm", parameters, **{**defaults, **attributes})


def activation(name, **attributes):
    return module(f"torch.nn.modules.activation.{name}", **attributes)


def sequential(*children, **attributes):
    named = {str(i): child for i, child in enumerate(children)}
    return module("torch.nn.modules.container.Sequential", children=named, **attributes)


def pickle(opcodes):
    return b"\x80\x02" + opcodes + b"."


# ---- zips, header by header ------------------------------------------------------------------------------------


class Record:
    """A file in the archive. `central` and `local` override fields of its two headers."""

    def __init__(self, name, data, *, deflate=False, central=None, local=None):
        self.name = name if isinstance(name, bytes) else name.encode()
        self.stored = data
        if deflate:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            self.stored = packer.compress(data) + packer.flush()
        self.fields = {
            "flags": 0x800, "method": 8 if deflate else 0, "crc": zlib.crc32(data), "packed": len(self.stored), "size": len(data),
        }  # fmt: skip
        self.central, self.local = central or {}, local or {}

    def header(self, fields, offset=None):
        """The local header, or with an offset the entry of the central directory."""
        common = struct.pack(
            "<HHHHHIIIHH", 20, fields["flags"], fields["method"], 0, 33, fields["crc"], fields["packed"], fields["size"],
            len(self.name), len(fields.get("extra", b"")),
        )  # fmt: skip
        extra = fields.get("extra", b"")
        if offset is None:
            return b"PK\3\4" + common + self.name + extra
        offset = fields.get("offset", offset)
        return b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + self.name + extra


def zip_(records, **end):
    """The archive's bytes; `end` overrides fields of the end-of-central-directory record."""
    body, directory = b"", b""
    for record in records:
        offset = len(body)
        body += record.header({**record.fields, **record.local}) + record.stored
        directory += record.header({**record.fields, **record.central}, offset)
    last = {"count": len(records), "size": len(directory), "offset": len(body), **end}
    count = last["count"]
    tail = struct.pack("<HHHHIIH", 0, 0, count, count, last["size"], last["offset"], 0)
    return body + directory + last.get("before", b"") + b"PK\5\6" + tail


WEIGHT = struct.pack("<6f", 1.0, -2.0, 0.5, 0.25, 3.0, -1.5)  # of Linear(3, 2)
BIAS = struct.pack("<2f", 0.5, -4.0)
X, Y = [2.0, -1.0, 4.0], [6.5, -12.5]


def archive(opcodes=None, *, data=None, weight=WEIGHT, bias=BIAS, order=b"little", replace=(), more=(), raw=False, **end):
    """A model's archive: a good Linear(3, 2) in a Sequential, unless the arguments say else."""
    if data is None:
        data = pickle(sequential(linear()) if opcodes is None else opcodes)
    records = [
        Record("m/data.pkl", data),
        Record("m/byteorder", order),
        Record("m/data/0", weight),
        Record("m/data/1", bias),
        Record("m/version", b"3\n"),
    ]
    by_name = {r.name: r for r in replace}
    records = [by_name.get(r.name, r) for r in records] + list(more)
    return records if raw else zip_(records, **end)


def without(name, records):
    return [r for r in records if r.name != name.encode()]


def add(name, what, content, *words, outcome="error", place=None, x=None, y=None):
    entry = {"file": f"{name}.pt", "what": what, "outcome": outcome, "words": list(words)}
    if place is not None:
        entry["place"] = place
    if "legal" in outcome:
        entry["x"], entry["y"] = x or X, y or Y
    assert all(e["file"] != entry["file"] for e in INDEX), name
    INDEX.append(entry)
    (HERE / f"{name}.pt").write_bytes(content)


def add_pickle(name, what, data, *words, **other):
    add(f"pickle_{name}", what, archive(data=data), *words, **other)


def add_model(name, what, opcodes, *words, **other):
    add(name, what, archive(opcodes), *words, **other)


# ---- the files -------------------------------------------------------------------------------------------------


def zips():
    good = archive()
    add("good", "the model that the others spoil: Sequential(Linear(3, 2))", good, outcome="legal")
    add("empty", "no bytes at all", b"", ["empty", "zip"])
    noise, seed = bytearray(), 1
    for _ in range(500):
        seed = (seed * 1103515245 + 12345) % 2**31
        noise.append(seed >> 16 & 255)
    add("random_bytes", "random bytes", bytes(noise), "zip")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    add("lfs_pointer", "a Git LFS pointer in place of the file", pointer, "zip")
    end = good.index(b"PK\5\6")
    for name, cut in (
        ("in_first_header", 10), ("in_data_pkl", 200), ("in_weight", good.index(WEIGHT) + 5), ("before_directory", good.index(b"PK\1\2")),
        ("in_directory", good.index(b"PK\1\2") + 70), ("before_end", end), ("in_end", end + 10), ("one_byte", len(good) - 1),
    ):  # fmt: skip
        add(f"truncated_{name}", f"the good file's first {cut} of {len(good)} bytes", good[:cut], ["truncated", "zip"])
    add("truncated_front", "the good file without its first 100 bytes", good[100:], ["truncated", "zip", "data.pkl", "header", "offset"])
    add("no_records", "an archive without records", zip_([]), "data.pkl")

    def weight_record(data=WEIGHT, **kwargs):
        return archive(replace=[Record("m/data/0", data, **kwargs)])

    far = 2**31
    add("size_beyond_file", "the directory gives data/0 more bytes than the file has", weight_record(central={"packed": far, "size": far}), "data/0")
    add("size_into_directory", "the directory's size of data/0 reaches into the next records",
        weight_record(central={"packed": 100, "size": 100}), "data/0", outcome="error or legal")
    add("size_unpacked_larger", "data/0 is stored, yet its unpacked size is said to be larger", weight_record(central={"size": far}), "data/0")
    add("size_local_lies", "only the local header of data/0 lies about its size",
        weight_record(local={"packed": far, "size": far}), "data/0", outcome="error or legal")
    add("offset_beyond_file", "data/0 begins beyond the file's end", weight_record(central={"offset": 0xFFFFFFF0}), "data/0")
    add("offset_not_a_header", "data/0 begins where no header is", weight_record(central={"offset": 7}), "data/0")
    wide = struct.pack("<HHQQ", 1, 16, 2**63, 2**63)
    add("zip64_size_huge", "data/0 has a zip64 size of 2^63",
        weight_record(central={"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": wide}), "data/0")
    add("zip64_extra_cut", "data/0 needs a zip64 field, which is cut short",
        weight_record(central={"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": wide[:7]}), ["data/0", "zip64"])
    ok = struct.pack("<HHQQ", 1, 16, len(WEIGHT), len(WEIGHT))
    add("zip64_legal", "data/0 has its true size in a zip64 field",
        weight_record(central={"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": ok}), outcome="legal")
    locator = b"PK\6\7" + struct.pack("<IQI", 0, 2**62, 1)
    add("zip64_end_far", "the zip64 end record is said to be at 2^62",
        archive(before=locator, offset=0xFFFFFFFF, size=0xFFFFFFFF, count=0xFFFF), ["zip64", "directory"])
    add("directory_beyond_file", "the directory begins beyond the file's end", archive(offset=far), ["directory", "zip"])
    add("directory_size_huge", "the directory is said to have 4 GB", archive(size=0xFFFFFFF0), ["directory", "zip"])
    add("directory_count_high", "the directory is said to have 65,000 entries; it has 5", archive(count=65000), ["directory", "zip", "entries"])
    add("directory_count_low", "the directory is said to have 1 entry; it has 5", archive(count=1), ["directory", "entries", "data/0"])
    add("encrypted", "data/0 is marked as encrypted", weight_record(central={"flags": 0x801}, local={"flags": 0x801}), "data/0", ["encrypt"])
    add("unknown_method", "data/0 is packed with method 99", weight_record(central={"method": 99}, local={"method": 99}), "data/0", ["method", "compress"])
    packed = [Record(r.name, r.stored, deflate=True) for r in archive(raw=True)]
    add("deflated", "the good archive packed again, with deflate", zip_(packed), ["deflate", "compress"], outcome="error or legal")
    data = pickle(sequential(linear()))
    claims = Record("m/data.pkl", data, deflate=True, central={"size": 2**30}, local={"size": 2**30})
    add("bomb_claims", "deflated data.pkl of a few hundred bytes that is said to unpack to 1 GB", archive(replace=[claims]), "data.pkl")
    bomb = Record("m/data.pkl", data + bytes(2**30), deflate=True)
    add("bomb_expands", "data.pkl of 1 MB that unpacks to 1 GB", archive(replace=[bomb]), "data.pkl")
    modest = {"size": len(data)}
    hidden = Record("m/data.pkl", data + bytes(2**22), deflate=True, central=modest, local=modest)
    add("bomb_hidden", "data.pkl that unpacks to 4 MB but is said to have its first few hundred bytes alone", archive(replace=[hidden]), "data.pkl")
    quilt = [Record(f"m/data/{i}", b"", central={"packed": 24, "size": 24, "crc": zlib.crc32(WEIGHT), "offset": None}) for i in range(2, 400)]
    records = archive(raw=True)
    at = sum(len(r.header(r.fields)) + len(r.stored) for r in records[:2])
    for r in quilt:
        r.central["offset"] = at
    add("bomb_overlap", "400 records that all lie on the same bytes", zip_(records + quilt), ["overlap"])
    add("no_data_pkl", "data.pkl is missing", zip_(without("m/data.pkl", archive(raw=True))), "data.pkl")
    add("two_data_pkl", "two folders, each with a data.pkl", archive(more=[Record("other/data.pkl", data)]), "data.pkl")
    add("missing_storage", "the record data/1 is missing", zip_(without("m/data/1", archive(raw=True))), "data/1", place="0.bias")
    add("short_storage", "the record data/0 has 20 of 24 bytes", archive(weight=WEIGHT[:20]), "data/0", place="0.weight")
    add("empty_storage", "the record data/0 has no bytes", archive(weight=b""), "data/0", place="0.weight")
    add("duplicate_storage", "two records data/0 with different contents", archive(more=[Record("m/data/0", bytes(24))]), "data/0", ["twice", "duplicate"])
    add("duplicate_data_pkl", "two records data.pkl", archive(more=[Record("m/data.pkl", pickle(sequential()))]), "data.pkl", ["twice", "duplicate"])
    add("name_not_utf8", "a record's name is not UTF-8", archive(more=[Record(b"m/\xff\xfe\x80", b"x")]), "UTF-8")
    add("byteorder_wrong", "the record byteorder holds 'middle'", archive(order=b"middle"), "byteorder")
    add("byteorder_not_utf8", "the record byteorder is not text", archive(order=b"\xff\xfe"), "byteorder")
    add("byteorder_missing", "there is no record byteorder, as before torch 2.1: it is little",
        zip_(without("m/byteorder", archive(raw=True))), outcome="legal")
    big = archive(weight=struct.pack(">6f", *struct.unpack("<6f", WEIGHT)), bias=struct.pack(">2f", 0.5, -4.0), order=b"big")
    add("byteorder_big", "written on a big-endian machine", big, ["big"], outcome="error or legal")
    wrong = {"crc": 0x12345678}
    add("crc_storage", "the checksum of data/0 is wrong", weight_record(central=wrong, local=wrong), "data/0", ["CRC", "checksum"], outcome="verify")
    add("crc_data_pkl", "the checksum of data.pkl is wrong",
        archive(replace=[Record("m/data.pkl", data, central=wrong, local=wrong)]), "data.pkl", ["CRC", "checksum"])


# ---- older formats ---------------------------------------------------------------------------------------------

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
SYS_INFO = pickle(value({"protocol_version": 1001, "little_endian": True}))


def stored(data, length=None):
    """A storage's bytes behind its number of float32s."""
    return struct.pack("<q", len(data) // 4 if length is None else length) + data


def stream(opcodes=None, *, magic=MAGIC, version=1001, info=SYS_INFO, keys=("0", "1"), storages=None):
    """The legacy stream of a good model, unless the arguments say else."""
    storages = stored(WEIGHT) + stored(BIAS) if storages is None else storages
    keys = keys if isinstance(keys, bytes) else value(list(keys))
    head = magic + pickle(value(version)) + info
    return head + pickle(sequential(linear()) if opcodes is None else opcodes) + pickle(keys) + storages


def viewed(view, key="0", numel=6):
    return value(("storage", global_("torch.FloatStorage"), key, "cpu", numel, view)) + b"Q"


def legacy_streams():
    def legacy(name, what, content, *words, **other):
        add(f"legacy_{name}", what, content, *words, **other)

    good = stream()
    legacy("good", "the good model in the legacy stream", good, outcome="legal")
    source = value(("module", global_("torch.nn.modules.linear.Linear"), "linear.py", "class Linear:\n  pass\n")) + b"Q"
    named = linear().replace(global_("torch.nn.modules.linear.Linear"), source, 1)
    legacy("source", "the class with its source text in its place", stream(sequential(named)), outcome="legal")
    cuts = {
        "in_magic": 9, "in_version": len(MAGIC) + 3, "in_info": len(MAGIC) + 20, "in_pickle": good.index(b"in_features"),
        "before_keys": good.index(pickle(value(["0", "1"]))), "in_keys": good.index(pickle(value(["0", "1"]))) + 8,
        "in_length": good.index(WEIGHT) - 3, "in_weight": good.index(WEIGHT) + 5, "one_byte": len(good) - 1,
    }  # fmt: skip
    for name, cut in cuts.items():
        legacy(f"truncated_{name}", f"its first {cut} of {len(good)} bytes", good[:cut], ["truncated", "no file that torch.save writes", "ends", "pickle"])
    legacy("version", "version 1002", stream(version=1002), "1002", "1001")
    legacy("version_text", "a version that is text", stream(version="1001"), "version")
    legacy("info_evil", "a call of os.system where the machine is described", stream(info=pickle(b"cos\nsystem\n" + str_("true") + b"\x85R")), "os.system")
    legacy("value_evil", "a call of os.system in the model", stream(sequential(linear(), b"cos\nsystem\n" + str_("true") + b"\x85R")), "os.system", place="1")
    legacy("keys_number", "a number in place of the list of keys", stream(keys=int_(2)), "keys")
    legacy("keys_of_numbers", "keys that are None", stream(keys=value([None, None])), "key")
    legacy("key_unknown", "a key that no tensor refers to", stream(keys=("0", "1", "2"), storages=stored(WEIGHT) + stored(BIAS) + stored(BIAS)), "storages/2")
    legacy("key_missing", "a storage that a tensor needs is missing", stream(keys=("0",), storages=stored(WEIGHT)), "storages/1", place="0.bias")
    legacy("key_twice", "a key is listed twice", stream(keys=("0", "0"), storages=stored(WEIGHT) * 2), "twice")
    legacy("key_evil", "a call of os.system among the keys", stream(keys=b"](cos\nsystem\n" + str_("true") + b"\x85Re"), "os.system")
    for name, length in (("less", 5), ("more", 7), ("huge", 2**62), ("negative", -6), ("swapped", 6 << 56)):
        legacy(f"length_{name}", f"the length in front of the weight is {length}, not 6", stream(storages=stored(WEIGHT, length) + stored(BIAS)), "storages/0", "6")
    for name, numel in (("huge", 2**61), ("overflow", 2**62), ("negative", -6), ("less", 2)):
        opcodes = sequential(linear(weight=parameter(tensor((2, 3), at=viewed(None, numel=numel)))))
        legacy(f"claim_{name}", f"the pickle and the length give the weight's storage {numel} elements", stream(opcodes, storages=stored(WEIGHT, numel) + stored(BIAS)), ["storages/", "negative"])
    long = struct.pack("<8f", 9, *struct.unpack("<6f", WEIGHT), 9)

    def view(name, what, *args, outcome="error"):
        opcodes = sequential(linear(weight=parameter(tensor((2, 3), at=viewed(*args)))))
        words = [] if outcome == "legal" else [["view", "storage"]]
        legacy(f"view_{name}", what, stream(opcodes, storages=stored(long) + stored(BIAS)), *words, outcome=outcome, place=None if outcome == "legal" else "0.weight")

    view("good", "the weight in elements 1 to 6 of a storage of 8", ("v", 1, 6), "0", 8, outcome="legal")
    view("beyond", "a view that ends beyond its storage", ("v", 3, 6), "0", 8)
    view("short", "a view that is shorter than its tensor", ("v", 1, 5), "0", 8)
    view("negative", "a view that begins before its storage", ("v", -1, 6), "0", 8)
    view("overflow", "a view whose end overflows 64 bits", ("v", 2**63 - 1, 2**63 - 1), "0", 8)
    view("pair", "a view of two values", ("v", 1), "0", 8)
    strides = tensor((2, 3), (4, 1))
    legacy("stride_beyond", "a stride that reaches one element beyond the storage", stream(sequential(linear(weight=parameter(strides)))), "stride", place="0.weight")
    nan = struct.pack("<6f", float("nan"), -2.0, 0.5, float("inf"), 3.0, -1.5)
    legacy("nan", "weights that are NaN and infinite: legal, and kept", stream(storages=stored(nan) + stored(BIAS)), outcome="legal", y=["NaN", "Infinity"])
    legacy("cycle", "a list that holds itself, as an attribute", stream(sequential(linear(extra=b"]q\1h\1a"))), ["cycle", "itself"])
    legacy("trailing", "bytes behind the last storage", good + b"more", outcome="legal")
    legacy("magic_in_protocol_0", "the magic number in protocol 0", good.replace(MAGIC, b"L119547037146038801333356L\n.", 1), outcome="legal")
    legacy("other_number", "another number in place of the magic one", stream(magic=pickle(int_(2**79))), ["pickle", "no file that torch.save writes"])


def tar_header(name, length, kind=b"0", **fields):
    field = lambda key, default: fields.get(key, default)
    header = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field("size", b"%011o\0" % length) + b"00000000000\0"
    header += b" " * 8 + kind + bytes(100) + b"ustar\x0000" + bytes(247)
    sum_ = field("sum", sum(header))
    return header[:148] + b"%06o\0 " % sum_ + header[156:]


def tar_(members, end=bytes(1024)):
    """The archive of (name, data, fields of the header)."""
    blocks = [tar_header(name, len(data), **fields) + data + bytes(-len(data) % 512) for name, data, fields in members]
    return b"".join(blocks) + end


def tar_model(drop=(), twice=(), fields=None, **data):
    """The good model in the layout of torch 0.1, unless the arguments give a member's bytes or its header's fields."""
    reference = lambda key: call("torch.nn.parameter.Parameter", str_(key) + b"Q") + value((True, False, {})) + b"b"
    model = sequential(linear(parameters={"weight": reference("10"), "bias": reference("11")}))
    good = {
        "sys_info": SYS_INFO,
        "pickle": pickle(model),
        "tensors": tar_tensors((10, 1, (2, 3), (3, 1), 0), (11, 2, (2,), (1,), 0)),
        "storages": tar_storages((1, WEIGHT), (2, BIAS)),
    }
    good.update(data)
    fields = fields or {}
    names = [name for name in good if name not in drop] + list(twice)
    return tar_([(name, good[name], fields.get(name, {})) for name in names])


def tar_tensors(*tensors, count=None, rank=None):
    out = pickle(int_(len(tensors) if count is None else count))
    for key, storage, sizes, strides, offset in tensors:
        out += pickle(value((key, storage, global_("torch.FloatTensor"))))
        out += struct.pack("<q", len(sizes) if rank is None else rank)
        out += b"".join(struct.pack("<q", n) for n in (*sizes, *strides, offset))
    return out


def tar_storages(*storages, count=None, views=(), length=None):
    out = pickle(int_(len(storages) if count is None else count))
    for key, data in storages:
        out += pickle(value((key, "cpu", global_("torch.FloatStorage")))) + stored(data, length)
    return out + (views if isinstance(views, bytes) else pickle(value(list(views))))


def tars():
    def tar(name, what, content, *words, **other):
        add(f"tar_{name}", what, content, *words, **other)

    good = tar_model()
    tar("good", "the good model in the tar archive of torch 0.1", good, outcome="legal")
    tar("no_end", "without the empty blocks at its end", good[:-1024], outcome="legal")
    for name, cut in (("in_header", 300), ("in_pickle", 1600), ("in_storages", good.index(WEIGHT) + 5), ("before_storages", good.index(b"storages") - 100)):
        tar(f"truncated_{name}", f"its first {cut} of {len(good)} bytes", good[:cut], ["truncated", "member", "no file that torch.save writes"])
    for name in ("pickle", "tensors", "storages"):
        tar(f"no_{name}", f"without the member {name}", tar_model(drop=[name]), name)
        tar(f"empty_{name}", f"the member {name} has no bytes", tar_model(**{name: b""}), name.removesuffix("s"))
        tar(f"checksum_{name}", f"the header of {name} has a wrong checksum", tar_model(fields={name: {"sum": 1}}), "checksum")
        tar(f"size_{name}", f"the member {name} is said to have 8 GB", tar_model(fields={name: {"size": b"77777777777\0"}}), name)
        tar(f"size_text_{name}", f"the size of {name} is no number", tar_model(fields={name: {"size": b"abcdefghijk\0"}}), "size")
    tar("no_sys_info", "without the member sys_info", tar_model(drop=["sys_info"]), outcome="legal")
    tar("twice", "two members storages", tar_model(twice=["storages"]), "storages", "twice")
    evil = pickle(b"cos\nsystem\n" + str_("true") + b"\x85R")
    for name in ("sys_info", "pickle", "tensors", "storages"):
        tar(f"evil_{name}", f"a call of os.system in {name}", tar_model(**{name: evil}), "os.system")

    def storages(name, what, content, *words, **other):
        tar(f"storages_{name}", what, tar_model(storages=content), *words, **other)

    storages("count_more", "one storage fewer than the member claims", tar_storages((1, WEIGHT), count=3), ["storage", "description"])
    storages("count_huge", "2^62 storages are claimed", tar_storages((1, WEIGHT), count=2**62), ["storage", "description"])
    storages("count_negative", "-1 storages are claimed", tar_storages((1, WEIGHT), count=-1), "number")
    storages("length_huge", "a storage of 2^62 elements", tar_storages((1, WEIGHT), length=2**62), "storages/1")
    storages("length_negative", "a storage of -1 elements", tar_storages((1, WEIGHT), length=-1), "storages/1")
    storages("length_more", "a storage that reaches into what follows", tar_storages((1, WEIGHT), (2, BIAS), length=600), "storages/")
    storages("twice", "a storage is there twice", tar_storages((1, WEIGHT), (1, BIAS)), "twice")
    storages("missing", "the storage of the bias is missing", tar_storages((1, WEIGHT)), "storage", "11")
    storages("views_number", "a number in place of the views", tar_storages((1, WEIGHT), (2, BIAS), views=pickle(int_(3))), "view")
    storages("view_beyond", "a view that ends beyond its root", tar_storages((1, WEIGHT), (2, BIAS), views=[(3, 1, 4, 3)]), "view")
    storages("view_negative", "a view that begins before its root", tar_storages((1, WEIGHT), (2, BIAS), views=[(3, 1, -4, 3)]), "negative")
    storages("view_overflow", "a view whose end overflows", tar_storages((1, WEIGHT), (2, BIAS), views=[(3, 1, 2**63 - 1, 2**63 - 1)]), "view")
    storages("view_of_nothing", "a view whose root is missing", tar_storages((1, WEIGHT), (2, BIAS), views=[(3, 9, 0, 1)]), "9")
    long = struct.pack("<8f", 9, *struct.unpack("<6f", WEIGHT), 9)
    storages("view_good", "the weight's storage is a view", tar_storages((5, long), (2, BIAS), views=[(1, 5, 1, 6)]), outcome="legal")

    def tensors(name, what, *weight, outcome="error", words=("10",), **other):
        tar(f"tensors_{name}", what, tar_model(tensors=tar_tensors(weight, (11, 2, (2,), (1,), 0), **other)), *words, outcome=outcome)

    tensors("stride_beyond", "a stride that reaches one element beyond the storage", 10, 1, (2, 3), (4, 1), 0)
    tensors("stride_negative", "a negative stride", 10, 1, (2, 3), (-3, 1), 3)
    tensors("size_negative", "a negative size", 10, 1, (-2, 3), (3, 1), 0)
    tensors("size_overflow", "sizes whose product overflows", 10, 1, (2**32, 2**32), (1, 1), 0)
    tensors("offset_beyond", "an offset beyond the storage", 10, 1, (2, 3), (3, 1), 1)
    tensors("offset_huge", "an offset of 2^63 - 1", 10, 1, (2, 3), (3, 1), 2**63 - 1)
    tensors("rank_huge", "a rank of 2^31 - 1", 10, 1, (2, 3), (3, 1), 0, rank=2**31 - 1)
    tensors("rank_negative", "a rank of -1", 10, 1, (2, 3), (3, 1), 0, rank=-1)
    tensors("storage_missing", "a storage that is not there", 10, 7, (2, 3), (3, 1), 0)
    tensors("key_other", "the weight's tensor is missing", 99, 1, (2, 3), (3, 1), 0, words=("weight",))
    tensors("twice", "a tensor is there twice", 11, 1, (2, 3), (3, 1), 0, words=("11", "twice"))
    tensors("count_huge", "2^62 tensors are claimed", 10, 1, (2, 3), (3, 1), 0, count=2**62, words=("tensor",))


def pickles():
    add_pickle("empty", "data.pkl has no bytes", b"", "data.pkl")
    add_pickle("no_stop", "the pickle has no STOP", pickle(sequential(linear()))[:-1], "data.pkl", ["STOP", "end"])
    add_pickle("stop_first", "STOP with nothing on the stack", b"\x80\x02.", "data.pkl", ["stack"])
    add_pickle("protocol", "protocol 200", b"\x80\xc8N.", "data.pkl", "protocol")
    add_pickle("unknown_opcode", "the opcode 0xff", b"\x80\x02\xff.", "data.pkl", "opcode")
    add_pickle("cut_at_opcode", "an opcode without its argument", b"\x80\x02X\x05", "data.pkl")
    for name, what, ops in (
        ("reduce", "REDUCE on an empty stack", b"R"),
        ("build", "BUILD on one value", b"Nb"),
        ("append", "APPEND on an empty list's absence", b"a"),
        ("setitem", "SETITEM with one value", b"}Ns"),
        ("pop", "POP on an empty stack", b"0"),
        ("dup", "DUP on an empty stack", b"2"),
        ("put", "BINPUT on an empty stack", b"q\0"),
        ("tuple3", "TUPLE3 on two values", b"NN\x87"),
        ("persid", "BINPERSID on an empty stack", b"Q"),
        ("below_mark", "APPEND that reaches below a MARK", b"](Na"),
    ):
        add_pickle(f"underflow_{name}", what, pickle(ops), "data.pkl", ["stack", "MARK"])
    add_pickle("no_mark", "TUPLE without MARK", pickle(b"NNt"), "data.pkl", "MARK")
    add_pickle("odd_setitems", "SETITEMS with an odd number of values", pickle(b"}(NNNu"), "data.pkl", "SETITEMS")
    add_pickle("setitems_on_int", "SETITEMS on a number", pickle(b"K\1(NNu"), "data.pkl")
    add_pickle("append_to_dict", "APPENDS to a dict", pickle(b"}(NNe"), "data.pkl")
    add_pickle("memo_unknown", "BINGET of an index that was never put", pickle(b"h\7"), "data.pkl", "memo")
    add_pickle("memo_unknown_long", "LONG_BINGET of index 2^32 - 1", pickle(b"j\xff\xff\xff\xff"), "data.pkl", "memo")
    add_pickle("memo_huge_index", "LONG_BINPUT at index 2^32 - 1, which must not cost 2^32 places",
               pickle(sequential(linear()) + b"r\xff\xff\xff\xff"), ["memo"], outcome="error or legal")
    giant32, giant64 = b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff\xff\xff\x7f"
    for name, op in (("long4", b"\x8b" + giant32), ("long4_negative", b"\x8b\xff\xff\xff\xff"), ("long1", b"\x8a\xff"),
                     ("binunicode", b"X" + giant32), ("binunicode8", b"\x8d" + giant64), ("binbytes", b"B" + giant32),
                     ("binbytes8", b"\x8e" + giant64), ("bytearray8", b"\x96" + giant64), ("binstring", b"T" + giant32),
                     ("frame", b"\x95" + giant64)):  # fmt: skip
        add_pickle(f"giant_{name}", f"{name} with a length beyond the record", pickle(op + b"abc"), "data.pkl")
    add_pickle("string_not_utf8", "a string that is not UTF-8", pickle(str_(b"\xff\xfe")), "data.pkl", "UTF-8")
    add_pickle("global_not_utf8", "a class name that is not UTF-8", pickle(b"c\xff\xfe\nx\n"), "data.pkl", "UTF-8")
    add_pickle("global_no_newline", "GLOBAL whose name never ends", pickle(b"ctorch.nn"), "data.pkl")
    add_pickle("int_text", "INT with letters", pickle(b"Iabc\n"), "data.pkl")
    add_pickle("float_text", "FLOAT with letters", pickle(b"Fabc\n"), "data.pkl")
    add_pickle("trailing", "bytes after STOP", pickle(sequential(linear())) + b"garbage", "data.pkl", outcome="error or legal")

    # Names that an unpickler would call.
    evil = b"cos\nsystem\n"
    shell = str_("touch /tmp/native-torch-was-here")
    for name, what, ops in (
        ("reduce", "os.system through REDUCE", evil + shell + b"\x85R"),
        ("newobj", "os.system through NEWOBJ", evil + shell + b"\x85\x81"),
        ("newobj_ex", "os.system through NEWOBJ_EX", evil + shell + b"\x85}\x92"),
        ("inst", "os.system through INST", b"(" + shell + b"ios\nsystem\n"),
        ("obj", "os.system through OBJ", b"(" + evil + shell + b"o"),
        ("stack_global", "os.system through STACK_GLOBAL", str_("os") + str_("system") + b"\x93" + shell + b"\x85R"),
        ("build", "os.system through BUILD", evil + value({"command": shell}) + b"b"),
        ("global", "os.system as a value", evil),
    ):
        add_model(f"evil_{name}", what, sequential(linear(), ops), "os.system", place="1")
        if name in ("reduce", "inst"):
            add_model(f"evil_{name}_root", what + ", as the whole file", ops, "os.system")
            add_model(f"evil_{name}_unused", what + ", thrown away by POP", ops + b"0" + sequential(linear()), "os.system",
                      outcome="error or legal")
    posix = global_("posix.system") + shell + b"\x85R"
    add_model("evil_attribute", "posix.system as an attribute's value", sequential(linear(in_features=posix)), "posix.system", place="0")
    add_model("evil_eval", "builtins.eval through REDUCE", sequential(call("builtins.eval", "1+1")), "eval", place="0")
    add_model("evil_getattr", "builtins.getattr, to reach anything",
              sequential(call("builtins.getattr", global_("torch.serialization"), "load")), "getattr", place="0")
    add_model("evil_set_state", "a module built by a function that is no class",
              sequential(global_("os.system") + b")\x81" + value({"training": True}) + b"b"), "os.system", place="0")
    add_model("evil_hook_dict", "an OrderedDict of hooks made by os.system",
              sequential(linear(_forward_hooks=evil + shell + b"\x85R")), ["hook", "os.system"], place="0")
    add_model("extension_code", "EXT1: a name from Python's extension registry", sequential(b"\x82\x01"), ["EXT1", "extension", "opcode"])
    add_model("evil_escape", "a class name with terminal escapes; the message must not send them to the terminal",
              sequential(module("evil.\x1b[31mEvil\x07")), "Evil", place="0", outcome="error or custom")

    # Cycles, depth, and growth by sharing.
    add_model("cycle_list", "an attribute that is a list that holds itself", sequential(linear(), extra=b"]q\x63h\x63a"), ["cycle", "itself", "extra"])
    add_model("cycle_dict", "an attribute that is a dict that holds itself", sequential(linear(), extra=b"}q\x63K\1h\x63s"), ["cycle", "itself", "extra"])
    add_model("cycle_tuple", "a tuple that holds a list that holds the tuple", sequential(linear(), extra=b"]q\x63h\x63\x85q\x64ah\x64"), ["cycle", "itself", "extra"])
    head = global_("torch.nn.modules.container.Sequential") + b")\x81q\x63"
    own = value({"training": True, "_parameters": {}, "_buffers": {}, "_modules": {"0": b"h\x63"}}) + b"b"
    add_model("cycle_module", "a Sequential that is its own child", head + own, ["cycle", "itself"], place="0")
    inner = sequential(sequential(b"h\x63"))
    via = value({"training": True, "_parameters": {}, "_buffers": {}, "_modules": {"0": inner}}) + b"b"
    add_model("cycle_grandchild", "a Sequential that is its own great-grandchild", head + via, ["cycle", "itself"], place="0.0.0")
    add_model("cycle_modules_dict", "a module's dict of children is the module's own state",
              global_("torch.nn.modules.container.Sequential") + b")\x81}q\x63(" + str_("_modules") + b"h\x63ub", ["cycle", "itself", "_modules", "_parameters"])
    deep = 100_000
    add_model("deep_tuples", "an attribute of 100,000 nested tuples", sequential(linear(), extra=b")" + b"\x85" * deep), ["nest", "deep", "depth", "extra"])
    add_model("deep_lists", "an attribute of 100,000 nested lists", sequential(linear(), extra=b"]" * deep + b"a" * (deep - 1)), ["nest", "deep", "depth", "extra"])
    add_model("deep_dicts", "an attribute of 100,000 nested dicts", sequential(linear(), extra=b"}N" * deep + b"}" + b"s" * deep), ["nest", "deep", "depth", "extra"])
    add_model("deep_root", "100,000 nested tuples in place of a model", b")" + b"\x85" * deep, ["nest", "deep", "depth", "module"])
    add_model("deep_marks", "100,000 MARKs", b"(" * deep + b"t" * deep, ["nest", "deep", "depth", "module"])
    add_model("deep_reduce", "100,000 nested calls of OrderedDict",
              global_("collections.OrderedDict") + b"q\0" + b"0" + b"h\0" * deep + b")" + b"R\x85" * (deep - 1) + b"R", ["nest", "deep", "depth", "module", "OrderedDict"])

    def nested_sequentials(count, core):
        # The names once into the memo, then 14 bytes a level.
        names = global_("torch.nn.modules.container.Sequential") + b"q\1" + b"0" + str_("_modules") + b"q\2" + b"0" + str_("0") + b"q\3" + b"0"
        return names + b"h\1)\x81}h\2}h\3" * count + core + b"ssb" * count

    add_model("deep_sequentials", "30,000 nested Sequentials with a Linear at the core", nested_sequentials(30_000, linear()), ["nest", "deep", "depth"])
    core = linear()
    for _ in range(50):
        core = sequential(core)
    add_model("nested_50", "50 nested Sequentials with a Linear at the core", core, outcome="legal")
    doubled = b")" + b"2\x86" * 64
    add_model("laughs_tuple", "an attribute of 64 pairs of the same value, each within the next: 2^64 leaves", sequential(linear(), extra=doubled),
              ["extra", "large", "limit", "too many", "nest"], outcome="error or legal")
    twice = activation("ReLU", inplace=False)
    for _ in range(40):
        twice = twice + b"q\x63" + b"0" + module(
            "torch.nn.modules.container.Sequential",
            state={"training": True, "_parameters": {}, "_buffers": {}, "_modules": {"0": b"h\x63", "1": b"h\x63"}},
        )
    add_model("laughs_modules", "40 Sequentials that each hold the one before twice: 2^40 ReLUs", twice, ["large", "limit", "too many", "nest", "layers"])


def tensors():
    def weight(name, what, opcodes, *words, **other):
        add_model(f"tensor_{name}", what, sequential(linear(weight=opcodes)), *words, place="0.weight", **other)

    def shaped(name, what, *args, **kwargs):
        weight(name, what, parameter(tensor(*args, **kwargs)), ["storage", "stride", "size", "shape", "offset", "large", "data/0"])

    shaped("stride_negative", "a negative stride", (2, 3), (-3, 1), 3)
    shaped("stride_huge", "a stride of 2^62", (2, 3), (2**62, 1))
    shaped("stride_overflow", "strides and sizes whose product overflows 64 bits", (2, 3), (2**63 - 1, 2**63 - 1))
    shaped("stride_long", "a stride of 2^70", (2, 3), (2**70, 1))
    shaped("stride_beyond", "a stride that reaches one element beyond the storage", (2, 3), (4, 1))
    shaped("strides_fewer", "fewer strides than sizes", (2, 3), (3,))
    shaped("strides_more", "more strides than sizes", (2, 3), (6, 3, 1))
    shaped("offset_negative", "a negative offset", (2, 3), (3, 1), -1)
    shaped("offset_huge", "an offset of 2^63 - 1", (2, 3), (3, 1), 2**63 - 1)
    shaped("offset_one", "an offset that moves the last element beyond the storage", (2, 3), (3, 1), 1)
    shaped("size_negative", "a negative size", (-2, -3), (3, 1))
    shaped("size_overflow", "sizes whose product overflows 64 bits", (2**32, 2**32, 2**32))
    shaped("size_overflow_to_zero", "sizes whose product is 0 modulo 2^64", (2**32, 2**32), (1, 1))
    shaped("size_long", "a size of 2^70", (2**70, 3), (3, 1))
    shaped("size_text", "a size that is text", ("2", 3), (3, 1))
    shaped("size_float", "a size that is a floating-point number", (2.0, 3), (3, 1))
    shaped("expanded", "2^20 x 2^20 elements with strides 0 on one stored number", (2**20, 2**20), (0, 0))
    shaped("rank_huge", "rank 10,000", (1,) * 10_000, (1,) * 10_000)

    def stored(name, what, opcodes, *words, **other):
        weight(f"storage_{name}", what, parameter(tensor((2, 3), at=opcodes)), *words, **other)

    stored("claims_less", "the pickle gives the storage 2 elements, the tensor needs 6", storage(numel=2), ["storage", "data/0"])
    stored("claims_more", "the pickle gives the storage 2^40 elements, the record has 6", storage(numel=2**40), ["storage", "data/0"])
    stored("claims_overflow", "the pickle gives the storage 2^62 elements: the bytes overflow", storage(numel=2**62), ["storage", "data/0"])
    stored("claims_negative", "the pickle gives the storage -6 elements", storage(numel=-6), ["storage", "data/0"])
    stored("claims_text", "the storage's number of elements is text", storage(numel="6"), ["storage", "data/0"])
    stored("unknown_kind", "a storage of a kind that torch does not have", storage(kind="torch.FooStorage"), "FooStorage")
    stored("not_torch", "a storage kind from another module", storage(kind="evil.FloatStorage"), "evil.FloatStorage")
    stored("path_key", "a storage key that climbs out of the archive", storage(key="../../../etc/passwd"), "etc/passwd")
    stored("number_key", "a storage key that is a number", storage(key=0), ["storage"])
    stored("missing", "a storage that has no record", storage(key="9"), "data/9")
    stored("int64", "a Linear whose weight is int64", storage(kind="torch.LongStorage", numel=3), ["int64", "long", "data/0", "storage"])
    stored("none", "None in place of a storage", NONE, ["storage"])
    stored("persistent_text", "a persistent id that is text", str_("storage") + b"Q", ["persistent", "storage"])
    stored("persistent_short", "a persistent id of two values", value(("storage", "0")) + b"Q", ["persistent", "storage"])
    stored("persistent_kind", "a persistent id that does not say 'storage'",
           value(("module", global_("torch.FloatStorage"), "0", "cpu", 6)) + b"Q", ["persistent", "module", "storage"])
    stored("cuda", "a storage that was on a GPU when saved: its bytes are in the file all the same", storage(location="cuda:0"), outcome="legal")
    two = sequential(linear(bias=parameter(tensor((2,), at=storage("0", 2, kind="torch.IntStorage")))))
    add_model("tensor_storage_two_kinds", "one storage key read as float32 and as int32", two, ["data/0", "int32", "IntStorage"], place="0.bias")
    weight("few_arguments", "_rebuild_tensor_v2 with one argument", parameter(call("torch._utils._rebuild_tensor_v2", storage())), "_rebuild_tensor_v2")
    weight("many_arguments", "_rebuild_tensor_v2 with ten arguments",
           parameter(call("torch._utils._rebuild_tensor_v2", *[storage()] * 10)), "_rebuild_tensor_v2")
    weight("unknown_rebuild", "a rebuild function that torch does not have", parameter(call("torch._utils._rebuild_foo", storage())), "_rebuild_foo")
    weight("quantized", "a quantised tensor", parameter(call("torch._utils._rebuild_qtensor", storage(), 0, (2, 3), (3, 1), (), False, ordered_dict())), "_rebuild_qtensor")
    nan = archive(weight=struct.pack("<6f", float("nan"), -2.0, 0.5, float("inf"), 3.0, -1.5))
    add("tensor_nan", "weights that are NaN and infinite: legal, and kept", nan, outcome="legal", y=["NaN", "Infinity"])


def layers():
    def one(name, what, opcodes, *words, **other):
        add_model(name, what, sequential(opcodes), *words, place="0", **other)

    good = {"weight": parameter(tensor((2, 3))), "bias": None}
    one("linear_no_weight", "a Linear without weight", linear(parameters={"bias": None}), "Linear", "weight")
    one("linear_weight_none", "a Linear whose weight is None", linear(weight=NONE), "Linear", "weight")
    one("linear_weight_text", "a Linear whose weight is text", linear(weight=str_("weight")), "Linear", "weight")
    one("linear_weight_rank1", "a Linear whose weight has rank 1", linear(weight=parameter(tensor((6,)))), "Linear", "weight")
    one("linear_weight_transposed", "a Linear(3, 2) whose weight is 3 x 2", linear(weight=parameter(tensor((3, 2)))), "Linear", "weight")
    one("linear_bias_long", "a Linear whose bias is too long", linear(bias=parameter(tensor((6,)))), "Linear", "bias")
    one("linear_no_bias_entry", "a Linear without an entry for bias", linear(parameters={"weight": good["weight"]}), "Linear", "bias")
    one("linear_in_features_text", "a Linear whose in_features is text", linear(in_features="three"), "Linear", "in_features")
    one("linear_in_features_wrong", "a Linear whose in_features is not its weight's", linear(in_features=7), "Linear", ["in_features", "weight"])
    one("linear_extra_parameter", "a Linear with a parameter that torch's has not", linear(parameters={**good, "gain": good["weight"]}), "Linear", "gain")
    one("linear_extra_buffer", "a Linear with a buffer that torch's has not", linear(_buffers={"mask": tensor((2, 3))}), "Linear", "mask")
    one("linear_child", "a Linear with a child", linear(children={"inner": activation("ReLU", inplace=False)}), "Linear", "inner")
    one("linear_forward", "a Linear whose forward was replaced: Python would call the attribute", linear(forward=global_("evil.forward")), "Linear", "forward")
    one("linear_no_state", "a Linear without state", global_("torch.nn.modules.linear.Linear") + b")\x81", "Linear")
    one("linear_state_list", "a Linear whose state is a list", global_("torch.nn.modules.linear.Linear") + b")\x81]b", "Linear")
    one("linear_parameters_list", "a Linear whose _parameters is a list", module("torch.nn.modules.linear.Linear", state={"_parameters": [1, 2]}), "Linear", "_parameters")
    one("linear_arguments", "a Linear made with arguments", global_("torch.nn.modules.linear.Linear") + b"K\1K\2\x86\x81" + value({"training": True}) + b"b", "Linear")
    conv_faults = {
        "groups_0": ("groups", 0), "groups_negative": ("groups", -1), "groups_not_dividing": ("groups", 2),
        "groups_text": ("groups", "1"), "stride_0": ("stride", (0, 1)), "stride_negative": ("stride", (-1, 1)),
        "stride_triple": ("stride", (1, 1, 1)), "padding_negative": ("padding", (-1, 0)), "padding_unknown": ("padding", "full"),
        "padding_huge": ("padding", (2**62, 2**62)), "dilation_0": ("dilation", (0, 1)), "dilation_huge": ("dilation", (2**62, 1)),
        "kernel_wrong": ("kernel_size", (3, 3)), "kernel_0": ("kernel_size", (0, 3)), "padding_mode": ("padding_mode", "mirror"),
        "channels_wrong": ("in_channels", 3), "transposed": ("transposed", True), "output_padding": ("output_padding", (1, 1)),
        "stride_none": ("stride", None), "stride_float": ("stride", (1.5, 1)), "stride_long": ("stride", (2**70, 1)),
    }  # fmt: skip
    for name, (attribute, v) in conv_faults.items():
        one(f"conv2d_{name}", f"Conv2d with {attribute} = {v!r}", conv2d(**{attribute: v}), "Conv2d", attribute)
    for kind in ("Avg", "Max"):
        faults = {
            "kernel_0": ("kernel_size", 0), "kernel_negative": ("kernel_size", (2, -2)), "kernel_text": ("kernel_size", "2"),
            "kernel_triple": ("kernel_size", (1, 2, 3)), "stride_0": ("stride", 0), "stride_text": ("stride", "2"),
            "padding_negative": ("padding", -1), "padding_over_half": ("padding", 2), "ceil_mode_text": ("ceil_mode", "no"),
        }  # fmt: skip
        faults.update({
            "Avg": {"divisor_0": ("divisor_override", 0), "divisor_text": ("divisor_override", "2"), "count_text": ("count_include_pad", "yes")},
            "Max": {"dilation_0": ("dilation", 0), "dilation_negative": ("dilation", -1), "return_indices": ("return_indices", True)},
        }[kind])  # fmt: skip
        for name, (attribute, v) in faults.items():
            one(f"{kind.lower()}pool2d_{name}", f"{kind}Pool2d with {attribute} = {v!r}", pool(kind, **{attribute: v}), f"{kind}Pool2d", attribute)
    for cls, attributes, faults in hostile_spatial.spatial_faults():
        short = cls.split(".")[1]
        for name, attribute, v in faults:
            opcodes = module(f"torch.nn.modules.{cls}", **{**attributes, attribute: v})
            words = hostile_spatial.named(name, attribute)
            one(f"{short.lower()}_{name}", f"{short} with {attribute} = {v!r}", opcodes, short, *words)
    attributes, faults = hostile_spatial.convolution_faults()
    for name, attribute, v in faults:
        opcodes = module("torch.nn.modules.conv.ConvTranspose2d", {"weight": parameter(tensor((1, 1, 2, 3))), "bias": None},
                         **{**attributes, attribute: v})
        words = hostile_spatial.named(name, attribute)
        one(f"convtranspose2d_{name}", f"ConvTranspose2d with {attribute} = {v!r}", opcodes, "ConvTranspose2d", *words)
    norm_faults = {
        "shape_empty": ("normalized_shape", ()), "shape_negative": ("normalized_shape", (-3,)), "shape_text": ("normalized_shape", "3"),
        "eps_text": ("eps", "small"), "affine_text": ("elementwise_affine", "yes"),
    }  # fmt: skip
    for name, (attribute, v) in norm_faults.items():
        one(f"layernorm_{name}", f"LayerNorm with {attribute} = {v!r}", layer_norm(**{attribute: v}), "LayerNorm", attribute)
    one("layernorm_weight_shape", "LayerNorm whose weight does not have normalized_shape",
        layer_norm(parameters={"weight": good["weight"], "bias": None}, elementwise_affine=True), "LayerNorm", "weight")
    one("flatten_text", "Flatten with start_dim = 'x'", module("torch.nn.modules.flatten.Flatten", start_dim="x", end_dim=-1), "Flatten", "start_dim")
    one("leakyrelu_none", "LeakyReLU with negative_slope = None", activation("LeakyReLU", negative_slope=None, inplace=False), "LeakyReLU", "negative_slope")
    one("gelu_unknown", "GELU with approximate = 'quick'", activation("GELU", approximate="quick"), "GELU", "approximate")
    one("softmax_text", "Softmax with dim = 'x'", activation("Softmax", dim="x"), "Softmax", "dim")
    one("softplus_text", "Softplus with beta = 'x'", activation("Softplus", beta="x", threshold=20.0), "Softplus", "beta")
    one("relu_parameter", "a ReLU with a parameter", activation("ReLU", parameters={"slope": parameter(tensor((2, 3)))}, inplace=False), "ReLU", "slope")
    one("child_none", "a Sequential with None as a child", NONE, "0")
    one("child_text", "a Sequential with text as a child", str_("relu"), "0")
    one("child_tensor", "a Sequential with a tensor as a child", tensor((2, 3)), "0")
    add_model("child_name_number", "a Sequential whose child's name is a number",
              module("torch.nn.modules.container.Sequential", children={5: linear()}), ["name", "_modules"])
    add_model("modules_list", "a Sequential whose _modules is a list", module("torch.nn.modules.container.Sequential", state={"_modules": [1]}), "_modules")
    add_model("sequential_forward", "a Sequential whose forward was replaced", sequential(linear(), forward=global_("evil.forward")), "forward")
    add_model("child_name_control", "a child whose name holds terminal escapes, with a fault inside",
              module("torch.nn.modules.container.Sequential", children={"\x1b[2Jx": linear(weight=NONE)}), "Linear", "weight")
    add_model("class_is_module", "a torch class that is no layer", sequential(module("torch.nn.modules.module.Module")), ["torch.nn.modules.module.Module"], place="0")


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    zips()
    legacy_streams()
    tars()
    pickles()
    tensors()
    layers()
    lines = ",\n".join(json.dumps(entry) for entry in INDEX)
    (HERE / "index.json").write_text(f"[\n{lines}\n]\n")
    print(len(INDEX), "files")


if __name__ == "__main__":
    main()
