//! `column_sums`: the gradient of a bias, the sum over the rows.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::Draw;
use crate::gpu::{Gpu, OperandSpec, StepValues};
use crate::op::{Args, Contract, Judge, Op, Output, Stored, Sum, Table, Work, check_floats};
use crate::tensor::{DType, View};

/// `y[j] = sum over i of x[i, j]`. Operands: `x` (rows x cols), `y` (cols).
///
/// Bounded class with K = rows products (each with a factor of exactly 1) and no alpha, beta or bias. The order
/// of the sum is fixed per device and variant. Stochastic rounding draws for index `j`.
///
/// | variant | when | why |
/// |---|---|---|
/// | `tree` | preferred on GPUs | eight invocations share the rows of two columns: enough of them for narrow matrices |
/// | `columns` | preferred on software adapters | no barrier, which costs them several times the sum |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
    /// Rows as far apart as those of tensors; sums to the nearest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, from: DType, to: DType) -> Self {
        Self::spaced(from, to, rows, cols, from.row_ld(cols))
    }

    /// Rows `x_ld` elements apart.
    pub(crate) fn spaced(from: DType, to: DType, rows: usize, cols: usize, x_ld: usize) -> Self {
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
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }

    fn x(&self) -> View {
        View::new(self.from, self.rows, self.cols, self.x_ld)
    }

    fn y(&self) -> View {
        View::vector(self.to, self.cols)
    }

    fn stored(&self) -> Stored {
        match (self.to, self.rounding) {
            (DType::F64, _) => Stored::F64,
            (DType::F32 | DType::U32 | DType::U16, _) => Stored::F32,
            (DType::Bf16, Rounding::Stochastic) => Stored::Bf16Stochastic,
            (DType::Bf16, Rounding::Nearest | Rounding::TowardZero) => Stored::Bf16Nearest,
        }
    }

    /// Holds every sum to the bound.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let (x, words) = (self.x(), judge.before("x"));
        let sums = || {
            let mut sums = vec![Sum::default(); self.cols];
            for row in 0..self.rows {
                for (col, sum) in sums.iter_mut().enumerate() {
                    sum.term(x.load(words, row, col));
                }
            }
            sums
        };
        judge.bounded(&[Output::new("y", self.y())], self.stored(), sums)
    }
}

impl Op for ColumnSums {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let rounding = match self.to {
            DType::Bf16 => format!(" {}", self.rounding),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => String::new(),
        };
        format!("{}x{} {}->{}{rounding}", self.rows, self.cols, self.from, self.to)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.x().words()),
            OperandSpec::write("y", self.y().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        check_floats(OP, &[("x", self.from), ("y", self.to)])?;
        self.x().check(OP, "x")?;
        self.y().check(OP, "y")?;
        crate::op::check_rounding(OP, self.rounding)
    }

    fn contract(&self) -> Contract<'_> {
        Contract::bounded(|judge| self.judge(judge))
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

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let [rows, cols] = [self.rows, self.cols].map(crate::op::about);
        format!("{} -> {} {rows}x{cols}", self.from, self.to)
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("x", self.from), ("y", self.to)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [x, y] = args.take(self)?;
        cpu::column_sums(cpu, &op, x.read(), y.write()?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let [x, y] = args.take(self)?;
        reference::column_sums(&op, x.read(), y.write()?);
        Ok(())
    }
}
