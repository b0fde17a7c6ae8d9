//! `relu` and `relu_grad`: the rectifier and its gradient, on bits. f32 and packed bf16 (f64 on the CPU device
//! and the reference). One variant, `word`: one word per invocation, any leading dimension, any offset. It is
//! bound by memory; where speed matters the forward pass is part of the matmul before it.

pub(crate) mod cases;
mod cpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, spread_groups};
use crate::op::rows::{self, Piece};
use crate::op::{Args, Class, Op, Work};
use crate::shaders;
use crate::tensor::DType;

/// `y = max(x, 0)`. Operands: `x`, `y`; in place only `y`.
///
/// Exact class, on bits: a NaN passes as it is, -0 becomes +0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReluGrad {
    /// Type of all operands: `F32`, `Bf16` or `F64`.
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

    fn x_ld(&self) -> usize {
        if self.in_place { self.y_ld } else { self.x_ld }
    }
}

impl ReluGrad {
    /// `len` contiguous elements.
    #[must_use]
    pub fn contiguous(dtype: DType, len: usize) -> Self {
        let ld = len.next_multiple_of(2);
        Self {
            dtype,
            rows: 1,
            cols: len,
            y_ld: ld,
            dy_ld: ld,
            dx_ld: ld,
            in_place: false,
        }
    }

    fn dy_ld(&self) -> usize {
        if self.in_place { self.dx_ld } else { self.dy_ld }
    }
}

const TYPES: &[DType] = &[DType::F32, DType::Bf16, DType::F64];
const EXPECTED: &str = "f32, bf16 or f64";

impl Op for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn describe(&self) -> String {
        describe(self.rows, self.cols, self.dtype, self.in_place)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let words = |ld| rows::words(self.dtype, self.rows, self.cols, ld);
        if self.in_place {
            return vec![OperandSpec::update("y", words(self.y_ld))];
        }
        vec![
            OperandSpec::read("x", words(self.x_ld)),
            OperandSpec::write("y", words(self.y_ld)),
        ]
    }

    fn check(&self) -> Result<()> {
        let operands = [("x", self.dtype, self.x_ld()), ("y", self.dtype, self.y_ld)];
        rows::check("relu", self.rows, self.cols, TYPES, EXPECTED, &operands)
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn work(&self) -> Work {
        work(self.rows, self.cols, self.dtype, 2.0)
    }

    fn variants(&self, _gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        if self.dtype == DType::F64 {
            Vec::new()
        } else {
            vec!["word"]
        }
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("relu", &[("x", self.dtype)])
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let pipeline = gpu.pipeline(&permutation("forward", self.dtype, self.in_place))?;
        let mut steps = Vec::new();
        let lds = [(self.dtype, self.x_ld()), (self.dtype, self.y_ld)];
        for piece in rows::pieces(gpu, self.rows, self.cols, &lds) {
            let windows = match self.in_place {
                true => vec![
                    Window::empty(),
                    Window::empty(),
                    self.window(&piece, 0, self.y_ld, 8),
                ],
                false => vec![
                    Window::empty(),
                    self.window(&piece, 0, self.x_ld, 7),
                    self.window(&piece, 1, self.y_ld, 8),
                ],
            };
            steps.push(Step {
                pipeline: pipeline.clone(),
                params: params(self.dtype, &piece, [0, self.x_ld(), self.y_ld]),
                windows,
                groups: groups(gpu, self.dtype, &piece),
                work: piece.rows * self.dtype.words(piece.cols) * 2,
                turns: 0,
            });
        }
        Plan::from_steps(
            gpu,
            "relu",
            variant,
            self.operands(),
            steps,
            StepValues::default(),
        )
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y] = args.take(self)?;
            cpu::relu(cpu, self, None, y.write());
        } else {
            let [x, y] = args.take(self)?;
            cpu::relu(cpu, self, Some(x.read()), y.write());
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y] = args.take(self)?;
            reference::relu(self, None, y.write());
        } else {
            let [x, y] = args.take(self)?;
            reference::relu(self, Some(x.read()), y.write());
        }
        Ok(())
    }
}

impl Relu {
    fn window(&self, piece: &Piece, operand: usize, ld: usize, param: usize) -> Window {
        let (first, words) = piece.window(self.dtype, ld);
        Window::of(operand, first, words, param)
    }
}

