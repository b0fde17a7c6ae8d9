//! `max_pool` and `max_pool_grad`: the largest number of every window of an image, and the gradient back to where it
//! stood. f32 and packed bf16 (f64 on the CPU device and the reference), on bits: numbers are copied, never computed.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, OperandSpec};
use crate::op::{Args, Op, Table, Work, check_floats};
use crate::tensor::{DType, View};

/// `y` is the largest number of every window of `x`. Operands: `x`, `y`.
///
/// `x` has a row for every pixel, image by image, each image's pixels row by row, and a column for every channel: what
/// a product over patches makes. `y` has a row for every image: pooled pixels row by row, the channels of each beside
/// one another, which is what a linear layer reads. Nothing is padded: pixels right of the last whole window and below
/// it are in none.
///
/// Exact class, on bits: of equal numbers the first in row-major order is taken, with its sign if they are zeros; a NaN
/// is above all numbers, as in PyTorch.
///
/// | variant | when | why |
/// |---|---|---|
/// | `word` | f32, bf16 | one word of the output per invocation, any leading dimension, any offset |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MaxPool {
    /// Type of both operands: `F32`, `Bf16` or `F64`.
    pub dtype: DType,
    /// Images.
    pub batch: usize,
    /// Rows of pixels of an image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Numbers of a pixel.
    pub channels: usize,
    /// Rows and columns of a window: at least 1, at most the image's.
    pub window: [usize; 2],
    /// Rows and columns from one window to the next: at least the window's, which therefore do not overlap.
    pub stride: [usize; 2],
    /// Elements from one pixel of `x` to the next: at least `channels`, even for bf16.
    pub x_ld: usize,
    /// Elements from one image of `y` to the next: at least [`MaxPool::outputs`], even for bf16.
    pub y_ld: usize,
}

/// `dx` is `dy` where the pixel was the largest of its window, else +0. Operands: `x`, `dy`, `dx`.
///
/// `x` and `dx` are laid out as `x` of the forward pass, `dy` as its `y`.
///
/// Exact class, on bits: of equal numbers the first in row-major order gets all of the gradient.
///
/// | variant | when | why |
/// |---|---|---|
/// | `word` | f32, bf16 | one word of the output per invocation, any leading dimension, any offset |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MaxPoolGrad {
    /// The forward pass, whose `dtype` is that of `x` and whose `y_ld` is that of `dy`.
    pub pool: MaxPool,
    /// Type of `dy` and `dx`: `F32`, `Bf16`, or `F64` where all are.
    pub dtype: DType,
    /// Elements from one pixel of `dx` to the next: at least the channels, even for bf16.
    pub dx_ld: usize,
}

impl MaxPool {
    /// Windows beside one another, rows as far apart as those of tensors: images of `[height, width, channels]`.
    #[must_use]
    pub fn new(batch: usize, image: [usize; 3], window: [usize; 2], dtype: DType) -> Self {
        let [height, width, channels] = image;
        let mut pool = Self {
            dtype,
            batch,
            height,
            width,
            channels,
            window,
            stride: window,
            x_ld: dtype.row_ld(channels),
            y_ld: 0,
        };
        pool.y_ld = dtype.row_ld(pool.outputs());
        pool
    }

    /// Rows and columns of pooled pixels; 0 where no window fits.
    #[must_use]
    pub fn pooled(&self) -> [usize; 2] {
        let along = |len: usize, window: usize, stride: usize| match len.checked_sub(window) {
            Some(rest) => rest / stride.max(1) + 1,
            None => 0,
        };
        [
            along(self.height, self.window[0], self.stride[0]),
            along(self.width, self.window[1], self.stride[1]),
        ]
    }

    /// Numbers of one image of `y`.
    #[must_use]
    pub fn outputs(&self) -> usize {
        let [height, width] = self.pooled();
        height.saturating_mul(width).saturating_mul(self.channels)
    }

    /// Pixels of an image.
    fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    fn of_pixels(&self, ld: usize) -> View {
        View::new(
            self.dtype,
            self.batch.saturating_mul(self.pixels()),
            self.channels,
            ld,
        )
    }

    fn x(&self) -> View {
        self.of_pixels(self.x_ld)
    }

    fn y(&self) -> View {
        View::new(self.dtype, self.batch, self.outputs(), self.y_ld)
    }

