//! `bfp_matmul`: products of two block floating point matrices.

mod cpu;
pub(in crate::kernels) mod gpu;

use super::{describe, extents, float, reference};
use crate::cpu::Cpu;
use crate::device::{Device, Slot, Tensor};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::block::{BAD_BLOCK, BfpFormat};
use crate::format::random::Draw;
use crate::gpu::{OperandSpec, StepValues};
use crate::op::{Args, Contract, Op, Output, Stored, Sum, Table, Work};
use crate::tensor::{DType, Layout, View};

/// The operands that hold blocks.
const NAMES: [&str; 4] = ["a_codes", "a_exponents", "b_codes", "b_exponents"];

const OP: &str = "bfp_matmul";

/// `C = A B^T`, A `[M, K]` and B `[N, K]` in one block floating point format along K, C in f32 or packed bf16.
/// Operands: `a_codes`, `a_exponents`, `b_codes`, `b_exponents`, `c`.
///
/// Products inside a block are summed in integers, exactly; blocks are summed in f32 in ascending order. So the
/// bounded class holds with as many terms as there are blocks. An output that a block marked NaN touches is a
/// quiet NaN, on GPUs too: the exponent byte says so, not arithmetic.
///
/// One variant, `tiles`: 4 x 4 outputs per invocation, no barrier, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BfpMatmul {
    /// Rows of A and C.
    pub m: usize,
    /// Rows of B, columns of C.
    pub n: usize,
    /// Columns of A and B.
    pub k: usize,
    /// The format of both operands.
    pub format: BfpFormat,
    /// Type of C: `F32` or `Bf16`.
    pub out: DType,
    /// Elements from one row of C to the next: at least `n`, even for bf16.
    pub c_ld: usize,
    /// How a bf16 C is rounded: `Nearest` or `Stochastic`.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from; the index is `row * N + column`.
    pub draw: Draw,
}

impl BfpMatmul {
    /// An f32 product with the leading dimension of a tensor.
    #[must_use]
    pub fn new(m: usize, n: usize, k: usize, format: BfpFormat) -> Self {
        let c_ld = DType::F32.row_ld(n);
        let (rounding, draw) = (Rounding::Nearest, Draw::default());
        Self {
            m,
            n,
            k,
            format,
            out: DType::F32,
            c_ld,
            rounding,
            draw,
        }
    }

    /// Codes and exponents of A, then of B.
    fn blocks(&self) -> [View; 4] {
        let both = |rows| {
            [
                super::codes(self.format, rows, self.k),
                super::exponents(self.format, rows, self.k),
            ]
        };
        let ([a_codes, a_exponents], [b_codes, b_exponents]) = (both(self.m), both(self.n));
        [a_codes, a_exponents, b_codes, b_exponents]
    }

    pub(super) fn c(&self) -> View {
        View::new(self.out, self.m, self.n, self.c_ld)
    }

    /// The same operation with a step's seed and number.
    fn at(&self, step: &StepValues) -> Self {
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }
}

