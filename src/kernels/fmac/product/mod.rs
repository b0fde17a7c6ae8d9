//! `fmac_matmul`: a matrix product whose accumulator is bf16.

pub(in crate::kernels) mod gpu;

use super::{bf16_ld, rounding_words};
use crate::cpu::Cpu;
use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::Draw;
use crate::gpu::{OperandSpec, StepValues};
use crate::op::{Args, Op, Table, Work, check_limit, check_rounding};
use crate::tensor::{DType, Layout, View};

const OP: &str = "fmac_matmul";

/// `C[M, N] <- A[M, K] B[K, N] (+ C)` in bf16, `batch` times, with a bf16 accumulator. Operands: `a`, `b`,
/// `c`.
///
/// Exact class. The accumulator starts at +0, `k` ascends, and after every `chunk` steps and at the end it is
/// rounded to bf16; inside a chunk it is f32, in ascending order too. With `add_c`, C is added last as one
/// more rounded step. Results of magnitude 0 are +0, every NaN is 0x7fc0.
///
/// Stochastic rounding draws for output `(batch * M + i) * N + j`, below 2^40, and step `k` of it (a chunk's
/// last; K where C is added), in training step `draw.step`, below 2^24: see
/// [`Draw::fmac_block`].
///
/// The products of a batch follow each other without a gap: the rows of all A are one matrix of `batch * M`
/// rows (`batch * K` of `M` elements with `trans_a`), likewise B and C.
///
/// Variants as in [`Fmac`](super::Fmac), with the same warning: `float` where
/// [`probe_float_fmac`](super::probe_float_fmac) found the GPU's f32 additions, and their order inside a chunk, to be
/// the reference's; `integer` everywhere. Where an invocation's loops would pass the cap on turns, K is cut over
/// dispatches, which changes no bit: accumulators go from one to the next as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FmacMatmul {
    /// Products.
    pub batch: usize,
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Steps of each sum.
    pub k: usize,
    /// A is stored as its transpose, `[K, M]`.
    pub trans_a: bool,
    /// B is stored as its transpose, `[N, K]`.
    pub trans_b: bool,
    /// Elements from one stored row of A to the next, even.
    pub a_ld: usize,
    /// Elements from one stored row of B to the next, even.
    pub b_ld: usize,
    /// Elements from one row of C to the next, even.
    pub c_ld: usize,
    /// Steps from one rounding to the next, at least 1.
    pub chunk: usize,
    /// Add what C holds, last.
    pub add_c: bool,
    /// How the accumulator is rounded: to nearest or stochastically.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from.
    pub draw: Draw,
}

impl FmacMatmul {
    /// One product of contiguous operands (rows padded to even lengths), rounded to nearest at every step.
    #[must_use]
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        Self {
            batch: 1,
            m,
            n,
            k,
            trans_a: false,
            trans_b: false,
            a_ld: k.next_multiple_of(2),
            b_ld: n.next_multiple_of(2),
            c_ld: n.next_multiple_of(2),
            chunk: 1,
            add_c: false,
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

    /// Rows and columns of a stored A, of one product.
    fn a_shape(&self) -> (u64, u64) {
        let (m, k) = (self.m as u64, self.k as u64);
        if self.trans_a { (k, m) } else { (m, k) }
    }

    /// Rows and columns of a stored B, of one product.
    fn b_shape(&self) -> (u64, u64) {
        let (n, k) = (self.n as u64, self.k as u64);
        if self.trans_b { (n, k) } else { (k, n) }
    }

    fn empty(&self) -> bool {
        self.batch == 0 || self.m == 0 || self.n == 0
    }

    fn at(&self, step: &StepValues) -> Self {
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }

    /// `a`, `b` and `c`, all products one after the other.
    pub(super) fn views(&self) -> [View; 3] {
        let view = |(rows, cols): (u64, u64), ld| {
            let rows = self.batch.saturating_mul(rows as usize);
            View::new(DType::Bf16, rows, cols as usize, ld)
        };
        [
            view(self.a_shape(), self.a_ld),
            view(self.b_shape(), self.b_ld),
            view((self.m as u64, self.n as u64), self.c_ld),
        ]
    }
}

impl Op for FmacMatmul {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let transposed = match (self.trans_a, self.trans_b) {
            (false, false) => "",
            (true, false) => " A^T",
            (false, true) => " B^T",
            (true, true) => " A^T B^T",
        };
        format!(
            "{}x{}x{}x{}{transposed} ld {},{},{} chunk {}{} {}",
            self.batch,
            self.m,
            self.n,
            self.k,
            self.a_ld,
            self.b_ld,
            self.c_ld,
            self.chunk,
            if self.add_c { " + C" } else { "" },
            rounding_words(self.rounding, self.draw.generator),
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let [a, b, c] = self.views().map(|view| view.words());
        vec![
            OperandSpec::read("a", a),
            OperandSpec::read("b", b),
            match self.add_c {
                true => OperandSpec::update("c", c),
                false => OperandSpec::write("c", c),
            },
        ]
    }

