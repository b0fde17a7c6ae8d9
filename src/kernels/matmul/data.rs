//! What the operands of matmul's cases hold.

use crate::format::bf16;
use crate::kernels::shared::coded_cases;
use crate::kernels::{Matmul, MatrixLayout};
use crate::op::data::Source;
use crate::op::{Case, Effort, Op as _};
use crate::tensor::DType::{self, Bf16, F32, F64, U16, U32};

/// What the operands hold.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Values {
    /// Fractions in -1..1: the bound judges.
    Unit,
    /// Integers in -8..=8: results are bit-equal.
    Integers,
    /// Fractions, some of them subnormal: the bound's terms for flushing are at work.
    Tiny,
    /// Fractions of 2^-62: products of blocks near the smallest normal number.
    Small,
    /// Fractions, one in 300 of them far from the others (2^-60 and 2^40 times): the list of outliers.
    Outliers,
    /// A of 64 x 32: ones in the first row, and in the others nothing but numbers 2^-60 times as large, 64 in all: as
    /// many outliers as the list holds, each of them all of a sum.
    FullList,
    /// A of 24 x 32 and B of 32 x 24: ones in the first row, and in the others nothing but numbers 2^-40 times as large,
    /// whose products with one another are all of a sum: outliers of both.
    Paired,
    /// Exponents all over -60..60: more outliers than any list holds.
    Wide,
    /// Runs of fractions and runs of `Wide`: some groups start again where others do not.
    Mixed,
    /// As large as bf16 goes in A, as small in B.
    Extremes,
    /// Fractions, one in 2000 of them NaN, infinite, zero of either sign, subnormal or the largest.
    Specials,
    /// Fractions, one in 24 of them the same.
    Strange,
    /// Nothing but zeros and, in 1 of 50, subnormals: no number tells a scale.
    Nothing,
}

const SPECIALS: [u32; 8] = [
    0x7fc0_0000,
    0x7f80_0000,
    0xff80_0000,
    0,
    0x8000_0000,
    0x0001_0000,
    0x7f7f_0000,
    0x0080_0000,
];

impl Values {
    /// The next value of operand `name`, of which `index` have been made.
    fn next(self, source: &mut Source, name: &str, index: usize) -> f32 {
        let power = |exponent: u32| f32::from_bits((exponent + 127) << 23);
        let unit = source.unit();
        match self {
            Self::Integers => source.small_integer(),
            Self::Unit => unit,
            Self::Small => unit / power(62),
            Self::Tiny if source.below(4) == 0 => unit * f32::MIN_POSITIVE * 0.5,
            Self::Tiny => unit,
            Self::Outliers => match source.below(600) {
                0 => unit / power(60),
                1 => unit * power(40),
                _ => unit,
            },
            Self::FullList if name == "a" => {
                let (row, k) = (index / 32, index % 32);
                match row {
                    0 => 1.0,
                    _ if k == row % 32 || index == 32 => (1.0 + unit.abs()) / power(60),
                    _ => 0.0,
                }
            }
            Self::Paired if name == "a" || name == "b" => {
                let cols = if name == "a" { 32 } else { 24 };
                match index / cols {
                    0 => 1.0,
                    row if index % cols == row % cols => (1.0 + unit.abs()) / power(40),
                    _ => 0.0,
                }
            }
            Self::FullList | Self::Paired => unit,
            Self::Mixed if index % 5000 < 4600 => unit,
            Self::Wide | Self::Mixed => match source.below(121) {
                exponent @ 0..60 => unit / power(60 - exponent),
                exponent => unit * power(exponent - 60),
            },
            Self::Extremes if name == "a" => (1.0 + unit.abs()).copysign(unit) * power(126),
            Self::Extremes if name == "b" => unit / power(120),
            Self::Extremes => unit,
            Self::Specials | Self::Strange => {
                let every = if self == Self::Strange { 24 } else { 2000 };
                match source.below(every) {
                    0 => f32::from_bits(SPECIALS[source.below(SPECIALS.len() as u32) as usize]),
                    _ => unit,
                }
            }
            Self::Nothing if source.below(50) == 0 => unit * f32::MIN_POSITIVE * 0.5,
            Self::Nothing => 0.0,
        }
    }
}

