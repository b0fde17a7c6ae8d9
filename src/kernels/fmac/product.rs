//! `fmac_matmul`: a matrix product whose accumulator is bf16.
//!
//! Variants as in [`Fmac`](super::Fmac): "float" where [`probe_float_fmac`](super::probe_float_fmac) found
//! the GPU's f32 additions, and their order inside a chunk, to be the reference's; "integer" everywhere. Where an
//! invocation's loops would pass the cap on turns, K is cut over dispatches, which changes no bit: accumulators go
//! from one to the next as they are.

use std::ops::Range;

use super::{ROUNDINGS, rounding_words, span, variants};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Turns, looped};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::check_rounding;
use crate::op::{Args, Class, Op, Work};
use crate::shaders;
use crate::tensor::DType;

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
/// The variant `float` serves only after [`probe_float_fmac`](super::probe_float_fmac), as for [`Fmac`](super::Fmac).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        let draw = Draw {
            seed: step.seed,
            step: step.number,
            ..self.draw
        };
        Self { draw, ..*self }
    }

    fn permutation(&self, integer: bool) -> Permutation {
        permutation(Switches {
            integer,
            rounding: self.rounding,
            generator: self.draw.generator,
            chunked: self.chunk > 1,
            trans_a: self.trans_a,
            trans_b: self.trans_b,
            add_c: self.add_c,
        })
    }

    /// The turns of the kernel's loops: for eight k the step itself, the steps that end a chunk, and four rows of eight
    /// steps in integers; at the end the rows.
    fn turns(&self) -> Turns {
        let ends = if self.chunk > 1 { looped(8, 0) } else { 0 };
        Turns {
            fixed: 1 + looped(u64::from(ROWS), 0),
            per_slab: 1 + ends + looped(u64::from(ROWS), looped(8, 0)),
            slab: 8,
        }
    }

    /// One dispatch.
    fn dispatch(&self, gpu: &Gpu, integer: bool, part: &Part) -> Result<Step> {
        let (m, n, k) = (self.m as u64, self.n as u64, self.k as u64);
        let Part {
            first,
            products,
            first_row,
            rows,
            ks,
        } = part;
        let (first, products, first_row, rows) = (*first, *products, *first_row, *rows);
        let depth = ks.end - ks.start;
        let [a_ld, b_ld, c_ld] = [self.a_ld, self.b_ld, self.c_ld].map(|ld| ld as u64 / 2);
        let (a_rows, _) = self.a_shape();
        let (b_rows, _) = self.b_shape();
        let (a_batch, b_batch, c_batch) = (a_rows * a_ld, b_rows * b_ld, m * c_ld);
        // Pieces of K start at multiples of eight: at whole words where K lies along rows.
        let (a_first, a_words) = if self.trans_a {
            let start = first * a_batch + ks.start * a_ld + first_row / 2;
            (start, span((products - 1) * k + depth, rows, self.a_ld))
        } else {
            let start = first * a_batch + first_row * a_ld + ks.start / 2;
            (start, span((products - 1) * m + rows, depth, self.a_ld))
        };
        let (b_first, b_words) = if self.trans_b {
            let start = first * b_batch + ks.start / 2;
            (start, span(products * n, depth, self.b_ld))
        } else {
            let start = first * b_batch + ks.start * b_ld;
            (start, span((products - 1) * k + depth, n, self.b_ld))
        };
        let base = (first * m + first_row) * n;
        let (starts, ends) = (ks.start == 0, ks.end == k);
        Ok(Step {
            pipeline: gpu.pipeline(&self.permutation(integer))?,
            params: vec![
                products as u32,
                rows as u32,
                n as u32,
                depth as u32,
                a_ld as u32,
                b_ld as u32,
                c_ld as u32,
                self.chunk.min(u32::MAX as usize) as u32,
                a_batch as u32,
                b_batch as u32,
                c_batch as u32,
                m as u32,
                base as u32,
                (base >> 32) as u32,
                self.draw.stream,
                0,
                0,
                0,
                0,
                ks.start as u32,
                if starts { FIRST } else { 0 } | if ends { LAST } else { 0 },
                0,
                0,
                0,
            ],
            windows: vec![
                Window::of(0, a_first, a_words, 15),
                Window::of(1, b_first, b_words, 16),
                Window::of(
                    2,
                    first * c_batch + first_row * c_ld,
                    span((products - 1) * m + rows, n, self.c_ld),
                    17,
                ),
                if starts && ends {
                    Window::empty()
                } else {
                    Window::scratch(0, tiles(products, rows, n) * TILE_WORDS, 18)
                },
            ],
            groups: spread_groups(gpu, tiles(products, rows, n).div_ceil(u64::from(GROUP))),
            work: products * rows * n * (depth + 1),
            turns: self.turns().of(depth),
        })
    }

    fn steps(&self, gpu: &Gpu, integer: bool) -> Result<Vec<Step>> {
        let (batch, m, n, k) = (self.batch as u64, self.m as u64, self.n as u64, self.k as u64);
        let depth = k.min(self.turns().deepest(OP, gpu)?);
        let work_per_row = n * (depth + 1);
        let bytes = |rows: u64, ld: usize| rows * ld as u64 * 2;
        let (a_bytes, b_bytes) = (
            bytes(self.a_shape().0, self.a_ld),
            bytes(self.b_shape().0, self.b_ld),
        );
        // Where K is cut, what lies between dispatches must fit a binding too.
        let sums = |rows: u64| match depth < k {
            true => tiles(1, rows, n) * TILE_WORDS * 4,
            false => 0,
        };
        let widest = a_bytes.max(b_bytes).max(bytes(m, self.c_ld)).max(sums(m));
        let mut parts = Vec::new();
        let whole = split_rows(gpu, 1, 1, widest, 1).len() == 1
            && m * work_per_row <= gpu.work_cap()
            && widest + 512 <= gpu.limits().max_storage_buffer_binding_size;
        if whole {
            for range in split_rows(gpu, batch, m * work_per_row, widest, 1) {
                parts.push((range.start, range.end - range.start, 0, m));
            }
        } else {
            // A transposed A is seen whole by every run of rows.
            let a_row = if self.trans_a { 0 } else { self.a_ld };
            let pair_bytes = (2 * bytes(1, a_row.max(self.c_ld))).max(sums(2));
            for product in 0..batch {
                // In pairs of rows: a column of a transposed A is half a word.
                let pairs = m.div_ceil(2);
                for range in split_rows(gpu, pairs, 2 * work_per_row, pair_bytes, u64::from(ROWS / 2)) {
                    let (first, end) = (range.start * 2, (range.end * 2).min(m));
                    parts.push((product, 1, first, end - first));
                }
            }
        }
        let mut steps = Vec::new();
        for (first, products, first_row, rows) in parts {
            // K = 0 still writes C.
            for piece in 0..k.div_ceil(depth.max(1)).max(1) {
                let ks = piece * depth..((piece + 1) * depth).min(k);
                let part = Part {
                    first,
                    products,
                    first_row,
                    rows,
                    ks,
                };
                steps.push(self.dispatch(gpu, integer, &part)?);
            }
        }
        Ok(steps)
    }
}

