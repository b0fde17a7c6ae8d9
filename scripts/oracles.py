#!/usr/bin/env python3
"""Golden files for the number formats: what other people's code and exact rationals say, kept in tests/golden/.

    scripts/oracles.py           write the files
    scripts/oracles.py --check   compare them with those checked in; exit status 1 where they differ

tests/formats/golden.rs holds fewbit to the files; no test needs Python. The program makes itself a virtual
environment (target/oracles) with the versions in PINS, unless the Python that runs it has them.

Nothing here uses fewbit, nor the integer routes that fewbit takes. A format's element is its list of values,
a scale is found by comparing with powers of two, and rounding picks one of two neighbours in the list, all in
exact rationals. Wherever ml_dtypes, gfloat or numpy have an opinion too, it must be the same, or the program
stops: ml_dtypes for decoded values and for casts to nearest (where it overflows to NaN or Inf, fewbit
saturates); gfloat for decoded values, all three roundings (its StochasticFastest is fewbit's stochastic
rounding) and the scales and values of MX blocks; numpy for f16.
"""

import argparse
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from itertools import chain
from pathlib import Path

from exact import (
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    F16,
    F32_INF,
    F32_NAN,
    HALF_WORD,
    INT8,
    Q4_4,
    Q8_8,
    SIGN,
    Element,
    bfp,
    block_scale,
    decode_run,
    encode_run,
    exact,
    is_nan,
    pack,
    pow2,
    tensor_scale,
    to_bits,
    value,
)

PINS = {"numpy": "2.4.6", "ml_dtypes": "0.6.0", "gfloat": "0.5.2"}
ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
MAGIC = "fewbit golden file 1\n"


def pinned() -> bool:
    try:
        return all(metadata.version(name) == version for name, version in PINS.items())
    except metadata.PackageNotFoundError:
        return False


def run_in_venv() -> None:
    """Goes on in a virtual environment that has the pinned packages."""
    home = ROOT / "target" / "oracles"
    python = home / "bin" / "python"
    if Path(sys.prefix) == home:
        sys.exit(f"{home} does not have {PINS}: delete it")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pins = [f"{name}=={version}" for name, version in PINS.items()]
        subprocess.run([python, "-m", "pip", "--quiet", "install", *pins], check=True)
    os.execv(python, [python, *sys.argv])


if not pinned():
    run_in_venv()

# Only now are they sure to be there.
import gfloat
import gfloat.formats as gf
import ml_dtypes
import numpy as np
from gfloat import RoundMode

# Who else knows an element: ml_dtypes' type and gfloat's format.
WITNESSES = {
    E5M2: (ml_dtypes.float8_e5m2, gf.format_info_ocp_e5m2),
    E4M3: (ml_dtypes.float8_e4m3fn, gf.format_info_ocp_e4m3),
    E3M2: (ml_dtypes.float6_e3m2fn, gf.format_info_ocp_e3m2),
    E2M3: (ml_dtypes.float6_e2m3fn, gf.format_info_ocp_e2m3),
    E2M1: (ml_dtypes.float4_e2m1fn, gf.format_info_ocp_e2m1),
}
MINIFLOATS = list(WITNESSES)


# Files: sections of little-endian words, each after a line of text


def section(name: str, numbers: list[int], records: list[list[int]]) -> bytes:
    """A line `name records words-per-record numbers..`, then the words."""
    width = len(records[0])
    assert all(len(record) == width for record in records), name
    head = " ".join(str(part) for part in [name, len(records), width, *numbers])
    words = [word for record in records for word in record]
    return head.encode() + b"\n" + struct.pack(f"<{len(words)}I", *words)


def fnv1a(words: list[int]) -> int:
    state = 0xCBF29CE484222325
    for byte in struct.pack(f"<{len(words)}I", *words):
        state = (state ^ byte) * 0x100000001B3 % (1 << 64)
    return state


# Decoded codes


def check_decode(element: Element, code: int) -> None:
    mine = element.decode(code)
    dtype, info = WITNESSES[element]
    raw = np.array([code], np.uint8).view(dtype).astype(np.float32)
    theirs = np.array([gfloat.decode_float(info, code).fval], np.float32)
    for other in (int(raw.view(np.uint32)[0]), int(theirs.view(np.uint32)[0])):
        assert other == mine or (is_nan(other) and is_nan(mine)), (element.name, code)


