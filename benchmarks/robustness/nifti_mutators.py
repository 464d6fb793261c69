"""Damage to a NIfTI's header and voxels; a packed file is packed again, so that its checksums are right."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random

from benchmarks.robustness.mutation import Change, Mutator, Seed, flip_bit
from benchmarks.robustness.nifti_fields import NEEDED, VOXEL_BYTES, Field, fields_of, value_of
from benchmarks.robustness.nifti_seeds import nifti_seeds

Files = Mapping[str, bytes] | None
_FORMS = ("quatern", "qoffset", "srow_x", "srow_y", "srow_z", "qform_code", "sform_code")
_WHOLE = (0, -1, 1, 2, 3, 4, 5, 6, 8, 9, 16, 32, 64, 128, 255, 256, 512, 768, 1024, 1536, 2304, 32767, -32768)
_REAL = (
    0.0,
    -0.0,
    -1.0,
    1.0,
    math.nan,
    math.inf,
    -math.inf,
    1e6,
    1e-6,
    1e38,
    -1e38,
    1e-40,
    352.0,
    353.0,
    352.5,
    544.0,
    2.5,
)


@cache
def _plain(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _written(seed: Seed, name: str, plain: bytes | None) -> Files:
    if plain is None:
        return None
    return {**seed.files, name: gzip.compress(plain, compresslevel=1, mtime=0) if name.endswith(".gz") else plain}


def _on_header(change: Callable[[Random, bytes], bytes | None]) -> Change:
    """A change of the unpacked file that holds the header."""

    def on_a_file(rng: Random, seed: Seed) -> Files:
        name = min(seed.files)  # .hdr comes before .img
        return _written(seed, name, change(rng, _plain(seed.files[name])))

    return on_a_file


def _on_any(change: Callable[[Random, bytes], bytes | None]) -> Change:
    """A change of the whole unpacked file, of either half of a pair."""

    def on_a_file(rng: Random, seed: Seed) -> Files:
        name = rng.choice(sorted(seed.files))
        return _written(seed, name, change(rng, _plain(seed.files[name])))

    return on_a_file


def _on_voxels(change: Callable[[Random, bytes], bytes | None]) -> Change:
    """A change of the voxels' bytes."""

    def on_a_file(rng: Random, seed: Seed) -> Files:
        name, plain = max(seed.files), _plain(seed.files[max(seed.files)])
        at = 0 if len(seed.files) > 1 else int(value_of(plain, fields_of(plain)["vox_offset"])[0])
        new = change(rng, plain[at:])
        return _written(seed, name, None if new is None else plain[:at] + new)

    return on_a_file


def _flip_in(names: Sequence[str]) -> Change:
    def change(rng: Random, plain: bytes) -> bytes | None:
        found = [field for name, field in fields_of(plain).items() if name in names]
        if not found:
            return None
        field = rng.choice(found)
        return flip_bit(rng, plain, field.start, field.end)

    return _on_header(change)


def flip_header(rng: Random, plain: bytes) -> bytes:
    return flip_bit(rng, plain, 0, fields_of(plain)["extension"].end)


def flip_unused(rng: Random, plain: bytes) -> bytes:
    unused = [field for name, field in fields_of(plain).items() if name not in NEEDED]
    field = rng.choice(unused)
    return flip_bit(rng, plain, field.start, field.end)


def flip_several(rng: Random, plain: bytes) -> bytes:
    for _ in range(rng.randint(2, 8)):
        plain = flip_header(rng, plain)
    return plain


def flip_voxel(rng: Random, body: bytes) -> bytes:
    return flip_bit(rng, body, 0, len(body))


def _set(plain: bytes, field: Field, at: int, value: float) -> bytes | None:
    """One value of a field; None where the field's type cannot hold it, or it is there already."""
    kind = field.layout[0] + field.layout[-1]
    try:
        new = struct.pack(kind, value if kind[-1] in "fd" else int(value))
    except (struct.error, OverflowError, ValueError):
        return None
    start = field.start + at * field.size
    changed = plain[:start] + new + plain[start + field.size :]
    return None if changed == plain else changed


def nonsense(rng: Random, plain: bytes) -> bytes | None:
    """A needed field holds nan, inf, a negative or huge number, or another field's value."""
    fields = fields_of(plain)
    field = fields[rng.choice([name for name in NEEDED if name != "magic"])]
    count = len(value_of(plain, field))
    real = field.layout[-1] in "fd"
    drawn = rng.choice(_REAL) if real else rng.choice([*_WHOLE, *((2**31 - 1, 2**40) if field.size > 2 else ())])
    return _set(plain, field, rng.randrange(count), drawn)


