//! The number formats in exact arithmetic: what every codec is held to, sharing nothing with it.
//!
//! An element is the list of its magnitudes, a scale is found by comparing with powers of two, and rounding picks
//! one of two neighbours. Every number here is an f32, a code's value or half-way between two of these, times
//! 2^n with |n| <= 127: at most 25 significant bits well inside f64's exponents, so that the f64 operations here
//! (powers of two as factors, differences and halves of neighbours) are exact rationals.

use super::pow2;
use fewbit::format::Rounding;
use std::fmt;

pub(crate) const NAN: u32 = 0x7fc0_0000;
pub(crate) const INF: u32 = 0x7f80_0000;

/// The codes of one element: sign and magnitude, or two's complement.
pub(crate) struct Element {
    pub(crate) bits: u32,
    /// By index, the code without its sign.
    pub(crate) magnitudes: Vec<f64>,
    /// The largest index that encoding makes, of positive and negative values.
    pub(crate) top: [usize; 2],
    pub(crate) twos: bool,
    pub(crate) nan: Option<u32>,
    /// Where overflow goes, if not toward zero; saturating formats (E5M2) decode it only.
    pub(crate) inf: Option<u32>,
    pub(crate) saturates: bool,
}

impl Element {
    /// sign, exponent, mantissa; `largest` is the code of the largest finite value.
    pub(crate) fn float(exponent: u32, mantissa: u32, bias: i32, largest: u32) -> Self {
        let magnitudes: Vec<f64> = (0..=largest)
            .map(|code| {
                let (field, m) = (code >> mantissa, code & ((1 << mantissa) - 1));
                let significand = if field > 0 { m + (1 << mantissa) } else { m };
                f64::from(significand) * pow2(field.max(1) as i32 - bias - mantissa as i32)
            })
            .collect();
        Self {
            bits: 1 + exponent + mantissa,
            top: [largest as usize; 2],
            magnitudes,
            twos: false,
            nan: None,
            inf: None,
            saturates: true,
        }
    }

    pub(crate) fn nan(self, nan: u32) -> Self {
        let nan = Some(nan);
        Self { nan, ..self }
    }

    pub(crate) fn inf(self, inf: u32, saturates: bool) -> Self {
        let inf = Some(inf);
        Self {
            inf,
            saturates,
            ..self
        }
    }

    /// Two's complement with `fraction` bits after the point; `symmetric` never makes the lowest code.
    pub(crate) fn fixed(bits: u32, fraction: i32, symmetric: bool) -> Self {
        let half = 1_usize << (bits - 1);
        Self {
            bits,
            magnitudes: (0..=half).map(|q| q as f64 * pow2(-fraction)).collect(),
            top: [half - 1, if symmetric { half - 1 } else { half }],
            twos: true,
            nan: None,
            inf: None,
            saturates: true,
        }
    }

    /// BFP's: a sign, and m - 1 bits of magnitude of which the first is worth 1.
    pub(crate) fn bfp(m: u32) -> Self {
        let count = 1 << (m - 1);
        Self {
            bits: m,
            magnitudes: (0..count).map(|q| f64::from(q) * pow2(2 - m as i32)).collect(),
            top: [count as usize - 1; 2],
            twos: false,
            nan: None,
            inf: None,
            saturates: true,
        }
    }

    pub(crate) fn largest(&self) -> f64 {
        self.magnitudes[self.top[0]]
    }

    /// floor(log2(largest)).
    pub(crate) fn emax(&self) -> i32 {
        floor_log2(self.largest())
    }

    fn code(&self, index: usize, negative: bool) -> u32 {
        let index = index as u32;
        match (negative, self.twos) {
            (false, _) => index,
            (true, true) => index.wrapping_neg() & ((1 << self.bits) - 1),
            (true, false) => index | 1 << (self.bits - 1),
        }
    }

    /// The index of the largest magnitude not above `x`, and where `x` lies between it and the next, 0 to 1. After
    /// the last magnitude its step goes on for ever, so there the second may be more than 1.
    pub(crate) fn neighbours(&self, x: f64) -> (usize, f64) {
        let low = self.magnitudes.partition_point(|&v| v <= x) - 1;
        let at = low.min(self.magnitudes.len() - 2);
        let step = self.magnitudes[at + 1] - self.magnitudes[at];
        (low, (x - self.magnitudes[low]) / step)
    }

    /// The code of a finite `x` (with a scale divided out).
    pub(crate) fn encode(&self, x: f64, rounding: Rounding, r16: u32) -> u32 {
        let (low, fraction) = self.neighbours(x.abs());
        let up = match rounding {
            Rounding::Nearest => fraction > 0.5 || (fraction == 0.5 && low % 2 == 1),
            Rounding::Stochastic => (fraction * 65536.0).floor() + f64::from(r16) >= 65536.0,
            Rounding::TowardZero => false,
        };
        let negative = x.is_sign_negative();
        let (index, top) = (low + usize::from(up), self.top[usize::from(negative)]);
        match self.inf {
            Some(inf) if index > top && !self.saturates && rounding != Rounding::TowardZero => {
                self.code(inf as usize, negative)
            }
            _ => self.code(index.min(top), negative),
        }
    }

