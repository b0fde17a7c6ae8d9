//! `column_sums`: the gradient of a bias, the sum over the rows.
//!
//! | variant | when | why |
//! |---|---|---|
//! | tree | GPUs | eight invocations share the rows of two columns: enough of them for narrow matrices |
//! | columns | preferred on software adapters | no barrier, which costs them several times the sum |

pub(crate) mod cases;
mod cpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::bf16;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::contract::{ErrorBound, Stored, is_subnormal};
use crate::op::{Args, Class, Comparison, Op, Verdict, Work, rows};
use crate::shaders;
use crate::tensor::DType;
use crate::tensor::element::{load, load_bits};

/// `y[j] = sum over i of x[i, j]`. Operands: `x` (rows x cols), `y` (cols).
///
/// Bounded class with K = rows products (each with a factor of exactly 1) and no alpha, beta or bias. The order
/// of the sum is fixed per device and variant. Stochastic rounding draws for index `j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnSums {
    /// Type of `x`: `F32`, `Bf16`, or `F64` (then `to` is, too).
    pub from: DType,
    /// Type of `y`: `F32`, `Bf16` or `F64`.
    pub to: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `x` to the next: at least `cols`, even for bf16.
    pub x_ld: usize,
    /// How the f32 sum is rounded to bf16.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from.
    pub draw: Draw,
}

const OP: &str = "column_sums";

impl ColumnSums {
    /// Sums to the nearest.
    #[must_use]
    pub fn new(from: DType, to: DType, rows: usize, cols: usize, x_ld: usize) -> Self {
        Self {
            from,
            to,
            rows,
            cols,
            x_ld,
            rounding: Rounding::Nearest,
            draw: Draw::default(),
        }
    }

    fn at(&self, step: &StepValues) -> Self {
        let (seed, step) = (step.seed, step.number);
        let draw = Draw {
            seed,
            step,
            ..self.draw
        };
        Self { draw, ..*self }
    }

    /// Turns of an invocation's loops: over its share of the rows, over the sums of the other lanes, and in the draws
    /// of the two roundings.
    fn turns(&self, rows: u64, tree: bool) -> u64 {
        let lanes = lanes(tree);
        let draws = match (self.to, self.rounding) {
            (DType::Bf16, Rounding::Stochastic) => 2 * shaders::draw_turns(self.draw.generator),
            _ => 0,
        };
        rows.div_ceil(lanes) + 1 + if tree { lanes } else { 0 } + draws
    }

    /// The most rows that one dispatch may sum.
    fn most_rows(&self, gpu: &Gpu, tree: bool) -> u64 {
        let left = gpu.turn_cap().saturating_sub(self.turns(0, tree));
        left.max(1).saturating_mul(lanes(tree))
    }

    fn steps(&self, gpu: &Gpu, tree: bool) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        if self.cols == 0 {
            return Ok(steps);
        }
        let pipeline = gpu.pipeline(&permutation(self, tree))?;
        let ld = self.from.words(self.x_ld as u64);
        // Rows are cut where the matrix is larger than a binding, or two columns of it larger than a cap.
        let most = self.most_rows(gpu, tree);
        let mut row_ranges: Vec<_> = split_rows(gpu, self.rows as u64, 2, ld * 4, 1)
            .into_iter()
            .flat_map(|range| rows::cut(range, most))
            .collect();
        if row_ranges.is_empty() {
            // No rows at all: the sums are zero, and one dispatch must say so.
            row_ranges.push(0..0);
        }
        let count = row_ranges.len();
        for (i, range) in row_ranges.into_iter().enumerate() {
            let rows = range.end - range.start;
            let pairs = (self.cols as u64).div_ceil(2);
            for pairs in split_rows(gpu, pairs, rows * 2, 8, 1) {
                let (first, end) = (pairs.start * 2, (pairs.end * 2).min(self.cols as u64));
                let cols = end - first;
                let words = match rows {
                    0 => 0,
                    _ => (rows - 1) * ld + self.from.words(cols),
                };
                let finish = i + 1 == count;
                let accumulate = i > 0;
                let x = match words {
                    0 => Window::empty(),
                    _ => Window::of(0, range.start * ld + self.from.words(first), words, 7),
                };
                let partial = match count {
                    1 => Window::empty(),
                    _ => Window::scratch(first, cols, 8),
                };
                let y = match finish {
                    true => Window::of(1, self.to.words(first), self.to.words(cols), 9),
                    false => Window::empty(),
                };
                steps.push(Step {
                    pipeline: pipeline.clone(),
                    params: vec![
                        rows as u32,
                        cols as u32,
                        ld as u32,
                        first as u32,
                        accumulate.into(),
                        finish.into(),
                        self.draw.stream,
                        0,
                        0,
                        0,
                        0,
                        0,
                    ],
                    windows: vec![x, partial, y],
                    groups: spread_groups(gpu, cols.div_ceil(2).div_ceil(u64::from(PAIRS))),
                    work: rows.max(1) * cols,
                    turns: self.turns(rows, tree),
                });
            }
        }
        Ok(steps)
    }
}

