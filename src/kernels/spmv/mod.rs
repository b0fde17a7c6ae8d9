//! `spmv`: a sparse matrix in compressed sparse rows times a dense vector.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod merge;
mod reference;

use super::shared::csr::{Sparse, misshapen};
use crate::cpu::Cpu;
use crate::device::{Device, Slot, Tensor};
use crate::error::Result;
use crate::gpu::OperandSpec;
use crate::op::contract::Stored;
use crate::op::{Args, Contract, Op, Output, Table, Work};
use crate::tensor::{Csr, DType, Layout, View};

const OP: &str = "spmv";

/// `y = A x`, A with `rows` x `cols` elements of which `nnz` are stored, y in f32. Operands: `row_ptr`,
/// `col_idx`, `values`, `x`, `y`.
///
/// Bounded class with K the length of the row; bit-equal where all inputs are small integers. Columns of a row
/// may stand in any order, duplicates add up, and an entry that is not stored contributes nothing even where x
/// is infinite. The order of a row's sum is fixed by the variant. The entries must form a valid CSR matrix
/// ([`Csr`](crate::tensor::Csr) is one by construction): a GPU does not check them, the other devices do.
///
/// | variant | when it is preferred | why |
/// |---|---|---|
/// | `merge` | a row is known to be far longer than the mean, or the entries pass one binding | equal shares of rows and entries per workgroup, whatever the rows (Merrill and Garland, SC16); a second dispatch adds the carries |
/// | `merge_scalar` | the same on software adapters | equal shares per invocation, no barrier |
/// | `scalar` | software adapters, or fewer than 8 entries per row on average | no barrier, no idle lanes |
/// | `vector` | the rest | 32 lanes per row read its entries side by side |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Spmv {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Stored entries.
    pub nnz: usize,
    /// Type of the column indices: `U32`, or packed `U16` for at most 65,536 columns.
    pub index: DType,
    /// Type of the values: `F32` or packed `Bf16`.
    pub values: DType,
    /// Type of x: `F32` or packed `Bf16`.
    pub x: DType,
    /// Entries of the longest row, where known ([`RowStats::max`](crate::tensor::RowStats); [`Device::from_csr`]
    /// measures it): it decides between kernels, and which of them may walk a whole row
    /// ([`Gpu::turn_cap`](crate::gpu::Gpu::turn_cap)). Without it rows are taken to be alike in speed, and any of them
    /// to hold all entries. Where it says too little, a row of more entries than a kernel may walk on the device becomes
    /// NaN; no entry is left out silently.
    pub longest_row: Option<usize>,
}

impl Spmv {
    /// A matrix of `rows` x `cols` with `nnz` entries; the types of column indices, values and `x`. No row is known to
    /// be the longest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, nnz: usize, [index, values, x]: [DType; 3]) -> Self {
        Self {
            rows,
            cols,
            nnz,
            index,
            values,
            x,
            longest_row: None,
        }
    }

    fn of(a: Sparse, x: DType) -> Self {
        Self {
            rows: a.rows,
            cols: a.cols,
            nnz: a.nnz,
            index: a.index,
            values: a.values,
            x,
            longest_row: a.longest_row,
        }
    }

    fn a(&self) -> Sparse {
        Sparse {
            rows: self.rows,
            cols: self.cols,
            nnz: self.nnz,
            index: self.index,
            values: self.values,
            longest_row: self.longest_row,
        }
    }

    fn x(&self) -> View {
        View::vector(self.x, self.cols)
    }

    /// A column of results.
    fn y(&self) -> View {
        View::new(DType::F32, self.rows, 1, 1)
    }

    /// Whether one row is so much longer than the mean that whoever owns it would keep the others waiting.
    fn is_skewed(&self) -> bool {
        let mean = self.nnz / self.rows.max(1);
        self.longest_row.is_some_and(|longest| longest > 8 * mean + 64)
    }
}

