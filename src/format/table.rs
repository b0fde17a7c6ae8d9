//! What each number format can hold, and what it makes of a value: `fewbit formats [NAME] [VALUE]`. All of it follows
//! from [`NAMED`] but the plain types and the E8M0 scale.

use super::coded::Format;
use super::element::Element;
use super::minifloat::{e8m0_decode, e8m0_encode};
use super::name::NAMED;
use super::random::Draw;
use super::rounding::f32_bits_odd;
use super::scale::{Scale, TensorScale, UNIT_SCALE};
use super::{Rounding, bf16};

/// A value in some format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoded {
    /// The code, in the low bits. Scaled formats: the scale's byte above the element's code.
    pub bits: u64,
    /// What the code decodes to, exact.
    pub value: f64,
}

/// What a row of the table of formats is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// IEEE binary64.
    F64,
    /// IEEE binary32.
    F32,
    /// bfloat16.
    Bf16,
    /// The scale of the MX formats, a power of two.
    E8m0,
    /// Codes.
    Coded(Format),
}

/// One row of the table of formats.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FormatInfo {
    /// The format's name.
    pub name: String,
    /// What to choose it for.
    pub what_for: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Bits of a code.
    pub bits: u32,
    /// Bits per value in a long row, its share of the scale counted.
    pub bits_per_value: f64,
    /// Bits that a whole block shares: 8, or 0.
    pub shared_bits: u32,
    /// Exponent bits of each value.
    pub exponent_bits: u32,
    /// Mantissa or magnitude bits stored; the hidden bit is not counted, nor the sign.
    pub mantissa_bits: u32,
    /// From 1 to the next larger value. Scaled formats: under the scale of a block whose largest magnitude is 1.
    pub epsilon: f64,
    /// The largest finite value, under the largest scale.
    pub largest: f64,
    /// The smallest positive value of full precision; none where the grid is even. Scaled formats: under scale 1.
    pub smallest_normal: Option<f64>,
    /// The smallest positive value below that; none where there are no subnormals. Scaled formats: under the smallest
    /// scale.
    pub smallest_subnormal: Option<f64>,
}

