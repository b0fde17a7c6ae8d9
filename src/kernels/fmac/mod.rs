//! `fmac`: one fused multiply-accumulate step per element, in bf16.
//!
//! | variant | when | why |
//! |---|---|---|
//! | float | where [`probe_float_fmac`] found f32 additions here to round to nearest | the f32 unit adds |
//! | integer | everywhere; the only one on a GPU not probed | WGSL lets an addition round either way |
//!
//! Both give the reference's bits for every operand. The float variant itself takes the integer step wherever
//! an operand is NaN, Inf, or so large or small that a step could overflow or be flushed (factors outside
//! [2^-51, 2^60), accumulators outside [2^-102, 2^126), zeros aside): see `shaders/lib/fmac.wgsl`.

pub(crate) mod cases;
mod cpu;
mod device;
mod integer;
mod product;
mod reference;

pub use integer::{fmac_product_bits, fmac_sum_bits};
pub use product::FmacMatmul;
pub(in crate::kernels) use product::permutations as product_permutations;
pub use reference::{fmac_round, fmac_sum};

use crate::cpu::Cpu;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::{Args, Class, Op, Work};
use crate::shaders;
use crate::tensor::DType;

mod probe;

pub use probe::probe_float_fmac;
#[cfg(not(target_arch = "wasm32"))]
pub use probe::probe_float_fmac_blocking;

/// `a <- round_bf16(a + x * y)` over `rows` rows of `cols` elements. Operands: `x`, `y`, `a` (updated).
///
/// Exact class: the sum is rounded to nearest in f32 and then to bf16. Stochastic rounding draws for the
/// element's logical row-major index (`row * cols + col`). Results of magnitude 0 are +0, every NaN is
/// 0x7fc0.
///
/// On a GPU the fast variant, `float`, serves only where its f32 addition has been found to round as the reference's.
/// Planning submits nothing and so does not find out: without a call of [`probe_float_fmac`] first, once per GPU, every
/// plan takes the variant `integer`, which is right everywhere and slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        let draw = Draw {
            seed: step.seed,
            step: step.number,
            ..self.draw
        };
        Self { draw, ..*self }
    }

    /// The length in elements if every operand is one contiguous run.
    fn run(&self) -> Option<u64> {
        let contiguous = [self.x_ld, self.y_ld, self.a_ld] == [self.cols; 3];
        (self.rows <= 1 || contiguous).then_some(self.rows as u64 * self.cols as u64)
    }

    /// `vec4` asks for operands at multiples of 16 bytes.
    fn dispatch(
        &self,
        gpu: &Gpu,
        [integer, vec4]: [bool; 2],
        [rows, cols]: [u64; 2],
        start: [u64; 4],
    ) -> Result<Step> {
        let [base, x, y, a] = start;
        let words = |ld: usize| span(rows, cols, ld);
        let permutation = permutation(vec4, integer, self.rounding, self.draw.generator);
        Ok(Step {
            pipeline: gpu.pipeline(&permutation)?,
            params: vec![
                rows as u32,
                cols as u32,
                (self.x_ld / 2) as u32,
                (self.y_ld / 2) as u32,
                (self.a_ld / 2) as u32,
                base as u32,
                (base >> 32) as u32,
                self.draw.stream,
                0,
                0,
                0,
                0,
            ],
            windows: vec![
                Window::of(0, x, words(self.x_ld), 8),
                Window::of(1, y, words(self.y_ld), 9),
                Window::of(2, a, words(self.a_ld), 10),
            ],
            groups: spread_groups(gpu, (rows * cols.div_ceil(8)).div_ceil(u64::from(GROUP))),
            work: rows * cols * 2,
            // No loops.
            turns: 0,
        })
    }

    fn steps(&self, gpu: &Gpu, integer: bool, offsets: Offsets) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        let lds = [self.x_ld as u64, self.y_ld as u64, self.a_ld as u64];
        if let Some(len) = self.run() {
            // Runs may be longer than a binding: cut at multiples of eight, where draws begin anew.
            for range in split_rows(gpu, len.div_ceil(8), 16, 16, 1) {
                let (first, end) = (range.start * 8, (range.end * 8).min(len));
                // What is left of the last eight goes word by word.
                let whole = if offsets.any() { first } else { end / 8 * 8 };
                for (first, end, vec4) in [(first, whole, true), (whole, end, false)] {
                    if first < end {
                        let start = [first, first / 2, first / 2, first / 2];
                        steps.push(self.dispatch(gpu, [integer, vec4], [1, end - first], start)?);
                    }
                }
            }
            return Ok(steps);
        }
        let vec4 = !offsets.any() && self.cols.is_multiple_of(8) && lds.iter().all(|ld| ld.is_multiple_of(8));
        let widest = lds.into_iter().max().unwrap_or(0) * 2;
        for range in split_rows(gpu, self.rows as u64, self.cols as u64 * 2, widest, 1) {
            let [x, y, a] = lds.map(|ld| range.start * ld / 2);
            let start = [range.start * self.cols as u64, x, y, a];
            let extents = [range.end - range.start, self.cols as u64];
            steps.push(self.dispatch(gpu, [integer, vec4], extents, start)?);
        }
        Ok(steps)
    }
}