/// A case over such values.
pub(super) fn case(effort: Effort, op: Matmul, values: Values) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.m * 1_000_000 + op.n * 1000 + op.k) as u64);
        // The scales of the codes that came last.
        let mut scales = Vec::new();
        op.operands()
            .iter()
            .map(|spec| {
                let words = spec.words as usize;
                let mut index = 0;
                let mut value = || {
                    index += 1;
                    values.next(&mut source, spec.name, index - 1)
                };
                let (m, n) = (op.m, op.n);
                match spec.name {
                    "a_scales" | "b_scales" => std::mem::take(&mut scales),
                    "a" | "b" if words == 0 => Vec::new(),
                    "a" if op.a.format().is_some() => {
                        codes(&op.a, op.batch, op.stored_a(), &mut value, &mut scales)
                    }
                    "b" if op.b.format().is_some() => {
                        codes(&op.b, op.batch, op.stored_b(), &mut value, &mut scales)
                    }
                    "a" => fill(words, &op.a, op.batch, op.stored_a(), &mut value),
                    "b" => fill(words, &op.b, op.batch, op.stored_b(), &mut value),
                    // Where C is not read it starts as sentinels.
                    "c" if !op.reads_c() => Vec::new(),
                    "c" => fill(words, &op.c, op.batch, [m, n], &mut value),
                    _ => {
                        let bias = MatrixLayout {
                            elements: op.bias.unwrap_or(F32).into(),
                            ld: n,
                            ..op.c
                        };
                        fill(words, &bias, 1, [1, n], &mut value)
                    }
                }
            })
            .collect()
    })
}

/// The codes of values in all the rows that the batches span, and their scales.
fn codes(
    matrix: &MatrixLayout,
    batch: usize,
    [rows, cols]: [usize; 2],
    value: &mut impl FnMut() -> f32,
    scales: &mut Vec<u32>,
) -> Vec<u32> {
    let Some(format) = matrix.format() else {
        return Vec::new();
    };
    let rows = (batch - 1) * matrix.batch_rows() + rows;
    let values: Vec<u32> = (0..rows * cols).map(|_| value().to_bits()).collect();
    let mut parts = coded_cases::matrix(format, &values, rows, cols).into_iter();
    let mut codes = parts.next().unwrap_or_default();
    *scales = parts.next().unwrap_or_default();
    // Bits past a row's last code reach a result if padding does.
    let unused = (32 * format.codes_words_per_row(cols) - cols * format.bits() as usize) as u32;
    if unused > 0 {
        for row in codes.chunks_mut(format.codes_words_per_row(cols)) {
            if let Some(last) = row.last_mut() {
                *last |= u32::MAX << (32 - unused);
            }
        }
    }
    codes
}

/// A matrix of values between NaNs, which reach a result if padding does.
fn fill(
    words: usize,
    matrix: &MatrixLayout,
    batch: usize,
    [rows, cols]: [usize; 2],
    value: &mut impl FnMut() -> f32,
) -> Vec<u32> {
    let mut all = vec![0x7fc1_7fc1; words];
    if words == 0 {
        return all;
    }
    for b in 0..batch {
        for row in 0..rows {
            for col in 0..cols {
                set(
                    &mut all,
                    matrix.dtype(),
                    b * matrix.batch_stride + row * matrix.ld + col,
                    value(),
                );
            }
        }
    }
    all
}

fn set(words: &mut [u32], dtype: DType, element: usize, value: f32) {
    match dtype {
        F64 => {
            let bits = f64::from(value).to_bits();
            words[2 * element] = bits as u32;
            words[2 * element + 1] = (bits >> 32) as u32;
        }
        Bf16 => {
            let shift = 16 * (element % 2);
            let word = &mut words[element / 2];
            *word = (*word & !(0xffff << shift)) | (u32::from(bf16::from_f32(value)) << shift);
        }
        F32 | U32 | U16 => words[element] = value.to_bits(),
    }
}
