//! How the matrices of a product lie in memory.

use super::OP;
use crate::error::{Error, Result};
use crate::op::check_limit;
use crate::tensor::{DType, MAX_WORDS, View};

/// How one matrix of a [`Matmul`](super::Matmul) is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MatrixLayout {
    /// `F32` or `Bf16`, or `F64` for all three on the CPU device and the reference.
    pub dtype: DType,
    /// Elements from one stored row to the next: at least the stored columns, even for bf16.
    pub ld: usize,
    /// Elements from one batch to the next, even for bf16; 0 lets every batch read the same A or B.
    pub batch_stride: usize,
    /// A is stored `[K, M]`, B is stored `[N, K]`; C is never transposed.
    pub transposed: bool,
}

impl MatrixLayout {
    /// One of its matrices, `rows` x `cols` as stored.
    pub(super) const fn view(&self, [rows, cols]: [usize; 2]) -> View {
        View::new(self.dtype, rows, cols, self.ld)
    }

    /// The word where a batch begins: strides of 16-bit elements are even.
    pub(super) const fn batch_word(&self, batch: usize) -> usize {
        self.dtype.words(batch as u64 * self.batch_stride as u64) as usize
    }

    /// The word of an element whose place in the word does not matter, or which is the first there.
    pub(super) const fn word(&self, batch: u64, row: u64, col: u64) -> u64 {
        self.dtype
            .words(batch * self.batch_stride as u64 + row * self.ld as u64 + col)
    }

    /// Elements from the first to the last of `batch` matrices of `rows` x `cols`, both included.
    pub(super) fn span(&self, batch: u64, rows: u64, cols: u64) -> u64 {
        if batch == 0 || rows == 0 || cols == 0 {
            return 0;
        }
        let batches = (batch - 1).saturating_mul(self.batch_stride as u64);
        batches
            .saturating_add((rows - 1).saturating_mul(self.ld as u64))
            .saturating_add(cols)
    }

    /// Words from the first to the last of them; extents that pass [`MatrixLayout::check`] never wrap.
    pub(super) fn words(&self, batch: u64, rows: u64, cols: u64) -> u64 {
        let bits = u128::from(self.span(batch, rows, cols)) * u128::from(self.dtype.bits());
        u64::try_from(bits.div_ceil(32)).unwrap_or(u64::MAX)
    }

    /// Words of an input: up to a multiple of 16 bytes where loads of 16 bytes serve it.
    pub(super) fn words_read(&self, batch: u64, rows: u64, cols: u64) -> u64 {
        let words = self.words(batch, rows, cols);
        if self.suits_vec4() {
            words.checked_next_multiple_of(4).unwrap_or(u64::MAX)
        } else {
            words
        }
    }

    /// Whether every row and every batch starts on a multiple of 16 bytes if the operand does.
    pub(super) fn suits_vec4(&self) -> bool {
        let multiple = self.dtype.row_multiple();
        self.ld.is_multiple_of(multiple) && self.batch_stride.is_multiple_of(multiple)
    }

    pub(super) fn check(&self, operand: &'static str, batch: usize, stored: [usize; 2]) -> Result<()> {
        self.view(stored).check(OP, operand)?;
        if self.dtype == DType::Bf16 && !self.batch_stride.is_multiple_of(2) {
            return Err(Error::Alignment {
                op: OP,
                operand,
                what: "batch stride",
                value: self.batch_stride as u64,
                multiple: 2,
            });
        }
        let [rows, cols] = stored.map(|extent| extent as u64);
        let words = self.words(batch as u64, rows, cols);
        check_limit(OP, "words that an operand spans", words, MAX_WORDS)
    }
}