    /// Whether there is nothing to pool.
    fn is_empty(&self) -> bool {
        self.x().is_empty() || self.y().is_empty()
    }

    fn check(&self, op: &'static str, operands: &[(&'static str, View)]) -> Result<()> {
        let sides = [("window rows", self.height), ("window columns", self.width)];
        for (i, (what, len)) in sides.into_iter().enumerate() {
            let (window, stride) = (self.window[i], self.stride[i]);
            let refuse = |what, value: String, expected| {
                Err(Error::Value {
                    op,
                    what,
                    value,
                    expected,
                })
            };
            if window == 0 || window > len {
                let value = format!("{window} (of {len} pixels)");
                return refuse(what, value, "at least 1 and at most the image's");
            }
            if stride < window {
                let value = format!("{stride} (window {window})");
                return refuse("stride", value, "at least the window's: windows must not overlap");
            }
        }
        for (operand, view) in operands {
            check_floats(op, &[(operand, view.dtype)])?;
            view.check(op, operand)?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let Self {
            batch,
            height,
            width,
            channels,
            dtype,
            ..
        } = self;
        let [[rows, cols], [down, right]] = [self.window, self.stride];
        let stride = match self.stride == self.window {
            true => String::new(),
            false => format!(" stride {down}x{right}"),
        };
        format!("{batch}x{height}x{width}x{channels} {dtype} window {rows}x{cols}{stride}")
    }
}

impl MaxPoolGrad {
    /// Of a forward pass, with pixels of `dx` as far apart as those of `x`.
    #[must_use]
    pub fn new(pool: MaxPool) -> Self {
        Self {
            pool,
            dtype: pool.dtype,
            dx_ld: pool.x_ld,
        }
    }

    /// With gradients of a type of their own, whose rows are as far apart as those of tensors.
    #[must_use]
    pub fn with_gradients(self, dtype: DType) -> Self {
        let pool = MaxPool {
            y_ld: dtype.row_ld(self.pool.outputs()),
            ..self.pool
        };
        Self {
            pool,
            dtype,
            dx_ld: dtype.row_ld(pool.channels),
        }
    }

    fn dy(&self) -> View {
        View {
            dtype: self.dtype,
            ..self.pool.y()
        }
    }

    fn dx(&self) -> View {
        View {
            dtype: self.dtype,
            ..self.pool.of_pixels(self.dx_ld)
        }
    }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn describe(&self) -> String {
        self.describe()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.x().words()),
            OperandSpec::write("y", self.y().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        self.check("max_pool", &[("x", self.x()), ("y", self.y())])
    }

    fn work(&self) -> Work {
        work(&[self.x(), self.y()])
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::FORWARD
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("max_pool", &[("x", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        cpu::max_pool(cpu, self, x.read(), y.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        reference::max_pool(self, x.read(), y.write()?);
        Ok(())
    }
}

impl Op for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool_grad"
    }

    fn describe(&self) -> String {
        let text = self.pool.describe();
        match self.dtype == self.pool.dtype {
            true => text,
            false => format!("{text} to {}", self.dtype),
        }
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.pool.x().words()),
            OperandSpec::read("dy", self.dy().words()),
            OperandSpec::write("dx", self.dx().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        check_floats("max_pool_grad", &[("x", self.pool.dtype), ("dy", self.dtype)])?;
        let (x, dy) = (self.pool.x(), self.dy());
        self.pool
            .check("max_pool_grad", &[("x", x), ("dy", dy), ("dx", self.dx())])
    }

    fn work(&self) -> Work {
        work(&[self.pool.x(), self.dy(), self.dx()])
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::BACKWARD
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("max_pool_grad", &[("x", self.pool.dtype), ("dy", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [x, dy, dx] = args.take(self)?;
        cpu::max_pool_grad(cpu, self, x.read(), dy.read(), dx.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, dy, dx] = args.take(self)?;
        reference::max_pool_grad(self, x.read(), dy.read(), dx.write()?);
        Ok(())
    }
}

fn work(operands: &[View]) -> Work {
    let elements = operands.first().map_or(0.0, |x| x.len() as f64);
    let bytes: f64 = operands
        .iter()
        .map(|view| view.len() as f64 * f64::from(view.dtype.bits()) / 8.0)
        .sum();
    Work {
        // One comparison of each.
        int_ops: elements,
        ..Work::new(0.0, bytes)
    }
}
