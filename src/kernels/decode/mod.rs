//! `decode`: the codes of any format to f32 or bf16.

pub(crate) mod cases;
mod cpu;
pub(in crate::kernels) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::device::{Device, Slot, Tensor};
use crate::error::Result;
use crate::format::Format;
use crate::gpu::OperandSpec;
use crate::kernels::shared::coded::{Codes, check_extents, check_plain, coded};
use crate::op::{Args, Op, Table, Work};
use crate::tensor::{DType, Layout, View};

const OP: &str = "decode";

/// Decodes codes of a [`Format`] to f32 (exactly; infinite past its range) or packed bf16 (to nearest). Operands:
/// `codes`, `scales` where the format has any, `dst`. Exact class. What shares a scale that is NaN is NaN.
///
/// One variant, `quads`: 16 bytes of output per invocation, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Decode {
    /// Elements and scales.
    pub format: Format,
    /// Type of `dst`: `F32` or `Bf16`.
    pub to: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `dst` to the next: at least `cols`, even for bf16.
    pub dst_ld: usize,
}

impl Decode {
    /// Rows as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, format: Format, to: DType) -> Self {
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

    fn src(&self) -> Codes {
        Codes {
            format: self.format,
            rows: self.rows,
            cols: self.cols,
        }
    }
}

const NAMES: [&str; 2] = ["codes", "scales"];

impl Op for Decode {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self { rows, cols, to, .. } = self;
        format!("{rows}x{cols} {} -> {to}", self.format)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let parts = self.src().operands(NAMES).into_iter();
        let mut operands: Vec<_> = parts
            .map(|(name, words)| OperandSpec::read(name, words))
            .collect();
        operands.push(OperandSpec::write("dst", self.dst().words()));
        operands
    }

    fn check(&self) -> Result<()> {
        check_plain(OP, "dst", self.to)?;
        check_extents(OP, self.rows, self.cols)?;
        self.src().check(OP, NAMES)?;
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
        if self.format.has_scales() {
            let [codes, scales, dst] = args.take(self)?;
            cpu::decode(cpu, self, codes.read(), scales.read(), dst.write()?);
        } else {
            let [codes, dst] = args.take(self)?;
            cpu::decode(cpu, self, codes.read(), &[], dst.write()?);
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        if self.format.has_scales() {
            let [codes, scales, dst] = args.take(self)?;
            reference::decode(self, codes.read(), scales.read(), dst.write()?);
        } else {
            let [codes, dst] = args.take(self)?;
            reference::decode(self, codes.read(), &[], dst.write()?);
        }
        Ok(())
    }
}

impl Device {
    /// Decodes a tensor of codes to f32 or bf16. See [`Decode`].
    ///
    /// # Errors
    /// Another layout or type, out of memory, or device lost.
    pub fn decode(&self, src: &Tensor, to: DType) -> Result<Tensor> {
        let Codes { format, rows, cols } = coded(OP, "src", src)?;
        let mut dst = self.zeros(Layout::dense(to, &[rows, cols]))?;
        let op = Decode::new(rows, cols, format, to);
        let mut slots = vec![Slot::In(src, 0)];
        if format.has_scales() {
            slots.push(Slot::In(src, 1));
        }
        slots.push((&mut dst).into());
        self.run(&op, &mut slots)?;
        Ok(dst)
    }
}