    fn check(&self) -> Result<()> {
        const EXTENT: u64 = u32::MAX as u64 / 2;
        for (what, value) in [("batch", self.batch), ("m", self.m), ("n", self.n), ("k", self.k)] {
            check_limit(OP, what, value as u64, EXTENT)?;
        }
        for (operand, view) in ["a", "b", "c"].into_iter().zip(self.views()) {
            view.check(OP, operand)?;
        }
        if self.chunk == 0 {
            return Err(Error::Value {
                op: OP,
                what: "chunk",
                value: "0".to_string(),
                expected: "at least 1",
            });
        }
        check_rounding(OP, self.rounding)?;
        if self.rounding == Rounding::Stochastic {
            let outputs = (self.batch as u64 * self.m as u64).checked_mul(self.n as u64);
            let before = self.draw.first_block.checked_mul(8);
            let end = outputs
                .zip(before)
                .and_then(|(outputs, before)| before.checked_add(outputs));
            check_limit(OP, "outputs", end.unwrap_or(u64::MAX), Draw::FMAC_ELEMENTS)?;
            check_limit(OP, "step number", self.draw.step.into(), (1 << 24) - 1)?;
        }
        Ok(())
    }

    fn work(&self) -> Work {
        let outputs = self.batch as f64 * self.m as f64 * self.n as f64;
        let steps = outputs * self.k as f64;
        let roundings = outputs * self.k.div_ceil(self.chunk.max(1)) as f64;
        let bytes: f64 = self.operands().iter().map(|spec| spec.words as f64 * 4.0).sum();
        Work {
            bf16: false,
            flops: steps * 2.0,
            int_ops: roundings * Work::rounding_ops(self.rounding, self.draw.generator),
            bytes: bytes + if self.add_c { outputs * 2.0 } else { 0.0 },
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
        op.check()?;
        let [a, b, c] = args.take(self)?;
        super::cpu::fmac_matmul(cpu, &op, a.read(), b.read(), c.write()?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        op.check()?;
        let [a, b, c] = args.take(self)?;
        super::reference::fmac_matmul(&op, a.read(), b.read(), c.write()?);
        Ok(())
    }
}

/// The leading extents, and the last two.
fn matrices(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<(Vec<usize>, usize, usize)> {
    let mut shape = tensor.shape();
    match (shape.pop(), shape.pop()) {
        (Some(cols), Some(rows)) => Ok((shape, rows, cols)),
        _ => Err(Error::Shape {
            op,
            operand,
            expected: "a matrix or a batch of them".to_string(),
            got: tensor.shape(),
        }),
    }
}

impl Device {
    /// The product of two bf16 matrices (or of two batches of as many) with a bf16 accumulator that is rounded
    /// to nearest even after every `chunk` steps. See [`FmacMatmul`].
    ///
    /// # Errors
    /// Shapes that do not match, types that are not bf16, a chunk of 0, out of memory, or device lost.
    pub fn fmac_matmul(&self, a: &Tensor, b: &Tensor, chunk: usize) -> Result<Tensor> {
        self.fmac_matmul_with(a, b, chunk, Rounding::Nearest, Draw::default())
    }

    /// The product of two bf16 matrices with a bf16 accumulator, with a rounding and a draw. See
    /// [`FmacMatmul`].
    ///
    /// # Errors
    /// See [`Device::fmac_matmul`].
    pub fn fmac_matmul_with(
        &self,
        a: &Tensor,
        b: &Tensor,
        chunk: usize,
        rounding: Rounding,
        draw: Draw,
    ) -> Result<Tensor> {
        let ((mut shape, m, k), (b_batch, b_rows, n)) = (matrices(OP, "a", a)?, matrices(OP, "b", b)?);
        if shape != b_batch {
            return Err(Error::Shape {
                op: OP,
                operand: "b",
                expected: format!("leading extents of a, {shape:?}"),
                got: b.shape(),
            });
        }
        if k != b_rows {
            return Err(Error::Dimension {
                op: OP,
                dimension: "K",
                left_name: "a",
                left: k as u64,
                right_name: "b",
                right: b_rows as u64,
            });
        }
        let batch = shape.iter().product();
        shape.extend([m, n]);
        let op = FmacMatmul {
            batch,
            m,
            n,
            k,
            trans_a: false,
            trans_b: false,
            a_ld: bf16_ld(OP, "a", a)?,
            b_ld: bf16_ld(OP, "b", b)?,
            c_ld: DType::Bf16.row_ld(n),
            chunk,
            add_c: false,
            rounding,
            draw,
        };
        self.probe_float_fmac()?;
        let mut c = self.zeros(Layout::dense(DType::Bf16, &shape))?;
        self.run(&op, &mut [a.into(), b.into(), (&mut c).into()])?;
        Ok(c)
    }
}
