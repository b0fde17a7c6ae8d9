//! `convert`: f32 <-> packed bf16 (and f64 on the CPU device and the reference).
//!
//! | variant | when | why |
//! |---|---|---|
//! | vec4 | contiguous, 16-byte offsets | 16 bytes a step, one draw for eight roundings |
//! | word | any leading dimension, any offset | the only one for padded rows |

pub(crate) mod cases;
pub(crate) mod cpu;
mod device;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::rows::words;
use crate::op::{Args, Class, Op, Work};
use crate::shaders;
use crate::tensor::DType;

/// Converts `rows` rows of `cols` elements. Operands: `src`, `dst`.
///
/// Exact class. Rounding to nearest is to nearest even; stochastic rounding draws for the element's logical
/// row-major index (`row * cols + col`). f64 is known to the CPU device and the reference only; to bf16 it
/// rounds to nearest once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convert {
    /// Type of `src`: `F32`, `Bf16` or `F64`.
    pub from: DType,
    /// Type of `dst`, another of these.
    pub to: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `src` to the next: at least `cols`, even for bf16.
    pub src_ld: usize,
    /// Elements from one row of `dst` to the next: at least `cols`, even for bf16.
    pub dst_ld: usize,
    /// How values between two bf16 numbers are rounded.
    pub rounding: Rounding,
    /// Finite values past the largest finite bf16 become that, not Inf.
    pub saturate: bool,
    /// Where stochastic rounding draws from.
    pub draw: Draw,
}

