//! `spmm`: a sparse matrix in compressed sparse rows times a dense row-major matrix.
//!
//! | variant | when it is preferred | why |
//! |---|---|---|
//! | `cached` | more than 64 columns on hardware | a workgroup reads its row's entries once, side by side |
//! | `lanes` | the rest | no barrier; several rows share a workgroup |
//!
//! Each loads 16 bytes of B at a time, and stores as many, where rows are multiples of 16 bytes.

pub(crate) mod cases;
mod cpu;
mod device;
mod reference;

use super::spmv::{check_csr, compare};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::contract::Stored;
use crate::op::rows::{self, words};
use crate::op::{Args, Class, Comparison, Op, Verdict, Work, check_ld};
use crate::shaders;
use crate::tensor::DType;
use crate::tensor::element::load;
use std::ops::Range;

const OP: &str = "spmm";

/// `C = A B`, A with `rows` x `cols` elements of which `nnz` are stored, B `[cols, n]` and C `[rows, n]` dense and
/// row-major. Operands: `row_ptr`, `col_idx`, `values`, `b`, `c`.
///
/// Bounded class with K the length of A's row; sums are f32, and a bf16 C is rounded to nearest. Bit-equal where all
/// inputs are small integers. Of A what [`Spmv`](super::Spmv) says holds: any order, duplicates add up, what is not
/// stored contributes nothing, and the entries must form a valid CSR matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spmm {
    /// Rows of A and C.
    pub rows: usize,
    /// Columns of A, rows of B.
    pub cols: usize,
    /// Stored entries of A.
    pub nnz: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Type of the column indices: `U32`, or packed `U16` for at most 65,536 columns.
    pub index: DType,
    /// Type of the values: `F32` or packed `Bf16`.
    pub values: DType,
    /// Type of B: `F32` or packed `Bf16`.
    pub b: DType,
    /// Elements from one row of B to the next: at least `n`, even for bf16.
    pub b_ld: usize,
    /// Type of C: `F32` or packed `Bf16`.
    pub c: DType,
    /// Elements from one row of C to the next: at least `n`, even for bf16.
    pub c_ld: usize,
    /// Entries of A's longest row, where known, never fewer: a GPU walks rows of more than so many entries in parts
    /// ([`Gpu::turn_cap`]). Without it any row is taken to hold all entries.
    pub longest_row: Option<usize>,
}

impl Spmm {
    /// The column of an entry.
    pub(crate) fn column(&self, col_idx: &[u32], entry: usize) -> usize {
        match self.index {
            DType::U16 => ((col_idx[entry / 2] >> (16 * (entry % 2))) & 0xffff) as usize,
            _ => col_idx[entry] as usize,
        }
    }

