//! `encode`: f32 or bf16 to the codes of any format.

pub(crate) mod cases;
mod cpu;
pub(in crate::kernels) mod gpu;
mod reference;
mod tensor;

use crate::cpu::Cpu;
use crate::device::{Device, Slot, Tensor};
use crate::error::Result;
use crate::format::random::Draw;
use crate::format::{Format, Rounding, TensorScale};
use crate::gpu::{OperandSpec, StepValues};
use crate::kernels::shared::codes::{Codes, check_extents, check_plain};
use crate::op::{Args, Op, Table, Work};
use crate::tensor::{DType, Layout, View};

const OP: &str = "encode";

/// Encodes f32 or packed bf16 into codes of a [`Format`]. Operands: `src`, `codes`, and `scales` where the format has
/// any ([`Layout::Coded`](crate::tensor::Layout)).
///
/// Exact class. Elements that share a scale share the one that the format's rule chooses for their largest magnitude;
/// codes saturate (f16 overflows to Inf); under a scale, a NaN or Inf makes everything that shares it NaN; without one
/// each element becomes what its own rule says. Stochastic rounding draws for the element's logical index
/// `row * cols + col`.
///
/// | variant | when | why |
/// |---|---|---|
/// | `shared` | rows of 256 columns or more on hardware | one pass; codes meet in workgroup memory, so that lanes read and write side by side |
/// | `runs` | the rest | 32 columns are whole words: no two invocations share one, no barrier |
///
/// Both begin with the largest magnitude of the whole tensor where the format has a scale for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Encode {
    /// Elements and scales.
    pub format: Format,
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

impl Encode {
    /// Rows as far apart as those of tensors, to nearest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, format: Format, from: DType) -> Self {
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

    fn dst(&self) -> Codes {
        Codes {
            format: self.format,
            rows: self.rows,
            cols: self.cols,
        }
    }

    /// The same operation with a step's seed and number.
    fn at(&self, step: &StepValues) -> Self {
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }
}

const NAMES: [&str; 2] = ["codes", "scales"];

impl Op for Encode {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self { rows, cols, from, .. } = self;
        format!("{rows}x{cols} {from} {} {}", self.format, self.rounding)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let mut operands = vec![OperandSpec::read("src", self.src().words())];
        let parts = self.dst().operands(NAMES).into_iter();
        operands.extend(parts.map(|(name, words)| OperandSpec::write(name, words)));
        operands
    }

    fn check(&self) -> Result<()> {
        check_plain(OP, "src", self.from)?;
        check_extents(OP, self.rows, self.cols)?;
        self.src().check(OP, "src")?;
        self.dst().check(OP, NAMES)
    }

    fn work(&self) -> Work {
        let total: u64 = self.operands().iter().map(|operand| operand.words).sum();
        let elements = self.rows as f64 * self.cols as f64;
        // Beside the rounding at least: the sign off, shifted and on again, the limit; a maximum's step; and the joining of
        // codes smaller than a byte. A scale that all elements share asks for all of them before the first code is made:
        // they are read twice.
        let shared = self.format.tensor_scale() != TensorScale::None;
        let maximum = shared || self.format.block_size().is_some();
        let joined = self.format.bits() < 8;
        let more = 4.0 + f64::from(u8::from(maximum)) + f64::from(u8::from(joined));
        let again = if shared { self.src().words() as f64 } else { 0.0 };
        Work {
            int_ops: elements * (Work::rounding_ops(self.rounding, self.draw.generator) + more),
            bytes: (total as f64 + again) * 4.0,
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
        if self.format.has_scales() {
            let [src, codes, scales] = args.take(self)?;
            cpu::encode(cpu, &op, src.read(), codes.write()?, scales.write()?);
        } else {
            let [src, codes] = args.take(self)?;
            cpu::encode(cpu, &op, src.read(), codes.write()?, &mut []);
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        if self.format.has_scales() {
            let [src, codes, scales] = args.take(self)?;
            reference::encode(&op, src.read(), codes.write()?, scales.write()?);
        } else {
            let [src, codes] = args.take(self)?;
            reference::encode(&op, src.read(), codes.write()?, &mut []);
        }
        Ok(())
    }
}

impl Device {
    /// Encodes a dense f32 or bf16 tensor into codes of a format, blocks along its last extent (all others become
    /// rows). See [`Encode`].
    ///
    /// # Errors
    /// Other types, out of memory, or device lost.
    pub fn encode(&self, src: &Tensor, format: Format, rounding: Rounding, draw: Draw) -> Result<Tensor> {
        let (from, src_ld) = crate::device::dense(OP, "src", src)?;
        let (rows, cols) = (src.layout().rows(), src.layout().cols());
        let mut dst = self.zeros(Layout::Coded { format, rows, cols })?;
        let op = Encode {
            format,
            from,
            rows,
            cols,
            src_ld,
            rounding,
            draw,
        };
        // Every part is written: each is lent as a tensor of its own.
        let mut parts = dst.split_parts();
        let mut slots: Vec<Slot<'_>> = vec![src.into()];
        slots.extend(parts.iter_mut().map(|part| Slot::Out(part, 0)));
        self.run(&op, &mut slots)?;
        dst.join_parts(parts);
        Ok(dst)
    }
}