/// 2^n, exact (subnormals down to 2^-1074 included).
fn pow2(n: i32) -> f64 {
    if n >= -1022 {
        f64::from_bits(((n + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (n + 1074))
    }
}

fn value(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

/// A plain float with subnormals.
fn plain(
    kind: Kind,
    name: &'static str,
    what_for: &'static str,
    [exponent_bits, mantissa_bits]: [u32; 2],
    largest: f64,
) -> FormatInfo {
    let bias = (1 << (exponent_bits - 1)) - 1;
    let bits = 1 + exponent_bits + mantissa_bits;
    FormatInfo {
        name: name.to_string(),
        what_for,
        kind,
        bits,
        bits_per_value: bits.into(),
        shared_bits: 0,
        exponent_bits,
        mantissa_bits,
        epsilon: pow2(-(mantissa_bits as i32)),
        largest,
        smallest_normal: Some(pow2(1 - bias)),
        smallest_subnormal: Some(pow2(1 - bias - mantissa_bits as i32)),
    }
}

fn coded(name: &str, what_for: &'static str, format: Format) -> FormatInfo {
    let element = format.element();
    let scaled = format.has_scales();
    let block = format.block_size().map_or(0.0, |size| 8.0 / f64::from(size));
    // The scales of the largest and the smallest values that f32 has.
    let (low, high) = match scaled {
        true => (0, format.scale_for(f32::MAX.to_bits())),
        false => (UNIT_SCALE, UNIT_SCALE),
    };
    let one = match scaled {
        true => format.scale_for(1f32.to_bits()),
        false => UNIT_SCALE,
    };
    let code_of_one = element.encode(1f32.to_bits(), one, Rounding::Nearest, 0);
    let (exponent_bits, mantissa_bits, smallest_normal, step) = match element {
        Element::Minifloat(float) => (
            float.exponent_bits(),
            float.mantissa_bits(),
            Some(pow2(1 - float.bias() as i32)),
            pow2(1 - (float.bias() + float.mantissa_bits()) as i32),
        ),
        Element::SignMagnitude(bits) => (0, bits - 1, None, pow2(2 - bits as i32)),
        Element::Fixed(fixed) => (0, fixed.bits() - 1, None, fixed.decode(1)),
    };
    // The next code up is the next value; where 1 is the largest code of all, the gap below it is as wide.
    let decode = |code| value(element.decode(code, one));
    let epsilon = match code_of_one < element.max_code() {
        true => decode(code_of_one + 1) - 1.0,
        false => 1.0 - decode(code_of_one - 1),
    };
    FormatInfo {
        name: name.to_string(),
        what_for,
        kind: Kind::Coded(format),
        bits: format.bits(),
        bits_per_value: f64::from(format.bits()) + block,
        shared_bits: if block > 0.0 { 8 } else { 0 },
        exponent_bits,
        mantissa_bits,
        epsilon,
        largest: value(element.decode(element.max_code(), high)),
        smallest_normal,
        smallest_subnormal: Some(step * pow2(i32::from(low) - 127)),
    }
}

/// The row of any format, named or not.
#[must_use]
pub fn info(name: &str, format: Format) -> FormatInfo {
    let named = NAMED.iter().find(|named| named.format == format);
    let what_for = named.map_or("what its name says", |named| named.what_for);
    FormatInfo {
        name: name.to_lowercase(),
        ..coded(name, what_for, format)
    }
}

impl FormatInfo {
    /// Whether values share a scale, of a block or of the tensor.
    #[must_use]
    pub fn has_scale(&self) -> bool {
        matches!(self.kind, Kind::Coded(format) if format.has_scales())
    }

    /// Encodes to nearest, ties to even, by this crate's rule for overflow and NaN (E8M0: the power of two not above),
    /// rounding the f64 once; and decodes again. Scaled formats: as a block of one element.
    #[must_use]
    pub fn encode(&self, x: f64) -> Encoded {
        let u = f32_bits_odd(x);
        match self.kind {
            Kind::F64 => Encoded {
                bits: x.to_bits(),
                value: x,
            },
            Kind::F32 => Encoded {
                bits: (x as f32).to_bits().into(),
                value: f64::from(x as f32),
            },
            Kind::Bf16 => {
                let bits = bf16::round_nearest(u);
                Encoded {
                    bits: bits.into(),
                    value: f64::from(bf16::widen(bits)),
                }
            }
            Kind::E8m0 => {
                let byte = e8m0_encode(u);
                Encoded {
                    bits: byte.into(),
                    value: value(e8m0_decode(byte)),
                }
            }
            Kind::Coded(format) => {
                let byte = format.scale_for(u);
                let code = format.encode_one(u, byte, Rounding::Nearest, 0);
                let scale = match format.has_scales() {
                    true => u64::from(byte) << format.bits(),
                    false => 0,
                };
                Encoded {
                    bits: scale | u64::from(code),
                    value: value(format.decode_one(code, byte)),
                }
            }
        }
    }

    /// Signal to quantization noise in dB on 2^16 normals N(0, 1), to nearest: 10 log10 of the sum of squares over the
    /// sum of squared errors. None of f64 and f32 (the normals are f32), and none of E8M0, which has no sign.
    #[must_use]
    pub fn sqnr(&self) -> Option<f64> {
        let normals = normals(1 << 16);
        let errors: f64 = match self.kind {
            Kind::F64 | Kind::F32 | Kind::E8m0 => return None,
            Kind::Bf16 => {
                let error = |u: &u32| value(*u) - f64::from(bf16::widen(bf16::round_nearest(*u)));
                normals.iter().map(|u| error(u).powi(2)).sum()
            }
            Kind::Coded(format) => {
                let cols = normals.len();
                let mut codes = vec![0; format.codes_words_per_row(cols)];
                let mut scales = vec![0; format.scales_words(1, cols)];
                let mut back = vec![0; cols];
                format.encode(&normals, cols, Rounding::Nearest, |_| 0, &mut codes, &mut scales);
                format.decode(&codes, &scales, cols, &mut back);
                let pairs = normals.iter().zip(&back);
                pairs.map(|(u, v)| (value(*u) - value(*v)).powi(2)).sum()
            }
        };
        let signal: f64 = normals.iter().map(|u| value(*u).powi(2)).sum();
        Some(10.0 * (signal / errors).log10())
    }

    /// How codes and scales lie in words, in a sentence or two.
    #[must_use]
    pub fn layout(&self) -> String {
        let Kind::Coded(format) = self.kind else {
            return match self.kind {
                Kind::F64 => "two words a value, the low one first".to_string(),
                Kind::Bf16 => "two values a word, the first in the low half".to_string(),
                Kind::E8m0 => "four bytes a word, the first lowest".to_string(),
                Kind::F32 | Kind::Coded(_) => "one word a value".to_string(),
            };
        };
        let bits = format.bits();
        let mut text = match 32 % bits {
            0 => format!("{} codes a word, the first lowest", 32 / bits),
            _ => format!("32 codes in {bits} words, one stream of bits from the lowest up"),
        };
        text += "; each row starts on a word";
        if let Scale::Block { size, .. } = format.scale() {
            text += &format!("; apart from them an E8M0 byte for every {size} values, four a word");
        }
        if format.tensor_scale() != TensorScale::None {
            text += "; apart from them one word, the scale of the tensor as f32";
        }
        text
    }
}

/// f32 bits of normals, by Box and Muller from the default generator's bits.
fn normals(count: usize) -> Vec<u32> {
    let mut draw = Draw::default().cached();
    let mut uniform = |i: usize| {
        let word = (draw.bits(2 * i as u64) << 16 | draw.bits(2 * i as u64 + 1)) as f64;
        (word + 0.5) / 4_294_967_296.0
    };
    let pair = |i: usize| {
        let (radius, turn) = ((-2.0 * uniform(2 * i).ln()).sqrt(), uniform(2 * i + 1));
        let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
        [(radius * cos) as f32, (radius * sin) as f32].map(f32::to_bits)
    };
    (0..count / 2).flat_map(pair).collect()
}

/// Every format, widest first: f64, f32, bf16, then those of [`NAMED`], and the E8M0 scale.
#[must_use]
pub fn formats() -> Vec<FormatInfo> {
    let largest = f64::from(bf16::widen(bf16::MAX));
    let mut all = vec![
        plain(Kind::F64, "f64", "references and oracles", [11, 52], f64::MAX),
        plain(
            Kind::F32,
            "f32",
            "accumulators and master weights",
            [8, 23],
            f64::from(f32::MAX),
        ),
        plain(
            Kind::Bf16,
            "bf16",
            "everything else, unless it must be smaller",
            [8, 7],
            largest,
        ),
    ];
    all.extend(
        NAMED
            .iter()
            .map(|named| coded(named.name, named.what_for, named.format)),
    );
    all.push(FormatInfo {
        bits: 8, // no sign
        bits_per_value: 8.0,
        smallest_normal: Some(pow2(-127)),
        smallest_subnormal: None,
        ..plain(Kind::E8m0, "e8m0", "the scale of blocks", [8, 0], pow2(127))
    });
    all
}
