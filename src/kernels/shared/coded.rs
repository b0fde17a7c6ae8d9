//! Few-bit codes as operands: where a matrix's codes and scales lie, and what WGSL is told of a format.

use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::format::{Element, Format, Scale, ScaleRule, TensorScale};
use crate::gpu::{Dispatch, Words};
use crate::op::check_limit;
use crate::tensor::{DType, Layout, View};

/// A matrix of codes: rows of `cols`, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Codes {
    /// The words of its codes, row by row.
    pub(crate) fn codes(&self) -> View {
        let words = self.format.codes_words_per_row(self.cols);
        View::new(DType::U32, self.rows, words, words)
    }

    /// The words of its blocks' scales, row by row, which begin behind [`Codes::head`].
    pub(crate) fn scales(&self) -> View {
        let words = self.format.scale_words_per_row(self.cols);
        View::new(DType::U32, self.rows, words, words)
    }

    /// The words before the scales.
    pub(crate) fn head(&self) -> u64 {
        self.format.head_words() as u64
    }

    /// The words of the whole operand `scales`.
    pub(crate) fn scales_words(&self) -> u64 {
        self.scales().words() + self.head()
    }

    /// The names and words of its operands, `scales` only where the format has any.
    pub(crate) fn operands(&self, names: [&'static str; 2]) -> Vec<(&'static str, u64)> {
        let mut operands = vec![(names[0], self.codes().words())];
        if self.format.has_scales() {
            operands.push((names[1], self.scales_words()));
        }
        operands
    }

    pub(crate) fn check(&self, op: &'static str, names: [&'static str; 2]) -> Result<()> {
        self.codes().check(op, names[0])?;
        self.scales().check(op, names[1])
    }
}

/// The format, rows and columns of a tensor of codes.
pub(crate) fn coded(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<Codes> {
    match tensor.layout() {
        &Layout::Coded { format, rows, cols } => Ok(Codes { format, rows, cols }),
        other => Err(Error::Shape {
            op,
            operand,
            expected: "a tensor of codes".to_string(),
            got: other.shape(),
        }),
    }
}

/// Checks that the uncoded side is f32 or bf16.
pub(crate) fn check_plain(op: &'static str, operand: &'static str, got: DType) -> Result<()> {
    match got {
        DType::F32 | DType::Bf16 => Ok(()),
        DType::F64 | DType::U32 | DType::U16 => Err(Error::DType {
            op,
            operand,
            expected: "f32 or bf16",
            got,
        }),
    }
}

/// Checks that every bit of a row has a number in 32 bits.
pub(crate) fn check_extents(op: &'static str, rows: usize, cols: usize) -> Result<()> {
    let limit = u64::from(u32::MAX) / 64;
    check_limit(op, "rows", rows as u64, limit)?;
    check_limit(op, "cols", cols as u64, limit)
}

/// Past every code: no code is Inf.
const NONE: u32 = 0xffff_ffff;

/// The fields of `struct Element` in shaders/lib/element.wgsl, but for the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ElementWords {
    pub(crate) bits: u32,
    pub(crate) fraction: u32,
    pub(crate) bias: u32,
    pub(crate) max_code: u32,
    pub(crate) infinity: u32,
    pub(crate) nan_code: u32,
    pub(crate) limit: u32,
}

impl ElementWords {
    pub(crate) fn of(element: Element) -> Self {
        let max_code = u32::from(element.max_code());
        let even = Self {
            bits: element.bits(),
            fraction: element.fraction().unwrap_or_default(),
            bias: 0,
            max_code,
            infinity: NONE,
            nan_code: 0,
            limit: max_code,
        };
        match element {
            Element::Minifloat(float) => {
                let infinity = float.infinity().map_or(NONE, u32::from);
                Self {
                    fraction: float.mantissa_bits(),
                    bias: float.bias(),
                    infinity,
                    nan_code: float.nan().unwrap_or(float.max_code()).into(),
                    limit: if float.overflows() { infinity } else { max_code },
                    ..even
                }
            }
            Element::SignMagnitude(_) => even,
            Element::Fixed(fixed) => Self {
                limit: max_code + u32::from(!fixed.symmetric()),
                ..even
            },
        }
    }
}

/// `ELEMENT_*` in shaders/lib/element.wgsl.
pub(crate) fn kind(element: Element) -> u32 {
    match element {
        Element::Minifloat(_) => 0,
        Element::SignMagnitude(_) => 1,
        Element::Fixed(_) => 2,
    }
}

/// One element of every kind.
pub(crate) const KINDS: [u32; 3] = [0, 1, 2];

/// Whether the whole tensor has a scale.
pub(crate) fn tensor_scaled(format: Format) -> bool {
    format.tensor_scale() != TensorScale::None
}

/// Sets what kernels that decode are told of a format.
pub(crate) fn decoding(dispatch: Dispatch, format: Format) -> Dispatch {
    let words = ElementWords::of(format.element());
    dispatch
        .set("block", format.block_size().unwrap_or(0))
        .set("bits", words.bits)
        .set("fraction", words.fraction)
        .set("bias", words.bias)
        .set("max_code", words.max_code)
        .set("infinity", words.infinity)
}

/// Sets what kernels that choose scales are told of a format.
pub(crate) fn choosing(dispatch: Dispatch, format: Format) -> Dispatch {
    let rule = match (format.scale(), format.tensor_scale()) {
        (Scale::Block { rule, .. }, _) | (Scale::None, TensorScale::PowerOfTwo(rule)) => rule,
        (Scale::None, TensorScale::None) => ScaleRule::Floor,
    };
    let (exponent, significand) = format.element().largest_magnitude();
    dispatch
        .set("rule", rule.code())
        .set("largest_exponent", exponent)
        .set("largest_significand", significand)
}

/// Sets what kernels that encode are told of a format.
pub(crate) fn encoding(dispatch: Dispatch, format: Format) -> Dispatch {
    let words = ElementWords::of(format.element());
    choosing(decoding(dispatch, format), format)
        .set("nan_code", words.nan_code)
        .set("limit", words.limit)
}

/// Words of an operand; nothing where there are none, for then the operand may not be there.
pub(crate) fn words(operand: &'static str, range: std::ops::Range<u64>) -> Words {
    match range.is_empty() {
        true => Words::absent(),
        false => Words::of(operand, range),
    }
}
