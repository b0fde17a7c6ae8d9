//! What a product is called with: its shape and scalars, its operands, and where the result goes.

use super::coded::CodedRows;
use super::pack::{Mixed, View};
use crate::cpu::{CpuError, check_matrix};

/// Shape and scalars of a product, C[m, n] = relu?(alpha op(A)[m, k] op(B)[k, n] + beta C + bias).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmParams<T = f32> {
    /// Rows of op(A) and of C.
    pub m: usize,
    /// Columns of op(B) and of C.
    pub n: usize,
    /// Columns of op(A), rows of op(B).
    pub k: usize,
    /// Factor of the product. 0: A and B are not read.
    pub alpha: T,
    /// Factor of the C passed in. 0: C is not read.
    pub beta: T,
    /// Whether negative results become +0 (before rounding; NaN stays).
    pub relu: bool,
}

impl GemmParams<f32> {
    /// C = op(A) op(B) in f32: alpha 1, beta 0, no ReLU.
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        GemmParams {
            m,
            n,
            k,
            alpha: 1.0,
            beta: 0.0,
            relu: false,
        }
    }
}

impl GemmParams<f64> {
    /// C = op(A) op(B) in f64: alpha 1, beta 0, no ReLU.
    pub fn new_f64(m: usize, n: usize, k: usize) -> Self {
        GemmParams {
            m,
            n,
            k,
            alpha: 1.0,
            beta: 0.0,
            relu: false,
        }
    }
}

/// Elements of an operand of an f32 product.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// f32.
    F32(&'a [f32]),
    /// bf16 bit patterns, widened exactly.
    Bf16(&'a [u16]),
    /// Codes of a format, whose stored rows lie along k.
    Coded(CodedRows<'a>),
}

impl Data<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(data) => data.len(),
            Data::Bf16(data) => data.len(),
            Data::Coded(codes) => codes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An operand of an f32 product: row-major, rows `ld` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The elements.
    pub data: Data<'a>,
    /// Leading dimension in elements: from the start of one stored row to the next.
    pub ld: usize,
    /// Whether the transpose is stored: A as [K, M], or B as [N, K].
    pub transposed: bool,
}

impl<'a> Source<'a> {
    /// Whether every element is a bf16.
    pub(super) fn fits_bf16(&self) -> bool {
        match &self.data {
            Data::F32(_) => false,
            Data::Bf16(_) => true,
            Data::Coded(codes) => codes.fits_bf16(),
        }
    }

    /// The same storage with other elements.
    pub(super) fn with(self, data: Data<'a>) -> Self {
        Source { data, ..self }
    }

    /// An f32 operand stored as it is used.
    pub fn f32(data: &'a [f32], ld: usize) -> Self {
        Source {
            data: Data::F32(data),
            ld,
            transposed: false,
        }
    }

    /// A bf16 operand stored as it is used.
    pub fn bf16(data: &'a [u16], ld: usize) -> Self {
        Source {
            data: Data::Bf16(data),
            ld,
            transposed: false,
        }
    }

    /// The same storage, read as the transpose of the operand.
    pub fn transposed(self) -> Self {
        Source {
            transposed: !self.transposed,
            ..self
        }
    }

    pub(super) fn check(&self, operand: &'static str, rows: usize, columns: usize) -> Result<(), CpuError> {
        let (rows, columns) = if self.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        if let Data::Coded(codes) = &self.data
            && ((operand == "A") == self.transposed || codes.cols() != columns || self.ld != columns)
        {
            return Err(CpuError::Axis { operand });
        }
        check_matrix(operand, self.data.len(), rows, columns, self.ld)
    }

    pub(super) fn view(&self, k_adjacent: bool) -> Mixed<'a> {
        let ld = self.ld;
        match self.data {
            Data::F32(data) => Mixed::F32(View { data, ld, k_adjacent }),
            Data::Bf16(data) => Mixed::Bf16(View { data, ld, k_adjacent }),
            // Decoded before it comes to this (`gemm_any`, `PackedB::new`).
            Data::Coded(_) => Mixed::F32(View {
                data: &[],
                ld,
                k_adjacent,
            }),
        }
    }
}

/// An operand of an f64 product: row-major, rows `ld` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct Source64<'a> {
    /// The elements.
    pub data: &'a [f64],
    /// Leading dimension in elements: from the start of one stored row to the next.
    pub ld: usize,
    /// Whether the transpose is stored: A as [K, M], or B as [N, K].
    pub transposed: bool,
}

impl<'a> Source64<'a> {
    /// An operand stored as it is used.
    pub fn new(data: &'a [f64], ld: usize) -> Self {
        Source64 {
            data,
            ld,
            transposed: false,
        }
    }

    /// The same storage, read as the transpose of the operand.
    pub fn transposed(self) -> Self {
        Source64 {
            transposed: !self.transposed,
            ..self
        }
    }

    pub(super) fn check(&self, operand: &'static str, rows: usize, columns: usize) -> Result<(), CpuError> {
        let (rows, columns) = if self.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        check_matrix(operand, self.data.len(), rows, columns, self.ld)
    }
}

/// Rounds consecutive f32 results to bf16: the hook for stochastic rounding.
pub trait StoreRow: Sync {
    /// Writes `out[i]`, the bf16 bits of `values[i]`, whose logical index is `first_index + i`.
    ///
    /// The index is row * N + column plus the base given in [`Narrow::Custom`]: it counts neither
    /// padding nor tiles. Every element of C is stored once, in pieces of a row that may start at
    /// any column; `values` and `out` have equal lengths. Called from several threads at a time.
    fn store_row(&self, first_index: u64, values: &[f32], out: &mut [u16]);
}

/// How f32 results become bf16.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Narrow<'a> {
    /// To nearest, ties to even, on the bits; overflow to infinity, NaN kept quiet.
    Nearest,
    /// As `store` says.
    Custom {
        /// Added (modulo 2^64) to every logical index.
        base: u64,
        /// The rounding.
        store: &'a dyn StoreRow,
    },
}

/// Where the result goes, and C if beta is not 0: row-major, rows `ld` elements apart. Elements
/// between the rows are left alone.
#[non_exhaustive]
pub enum Sink<'a> {
    /// f32.
    F32 {
        /// The elements of C.
        data: &'a mut [f32],
        /// Leading dimension in elements.
        ld: usize,
    },
    /// bf16 bit patterns, rounded once from the f32 result.
    Bf16 {
        /// The elements of C.
        data: &'a mut [u16],
        /// Leading dimension in elements.
        ld: usize,
        /// How to round.
        rounding: Narrow<'a>,
    },
}

impl<'a> Sink<'a> {
    /// An f32 C.
    pub fn f32(data: &'a mut [f32], ld: usize) -> Self {
        Sink::F32 { data, ld }
    }

    /// A bf16 C, rounded to nearest.
    pub fn bf16(data: &'a mut [u16], ld: usize) -> Self {
        Sink::Bf16 {
            data,
            ld,
            rounding: Narrow::Nearest,
        }
    }
}