impl Convert {
    /// `len` contiguous elements, to nearest.
    #[must_use]
    pub fn contiguous(from: DType, to: DType, len: usize) -> Self {
        Self {
            from,
            to,
            rows: 1,
            cols: len,
            src_ld: len.next_multiple_of(2),
            dst_ld: len.next_multiple_of(2),
            rounding: Rounding::Nearest,
            saturate: false,
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

    fn encodes(&self) -> bool {
        self.to == DType::Bf16
    }

    /// The length in elements if both sides are one contiguous run.
    fn run(&self) -> Option<u64> {
        let contiguous = self.rows <= 1 || (self.src_ld == self.cols && self.dst_ld == self.cols);
        contiguous.then_some(self.rows as u64 * self.cols as u64)
    }

    fn permutation(&self, vec4: bool) -> Permutation {
        permutation(
            vec4,
            self.encodes(),
            self.rounding,
            self.saturate,
            self.draw.generator,
        )
    }

    /// Turns of an invocation's loops. Word by word, eight columns of one row share two draws at most; vectors are
    /// written out, with one draw. Decoding has no loop.
    fn turns(&self, vec4: bool) -> u64 {
        let draw = match self.rounding {
            Rounding::Stochastic => shaders::draw_turns(self.draw.generator),
            _ => 0,
        };
        match (self.encodes(), vec4) {
            (true, true) => draw,
            (true, false) => 8 + 1 + 2 * draw,
            (false, _) => 0,
        }
    }

    fn dispatch(&self, gpu: &Gpu, rows: u64, cols: u64, first: [u64; 3]) -> Result<Step> {
        let [base, src, dst] = first;
        let (src_words, dst_words) = (
            words(self.from, rows as usize, cols as usize, self.src_ld),
            words(self.to, rows as usize, cols as usize, self.dst_ld),
        );
        let units = if self.encodes() {
            cols.div_ceil(8)
        } else {
            cols.div_ceil(2)
        };
        let ld = |dtype: DType, ld: usize| dtype.words(ld as u64) as u32;
        Ok(Step {
            pipeline: gpu.pipeline(&self.permutation(false))?,
            params: vec![
                rows as u32,
                cols as u32,
                ld(self.from, self.src_ld),
                ld(self.to, self.dst_ld),
                base as u32,
                (base >> 32) as u32,
                self.draw.stream,
                0,
                0,
                0,
                0,
                0,
            ],
            windows: vec![Window::of(0, src, src_words, 7), Window::of(1, dst, dst_words, 8)],
            groups: spread_groups(gpu, (rows * units).div_ceil(u64::from(GROUP))),
            work: src_words + dst_words,
            turns: self.turns(false),
        })
    }

    fn vec4_steps(&self, gpu: &Gpu, len: u64) -> Result<Vec<Step>> {
        let pipeline = gpu.pipeline(&self.permutation(true))?;
        let (src, dst) = (self.from.words(8), self.to.words(8));
        let mut steps = Vec::new();
        for range in split_rows(gpu, len / 8, src + dst, src.max(dst) * 4, u64::from(GROUP)) {
            let units = range.end - range.start;
            let base = range.start * 8;
            steps.push(Step {
                pipeline: pipeline.clone(),
                params: vec![
                    units as u32,
                    base as u32,
                    (base >> 32) as u32,
                    self.draw.stream,
                    0,
                    0,
                    0,
                    0,
                ],
                windows: vec![
                    Window::of(0, range.start * src, units * src, 4),
                    Window::of(1, range.start * dst, units * dst, 5),
                ],
                groups: spread_groups(gpu, units.div_ceil(u64::from(GROUP))),
                work: units * (src + dst),
                turns: self.turns(true),
            });
        }
        let tail = len % 8;
        if tail > 0 {
            let base = len - tail;
            steps.push(self.dispatch(gpu, 1, tail, [base, self.from.words(base), self.to.words(base)])?);
        }
        Ok(steps)
    }

    fn word_steps(&self, gpu: &Gpu) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        if let Some(len) = self.run() {
            // Runs may be longer than a binding: cut at multiples of eight, where draws begin anew.
            for range in split_rows(gpu, len.div_ceil(8), 12, 32, 1) {
                let (first, end) = (range.start * 8, (range.end * 8).min(len));
                let starts = [first, self.from.words(first), self.to.words(first)];
                steps.push(self.dispatch(gpu, 1, end - first, starts)?);
            }
            return Ok(steps);
        }
        let (src, dst) = (
            self.from.words(self.src_ld as u64),
            self.to.words(self.dst_ld as u64),
        );
        for range in split_rows(gpu, self.rows as u64, src + dst, src.max(dst) * 4, 1) {
            let starts = [
                range.start * self.cols as u64,
                range.start * src,
                range.start * dst,
            ];
            steps.push(self.dispatch(gpu, range.end - range.start, self.cols as u64, starts)?);
        }
        Ok(steps)
    }
}

impl Op for Convert {
    fn name(&self) -> &'static str {
        "convert"
    }

    fn describe(&self) -> String {
        let saturate = if self.saturate { " saturating" } else { "" };
        let generator = match (self.rounding, self.draw.generator) {
            (Rounding::Stochastic, Generator::Philox) => " philox",
            _ => "",
        };
        format!(
            "{}x{} {}->{} {}{generator}{saturate}",
            self.rows, self.cols, self.from, self.to, self.rounding
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("src", words(self.from, self.rows, self.cols, self.src_ld)),
            OperandSpec::write("dst", words(self.to, self.rows, self.cols, self.dst_ld)),
        ]
    }

