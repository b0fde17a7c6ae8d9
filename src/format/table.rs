//! What each number format can hold, and what it makes of a value: `fewbit formats [VALUE]`.

use super::block::{bfp_decode, bfp_encode, block_exponent};
use super::fixed::{self, Fixed};
use super::minifloat::{Minifloat, e8m0_decode, e8m0_encode};
use super::rounding::f32_bits_odd;
use super::{Rounding, bf16};
use half::f16;

/// A value in some format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoded {
    /// The code, in the low bits. BFP: the exponent byte above the element's code.
    pub bits: u64,
    /// What the code decodes to, exact.
    pub value: f64,
}

/// One row of the table of formats.
#[derive(Clone, Copy, Debug)]
pub struct FormatInfo {
    /// The format's name.
    pub name: &'static str,
    /// Bits per value.
    pub bits: u32,
    /// Bits that a whole block shares, not counted in `bits`: 8 for BFP, else 0.
    pub shared_bits: u32,
    /// Exponent bits of each value (of the block for BFP, where they are the `shared_bits`).
    pub exponent_bits: u32,
    /// Mantissa bits stored; the hidden bit is not counted, nor the sign.
    pub mantissa_bits: u32,
    /// From 1 to the next larger value. BFP: in a block whose largest magnitude is in [1, 2).
    pub epsilon: f64,
    /// The largest finite value.
    pub largest: f64,
    /// The smallest positive value of full precision; none in fixed point. BFP: the smallest block maximum of
    /// full precision.
    pub smallest_normal: Option<f64>,
    /// The smallest positive value below that; none where there are no subnormals.
    pub smallest_subnormal: Option<f64>,
    /// Encodes to nearest, ties to even, by this crate's rule for overflow and NaN (E8M0: the power of two not
    /// above), rounding the f64 once; and decodes again. BFP: as a block of one element.
    pub encode: fn(f64) -> Encoded,
}

fn from_f32_bits(bits: u64, decoded: u32) -> Encoded {
    Encoded {
        bits,
        value: f64::from(f32::from_bits(decoded)),
    }
}

fn encode_f64(value: f64) -> Encoded {
    Encoded {
        bits: value.to_bits(),
        value,
    }
}

fn encode_f32(value: f64) -> Encoded {
    let bits = (value as f32).to_bits();
    from_f32_bits(u64::from(bits), bits)
}

fn encode_f16(value: f64) -> Encoded {
    let encoded = f16::from_f64(value);
    Encoded {
        bits: u64::from(encoded.to_bits()),
        value: encoded.to_f64(),
    }
}

fn encode_bf16(value: f64) -> Encoded {
    let bits = bf16::round_nearest(f32_bits_odd(value));
    Encoded {
        bits: u64::from(bits),
        value: f64::from(bf16::widen(bits)),
    }
}

fn encode_minifloat<const I: usize>(value: f64) -> Encoded {
    let format = Minifloat::ALL[I];
    let code = format.encode(f32_bits_odd(value), Rounding::Nearest, 0);
    from_f32_bits(u64::from(code), format.decode(code))
}

fn encode_e8m0(value: f64) -> Encoded {
    let byte = e8m0_encode(f32_bits_odd(value));
    from_f32_bits(u64::from(byte), e8m0_decode(byte))
}

fn encode_bfp<const M: u32>(value: f64) -> Encoded {
    let u = f32_bits_odd(value);
    let byte = block_exponent(u);
    let code = u32::from(bfp_encode(u, byte, M, Rounding::Nearest, 0));
    from_f32_bits(u64::from(byte) << M | u64::from(code), bfp_decode(code, byte, M))
}

fn encode_fixed(format: Fixed, value: f64) -> Encoded {
    let code = format.encode(f32_bits_odd(value), Rounding::Nearest, 0);
    let mask = (1_u64 << format.bits()) - 1;
    Encoded {
        bits: code as u32 as u64 & mask,
        value: format.decode(code),
    }
}

fn encode_q8_8(value: f64) -> Encoded {
    encode_fixed(fixed::Q8_8, value)
}

