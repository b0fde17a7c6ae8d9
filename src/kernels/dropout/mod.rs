//! `dropout`: elements drawn to be zero, the others made larger by as much. f32 and packed bf16 (f64 on the CPU device
//! and the reference). Its gradient is the same operation on dy with the same draw: no mask is stored.
//!
//! Everything is exact: on GPUs the product is made of integers, since WGSL's may be either neighbour and may flush.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::Draw;
use crate::gpu::{Gpu, OperandSpec, StepValues};
use crate::op::{Args, Op, Scalar, Table, Work, check_floats};
use crate::tensor::{DType, View};

const OP: &str = "dropout";

/// `y = x * scale` where an element is kept, else +0. Operands: `x`, `y`; in place only `y`. The step values hold the
/// scalar `training`: where it is 0 (or the threshold is), `y = x` on bits and nothing is drawn.
///
/// With t = `p * 65536` rounded to the nearest integer (halves up), an element is kept where the 16 bits of its logical
/// row-major index, `draw.bits(row * cols + col)`, are t or more: it is dropped with a probability of exactly
/// t / 65536. The scale is 65536 / (65536 - t), so that the mean stays: rounded to nearest f32 for f32 and bf16, to
/// nearest f64 for f64.
///
/// Exact class. The product is rounded to nearest (ties to even, subnormals kept) in f32 or f64; for bf16 the f32 product
/// is then rounded to nearest bf16. A NaN that is kept passes as it is; whatever is dropped becomes +0.
///
/// Its gradient with respect to `x` is the operation itself, on dy with the same probability, draw and step.
///
/// | variant | when | why |
/// |---|---|---|
/// | `eights` | f32, bf16 | eight columns of a row per invocation share a draw; any leading dimension, any offset |
///
/// ```
/// use fewbit::Device;
/// use fewbit::kernels::Dropout;
/// use fewbit::tensor::DType;
///
/// let device = Device::cpu();
/// let x = device.from_f32(&[4, 8], &[3.0; 32])?;
/// let mut y = device.from_f32(&[4, 8], &[0.0; 32])?;
/// let dropout = Dropout::new(4, 8, DType::F32, 0.25);
/// device.run(&dropout, &mut [(&x).into(), (&mut y).into()])?;
/// let values = y.read_blocking()?;
/// assert!(values.iter().all(|y| *y == 0.0 || *y == 4.0));
/// # Ok::<(), fewbit::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Dropout {
    /// Type of both operands: `F32`, `Bf16` or `F64`.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `x` to the next: at least `cols`, even for bf16.
    pub x_ld: usize,
    /// Elements from one row of `y` to the next: at least `cols`, even for bf16.
    pub y_ld: usize,
    /// `y` holds `x` and is overwritten; `x_ld` is not used.
    pub in_place: bool,
    /// The probability of being dropped: 0 or more, and so far below 1 that `p * 65536` does not round to 65536.
    pub p: Scalar,
    /// Where the bits come from; the index is `row * cols + col`.
    pub draw: Draw,
    /// The scalar `training` outside a program.
    pub training: bool,
}

/// What decides on elements at one step.
#[derive(Clone, Copy, Debug)]
struct Kept {
    draw: Draw,
    /// Elements whose bits are at or above it are kept; at 0 nothing is drawn.
    threshold: u32,
    scale: f64,
}

impl Dropout {
    /// The step scalar that is 0 where nothing is to be dropped.
    pub const TRAINING: &'static str = "training";

    /// Rows as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, dtype: DType, p: f32) -> Self {
        let ld = dtype.row_ld(cols);
        Self {
            dtype,
            rows,
            cols,
            x_ld: ld,
            y_ld: ld,
            in_place: false,
            p: p.into(),
            draw: Draw::default(),
            training: true,
        }
    }

    /// `len` contiguous elements.
    #[must_use]
    pub fn contiguous(dtype: DType, len: usize, p: f32) -> Self {
        let ld = len.next_multiple_of(2);
        Self {
            x_ld: ld,
            y_ld: ld,
            ..Self::new(1, len, dtype, p)
        }
    }

    /// Of 65536 draws so many drop an element; 65536 or more for probabilities that are refused.
    #[must_use]
    pub fn threshold(&self) -> u32 {
        // The product is exact; a cast saturates.
        (f64::from(self.p) * 65536.0 + 0.5).floor() as u32
    }

    /// What kept elements are multiplied by, before it is rounded to their type.
    fn scale(&self) -> f64 {
        65536.0 / f64::from(65536 - self.threshold().min(65535))
    }

    fn at(&self, step: &StepValues) -> Result<Kept> {
        let (threshold, scale) = match step.get(OP, Self::TRAINING)? != 0.0 {
            true => (self.threshold(), self.scale()),
            false => (0, 1.0),
        };
        Ok(Kept {
            draw: step.draw(self.draw),
            threshold,
            scale,
        })
    }

    fn x(&self) -> View {
        let ld = if self.in_place { self.y_ld } else { self.x_ld };
        View::new(self.dtype, self.rows, self.cols, ld)
    }

    fn y(&self) -> View {
        View::new(self.dtype, self.rows, self.cols, self.y_ld)
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let place = if self.in_place { " in place" } else { "" };
        let off = if self.training { "" } else { " off" };
        format!(
            "{}x{} {} p {}{place}{off}",
            self.rows, self.cols, self.dtype, self.p
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let y = self.y().words();
        if self.in_place {
            return vec![OperandSpec::update("y", y)];
        }
        vec![
            OperandSpec::read("x", self.x().words()),
            OperandSpec::write("y", y),
        ]
    }

    fn check(&self) -> Result<()> {
        for (operand, view) in [("x", self.x()), ("y", self.y())] {
            check_floats(OP, &[(operand, view.dtype)])?;
            view.check(OP, operand)?;
        }
        // A NaN is in no range.
        if !(0.0..=1.0).contains(&self.p.get()) || self.threshold() > 65535 {
            return Err(Error::Value {
                op: OP,
                what: "probability",
                value: self.p.to_string(),
                expected: "0 or more, and less than 1 - 2^-17",
            });
        }
        Ok(())
    }

    fn work(&self) -> Work {
        let elements = self.rows as f64 * self.cols as f64;
        let draws = match self.threshold() {
            0 => 0.0,
            // Drawing, a comparison and a choice; the product is one operation where f32 products are exact.
            _ => Work::rounding_ops(Rounding::Stochastic, self.draw.generator),
        };
        Work {
            bf16: false,
            flops: 0.0,
            int_ops: elements * draws,
            bytes: elements * 2.0 * f64::from(self.dtype.bits()) / 8.0,
        }
    }

    fn step_values(&self) -> StepValues {
        let training = if self.training { 1.0 } else { 0.0 };
        StepValues::new(self.draw.seed, self.draw.step).with(Self::TRAINING, training)
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("x", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let kept = self.at(&args.step)?;
        if self.in_place {
            let [y] = args.take(self)?;
            cpu::dropout(cpu, self, &kept, None, y.write()?);
        } else {
            let [x, y] = args.take(self)?;
            cpu::dropout(cpu, self, &kept, Some(x.read()), y.write()?);
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let kept = self.at(&args.step)?;
        if self.in_place {
            let [y] = args.take(self)?;
            reference::dropout(self, &kept, None, y.write()?);
        } else {
            let [x, y] = args.take(self)?;
            reference::dropout(self, &kept, Some(x.read()), y.write()?);
        }
        Ok(())
    }
}
