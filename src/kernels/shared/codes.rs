//! Few-bit codes as operands of their own: where a matrix's codes and scales lie, and what WGSL is told of a format.

use super::coded::ElementWords;
use super::decoding;
use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::format::{Format, Scale, ScaleRule, TensorScale};
use crate::gpu::Dispatch;
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
    choosing(decoding::parameters(dispatch, format), format)
        .set("nan_code", words.nan_code)
        .set("limit", words.limit)
}
