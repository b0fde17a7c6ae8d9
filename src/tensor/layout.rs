use super::DType;
use crate::format::block::BfpFormat;

/// One contiguous piece of memory of a tensor: dense tensors have one, block and sparse ones several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name for it: `values`, `codes`, `exponents`, `row_ptr`, `col_idx`.
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
    /// Block floating point along the columns: parts `codes` and `exponents`.
    Bfp {
        /// Block size and bits per element.
        format: BfpFormat,
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
    /// A dense layout with the leading dimension a `Tensor` uses ([`DType::row_multiple`]).
    #[must_use]
    pub fn dense(dtype: DType, shape: &[usize]) -> Self {
        let last = shape.last().copied().unwrap_or(1);
        Self::Dense {
            dtype,
            shape: shape.to_vec(),
            ld: last.next_multiple_of(dtype.row_multiple()),
        }
    }

    /// The extents: for block and sparse layouts `[rows, cols]`.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Dense { shape, .. } => shape.clone(),
            Self::Bfp { rows, cols, .. } | Self::Csr { rows, cols, .. } => vec![*rows, *cols],
        }
    }

    /// All but the last extent, multiplied: how many rows of `cols()` elements there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense { shape, .. } => shape.split_last().map_or(1, |(_, rest)| rest.iter().product()),
            Self::Bfp { rows, .. } | Self::Csr { rows, .. } => *rows,
        }
    }

    /// The last extent.
    #[must_use]
    pub fn cols(&self) -> usize {
        match self {
            Self::Dense { shape, .. } => shape.last().copied().unwrap_or(1),
            Self::Bfp { cols, .. } | Self::Csr { cols, .. } => *cols,
        }
    }

    /// The pieces of memory, in the order operations take them.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Dense { dtype, ld, .. } => {
                vec![Part {
                    name: "values",
                    words: self.rows() as u64 * dtype.words(*ld as u64),
                }]
            }
            Self::Bfp { format, rows, cols } => vec![
                Part {
                    name: "codes",
                    words: *rows as u64 * format.codes_words_per_row(*cols) as u64,
                },
                Part {
                    name: "exponents",
                    words: *rows as u64 * format.exponent_words_per_row(*cols) as u64,
                },
            ],
            Self::Csr {
                rows,
                nnz,
                index,
                values,
                ..
            } => vec![
                Part {
                    name: "row_ptr",
                    words: *rows as u64 + 1,
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

    /// Bytes of all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts().iter().map(|part| part.words * 4).sum()
    }
}
