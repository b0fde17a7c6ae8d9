//! `bfp`: block floating point, blocks along the columns that share one exponent.
//!
//! | variant | when | why |
//! |---|---|---|
//! | `shared` | encoding rows of 256 columns or more on hardware | one pass; codes meet in workgroup memory, so that lanes read and write side by side |
//! | `runs` | encoding, the rest | 32 columns are whole words: no two invocations share one, no barrier |
//! | `quads` | decoding, everywhere | 16 bytes of output per invocation |
//! | `tiles` | products, everywhere | 4 x 4 outputs per invocation, no barrier |

pub(crate) mod cases;
mod cpu;
mod device;
mod product;
mod reference;

pub use product::BfpMatmul;
pub(in crate::kernels) use product::permutations as product_permutations;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::block::BfpFormat;
use crate::format::random::{Draw, Generator};
use crate::gpu::looped;
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::rows::words;
use crate::op::{Args, Class, Op, Work, check_ld, check_limit};
use crate::shaders;
use crate::tensor::DType;

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
        StepValues::new(self.draw.seed, self.draw.step)
    }

    fn variants(&self, gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        // A group takes 512 columns of one row: lanes past its end idle.
        let mut variants = if gpu.is_software() || self.cols < 256 {
            vec!["runs", "shared"]
        } else {
            vec!["shared", "runs"]
        };
        // A cap on turns below what is usual leaves no room for the longest blocks.
        variants.retain(|variant| *variant != "runs" || self.turns("exponents_of") <= gpu.turn_cap());
        variants
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, offsets: Offsets) -> Result<Plan> {
        let (codes, exponents) = (
            self.format.codes_words_per_row(self.cols) as u64,
            self.format.exponent_words_per_row(self.cols) as u64,
        );
        let src = self.from.words(self.src_ld as u64);
        let vec4 = !offsets.any() && src.is_multiple_of(4);
        let permutations: Vec<_> = if variant == "shared" {
            vec![shared_permutation(
                vec4,
                self.from,
                self.rounding,
                self.draw.generator,
            )]
        } else {
            ["exponents_of", "codes_of"]
                .map(|entry| encode_permutation(entry, self.from, self.rounding, self.draw.generator))
                .to_vec()
        };
        let mut steps = Vec::new();
        let rows = if self.cols == 0 { 0 } else { self.rows as u64 };
        for range in split_rows(gpu, rows, self.cols as u64 * 2, src.max(codes) * 4, 1) {
            let count = range.end - range.start;
            let base = range.start * self.cols as u64;
            for permutation in &permutations {
                let lanes = u64::from(GROUP);
                let groups = match permutation.entry {
                    "exponents_of" => (count * exponents).div_ceil(lanes),
                    "codes_of" => (count * (self.cols as u64).div_ceil(32)).div_ceil(lanes),
                    _ => count * (self.cols as u64).div_ceil(512),
                };
                steps.push(Step {
                    pipeline: gpu.pipeline(permutation)?,
                    params: vec![
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
                    ],
                    windows: vec![
                        Window::of(
                            0,
                            range.start * src,
                            words(self.from, count as usize, self.cols, self.src_ld),
                            11,
                        ),
                        Window::of(1, range.start * codes, count * codes, 12),
                        Window::of(2, range.start * exponents, count * exponents, 13),
                    ],
                    groups: spread_groups(gpu, groups),
                    work: count * self.cols as u64,
                    turns: self.turns(permutation.entry),
                });
            }
        }
        Plan::from_steps(
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
        cpu::bfp_encode(cpu, &op, src.read(), codes.write(), exponents.write());
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
    /// The turns of the loops of one entry point.
    fn turns(&self, entry: &str) -> u64 {
        let (block, cols) = (u64::from(self.format.block()), self.cols as u64);
        match entry {
            // Four blocks and their columns, as far as there are any.
            "exponents_of" => looped(4, 1) + (4 * block).min(cols),
            // A column a turn.
            "codes_of" => looped(32, 0),
            // Eight columns for the largest and for the codes; the lanes of a block; the words of all codes.
            _ => {
                let words = (16 * u64::from(self.format.bits())).div_ceil(u64::from(GROUP));
                2 * looped(8, 0) + looped(block / 8, 0) + looped(words, 0)
            }
        }
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

    fn variants(&self, _gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        vec!["quads"]
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, offsets: Offsets) -> Result<Plan> {
        let (codes, exponents) = (
            self.format.codes_words_per_row(self.cols) as u64,
            self.format.exponent_words_per_row(self.cols) as u64,
        );
        let dst = self.to.words(self.dst_ld as u64);
        let width = decode_width(self.to);
        // A row's last vector must end where the row does: padding is not written.
        let vec4 = !offsets.any() && dst.is_multiple_of(4) && self.cols.is_multiple_of(width as usize);
        let pipeline = gpu.pipeline(&decode_permutation(vec4, self.to))?;
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
                    (count * (self.cols as u64).div_ceil(u64::from(width))).div_ceil(u64::from(GROUP)),
                ),
                work: count * self.cols as u64,
                turns: 0,
            });
        }
        Plan::from_steps(
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
        cpu::bfp_decode(cpu, self, codes.read(), exponents.read(), dst.write());
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
        include_str!("../../../shaders/bfp/bfp_encode.wgsl"),
    ],
    bindings: &[
        Binding::params(16),
        Binding::step(),
        Binding::read("src"),
        Binding::write("codes"),
        Binding::write("exponents"),
    ],
};