impl Op for Fmac {
    fn name(&self) -> &'static str {
        "fmac"
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
        let words = |ld: usize| span(self.rows as u64, self.cols as u64, ld);
        vec![
            OperandSpec::read("x", words(self.x_ld)),
            OperandSpec::read("y", words(self.y_ld)),
            OperandSpec::update("a", words(self.a_ld)),
        ]
    }

    fn check(&self) -> Result<()> {
        const OP: &str = "fmac";
        for (operand, ld) in [("x", self.x_ld), ("y", self.y_ld), ("a", self.a_ld)] {
            crate::op::check_ld(OP, operand, DType::Bf16, self.cols, ld)?;
        }
        for (what, value) in [("rows", self.rows), ("cols", self.cols)] {
            crate::op::check_limit(OP, what, value as u64, u64::from(u32::MAX) / 2)?;
        }
        crate::op::check_rounding(OP, self.rounding)
    }

    fn class(&self) -> Class {
        Class::Exact
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

    fn variants(&self, gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        variants(gpu)
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, offsets: Offsets) -> Result<Plan> {
        let steps = match self.rows * self.cols {
            0 => Vec::new(),
            _ => self.steps(gpu, variant == "integer", offsets)?,
        };
        Plan::from_steps(gpu, "fmac", variant, self.operands(), steps, self.step_values())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [x, y, a] = args.take(self)?;
        cpu::fmac(cpu, &op, x.read(), y.read(), a.write());
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [x, y, a] = args.take(self)?;
        reference::fmac(&op, x.read(), y.read(), a.write());
        Ok(())
    }
}

/// Words of rows of packed bf16.
pub(super) fn span(rows: u64, cols: u64, ld: usize) -> u64 {
    if rows == 0 || cols == 0 {
        return 0;
    }
    (rows - 1) * (ld as u64 / 2) + cols.div_ceil(2)
}

pub(super) fn variants(gpu: &Gpu) -> Vec<&'static str> {
    match gpu.float_fmac_exact() {
        Some(true) => vec!["float", "integer"],
        Some(false) | None => vec!["integer"],
    }
}

pub(super) fn rounding_words(rounding: Rounding, generator: Generator) -> &'static str {
    match (rounding, generator) {
        (Rounding::Stochastic, Generator::Philox) => "stochastic philox",
        (Rounding::Stochastic, Generator::Threefry) => "stochastic threefry",
        _ => "nearest",
    }
}

const GROUP: u32 = 64;

macro_rules! kernel {
    ($name:literal, $load:literal, $x:expr, $y:expr, $a:expr) => {
        Kernel {
            name: $name,
            sources: &[
                shaders::INDEX,
                shaders::STEP,
                shaders::RANDOM,
                shaders::FMAC,
                include_str!($load),
                include_str!("../../../shaders/fmac/fmac.wgsl"),
            ],
            bindings: &[Binding::params(12), Binding::step(), $x, $y, $a],
        }
    };
}

/// With single words and with vectors of four.
static KERNELS: [Kernel; 2] = [
    kernel!(
        "fmac[word]",
        "../../../shaders/fmac/fmac_load_word.wgsl",
        Binding::read("x"),
        Binding::read("y"),
        Binding::write("a")
    ),
    kernel!(
        "fmac[vec4]",
        "../../../shaders/fmac/fmac_load_vec4.wgsl",
        Binding::read("x").vec4(),
        Binding::read("y").vec4(),
        Binding::write("a").vec4()
    ),
];

fn permutation(vec4: bool, integer: bool, rounding: Rounding, generator: Generator) -> Permutation {
    Permutation::new(&KERNELS[usize::from(vec4)])
        .library(shaders::generator(generator))
        .constant("GROUP", GROUP)
        .constant("INTEGER", integer)
        .constant("STOCHASTIC", rounding == Rounding::Stochastic)
}

/// Each rounding with the generators it may draw from.
pub(super) const ROUNDINGS: [(Rounding, Generator); 3] = [
    (Rounding::Nearest, Generator::Threefry),
    (Rounding::Stochastic, Generator::Threefry),
    (Rounding::Stochastic, Generator::Philox),
];

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for (rounding, generator) in ROUNDINGS {
        for vec4 in [false, true] {
            all.extend([false, true].map(|integer| permutation(vec4, integer, rounding, generator)));
        }
    }
    all
}
