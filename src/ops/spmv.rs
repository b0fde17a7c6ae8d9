//! `spmv`: a sparse matrix in compressed sparse rows times a dense vector.
//!
//! | variant | when it is preferred | why |
//! |---|---|---|
//! | `scalar` | software adapters, or fewer than 8 entries per row on average | no barrier, no idle lanes |
//! | `vector` | the rest | 32 lanes per row read its entries side by side |

use super::contract::{Bound, Stored, is_subnormal};
use super::{Args, Class, Comparison, Op, Verdict, Work, check_limit};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{Binding, Gpu, Kernel, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, split_rows, spread_groups};
use crate::reference::element::load;
use crate::tensor::DType;
use crate::{reference, shaders};

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
}

impl Spmv {
    /// The column of an entry.
    pub(crate) fn column(&self, col_idx: &[u32], entry: usize) -> usize {
        match self.index {
            DType::U16 => ((col_idx[entry / 2] >> (16 * (entry % 2))) & 0xffff) as usize,
            _ => col_idx[entry] as usize,
        }
    }

    fn permutation(&self, vector: bool) -> Permutation {
        permutation(vector, self.index, self.values, self.x)
    }
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
        } = self;
        format!("{rows}x{cols} nnz {nnz} {values}+{index} x {x}")
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
        let limit = u64::from(u32::MAX) - 1;
        for (what, value) in [("rows", self.rows), ("columns", self.cols), ("entries", self.nnz)] {
            check_limit(OP, what, value as u64, limit)?;
        }
        if self.index == DType::U16 {
            check_limit(OP, "columns of u16 indices", self.cols as u64, 1 << 16)?;
        }
        let types = [
            ("col_idx", self.index, [DType::U32, DType::U16], "u32 or u16"),
            ("values", self.values, [DType::F32, DType::Bf16], "f32 or bf16"),
            ("x", self.x, [DType::F32, DType::Bf16], "f32 or bf16"),
        ];
        for (operand, got, known, expected) in types {
            if !known.contains(&got) {
                return Err(Error::DType {
                    op: OP,
                    operand,
                    expected,
                    got,
                });
            }
        }
        Ok(())
    }

    fn class(&self) -> Class {
        Class::Bounded
    }

    fn work(&self) -> Work {
        let words: u64 = self.operands().iter().map(|operand| operand.words).sum();
        Work {
            flops: 2.0 * self.nnz as f64,
            bytes: words as f64 * 4.0,
            ..Work::default()
        }
    }

    fn variants(&self, gpu: &Gpu, _any_offset: bool) -> Vec<&'static str> {
        if gpu.is_software() || self.nnz < 8 * self.rows {
            vec!["scalar", "vector"]
        } else {
            vec!["vector", "scalar"]
        }
    }

    fn family(&self) -> String {
        let [rows, cols, nnz] = [self.rows, self.cols, self.nnz].map(super::about);
        format!(
            "{rows}x{cols} nnz {nnz} {}+{} x {}",
            self.values, self.index, self.x
        )
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _any_offset: bool) -> Result<Plan> {
        let rows_per_group = u64::from(if variant == "vector" { GROUP / LANES } else { GROUP });
        let pipeline = gpu.pipeline(&self.permutation(variant == "vector"))?;
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
            });
        }
        Plan::new(gpu, OP, variant, operands, steps, StepValues::default())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [row_ptr, col_idx, values, x, y] = args.take(self)?;
        crate::cpu::spmv_words(
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
        let mut verdict = Verdict::default();
        let (&[row_ptr, col_idx, values, x, _], Some(&want), Some(&got)) =
            (comparison.before, comparison.want.get(4), comparison.got.get(4))
        else {
            return super::contract::exact(&self.operands(), comparison);
        };
        let small = |dtype: DType, words: &[u32], len: usize| {
            (0..len).all(|i| {
                let value = load(dtype, words, i);
                value.fract() == 0.0 && value.abs() <= 8.0
            })
        };
        // Sums of products of small whole numbers are exact in f32, whatever the order.
        let integers = small(self.values, values, self.nnz) && small(self.x, x, self.cols);
        for row in 0..self.rows {
            let range = row_ptr[row] as usize..row_ptr[row + 1] as usize;
            let terms = range.len() as u64;
            let (mut exact, mut products, mut subnormal_products) = (0.0f64, 0.0, 0.0);
            for entry in range {
                let (a, b) = (
                    load(self.values, values, entry),
                    load(self.x, x, self.column(col_idx, entry)),
                );
                exact += a * b;
                products += (a * b).abs();
                if is_subnormal(a) || is_subnormal(b) {
                    subnormal_products += (a * b).abs();
                }
            }
            let result = f64::from(f32::from_bits(got[row]));
            verdict.bit_equal &= got[row] == want[row];
            let bound = Bound {
                terms,
                alpha: 1.0,
                products,
                subnormal_products,
                added: 0.0,
                subnormal_added: 0.0,
                stored: Stored::F32,
            };
            let ratio = match bound.ratio(exact, result, &comparison.arithmetic) {
                _ if integers && terms <= 1 << 16 => Some(if result == exact { 0.0 } else { f64::INFINITY }),
                ratio => ratio,
            };
            let Some(ratio) = ratio else { continue };
            verdict.element("y", row as u64, ratio, || {
                [
                    exact.to_string(),
                    result.to_string(),
                    format!("that of {terms} products"),
                ]
            });
        }
        verdict
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
        include_str!("../../shaders/spmv.wgsl"),
    ],
    bindings: BINDINGS,
};

static VECTOR: Kernel = Kernel {
    name: "spmv_vector",
    sources: &[
        shaders::INDEX,
        shaders::BF16,
        shaders::CSR,
        include_str!("../../shaders/spmv_vector.wgsl"),
    ],
    bindings: BINDINGS,
};

fn permutation(vector: bool, index: DType, values: DType, x: DType) -> Permutation {
    let permutation = Permutation::new(if vector { &VECTOR } else { &SCALAR })
        .constant("GROUP", GROUP)
        .constant("INDEX_U16", index == DType::U16)
        .constant("VALUES_BF16", values == DType::Bf16)
        .constant("X_BF16", x == DType::Bf16);
    if vector {
        permutation.constant("LANES", LANES)
    } else {
        permutation
    }
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for vector in [false, true] {
        for index in [DType::U32, DType::U16] {
            for values in [DType::F32, DType::Bf16] {
                for x in [DType::F32, DType::Bf16] {
                    all.push(permutation(vector, index, values, x));
                }
            }
        }
    }
    all
}