const SHARED_SOURCES: &[&str] = &[
    shaders::INDEX,
    shaders::STEP,
    shaders::ROUNDING,
    shaders::BLOCK,
    shaders::RANDOM,
    include_str!("../../../shaders/bfp/bfp_encode_shared.wgsl"),
];

const fn shared_bindings(src: Binding) -> [Binding; 5] {
    [
        Binding::params(16),
        Binding::step(),
        src,
        Binding::write("codes"),
        Binding::write("exponents"),
    ]
}

/// With single words and with vectors of four.
static SHARED: [Kernel; 2] = [
    Kernel {
        name: "bfp_encode_shared[word]",
        sources: SHARED_SOURCES,
        bindings: &shared_bindings(Binding::read("src")),
    },
    Kernel {
        name: "bfp_encode_shared[vec4]",
        sources: SHARED_SOURCES,
        bindings: &shared_bindings(Binding::read("src").vec4()),
    },
];

const DECODE_SOURCES: &[&str] = &[
    shaders::INDEX,
    shaders::BF16,
    shaders::ROUNDING,
    shaders::BLOCK,
    include_str!("../../../shaders/bfp/bfp_decode.wgsl"),
];

const fn decode_bindings(dst: Binding) -> [Binding; 4] {
    [
        Binding::params(12),
        Binding::read("codes"),
        Binding::read("exponents"),
        dst,
    ]
}

static DECODE: [Kernel; 2] = [
    Kernel {
        name: "bfp_decode[word]",
        sources: DECODE_SOURCES,
        bindings: &decode_bindings(Binding::write("dst")),
    },
    Kernel {
        name: "bfp_decode[vec4]",
        sources: DECODE_SOURCES,
        bindings: &decode_bindings(Binding::write("dst").vec4()),
    },
];

fn shared_permutation(vec4: bool, from: DType, rounding: Rounding, generator: Generator) -> Permutation {
    Permutation::new(&SHARED[usize::from(vec4)])
        .library(shaders::generator(generator))
        .library(shaders::SRC[usize::from(vec4)])
        .constant("SRC_BF16", from == DType::Bf16)
        .constant("STOCHASTIC", rounding == Rounding::Stochastic)
}

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

/// Columns in four words of output.
fn decode_width(to: DType) -> u32 {
    128 / to.bits()
}

fn decode_permutation(vec4: bool, to: DType) -> Permutation {
    Permutation::new(&DECODE[usize::from(vec4)])
        .library(shaders::DST[usize::from(vec4)])
        .constant("GROUP", GROUP)
        .constant("DST_BF16", to == DType::Bf16)
        .constant("WIDTH", decode_width(to))
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let roundings = [
        (Rounding::Nearest, Generator::Threefry),
        (Rounding::Stochastic, Generator::Threefry),
        (Rounding::Stochastic, Generator::Philox),
    ];
    for dtype in [DType::F32, DType::Bf16] {
        for vec4 in [false, true] {
            all.push(decode_permutation(vec4, dtype));
        }
        for (rounding, generator) in roundings {
            for entry in ["exponents_of", "codes_of"] {
                all.push(encode_permutation(entry, dtype, rounding, generator));
            }
            for vec4 in [false, true] {
                all.push(shared_permutation(vec4, dtype, rounding, generator));
            }
        }
    }
    all
}
