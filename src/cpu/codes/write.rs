//! f32 bits to codes.

use super::pack::{pack, pack_pairs, pack_wide};
use super::{PIECE, filled, maxima, spread};
use crate::cpu::Lanes;
use crate::format::minifloat::Minifloat;
use crate::format::rounding::shift_round;
use crate::format::{Element, Format, NAN_SCALE, Rounding, ScaleRule};

/// Scales for which every factor of an even grid is a normal f32, whatever the width of a code.
const SCALED: std::ops::RangeInclusive<u8> = 32..=253;

/// 2^23, whose last bit is 1.
const UNIT: f32 = 8_388_608.0;

/// Makes rows of codes, piece by piece. What every piece overwrites is kept: to clear it first takes a fifth of the time.
pub(crate) struct Writer {
    format: Format,
    common: u8,
    rounding: Rounding,
    factors: [f32; PIECE],
    codes: [u32; PIECE],
    bytes: [u8; PIECE],
    packed: [u8; PIECE + 8],
}

impl Writer {
    /// For a format whose scale, where no block has its own, has this byte.
    #[inline(always)]
    pub(crate) fn new(format: Format, common: u8, rounding: Rounding) -> Self {
        Self {
            format,
            common,
            rounding,
            factors: filled(factor(common)),
            codes: [0; PIECE],
            bytes: [0; PIECE],
            packed: [0; PIECE + 8],
        }
    }

    /// Writes the first `len` of the columns from `start` on, a multiple of [`PIECE`], of a row whose codes and scales
    /// these are. Values past `len` are zeros: they change no maximum, and their codes are zero, as unused bits are.
    #[inline(always)]
    pub(crate) fn piece<L: Lanes>(
        &mut self,
        lanes: L,
        values: &[u32; PIECE],
        random: &[u16; PIECE],
        start: usize,
        len: usize,
        codes: &mut [u8],
        scales: &mut [u8],
    ) {
        // The rounding is a constant in each arm, so that each loop is vectorised without asking.
        match self.rounding {
            Rounding::Nearest => self.encode(lanes, values, Rounding::Nearest, random, start, len, scales),
            Rounding::TowardZero => {
                self.encode(lanes, values, Rounding::TowardZero, random, start, len, scales)
            }
            Rounding::Stochastic => {
                self.encode(lanes, values, Rounding::Stochastic, random, start, len, scales)
            }
        }
        let bits = self.format.bits();
        let to = &mut codes[start / 8 * bits as usize..];
        let count = to.len().min(PIECE / 8 * bits as usize);
        let to = &mut to[..count];
        if bits > 8 {
            self.codes[len..].fill(0);
            return pack_wide(&self.codes, bits, to);
        }
        for (byte, code) in self.bytes.iter_mut().zip(&self.codes) {
            *byte = *code as u8;
        }
        self.bytes[len..].fill(0);
        match bits {
            8 => to.copy_from_slice(&self.bytes[..count]),
            4 => pack_pairs(&self.bytes, to),
            _ => {
                pack(&self.bytes, bits, &mut self.packed);
                to.copy_from_slice(&self.packed[..count]);
            }
        }
    }

