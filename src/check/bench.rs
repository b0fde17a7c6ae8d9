//! The shapes that are measured: each is also checked.

use super::{Case, Effort, data::Source};
use crate::format::random::Draw;
use crate::format::{Rounding, bf16};
use crate::ops::{
    ColumnSums, Convert, Copy, Fmac, FmacMatmul, Matmul, Op, Relu, ReluGrad, Sgd, SoftmaxCrossEntropy,
};
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
pub fn bench_cases(n: usize) -> Vec<Case> {
    let len = n * n;
    let draw = Draw {
        seed: 1,
        ..Draw::default()
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
    // The learning rate, momentum and weight decay of the step it is timed at.
    sgd.step.scalars = [0.01, 0.9, 0.0, 0.0];
    let mut plain_sgd = Sgd::new(n, n, [F32, F32, F32]);
    plain_sgd.step = sgd.step;
    let mut cases = vec![
        timed(Copy { words: len as u64 }, &[Fill::F32, Fill::Out]),
        timed(encode, &[Fill::F32, Fill::Out]),
        timed(encode.with_rounding(stochastic, draw), &[Fill::F32, Fill::Out]),
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
    cases.extend(super::bfp::timed(n));
    cases.extend(super::spmm::timed(n));
    cases.extend(super::spmv::timed(n));
    cases
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
