//! The shapes that are measured: square ones, which the main job also checks, awkward ones, and those of curves.

use crate::format::random::{Draw, Generator};
use crate::format::{Rounding, bf16};
use crate::kernels::{
    ColumnSums, Convert, Copy, Fmac, FmacMatmul, Matmul, Relu, ReluGrad, Sgd, SoftmaxCrossEntropy,
};
use crate::op::Op;
use crate::op::{BenchCase, Case, Effort, data::Source};
use crate::tensor::DType::{Bf16, F32};

/// What an operand holds before a timed run.
#[derive(Clone, Copy)]
enum Fill {
    /// f32 values in -1..1.
    F32,
    /// Packed bf16 values in -1..1.
    Bf16,
    /// Class numbers below this.
    Labels(u32),
    /// Nothing: the operation only writes it.
    Out,
}

/// The cases to time at size `n`: matrices of `n` x `n`, runs of `n * n` elements, batches of `n` rows.
#[must_use]
pub fn bench_cases(n: usize) -> Vec<BenchCase> {
    let len = n * n;
    let draw = Draw {
        seed: 1,
        ..Draw::default()
    };
    let philox = Draw {
        generator: Generator::Philox,
        ..draw
    };
    let stochastic = Rounding::Stochastic;
    let (encode, fmac) = (Convert::contiguous(F32, Bf16, len), Fmac::contiguous(len));
    let (square, fused) = (Matmul::new(n, n, n), FmacMatmul::new(n, n, n));
    let ld = n.next_multiple_of(8);
    let relu_grad = ReluGrad {
        dtype: Bf16,
        rows: n,
        cols: n,
        y_ld: ld,
        dy_ld: ld,
        dx_ld: ld,
        in_place: false,
    };
    let mut sgd = Sgd::new(n, n, [Bf16, Bf16, Bf16]);
    (sgd.rounding, sgd.v_stream) = (stochastic, 1);
    sgd.step.set("momentum", 0.9);
    let mut plain_sgd = Sgd::new(n, n, [F32, F32, F32]);
    plain_sgd.step = sgd.step.clone();
    let cases = vec![
        timed(Copy { words: len as u64 }, &[Fill::F32, Fill::Out]),
        timed(encode, &[Fill::F32, Fill::Out]),
        timed(encode.with_rounding(stochastic, draw), &[Fill::F32, Fill::Out]),
        timed(encode.with_rounding(stochastic, philox), &[Fill::F32, Fill::Out]),
        timed(Convert::contiguous(Bf16, F32, len), &[Fill::Bf16, Fill::Out]),
        timed(square, &[Fill::F32, Fill::F32, Fill::Out]),
        timed(
            square.types(Bf16, Bf16, F32),
            &[Fill::Bf16, Fill::Bf16, Fill::Out],
        ),
        // A layer's three products: forward with its bias and ReLU, and both gradients.
        timed(
            Matmul::new(128, n, n)
                .types(Bf16, Bf16, Bf16)
                .transposed(false, true)
                .bias(F32)
                .relu(),
            &[Fill::Bf16, Fill::Bf16, Fill::Out, Fill::F32],
        ),
        timed(
            Matmul::new(n, n, 128)
                .types(Bf16, Bf16, Bf16)
                .transposed(true, false),
            &[Fill::Bf16, Fill::Bf16, Fill::Out],
        ),
        timed(
            Matmul::new(127, n + 1, n - 1).types(Bf16, Bf16, F32),
            &[Fill::Bf16, Fill::Bf16, Fill::Out],
        ),
        timed(
            Matmul::new(1, n, n)
                .types(Bf16, Bf16, F32)
                .transposed(false, true),
            &[Fill::Bf16, Fill::Bf16, Fill::Out],
        ),
        timed(fmac, &[Fill::Bf16, Fill::Bf16, Fill::Bf16]),
        timed(
            fmac.with_rounding(stochastic, draw),
            &[Fill::Bf16, Fill::Bf16, Fill::Bf16],
        ),
        timed(fused, &[Fill::Bf16, Fill::Bf16, Fill::Out]),
        timed(
            fused.with_rounding(stochastic, draw),
            &[Fill::Bf16, Fill::Bf16, Fill::Out],
        ),
        timed(Relu::contiguous(F32, len), &[Fill::F32, Fill::Out]),
        timed(relu_grad, &[Fill::Bf16, Fill::Bf16, Fill::Out]),
        timed(ColumnSums::new(Bf16, F32, n, n, ld), &[Fill::Bf16, Fill::Out]),
        timed(
            SoftmaxCrossEntropy::new(n, 10, F32, F32),
            &[Fill::F32, Fill::Labels(10), Fill::Out, Fill::Out],
        ),
        timed(plain_sgd, &[Fill::F32, Fill::F32, Fill::F32]),
        timed(sgd, &[Fill::Bf16, Fill::Bf16, Fill::Bf16]),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(BenchCase::from).collect();
    cases.extend(
        crate::kernels::bfp::cases::timed(n)
            .into_iter()
            .map(BenchCase::from),
    );
    cases.extend(crate::kernels::spmm::cases::timed(n));
    cases.extend(crate::kernels::spmv::cases::timed(n));
    cases
}

/// The cases to time beside [`bench_cases`] at size `n`: odd shapes of about that size, a single row of it, and
/// tiny ones of 3 x 5, of every kernel.
#[must_use]
pub fn awkward_bench_cases(n: usize) -> Vec<BenchCase> {
    let mut cases: Vec<_> = [(n | 1, n.saturating_sub(1) | 1), (1, n), (3, 5)]
        .into_iter()
        .flat_map(|(rows, cols)| awkward(rows, cols))
        .chain(crate::kernels::bfp::cases::timed_awkward(n))
        .map(BenchCase::from)
        .collect();
    cases.extend(crate::kernels::spmm::cases::timed_awkward(n));
    cases.extend(crate::kernels::spmv::cases::timed_awkward(n));
    cases
}

/// Every dense kernel on matrices of `rows` x `cols`, packed without padding where the format allows it.
fn awkward(rows: usize, cols: usize) -> Vec<Case> {
    let len = rows * cols;
    let ld = cols.next_multiple_of(2);
    let relu_grad = ReluGrad {
        dtype: Bf16,
        rows,
        cols,
        y_ld: ld,
        dy_ld: ld,
        dx_ld: ld,
        in_place: false,
    };
    let (mut sgd, mut sgd_draws) = (
        Sgd::new(rows, cols, [F32, F32, F32]),
        Sgd::new(rows, cols, [Bf16, Bf16, Bf16]),
    );
    (sgd_draws.rounding, sgd_draws.v_stream) = (Rounding::Stochastic, 1);
    sgd.step.set("momentum", 0.9);
    sgd_draws.step = sgd.step.clone();
    let product = Matmul::new(rows, cols, cols);
    let mut cases = vec![
        timed(Copy { words: len as u64 }, &[Fill::F32, Fill::Out]),
        timed(Convert::contiguous(F32, Bf16, len), &[Fill::F32, Fill::Out]),
        timed(product, &[Fill::F32, Fill::F32, Fill::Out]),
        timed(
            FmacMatmul::new(rows, cols, cols),
            &[Fill::Bf16, Fill::Bf16, Fill::Out],
        ),
        timed(Fmac::contiguous(len), &[Fill::Bf16, Fill::Bf16, Fill::Bf16]),
        timed(Relu::contiguous(F32, len), &[Fill::F32, Fill::Out]),
        timed(relu_grad, &[Fill::Bf16, Fill::Bf16, Fill::Out]),
        timed(
            ColumnSums::new(Bf16, F32, rows, cols, ld),
            &[Fill::Bf16, Fill::Out],
        ),
        timed(
            SoftmaxCrossEntropy::new(rows, 7, F32, F32),
            &[Fill::F32, Fill::Labels(7), Fill::Out, Fill::Out],
        ),
        timed(sgd, &[Fill::F32, Fill::F32, Fill::F32]),
        timed(sgd_draws, &[Fill::Bf16, Fill::Bf16, Fill::Bf16]),
    ];
    // `bench_cases` has a single row and an odd shape of bf16 products.
    if len < 64 {
        cases.push(timed(
            product.types(Bf16, Bf16, F32),
            &[Fill::Bf16, Fill::Bf16, Fill::Out],
        ));
    }
    cases
}

/// A product of `m` x `k` by `k` x `n` into f32, B stored transposed, of f32 or bf16: for curves.
#[must_use]
pub fn matmul_case(m: usize, n: usize, k: usize, bf16: bool) -> Case {
    let op = Matmul::new(m, n, k);
    if bf16 {
        let op = op.types(Bf16, Bf16, F32).transposed(false, true);
        timed(op, &[Fill::Bf16, Fill::Bf16, Fill::Out])
    } else {
        timed(op.transposed(false, true), &[Fill::F32, Fill::F32, Fill::Out])
    }
}

/// `relu` over `len` elements of f32 or bf16, read once and written once: for curves.
#[must_use]
pub fn relu_case(len: usize, bf16: bool) -> Case {
    if bf16 {
        timed(Relu::contiguous(Bf16, len), &[Fill::Bf16, Fill::Out])
    } else {
        timed(Relu::contiguous(F32, len), &[Fill::F32, Fill::Out])
    }
}

/// An `n` x `n` sparse matrix of f32 with u32 columns, or bf16 with u16 columns where they fit, times a vector
/// of f32; of every million elements `per_million` are there. For curves.
#[must_use]
pub fn spmv_case(n: usize, per_million: u32, bf16: bool) -> Case {
    crate::kernels::spmv::cases::of_density(n, per_million, bf16)
}

fn timed<O: Op + 'static>(op: O, fills: &'static [Fill]) -> Case {
    let words: Vec<u64> = op.operands().iter().map(|operand| operand.words).collect();
    Case::new(Effort::Full, op, move || {
        let operand = |(seed, (fill, words)): (u64, (&Fill, &u64))| fill.words(seed, *words as usize);
        (1..).zip(fills.iter().zip(&words)).map(operand).collect()
    })
}

impl Fill {
    fn words(self, seed: u64, len: usize) -> Vec<u32> {
        let mut source = Source::new(seed);
        match self {
            Self::F32 => (0..len).map(|_| source.unit().to_bits()).collect(),
            Self::Bf16 => (0..len)
                .map(|_| bf16::pack(source.bf16(), source.bf16()))
                .collect(),
            Self::Labels(classes) => (0..len).map(|_| source.below(classes)).collect(),
            Self::Out => Vec::new(),
        }
    }
}