    fn steps(&self, gpu: &Gpu, cached: bool, offsets: Offsets) -> Result<Vec<Step>> {
        let (b_ld, c_ld) = (self.b.words(self.b_ld as u64), self.c.words(self.c_ld as u64));
        let form = Form {
            cached,
            across: across(self.n),
            b_vec4: !offsets.any() && b_ld.is_multiple_of(4),
            // A row's last vector must end where the row does: padding is not written.
            c_vec4: !offsets.any() && c_ld.is_multiple_of(4) && self.n.is_multiple_of(8),
            types: [self.index, self.values, self.b, self.c],
        };
        let pipeline = gpu.pipeline(&form.permutation())?;
        // A window may start up to one alignment before its first word, and vectors reach past its last.
        let binding = gpu.limits().max_storage_buffer_binding_size.saturating_sub(512);
        let too_long = |what, value: u64| Error::Limit {
            op: OP,
            what,
            value,
            limit: gpu.limits().max_storage_buffer_binding_size,
        };
        let (n, nnz, cols) = (self.n as u64, self.nnz as u64, self.cols as u64);
        let b_rows = binding / (4 * b_ld.max(1));
        if b_rows == 0 {
            return Err(too_long("bytes of a row of B", 4 * b_ld));
        }
        // Even, so that windows of 16-bit entries begin on whole words.
        let entries_fit = binding / 4 / 2 * 2;
        // Columns may stand in a row more than once: it may hold more entries than A has columns.
        let longest = self.longest_row.map_or(nnz, |longest| nnz.min(longest as u64));
        let part = form.most_entries(gpu.turn_cap());
        let parts = |entries: &Range<u64>| ranges(longest.min(entries.end - entries.start), part);
        let windows: Vec<_> = ranges(nnz, entries_fit)
            .flat_map(|entries| ranges(cols, b_rows).map(move |b| (entries.clone(), b)))
            .flat_map(|(entries, b)| parts(&entries).map(move |part| (entries.clone(), b.clone(), part)))
            .collect();
        let widest = 4 * if windows.len() > 1 { c_ld.max(n) } else { c_ld };
        if widest > binding {
            return Err(too_long("bytes of a row of C", widest));
        }
        let mean = nnz.div_ceil((self.rows as u64).max(1)) + 1;
        let rows_per_group = if cached { 1 } else { u64::from(GROUP / form.across) };
        let tiles = n.div_ceil(8 * u64::from(form.across));
        let mut steps = Vec::new();
        for range in split_rows(gpu, self.rows as u64, mean * n, widest, rows_per_group) {
            let rows = range.end - range.start;
            for (i, (entries, b, part)) in windows.iter().enumerate() {
                let (first, last) = (i == 0, i + 1 == windows.len());
                let count = entries.end - entries.start;
                // The last part takes what is left, and so all of a row that is longer than was said.
                let take = match part.end == longest.min(count) {
                    true => u32::MAX.into(),
                    false => part.end - part.start,
                };
                let entry = |operand: usize, dtype: DType, param: usize| {
                    Window::of(operand, dtype.words(entries.start), dtype.words(count), param)
                };
                let b_words = words(self.b, (b.end - b.start) as usize, self.n, self.b_ld);
                steps.push(Step {
                    pipeline: pipeline.clone(),
                    params: [
                        rows,
                        n,
                        b_ld,
                        c_ld,
                        entries.start,
                        count,
                        b.start,
                        b.end - b.start,
                        u64::from(first) * FIRST + u64::from(last) * LAST,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        part.start,
                        take,
                        0,
                        0,
                        0,
                    ]
                    .map(|value| value as u32)
                    .to_vec(),
                    windows: vec![
                        Window::of(0, range.start, rows + 1, 9),
                        Window::of(3, b.start * b_ld, b_words, 12),
                        Window::of(
                            4,
                            range.start * c_ld,
                            words(self.c, rows as usize, self.n, self.c_ld),
                            13,
                        ),
                        entry(1, self.index, 10),
                        entry(2, self.values, 11),
                        if first && last {
                            Window::empty()
                        } else {
                            Window::scratch(0, rows * n, 14)
                        },
                    ],
                    groups: spread_groups(gpu, rows.div_ceil(rows_per_group) * tiles),
                    work: rows * mean * n,
                    turns: form.turns(part.end - part.start),
                });
            }
        }
        Ok(steps)
    }
}

/// `0..of` in runs of at most `part`; one empty run of nothing.
fn ranges(of: u64, part: u64) -> impl Iterator<Item = Range<u64>> + Clone {
    let nothing = (of == 0).then_some(0..0);
    rows::cut(0..of, part).chain(nothing)
}

