//! `spmv`: a sparse matrix in compressed sparse rows times a dense vector.
//!
//! | variant | when it is preferred | why |
//! |---|---|---|
//! | `merge` | a row is known to be far longer than the mean, or the entries pass one binding | equal shares of rows and entries per workgroup, whatever the rows (Merrill and Garland, SC16); a second dispatch adds the carries |
//! | `merge_scalar` | the same on software adapters | equal shares per invocation, no barrier |
//! | `scalar` | software adapters, or fewer than 8 entries per row on average | no barrier, no idle lanes |
//! | `vector` | the rest | 32 lanes per row read its entries side by side |

pub(crate) mod cases;
pub(crate) mod cpu;
mod device;
mod reference;

pub(super) mod compare;
mod merge;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::op::contract::Stored;
use crate::op::{Args, Class, Comparison, Op, Verdict, Work, check_limit};
use crate::shaders;
use crate::tensor::DType;
use crate::tensor::element::load;

const OP: &str = "spmv";

/// `y = A x`, A with `rows` x `cols` elements of which `nnz` are stored, y in f32. Operands: `row_ptr`,
/// `col_idx`, `values`, `x`, `y`.
///
/// Bounded class with K the length of the row; bit-equal where all inputs are small integers. Columns of a row
/// may stand in any order, duplicates add up, and an entry that is not stored contributes nothing even where x
/// is infinite. The order of a row's sum is fixed by the variant. The entries must form a valid CSR matrix
/// ([`Csr`](crate::tensor::Csr) is one by construction): a GPU does not check them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spmv {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Stored entries.
    pub nnz: usize,
    /// Type of the column indices: `U32`, or packed `U16` for at most 65,536 columns.
    pub index: DType,
    /// Type of the values: `F32` or packed `Bf16`.
    pub values: DType,
    /// Type of x: `F32` or packed `Bf16`.
    pub x: DType,
    /// Entries of the longest row, where known ([`RowStats::max`](crate::tensor::RowStats)), never fewer: it decides
    /// between kernels, and which of them may walk a whole row ([`Gpu::turn_cap`]). Without it rows are taken to be
    /// alike in speed, and any of them to hold all entries.
    pub longest_row: Option<usize>,
}

impl Spmv {
    /// The column of an entry.
    pub(crate) fn column(&self, col_idx: &[u32], entry: usize) -> usize {
        match self.index {
            DType::U16 => ((col_idx[entry / 2] >> (16 * (entry % 2))) & 0xffff) as usize,
            _ => col_idx[entry] as usize,
        }
    }

    /// Whether one row is so much longer than the mean that whoever owns it would keep the others waiting.
    fn is_skewed(&self) -> bool {
        let mean = self.nnz / self.rows.max(1);
        self.longest_row.is_some_and(|longest| longest > 8 * mean + 64)
    }
}