def dims_lie(rng: Random, plain: bytes) -> bytes | None:
    field = fields_of(plain)["dim"]
    dim = value_of(plain, field)
    at = rng.randrange(0, 1 + dim[0])
    new = rng.choice([0, -1, 1, dim[at] + 1, dim[at] - 1, dim[at] * 2, dim[at] // 2, 32767, rng.randrange(1, 2000)])
    return _set(plain, field, at, new)


def dims_exchanged(rng: Random, plain: bytes) -> bytes | None:
    """The same number of voxels in another arrangement: plausible, unless forms and pixdim say otherwise."""
    field = fields_of(plain)["dim"]
    dim = list(value_of(plain, field))
    if dim[0] < 2 or len(set(dim[1 : 1 + dim[0]])) < 2:
        return None
    first, second = rng.sample(range(1, 1 + dim[0]), 2)
    dim[first], dim[second] = dim[second], dim[first]
    return plain[: field.start] + struct.pack(field.layout, *dim) + plain[field.end :]


def another_type(rng: Random, plain: bytes) -> bytes | None:
    """Another data type; half of the time with the bits that belong to it."""
    fields = fields_of(plain)
    new = rng.choice([*VOXEL_BYTES, 0, 1, 32, 128, 1536, 1792, 2048, 2304])
    changed = _set(plain, fields["datatype"], 0, new)
    if changed is None or new not in VOXEL_BYTES or rng.random() < 0.5:
        return changed
    return _set(changed, fields["bitpix"], 0, 8 * VOXEL_BYTES[new]) or changed


def offset_lies(rng: Random, plain: bytes) -> bytes | None:
    field = fields_of(plain)["vox_offset"]
    old = value_of(plain, field)[0]
    return _set(
        plain, field, 0, rng.choice([0, -352, old + 1, old + 2, old + 4, old + 16, old - 4, old * 2, 1e9, len(plain)])
    )


def form_changed(rng: Random, plain: bytes) -> bytes | None:
    """One number of a form grows, shrinks or changes its sign."""
    field = fields_of(plain)[rng.choice(_FORMS[:5])]
    at = rng.randrange(len(value_of(plain, field)))
    old = value_of(plain, field)[at]
    return _set(plain, field, at, rng.choice([-old, old * 1.02, old * 0.9, old * 2, old + 0.5, old + 20, 0.0]))


def code_changed(rng: Random, plain: bytes) -> bytes | None:
    field = fields_of(plain)[rng.choice(_FORMS[5:])]
    return _set(plain, field, 0, rng.choice([0, 1, 2, 3, 4, 5, 6, 100, -1]))


def another_edge(rng: Random, plain: bytes) -> bytes | None:
    """A voxel edge of another plausible length, or qfac of the other sign."""
    field = fields_of(plain)["pixdim"]
    at = rng.randrange(4)
    old = value_of(plain, field)[at]
    return _set(plain, field, at, -old if at == 0 else old * rng.choice([0.5, 0.9, 1.005, 1.02, 1.1, 2.0, 3.0]))


def another_scaling(rng: Random, plain: bytes) -> bytes | None:
    field = fields_of(plain)[rng.choice(["scl_slope", "scl_inter"])]
    return _set(plain, field, 0, rng.choice([0.0, 1.0, 2.0, 0.5, -1.0, 1.01, 1024.0, math.nan, math.inf, 1e-30, 1e38]))


def another_unit(rng: Random, plain: bytes) -> bytes | None:
    return _set(plain, fields_of(plain)["xyzt_units"], 0, rng.randrange(32))


def byte_order_of_header(rng: Random, plain: bytes) -> bytes:
    """Every header field in the other order, the voxels as they are."""
    head = b""
    for field in fields_of(plain).values():
        values = value_of(plain, field)
        other = ("<" if field.layout[0] == ">" else ">") + field.layout[1:]
        head += struct.pack(other, *values)
    return head + plain[len(head) :]


def bytes_swapped(rng: Random, body: bytes) -> bytes:
    """Each pair of voxel bytes is exchanged, the header as it is."""
    swapped = bytearray(body[: len(body) // 2 * 2])
    swapped[::2], swapped[1::2] = swapped[1::2], swapped[::2]
    return bytes(swapped) + body[len(swapped) :]


def halves_exchanged(rng: Random, data: bytes) -> bytes:
    middle = len(data) // 2
    return data[middle:] + data[:middle]


@cache
def _donors() -> list[bytes]:
    return [_plain(seed.files[min(seed.files)]) for seed in nifti_seeds()]


def header_of_another(rng: Random, plain: bytes) -> bytes:
    donor, size = rng.choice(_donors()), fields_of(plain)["extension"].end
    return donor[:size] + plain[size:]


def field_of_another(rng: Random, plain: bytes) -> bytes | None:
    """One needed field as another file has it."""
    name, donor = rng.choice([name for name in NEEDED if name not in ("magic", "sizeof_hdr")]), rng.choice(_donors())
    own, other = fields_of(plain)[name], fields_of(donor)[name]
    if own.layout != other.layout:
        return None
    return plain[: own.start] + donor[other.start : other.end] + plain[own.end :]


def cut(rng: Random, plain: bytes) -> bytes:
    return plain[: rng.randrange(len(plain))]


def cut_near_the_end(rng: Random, plain: bytes) -> bytes:
    return plain[: -rng.randint(1, 16)]


def longer(rng: Random, plain: bytes) -> bytes:
    size = rng.choice([1, 2, 4, 16, 352, 1000, 5000])
    return plain + rng.choice([b"\0" * size, rng.randbytes(size), plain[-size:]])


def stretch_removed(rng: Random, plain: bytes) -> bytes:
    at = rng.randrange(len(plain))
    return plain[:at] + plain[at + rng.choice([1, 2, 4, 16, 348]) :]


def stretch_inserted(rng: Random, plain: bytes) -> bytes:
    at = rng.randrange(len(plain))
    return plain[:at] + rng.randbytes(rng.choice([1, 2, 4, 16, 348])) + plain[at:]


def stretch_overwritten(rng: Random, plain: bytes) -> bytes:
    size = min(rng.choice([4, 16, 64]), len(plain))
    at = rng.randrange(len(plain) - size + 1)
    return plain[:at] + rng.choice([b"\0" * size, b"\xff" * size, rng.randbytes(size)]) + plain[at + size :]


NIFTI = (
    *(Mutator(f"a bit of {name}", _flip_in([name])) for name in ("sizeof_hdr", "magic", "dim", "datatype", "bitpix")),
    *(Mutator(f"a bit of {name}", _flip_in([name])) for name in ("pixdim", "vox_offset", "xyzt_units", "extension")),
    Mutator("a bit of the scaling", _flip_in(["scl_slope", "scl_inter"])),
    Mutator("a bit of a form code", _flip_in(_FORMS[5:])),
    Mutator("a bit of the quaternion", _flip_in(["quatern", "qoffset"])),
    Mutator("a bit of the sform", _flip_in(["srow_x", "srow_y", "srow_z"])),
    Mutator("a bit of an unused field", _on_header(flip_unused)),
    Mutator("a bit anywhere in the header", _on_header(flip_header)),
    Mutator("2 to 8 bits in the header", _on_header(flip_several)),
    Mutator("a bit of a voxel", _on_voxels(flip_voxel)),
    Mutator("nonsense in a needed field", _on_header(nonsense)),
    Mutator("dimensions that lie", _on_header(dims_lie)),
    Mutator("dimensions exchanged", _on_header(dims_exchanged)),
    Mutator("another data type", _on_header(another_type)),
    Mutator("an offset that lies", _on_header(offset_lies)),
    Mutator("another number in a form", _on_header(form_changed)),
    Mutator("another form code", _on_header(code_changed)),
    Mutator("another voxel edge", _on_header(another_edge)),
    Mutator("another scaling", _on_header(another_scaling)),
    Mutator("another unit", _on_header(another_unit)),
    Mutator("the header in the other byte order", _on_header(byte_order_of_header)),
    Mutator("voxel bytes in the other order", _on_voxels(bytes_swapped)),
    Mutator("halves of the voxels exchanged", _on_voxels(halves_exchanged)),
    Mutator("halves of the file exchanged", _on_header(halves_exchanged), certain=True),
    Mutator("the header of another file", _on_header(header_of_another)),
    Mutator("a field of another file", _on_header(field_of_another)),
    Mutator("cut at a random byte", _on_any(cut), certain=True),
    Mutator("cut within the last 16 bytes", _on_any(cut_near_the_end), certain=True),
    Mutator("bytes behind the voxels", _on_any(longer), certain=True),
    Mutator("a stretch removed", _on_any(stretch_removed)),
    Mutator("a stretch inserted", _on_any(stretch_inserted)),
    Mutator("a stretch overwritten", _on_any(stretch_overwritten)),
)