def decode_file() -> bytes:
    parts = []
    for element in MINIFLOATS:
        for code in range(1 << element.bits):
            check_decode(element, code)
        parts.append(section(element.name, [], [[element.decode(c)] for c in range(1 << element.bits)]))
    scales = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e8m0fnu).astype(np.float64)
    e8m0 = [to_bits(Fraction(float(scale))) for scale in scales[:255]] + [F32_NAN]
    assert np.isnan(scales[255])
    for byte in range(256):
        theirs = gfloat.decode_float(gf.format_info_ocp_e8m0, byte).fval
        assert theirs == scales[byte] or byte == 255, byte
    parts.append(section("e8m0", [], [[bits] for bits in e8m0]))
    for code in range(256):
        theirs = gfloat.decode_float(gf.format_info_ocp_int8, code).fval
        assert value(INT8.decode(code)) == theirs, code
    parts.append(section("int8", [], [[INT8.decode(code)] for code in range(256)]))
    # 256 KiB of f16 as a hash for each high byte: low word, high word.
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32).view(np.uint32)
    words = [F16.decode(code) for code in range(1 << 16)]
    assert all(int(a) == b or (is_nan(int(a)) and is_nan(b)) for a, b in zip(halves, words, strict=True))
    hashes = [fnv1a(words[high * 256 : high * 256 + 256]) for high in range(256)]
    parts.append(section("f16", [], [[h % (1 << 32), h >> 32] for h in hashes]))
    return MAGIC.encode() + b"".join(parts)


# Encoded values without a scale


def boundaries(element: Element, indices: list[int]) -> list[int]:
    """Magnitudes as f32 bits: each code, its f32 neighbours, the midpoint to the next code and its neighbours; the
    overflow and the ends of f32; NaN and Inf."""
    patterns = set()
    for q in indices:
        low, high = element.magnitude(q), element.magnitude(q + 1) if q + 1 < len(element.values) else None
        step = element.magnitude(q) - element.magnitude(q - 1) if high is None else high - low
        for point in (low, low + step / 2, low + step):
            bits = to_bits(point)
            patterns.update([max(bits - 1, 0), bits, bits + 1])
    patterns.update([0, 1, 2, 0x007FFFFF, 0x00800000, 0x00800001, 0x33800000, 0x7F7FFFFF])
    patterns.update([F32_INF, F32_INF + 1, F32_NAN, 0x7FFFFFFF])
    return sorted(patterns)


def check_cast(element: Element, bits: int, nearest: int) -> None:
    """ml_dtypes' cast of a finite value, its overflow saturated; numpy's in f16."""
    x = np.array([bits], np.uint32).view(np.float32)
    if element is F16:
        with np.errstate(over="ignore"):
            assert nearest == x.astype(np.float16).view(np.uint16)[0], hex(bits)
    elif element in WITNESSES:
        cast = int(x.astype(WITNESSES[element][0]).view(np.uint8)[0])
        finite = cast & ((1 << (element.bits - 1)) - 1) < len(element.values)
        negative = bits >= SIGN
        assert nearest == (cast if finite else element.code(element.top(negative), negative)), (element.name, hex(bits))


def check_gfloat(element: Element, bits: int, mode: RoundMode, code: int, r16: int = 0) -> None:
    """gfloat's saturating conversion of a finite value."""
    if element in WITNESSES:
        info = WITNESSES[element][1]
        rounded = gfloat.round_float(info, value(bits), mode, True, r16, 16)
        assert gfloat.encode_float(info, rounded) == code, (element.name, hex(bits), mode, r16)


def encode_record(element: Element, bits: int) -> list[int]:
    """x; nearest, toward zero; stochastic: the code away from zero and the least r16 that gives it (0: all do)."""
    special = element.special(bits)
    if special is not None:
        return [bits, special | special << 16, special]
    negative, x = bits >= SIGN, exact(bits)
    nearest, cut = (element.round(x, negative, mode) for mode in ("nearest", "toward-zero"))
    check_cast(element, bits, nearest)
    check_gfloat(element, bits, RoundMode.TiesToEven, nearest)
    check_gfloat(element, bits, RoundMode.TowardZero, cut)
    fraction = int(element.neighbours(x)[1] * HALF_WORD)
    threshold = 0 if fraction == 0 or fraction >= HALF_WORD else HALF_WORD - fraction
    up = element.round(x, negative, "stochastic", threshold)
    for r16 in {0, max(threshold - 1, 0), threshold, HALF_WORD - 1}:
        stochastic = up if r16 >= threshold else cut
        check_gfloat(element, bits, RoundMode.StochasticFastest, stochastic, r16)
    return [bits, nearest | cut << 16, up | threshold << 16]


