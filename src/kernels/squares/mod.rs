//! `squares`: the sum of the squares of a matrix and how many of its numbers are not finite, in one pass. Gradients are
//! clipped by the root of the one, and a step of training is left out by the other.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::{Gpu, OperandSpec};
use crate::op::{Args, Contract, Judge, Op, Output, Stored, Sum, Table, Work, check_floats, check_limit};
use crate::tensor::{DType, View};

/// The sum of `x[i, j]^2`, and how many elements are NaN or infinite. Operands: `x` (rows x cols), `out`.
///
/// A slot of `out` is the sum, an f32 (an f64, low word first, where `x` is), and in the word behind it the count, a `u32`:
/// [`Squares::count_word`]. There is one slot unless it is said which of several is meant.
///
/// The sum is of the bounded class with K = rows * cols products and no alpha, beta or bias, in an order that is fixed per
/// device and variant; where some element is not finite GPUs promise nothing of it, and devices that follow IEEE 754 give
/// NaN or +Inf. The count is exact everywhere, by the bits of exponents.
///
/// | variant | when | why |
/// |---|---|---|
/// | `tree` | preferred on GPUs | a group adds its sums in workgroup memory: few partial sums are left to add |
/// | `strided` | preferred on software adapters | no barrier; every invocation leaves a partial sum |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Squares {
    /// Type of `x`: `F32`, `Bf16` or `F64`.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `x` to the next: at least `cols`, even for bf16.
    pub x_ld: usize,
    /// Which of the slots that `out` has is written, each as long as sum and count; the others stay as they are.
    pub slot: usize,
}

const OP: &str = "squares";

impl Squares {
    /// Of a matrix whose rows are as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, dtype: DType) -> Self {
        Self {
            dtype,
            rows,
            cols,
            x_ld: dtype.row_ld(cols),
            slot: 0,
        }
    }

    /// Words of a slot.
    #[must_use]
    pub fn slot_words(&self) -> usize {
        self.count_word() + 1
    }

    /// The first word of the slot.
    fn first(&self) -> u64 {
        (self.slot as u64).saturating_mul(self.slot_words() as u64)
    }

    /// The word of a slot that holds the count: 1, or 2 where the sum is an f64.
    #[must_use]
    pub fn count_word(&self) -> usize {
        self.sum().words() as usize
    }

    fn x(&self) -> View {
        View::new(self.dtype, self.rows, self.cols, self.x_ld)
    }

    /// The sum in `out`.
    fn sum(&self) -> View {
        let dtype = match self.dtype {
            DType::F64 => DType::F64,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => DType::F32,
        };
        View::vector(dtype, 1)
    }

    /// Holds the sum to the bound; the count is held to the reference's bits.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let (x, words) = (self.x(), judge.before("x"));
        let sums = || {
            let mut sum = Sum::default();
            for row in 0..self.rows {
                for col in 0..self.cols {
                    let value = x.load(words, row, col);
                    sum.product(value, value);
                }
            }
            vec![sum]
        };
        let stored = match self.dtype {
            DType::F64 => Stored::F64,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => Stored::F32,
        };
        let output = Output {
            operand: "out",
            first: self.first(),
            view: self.sum(),
        };
        judge.bounded(&[output], stored, sums)
    }
}

impl Op for Squares {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        format!("{}x{} {}", self.rows, self.cols, self.dtype)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let words = self.first().saturating_add(self.slot_words() as u64);
        let out = match self.slot {
            0 => OperandSpec::write("out", words),
            _ => OperandSpec::update("out", words),
        };
        vec![OperandSpec::read("x", self.x().words()), out]
    }

    fn check(&self) -> Result<()> {
        check_floats(OP, &[("x", self.dtype)])?;
        self.x().check(OP, "x")?;
        check_limit(OP, "slot", self.slot as u64, 1 << 24)?;
        // The count is a word.
        check_limit(OP, "elements", self.x().len(), u32::MAX.into())
    }

    fn contract(&self) -> Contract<'_> {
        Contract::bounded(|judge| self.judge(judge))
    }

    fn work(&self) -> Work {
        let elements = self.x().len() as f64;
        Work {
            // A test of each.
            int_ops: elements,
            ..Work::new(2.0 * elements, elements * f64::from(self.dtype.bits()) / 8.0)
        }
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let [rows, cols] = [self.rows, self.cols].map(crate::op::about);
        format!("{} {rows}x{cols}", self.dtype)
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("x", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [x, out] = args.take(self)?;
        let out = &mut out.write()?[self.first() as usize..];
        cpu::squares(cpu, self, x.read(), out)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, out] = args.take(self)?;
        let out = &mut out.write()?[self.first() as usize..];
        reference::squares(self, x.read(), out);
        Ok(())
    }
}
