//! `spmm`: a sparse matrix in compressed sparse rows times a dense row-major matrix.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use super::shared::csr::{Sparse, misshapen};
use crate::cpu::Cpu;
use crate::device::{Device, Slot, Tensor};
use crate::error::Result;
use crate::gpu::OperandSpec;
use crate::op::contract::Stored;
use crate::op::{Args, Contract, Op, Output, Table, Work, about, check_limit};
use crate::tensor::{DType, Layout, View};

const OP: &str = "spmm";

/// `C = A B`, A with `rows` x `cols` elements of which `nnz` are stored, B `[cols, n]` and C `[rows, n]` dense and
/// row-major. Operands: `row_ptr`, `col_idx`, `values`, `b`, `c`.
///
/// Bounded class with K the length of A's row; sums are f32, and a bf16 C is rounded to nearest. Bit-equal where all
/// inputs are small integers. Of A what [`Spmv`](super::Spmv) says holds: any order, duplicates add up, what is not
/// stored contributes nothing, and the entries must form a valid CSR matrix.
///
/// | variant | when it is preferred | why |
/// |---|---|---|
/// | `cached` | more than 64 columns on hardware | a workgroup reads its row's entries once, side by side |
/// | `lanes` | the rest | no barrier; several rows share a workgroup |
///
/// Each loads 16 bytes of B at a time, and stores as many, where rows are multiples of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Spmm {
    /// Rows of A and C.
    pub rows: usize,
    /// Columns of A, rows of B.
    pub cols: usize,
    /// Stored entries of A.
    pub nnz: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Type of the column indices: `U32`, or packed `U16` for at most 65,536 columns.
    pub index: DType,
    /// Type of the values: `F32` or packed `Bf16`.
    pub values: DType,
    /// Type of B: `F32` or packed `Bf16`.
    pub b: DType,
    /// Elements from one row of B to the next: at least `n`, even for bf16.
    pub b_ld: usize,
    /// Type of C: `F32` or packed `Bf16`.
    pub c: DType,
    /// Elements from one row of C to the next: at least `n`, even for bf16.
    pub c_ld: usize,
    /// Entries of A's longest row, where known: a GPU walks rows of more than so many entries in parts
    /// ([`Gpu::turn_cap`](crate::gpu::Gpu::turn_cap)). Without it any row is taken to hold all entries. Where it says
    /// too little, a row of C with entries that no part would walk becomes NaN.
    pub longest_row: Option<usize>,
}

impl Spmm {
    /// A matrix of `rows` x `cols` with `nnz` entries times one of `n` columns; the types of column indices, values, B
    /// and C, whose rows are as far apart as those of tensors. No row is known to be the longest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, nnz: usize, n: usize, [index, values, b, c]: [DType; 4]) -> Self {
        Self {
            rows,
            cols,
            nnz,
            n,
            index,
            values,
            b,
            b_ld: b.row_ld(n),
            c,
            c_ld: c.row_ld(n),
            longest_row: None,
        }
    }

    /// Of B and C the types and leading dimensions.
    fn of(a: Sparse, n: usize, (b, b_ld): (DType, usize), (c, c_ld): (DType, usize)) -> Self {
        Self {
            b_ld,
            c_ld,
            longest_row: a.longest_row,
            ..Self::new(a.rows, a.cols, a.nnz, n, [a.index, a.values, b, c])
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

    fn b(&self) -> View {
        View::new(self.b, self.cols, self.n, self.b_ld)
    }

    fn c(&self) -> View {
        View::new(self.c, self.rows, self.n, self.c_ld)
    }
}

impl Op for Spmm {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        format!("{} x {}x{} {} -> {}", self.a(), self.cols, self.n, self.b, self.c)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let mut all = self.a().operands().to_vec();
        all.push(OperandSpec::read("b", self.b().words()));
        all.push(OperandSpec::write("c", self.c().words()));
        all
    }

    fn check(&self) -> Result<()> {
        check_limit(OP, "N", self.n as u64, u64::from(u32::MAX) - 1)?;
        self.a().check(OP, &[("b", self.b), ("c", self.c)])?;
        self.b().check(OP, "b")?;
        self.c().check(OP, "c")
    }

    fn contract(&self) -> Contract<'_> {
        Contract::bounded(|judge| {
            let stored = [Stored::F32, Stored::Bf16Nearest][usize::from(self.c == DType::Bf16)];
            let (view, b) = (self.b(), judge.before("b"));
            let sums = self
                .a()
                .sums(&judge, self.n, move |row, col| view.load(b, row, col));
            judge.bounded(&[Output::new("c", self.c())], stored, sums)
        })
    }

    fn work(&self) -> Work {
        self.a().work(self.n, &self.operands())
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let [rows, cols, nnz, n] = [self.rows, self.cols, self.nnz, self.n].map(about);
        let types = format!("{}+{} x {} -> {}", self.values, self.index, self.b, self.c);
        format!("{rows}x{cols} nnz {nnz} N {n} {types}")
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, b, c] = args.take(self)?;
        let words = [row_ptr, col_idx, values].map(|arg| arg.read());
        cpu::spmm(cpu, self, words, b.read(), c.write()?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, b, c] = args.take(self)?;
        let [row_ptr, col_idx, values, b] = [row_ptr, col_idx, values, b].map(|arg| arg.read());
        self.a().check_words(OP, row_ptr, col_idx)?;
        reference::spmm(self, row_ptr, col_idx, values, b, c.write()?);
        Ok(())
    }
}

impl Device {
    /// A sparse matrix times a dense f32 or bf16 matrix, as f32 or bf16 (to nearest), with f32 sums. See [`Spmm`].
    ///
    /// # Errors
    /// [`Shape`](crate::Error::Shape) where `a` is dense or `b` has not two extents,
    /// [`Dimension`](crate::Error::Dimension) where A's columns and B's rows disagree; other types, out of memory, or
    /// device lost.
    pub fn spmm(&self, a: &Tensor, b: &Tensor, to: DType) -> Result<Tensor> {
        let sparse = Sparse::of(OP, a)?;
        let (dtype, b_ld) = crate::device::dense(OP, "b", b)?;
        let &[b_rows, n] = b.shape().as_slice() else {
            return Err(misshapen(OP, "b", "two extents", b));
        };
        sparse.meets(OP, "K", ("b", b_rows))?;
        let mut c = self.zeros(Layout::dense(to, &[sparse.rows, n]))?;
        let (_, c_ld) = crate::device::dense(OP, "c", &c)?;
        let op = Spmm::of(sparse, n, (dtype, b_ld), (to, c_ld));
        let [row_ptr, col_idx, values] = [0, 1, 2].map(|part| Slot::In(a, part));
        self.run(&op, &mut [row_ptr, col_idx, values, b.into(), (&mut c).into()])?;
        Ok(c)
    }
}
