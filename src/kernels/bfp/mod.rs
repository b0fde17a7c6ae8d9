//! `bfp`: block floating point, blocks along the columns that share one exponent: [`BfpEncode`], [`BfpDecode`], and
//! products of two such matrices, [`BfpMatmul`].

pub(crate) mod cases;
pub(super) mod decode;
pub(super) mod encode;
mod packing;
pub(super) mod product;
mod reference;

pub use decode::BfpDecode;
pub use encode::BfpEncode;
pub use product::BfpMatmul;

use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::format::block::BfpFormat;
use crate::op::check_limit;
use crate::tensor::{DType, Layout, View};

fn float(op: &'static str, operand: &'static str, got: DType) -> Result<()> {
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

fn extents(op: &'static str, extents: &[(&'static str, usize)]) -> Result<()> {
    extents
        .iter()
        .try_for_each(|(what, value)| check_limit(op, what, *value as u64, u64::from(u32::MAX) / 64))
}

fn describe(format: BfpFormat) -> String {
    format!("m {} block {}", format.bits(), format.block())
}

/// The words of a matrix's codes, row by row.
fn codes(format: BfpFormat, rows: usize, cols: usize) -> View {
    let words = format.codes_words_per_row(cols);
    View::new(DType::U32, rows, words, words)
}

/// The words of its exponents.
fn exponents(format: BfpFormat, rows: usize, cols: usize) -> View {
    let words = format.exponent_words_per_row(cols);
    View::new(DType::U32, rows, words, words)
}

/// A block floating point tensor's format, rows and columns.
fn block(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<(BfpFormat, usize, usize)> {
    match tensor.layout() {
        Layout::Bfp { format, rows, cols } => Ok((*format, *rows, *cols)),
        other => {
            let expected = "a block floating point tensor".to_string();
            Err(Error::Shape {
                op,
                operand,
                expected,
                got: other.shape(),
            })
        }
    }
}