fn encode_int8(value: f64) -> Encoded {
    encode_fixed(fixed::INT8, value)
}

/// 2^n, exact (subnormals down to 2^-1074 included).
fn pow2(n: i32) -> f64 {
    if n >= -1022 {
        f64::from_bits(((n + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (n + 1074))
    }
}

/// A float format with subnormals, IEEE-like but for its largest value.
fn float(
    name: &'static str,
    [exponent_bits, mantissa_bits]: [u32; 2],
    bias: i32,
    largest: f64,
    encode: fn(f64) -> Encoded,
) -> FormatInfo {
    FormatInfo {
        name,
        bits: 1 + exponent_bits + mantissa_bits,
        shared_bits: 0,
        exponent_bits,
        mantissa_bits,
        epsilon: pow2(-(mantissa_bits as i32)),
        largest,
        smallest_normal: Some(pow2(1 - bias)),
        smallest_subnormal: Some(pow2(1 - bias - mantissa_bits as i32)),
        encode,
    }
}

fn minifloat<const I: usize>() -> FormatInfo {
    let f = Minifloat::ALL[I];
    let largest = f64::from(f32::from_bits(f.decode(f.max_code())));
    float(
        f.name(),
        [f.exponent_bits(), f.mantissa_bits()],
        f.bias() as i32,
        largest,
        encode_minifloat::<I>,
    )
}

fn bfp<const M: u32>(name: &'static str) -> FormatInfo {
    let fraction = M as i32 - 2;
    FormatInfo {
        name,
        bits: M,
        shared_bits: 8,
        exponent_bits: 8,
        mantissa_bits: M - 1,
        epsilon: pow2(-fraction),
        largest: (pow2(fraction + 1) - 1.0) * pow2(127 - fraction),
        smallest_normal: Some(pow2(-127)),
        smallest_subnormal: Some(pow2(-127 - fraction)).filter(|_| fraction > 0),
        encode: encode_bfp::<M>,
    }
}

fn fixed_point(name: &'static str, format: Fixed, encode: fn(f64) -> Encoded) -> FormatInfo {
    let step = format.decode(1);
    FormatInfo {
        name,
        bits: format.bits(),
        shared_bits: 0,
        exponent_bits: 0,
        mantissa_bits: format.bits() - 1,
        epsilon: step,
        largest: format.decode(format.max_code()),
        smallest_normal: None,
        smallest_subnormal: Some(step),
        encode,
    }
}

/// Every format, widest first: f64, f32, f16, bf16, the OCP minifloats and scale, BFP from 8 to 2 bits, and two
/// fixed point formats (INT8 is the MX element, with 6 fraction bits).
#[must_use]
pub fn formats() -> Vec<FormatInfo> {
    let e8m0 = FormatInfo {
        bits: 8, // no sign
        smallest_normal: Some(pow2(-127)),
        smallest_subnormal: None,
        ..float("E8M0", [8, 0], 127, pow2(127), encode_e8m0)
    };
    vec![
        float("f64", [11, 52], 1023, f64::MAX, encode_f64),
        float("f32", [8, 23], 127, f64::from(f32::MAX), encode_f32),
        float("f16", [5, 10], 15, f16::MAX.to_f64(), encode_f16),
        float(
            "bf16",
            [8, 7],
            127,
            f64::from(bf16::widen(bf16::MAX)),
            encode_bf16,
        ),
        minifloat::<0>(),
        minifloat::<1>(),
        minifloat::<2>(),
        minifloat::<3>(),
        minifloat::<4>(),
        e8m0,
        bfp::<8>("BFP m=8"),
        bfp::<7>("BFP m=7"),
        bfp::<6>("BFP m=6"),
        bfp::<5>("BFP m=5"),
        bfp::<4>("BFP m=4"),
        bfp::<3>("BFP m=3"),
        bfp::<2>("BFP m=2"),
        fixed_point("Q8.8", fixed::Q8_8, encode_q8_8),
        fixed_point("INT8", fixed::INT8, encode_int8),
    ]
}
