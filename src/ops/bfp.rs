//! `bfp`: block floating point, blocks along the columns that share one exponent.
//!
//! | variant | when | why |
//! |---|---|---|
//! | `runs` | encoding and decoding, everywhere | 32 columns are whole words: no two invocations share one |
//! | `tiles` | products, everywhere | 4 x 4 outputs per invocation, no barrier |

use super::rows::words;
use super::{Args, Class, Op, Work, check_ld, check_limit};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::block::BfpFormat;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Binding, Gpu, Kernel, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::tensor::DType;
use crate::{reference, shaders};

/// Encodes f32 or packed bf16 into block floating point. Operands: `src`, `codes`, `exponents`
/// ([`Layout::Bfp`](crate::tensor::Layout)).
///
/// Exact class. Each block of `format.block()` columns (fewer at a row's end) shares the exponent of its
/// largest magnitude; codes saturate; a block with NaN or Inf is marked and decodes to NaN. Stochastic rounding
/// draws for the element's logical index `row * cols + col`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BfpEncode {
    /// Block size and bits per code.
    pub format: BfpFormat,
    /// Type of `src`: `F32` or `Bf16`.
    pub from: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `src` to the next: at least `cols`, even for bf16.
    pub src_ld: usize,
    /// How codes are rounded.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from.
    pub draw: Draw,
}

/// Decodes block floating point to f32 (exactly) or packed bf16 (to nearest). Operands: `codes`, `exponents`,
/// `dst`. Exact class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BfpDecode {
    /// Block size and bits per code.
    pub format: BfpFormat,
    /// Type of `dst`: `F32` or `Bf16`.
    pub to: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `dst` to the next: at least `cols`, even for bf16.
    pub dst_ld: usize,
}

pub(super) fn float(op: &'static str, operand: &'static str, got: DType) -> Result<()> {
    match got {
        DType::F32 | DType::Bf16 => Ok(()),
        got => Err(Error::DType {
            op,
            operand,
            expected: "f32 or bf16",
            got,
        }),
    }
}

pub(super) fn extents(op: &'static str, extents: &[(&'static str, usize)]) -> Result<()> {
    extents
        .iter()
        .try_for_each(|(what, value)| check_limit(op, what, *value as u64, u64::from(u32::MAX) / 64))
}

pub(super) fn describe(format: BfpFormat) -> String {
    format!("m {} block {}", format.bits(), format.block())
}

impl Op for BfpEncode {
    fn name(&self) -> &'static str {
        "bfp_encode"
    }

    fn describe(&self) -> String {
        format!(
            "{}x{} {} {} {}",
            self.rows,
            self.cols,
            self.from,
            describe(self.format),
            self.rounding
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let rows = self.rows as u64;
        vec![
            OperandSpec::read("src", words(self.from, self.rows, self.cols, self.src_ld)),
            OperandSpec::write("codes", rows * self.format.codes_words_per_row(self.cols) as u64),
            OperandSpec::write(
                "exponents",
                rows * self.format.exponent_words_per_row(self.cols) as u64,
            ),
        ]
    }

    fn check(&self) -> Result<()> {
        float("bfp_encode", "src", self.from)?;
        extents("bfp_encode", &[("rows", self.rows), ("cols", self.cols)])?;
        check_ld("bfp_encode", "src", self.from, self.cols, self.src_ld)
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn work(&self) -> Work {
        let total: u64 = self.operands().iter().map(|operand| operand.words).sum();
        let elements = self.rows as f64 * self.cols as f64;
        let int_ops = elements * Work::rounding_ops(self.rounding, self.draw.generator);
        Work {
            int_ops,
            bytes: total as f64 * 4.0,
            ..Work::default()
        }
    }

    fn step_values(&self) -> StepValues {
        StepValues {
            seed: self.draw.seed,
            number: self.draw.step,
            ..StepValues::default()
        }
    }

    fn variants(&self, _gpu: &Gpu, _any_offset: bool) -> Vec<&'static str> {
        vec!["runs"]
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _any_offset: bool) -> Result<Plan> {
        let permutation = |entry| encode_permutation(entry, self.from, self.rounding, self.draw.generator);
        let (codes, exponents) = (
            self.format.codes_words_per_row(self.cols) as u64,
            self.format.exponent_words_per_row(self.cols) as u64,
        );
        let src = self.from.words(self.src_ld as u64);
        let mut steps = Vec::new();
        let rows = if self.cols == 0 { 0 } else { self.rows as u64 };
        for range in split_rows(gpu, rows, self.cols as u64 * 2, src.max(codes) * 4, 1) {
            let count = range.end - range.start;
            let base = range.start * self.cols as u64;
            let params = vec![
                count as u32,
                self.cols as u32,
                self.format.block(),
                self.format.bits(),
                self.rounding.code(),
                self.draw.stream,
                src as u32,
                codes as u32,
                exponents as u32,
                base as u32,
                (base >> 32) as u32,
                0,
                0,
                0,
                0,
                0,
            ];
            let windows = vec![
                Window::of(
                    0,
                    range.start * src,
                    words(self.from, count as usize, self.cols, self.src_ld),
                    11,
                ),
                Window::of(1, range.start * codes, count * codes, 12),
                Window::of(2, range.start * exponents, count * exponents, 13),
            ];
            let runs = (self.cols as u64).div_ceil(32);
            for (entry, units) in [("exponents_of", count * exponents), ("codes_of", count * runs)] {
                steps.push(Step {
                    pipeline: gpu.pipeline(&permutation(entry))?,
                    params: params.clone(),
                    windows: windows.clone(),
                    groups: spread_groups(gpu, units.div_ceil(u64::from(GROUP))),
                    work: count * self.cols as u64,
                });
            }
        }
        Plan::new(
            gpu,
            "bfp_encode",
            variant,
            self.operands(),
            steps,
            self.step_values(),
        )
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, codes, exponents] = args.take(self)?;
        crate::cpu::bfp_encode(cpu, &op, src.read(), codes.write(), exponents.write());
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [src, codes, exponents] = args.take(self)?;
        reference::bfp_encode(&op, src.read(), codes.write(), exponents.write());
        Ok(())
    }
}