/// What one dispatch does.
struct Part {
    /// The first product, and how many.
    first: u64,
    products: u64,
    /// The first row, and how many: all of them unless `products` is 1.
    first_row: u64,
    rows: u64,
    /// The steps of each sum: from one multiple of eight to another, or to the end.
    ks: Range<u64>,
}

fn tiles(products: u64, rows: u64, n: u64) -> u64 {
    products * rows.div_ceil(u64::from(ROWS)) * n.div_ceil(u64::from(COLS))
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
        let batch = self.batch as u64;
        let ((a_rows, a_cols), (b_rows, b_cols)) = (self.a_shape(), self.b_shape());
        let c = span(batch * self.m as u64, self.n as u64, self.c_ld);
        vec![
            OperandSpec::read("a", span(batch * a_rows, a_cols, self.a_ld)),
            OperandSpec::read("b", span(batch * b_rows, b_cols, self.b_ld)),
            match self.add_c {
                true => OperandSpec::update("c", c),
                false => OperandSpec::write("c", c),
            },
        ]
    }

    fn check(&self) -> Result<()> {
        const EXTENT: u64 = u32::MAX as u64 / 2;
        for (what, value) in [("batch", self.batch), ("m", self.m), ("n", self.n), ("k", self.k)] {
            crate::op::check_limit(OP, what, value as u64, EXTENT)?;
        }
        for (operand, cols, ld) in [
            ("a", self.a_shape().1, self.a_ld),
            ("b", self.b_shape().1, self.b_ld),
            ("c", self.n as u64, self.c_ld),
        ] {
            crate::op::check_ld(OP, operand, DType::Bf16, cols as usize, ld)?;
            crate::op::check_limit(OP, "leading dimension", ld as u64, EXTENT)?;
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
            crate::op::check_limit(OP, "outputs", outputs.unwrap_or(u64::MAX), 1 << 40)?;
            crate::op::check_limit(OP, "step number", self.draw.step.into(), (1 << 24) - 1)?;
        }
        Ok(())
    }

    fn class(&self) -> Class {
        Class::Exact
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

    fn variants(&self, gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        variants(gpu)
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let steps = match self.empty() {
            true => Vec::new(),
            false => self.steps(gpu, variant == "integer")?,
        };
        let operands = self.operands();
        Plan::from_steps(gpu, OP, variant, operands, steps, self.step_values())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        op.check()?;
        let [a, b, c] = args.take(self)?;
        super::cpu::fmac_matmul(cpu, &op, a.read(), b.read(), c.write())?;
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        op.check()?;
        let [a, b, c] = args.take(self)?;
        super::reference::fmac_matmul(&op, a.read(), b.read(), c.write());
        Ok(())
    }
}

