//! `axpby`: a vector scaled and added to another.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;

use fewbit::cpu::Cpu;
use fewbit::gpu::OperandSpec;
use fewbit::op::{Args, Contract, Op, Output, Scalar, Stored, Sum, Table};
use fewbit::tensor::{DType, View};
use fewbit::{Device, Result, Tensor};

/// `y <- alpha x + beta y` in f32; bounded class with K = 1. Operands: `x`, `y`. One variant, `each`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Axpby {
    /// Elements of both vectors.
    pub(crate) len: usize,
    pub(crate) alpha: Scalar,
    pub(crate) beta: Scalar,
}

impl Axpby {
    fn view(&self) -> View {
        View::vector(DType::F32, self.len)
    }

    /// One element in f64, and what its error is bounded by.
    fn sum(&self, x: f64, y: f64) -> Sum {
        let mut sum = Sum::default();
        sum.term(x);
        sum.scale(self.alpha.into());
        sum.add(self.beta.into(), y);
        sum
    }
}

impl Op for Axpby {
    fn name(&self) -> &'static str {
        "axpby"
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let words = self.view().words();
        vec![OperandSpec::read("x", words), OperandSpec::update("y", words)]
    }

    fn check(&self) -> Result<()> {
        self.view().check(self.name(), "x")
    }

    fn contract(&self) -> Contract<'_> {
        let view = self.view();
        Contract::bounded(move |judge| {
            let (x, y) = (judge.before("x"), judge.before("y"));
            let sum = |i| self.sum(view.load(x, 0, i), view.load(y, 0, i));
            let sums = || (0..self.len).map(sum).collect();
            judge.bounded(&[Output::new("y", view)], Stored::F32, sums)
        })
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn cpu(&self, _: &Cpu, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        cpu::axpby(self, x.read(), y.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        reference::axpby(self, x.read(), y.write()?);
        Ok(())
    }
}

/// Inside the crate: `impl Device { pub fn axpby(..) }`.
pub(crate) trait AxpbyExt {
    fn axpby(&self, alpha: f32, x: &Tensor, beta: f32, y: &mut Tensor) -> Result<()>;
}

impl AxpbyExt for Device {
    fn axpby(&self, alpha: f32, x: &Tensor, beta: f32, y: &mut Tensor) -> Result<()> {
        let (len, alpha, beta) = (x.layout().cols(), alpha.into(), beta.into());
        self.run(&Axpby { len, alpha, beta }, &mut [x.into(), y.into()])
    }
}