impl BfpEncode {
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

impl Op for BfpDecode {
    fn name(&self) -> &'static str {
        "bfp_decode"
    }

    fn describe(&self) -> String {
        format!(
            "{}x{} {} -> {}",
            self.rows,
            self.cols,
            describe(self.format),
            self.to
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let rows = self.rows as u64;
        vec![
            OperandSpec::read("codes", rows * self.format.codes_words_per_row(self.cols) as u64),
            OperandSpec::read(
                "exponents",
                rows * self.format.exponent_words_per_row(self.cols) as u64,
            ),
            OperandSpec::write("dst", words(self.to, self.rows, self.cols, self.dst_ld)),
        ]
    }

    fn check(&self) -> Result<()> {
        float("bfp_decode", "dst", self.to)?;
        extents("bfp_decode", &[("rows", self.rows), ("cols", self.cols)])?;
        check_ld("bfp_decode", "dst", self.to, self.cols, self.dst_ld)
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn work(&self) -> Work {
        let total: u64 = self.operands().iter().map(|operand| operand.words).sum();
        Work {
            int_ops: self.rows as f64 * self.cols as f64,
            bytes: total as f64 * 4.0,
            ..Work::default()
        }
    }

    fn variants(&self, _gpu: &Gpu, _any_offset: bool) -> Vec<&'static str> {
        vec!["runs"]
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _any_offset: bool) -> Result<Plan> {
        let (codes, exponents) = (
            self.format.codes_words_per_row(self.cols) as u64,
            self.format.exponent_words_per_row(self.cols) as u64,
        );
        let dst = self.to.words(self.dst_ld as u64);
        let pipeline = gpu.pipeline(&decode_permutation(self.to))?;
        let rows = if self.cols == 0 { 0 } else { self.rows as u64 };
        let mut steps = Vec::new();
        for range in split_rows(gpu, rows, self.cols as u64, dst.max(codes) * 4, 1) {
            let count = range.end - range.start;
            steps.push(Step {
                pipeline: pipeline.clone(),
                params: vec![
                    count as u32,
                    self.cols as u32,
                    self.format.block(),
                    self.format.bits(),
                    dst as u32,
                    codes as u32,
                    exponents as u32,
                    0,
                    0,
                    0,
                    0,
                    0,
                ],
                windows: vec![
                    Window::of(0, range.start * codes, count * codes, 7),
                    Window::of(1, range.start * exponents, count * exponents, 8),
                    Window::of(
                        2,
                        range.start * dst,
                        words(self.to, count as usize, self.cols, self.dst_ld),
                        9,
                    ),
                ],
                groups: spread_groups(
                    gpu,
                    (count * (self.cols as u64).div_ceil(2)).div_ceil(u64::from(GROUP)),
                ),
                work: count * self.cols as u64,
            });
        }
        Plan::new(
            gpu,
            "bfp_decode",
            variant,
            self.operands(),
            steps,
            StepValues::default(),
        )
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [codes, exponents, dst] = args.take(self)?;
        crate::cpu::bfp_decode(cpu, self, codes.read(), exponents.read(), dst.write());
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [codes, exponents, dst] = args.take(self)?;
        reference::bfp_decode(self, codes.read(), exponents.read(), dst.write());
        Ok(())
    }
}

const GROUP: u32 = 64;

static ENCODE: Kernel = Kernel {
    name: "bfp_encode",
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::ROUNDING,
        shaders::BLOCK,
        shaders::RANDOM,
        include_str!("../../shaders/bfp_encode.wgsl"),
    ],
    bindings: &[
        Binding::params(16),
        Binding::step(),
        Binding::read("src"),
        Binding::write("codes"),
        Binding::write("exponents"),
    ],
};

static DECODE: Kernel = Kernel {
    name: "bfp_decode",
    sources: &[
        shaders::INDEX,
        shaders::BF16,
        shaders::ROUNDING,
        shaders::BLOCK,
        include_str!("../../shaders/bfp_decode.wgsl"),
    ],
    bindings: &[
        Binding::params(12),
        Binding::read("codes"),
        Binding::read("exponents"),
        Binding::write("dst"),
    ],
};

fn encode_permutation(
    entry: &'static str,
    from: DType,
    rounding: Rounding,
    generator: Generator,
) -> Permutation {
    Permutation::new(&ENCODE)
        .entry(entry)
        .library(shaders::generator(generator))
        .constant("GROUP", GROUP)
        .constant("SRC_BF16", from == DType::Bf16)
        .constant("STOCHASTIC", rounding == Rounding::Stochastic)
}

fn decode_permutation(to: DType) -> Permutation {
    Permutation::new(&DECODE)
        .constant("GROUP", GROUP)
        .constant("DST_BF16", to == DType::Bf16)
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::Bf16] {
        all.push(decode_permutation(dtype));
        for entry in ["exponents_of", "codes_of"] {
            all.push(encode_permutation(
                entry,
                dtype,
                Rounding::Nearest,
                Generator::Threefry,
            ));
            for generator in [Generator::Threefry, Generator::Philox] {
                all.push(encode_permutation(entry, dtype, Rounding::Stochastic, generator));
            }
        }
    }
    all
}