def some_indices(element: Element, generator: random.Random, count: int) -> list[int]:
    """Every index, or the ends, both sides of the powers of two, and some between."""
    last = len(element.values) - 1
    if last < 256:
        return list(range(last + 1))
    picked = {0, 1, 2, 3, last - 2, last - 1, last}
    if element.twos:
        picked.update(q for k in range(2, last.bit_length()) for q in (2**k - 1, 2**k))
    else:
        picked.update(q for field in range(1, last // 1024 + 1) for q in (field * 1024 - 1, field * 1024))
    picked.update(generator.randrange(last) for _ in range(count))
    return sorted(picked)


def encode_file() -> bytes:
    parts, generator = [], random.Random(14)
    for element in [*MINIFLOATS, Q4_4, Q8_8, F16]:
        magnitudes = boundaries(element, some_indices(element, generator, 24))
        # Below zero: every fifth and the largest of all, where two's complement has one code more.
        below = sorted({*magnitudes[::5], *magnitudes[-16:]})
        patterns = magnitudes + [SIGN | bits for bits in below]
        parts.append(section(element.name, [], [encode_record(element, bits) for bits in patterns]))
    return MAGIC.encode() + b"".join(parts)


# Rows: what blocks and tensors are encoded from


COLUMNS = 32


def fill(kind: str, amax: int, generator: random.Random) -> list[int]:
    """A row whose largest magnitude has the bits `amax` (an f32), in a random place, among values of some kind."""
    field, row = max(amax >> 23, 1), []
    for i in range(COLUMNS):
        down = generator.randrange(0, 10) if kind != "wide" else generator.randrange(0, 60)
        head = generator.getrandbits(9) << 14
        if kind == "ties":
            # Few significant bits, an odd last one: midpoints of one width of code or another.
            bits = max(field - down, 1) << 23 | (head & (-1 << generator.randrange(14, 23)))
        elif kind == "beside ties":
            bits = (max(field - down, 1) << 23 | head & (-1 << generator.randrange(16, 23))) + generator.choice([-1, 1])
        elif kind == "tiny":
            bits = generator.choice([0, 1, 0x00400000, max(field - 40, 0) << 23 | generator.getrandbits(23)])
        elif kind == "subnormal":
            bits = generator.getrandbits(23) >> generator.randrange(0, 23)
        else:
            bits = max(field - down, 0) << 23 | generator.getrandbits(23)
        row.append(min(bits, amax) | generator.getrandbits(1) << 31)
    place = generator.randrange(COLUMNS)
    row[place] = amax | row[place] & SIGN
    return row


def make_rows() -> tuple[list[list[int]], list[list[int]]]:
    """Inputs and 16 random bits for each."""
    generator = random.Random(2026)
    one = 0x3F800000
    ends = [1, 2, 0x200, 0x10000, 0x00200000, 0x003FFFFF, 0x00400000, 0x007FFFFF]
    beside = [(field << 23) + d for field in (1, 2, 9, 17, 126, 127, 128, 150, 254) for d in (-1, 0, 1)]
    high = [0x7F7FFFFF, 0x7F7F0000, 0x7F400000, one + 0x600000, one + 0x600001, one + 0x780000, one + 0x7F0000]
    kinds = ["ties", "beside ties", "wide", "plain", "tiny"]
    rows = [fill(kinds[i % len(kinds)], amax, generator) for i, amax in enumerate(beside + high)]
    rows += [fill("subnormal", amax, generator) for amax in ends]
    rows += [fill(kind, one | generator.getrandbits(23), generator) for kind in kinds for _ in range(2)]
    rows += [[0] * COLUMNS, [SIGN] * COLUMNS, [SIGN * (i % 2) for i in range(COLUMNS)]]
    for bad in (F32_NAN, 0xFF800001, 0xFFFFFFFF, F32_INF, SIGN | F32_INF):
        row = fill("plain", one | generator.getrandbits(23), generator)
        row[generator.randrange(COLUMNS)] = bad
        rows.append(row)
    # One half zero, then the other.
    rows += [[0] * 16 + rows[0][16:], rows[3][:16] + [SIGN] * 16]
    draws = [[generator.getrandbits(16) for _ in row] for row in rows]
    for i, r16 in ((1, 0), (2, 0xFFFF), (28, 0xFFFF), (36, 0xFFFF)):
        draws[i] = [r16] * COLUMNS
    return rows, draws


def rows_file(rows: list[list[int]], draws: list[list[int]]) -> bytes:
    pairs = [[low | high << 16 for low, high in zip(r16[::2], r16[1::2], strict=True)] for r16 in draws]
    return MAGIC.encode() + section("values", [], rows) + section("r16", [], pairs)


def check_mx(element: Element, info, values: list[int], byte: int, codes: list[int]) -> None:
    """gfloat's scale and decoded values of a finite MX block. It has -2.0 where fewbit's INT8 stops at -127/64."""
    x = np.array([value(bits) for bits in values], np.float64)
    scale = gfloat.block.compute_scale_amax(info.etype.emax, x)
    assert scale == float(pow2(byte - 127)), (element.name, byte)
    theirs = gfloat.quantize_block(info, x, gfloat.block.compute_scale_amax, RoundMode.TiesToEven)
    mine = np.array([value(bits) for bits in decode_run(element, byte, codes)])
    assert np.all((mine == theirs) | (element.twos & (theirs == -2 * scale) & (mine == -127 / 64 * scale))), info


# Rows in a format


@dataclass(frozen=True)
class RowFormat:
    name: str
    element: Element
    block: int
    columns: int
    scale_of: Callable[[Fraction], int]
    mx: gfloat.BlockFormatInfo | None = None
    tensor: bool = False
    stride: int = 1

    def encode(self, values: list[int], draws: list[int]) -> list[int]:
        """Scale words; code words nearest, toward zero, stochastic; the decoded nearest."""
        scales, decoded = [], []
        codes = {"nearest": [], "toward-zero": [], "stochastic": []}
        for start in range(0, len(values), self.block):
            run = slice(start, start + self.block)
            byte, some = encode_run(self.element, values[run], draws[run], self.scale_of)
            if self.mx is not None and byte < 255:
                check_mx(self.element, self.mx, values[run], byte, some["nearest"])
            scales.append(byte)
            for mode, all_codes in codes.items():
                all_codes += some[mode]
            decoded += decode_run(self.element, byte, some["nearest"])
        words = pack(scales, 8)
        if self.tensor:
            words = [F32_NAN if byte == 255 else to_bits(pow2(byte - 127)) for byte in scales]
        for all_codes in codes.values():
            words += pack(all_codes, self.element.bits)
        return words + decoded


def rows_in(formats: list[RowFormat], rows: list[list[int]], draws: list[list[int]]) -> bytes:
    """A section each: every `stride`-th of the rows of `columns` values that follow one another in all of `rows`."""
    values, r16 = list(chain.from_iterable(rows)), list(chain.from_iterable(draws))
    parts = []
    for form in formats:
        starts = range(0, len(values) - form.columns + 1, form.columns)
        taken = [slice(i, i + form.columns) for i in starts[:: form.stride]]
        records = [form.encode(values[at], r16[at]) for at in taken]
        parts.append(section(form.name, [form.columns, form.stride], records))
    return MAGIC.encode() + b"".join(parts)


def mx_formats() -> list[RowFormat]:
    table = [
        ("mxfp8-e4m3", E4M3, gf.format_info_mxfp8_e4m3),
        ("mxfp8-e5m2", E5M2, gf.format_info_mxfp8_e5m2),
        ("mxfp6-e3m2", E3M2, gf.format_info_mxfp6_e3m2),
        ("fp6-e2m3-32", E2M3, gf.format_info_mxfp6_e2m3),
        ("mxfp4", E2M1, gf.format_info_mxfp4_e2m1),
        ("mxint8", INT8, gf.format_info_mxint8),
    ]
    return [RowFormat(name, e, 32, 32, lambda amax, e=e: block_scale(amax, e.emax), info) for name, e, info in table]


def bfp_formats() -> list[RowFormat]:
    shapes = [(m, 16, COLUMNS, 1 if m in (2, 5, 8) else 2) for m in range(2, 9)]
    # Other blocks in longer rows: 41 and 91 are no multiples of theirs.
    shapes += [(3, 8, 41, 8), (5, 16, 41, 7), (6, 32, 91, 4), (5, 64, 128, 3), (8, 128, 256, 2)]
    return [
        RowFormat(f"bfp{m}-{block}", bfp(m), block, columns, lambda amax: block_scale(amax, 0), stride=stride)
        for m, block, columns, stride in shapes
    ]


def tensor_formats() -> list[RowFormat]:
    # A row is a tensor.
    return [
        RowFormat(
            f"{e.name}-tensor", e, COLUMNS, COLUMNS, lambda amax, e=e: tensor_scale(amax, e), tensor=True, stride=3
        )
        for e in MINIFLOATS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files checked in")
    check = parser.parse_args().check
    rows, draws = make_rows()
    files = {
        "decode.bin": decode_file(),
        "encode.bin": encode_file(),
        "rows.bin": rows_file(rows, draws),
        "mx.bin": rows_in(mx_formats(), rows, draws),
        "bfp.bin": rows_in(bfp_formats(), rows, draws),
        "tensor.bin": rows_in(tensor_formats(), rows, draws),
    }
    differ = []
    for name, content in files.items():
        path = GOLDEN / name
        if not check:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            differ.append(name)
        print(f"{name}: {len(content)} bytes")
    if differ:
        sys.exit(f"differ from those checked in: {', '.join(differ)}")


if __name__ == "__main__":
    main()
