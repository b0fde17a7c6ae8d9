//! How the matrices of a product lie in memory.

use super::OP;
use crate::error::{Error, Result};
use crate::format::{Elements, Format};
use crate::op::check_limit;
use crate::tensor::{DType, MAX_WORDS, View};

/// How one matrix of a [`Matmul`](super::Matmul) is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MatrixLayout {
    /// `F32` or `Bf16`, or `F64` for all three on the CPU device and the reference; A and B may be codes of a format.
    pub elements: Elements,
    /// Elements from one stored row to the next: at least the stored columns, even for bf16; of codes the columns.
    pub ld: usize,
    /// Elements from one batch to the next, even for bf16, of codes a multiple of `ld`; 0 lets every batch read the
    /// same A or B.
    pub batch_stride: usize,
    /// A is stored `[K, M]`, B is stored `[N, K]`; C is never transposed. The stored rows of codes lie along K.
    pub transposed: bool,
}

impl MatrixLayout {
    /// The leading dimension of rows of so many elements in a tensor.
    pub(super) const fn tensor_ld(elements: Elements, cols: usize) -> usize {
        match elements {
            Elements::Plain(dtype) => dtype.row_ld(cols),
            Elements::Coded(_) => cols,
        }
    }

    /// The format of codes.
    pub(super) const fn format(&self) -> Option<Format> {
        self.elements.format()
    }

    /// The format, if there are scales beside the codes.
    pub(super) fn scaled(&self) -> Option<Format> {
        self.format().filter(|format| format.has_scales())
    }

    /// The type of plain elements; of codes that of their words.
    pub(super) const fn dtype(&self) -> DType {
        match self.elements {
            Elements::Plain(dtype) => dtype,
            Elements::Coded(_) => DType::U32,
        }
    }

    /// Whether every element is a bf16.
    pub(super) fn fits_bf16(&self) -> bool {
        match self.elements {
            Elements::Plain(dtype) => dtype == DType::Bf16,
            Elements::Coded(format) => format.fits_bf16(),
        }
    }

    /// One of its matrices of plain elements, `rows` x `cols` as stored.
    pub(super) const fn view(&self, [rows, cols]: [usize; 2]) -> View {
        View::new(self.dtype(), rows, cols, self.ld)
    }

    /// Rows from one batch of codes to the next.
    pub(super) const fn batch_rows(&self) -> usize {
        match self.batch_stride.checked_div(self.ld) {
            Some(rows) => rows,
            None => 0,
        }
    }

    /// Words from one stored row to the next.
    pub(super) const fn row_words(&self) -> u64 {
        match self.elements {
            Elements::Plain(dtype) => dtype.words(self.ld as u64),
            Elements::Coded(format) => format.codes_words_per_row(self.ld) as u64,
        }
    }

    /// Words from one batch to the next.
    pub(super) const fn batch_words(&self) -> u64 {
        match self.elements {
            Elements::Plain(dtype) => dtype.words(self.batch_stride as u64),
            Elements::Coded(_) => (self.batch_rows() as u64).saturating_mul(self.row_words()),
        }
    }

    /// Words of scales from one stored row to the next.
    pub(super) const fn scale_row_words(&self) -> u64 {
        match self.elements {
            Elements::Plain(_) => 0,
            Elements::Coded(format) => format.scale_words_per_row(self.ld) as u64,
        }
    }

    /// The word where a batch begins: strides of 16-bit elements are even.
    pub(super) const fn batch_word(&self, batch: usize) -> usize {
        match self.elements {
            Elements::Plain(dtype) => dtype.words(batch as u64 * self.batch_stride as u64) as usize,
            Elements::Coded(_) => batch * self.batch_words() as usize,
        }
    }

    /// The word of an element whose place in the word does not matter, or which is the first there; of codes the
    /// word where its row begins.
    pub(super) const fn word(&self, batch: u64, row: u64, col: u64) -> u64 {
        match self.elements {
            Elements::Plain(dtype) => {
                dtype.words(batch * self.batch_stride as u64 + row * self.ld as u64 + col)
            }
            Elements::Coded(_) => batch * self.batch_words() + row * self.row_words(),
        }
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

    /// Rows of codes from the first to the last of `batch` matrices of `rows`, both included.
    fn span_rows(&self, batch: u64, rows: u64, cols: u64) -> u64 {
        if batch == 0 || rows == 0 || cols == 0 {
            return 0;
        }
        let batches = (batch - 1).saturating_mul(self.batch_rows() as u64);
        batches.saturating_add(rows)
    }

    /// Words from the first to the last of them; extents that pass [`MatrixLayout::check`] never wrap. Of codes whole
    /// rows.
    pub(super) fn words(&self, batch: u64, rows: u64, cols: u64) -> u64 {
        match self.elements {
            Elements::Plain(dtype) => {
                let bits = u128::from(self.span(batch, rows, cols)) * u128::from(dtype.bits());
                u64::try_from(bits.div_ceil(32)).unwrap_or(u64::MAX)
            }
            Elements::Coded(_) => self.span_rows(batch, rows, cols).saturating_mul(self.row_words()),
        }
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

    /// Words of the operand with the scales.
    pub(super) fn scales_words(&self, batch: u64, rows: u64, cols: u64) -> u64 {
        let head = self.format().map_or(0, |format| format.head_words() as u64);
        let rows = self.span_rows(batch, rows, cols);
        head.saturating_add(rows.saturating_mul(self.scale_row_words()))
    }

    /// Whether every row and every batch starts on a multiple of 16 bytes if the operand does. Kernels load codes by
    /// single words.
    pub(super) fn suits_vec4(&self) -> bool {
        match self.elements {
            Elements::Plain(dtype) => {
                let multiple = dtype.row_multiple();
                self.ld.is_multiple_of(multiple) && self.batch_stride.is_multiple_of(multiple)
            }
            Elements::Coded(_) => false,
        }
    }

    /// `along_k` says whether stored rows lie along K.
    pub(super) fn check(
        &self,
        operand: &'static str,
        batch: usize,
        stored: [usize; 2],
        along_k: bool,
    ) -> Result<()> {
        match self.elements {
            Elements::Plain(dtype) => {
                self.view(stored).check(OP, operand)?;
                if dtype == DType::Bf16 && !self.batch_stride.is_multiple_of(2) {
                    return Err(Error::Alignment {
                        op: OP,
                        operand,
                        what: "batch stride",
                        value: self.batch_stride as u64,
                        multiple: 2,
                    });
                }
            }
            Elements::Coded(format) => self.check_codes(operand, format, stored, along_k)?,
        }
        let [rows, cols] = stored.map(|extent| extent as u64);
        let words = self.words(batch as u64, rows, cols);
        check_limit(OP, "words that an operand spans", words, MAX_WORDS)
    }

    fn check_codes(
        &self,
        operand: &'static str,
        format: Format,
        stored: [usize; 2],
        along_k: bool,
    ) -> Result<()> {
        if !along_k {
            return Err(Error::Axis {
                op: OP,
                operand,
                format: format.to_string(),
            });
        }
        let value = |what, value: usize, expected| {
            Err(Error::Value {
                op: OP,
                what,
                value: format!("{value} ({operand})"),
                expected,
            })
        };
        if self.ld != stored[1] {
            return value(
                "leading dimension of codes",
                self.ld,
                "K: rows of codes follow one another",
            );
        }
        if self.ld > 0 && !self.batch_stride.is_multiple_of(self.ld) {
            return value("batch stride of codes", self.batch_stride, "a multiple of K");
        }
        Ok(())
    }
}