    /// The code of a NaN or an infinity, given as f32 bits.
    pub(crate) fn special(&self, u: u32) -> u32 {
        let negative = u >> 31 == 1;
        let top = self.top[usize::from(negative)] as u32;
        let index = match u & 0x7fff_ffff {
            INF if self.saturates => top,
            INF => self.inf.unwrap_or(top),
            _ if self.twos => 0,
            _ => self.nan.unwrap_or(top),
        };
        self.code(index as usize, negative)
    }

    /// What a code stands for, as f32 bits, times 2^`s`: Inf past f32's range.
    pub(crate) fn decode(&self, code: u32, s: i32) -> u32 {
        let negative = code >> (self.bits - 1) == 1;
        let index = if self.twos && negative {
            (1 << self.bits) - code
        } else {
            code & ((1 << (self.bits - 1)) - 1)
        };
        let sign = u32::from(negative) << 31;
        match self.magnitudes.get(index as usize) {
            Some(magnitude) if magnitude * pow2(s) >= pow2(128) => sign | INF,
            Some(magnitude) => sign | f32_bits(magnitude * pow2(s)),
            None if self.inf == Some(index) => sign | INF,
            None => sign | NAN,
        }
    }

    /// The least r16 that rounds `x` away from zero; 65536 if none does.
    pub(crate) fn threshold(&self, x: f64) -> u32 {
        65536 - (self.neighbours(x.abs()).1.min(1.0) * 65536.0).floor() as u32
    }
}

/// Which values share a power of two, and how it is chosen from the largest magnitude.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    None,
    /// One for each `size` neighbours.
    Block {
        size: usize,
    },
    /// One for all.
    Tensor,
}

/// A format as the tests know it.
pub(crate) struct Exact {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) scale: Scale,
    /// The scale is the least whose largest value reaches amax; else floor(log2 amax) - emax.
    up: bool,
}

/// One row as it lies in memory.
#[derive(PartialEq)]
pub(crate) struct Row {
    pub(crate) scales: Vec<u32>,
    pub(crate) codes: Vec<u32>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scales {:08x?} codes {:08x?}", self.scales, self.codes)
    }
}

impl Exact {
    fn new(name: impl Into<String>, element: Element, scale: Scale) -> Self {
        let name = name.into();
        let up = (scale == Scale::Tensor && !name.ends_with("-floor")) || name.ends_with("-up");
        Self {
            name,
            element,
            scale,
            up,
        }
    }

    /// Every format there is.
    pub(crate) fn all() -> Vec<Self> {
        let e5m2 = || Element::float(5, 2, 15, 0x7b).nan(0x7e).inf(0x7c, true);
        let e4m3 = || Element::float(4, 3, 7, 0x7e).nan(0x7f);
        let e3m2 = || Element::float(3, 2, 3, 0x1f);
        let e2m3 = || Element::float(2, 3, 1, 0x1f);
        let e2m1 = || Element::float(2, 1, 1, 0x07);
        let mx = Scale::Block { size: 32 };
        let mut all = vec![
            Self::new("mxfp8-e5m2", e5m2(), mx),
            Self::new("mxfp8-e4m3", e4m3(), mx),
            Self::new("mxfp6-e3m2", e3m2(), mx),
            Self::new("fp6-e2m3-32", e2m3(), mx),
            Self::new("mxfp4", e2m1(), mx),
            Self::new("mxint8", Element::fixed(8, 6, true), mx),
            Self::new(
                "f16",
                Element::float(5, 10, 15, 0x7bff).nan(0x7e00).inf(0x7c00, false),
                Scale::None,
            ),
        ];
        for (suffix, scale) in [("", Scale::None), ("-tensor", Scale::Tensor)] {
            all.push(Self::new(format!("fp8-e5m2{suffix}"), e5m2(), scale));
            all.push(Self::new(format!("fp8-e4m3{suffix}"), e4m3(), scale));
            all.push(Self::new(format!("fp6-e3m2{suffix}"), e3m2(), scale));
            all.push(Self::new(format!("fp6-e2m3{suffix}"), e2m3(), scale));
            all.push(Self::new(format!("fp4-e2m1{suffix}"), e2m1(), scale));
        }
        for (integer, fraction) in [(8, 8), (4, 4), (1, 7), (1, 15), (16, 0), (3, 2)] {
            let element = Element::fixed(integer + fraction, fraction as i32, false);
            all.push(Self::new(format!("q{integer}.{fraction}"), element, Scale::None));
        }
        for (m, size) in (2..=8).flat_map(|m| [8, 16, 32, 64, 128].map(|size| (m, size))) {
            all.push(Self::new(
                format!("bfp{m}-{size}"),
                Element::bfp(m),
                Scale::Block { size },
            ));
        }
        // Not in the table, but made of the same parts.
        let sixteen = Scale::Block { size: 16 };
        all.extend([
            Self::new("mxfp8-e4m3-up", e4m3(), mx),
            Self::new("mxfp4-up", e2m1(), mx),
            Self::new("fp8-e5m2-16", e5m2(), sixteen),
            Self::new("fp8-e4m3-tensor-floor", e4m3(), Scale::Tensor),
            Self::new("int8-16-up", Element::fixed(8, 6, true), sixteen),
            Self::new("int8-tensor", Element::fixed(8, 6, true), Scale::Tensor),
            Self::new("q4.4-32", Element::fixed(8, 4, false), mx),
            Self::new("q2.3-16-up", Element::fixed(5, 3, false), sixteen),
            Self::new("bfp5-16-up", Element::bfp(5), sixteen),
            Self::new("bfp2-16-up", Element::bfp(2), sixteen),
        ]);
        all
    }

