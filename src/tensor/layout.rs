use super::DType;
use crate::error::{Error, Result};
use crate::format::Format;

/// The most words that one part of a tensor may span, and the most elements that its extents may count (an extent of
/// 0 counted as 1, so that no loop over the other extents runs for ever): four TiB, past any device's memory and far
/// from where sums of sizes in bytes could wrap.
pub const MAX_WORDS: u64 = 1 << 40;

/// One contiguous piece of memory of a tensor: dense tensors have one, coded and sparse ones several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name for it: `values`, `codes`, `scales`, `row_ptr`, `col_idx`.
    pub name: &'static str,
    /// Its length in `u32` words.
    pub words: u64,
}

/// How a tensor's elements lie in memory. Every operation takes its operands' layouts from here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// Row-major with a leading dimension: element `[.., i, j]` is number `(.. * rows + i) * ld + j`.
    Dense {
        /// Element type.
        dtype: DType,
        /// Extents; the last one is contiguous. An empty shape is a scalar.
        shape: Vec<usize>,
        /// Elements from one row to the next, at least the last extent; even for 16-bit elements.
        ld: usize,
    },
    /// Few-bit codes, blocks of scales along the columns: parts `codes`, and `scales` where the format has any.
    Coded {
        /// Elements and scales.
        format: Format,
        /// Rows.
        rows: usize,
        /// Columns (the reduction axis).
        cols: usize,
    },
    /// Compressed sparse rows: parts `row_ptr` (rows + 1), `col_idx` and `values` (nnz).
    Csr {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
        /// Stored elements.
        nnz: usize,
        /// `U32` or `U16`.
        index: DType,
        /// `F32` or `Bf16`.
        values: DType,
        /// Entries of the longest row where known ([`RowStats::max`](super::RowStats)): kernels for skewed
        /// matrices are chosen by it. Where it says too little, longer rows may become NaN on a GPU.
        longest_row: Option<usize>,
    },
}

impl Layout {
    /// A dense layout with the leading dimension a `Tensor` uses ([`DType::row_multiple`]). Extents past
    /// [`MAX_WORDS`] make a layout that [`Layout::check`] refuses, and with it every tensor.
    #[must_use]
    pub fn dense(dtype: DType, shape: &[usize]) -> Self {
        let last = shape.last().copied().unwrap_or(1);
        Self::Dense {
            dtype,
            shape: shape.to_vec(),
            ld: last
                .checked_next_multiple_of(dtype.row_multiple())
                .unwrap_or(usize::MAX),
        }
    }

    /// Whether a tensor can have this layout: extents and parts within [`MAX_WORDS`], rows that do not overlap, rows
    /// of 16-bit elements that start on a word, indices and values of types that exist.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Value`] or [`Error::Alignment`] for a leading dimension, [`Error::DType`].
    pub fn check(&self) -> Result<()> {
        const OP: &str = "layout";
        let limit = |what, value: u64| match value <= MAX_WORDS {
            true => Ok(()),
            false => Err(Error::Limit {
                op: OP,
                what,
                value,
                limit: MAX_WORDS,
            }),
        };
        let elements = self.shape().iter().fold(1u64, |product, &extent| {
            product.saturating_mul(extent.max(1) as u64)
        });
        match self {
            Self::Dense { dtype, ld, .. } => {
                limit("elements", elements)?;
                if *ld < self.cols() {
                    return Err(Error::Value {
                        op: OP,
                        what: "leading dimension",
                        value: ld.to_string(),
                        expected: "at least the last extent",
                    });
                }
                if dtype.bits() == 16 && !ld.is_multiple_of(2) {
                    return Err(Error::Alignment {
                        op: OP,
                        operand: "values",
                        what: "leading dimension",
                        value: *ld as u64,
                        multiple: 2,
                    });
                }
            }
            Self::Coded { .. } => limit("elements", elements)?,
            // The elements of a sparse matrix are those it stores.
            Self::Csr { index, values, .. } => {
                for (operand, got, types, expected) in [
                    ("col_idx", *index, [DType::U32, DType::U16], "u32 or u16"),
                    ("values", *values, [DType::F32, DType::Bf16], "f32 or bf16"),
                ] {
                    if !types.contains(&got) {
                        return Err(Error::DType {
                            op: OP,
                            operand,
                            expected,
                            got,
                        });
                    }
                }
            }
        }
        self.parts()
            .iter()
            .try_for_each(|part| limit("words of a part", part.words))
    }

    /// The extents: for coded and sparse layouts `[rows, cols]`.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Dense { shape, .. } => shape.clone(),
            Self::Coded { rows, cols, .. } | Self::Csr { rows, cols, .. } => vec![*rows, *cols],
        }
    }

    /// All but the last extent, multiplied: how many rows of `cols()` elements there are (`usize::MAX` where the
    /// product is more).
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense { shape, .. } => shape.split_last().map_or(1, |(_, rest)| product(rest)),
            Self::Coded { rows, .. } | Self::Csr { rows, .. } => *rows,
        }
    }

    /// The last extent.
    #[must_use]
    pub fn cols(&self) -> usize {
        match self {
            Self::Dense { shape, .. } => shape.last().copied().unwrap_or(1),
            Self::Coded { cols, .. } | Self::Csr { cols, .. } => *cols,
        }
    }

    /// The pieces of memory, in the order operations take them. Words past `u64` count as `u64::MAX`.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Dense { dtype, ld, .. } => {
                vec![Part {
                    name: "values",
                    words: (self.rows() as u64).saturating_mul(dtype.words(*ld as u64)),
                }]
            }
            Self::Coded { format, rows, cols } => {
                let mut parts = vec![Part {
                    name: "codes",
                    words: (*rows as u64).saturating_mul(format.codes_words_per_row(*cols) as u64),
                }];
                if format.has_scales() {
                    parts.push(Part {
                        name: "scales",
                        words: format.scales_words(*rows, *cols) as u64,
                    });
                }
                parts
            }
            Self::Csr {
                rows,
                nnz,
                index,
                values,
                ..
            } => vec![
                Part {
                    name: "row_ptr",
                    words: (*rows as u64).saturating_add(1),
                },
                Part {
                    name: "col_idx",
                    words: index.words(*nnz as u64),
                },
                Part {
                    name: "values",
                    words: values.words(*nnz as u64),
                },
            ],
        }
    }

    /// Bytes of all parts; `u64::MAX` where there are more.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts().iter().fold(0, |sum: u64, part| {
            sum.saturating_add(part.words.saturating_mul(4))
        })
    }
}

/// The product of extents: 0 if one is 0, `usize::MAX` where it is more than that.
fn product(extents: &[usize]) -> usize {
    if extents.contains(&0) {
        return 0;
    }
    extents
        .iter()
        .fold(1, |product: usize, &extent| product.saturating_mul(extent))
}