impl Op for Spmm {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self {
            rows,
            cols,
            nnz,
            n,
            index,
            values,
            b,
            c,
            ..
        } = self;
        format!("{rows}x{cols} nnz {nnz} {values}+{index} x {cols}x{n} {b} -> {c}")
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let nnz = self.nnz as u64;
        vec![
            OperandSpec::read("row_ptr", self.rows as u64 + 1),
            OperandSpec::read("col_idx", self.index.words(nnz)),
            OperandSpec::read("values", self.values.words(nnz)),
            OperandSpec::read("b", words(self.b, self.cols, self.n, self.b_ld)),
            OperandSpec::write("c", words(self.c, self.rows, self.n, self.c_ld)),
        ]
    }

    fn check(&self) -> Result<()> {
        let sizes = [
            ("rows", self.rows),
            ("columns", self.cols),
            ("entries", self.nnz),
            ("N", self.n),
        ];
        let types = [self.index, self.values];
        check_csr(OP, &sizes, types, self.cols, &[("b", self.b), ("c", self.c)])?;
        check_ld(OP, "b", self.b, self.n, self.b_ld)?;
        check_ld(OP, "c", self.c, self.n, self.c_ld)
    }

    fn class(&self) -> Class {
        Class::Bounded
    }

    fn work(&self) -> Work {
        let words = |operand: &OperandSpec| operand.words as f64;
        let operands = self.operands();
        let all: f64 = operands.iter().map(words).sum();
        // Few entries name few rows of b: the others need not be read.
        let unread = 1.0 - self.nnz.min(self.cols) as f64 / self.cols.max(1) as f64;
        Work {
            flops: 2.0 * self.nnz as f64 * self.n as f64,
            bytes: 4.0 * (all - unread * words(&operands[3])),
            ..Work::default()
        }
    }

    fn variants(&self, gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        if gpu.is_software() || self.n <= 64 {
            vec!["lanes", "cached"]
        } else {
            vec!["cached", "lanes"]
        }
    }

    fn family(&self) -> String {
        let [rows, cols, nnz, n] = [self.rows, self.cols, self.nnz, self.n].map(crate::op::about);
        let Self {
            values, index, b, c, ..
        } = self;
        format!("{rows}x{cols} nnz {nnz} N {n} {values}+{index} x {b} -> {c}")
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, offsets: Offsets) -> Result<Plan> {
        let steps = match self.rows * self.n {
            0 => Vec::new(),
            _ => self.steps(gpu, variant == "cached", offsets)?,
        };
        Plan::from_steps(gpu, OP, variant, self.operands(), steps, StepValues::default())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, b, c] = args.take(self)?;
        let words = [row_ptr.read(), col_idx.read(), values.read(), b.read()];
        cpu::spmm(cpu, self, words, c.write())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, b, c] = args.take(self)?;
        reference::spmm(
            self,
            row_ptr.read(),
            col_idx.read(),
            values.read(),
            b.read(),
            c.write(),
        );
        Ok(())
    }

    fn compare(&self, comparison: &Comparison<'_>) -> Verdict {
        let (&[row_ptr, col_idx, values, b, _], Some(&want), Some(&got)) =
            (comparison.before, comparison.want.get(4), comparison.got.get(4))
        else {
            return crate::op::contract::exact(&self.operands(), comparison);
        };
        let stored = match self.c {
            DType::Bf16 => Stored::Bf16Nearest,
            _ => Stored::F32,
        };
        let product = compare::Product {
            row_ptr,
            entry: &|at| (self.column(col_idx, at), load(self.values, values, at)),
            b: (self.b, b, self.cols, self.b_ld),
            n: self.n,
            c: (self.c, "c", self.c_ld, stored),
        };
        compare::compare(&product, want, got, comparison)
    }
}

/// Lanes of a workgroup of the `lanes` variant.
const GROUP: u32 = 64;
/// Turns of the loop over a lane's columns in `emit`.
const EMIT: u64 = 8 + 1;
const FIRST: u64 = 1;
const LAST: u64 = 2;

/// Lanes side by side along N, eight columns each: a power of two, at most a workgroup.
fn across(n: usize) -> u32 {
    n.div_ceil(8).clamp(1, GROUP as usize).next_power_of_two() as u32
}

macro_rules! bindings {
    ($b:expr, $c:expr) => {
        &[
            Binding::params(20),
            Binding::read("row_ptr"),
            $b,
            $c,
            Binding::read("col_idx"),
            Binding::read("values"),
            Binding::write("partials"),
        ]
    };
}