    #[inline(always)]
    fn encode<L: Lanes>(
        &mut self,
        lanes: L,
        values: &[u32; PIECE],
        rounding: Rounding,
        random: &[u16; PIECE],
        start: usize,
        len: usize,
        scales: &mut [u8],
    ) {
        let Self {
            format,
            common,
            factors,
            codes,
            ..
        } = self;
        let Some(size) = format.block_size() else {
            if *common == NAN_SCALE {
                return codes.fill(0);
            }
            return match format.element() {
                Element::Minifloat(_) => floats(lanes, *format, values, factors, rounding, random, codes),
                Element::SignMagnitude(_) | Element::Fixed(_) => {
                    by_shifts(*format, values, factors, rounding, random, codes)
                }
            };
        };
        let count = len.div_ceil(size as usize);
        let scales = &mut scales[start / size as usize..][..count];
        let element = format.element();
        let mut most = [0u32; PIECE / 8];
        maxima(lanes, size, values, &mut most);
        // The rule is a constant in each arm; as many blocks as there may be, so that the loops are a few vectors.
        let bytes = match format.rule() {
            Some(ScaleRule::Up) => bytes_of(ScaleRule::Up, element, &most),
            Some(ScaleRule::Floor) | None => bytes_of(ScaleRule::Floor, element, &most),
        };
        scales.copy_from_slice(&bytes[..count]);
        let Some(fraction) = element.fraction() else {
            let blocks = bytes.map(self::factor);
            spread(lanes, size, &blocks, factors);
            floats(lanes, *format, values, factors, rounding, random, codes);
            return blank(scales, size, codes);
        };
        let more = if rounding == Rounding::Stochastic { 16 } else { 0 };
        let (mut blocks, mut unscaled) = ([0u32; PIECE / 8], false);
        for ((&byte, &max), factor) in bytes.iter().zip(&most).zip(&mut blocks) {
            // Zeros are zeros at any scale, 1 for one. No factor is 0: that marks the blocks that have none.
            let other = if max == 0 { 1f32.to_bits() } else { 0 };
            let scaled = SCALED.contains(&byte);
            let field = (254 + fraction + more).wrapping_sub(byte.into());
            *factor = if scaled { field << 23 } else { other };
            unscaled |= *factor == 0;
        }
        spread(lanes, size, &blocks, factors);
        // Where the sign goes is a constant in each arm.
        match element {
            Element::SignMagnitude(_) => {
                by_factors::<L, true>(lanes, element, values, factors, rounding, random, codes)
            }
            Element::Fixed(_) | Element::Minifloat(_) => {
                by_factors::<L, false>(lanes, element, values, factors, rounding, random, codes)
            }
        }
        if !unscaled {
            return;
        }
        // What came out for the other blocks means nothing.
        let all = values.chunks(size as usize).zip(random.chunks(size as usize));
        let all = all.zip(codes.chunks_mut(size as usize)).zip(&*scales).zip(blocks);
        for ((((values, random), codes), byte), factor) in all {
            if factor != 0 {
                continue;
            }
            for ((code, &u), &r) in codes.iter_mut().zip(values).zip(random) {
                *code = format.encode_one(u, *byte, rounding, r.into()).into();
            }
        }
    }
}

/// The scales of blocks with these largest magnitudes.
#[inline(always)]
fn bytes_of(rule: ScaleRule, element: Element, most: &[u32; PIECE / 8]) -> [u8; PIECE / 8] {
    let largest = element.largest_magnitude();
    most.map(|max| rule.byte(max, largest))
}

/// The codes of what shares a scale that is NaN are 0.
#[inline(always)]
fn blank(scales: &[u8], size: u32, codes: &mut [u32; PIECE]) {
    if scales.contains(&NAN_SCALE) {
        for (codes, _) in codes
            .chunks_mut(size as usize)
            .zip(scales)
            .filter(|(_, byte)| **byte == NAN_SCALE)
        {
            codes.fill(0);
        }
    }
}

/// The f32 bits of 1 over a scale: 2^(127 - byte), of which one is a subnormal; 0 for [`NAN_SCALE`].
#[inline(always)]
fn factor(byte: u8) -> u32 {
    match byte {
        NAN_SCALE => 0,
        254 => 1 << 22,
        _ => (254 - u32::from(byte)) << 23,
    }
}

/// [`by_binades`] where it serves, else [`by_shifts`].
#[inline(always)]
fn floats<L: Lanes>(
    lanes: L,
    format: Format,
    values: &[u32; PIECE],
    factors: &[f32; PIECE],
    rounding: Rounding,
    random: &[u16; PIECE],
    codes: &mut [u32; PIECE],
) {
    if let Element::Minifloat(float) = format.element()
        && float.mantissa_bits() <= 5
        && float.bias() <= 64
    {
        return by_binades(lanes, float, values, factors, rounding, random, codes);
    }
    by_shifts(format, values, factors, rounding, random, codes);
}