const FIRST: u32 = 1;
const LAST: u32 = 2;
const GROUP: u32 = 64;
/// Outputs of one invocation: rows and columns (fixed in the shader).
const ROWS: u32 = 4;
const COLS: u32 = 4;
/// Words that carry an invocation's sums from one dispatch to the next.
const TILE_WORDS: u64 = 16;

static KERNEL: Kernel = Kernel {
    name: "fmac_matmul",
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::RANDOM,
        shaders::FMAC,
        include_str!("../../../shaders/fmac/fmac_matmul.wgsl"),
    ],
    bindings: &[
        Binding::params(24),
        Binding::step(),
        Binding::read("a"),
        Binding::read("b"),
        Binding::write("c"),
        Binding::write("sums"),
    ],
};

#[derive(Clone, Copy)]
struct Switches {
    integer: bool,
    rounding: Rounding,
    generator: Generator,
    chunked: bool,
    trans_a: bool,
    trans_b: bool,
    add_c: bool,
}

fn permutation(switches: Switches) -> Permutation {
    Permutation::new(&KERNEL)
        .library(shaders::generator(switches.generator))
        .constant("GROUP", GROUP)
        .constant("INTEGER", switches.integer)
        .constant("STOCHASTIC", switches.rounding == Rounding::Stochastic)
        .constant("CHUNKED", switches.chunked)
        .constant("TRANS_A", switches.trans_a)
        .constant("TRANS_B", switches.trans_b)
        .constant("ADD_C", switches.add_c)
}

pub(in crate::kernels) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for (rounding, generator) in ROUNDINGS {
        for bits in 0..32 {
            let bit = |i: u32| (bits >> i) & 1 == 1;
            all.push(permutation(Switches {
                integer: bit(0),
                rounding,
                generator,
                chunked: bit(1),
                trans_a: bit(2),
                trans_b: bit(3),
                add_c: bit(4),
            }));
        }
    }
    all
}
