"""The number formats in exact rationals, as tests/golden/README.md words their rules: see oracles.py."""

import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

F32_NAN, F32_INF, SIGN = 0x7FC00000, 0x7F800000, 0x80000000
HALF_WORD = 1 << 16


# f32 bit patterns


def value(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def exact(bits: int) -> Fraction:
    """The magnitude of a finite f32."""
    return Fraction(abs(value(bits)))


def is_nan(bits: int) -> bool:
    return bits & 0x7FFFFFFF > F32_INF


def is_finite(bits: int) -> bool:
    return bits & 0x7FFFFFFF < F32_INF


def to_bits(x: Fraction, sign: int = 0) -> int:
    """The bits of +-x, which must be an f32 exactly."""
    rounded = float(x)
    bits = struct.unpack("<I", struct.pack("<f", rounded))[0]
    assert Fraction(rounded) == x and exact(bits) == x, x
    return sign | bits


def pow2(n: int) -> Fraction:
    return Fraction(2) ** n


def floor_log2(x: Fraction) -> int:
    n = x.numerator.bit_length() - x.denominator.bit_length()
    while pow2(n) > x:
        n -= 1
    while pow2(n + 1) <= x:
        n += 1
    return n


# Elements


@dataclass(frozen=True, eq=False)
class Element:
    """Codes of `bits` bits; `values[q]` is the magnitude of index q. Sign and magnitude, unless `twos`: then the
    code is +-q in two's complement, and the negatives reach `lowest`."""

    name: str
    bits: int
    values: tuple[Fraction, ...]
    nan: int | None = None
    inf: int | None = None
    twos: bool = False
    lowest: int = 0
    saturates: bool = True

    @property
    def largest(self) -> Fraction:
        return self.values[-1]

    @property
    def emax(self) -> int:
        return floor_log2(self.largest)

    def code(self, q: int, negative: bool) -> int:
        if not self.twos:
            return q | (negative << (self.bits - 1))
        signed = max(-q, self.lowest) if negative else min(q, len(self.values) - 1)
        return signed & ((1 << self.bits) - 1)

    def top(self, negative: bool) -> int:
        """The index of the largest magnitude: two's complement may have one more below zero."""
        return -self.lowest if self.twos and negative else len(self.values) - 1

    def magnitude(self, q: int) -> Fraction:
        return self.values[1] * q if self.twos else self.values[q]

    def neighbours(self, x: Fraction) -> tuple[int, Fraction]:
        """The index of the largest value not above x as if there were no largest, and where x lies between it and
        the next (0 to 1). Beyond the list its last step goes on: whatever happens there, it saturates."""
        if self.twos:
            q = x / self.values[1]
            return q.numerator // q.denominator, q - q.numerator // q.denominator
        low = bisect_right(self.values, x) - 1
        last = len(self.values) - 1
        step = self.values[min(low + 1, last)] - self.values[min(low, last - 1)]
        return low, (x - self.values[low]) / step

    def round(self, x: Fraction, negative: bool, mode: str, r16: int = 0) -> int:
        """The code of +-x. It saturates; f16 has Inf after its largest value instead, if not toward zero."""
        low, fraction = self.neighbours(x)
        if mode == "nearest":
            up = fraction > Fraction(1, 2) or (fraction == Fraction(1, 2) and low % 2 == 1)
        elif mode == "stochastic":
            up = int(fraction * HALF_WORD) + r16 >= HALF_WORD
        else:
            up = False
        if mode != "toward-zero" and not self.saturates and low + up > self.top(negative):
            return self.code(self.inf, negative)
        return self.code(min(low + up, self.top(negative)), negative)

    def special(self, bits: int) -> int | None:
        """The code of a NaN or an infinity; None for other values."""
        negative = bits >= SIGN
        if is_nan(bits):
            if self.twos:
                return 0
            return self.code(len(self.values) - 1 if self.nan is None else self.nan, negative)
        if not is_finite(bits):
            return self.code(self.top(negative) if self.saturates else self.inf, negative)
        return None

    def decode(self, code: int, scale: Fraction = Fraction(1)) -> int:
        """The f32 bits of a code."""
        if self.twos:
            signed = code - (1 << self.bits) if code >> (self.bits - 1) else code
            return to_bits(abs(signed) * self.values[1] * scale, SIGN if signed < 0 else 0)
        negative = SIGN if code >> (self.bits - 1) else 0
        q = code & ((1 << (self.bits - 1)) - 1)
        if q < len(self.values):
            return to_bits(self.values[q] * scale, negative)
        return negative | (F32_INF if q == self.inf else F32_NAN)


def floating(name: str, exponent: int, mantissa: int, bias: int, top: int, **more) -> Element:
    """A float of 1 + `exponent` + `mantissa` bits, `top` the code of its largest finite value."""
    values = []
    for code in range(top + 1):
        field, m = code >> mantissa, code & ((1 << mantissa) - 1)
        hidden = 1 << mantissa if field else 0
        values.append((hidden + m) * pow2(max(field, 1) - bias - mantissa))
    return Element(name, 1 + exponent + mantissa, tuple(values), **more)


def fixed(name: str, integer: int, fraction: int, symmetric: bool = False) -> Element:
    half = 1 << (integer + fraction - 1)
    values = tuple(q * pow2(-fraction) for q in range(half))
    return Element(name, integer + fraction, values, twos=True, lowest=1 - half if symmetric else -half)


def bfp(m: int) -> Element:
    """Sign and m - 1 bits of magnitude, the top one worth 1."""
    return Element(f"bfp{m}", m, tuple(q * pow2(2 - m) for q in range(1 << (m - 1))))


E5M2 = floating("fp8-e5m2", 5, 2, 15, 0x7B, nan=0x7E, inf=0x7C)
E4M3 = floating("fp8-e4m3", 4, 3, 7, 0x7E, nan=0x7F)
E3M2 = floating("fp6-e3m2", 3, 2, 3, 0x1F)
E2M3 = floating("fp6-e2m3", 2, 3, 1, 0x1F)
E2M1 = floating("fp4-e2m1", 2, 1, 1, 0x07)
F16 = floating("f16", 5, 10, 15, 0x7BFF, nan=0x7E00, inf=0x7C00, saturates=False)
INT8 = fixed("int8", 2, 6, symmetric=True)
Q4_4 = fixed("q4.4", 4, 4)
Q8_8 = fixed("q8.8", 8, 8)


# Scales, and values that share one


def block_scale(amax: Fraction, emax: int) -> int:
    """The exponent of a block: floor(log2 amax) - emax, in E8M0's range; -127 for a block of zeros."""
    return -127 if amax == 0 else min(max(floor_log2(amax) - emax, -127), 127)


def tensor_scale(amax: Fraction, element: Element) -> int:
    """The exponent of a tensor: the least whose largest value reaches amax, but none whose largest is no f32."""
    s = -127
    while amax > element.largest * pow2(s) and s < 127 - element.emax:
        s += 1
    return s


def encode_run(
    element: Element, values: list[int], draws: list[int], scale_of: Callable[[Fraction], int]
) -> tuple[int, dict[str, list[int]]]:
    """The scale byte of values that share one, and their codes in each rounding."""
    modes = ("nearest", "toward-zero", "stochastic")
    if not all(is_finite(bits) for bits in values):
        return 255, {mode: [0] * len(values) for mode in modes}
    s = scale_of(max(exact(bits) for bits in values))
    assert -127 <= s <= 127
    codes = {
        mode: [
            element.round(exact(bits) / pow2(s), bits >= SIGN, mode, r16)
            for bits, r16 in zip(values, draws, strict=True)
        ]
        for mode in modes
    }
    return s + 127, codes


def decode_run(element: Element, byte: int, codes: list[int]) -> list[int]:
    return [F32_NAN if byte == 255 else element.decode(code, pow2(byte - 127)) for code in codes]


def pack(codes: list[int], bits: int) -> list[int]:
    """One stream, least significant bit first, filled up to whole words with zeros."""
    stream = sum(code << (i * bits) for i, code in enumerate(codes))
    return [stream >> (32 * i) & 0xFFFFFFFF for i in range((len(codes) * bits + 31) // 32)]