/// What every product with a CSR matrix asks: extents that an index can name, and types that kernels know, those of
/// `[index, values]` and of the dense operands.
pub(super) fn check_csr(
    op: &'static str,
    sizes: &[(&'static str, usize)],
    [index, values]: [DType; 2],
    cols: usize,
    dense: &[(&'static str, DType)],
) -> Result<()> {
    for &(what, value) in sizes {
        check_limit(op, what, value as u64, u64::from(u32::MAX) - 1)?;
    }
    if index == DType::U16 {
        check_limit(op, "columns of u16 indices", cols as u64, 1 << 16)?;
    }
    let refuse = |operand, expected, got| {
        Err(Error::DType {
            op,
            operand,
            expected,
            got,
        })
    };
    if !matches!(index, DType::U32 | DType::U16) {
        return refuse("col_idx", "u32 or u16", index);
    }
    for &(operand, got) in [("values", values)].iter().chain(dense) {
        if !matches!(got, DType::F32 | DType::Bf16) {
            return refuse(operand, "f32 or bf16", got);
        }
    }
    Ok(())
}

impl Op for Spmv {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self {
            rows,
            cols,
            nnz,
            index,
            values,
            x,
            longest_row,
        } = self;
        let longest = match longest_row {
            Some(longest) if self.is_skewed() => format!(" longest {longest}"),
            _ => String::new(),
        };
        format!("{rows}x{cols} nnz {nnz}{longest} {values}+{index} x {x}")
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let nnz = self.nnz as u64;
        vec![
            OperandSpec::read("row_ptr", self.rows as u64 + 1),
            OperandSpec::read("col_idx", self.index.words(nnz)),
            OperandSpec::read("values", self.values.words(nnz)),
            OperandSpec::read("x", self.x.words(self.cols as u64)),
            OperandSpec::write("y", self.rows as u64),
        ]
    }

    fn check(&self) -> Result<()> {
        check_csr(
            OP,
            &[("rows", self.rows), ("columns", self.cols), ("entries", self.nnz)],
            [self.index, self.values],
            self.cols,
            &[("x", self.x)],
        )
    }

    fn class(&self) -> Class {
        Class::Bounded
    }

    fn work(&self) -> Work {
        let words = |operand: &OperandSpec| operand.words as f64;
        let operands = self.operands();
        let all: f64 = operands.iter().map(words).sum();
        // Few entries name few elements of x: the others need not be read.
        let unread = 1.0 - self.nnz.min(self.cols) as f64 / self.cols.max(1) as f64;
        Work {
            flops: 2.0 * self.nnz as f64,
            bytes: 4.0 * (all - unread * words(&operands[3])),
            ..Work::default()
        }
    }

    fn variants(&self, gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        let software = gpu.is_software();
        let rows = match software || self.nnz < 8 * self.rows {
            true => ["scalar", "vector"],
            false => ["vector", "scalar"],
        };
        let merges = match software {
            true => ["merge_scalar", "merge"],
            false => ["merge", "merge_scalar"],
        };
        let able: Vec<_> = rows
            .into_iter()
            .filter(|&variant| self.row_turns(variant == "vector") <= gpu.turn_cap())
            .collect();
        let merges: Vec<_> = merges
            .into_iter()
            .filter(|&variant| merge::serves(gpu, self) && merge::walks(gpu, self, variant == "merge"))
            .collect();
        match merge::fits_one_binding(gpu, self) {
            // Binding reports the limit, or the plan where rows are too long.
            _ if able.is_empty() && merges.is_empty() => rows.to_vec(),
            false if !merges.is_empty() => merges,
            true if able.first() == rows.first() && !self.is_skewed() => [able, merges].concat(),
            _ => [merges, able].concat(),
        }
    }

    fn family(&self) -> String {
        let [rows, cols, nnz] = [self.rows, self.cols, self.nnz].map(crate::op::about);
        let skewed = if self.is_skewed() { " skewed" } else { "" };
        format!(
            "{rows}x{cols} nnz {nnz}{skewed} {}+{} x {}",
            self.values, self.index, self.x
        )
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let steps = match variant {
            "merge" | "merge_scalar" => merge::steps(gpu, self, variant == "merge")?,
            _ => self.row_steps(gpu, variant == "vector")?,
        };
        Plan::from_steps(gpu, OP, variant, self.operands(), steps, StepValues::default())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, x, y] = args.take(self)?;
        cpu::spmv_words(
            cpu,
            self,
            [row_ptr.read(), col_idx.read(), values.read(), x.read()],
            y.write(),
        )
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, x, y] = args.take(self)?;
        reference::spmv(
            self,
            row_ptr.read(),
            col_idx.read(),
            values.read(),
            x.read(),
            y.write(),
        );
        Ok(())
    }

    fn compare(&self, comparison: &Comparison<'_>) -> Verdict {
        let (&[row_ptr, col_idx, values, x, _], Some(&want), Some(&got)) =
            (comparison.before, comparison.want.get(4), comparison.got.get(4))
        else {
            return crate::op::contract::exact(&self.operands(), comparison);
        };
        let product = compare::Product {
            row_ptr,
            entry: &|at| (self.column(col_idx, at), load(self.values, values, at)),
            b: (self.x, x, self.cols, 1),
            n: 1,
            c: (DType::F32, "y", 1, Stored::F32),
        };
        compare::compare(&product, want, got, comparison)
    }
}

impl Spmv {
    /// Turns of a row's invocations: its entries (spmv.wgsl), or a share of them and the tree (spmv_vector.wgsl).
    fn row_turns(&self, vector: bool) -> u64 {
        // Columns may stand in a row more than once: it may hold more entries than there are columns.
        let longest = self.longest_row.map_or(self.nnz, |longest| longest.min(self.nnz)) as u64;
        match vector {
            true => longest.div_ceil(LANES.into()) + 1 + u64::from(LANES.ilog2()) + 1,
            false => longest + 1,
        }
    }

    fn row_steps(&self, gpu: &Gpu, vector: bool) -> Result<Vec<Step>> {
        let rows_per_group = u64::from(if vector { GROUP / LANES } else { GROUP });
        let pipeline = gpu.pipeline(&permutation(vector, self.index, self.values, self.x))?;
        let operands = self.operands();
        let mean = (self.nnz as u64).div_ceil(self.rows.max(1) as u64);
        let mut steps = Vec::new();
        for range in split_rows(gpu, self.rows as u64, mean + 1, 4, rows_per_group) {
            let rows = range.end - range.start;
            steps.push(Step {
                pipeline: pipeline.clone(),
                params: vec![rows as u32, 0, 0, 0, 0, 0, 0, 0],
                windows: vec![
                    Window::of(0, range.start, rows + 1, 1),
                    Window::of(1, 0, operands[1].words, 2),
                    Window::of(2, 0, operands[2].words, 3),
                    Window::of(3, 0, operands[3].words, 4),
                    Window::of(4, range.start, rows, 5),
                ],
                groups: spread_groups(gpu, rows.div_ceil(rows_per_group)),
                work: rows * (mean + 1),
                turns: self.row_turns(vector),
            });
        }
        Ok(steps)
    }
}

const GROUP: u32 = 64;
const LANES: u32 = 32;

const BINDINGS: &[Binding] = &[
    Binding::params(8),
    Binding::read("row_ptr"),
    Binding::read("col_idx"),
    Binding::read("values"),
    Binding::read("x"),
    Binding::write("y"),
];

static SCALAR: Kernel = Kernel {
    name: "spmv",
    sources: &[
        shaders::INDEX,
        shaders::BF16,
        shaders::CSR,
        shaders::VECTOR,
        include_str!("../../../shaders/spmv/spmv.wgsl"),
    ],
    bindings: BINDINGS,
};

static VECTOR: Kernel = Kernel {
    name: "spmv_vector",
    sources: &[
        shaders::INDEX,
        shaders::BF16,
        shaders::CSR,
        shaders::VECTOR,
        include_str!("../../../shaders/spmv/spmv_vector.wgsl"),
    ],
    bindings: BINDINGS,
};

fn permutation(vector: bool, index: DType, values: DType, x: DType) -> Permutation {
    let permutation = Permutation::new(if vector { &VECTOR } else { &SCALAR }).constant("GROUP", GROUP);
    let permutation = with_types(permutation, index, values, x);
    if vector {
        permutation.constant("LANES", LANES)
    } else {
        permutation
    }
}

fn with_types(permutation: Permutation, index: DType, values: DType, x: DType) -> Permutation {
    permutation
        .constant("INDEX_U16", index == DType::U16)
        .constant("VALUES_BF16", values == DType::Bf16)
        .constant("X_BF16", x == DType::Bf16)
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = [false, true].map(merge::carry_permutation).to_vec();
    for wide in [false, true] {
        for index in [DType::U32, DType::U16] {
            for values in [DType::F32, DType::Bf16] {
                for x in [DType::F32, DType::Bf16] {
                    all.push(permutation(wide, index, values, x));
                    all.push(merge::permutation(wide, index, values, x));
                }
            }
        }
    }
    all
}