    /// How many of `columns` values share a scale.
    pub(crate) fn run(&self, columns: usize) -> usize {
        match self.scale {
            Scale::Block { size } => size,
            Scale::None | Scale::Tensor => columns.max(1),
        }
    }

    /// The scale's exponent for a largest magnitude.
    pub(crate) fn exponent(&self, amax: f64) -> i32 {
        let (largest, emax) = (self.element.largest(), self.element.emax());
        if self.scale == Scale::None {
            return 0;
        }
        if amax == 0.0 {
            return -127;
        }
        // Above, it would have values that are no f32.
        let last = 127 - emax;
        match self.up {
            true => (-127..last).find(|&s| amax <= largest * pow2(s)).unwrap_or(last),
            false => (floor_log2(amax) - emax).max(-127),
        }
    }

    /// A row of f32 bits, with 16 random bits for each.
    pub(crate) fn encode(&self, values: &[u32], rounding: Rounding, r16: &[u32]) -> Row {
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        let run = self.run(values.len());
        for (values, r16) in values.chunks(run).zip(r16.chunks(run)) {
            let bad = self.scale != Scale::None && values.iter().any(|&u| u & INF == INF);
            let amax = values.iter().map(|&u| value(u).abs()).fold(0.0, f64::max);
            let s = if bad { 128 } else { self.exponent(amax) };
            scales.push((s + 127) as u32);
            codes.extend(values.iter().zip(r16).map(|(&u, &r)| match u & INF {
                _ if bad => 0,
                INF => self.element.special(u),
                _ => self.element.encode(value(u) * pow2(-s), rounding, r),
            }));
        }
        let scales = match self.scale {
            Scale::None => vec![],
            Scale::Block { .. } => pack(&scales, 8),
            Scale::Tensor => scales.iter().map(|&byte| e8m0(byte)).collect(),
        };
        Row {
            scales,
            codes: pack(&codes, self.element.bits),
        }
    }

    /// For each value the least r16 that rounds it away from zero, at most 65535.
    pub(crate) fn thresholds(&self, values: &[u32]) -> Vec<u32> {
        let run = self.run(values.len());
        let all = values.chunks(run).flat_map(|values| {
            let finite = |u: u32| if u & INF == INF { 0.0 } else { value(u) };
            let amax = values.iter().map(|&u| finite(u).abs()).fold(0.0, f64::max);
            let s = self.exponent(amax);
            values
                .iter()
                .map(move |&u| self.element.threshold(finite(u) * pow2(-s)).min(65535))
        });
        all.collect()
    }
}

/// The f32 bits of a scale's byte.
pub(crate) fn e8m0(byte: u32) -> u32 {
    if byte == 255 {
        NAN
    } else {
        f32_bits(pow2(byte as i32 - 127))
    }
}

/// An f32's value.
pub(crate) fn value(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

/// The bits of a magnitude that is an f32.
pub(crate) fn f32_bits(x: f64) -> u32 {
    let narrow = x as f32;
    assert_eq!(f64::from(narrow), x, "not an f32");
    narrow.to_bits()
}

/// Of a positive f32, by comparing.
pub(crate) fn floor_log2(x: f64) -> i32 {
    (-149..128).rev().find(|&n| pow2(n) <= x).unwrap()
}

/// One stream, the least significant bit first, filled up to whole words with zeros.
pub(crate) fn pack(codes: &[u32], bits: u32) -> Vec<u32> {
    let mut words = vec![0; (codes.len() * bits as usize).div_ceil(32)];
    for (i, code) in codes.iter().enumerate() {
        for bit in 0..bits as usize {
            let at = i * bits as usize + bit;
            words[at / 32] |= (code >> bit & 1) << (at % 32);
        }
    }
    words
}

/// The `count` codes of a stream.
pub(crate) fn unpack(words: &[u32], bits: u32, count: usize) -> Vec<u32> {
    let bit = |at: usize| words[at / 32] >> (at % 32) & 1;
    let code = |i: usize| (0..bits as usize).map(|b| bit(i * bits as usize + b) << b).sum();
    (0..count).map(code).collect()
}