    fn check(&self) -> Result<()> {
        const OP: &str = "convert";
        let expected = "f32, bf16 or f64, and not the same on both sides";
        for (operand, dtype) in [("src", self.from), ("dst", self.to)] {
            if !matches!(dtype, DType::F32 | DType::Bf16 | DType::F64) || self.from == self.to {
                return Err(Error::DType {
                    op: OP,
                    operand,
                    expected,
                    got: dtype,
                });
            }
        }
        for (operand, ld, dtype) in [("src", self.src_ld, self.from), ("dst", self.dst_ld, self.to)] {
            crate::op::check_ld(OP, operand, dtype, self.cols, ld)?;
        }
        for (what, value) in [("rows", self.rows), ("cols", self.cols)] {
            crate::op::check_limit(OP, what, value as u64, u64::from(u32::MAX) / 2)?;
        }
        if self.from == DType::F64 && self.rounding == Rounding::Stochastic && self.encodes() {
            let what = "stochastic rounding from f64".to_string();
            return Err(Error::Unsupported {
                op: OP,
                what,
                device: "any device",
            });
        }
        crate::op::check_rounding(OP, self.rounding)?;
        Ok(())
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn work(&self) -> Work {
        let elements = self.rows as f64 * self.cols as f64;
        let bytes = elements * f64::from(self.from.bits() + self.to.bits()) / 8.0;
        let int_ops = if self.encodes() {
            Work::rounding_ops(self.rounding, self.draw.generator)
        } else {
            0.0
        };
        Work {
            bf16: false,
            flops: 0.0,
            int_ops: elements * int_ops,
            bytes,
        }
    }

    fn step_values(&self) -> StepValues {
        StepValues::new(self.draw.seed, self.draw.step)
    }

    fn variants(&self, _gpu: &Gpu, offsets: Offsets) -> Vec<&'static str> {
        if self.run().is_some() && !offsets.any() {
            vec!["vec4", "word"]
        } else {
            vec!["word"]
        }
    }

    fn family(&self) -> String {
        let draw = match (self.encodes(), self.rounding) {
            (true, Rounding::Stochastic) => format!(" stochastic {:?}", self.draw.generator),
            _ => String::new(),
        };
        let len = crate::op::about(self.rows.saturating_mul(self.cols));
        format!("{} -> {}{draw} {len}", self.from, self.to)
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("convert", &[("src", self.from), ("dst", self.to)])
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let steps = match self.run() {
            _ if self.rows == 0 || self.cols == 0 => Vec::new(),
            Some(len) if variant == "vec4" => self.vec4_steps(gpu, len)?,
            _ => self.word_steps(gpu)?,
        };
        Plan::from_steps(
            gpu,
            "convert",
            variant,
            self.operands(),
            steps,
            self.step_values(),
        )
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, dst] = args.take(self)?;
        cpu::convert(cpu, &op, src.read(), dst.write());
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, dst] = args.take(self)?;
        reference::convert(&op, src.read(), dst.write());
        Ok(())
    }
}

impl Convert {
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

const GROUP: u32 = 64;

static WORD: Kernel = Kernel {
    name: "convert",
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::BF16,
        shaders::RANDOM,
        include_str!("../../../shaders/convert/convert.wgsl"),
    ],
    bindings: BINDINGS_WORD,
};

static VEC4: Kernel = Kernel {
    name: "convert_vec4",
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::BF16,
        shaders::RANDOM,
        include_str!("../../../shaders/convert/convert_vec4.wgsl"),
    ],
    bindings: &[
        Binding::params(8),
        Binding::step(),
        Binding::read("src").vec4(),
        Binding::write("dst").vec4(),
    ],
};

const BINDINGS_WORD: &[Binding] = &[
    Binding::params(12),
    Binding::step(),
    Binding::read("src"),
    Binding::write("dst"),
];

fn permutation(
    vec4: bool,
    encodes: bool,
    rounding: Rounding,
    saturate: bool,
    generator: Generator,
) -> Permutation {
    Permutation::new(if vec4 { &VEC4 } else { &WORD })
        .entry(if encodes { "encode" } else { "decode" })
        .library(shaders::generator(generator))
        .constant("GROUP", GROUP)
        .constant("STOCHASTIC", encodes && rounding == Rounding::Stochastic)
        .constant("SATURATE", encodes && saturate)
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for vec4 in [false, true] {
        all.push(permutation(
            vec4,
            false,
            Rounding::Nearest,
            false,
            Generator::Threefry,
        ));
        for saturate in [false, true] {
            all.push(permutation(
                vec4,
                true,
                Rounding::Nearest,
                saturate,
                Generator::Threefry,
            ));
            for generator in [Generator::Threefry, Generator::Philox] {
                all.push(permutation(vec4, true, Rounding::Stochastic, saturate, generator));
            }
        }
    }
    all
}