/// What NaN becomes, and what Inf and finite values past the largest do.
struct Ends {
    nan: u32,
    limit: u32,
    cut: u32,
}

impl Ends {
    #[inline(always)]
    fn of(float: Minifloat, rounding: Rounding) -> Self {
        let max = float.max_code();
        let limit = float.infinity().filter(|_| float.overflows()).unwrap_or(max);
        let cut = match rounding {
            Rounding::TowardZero => max,
            Rounding::Nearest | Rounding::Stochastic => limit,
        };
        Self {
            nan: float.nan().unwrap_or(max).into(),
            limit: limit.into(),
            cut: cut.into(),
        }
    }
}

/// As [`by_shifts`], of floats with at most five bits of mantissa whose first binade is not near f32's: within a
/// binade they are an even grid, so [`by_factors`]' argument holds once a value is multiplied by 1 over the binade's
/// step too, 2^mantissa / 2^exponent: what comes out, the hidden bit included, is added to the binade's first code
/// less 2^mantissa, and a carry past the binade is the next one's first code. Below the first binade its step goes on.
///
/// Magnitudes are below 2^(mantissa + 1) whatever the value; of infinities and NaNs something above every code comes
/// out.
#[inline(always)]
fn by_binades<L: Lanes>(
    lanes: L,
    float: Minifloat,
    values: &[u32; PIECE],
    factors: &[f32; PIECE],
    rounding: Rounding,
    random: &[u16; PIECE],
    codes: &mut [u32; PIECE],
) {
    let (mantissa, sign) = (float.mantissa_bits(), float.bits() - 1);
    let first = 128 - float.bias();
    let Ends { nan, limit, cut } = Ends::of(float, rounding);
    let more = if rounding == Rounding::Stochastic { 16 } else { 0 };
    let largest = (1u32 << (mantissa + 1 + more)) as f32;
    let over = (254 + mantissa + more) << 23;
    for (((code, &u), &factor), &r) in codes.iter_mut().zip(values).zip(factors).zip(random) {
        let a = u & 0x7fff_ffff;
        let v = f32::from_bits(a) * factor;
        let binade = (v.to_bits() & 0x7f80_0000).max(first << 23);
        let x = v * f32::from_bits(over.wrapping_sub(binade));
        let q = match rounding {
            Rounding::Nearest => (x + UNIT).to_bits().wrapping_sub(UNIT.to_bits()),
            Rounding::TowardZero => lanes.truncate(x, largest),
            Rounding::Stochastic => (lanes.truncate(x, largest) + u32::from(r)) >> 16,
        };
        let q = q.wrapping_add((binade >> (23 - mantissa)) - (first << mantissa));
        let q = q.min(if a < 0x7f80_0000 { cut } else { limit });
        *code = if a > 0x7f80_0000 { nan } else { q } | (u >> 31) << sign;
    }
}