impl Op for ColumnSums {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let rounding = match self.to {
            DType::Bf16 => format!(" {}", self.rounding),
            _ => String::new(),
        };
        format!("{}x{} {}->{}{rounding}", self.rows, self.cols, self.from, self.to)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", rows::words(self.from, self.rows, self.cols, self.x_ld)),
            OperandSpec::write("y", self.to.words(self.cols as u64)),
        ]
    }

    fn check(&self) -> Result<()> {
        let types = [DType::F32, DType::Bf16, DType::F64];
        let operands = [
            ("x", self.from, self.x_ld),
            ("y", self.to, self.cols.next_multiple_of(2)),
        ];
        let expected = "f32, bf16, or f64 on both sides";
        rows::check(OP, self.rows, self.cols, &types, expected, &operands)?;
        rows::check_f64_alone(OP, &operands)?;
        crate::op::check_rounding(OP, self.rounding)
    }

    fn class(&self) -> Class {
        Class::Bounded
    }

    fn work(&self) -> Work {
        let (elements, cols) = (self.rows as f64 * self.cols as f64, self.cols as f64);
        Work {
            bf16: false,
            flops: elements,
            int_ops: 0.0,
            bytes: (elements * f64::from(self.from.bits()) + cols * f64::from(self.to.bits())) / 8.0,
        }
    }

    fn step_values(&self) -> StepValues {
        StepValues::new(self.draw.seed, self.draw.step)
    }

    fn variants(&self, gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        if self.from == DType::F64 {
            Vec::new()
        } else if gpu.is_software() {
            vec!["columns", "tree"]
        } else {
            vec!["tree", "columns"]
        }
    }

    fn family(&self) -> String {
        let [rows, cols] = [self.rows, self.cols].map(crate::op::about);
        format!("{} -> {} {rows}x{cols}", self.from, self.to)
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("x", self.from), ("y", self.to)])
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let steps = self.steps(gpu, variant == "tree")?;
        Plan::from_steps(gpu, OP, variant, self.operands(), steps, self.step_values())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [x, y] = args.take(self)?;
        cpu::column_sums(cpu, &op, x.read(), y.write())?;
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [x, y] = args.take(self)?;
        reference::column_sums(&op, x.read(), y.write());
        Ok(())
    }

    fn compare(&self, comparison: &Comparison<'_>) -> Verdict {
        let op = self.at(&comparison.step);
        let mut verdict = Verdict::default();
        let (x, want, got) = (comparison.before[0], comparison.want[1], comparison.got[1]);
        verdict.bit_equal = want == got;
        let stored = match (self.to, self.rounding) {
            (DType::F64, _) => Stored::F64,
            (DType::F32, _) => Stored::F32,
            (_, Rounding::Stochastic) => Stored::Bf16Stochastic,
            _ => Stored::Bf16Nearest,
        };
        for col in 0..self.cols {
            let column = (0..self.rows).map(|row| load(self.from, x, row * self.x_ld + col));
            let (mut exact, mut products, mut subnormal, mut integers) = (0.0, 0.0, 0.0, true);
            for value in column {
                exact += value;
                products += value.abs();
                integers &= value.fract() == 0.0;
                if is_subnormal(value) {
                    subnormal += value.abs();
                }
            }
            let value = load(self.to, got, col);
            if integers && products <= 16_777_216.0 && self.to != DType::F64 {
                // Every partial sum in every order is a whole number below 2^24: nothing is left free.
                let bits = (exact as f32).to_bits();
                let expected = match self.to {
                    DType::F32 => bits,
                    _ => u32::from(bf16::encode(bits, self.rounding, op.draw.bits(col as u64), false)) << 16,
                };
                let found = load_bits(self.to, got, col);
                let zeros = (found | expected) & 0x7fff_ffff == 0;
                let ratio = if found == expected || zeros {
                    0.0
                } else {
                    f64::INFINITY
                };
                verdict.element("y", col as u64, ratio, || {
                    [exact.to_string(), value.to_string(), "exact (integers)".into()]
                });
                continue;
            }
            let bound = ErrorBound {
                terms: self.rows as u64,
                alpha: 1.0,
                products,
                subnormal_products: subnormal,
                added: 0.0,
                subnormal_added: 0.0,
                stored,
            };
            match bound.ratio(exact, value, &comparison.arithmetic) {
                Some(ratio) => verdict.element("y", col as u64, ratio, || {
                    [exact.to_string(), value.to_string(), format!("{bound:?}")]
                }),
                // IEEE devices owe a NaN where the exact sum is one.
                None if comparison.arithmetic.ieee && exact.is_nan() && !value.is_nan() => {
                    rows::fail(&mut verdict, "y", col, "NaN", load_bits(self.to, got, col));
                }
                None => {}
            }
        }
        if self.to == DType::Bf16 && self.cols % 2 == 1 && got[self.cols / 2] >> 16 != 0 {
            rows::fail(
                &mut verdict,
                "y",
                self.cols / 2,
                "a zero high half",
                got[self.cols / 2],
            );
        }
        verdict
    }
}