macro_rules! kernel {
    ($name:expr, $file:literal, $b:expr, $c:expr) => {
        Kernel {
            name: $name,
            sources: &[
                shaders::INDEX,
                shaders::BF16,
                shaders::CSR,
                include_str!("../../../shaders/spmm/spmm_common.wgsl"),
                include_str!($file),
            ],
            bindings: bindings!($b, $c),
        }
    };
}

/// The kernels of one shader file by how B is read and C is written: word by word, or vectors of four.
macro_rules! kernels {
    ($name:literal, $file:literal) => {
        [
            [
                kernel!($name, $file, Binding::read("src"), Binding::write("dst")),
                kernel!(
                    concat!($name, "[c vec4]"),
                    $file,
                    Binding::read("src"),
                    Binding::write("dst").vec4()
                ),
            ],
            [
                kernel!(
                    concat!($name, "[b vec4]"),
                    $file,
                    Binding::read("src").vec4(),
                    Binding::write("dst")
                ),
                kernel!(
                    concat!($name, "[vec4]"),
                    $file,
                    Binding::read("src").vec4(),
                    Binding::write("dst").vec4()
                ),
            ],
        ]
    };
}

static LANES: [[Kernel; 2]; 2] = kernels!("spmm", "../../../shaders/spmm/spmm.wgsl");
static CACHED: [[Kernel; 2]; 2] = kernels!("spmm_cached", "../../../shaders/spmm/spmm_cached.wgsl");

#[derive(Clone, Copy, Debug)]
struct Form {
    cached: bool,
    across: u32,
    b_vec4: bool,
    c_vec4: bool,
    /// Of indices, values, B and C.
    types: [DType; 4],
}

impl Form {
    /// Turns of an invocation that takes so many of its row's entries: they, and the eight columns that `emit` adds to
    /// those before. spmm_cached.wgsl walks them in loops of ACROSS at a time, which end with a turn each.
    fn turns(self, entries: u64) -> u64 {
        let runs = match self.cached {
            true => 2 * entries.div_ceil(self.across.into()),
            false => 0,
        };
        entries + runs + 1 + EMIT
    }

    /// The most entries of a row that stay under a cap on turns; at least one.
    fn most_entries(self, cap: u64) -> u64 {
        let left = cap.saturating_sub(1 + EMIT);
        if !self.cached {
            return left.max(1);
        }
        let across = u64::from(self.across);
        let (runs, rest) = (left / (across + 2), left % (across + 2));
        (runs * across + rest.saturating_sub(2)).max(1)
    }

    fn permutation(self) -> Permutation {
        let kernels = if self.cached { &CACHED } else { &LANES };
        let (b, c) = (usize::from(self.b_vec4), usize::from(self.c_vec4));
        let [index, values, b_type, c_type] = self.types;
        let permutation = Permutation::new(&kernels[b][c])
            .library(shaders::SRC[b])
            .library(shaders::DST[c])
            .constant("INDEX_U16", index == DType::U16)
            .constant("VALUES_BF16", values == DType::Bf16)
            .constant("B_BF16", b_type == DType::Bf16)
            .constant("C_BF16", c_type == DType::Bf16)
            .constant("ACROSS", self.across);
        if self.cached {
            permutation
        } else {
            permutation.constant("GROUP", GROUP)
        }
    }
}

pub(super) fn permutations() -> Vec<Permutation> {
    let both = [false, true];
    let float = [DType::F32, DType::Bf16];
    let mut all = Vec::new();
    for cached in both {
        for across in [1, 4, 32, 64] {
            for (b_vec4, c_vec4) in both.into_iter().flat_map(|b| both.map(|c| (b, c))) {
                for (b, c) in float.into_iter().flat_map(|b| float.map(|c| (b, c))) {
                    for (index, values) in [(DType::U32, DType::F32), (DType::U16, DType::Bf16)] {
                        let types = [index, values, b, c];
                        let form = Form {
                            cached,
                            across,
                            b_vec4,
                            c_vec4,
                            types,
                        };
                        all.push(form.permutation());
                    }
                }
            }
        }
    }
    all
}