impl Op for BfpMatmul {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self { m, n, k, out, .. } = self;
        format!("{m}x{n}x{k} {} -> {out} {}", describe(self.format), self.rounding)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let blocks = NAMES.into_iter().zip(self.blocks());
        let mut operands: Vec<_> = blocks
            .map(|(name, view)| OperandSpec::read(name, view.words()))
            .collect();
        operands.push(OperandSpec::write("c", self.c().words()));
        operands
    }

    fn check(&self) -> Result<()> {
        float(OP, "c", self.out)?;
        extents(OP, &[("M", self.m), ("N", self.n), ("K", self.k)])?;
        crate::op::check_rounding(OP, self.rounding)?;
        for (name, view) in NAMES.into_iter().zip(self.blocks()) {
            view.check(OP, name)?;
        }
        self.c().check(OP, "c")
    }

    fn contract(&self) -> Contract<'_> {
        let stored = match (self.out, self.rounding) {
            (DType::F32 | DType::F64 | DType::U32 | DType::U16, _) => Stored::F32,
            (DType::Bf16, Rounding::Stochastic) => Stored::Bf16Stochastic,
            (DType::Bf16, Rounding::Nearest | Rounding::TowardZero) => Stored::Bf16Nearest,
        };
        Contract::bounded(move |judge| {
            let operands = NAMES.map(|name| judge.before(name));
            judge.bounded(&[Output::new("c", self.c())], stored, || self.sums(operands))
        })
    }

    fn work(&self) -> Work {
        let total: u64 = self.operands().iter().map(|operand| operand.words).sum();
        // Products of codes are integer operations; CPUs do two and more of them in one instruction, so they
        // are counted as floating-point work and no integer ceiling is claimed.
        let flops = 2.0 * self.m as f64 * self.n as f64 * self.format.blocks_per_row(self.k) as f64;
        Work {
            flops,
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
        let [a, a_exponents, b, b_exponents, c] = args.take(self)?;
        let operands = [a.read(), a_exponents.read(), b.read(), b_exponents.read()];
        cpu::matmul(cpu, &op, operands, c.write()?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [a, a_exponents, b, b_exponents, c] = args.take(self)?;
        let operands = [a.read(), a_exponents.read(), b.read(), b_exponents.read()];
        reference::bfp_matmul(&op, operands, c.write()?);
        Ok(())
    }
}

impl BfpMatmul {
    /// The f64 sum of every output, a term for each block.
    fn sums(&self, operands: [&[u32]; 4]) -> Vec<Sum> {
        let matrix = |rows, codes, exponents| Integers::new(self, rows, codes, exponents);
        let [a, a_exponents, b, b_exponents] = operands;
        let (a, b) = (matrix(self.m, a, a_exponents), matrix(self.n, b, b_exponents));
        let (size, blocks) = (self.format.block() as usize, self.format.blocks_per_row(self.k));
        let mut sums = Vec::with_capacity(self.m * self.n);
        for index in 0..self.m * self.n {
            let (row, col) = (index / self.n, index % self.n);
            let mut sum = Sum::default();
            for block in 0..blocks {
                let Some(step) = a.steps[row * blocks + block].zip(b.steps[col * blocks + block]) else {
                    sum.owe_nan();
                    break;
                };
                let ks = block * size..((block + 1) * size).min(self.k);
                let (a, b) = (&a.codes[row * self.k..][ks.clone()], &b.codes[col * self.k..][ks]);
                let dot: i32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                sum.computed(f64::from(dot) * step.0 * step.1);
            }
            sums.push(sum);
        }
        sums
    }
}

/// What the judge reads out of a matrix of blocks.
struct Integers {
    /// Row by row.
    codes: Vec<i32>,
    /// What the unit of each block is worth, block by block; `None` where it is marked NaN.
    steps: Vec<Option<f64>>,
}

impl Integers {
    fn new(op: &BfpMatmul, rows: usize, codes: &[u32], exponents: &[u32]) -> Self {
        let (format, k) = (op.format, op.k);
        let (words, blocks) = (format.codes_words_per_row(k), format.blocks_per_row(k));
        let row_bytes = 4 * format.exponent_words_per_row(k);
        let code = |at: usize| format.signed(format.get(&codes[at / k * words..], at % k));
        let step = |at: usize| {
            let byte = at / blocks * row_bytes + at % blocks;
            match (exponents[byte / 4] >> (8 * (byte % 4))) as u8 {
                BAD_BLOCK => None,
                byte => Some(2f64.powi(i32::from(byte) - 125 - format.bits() as i32)),
            }
        };
        Self {
            codes: (0..rows * k).map(code).collect(),
            steps: (0..rows * blocks).map(step).collect(),
        }
    }
}

impl Device {
    /// `A B^T` of two block floating point matrices of one format, `[M, K]` and `[N, K]`, in f32. See
    /// [`BfpMatmul`].
    ///
    /// # Errors
    /// [`Error::Dimension`] where formats or K disagree; out of memory, or device lost.
    pub fn bfp_matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (format, m, k) = super::block(OP, "a", a)?;
        let (b_format, n, b_k) = super::block(OP, "b", b)?;
        for (dimension, left, right) in [
            ("K", k as u64, b_k as u64),
            ("block", format.block().into(), b_format.block().into()),
            ("bits", format.bits().into(), b_format.bits().into()),
        ] {
            if left != right {
                let (left_name, right_name) = ("a", "b");
                return Err(Error::Dimension {
                    op: OP,
                    dimension,
                    left_name,
                    left,
                    right_name,
                    right,
                });
            }
        }
        let mut c = self.zeros(Layout::dense(DType::F32, &[m, n]))?;
        let op = BfpMatmul::new(m, n, k, format);
        let operands = [Slot::In(a, 0), Slot::In(a, 1), Slot::In(b, 0), Slot::In(b, 1)];
        let mut slots: Vec<_> = operands.into_iter().collect();
        slots.push((&mut c).into());
        self.run(&op, &mut slots)?;
        Ok(c)
    }
}
