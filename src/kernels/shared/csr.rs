//! What products with a matrix in compressed sparse rows share: the matrix as an operation names it, its checks, its
//! operands, its sums for the judge, and the types of its entries on the CPU and on GPUs.

use std::fmt;
use std::ops::Range;

use crate::cpu::dispatch::{Index, Value};
use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::format::bf16::halves;
use crate::gpu::{Dispatch, OperandSpec, Permutation, Words};
use crate::op::{Judge, Sum, Work, check_limit};
use crate::tensor::{DType, Layout, View};

/// A matrix in compressed sparse rows: its extents, entries and types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) nnz: usize,
    pub(crate) index: DType,
    pub(crate) values: DType,
    pub(crate) longest_row: Option<usize>,
}

impl Sparse {
    /// That of a tensor.
    pub(crate) fn of(op: &'static str, tensor: &Tensor) -> Result<Self> {
        match *tensor.layout() {
            Layout::Csr {
                rows,
                cols,
                nnz,
                index,
                values,
                longest_row,
            } => Ok(Self {
                rows,
                cols,
                nnz,
                index,
                values,
                longest_row,
            }),
            Layout::Dense { .. } | Layout::Coded { .. } => {
                Err(misshapen(op, "a", "a sparse matrix (CSR)", tensor))
            }
        }
    }

    /// One of a single entry, for lists of permutations, which types alone tell apart.
    pub(crate) fn of_types(index: DType, values: DType) -> Self {
        Self {
            rows: 1,
            cols: 1,
            nnz: 1,
            index,
            values,
            longest_row: None,
        }
    }