/// The codes as [`Format::encode_one`] makes them, of values times `factors`, 1 over their scales, with the integer
/// arithmetic of [`Element::encode`] side by side.
///
/// Multiplying by such a power of two is exact where the product is normal. Where it is not, it is below 2^-126, and so
/// far below half of any format's smallest value that every rounding gives 0, as it does for the exact value: stochastic
/// rounding looks at 16 bits, and the formats' smallest values are above 2^-25. So a subnormal needs no normalization.
#[inline(always)]
fn by_shifts(
    format: Format,
    values: &[u32; PIECE],
    factors: &[f32; PIECE],
    rounding: Rounding,
    random: &[u16; PIECE],
    codes: &mut [u32; PIECE],
) {
    let element = format.element();
    let (bits, max) = (element.bits(), u32::from(element.max_code()));
    let all = codes.iter_mut().zip(values).zip(factors).zip(random);
    match element {
        Element::Minifloat(float) => {
            let mantissa = float.mantissa_bits();
            let first = 128 - float.bias();
            let Ends { nan, limit, cut } = Ends::of(float, rounding);
            for (((code, &u), &factor), &r) in all {
                let a = u & 0x7fff_ffff;
                let v = (f32::from_bits(a) * factor).to_bits();
                let (e, m) = split(v);
                let sh = 23 - mantissa + first.saturating_sub(e).min(32);
                let q = shift_round(m, sh, rounding, r.into()) + (e.saturating_sub(first) << mantissa);
                let q = q.min(if a < 0x7f80_0000 { cut } else { limit });
                *code = if a > 0x7f80_0000 { nan } else { q } | (u >> 31) << (bits - 1);
            }
        }
        Element::SignMagnitude(_) | Element::Fixed(_) => {
            let (own_sign, below) = match element {
                Element::Fixed(fixed) => (false, u32::from(!fixed.symmetric())),
                Element::SignMagnitude(_) | Element::Minifloat(_) => (true, 0),
            };
            let unit = 150 - element.fraction().unwrap_or(0);
            for (((code, &u), &factor), &r) in all {
                let a = u & 0x7fff_ffff;
                let v = (f32::from_bits(a) * factor).to_bits();
                let (e, m) = split(v);
                let negative = u >> 31;
                // A shift of less than 9 leaves more than any code has.
                let q = shift_round(m, unit.saturating_sub(e).max(9), rounding, r.into());
                let q = if e + 9 > unit { 0xffff } else { q };
                let q = q.min(max + below * negative);
                let q = if a > 0x7f80_0000 { 0 } else { q };
                *code = signed(q, negative, own_sign, bits);
            }
        }
    }
}

/// A magnitude and its sign (1 for negative) as a code: the sign apart, or two's complement.
#[inline(always)]
fn signed(magnitude: u32, negative: u32, own_sign: bool, bits: u32) -> u32 {
    match own_sign {
        true => magnitude | negative << (bits - 1),
        false => (magnitude ^ 0u32.wrapping_sub(negative)).wrapping_add(negative) & ((1 << bits) - 1),
    }
}

/// [`exponent`](crate::format::rounding::exponent) and [`significand`](crate::format::rounding::significand) of bits
/// without a sign.
#[inline(always)]
fn split(v: u32) -> (u32, u32) {
    let field = v >> 23;
    let hidden = if field == 0 { 0 } else { 1 << 23 };
    (field.max(1), v & 0x007f_ffff | hidden)
}

/// The codes of an even grid of at most eight bits whose scales are in [`SCALED`]; integer shifts serve the others.
/// `factors` are 1 / step = 2^fraction / 2^(byte-127), times 2^16 where drawn.
///
/// Multiplying by such a power of two is exact where the product is normal; where it is not, it is below
/// 2^-126, far below anything that rounds up. A magnitude is then below 2^(m-1), times 2^16 below 2^23: adding 2^23
/// leaves a sum whose last bit is the unit, so that the addition itself rounds to nearest, ties to even, and the
/// low bits are the integer. What is drawn is below 2^16, so that of a magnitude no larger than the largest code
/// nothing larger comes out: it is enough to limit what goes in. Two's complement of a scaled format is symmetric.
#[inline(always)]
fn by_factors<L: Lanes, const OWN_SIGN: bool>(
    lanes: L,
    element: Element,
    values: &[u32; PIECE],
    factors: &[f32; PIECE],
    rounding: Rounding,
    random: &[u16; PIECE],
    codes: &mut [u32; PIECE],
) {
    let bits = element.bits();
    let largest = u32::from(element.max_code());
    let limit = (largest << if rounding == Rounding::Stochastic { 16 } else { 0 }) as f32;
    for (((code, &u), &factor), &r) in codes.iter_mut().zip(values).zip(factors).zip(random) {
        let x = f32::from_bits(u & 0x7fff_ffff) * factor;
        let magnitude = match rounding {
            Rounding::Nearest => (x + UNIT).to_bits().min(UNIT.to_bits() + largest) - UNIT.to_bits(),
            Rounding::TowardZero => lanes.truncate(x, limit),
            Rounding::Stochastic => (lanes.truncate(x, limit) + u32::from(r)) >> 16,
        };
        let negative = u >> 31;
        *code = signed(magnitude, negative, OWN_SIGN, bits);
    }
}
