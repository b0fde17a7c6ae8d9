//! `convert`: f32 <-> packed bf16 (and f64 on the CPU device and the reference).

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Gpu, OperandSpec, StepValues};
use crate::op::{Args, Op, Table, Work};
use crate::tensor::{DType, Layout, View};

const OP: &str = "convert";

/// Converts `rows` rows of `cols` elements. Operands: `src`, `dst`.
///
/// Exact class. Rounding to nearest is to nearest even; stochastic rounding draws for the element's logical
/// row-major index (`row * cols + col`). f64 is known to the CPU device and the reference only; to bf16 it
/// rounds to nearest once.
///
/// | variant | when | why |
/// |---|---|---|
/// | `vec4` | contiguous, 16-byte offsets | 16 bytes a step, one draw for eight roundings |
/// | `word` | any | the only one for padded rows or offsets off 16 bytes |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Convert {
    /// Type of `src`: `F32`, `Bf16` or `F64`.
    pub from: DType,
    /// Type of `dst`, another of these.
    pub to: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `src` to the next: at least `cols`, even for bf16.
    pub src_ld: usize,
    /// Elements from one row of `dst` to the next: at least `cols`, even for bf16.
    pub dst_ld: usize,
    /// How values between two bf16 numbers are rounded.
    pub rounding: Rounding,
    /// Finite values past the largest finite bf16 become that, not Inf.
    pub saturate: bool,
    /// Where stochastic rounding draws from.
    pub draw: Draw,
}

impl Convert {
    /// Rows as far apart as those of tensors, to nearest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, from: DType, to: DType) -> Self {
        Self {
            from,
            to,
            rows,
            cols,
            src_ld: from.row_ld(cols),
            dst_ld: to.row_ld(cols),
            rounding: Rounding::Nearest,
            saturate: false,
            draw: Draw::default(),
        }
    }

    /// `len` contiguous elements, to nearest.
    #[must_use]
    pub fn contiguous(from: DType, to: DType, len: usize) -> Self {
        Self {
            from,
            to,
            rows: 1,
            cols: len,
            src_ld: len.next_multiple_of(2),
            dst_ld: len.next_multiple_of(2),
            rounding: Rounding::Nearest,
            saturate: false,
            draw: Draw::default(),
        }
    }

    /// The same with another rounding.
    #[must_use]
    pub fn with_rounding(mut self, rounding: Rounding, draw: Draw) -> Self {
        self.rounding = rounding;
        self.draw = draw;
        self
    }

    fn encodes(&self) -> bool {
        self.to == DType::Bf16
    }

    fn src(&self) -> View {
        View::new(self.from, self.rows, self.cols, self.src_ld)
    }

    fn dst(&self) -> View {
        View::new(self.to, self.rows, self.cols, self.dst_ld)
    }

    fn views(&self) -> [View; 2] {
        [self.src(), self.dst()]
    }

    /// The same operation with a step's seed and number.
    fn at(&self, step: &StepValues) -> Self {
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }
}

impl Op for Convert {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let saturate = if self.saturate { " saturating" } else { "" };
        let generator = match (self.rounding, self.draw.generator) {
            (Rounding::Stochastic, Generator::Philox) => " philox",
            (Rounding::Stochastic, Generator::Threefry) => "",
            (Rounding::Nearest | Rounding::TowardZero, _) => "",
        };
        format!(
            "{}x{} {}->{} {}{generator}{saturate}",
            self.rows, self.cols, self.from, self.to, self.rounding
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("src", self.src().words()),
            OperandSpec::write("dst", self.dst().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        for (operand, view) in [("src", self.src()), ("dst", self.dst())] {
            let float = match view.dtype {
                DType::F32 | DType::Bf16 | DType::F64 => true,
                DType::U32 | DType::U16 => false,
            };
            if !float || self.from == self.to {
                return Err(Error::DType {
                    op: OP,
                    operand,
                    expected: "f32, bf16 or f64, and not the same on both sides",
                    got: view.dtype,
                });
            }
            view.check(OP, operand)?;
        }
        if self.from == DType::F64 && self.rounding == Rounding::Stochastic && self.encodes() {
            let what = "stochastic rounding from f64".to_string();
            return Err(Error::Unsupported {
                op: OP,
                what,
                device: "any device",
            });
        }
        crate::op::check_rounding(OP, self.rounding)
    }

    fn work(&self) -> Work {
        let elements = self.rows as f64 * self.cols as f64;
        let bytes = elements * f64::from(self.from.bits() + self.to.bits()) / 8.0;
        let int_ops = if self.encodes() {
            Work::rounding_ops(self.rounding, self.draw.generator)
        } else {
            0.0
        };
        Work {
            bf16: false,
            flops: 0.0,
            int_ops: elements * int_ops,
            bytes,
        }
    }

    fn step_values(&self) -> StepValues {
        StepValues::new(self.draw.seed, self.draw.step)
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let draw = match (self.encodes(), self.rounding) {
            (true, Rounding::Stochastic) => format!(" stochastic {:?}", self.draw.generator),
            (false, _) | (true, Rounding::Nearest | Rounding::TowardZero) => String::new(),
        };
        let len = crate::op::about(self.rows.saturating_mul(self.cols));
        format!("{} -> {}{draw} {len}", self.from, self.to)
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("src", self.from), ("dst", self.to)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, dst] = args.take(self)?;
        cpu::convert(cpu, &op, src.read(), dst.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, dst] = args.take(self)?;
        reference::convert(&op, src.read(), dst.write()?);
        Ok(())
    }
}

/// What [`Device::convert_with`] does beside converting. See [`Convert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// How results are rounded to bf16: to nearest unless set.
    pub rounding: Rounding,
    /// What stochastic rounding draws from.
    pub draw: Draw,
    /// Bounds finite elements by the largest finite bf16.
    pub saturate: bool,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self {
            rounding: Rounding::Nearest,
            draw: Draw::default(),
            saturate: false,
        }
    }
}

impl ConvertOptions {
    /// Rounds to bf16 stochastically.
    #[must_use]
    pub fn stochastic(mut self, draw: Draw) -> Self {
        (self.rounding, self.draw) = (Rounding::Stochastic, draw);
        self
    }

    /// Bounds finite elements by the largest finite bf16.
    #[must_use]
    pub fn saturate(mut self) -> Self {
        self.saturate = true;
        self
    }
}

impl Device {
    /// Converts to another element type, rounding to nearest even. See [`Convert`].
    ///
    /// # Errors
    /// Types that are not f32, bf16 or f64, f64 on a GPU, out of memory, or device lost.
    pub fn convert(&self, src: &Tensor, to: DType) -> Result<Tensor> {
        self.convert_with(src, to, &ConvertOptions::default())
    }

    /// Converts to another element type as the options say. See [`Convert`].
    ///
    /// # Errors
    /// See [`Device::convert`].
    pub fn convert_with(&self, src: &Tensor, to: DType, options: &ConvertOptions) -> Result<Tensor> {
        let (from, src_ld) = crate::device::dense("convert", "src", src)?;
        let layout = Layout::dense(to, &src.shape());
        let (rows, cols) = (layout.rows(), layout.cols());
        let dst_ld = to.row_ld(cols);
        let op = Convert {
            from,
            to,
            rows,
            cols,
            src_ld,
            dst_ld,
            rounding: options.rounding,
            saturate: options.saturate,
            draw: options.draw,
        };
        let mut dst = self.zeros(layout)?;
        self.run(&op, &mut [src.into(), (&mut dst).into()])?;
        Ok(dst)
    }
}