    /// A dense operand has a row for each of its columns.
    pub(crate) fn meets(
        &self,
        op: &'static str,
        dimension: &'static str,
        (right_name, right): (&'static str, usize),
    ) -> Result<()> {
        match self.cols == right {
            true => Ok(()),
            false => Err(Error::Dimension {
                op,
                dimension,
                left_name: "a",
                left: self.cols as u64,
                right_name,
                right: right as u64,
            }),
        }
    }

    /// The column indices.
    pub(crate) fn col_idx(&self) -> View {
        View::vector(self.index, self.nnz)
    }

    /// The values.
    pub(crate) fn values(&self) -> View {
        View::vector(self.values, self.nnz)
    }

    /// Its operands, the first three of a product.
    pub(crate) fn operands(&self) -> [OperandSpec; 3] {
        [
            OperandSpec::read("row_ptr", (self.rows as u64).saturating_add(1)),
            OperandSpec::read("col_idx", self.col_idx().words()),
            OperandSpec::read("values", self.values().words()),
        ]
    }

    /// The most entries that a row may hold. Columns may stand in a row more than once: where nothing is said, it may
    /// hold all.
    pub(crate) fn longest(&self) -> u64 {
        self.longest_row.unwrap_or(self.nnz).min(self.nnz) as u64
    }

    /// Entries of a mean row, rounded up.
    pub(crate) fn mean(&self) -> u64 {
        (self.nnz as u64).div_ceil((self.rows as u64).max(1))
    }

    /// Extents that an index can name, and types that kernels know, those of the dense operands too.
    pub(crate) fn check(&self, op: &'static str, dense: &[(&'static str, DType)]) -> Result<()> {
        for (what, value) in [("rows", self.rows), ("columns", self.cols), ("entries", self.nnz)] {
            check_limit(op, what, value as u64, u64::from(u32::MAX) - 1)?;
        }
        let refuse = |operand, expected, got| {
            Err(Error::DType {
                op,
                operand,
                expected,
                got,
            })
        };
        match self.index {
            DType::U16 => check_limit(op, "columns of u16 indices", self.cols as u64, 1 << 16)?,
            DType::U32 => {}
            DType::F32 | DType::F64 | DType::Bf16 => return refuse("col_idx", "u32 or u16", self.index),
        }
        for &(operand, got) in [("values", self.values)].iter().chain(dense) {
            if !matches!(got, DType::F32 | DType::Bf16) {
                return refuse(operand, "f32 or bf16", got);
            }
        }
        Ok(())
    }

    /// Rows that begin where the one before ends, from the first entry to the last.
    fn check_rows(&self, op: &'static str, row_ptr: &[u32]) -> Result<()> {
        let row_ptr = &row_ptr[..=self.rows];
        let wrong = |row: usize, expected| {
            Err(Error::Value {
                op,
                what: "row_ptr",
                value: format!("{} at row {row}", row_ptr[row]),
                expected,
            })
        };
        if row_ptr[0] != 0 {
            return wrong(0, "0 at row 0");
        }
        match row_ptr.windows(2).position(|ends| ends[0] > ends[1]) {
            Some(row) => wrong(row + 1, "never to decrease"),
            None if row_ptr[self.rows] as usize != self.nnz => wrong(self.rows, "the entries at the end"),
            None => Ok(()),
        }
    }

    /// Columns that the matrix has.
    fn check_columns(&self, op: &'static str, col_idx: &[u32]) -> Result<()> {
        let view = self.col_idx();
        let mut columns = (0..self.nnz).map(|entry| view.load_bits(col_idx, 0, entry));
        match columns.find(|column| *column as usize >= self.cols) {
            None => Ok(()),
            Some(column) => Err(Error::Limit {
                op,
                what: "column index",
                value: column.into(),
                limit: (self.cols as u64).saturating_sub(1),
            }),
        }
    }

    /// A valid matrix: [`Csr`](crate::tensor::Csr) is one by construction, words need not be.
    pub(crate) fn check_words(&self, op: &'static str, row_ptr: &[u32], col_idx: &[u32]) -> Result<()> {
        self.check_rows(op, row_ptr)?;
        self.check_columns(op, col_idx)
    }

    /// Makes the sums of its product with `n` columns for the judge; `right` is what stands there at row and column.
    pub(crate) fn sums<'a, R>(
        self,
        judge: &Judge<'a>,
        n: usize,
        right: R,
    ) -> impl FnOnce() -> Vec<Sum> + use<'a, R>
    where
        R: Fn(usize, usize) -> f64,
    {
        let operand = |name| judge.before(name);
        let (row_ptr, col_idx, values) = (operand("row_ptr"), operand("col_idx"), operand("values"));
        move || {
            let (columns, entries) = (self.col_idx(), self.values());
            let mut sums = vec![Sum::default(); self.rows * n];
            for row in 0..self.rows {
                for entry in row_ptr[row] as usize..row_ptr[row + 1] as usize {
                    let column = columns.load_bits(col_idx, 0, entry) as usize;
                    let value = entries.load(values, 0, entry);
                    for (col, sum) in sums[row * n..][..n].iter_mut().enumerate() {
                        sum.product(value, right(column, col));
                    }
                }
            }
            sums
        }
    }

    /// What its product with `n` columns costs; `operands` are the product's, with the dense one fourth.
    pub(crate) fn work(&self, n: usize, operands: &[OperandSpec]) -> Work {
        let words = |operand: &OperandSpec| operand.words as f64;
        let all: f64 = operands.iter().map(words).sum();
        // Few entries name few rows of the dense operand: the others need not be read.
        let unread = 1.0 - self.nnz.min(self.cols) as f64 / self.cols.max(1) as f64;
        Work {
            flops: 2.0 * self.nnz as f64 * n as f64,
            bytes: 4.0 * (all - unread * operands.get(3).map_or(0.0, words)),
            ..Work::default()
        }
    }

    /// Binds a run of its entries, even at its start, to a kernel with the bindings of `lib/csr.wgsl`.
    pub(crate) fn bind(&self, dispatch: Dispatch, entries: &Range<u64>) -> Dispatch {
        let part = |name, view: View| match entries.is_empty() {
            true => Words::absent(),
            false => Words::of(name, view.part(&(0..1), entries)),
        };
        dispatch
            .bind("col_idx", part("col_idx", self.col_idx()))
            .bind("values", part("values", self.values()))
    }

    /// The constants of `lib/csr.wgsl`.
    pub(crate) fn constants(&self, permutation: Permutation) -> Permutation {
        permutation
            .constant("INDEX_U16", self.index == DType::U16)
            .constant("VALUES_BF16", self.values == DType::Bf16)
    }

    /// Runs a CPU kernel on its entries, whatever their types, once the rows have been checked.
    pub(crate) fn on_cpu(&self, op: &'static str, words: [&[u32]; 3], product: impl Product) -> Result<()> {
        let [row_ptr, col_idx, values] = words;
        self.check_rows(op, row_ptr)?;
        let row_ptr = &row_ptr[..=self.rows];
        let floats = |words| &bytemuck::cast_slice::<u32, f32>(words)[..self.nnz];
        let packed = |words| &halves(words)[..self.nnz];
        let inside = match (self.index == DType::U16, self.values == DType::Bf16) {
            (true, true) => product.run(row_ptr, packed(col_idx), packed(values)),
            (true, false) => product.run(row_ptr, packed(col_idx), floats(values)),
            (false, true) => product.run(row_ptr, &col_idx[..self.nnz], packed(values)),
            (false, false) => product.run(row_ptr, &col_idx[..self.nnz], floats(values)),
        };
        match inside {
            true => Ok(()),
            // Whoever met the column knows only that there is one: the first is named, whatever the threads did.
            false => self.check_columns(op, col_idx),
        }
    }
}

impl fmt::Display for Sparse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (values, index) = (self.values, self.index);
        write!(f, "{}x{} nnz {} {values}+{index}", self.rows, self.cols, self.nnz)
    }
}

/// A tensor of another shape than an operation takes.
pub(crate) fn misshapen(op: &'static str, operand: &'static str, expected: &str, got: &Tensor) -> Error {
    Error::Shape {
        op,
        operand,
        expected: expected.to_string(),
        got: got.shape(),
    }
}

/// A product on the CPU, whatever the types of its entries.
pub(crate) trait Product {
    /// Runs it. Whether every column was inside: if not, what has been written means nothing.
    fn run<V: Value, I: Index>(self, row_ptr: &[u32], columns: &[I], values: &[V]) -> bool;
}
