//! Products of two block floating point matrices; see [`bfp`](super::bfp) for the variants.

use super::{describe, extents, float};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::block::BfpFormat;
use crate::format::random::{Draw, Generator};
use crate::format::{Rounding, bf16};
use crate::gpu::looped;
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::contract::{ErrorBound, Stored};
use crate::op::rows::words;
use crate::op::{Args, Class, Comparison, Op, Verdict, Work, check_ld};
use crate::shaders;
use crate::tensor::DType;

const OP: &str = "bfp_matmul";

/// `C = A B^T`, A `[M, K]` and B `[N, K]` in one block floating point format along K, C in f32 or packed bf16.
/// Operands: `a_codes`, `a_exponents`, `b_codes`, `b_exponents`, `c`.
///
/// Products inside a block are summed in integers, exactly; blocks are summed in f32 in ascending order. So the
/// bounded class holds with as many terms as there are blocks. An output that a block marked NaN touches is a
/// quiet NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        let c_ld = n.next_multiple_of(DType::F32.row_multiple());
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

    /// The terms of one output, one per block, or `None` where a block is marked NaN.
    pub(crate) fn terms(&self, operands: [&[u32]; 4], row: usize, col: usize) -> Option<Vec<f64>> {
        let [a_codes, a_exponents, b_codes, b_exponents] = operands;
        let (codes, exponents) = (
            self.format.codes_words_per_row(self.k),
            self.format.exponent_words_per_row(self.k),
        );
        let (a, b) = (
            &a_codes[row * codes..(row + 1) * codes],
            &b_codes[col * codes..(col + 1) * codes],
        );
        let a_bytes: &[u8] = bytemuck::cast_slice(&a_exponents[row * exponents..(row + 1) * exponents]);
        let b_bytes: &[u8] = bytemuck::cast_slice(&b_exponents[col * exponents..(col + 1) * exponents]);
        let size = self.format.block() as usize;
        let mut terms = Vec::with_capacity(self.format.blocks_per_row(self.k));
        for block in 0..self.format.blocks_per_row(self.k) {
            if a_bytes[block] == 255 || b_bytes[block] == 255 {
                return None;
            }
            let mut dot = 0i32;
            for k in block * size..((block + 1) * size).min(self.k) {
                dot += self.format.signed(self.format.get(a, k)) * self.format.signed(self.format.get(b, k));
            }
            terms.push(f64::from(dot) * self.scale(a_bytes[block], b_bytes[block]));
        }
        Some(terms)
    }

    /// 2^(a - 127 - (m-2)) times 2^(b - 127 - (m-2)).
    pub(crate) fn scale(&self, a_byte: u8, b_byte: u8) -> f64 {
        let exponent = i32::from(a_byte) + i32::from(b_byte) - 254 - 2 * (self.format.bits() as i32 - 2);
        2f64.powi(exponent)
    }

    /// Stores f32 bits as an element of C.
    pub(crate) fn store(&self, c: &mut [u32], row: usize, col: usize, bits: u32) {
        self.store_at(c, row, col, (row * self.n + col) as u64, bits);
    }

    /// The same with the element's logical index given: `c` may start at another row.
    pub(crate) fn store_at(&self, c: &mut [u32], row: usize, col: usize, index: u64, bits: u32) {
        if self.out == DType::F32 {
            c[row * self.c_ld + col] = bits;
            return;
        }
        let r16 = if self.rounding == Rounding::Stochastic {
            self.draw.bits(index)
        } else {
            0
        };
        let code = bf16::encode(bits, self.rounding, r16, false);
        let element = row * self.c_ld + col;
        let word = &mut c[element / 2];
        *word = match col % 2 {
            0 if col + 1 == self.n => u32::from(code),
            0 => (*word & 0xffff_0000) | u32::from(code),
            _ => (*word & 0xffff) | (u32::from(code) << 16),
        };
    }

    fn loaded(&self, c: &[u32], row: usize, col: usize) -> f64 {
        let element = row * self.c_ld + col;
        match self.out {
            DType::Bf16 => f64::from(bf16::widen(bf16::half(c[element / 2], element as u32))),
            _ => f64::from(f32::from_bits(c[element])),
        }
    }

    /// The turns of the kernel's loops: the blocks, each by four codes at a time; then four rows of four columns, twice.
    fn turns(&self) -> u64 {
        let fours = self.format.block().min(self.k as u32).div_ceil(4);
        let blocks = self.format.blocks_per_row(self.k) as u64;
        looped(blocks, looped(fours.into(), 0)) + looped(4, 2 * looped(4, 0))
    }

    /// The same operation with a step's seed and number.
    fn at(&self, step: &StepValues) -> Self {
        Self {
            draw: Draw {
                seed: step.seed,
                step: step.number,
                ..self.draw
            },
            ..*self
        }
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
        let codes = self.format.codes_words_per_row(self.k) as u64;
        let exponents = self.format.exponent_words_per_row(self.k) as u64;
        let (m, n) = (self.m as u64, self.n as u64);
        vec![
            OperandSpec::read("a_codes", m * codes),
            OperandSpec::read("a_exponents", m * exponents),
            OperandSpec::read("b_codes", n * codes),
            OperandSpec::read("b_exponents", n * exponents),
            OperandSpec::write("c", words(self.out, self.m, self.n, self.c_ld)),
        ]
    }

    fn check(&self) -> Result<()> {
        float(OP, "c", self.out)?;
        extents(OP, &[("M", self.m), ("N", self.n), ("K", self.k)])?;
        crate::op::check_rounding(OP, self.rounding)?;
        check_ld(OP, "c", self.out, self.n, self.c_ld)
    }

    fn class(&self) -> Class {
        Class::Bounded
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

    fn variants(&self, _gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        vec!["tiles"]
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let codes = self.format.codes_words_per_row(self.k) as u64;
        let exponents = self.format.exponent_words_per_row(self.k) as u64;
        let c_ld = self.out.words(self.c_ld as u64);
        let pipeline = gpu.pipeline(&permutation(self.out, self.rounding, self.draw.generator))?;
        let operands = self.operands();
        let rows = if self.n == 0 { 0 } else { self.m as u64 };
        let mut steps = Vec::new();
        // Rows of B are C's columns: they are cut where they pass a binding, and what is left of the cap on work
        // is C's rows. Runs of both start at multiples of four.
        for cols in split_rows(gpu, self.n as u64, 1, codes * 4, 4) {
            let wide = cols.end - cols.start;
            if self.out == DType::Bf16 && cols.start % 2 == 1 {
                return Err(Error::Limit {
                    op: OP,
                    what: "bytes of four rows of B's codes",
                    value: 16 * codes,
                    limit: gpu.limits().max_storage_buffer_binding_size,
                });
            }
            for range in split_rows(gpu, rows, wide * self.k.max(1) as u64, codes.max(c_ld) * 4, 4) {
                let count = range.end - range.start;
                let base = range.start * self.n as u64 + cols.start;
                steps.push(Step {
                    pipeline: pipeline.clone(),
                    params: vec![
                        count as u32,
                        wide as u32,
                        self.k as u32,
                        self.format.block(),
                        self.format.bits(),
                        self.draw.stream,
                        codes as u32,
                        exponents as u32,
                        c_ld as u32,
                        base as u32,
                        (base >> 32) as u32,
                        0,
                        0,
                        0,
                        0,
                        0,
                        self.n as u32,
                        0,
                        0,
                        0,
                    ],
                    windows: vec![
                        Window::of(0, range.start * codes, count * codes, 11),
                        Window::of(1, range.start * exponents, count * exponents, 12),
                        Window::of(2, cols.start * codes, wide * codes, 13),
                        Window::of(3, cols.start * exponents, wide * exponents, 14),
                        Window::of(
                            4,
                            range.start * c_ld + self.out.words(cols.start),
                            words(self.out, count as usize, wide as usize, self.c_ld),
                            15,
                        ),
                    ],
                    groups: spread_groups(
                        gpu,
                        (count.div_ceil(4) * wide.div_ceil(4)).div_ceil(u64::from(GROUP)),
                    ),
                    work: count * wide * self.k.max(1) as u64,
                    turns: self.turns(),
                });
            }
        }
        Plan::from_steps(gpu, OP, variant, operands, steps, self.step_values())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [a, a_exponents, b, b_exponents, c] = args.take(self)?;
        let operands = [a.read(), a_exponents.read(), b.read(), b_exponents.read()];
        super::cpu::bfp_matmul(cpu, &op, operands, c.write())?;
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [a, a_exponents, b, b_exponents, c] = args.take(self)?;
        let operands = [a.read(), a_exponents.read(), b.read(), b_exponents.read()];
        super::reference::bfp_matmul(&op, operands, c.write());
        Ok(())
    }

    fn compare(&self, comparison: &Comparison<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        let (&[a, a_exponents, b, b_exponents, _], Some(&want), Some(&got)) =
            (comparison.before, comparison.want.get(4), comparison.got.get(4))
        else {
            return crate::op::contract::exact(&self.operands(), comparison);
        };
        verdict.bit_equal = want == got;
        let stored = match (self.out, self.rounding) {
            (DType::F32, _) => Stored::F32,
            (_, Rounding::Stochastic) => Stored::Bf16Stochastic,
            _ => Stored::Bf16Nearest,
        };
        for row in 0..self.m {
            for col in 0..self.n {
                let index = (row * self.n + col) as u64;
                let result = self.loaded(got, row, col);
                let Some(terms) = self.terms([a, a_exponents, b, b_exponents], row, col) else {
                    let ratio = if result.is_nan() { 0.0 } else { f64::INFINITY };
                    verdict.element("c", index, ratio, || {
                        ["NaN".into(), result.to_string(), "a block is marked NaN".into()]
                    });
                    continue;
                };
                let exact: f64 = terms.iter().sum();
                let bound = ErrorBound {
                    terms: terms.len() as u64,
                    alpha: 1.0,
                    products: terms.iter().map(|term| term.abs()).sum(),
                    subnormal_products: 0.0,
                    added: 0.0,
                    subnormal_added: 0.0,
                    stored,
                };
                let Some(ratio) = bound.ratio(exact, result, &comparison.arithmetic) else {
                    continue;
                };
                verdict.element("c", index, ratio, || {
                    [
                        exact.to_string(),
                        result.to_string(),
                        format!("that of {} blocks", terms.len()),
                    ]
                });
            }
        }
        verdict
    }
}

