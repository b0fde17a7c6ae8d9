//! `transpose`: rows to columns, on bits. f32 and packed bf16 (f64 on the CPU device and the reference). Codes lie along
//! the axis that a product sums over, and encoding works along rows: what is summed over its rows is transposed first.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::{Gpu, OperandSpec};
use crate::op::{Args, Op, Table, Work, check_floats};
use crate::tensor::{DType, View};

/// `dst[c, r] = src[r, c]`. Operands: `src` (rows x cols), `dst` (cols x rows).
///
/// Exact class, on bits: numbers are copied, never computed.
///
/// | variant | when | why |
/// |---|---|---|
/// | `tiled` | preferred on GPUs | whole lines are read and written: tiles turn in workgroup memory |
/// | `direct` | preferred on software adapters | no barrier, which costs more than it saves there |
///
/// On a GPU two rows of bf16, of either operand, must fit a binding where it has two: there is no smaller piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Transpose {
    /// Type of both operands: `F32`, `Bf16` or `F64`.
    pub dtype: DType,
    /// Rows of `src`, columns of `dst`.
    pub rows: usize,
    /// Columns of `src`, rows of `dst`.
    pub cols: usize,
    /// Elements from one row of `src` to the next: at least `cols`, even for bf16.
    pub src_ld: usize,
    /// Elements from one row of `dst` to the next: at least `rows`, even for bf16.
    pub dst_ld: usize,
}

const OP: &str = "transpose";

impl Transpose {
    /// Of a matrix of `rows` x `cols`, rows as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, dtype: DType) -> Self {
        Self {
            dtype,
            rows,
            cols,
            src_ld: dtype.row_ld(cols),
            dst_ld: dtype.row_ld(rows),
        }
    }

    fn src(&self) -> View {
        View::new(self.dtype, self.rows, self.cols, self.src_ld)
    }

    fn dst(&self) -> View {
        View::new(self.dtype, self.cols, self.rows, self.dst_ld)
    }
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        format!("{}x{} {}", self.rows, self.cols, self.dtype)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("src", self.src().words()),
            OperandSpec::write("dst", self.dst().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        for (operand, view) in [("src", self.src()), ("dst", self.dst())] {
            check_floats(OP, &[(operand, view.dtype)])?;
            view.check(OP, operand)?;
        }
        Ok(())
    }

    fn work(&self) -> Work {
        let bytes = self.src().len() as f64 * f64::from(self.dtype.bits()) / 8.0;
        Work::new(0.0, 2.0 * bytes)
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let [rows, cols] = [self.rows, self.cols].map(crate::op::about);
        format!("{} {rows}x{cols}", self.dtype)
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("src", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        cpu::transpose(cpu, self, src.read(), dst.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        reference::transpose(self, src.read(), dst.write()?);
        Ok(())
    }
}
