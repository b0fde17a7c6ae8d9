//! `bfp_encode`: f32 or bf16 to block floating point.

mod cpu;
pub(in crate::kernels) mod gpu;

use super::{describe, extents, float, reference};
use crate::cpu::Cpu;
use crate::device::{Device, Slot, Tensor};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::block::BfpFormat;
use crate::format::random::Draw;
use crate::gpu::{OperandSpec, StepValues};
use crate::op::{Args, Op, Table, Work};
use crate::tensor::{DType, Layout, View};

const OP: &str = "bfp_encode";

/// Encodes f32 or packed bf16 into block floating point. Operands: `src`, `codes`, `exponents`
/// ([`Layout::Bfp`](crate::tensor::Layout)).
///
/// Exact class. Each block of `format.block()` columns (fewer at a row's end) shares the exponent of its
/// largest magnitude; codes saturate; a block with NaN or Inf is marked and decodes to NaN. Stochastic rounding
/// draws for the element's logical index `row * cols + col`.
///
/// | variant | when | why |
/// |---|---|---|
/// | `shared` | rows of 256 columns or more on hardware | one pass; codes meet in workgroup memory, so that lanes read and write side by side |
/// | `runs` | the rest | 32 columns are whole words: no two invocations share one, no barrier |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BfpEncode {
    /// Block size and bits per code.
    pub format: BfpFormat,
    /// Type of `src`: `F32` or `Bf16`.
    pub from: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `src` to the next: at least `cols`, even for bf16.
    pub src_ld: usize,
    /// How codes are rounded.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from.
    pub draw: Draw,
}

impl BfpEncode {
    /// Rows as far apart as those of tensors, to nearest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, format: BfpFormat, from: DType) -> Self {
        Self {
            format,
            from,
            rows,
            cols,
            src_ld: from.row_ld(cols),
            rounding: Rounding::Nearest,
            draw: Draw::default(),
        }
    }

    pub(super) fn src(&self) -> View {
        View::new(self.from, self.rows, self.cols, self.src_ld)
    }

    fn codes(&self) -> View {
        super::codes(self.format, self.rows, self.cols)
    }

    fn exponents(&self) -> View {
        super::exponents(self.format, self.rows, self.cols)
    }

    /// The same operation with a step's seed and number.
    fn at(&self, step: &StepValues) -> Self {
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }
}

impl Op for BfpEncode {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        format!(
            "{}x{} {} {} {}",
            self.rows,
            self.cols,
            self.from,
            describe(self.format),
            self.rounding
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("src", self.src().words()),
            OperandSpec::write("codes", self.codes().words()),
            OperandSpec::write("exponents", self.exponents().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        float(OP, "src", self.from)?;
        extents(OP, &[("rows", self.rows), ("cols", self.cols)])?;
        self.src().check(OP, "src")?;
        self.codes().check(OP, "codes")?;
        self.exponents().check(OP, "exponents")
    }

    fn work(&self) -> Work {
        let total: u64 = self.operands().iter().map(|operand| operand.words).sum();
        let elements = self.rows as f64 * self.cols as f64;
        let int_ops = elements * Work::rounding_ops(self.rounding, self.draw.generator);
        Work {
            int_ops,
            bytes: total as f64 * 4.0,
            ..Work::default()
        }
    }

    fn step_values(&self) -> StepValues {
        StepValues::new(self.draw.seed, self.draw.step)
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, codes, exponents] = args.take(self)?;
        cpu::encode(cpu, &op, src.read(), codes.write()?, exponents.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, codes, exponents] = args.take(self)?;
        reference::bfp_encode(&op, src.read(), codes.write()?, exponents.write()?);
        Ok(())
    }
}

impl Device {
    /// Encodes a dense f32 or bf16 tensor into block floating point, blocks along its last extent (all others
    /// become rows). See [`BfpEncode`].
    ///
    /// # Errors
    /// Other types, out of memory, or device lost.
    pub fn bfp_encode(
        &self,
        src: &Tensor,
        format: BfpFormat,
        rounding: Rounding,
        draw: Draw,
    ) -> Result<Tensor> {
        let (from, src_ld) = crate::device::dense(OP, "src", src)?;
        let (rows, cols) = (src.layout().rows(), src.layout().cols());
        let mut dst = self.zeros(Layout::Bfp { format, rows, cols })?;
        let op = BfpEncode {
            format,
            from,
            rows,
            cols,
            src_ld,
            rounding,
            draw,
        };
        // Two parts of one tensor are written: each is lent as a tensor of its own.
        let mut parts = dst.split_parts();
        let [codes, exponents] = parts.as_mut_slice() else {
            return Err(Error::Operands {
                op: OP,
                expected: 2,
                got: 0,
            });
        };
        self.run(
            &op,
            &mut [src.into(), Slot::Out(codes, 0), Slot::Out(exponents, 0)],
        )?;
        dst.join_parts(parts);
        Ok(dst)
    }
}