impl Op for Spmv {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self {
            rows,
            cols,
            nnz,
            index,
            values,
            x,
            longest_row,
        } = self;
        let longest = match longest_row {
            Some(longest) if self.is_skewed() => format!(" longest {longest}"),
            _ => String::new(),
        };
        format!("{rows}x{cols} nnz {nnz}{longest} {values}+{index} x {x}")
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let [row_ptr, col_idx, values] = self.a().operands();
        let x = OperandSpec::read("x", self.x().words());
        vec![
            row_ptr,
            col_idx,
            values,
            x,
            OperandSpec::write("y", self.y().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        self.a().check(OP, &[("x", self.x)])
    }

    fn contract(&self) -> Contract<'_> {
        Contract::bounded(|judge| {
            let (view, x) = (self.x(), judge.before("x"));
            let sums = self.a().sums(&judge, 1, move |row, _| view.load(x, 0, row));
            judge.bounded(&[Output::new("y", self.y())], Stored::F32, sums)
        })
    }

    fn work(&self) -> Work {
        self.a().work(1, &self.operands())
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let [rows, cols, nnz] = [self.rows, self.cols, self.nnz].map(crate::op::about);
        let skewed = if self.is_skewed() { " skewed" } else { "" };
        format!(
            "{rows}x{cols} nnz {nnz}{skewed} {}+{} x {}",
            self.values, self.index, self.x
        )
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, x, y] = args.take(self)?;
        let words = [row_ptr, col_idx, values].map(|arg| arg.read());
        cpu::spmv(cpu, self, words, x.read(), y.write()?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, x, y] = args.take(self)?;
        let [row_ptr, col_idx, values, x] = [row_ptr, col_idx, values, x].map(|arg| arg.read());
        self.a().check_words(OP, row_ptr, col_idx)?;
        reference::spmv(self, row_ptr, col_idx, values, x, y.write()?);
        Ok(())
    }
}

impl Device {
    /// Uploads a sparse matrix with column indices as `U32` or packed `U16` and values as `F32` or packed `Bf16`
    /// (to nearest). How its rows differ in length is looked at here, once, and decides which kernels serve it.
    ///
    /// # Errors
    /// Columns that do not fit `U16`, other types, out of memory, or past a limit of the device.
    pub fn from_csr(&self, matrix: &Csr, index: DType, values: DType) -> Result<Tensor> {
        let [row_ptr, col_idx, words] = matrix.words(index, values)?;
        let (rows, cols, nnz) = (matrix.rows(), matrix.cols(), matrix.nnz());
        let layout = Layout::Csr {
            rows,
            cols,
            nnz,
            index,
            values,
            longest_row: Some(matrix.row_stats().max),
        };
        self.from_words(layout, &[&row_ptr, &col_idx, &words])
    }

    /// A sparse matrix times a dense f32 or bf16 vector, in f32. See [`Spmv`].
    ///
    /// # Errors
    /// [`Shape`](crate::Error::Shape) for a dense matrix, [`Dimension`](crate::Error::Dimension) where columns and
    /// length disagree; out of memory, or device lost.
    pub fn spmv(&self, a: &Tensor, x: &Tensor) -> Result<Tensor> {
        let sparse = Sparse::of(OP, a)?;
        let (dtype, _) = crate::device::dense(OP, "x", x)?;
        if x.layout().rows() != 1 {
            return Err(misshapen(OP, "x", "a vector", x));
        }
        sparse.meets(OP, "columns", ("x", x.layout().cols()))?;
        let mut y = self.zeros(Layout::dense(DType::F32, &[sparse.rows]))?;
        let op = Spmv::of(sparse, dtype);
        let [row_ptr, col_idx, values] = [0, 1, 2].map(|part| Slot::In(a, part));
        self.run(&op, &mut [row_ptr, col_idx, values, x.into(), (&mut y).into()])?;
        Ok(y)
    }
}
