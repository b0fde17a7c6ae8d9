//! `bfp_decode`: block floating point to f32 or bf16.

mod cpu;
pub(in crate::kernels) mod gpu;

use super::{describe, extents, float, reference};
use crate::cpu::Cpu;
use crate::device::{Device, Slot, Tensor};
use crate::error::Result;
use crate::format::block::BfpFormat;
use crate::gpu::OperandSpec;
use crate::op::{Args, Op, Table, Work};
use crate::tensor::{DType, Layout, View};

const OP: &str = "bfp_decode";

/// Decodes block floating point to f32 (exactly) or packed bf16 (to nearest). Operands: `codes`, `exponents`,
/// `dst`. Exact class.
///
/// One variant, `quads`: 16 bytes of output per invocation, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BfpDecode {
    /// Block size and bits per code.
    pub format: BfpFormat,
    /// Type of `dst`: `F32` or `Bf16`.
    pub to: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `dst` to the next: at least `cols`, even for bf16.
    pub dst_ld: usize,
}

impl BfpDecode {
    /// Rows as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, format: BfpFormat, to: DType) -> Self {
        Self {
            format,
            to,
            rows,
            cols,
            dst_ld: to.row_ld(cols),
        }
    }

    pub(super) fn dst(&self) -> View {
        View::new(self.to, self.rows, self.cols, self.dst_ld)
    }

    fn codes(&self) -> View {
        super::codes(self.format, self.rows, self.cols)
    }

    fn exponents(&self) -> View {
        super::exponents(self.format, self.rows, self.cols)
    }
}

impl Op for BfpDecode {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        format!(
            "{}x{} {} -> {}",
            self.rows,
            self.cols,
            describe(self.format),
            self.to
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("codes", self.codes().words()),
            OperandSpec::read("exponents", self.exponents().words()),
            OperandSpec::write("dst", self.dst().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        float(OP, "dst", self.to)?;
        extents(OP, &[("rows", self.rows), ("cols", self.cols)])?;
        self.codes().check(OP, "codes")?;
        self.exponents().check(OP, "exponents")?;
        self.dst().check(OP, "dst")
    }

    fn work(&self) -> Work {
        let total: u64 = self.operands().iter().map(|operand| operand.words).sum();
        Work {
            int_ops: self.rows as f64 * self.cols as f64,
            bytes: total as f64 * 4.0,
            ..Work::default()
        }
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [codes, exponents, dst] = args.take(self)?;
        cpu::decode(cpu, self, codes.read(), exponents.read(), dst.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [codes, exponents, dst] = args.take(self)?;
        reference::bfp_decode(self, codes.read(), exponents.read(), dst.write()?);
        Ok(())
    }
}

impl Device {
    /// Decodes block floating point to f32 or bf16. See [`BfpDecode`].
    ///
    /// # Errors
    /// Another layout or type, out of memory, or device lost.
    pub fn bfp_decode(&self, src: &Tensor, to: DType) -> Result<Tensor> {
        let (format, rows, cols) = super::block(OP, "src", src)?;
        let layout = Layout::dense(to, &[rows, cols]);
        let dst_ld = to.row_ld(cols);
        let mut dst = self.zeros(layout)?;
        let op = BfpDecode {
            format,
            to,
            rows,
            cols,
            dst_ld,
        };
        self.run(&op, &mut [Slot::In(src, 0), Slot::In(src, 1), (&mut dst).into()])?;
        Ok(dst)
    }
}
