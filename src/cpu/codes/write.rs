//! f32 bits to codes.

use super::pack::{pack, pack_pairs, pack_wide};
use super::{PIECE, filled, maxima, spread};
use crate::cpu::Lanes;
use crate::format::rounding::shift_round;
use crate::format::{Element, Format, NAN_SCALE, Rounding, ScaleRule};

/// Scales for which every factor of an even grid is a normal f32, whatever the width of a code.
const SCALED: std::ops::RangeInclusive<u8> = 32..=253;

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
            return by_shifts(*format, values, factors, rounding, random, codes);
        };
        let mut most = [0u32; PIECE / 8];
        maxima(lanes, size, values, &mut most);
        let scales = &mut scales[start / size as usize..(start + len).div_ceil(size as usize)];
        let element = format.element();
        let largest = element.largest_magnitude();
        // The rule is a constant in each arm.
        let choose = |rule: ScaleRule, scales: &mut [u8]| {
            for (byte, &max) in scales.iter_mut().zip(&most) {
                *byte = rule.byte(max, largest);
            }
        };
        match format.rule() {
            Some(ScaleRule::Up) => choose(ScaleRule::Up, scales),
            Some(ScaleRule::Floor) | None => choose(ScaleRule::Floor, scales),
        }
        let mut blocks = [0u32; PIECE / 8];
        let Some(fraction) = element.fraction() else {
            for (&byte, factor) in scales.iter().zip(&mut blocks) {
                *factor = self::factor(byte);
            }
            spread(lanes, size, &blocks, factors);
            by_shifts(*format, values, factors, rounding, random, codes);
            return blank(scales, size, codes);
        };
        let more = if rounding == Rounding::Stochastic { 16 } else { 0 };
        let mut unscaled = false;
        for ((byte, &max), factor) in scales.iter().zip(&most).zip(&mut blocks) {
            // Zeros are zeros at any scale, 1 for one. No factor is 0: that marks the blocks that have none.
            *factor = match (SCALED.contains(byte), max) {
                (true, _) => (254 + fraction + more).wrapping_sub((*byte).into()) << 23,
                (false, 0) => 1f32.to_bits(),
                (false, _) => 0,
            };
            unscaled |= *factor == 0;
        }
        spread(lanes, size, &blocks, factors);
        by_factors(lanes, element, values, factors, rounding, random, codes);
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
            let nan = u32::from(float.nan().unwrap_or(float.max_code()));
            let limit = float
                .infinity()
                .filter(|_| float.overflows())
                .map_or(max, u32::from);
            let cut = if rounding == Rounding::TowardZero {
                max
            } else {
                limit
            };
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
fn by_factors<L: Lanes>(
    lanes: L,
    element: Element,
    values: &[u32; PIECE],
    factors: &[f32; PIECE],
    rounding: Rounding,
    random: &[u16; PIECE],
    codes: &mut [u32; PIECE],
) {
    /// 2^23, whose last bit is 1.
    const UNIT: f32 = 8_388_608.0;
    let bits = element.bits();
    let largest = u32::from(element.max_code());
    let own_sign = matches!(element, Element::SignMagnitude(_));
    let limit = (largest << if rounding == Rounding::Stochastic { 16 } else { 0 }) as f32;
    for (((code, &u), &factor), &r) in codes.iter_mut().zip(values).zip(factors).zip(random) {
        let x = f32::from_bits(u & 0x7fff_ffff) * factor;
        let magnitude = match rounding {
            Rounding::Nearest => (x + UNIT).to_bits().min(UNIT.to_bits() + largest) - UNIT.to_bits(),
            Rounding::TowardZero => lanes.truncate(x, limit),
            Rounding::Stochastic => (lanes.truncate(x, limit) + u32::from(r)) >> 16,
        };
        let negative = u >> 31;
        *code = signed(magnitude, negative, own_sign, bits);
    }
}
