//! `fmac`: one fused multiply-accumulate step per element, in bf16.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod integer;
mod probe;
pub(super) mod product;
mod reference;

pub use integer::{fmac_product_bits, fmac_sum_bits};
#[cfg(not(target_arch = "wasm32"))]
pub use probe::probe_float_fmac_blocking;
pub use probe::{float_fmac_exact, probe_float_fmac};
pub use product::FmacMatmul;
pub use reference::{fmac_round, fmac_sum};

use crate::cpu::Cpu;
use crate::device::{Device, Tensor, dense};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{OperandSpec, StepValues};
use crate::op::{Args, Op, Table, Work};
use crate::tensor::{DType, View};

const OP: &str = "fmac";

/// `a <- round_bf16(a + x * y)` over `rows` rows of `cols` elements. Operands: `x`, `y`, `a` (updated).
///
/// Exact class: the sum is rounded to nearest in f32 and then to bf16. Stochastic rounding draws for the
/// element's logical row-major index (`row * cols + col`). Results of magnitude 0 are +0, every NaN is
/// 0x7fc0.
///
/// | variant | when | why |
/// |---|---|---|
/// | `float` | where [`probe_float_fmac`] found f32 additions here to round to nearest | the f32 unit adds |
/// | `integer` | everywhere; the only one on a GPU not probed | WGSL lets an addition round either way |
///
/// Both give the reference's bits for every operand. The float variant itself takes the integer step wherever
/// an operand is NaN, Inf, or so large or small that a step could overflow or be flushed (factors outside
/// [2^-51, 2^60), accumulators outside [2^-102, 2^126), zeros aside): see `shaders/lib/fmac.wgsl`.
///
/// **Planning never probes**: it submits nothing. Who plans this operation on a [`Gpu`](crate::gpu::Gpu) gets
/// `integer`, several times slower than `float` where that serves, until [`probe_float_fmac`] has been awaited once on
/// the same handle or a clone of it. [`Device::fmac`] does that by itself on a GPU that fewbit opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fmac {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `x` to the next: at least `cols`, even.
    pub x_ld: usize,
    /// Elements from one row of `y` to the next: at least `cols`, even.
    pub y_ld: usize,
    /// Elements from one row of `a` to the next: at least `cols`, even.
    pub a_ld: usize,
    /// How the sum is rounded to bf16: to nearest or stochastically.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from.
    pub draw: Draw,
}

impl Fmac {
    /// Rows as far apart as those of tensors, to nearest.
    #[must_use]
    pub fn new(rows: usize, cols: usize) -> Self {
        let ld = DType::Bf16.row_ld(cols);
        Self {
            rows,
            cols,
            x_ld: ld,
            y_ld: ld,
            a_ld: ld,
            rounding: Rounding::Nearest,
            draw: Draw::default(),
        }
    }

    /// `len` contiguous elements, to nearest.
    #[must_use]
    pub fn contiguous(len: usize) -> Self {
        let ld = len.next_multiple_of(2);
        Self {
            rows: 1,
            cols: len,
            x_ld: ld,
            y_ld: ld,
            a_ld: ld,
            rounding: Rounding::Nearest,
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

    fn at(&self, step: &StepValues) -> Self {
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }

    /// `x`, `y` and `a`.
    fn views(&self) -> [View; 3] {
        [self.x_ld, self.y_ld, self.a_ld].map(|ld| View::new(DType::Bf16, self.rows, self.cols, ld))
    }
}

impl Op for Fmac {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        format!(
            "{}x{} ld {},{},{} {}",
            self.rows,
            self.cols,
            self.x_ld,
            self.y_ld,
            self.a_ld,
            rounding_words(self.rounding, self.draw.generator)
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let [x, y, a] = self.views().map(|view| view.words());
        vec![
            OperandSpec::read("x", x),
            OperandSpec::read("y", y),
            OperandSpec::update("a", a),
        ]
    }

    fn check(&self) -> Result<()> {
        for (operand, view) in ["x", "y", "a"].into_iter().zip(self.views()) {
            view.check(OP, operand)?;
        }
        crate::op::check_rounding(OP, self.rounding)
    }

    fn work(&self) -> Work {
        let elements = self.rows as f64 * self.cols as f64;
        Work {
            bf16: false,
            flops: elements * 2.0,
            int_ops: elements * Work::rounding_ops(self.rounding, self.draw.generator),
            bytes: elements * 8.0,
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
        let [x, y, a] = args.take(self)?;
        cpu::fmac(cpu, &op, x.read(), y.read(), a.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [x, y, a] = args.take(self)?;
        reference::fmac(&op, x.read(), y.read(), a.write()?);
        Ok(())
    }
}

fn rounding_words(rounding: Rounding, generator: Generator) -> &'static str {
    match (rounding, generator) {
        (Rounding::Stochastic, Generator::Philox) => "stochastic philox",
        (Rounding::Stochastic, Generator::Threefry) => "stochastic threefry",
        (Rounding::Nearest | Rounding::TowardZero, _) => "nearest",
    }
}

/// Leading dimension of a bf16 tensor.
fn bf16_ld(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<usize> {
    match dense(op, operand, tensor)? {
        (DType::Bf16, ld) => Ok(ld),
        (got, _) => Err(Error::DType {
            op,
            operand,
            expected: "bf16",
            got,
        }),
    }
}

impl Device {
    /// `a <- a + x * y` in bf16, elementwise, rounded to nearest even. See [`Fmac`].
    ///
    /// # Errors
    /// Shapes that differ, types that are not bf16, out of memory, or device lost.
    pub fn fmac(&self, a: &mut Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
        self.fmac_with(a, x, y, Rounding::Nearest, Draw::default())
    }

    /// `a <- a + x * y` in bf16, elementwise, with a rounding and a draw. See [`Fmac`].
    ///
    /// # Errors
    /// See [`Device::fmac`].
    pub fn fmac_with(
        &self,
        a: &mut Tensor,
        x: &Tensor,
        y: &Tensor,
        rounding: Rounding,
        draw: Draw,
    ) -> Result<()> {
        for (operand, tensor) in [("x", x), ("y", y)] {
            if tensor.shape() != a.shape() {
                return Err(Error::Shape {
                    op: OP,
                    operand,
                    expected: format!("the shape of a, {:?}", a.shape()),
                    got: tensor.shape(),
                });
            }
        }
        let op = Fmac {
            rows: a.layout().rows(),
            cols: a.layout().cols(),
            x_ld: bf16_ld(OP, "x", x)?,
            y_ld: bf16_ld(OP, "y", y)?,
            a_ld: bf16_ld(OP, "a", a)?,
            rounding,
            draw,
        };
        self.probe_float_fmac()?;
        self.run(&op, &mut [x.into(), y.into(), a.into()])
    }

    /// On a GPU that fewbit opened itself, the first FMAC finds out whether the float variants are exact. A
    /// borrowed device is never submitted to for that, and a browser cannot wait: there the integer variants
    /// run unless the caller has awaited [`probe_float_fmac`](crate::kernels::probe_float_fmac).
    pub(in crate::kernels::fmac) fn probe_float_fmac(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(gpu) = self.as_gpu().filter(|gpu| gpu.is_owned()) {
            crate::kernels::probe_float_fmac_blocking(gpu)?;
        }
        Ok(())
    }
}
