use crate::format::Rounding;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::SoftmaxCrossEntropy;
use crate::op::data::{Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let draw = Draw {
        generator: Generator::Threefry,
        seed: 0xfeed_5eed_0bad_cafe,
        stream: stream(4, 2),
        step: 5,
    };
    for (rows, classes, effort) in [
        (0, 10, Effort::Quick),
        (1, 1, Effort::Quick),
        (3, 2, Effort::Quick),
        (64, 10, Effort::Quick),
        (37, 9, Effort::Quick),
        (5, 1001, Effort::Quick),
        (1025, 1000, Effort::Full),
    ] {
        for logits in [DType::F32, DType::Bf16] {
            for spread in [1.0, 40.0] {
                let op = SoftmaxCrossEntropy::new(rows, classes, logits, DType::F32);
                cases.push(case(effort, op, spread));
                let op = SoftmaxCrossEntropy {
                    grad: DType::Bf16,
                    ..op
                };
                let op = SoftmaxCrossEntropy {
                    grad_ld: classes.next_multiple_of(8),
                    ..op
                };
                cases.push(case(effort, op, spread));
                let op = SoftmaxCrossEntropy { keep_f32: true, ..op };
                cases.push(case(effort, op, spread));
                let rounding = Rounding::Stochastic;
                cases.push(case(effort, SoftmaxCrossEntropy { rounding, draw, ..op }, spread));
            }
        }
        let op = SoftmaxCrossEntropy::new(rows, classes, DType::F64, DType::F64);
        cases.push(case(effort, op, 3.0));
    }
    let generator = Generator::Philox;
    let (rounding, draw) = (Rounding::Stochastic, Draw { generator, ..draw });
    let op = SoftmaxCrossEntropy::new(17, 11, DType::F32, DType::Bf16);
    let op = SoftmaxCrossEntropy {
        rounding,
        draw,
        keep_f32: true,
        scale: -3.5,
        ..op
    };
    cases.push(case(Effort::Quick, op, 5.0));
    if !cfg!(miri) {
        // More turns than the 65,535 after which software adapters leave a loop, in three loops and in each of them;
        // rows past the device with small bindings.
        for (rows, classes) in [(2, 22_000), (1, 70_000)] {
            let plain = SoftmaxCrossEntropy::new(rows, classes, DType::F32, DType::F32);
            let packed = SoftmaxCrossEntropy::new(rows, classes, DType::Bf16, DType::Bf16);
            let packed = SoftmaxCrossEntropy {
                rounding,
                draw,
                keep_f32: true,
                ..packed
            };
            cases.extend([plain, packed].map(|op| case(Effort::Quick, op, 3.0)));
        }
    }
    cases
}

fn case(effort: Effort, op: SoftmaxCrossEntropy, spread: f32) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 31 + op.classes) as u64);
        // Every tenth row or so is left out by a label that is no class.
        let labels = (0..op.rows).map(|_| match source.below(10) {
            0 => u32::MAX - source.below(2),
            _ => source.below(op.classes as u32),
        });
        let labels = labels.collect();
        let value = || source.unit() * spread;
        let logits = match op.logits {
            DType::F64 => {
                let mut value = value;
                (0..op.rows * op.logits_ld)
                    .flat_map(|_| {
                        let bits = f64::from(value()).to_bits();
                        [bits as u32, (bits >> 32) as u32]
                    })
                    .collect()
            }
            DType::F32 => rows_f32(op.rows, op.classes, op.logits_ld, value),
            _ => rows_bf16(op.rows, op.classes, op.logits_ld, value),
        };
        let mut operands = vec![logits, labels, Vec::new(), Vec::new()];
        if op.keep_f32 {
            operands.push(Vec::new());
        }
        operands
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let op = SoftmaxCrossEntropy::new(n, 10, DType::F32, DType::F32);
    vec![Case::timed(op, &[Fill::F32, Fill::Labels(10), Fill::Out, Fill::Out]).into()]
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, _)| {
        let op = SoftmaxCrossEntropy::new(rows, 7, DType::F32, DType::F32);
        Case::timed(op, &[Fill::F32, Fill::Labels(7), Fill::Out, Fill::Out]).into()
    };
    awkward_shapes(n).map(case).into()
}
