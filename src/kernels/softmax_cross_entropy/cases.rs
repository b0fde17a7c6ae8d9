use crate::format::Rounding;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::SoftmaxCrossEntropy;
use crate::op::data::{FAR, Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let draw = Draw {
        generator: Generator::Threefry,
        seed: 0xfeed_5eed_0bad_cafe,
        stream: stream(4, 2),
        step: 5,
        first_block: 0,
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
                cases.push(case(effort, op, Values::Spread(spread)));
                let op = SoftmaxCrossEntropy {
                    grad: DType::Bf16,
                    ..op
                };
                let op = SoftmaxCrossEntropy {
                    grad_ld: classes.next_multiple_of(8),
                    ..op
                };
                cases.push(case(effort, op, Values::Spread(spread)));
                let op = SoftmaxCrossEntropy { keep_f32: true, ..op };
                cases.push(case(effort, op, Values::Spread(spread)));
                let rounding = Rounding::Stochastic;
                cases.push(case(
                    effort,
                    SoftmaxCrossEntropy { rounding, draw, ..op },
                    Values::Spread(spread),
                ));
            }
        }
        let op = SoftmaxCrossEntropy::new(rows, classes, DType::F64, DType::F64);
        cases.push(case(effort, op, Values::Spread(3.0)));
    }
    let generator = Generator::Philox;
    let (rounding, draw) = (Rounding::Stochastic, Draw { generator, ..draw });
    let op = SoftmaxCrossEntropy::new(17, 11, DType::F32, DType::Bf16);
    let op = SoftmaxCrossEntropy {
        rounding,
        draw,
        keep_f32: true,
        scale: (-3.5).into(),
        ..op
    };
    cases.push(case(Effort::Quick, op, Values::Spread(5.0)));
    let op = SoftmaxCrossEntropy {
        rounding,
        draw,
        keep_f32: true,
        loss_scale: 1024.0.into(),
        ..SoftmaxCrossEntropy::new(9, 11, DType::F32, DType::Bf16)
    };
    cases.push(case(Effort::Quick, op, Values::Spread(5.0)));
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
            cases.extend([plain, packed].map(|op| case(Effort::Quick, op, Values::Spread(3.0))));
        }
    }
    for (rows, classes) in [(9, 6), (9, 7), (20, 300)] {
        let op = SoftmaxCrossEntropy::new(rows, classes, DType::F32, DType::F32);
        cases.push(case(Effort::Quick, op, Values::Peaks));
    }
    if !cfg!(miri) {
        // Several rows of more classes than one dispatch walks.
        let op = SoftmaxCrossEntropy::new(9, 22_000, DType::F32, DType::F32);
        cases.push(case(Effort::Quick, op, Values::Peaks));
    }
    cases.extend(specials(draw));
    // A piece whose indices carry.
    let first_block = FAR;
    let draw = Draw { first_block, ..draw };
    let op = SoftmaxCrossEntropy::new(5, 5, DType::F32, DType::Bf16);
    let op = SoftmaxCrossEntropy {
        rounding,
        draw,
        keep_f32: true,
        ..op
    };
    cases.push(case(Effort::Quick, op, Values::Spread(1.0)));
    cases
}

/// Rows of every special kind, far apart.
fn specials(draw: Draw) -> Vec<Case> {
    let types = [
        (DType::F32, DType::F32),
        (DType::F32, DType::Bf16),
        (DType::Bf16, DType::F32),
        (DType::Bf16, DType::Bf16),
        (DType::F64, DType::F64),
    ];
    let far = |(logits, grad)| SoftmaxCrossEntropy {
        logits_ld: 70,
        grad_ld: 36,
        ..SoftmaxCrossEntropy::new(30, 7, logits, grad)
    };
    let stochastic = SoftmaxCrossEntropy {
        rounding: Rounding::Stochastic,
        draw,
        keep_f32: true,
        ..far((DType::F32, DType::Bf16))
    };
    let ops = types.map(far).into_iter().chain([stochastic]);
    ops.map(|op| case(Effort::Quick, op, Values::Specials)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Values {
    /// Up to this magnitude.
    Spread(f32),
    /// By row: the last class, the first one, or none far above the others, so that a maximum without it overflows;
    /// labels at both ends of the classes and past them.
    Peaks,
    /// By row: NaNs, infinities of one sign, nothing but zeros, subnormals, logits very far apart.
    Specials,
}

impl Values {
    fn value(self, source: &mut Source, row: usize, col: usize, classes: usize) -> f32 {
        match self {
            Self::Peaks => match row % 3 {
                0 if col + 1 == classes => 300.0,
                1 if col == 0 => 300.0,
                _ => source.unit(),
            },
            Self::Spread(spread) => source.unit() * spread,
            Self::Specials => special(source, row),
        }
    }
}

fn special(source: &mut Source, row: usize) -> f32 {
    let (now, plain) = (source.below(3) == 0, source.unit());
    match row % 10 {
        0 if now => f32::NAN,
        1 if now => f32::INFINITY,
        2 if now => f32::NEG_INFINITY,
        3 => f32::NEG_INFINITY,
        4 => (0.0f32).copysign(plain),
        5 => f32::from_bits(source.bits() & 0x807f_ffff),
        6 => f32::MAX.copysign(plain),
        7 => plain * 1e30,
        8 => plain * 1000.0,
        0..=2 | 9.. => plain,
    }
}

fn case(effort: Effort, op: SoftmaxCrossEntropy, values: Values) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 31 + op.classes) as u64);
        // Every tenth row or so is left out by a label that is no class.
        let ends = [0, op.classes - 1, op.classes, 1];
        let labels = (0..op.rows).map(|row| match source.below(10) {
            _ if matches!(values, Values::Peaks) => ends[row % 4] as u32,
            0 => u32::MAX - source.below(2),
            _ => source.below(op.classes as u32),
        });
        let labels = labels.collect();
        // Rows of f64 are filled whole, those of other types without their padding.
        let width = match op.logits {
            DType::F64 => op.logits_ld,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => op.classes,
        };
        let mut at = 0;
        let mut value = || {
            at += 1;
            values.value(&mut source, (at - 1) / width, (at - 1) % width, op.classes)
        };
        let logits = match op.logits {
            DType::F64 => (0..op.rows * op.logits_ld)
                .flat_map(|_| {
                    let bits = f64::from(value()).to_bits();
                    [bits as u32, (bits >> 32) as u32]
                })
                .collect(),
            DType::F32 => rows_f32(op.rows, op.classes, op.logits_ld, value),
            DType::Bf16 | DType::U32 | DType::U16 => rows_bf16(op.rows, op.classes, op.logits_ld, value),
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
