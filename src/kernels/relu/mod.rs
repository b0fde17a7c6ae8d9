//! `relu` and `relu_grad`: the rectifier and its gradient, on bits. f32 and packed bf16 (f64 on the CPU device
//! and the reference). Bound by memory; where speed matters the forward pass is part of the matmul before it.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::{Gpu, OperandSpec};
use crate::op::{Args, Op, Table, Work, check_floats};
use crate::tensor::{DType, View};

/// `y = max(x, 0)`. Operands: `x`, `y`; in place only `y`.
///
/// Exact class, on bits: a NaN passes as it is, -0 becomes +0.
///
/// | variant | when | why |
/// |---|---|---|
/// | `word` | f32, bf16 | one word per invocation, any leading dimension, any offset |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Relu {
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
}

/// `dx = dy` where `y`, the output of the forward pass, is above zero, else +0. Operands: `y`, `dy`, `dx`; in
/// place `y`, `dx`.
///
/// Exact class, on bits. Where `y` is NaN the result is +0.
///
/// | variant | when | why |
/// |---|---|---|
/// | `word` | f32, bf16 | one word per invocation, any leading dimension, any offset |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ReluGrad {
    /// Type of `y`: `F32`, `Bf16`, or `F64` where all are.
    pub y: DType,
    /// Type of `dy` and `dx`: `F32`, `Bf16` or `F64`.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `y` to the next: at least `cols`, even for bf16.
    pub y_ld: usize,
    /// Elements from one row of `dy` to the next: at least `cols`, even for bf16.
    pub dy_ld: usize,
    /// Elements from one row of `dx` to the next: at least `cols`, even for bf16.
    pub dx_ld: usize,
    /// `dx` holds `dy` and is overwritten; `dy_ld` is not used.
    pub in_place: bool,
}

impl Relu {
    /// Rows as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, dtype: DType) -> Self {
        let ld = dtype.row_ld(cols);
        Self {
            dtype,
            rows,
            cols,
            x_ld: ld,
            y_ld: ld,
            in_place: false,
        }
    }

    /// `len` contiguous elements.
    #[must_use]
    pub fn contiguous(dtype: DType, len: usize) -> Self {
        let ld = len.next_multiple_of(2);
        Self {
            dtype,
            rows: 1,
            cols: len,
            x_ld: ld,
            y_ld: ld,
            in_place: false,
        }
    }

    fn x(&self) -> View {
        let ld = if self.in_place { self.y_ld } else { self.x_ld };
        View::new(self.dtype, self.rows, self.cols, ld)
    }

    fn y(&self) -> View {
        View::new(self.dtype, self.rows, self.cols, self.y_ld)
    }
}

impl ReluGrad {
    /// Rows as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, dtype: DType) -> Self {
        let ld = dtype.row_ld(cols);
        Self {
            y: dtype,
            dtype,
            rows,
            cols,
            y_ld: ld,
            dy_ld: ld,
            dx_ld: ld,
            in_place: false,
        }
    }

    /// `len` contiguous elements.
    #[must_use]
    pub fn contiguous(dtype: DType, len: usize) -> Self {
        let ld = len.next_multiple_of(2);
        Self {
            y: dtype,
            dtype,
            rows: 1,
            cols: len,
            y_ld: ld,
            dy_ld: ld,
            dx_ld: ld,
            in_place: false,
        }
    }

    /// By a `y` of another type, whose rows are as far apart as those of tensors.
    #[must_use]
    pub fn by(self, y: DType) -> Self {
        Self {
            y,
            y_ld: y.row_ld(self.cols),
            ..self
        }
    }

    fn y(&self) -> View {
        View::new(self.y, self.rows, self.cols, self.y_ld)
    }

    fn dy(&self) -> View {
        let ld = if self.in_place { self.dx_ld } else { self.dy_ld };
        View::new(self.dtype, self.rows, self.cols, ld)
    }

    fn dx(&self) -> View {
        View::new(self.dtype, self.rows, self.cols, self.dx_ld)
    }
}

impl Op for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn describe(&self) -> String {
        describe(self.rows, self.cols, self.dtype, self.in_place)
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
        check("relu", &[("x", self.x()), ("y", self.y())])
    }

    fn work(&self) -> Work {
        work(self.rows, self.cols, self.dtype, 2.0)
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::FORWARD
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("relu", &[("x", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y] = args.take(self)?;
            cpu::relu(cpu, self, None, y.write()?);
        } else {
            let [x, y] = args.take(self)?;
            cpu::relu(cpu, self, Some(x.read()), y.write()?);
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y] = args.take(self)?;
            reference::relu(self, None, y.write()?);
        } else {
            let [x, y] = args.take(self)?;
            reference::relu(self, Some(x.read()), y.write()?);
        }
        Ok(())
    }
}

impl Op for ReluGrad {
    fn name(&self) -> &'static str {
        "relu_grad"
    }

    fn describe(&self) -> String {
        let text = describe(self.rows, self.cols, self.dtype, self.in_place);
        match self.y == self.dtype {
            true => text,
            false => format!("{text} by {}", self.y),
        }
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (y, dx) = (OperandSpec::read("y", self.y().words()), self.dx().words());
        if self.in_place {
            return vec![y, OperandSpec::update("dx", dx)];
        }
        vec![
            y,
            OperandSpec::read("dy", self.dy().words()),
            OperandSpec::write("dx", dx),
        ]
    }

    fn check(&self) -> Result<()> {
        check_floats("relu_grad", &[("y", self.y), ("dy", self.dtype)])?;
        check(
            "relu_grad",
            &[("y", self.y()), ("dy", self.dy()), ("dx", self.dx())],
        )
    }

    fn work(&self) -> Work {
        let mask = work(self.rows, self.cols, self.y, 1.0);
        let moved = work(self.rows, self.cols, self.dtype, 2.0);
        Work {
            bytes: mask.bytes + moved.bytes,
            ..moved
        }
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::BACKWARD
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("relu_grad", &[("y", self.y), ("dy", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y, dx] = args.take(self)?;
            cpu::relu_grad(cpu, self, y.read(), None, dx.write()?);
        } else {
            let [y, dy, dx] = args.take(self)?;
            cpu::relu_grad(cpu, self, y.read(), Some(dy.read()), dx.write()?);
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y, dx] = args.take(self)?;
            reference::relu_grad(self, y.read(), None, dx.write()?);
        } else {
            let [y, dy, dx] = args.take(self)?;
            reference::relu_grad(self, y.read(), Some(dy.read()), dx.write()?);
        }
        Ok(())
    }
}

fn check(op: &'static str, operands: &[(&'static str, View)]) -> Result<()> {
    for (operand, view) in operands {
        check_floats(op, &[(operand, view.dtype)])?;
        view.check(op, operand)?;
    }
    Ok(())
}

fn describe(rows: usize, cols: usize, dtype: DType, in_place: bool) -> String {
    let suffix = if in_place { " in place" } else { "" };
    format!("{rows}x{cols} {dtype}{suffix}")
}

fn work(rows: usize, cols: usize, dtype: DType, operands: f64) -> Work {
    let elements = rows as f64 * cols as f64;
    Work {
        bf16: false,
        flops: 0.0,
        int_ops: elements * f64::from(dtype.bits()) / 32.0,
        bytes: elements * operands * f64::from(dtype.bits()) / 8.0,
    }
}