impl Op for ReluGrad {
    fn name(&self) -> &'static str {
        "relu_grad"
    }

    fn describe(&self) -> String {
        describe(self.rows, self.cols, self.dtype, self.in_place)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let words = |ld| rows::words(self.dtype, self.rows, self.cols, ld);
        let y = OperandSpec::read("y", words(self.y_ld));
        if self.in_place {
            return vec![y, OperandSpec::update("dx", words(self.dx_ld))];
        }
        vec![
            y,
            OperandSpec::read("dy", words(self.dy_ld)),
            OperandSpec::write("dx", words(self.dx_ld)),
        ]
    }

    fn check(&self) -> Result<()> {
        let operands = [
            ("y", self.dtype, self.y_ld),
            ("dy", self.dtype, self.dy_ld()),
            ("dx", self.dtype, self.dx_ld),
        ];
        rows::check("relu_grad", self.rows, self.cols, TYPES, EXPECTED, &operands)
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn work(&self) -> Work {
        work(self.rows, self.cols, self.dtype, 3.0)
    }

    fn variants(&self, _gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        if self.dtype == DType::F64 {
            Vec::new()
        } else {
            vec!["word"]
        }
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("relu_grad", &[("y", self.dtype)])
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let pipeline = gpu.pipeline(&permutation("backward", self.dtype, self.in_place))?;
        let mut steps = Vec::new();
        let lds = [self.y_ld, self.dy_ld(), self.dx_ld];
        for piece in rows::pieces(gpu, self.rows, self.cols, &lds.map(|ld| (self.dtype, ld))) {
            let window = |operand, ld, param| {
                let (first, words) = piece.window(self.dtype, ld);
                Window::of(operand, first, words, param)
            };
            let mask = window(0, self.y_ld, 6);
            let windows = match self.in_place {
                true => vec![mask, Window::empty(), window(1, self.dx_ld, 8)],
                false => vec![mask, window(1, self.dy_ld, 7), window(2, self.dx_ld, 8)],
            };
            steps.push(Step {
                pipeline: pipeline.clone(),
                params: params(self.dtype, &piece, lds),
                windows,
                groups: groups(gpu, self.dtype, &piece),
                work: piece.rows * self.dtype.words(piece.cols) * 3,
                turns: 0,
            });
        }
        Plan::from_steps(
            gpu,
            "relu_grad",
            variant,
            self.operands(),
            steps,
            StepValues::default(),
        )
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y, dx] = args.take(self)?;
            cpu::relu_grad(cpu, self, y.read(), None, dx.write());
        } else {
            let [y, dy, dx] = args.take(self)?;
            cpu::relu_grad(cpu, self, y.read(), Some(dy.read()), dx.write());
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        if self.in_place {
            let [y, dx] = args.take(self)?;
            reference::relu_grad(self, y.read(), None, dx.write());
        } else {
            let [y, dy, dx] = args.take(self)?;
            reference::relu_grad(self, y.read(), Some(dy.read()), dx.write());
        }
        Ok(())
    }
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

fn params(dtype: DType, piece: &Piece, [mask, src, dst]: [usize; 3]) -> Vec<u32> {
    let ld = |ld: usize| dtype.words(ld as u64) as u32;
    let odd = dtype.bits() == 16 && piece.cols % 2 == 1;
    let (rows, words) = (piece.rows as u32, dtype.words(piece.cols) as u32);
    vec![
        rows,
        words,
        u32::from(odd),
        ld(mask),
        ld(src),
        ld(dst),
        0,
        0,
        0,
        0,
        0,
        0,
    ]
}

fn groups(gpu: &Gpu, dtype: DType, piece: &Piece) -> [u32; 3] {
    let words = piece.rows * dtype.words(piece.cols);
    spread_groups(gpu, words.div_ceil(u64::from(GROUP)))
}

const GROUP: u32 = 64;

static KERNEL: Kernel = Kernel {
    name: "relu",
    sources: &[shaders::INDEX, include_str!("../../../shaders/relu/relu.wgsl")],
    bindings: &[
        Binding::params(12),
        Binding::read("mask"),
        Binding::read("src"),
        Binding::write("dst"),
    ],
};

fn permutation(entry: &'static str, dtype: DType, in_place: bool) -> Permutation {
    Permutation::new(&KERNEL)
        .entry(entry)
        .constant("GROUP", GROUP)
        .constant("HALVES", dtype == DType::Bf16)
        .constant("IN_PLACE", in_place)
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for entry in ["forward", "backward"] {
        for dtype in [DType::F32, DType::Bf16] {
            all.extend([false, true].map(|in_place| permutation(entry, dtype, in_place)));
        }
    }
    all
}