const PAIRS: u32 = 32;
const LANES: u32 = 8;

/// Invocations that share the rows of two columns.
fn lanes(tree: bool) -> u64 {
    if tree { LANES.into() } else { 1 }
}

static KERNEL: Kernel = Kernel {
    name: "column_sums",
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::BF16,
        shaders::RANDOM,
        include_str!("../../../shaders/column_sums/column_sums.wgsl"),
    ],
    bindings: &[
        Binding::params(12),
        Binding::step(),
        Binding::read("x"),
        Binding::write("partial"),
        Binding::write("y"),
    ],
};

fn permutation(op: &ColumnSums, tree: bool) -> Permutation {
    let half = op.to == DType::Bf16;
    Permutation::new(&KERNEL)
        .library(shaders::generator(op.draw.generator))
        .constant("PAIRS", PAIRS)
        .constant("LANES", lanes(tree) as u32)
        .constant("X_HALF", op.from == DType::Bf16)
        .constant("Y_HALF", half)
        .constant("STOCHASTIC", half && op.rounding == Rounding::Stochastic)
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for tree in [false, true] {
        for from in [DType::F32, DType::Bf16] {
            let sums = ColumnSums::new(from, DType::F32, 1, 1, 2);
            all.push(permutation(&sums, tree));
            let sums = ColumnSums {
                to: DType::Bf16,
                ..sums
            };
            all.push(permutation(&sums, tree));
            for generator in [Generator::Threefry, Generator::Philox] {
                let draw = Draw {
                    generator,
                    ..Draw::default()
                };
                let sums = ColumnSums {
                    rounding: Rounding::Stochastic,
                    draw,
                    ..sums
                };
                all.push(permutation(&sums, tree));
            }
        }
    }
    all
}