const GROUP: u32 = 64;

static KERNEL: Kernel = Kernel {
    name: "bfp_matmul",
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::BF16,
        shaders::ROUNDING,
        shaders::BLOCK,
        shaders::RANDOM,
        include_str!("../../../shaders/bfp/bfp_matmul.wgsl"),
    ],
    bindings: &[
        Binding::params(20),
        Binding::step(),
        Binding::read("a_codes"),
        Binding::read("a_exponents"),
        Binding::read("b_codes"),
        Binding::read("b_exponents"),
        Binding::write("c"),
    ],
};

fn permutation(out: DType, rounding: Rounding, generator: Generator) -> Permutation {
    Permutation::new(&KERNEL)
        .library(shaders::generator(generator))
        .constant("GROUP", GROUP)
        .constant("C_BF16", out == DType::Bf16)
        .constant("STOCHASTIC", rounding == Rounding::Stochastic)
}

pub(in crate::kernels) fn permutations() -> Vec<Permutation> {
    vec![
        permutation(DType::F32, Rounding::Nearest, Generator::Threefry),
        permutation(DType::Bf16, Rounding::Nearest, Generator::Threefry),
        permutation(DType::Bf16, Rounding::Stochastic, Generator::Threefry),
        permutation(DType::Bf16, Rounding::Stochastic, Generator::Philox),
    ]
}
