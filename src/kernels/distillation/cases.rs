use crate::format::Rounding;
use crate::format::bf16;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::Distillation;
use crate::op::data::{FAR, Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 0xfeed_5eed_0bad_cafe,
    stream: stream(4, 3),
    step: 5,
    first_block: 0,
};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
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
            for (spread, temperature, alpha) in [(1.0, 1.0, 0.25), (40.0, 4.0, 0.9), (10.0, 20.0, 0.0)] {
                let op = Distillation::new(rows, classes, logits, DType::F32).with(temperature, alpha);
                cases.push(case(effort, op, Values::Spread(spread)));
                let op = Distillation {
                    teacher: DType::Bf16,
                    teacher_ld: classes.next_multiple_of(2) + 4,
                    grad: DType::Bf16,
                    grad_ld: classes.next_multiple_of(8),
                    keep_f32: true,
                    ..op
                };
                cases.push(case(effort, op, Values::Spread(spread)));
                let rounding = Rounding::Stochastic;
                let draw = DRAW;
                let op = Distillation { rounding, draw, ..op };
                cases.push(case(effort, op, Values::Spread(spread)));
            }
        }
        let op = Distillation::new(rows, classes, DType::F64, DType::F64).with(3.0, 0.5);
        cases.push(case(effort, op, Values::Spread(3.0)));
    }
    cases.extend(extremes());
    cases.extend(parts());
    cases.extend(specials());
    // A piece whose indices carry, by the other generator.
    let op = Distillation {
        rounding: Rounding::Stochastic,
        draw: Draw {
            generator: Generator::Philox,
            first_block: FAR,
            ..DRAW
        },
        keep_f32: true,
        scale: (-3.5).into(),
        loss_scale: 1024.0.into(),
        ..Distillation::new(5, 5, DType::F32, DType::Bf16).with(2.0, 0.5)
    };
    cases.push(case(Effort::Quick, op, Values::Spread(1.0)));
    cases
}

/// The ends of what it is made for; students that are their teachers, or nearly.
fn extremes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (logits, grad) in [(DType::F32, DType::F32), (DType::F64, DType::F64)] {
        for alpha in [0.0, 0.5, 1.0] {
            let plain = Distillation::new(16, 10, logits, grad);
            for (values, temperature) in [
                (Values::Spread(1e4), 0.1),
                (Values::Spread(1e4), 1.0),
                (Values::Spread(1e4), 1000.0),
                (Values::Spread(9.0), 0.1),
                (Values::Spread(9.0), 100.0),
                (Values::Spread(9.0), 1000.0),
                (Values::Near(0.5), 1.0),
                (Values::Near(0.01), 1.0),
                (Values::Near(0.0), 5.0),
                (Values::Peaks, 1.0),
                (Values::Peaks, 0.01),
                (Values::Peaks, 10_000.0),
            ] {
                cases.push(case(Effort::Quick, plain.with(temperature, alpha), values));
            }
        }
    }
    cases
}

/// More turns than the 65,535 after which software adapters leave a loop, in three loops and in each of them; rows past
/// the device with small bindings; several rows of more classes than one dispatch walks.
fn parts() -> Vec<Case> {
    let mut cases = Vec::new();
    if cfg!(miri) {
        return cases;
    }
    for (rows, classes) in [(2, 22_000), (1, 70_000)] {
        let plain = Distillation::new(rows, classes, DType::F32, DType::F32).with(2.0, 0.5);
        let packed = Distillation {
            teacher: DType::Bf16,
            rounding: Rounding::Stochastic,
            draw: DRAW,
            keep_f32: true,
            ..Distillation::new(rows, classes, DType::Bf16, DType::Bf16).with(2.0, 0.5)
        };
        cases.extend([plain, packed].map(|op| case(Effort::Quick, op, Values::Spread(3.0))));
    }
    let op = Distillation::new(9, 22_000, DType::F32, DType::F32).with(30.0, 0.5);
    cases.push(case(Effort::Quick, op, Values::Peaks));
    cases
}

/// Rows of every special kind, far apart.
fn specials() -> Vec<Case> {
    let types = [
        (DType::F32, DType::F32),
        (DType::F32, DType::Bf16),
        (DType::Bf16, DType::F32),
        (DType::Bf16, DType::Bf16),
        (DType::F64, DType::F64),
    ];
    let far = |(logits, grad)| Distillation {
        logits_ld: 70,
        teacher_ld: 44,
        grad_ld: 36,
        ..Distillation::new(40, 7, logits, grad).with(0.5, 0.25)
    };
    types
        .map(|types| case(Effort::Quick, far(types), Values::Specials))
        .into()
}

#[derive(Clone, Copy, Debug)]
enum Values {
    /// Up to this magnitude.
    Spread(f32),
    /// The teacher's logits are the student's but for so much.
    Near(f32),
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
            Self::Near(_) => source.unit() * 4.0,
            Self::Specials => special(source, row),
        }
    }
}

fn special(source: &mut Source, row: usize) -> f32 {
    let (now, plain) = (source.below(3) == 0, source.unit());
    match row % 8 {
        0 if now => f32::NAN,
        1 if now => f32::INFINITY,
        2 if now => f32::NEG_INFINITY,
        3 => (0.0f32).copysign(plain),
        4 => f32::from_bits(source.bits() & 0x807f_ffff),
        5 => f32::MAX.copysign(plain),
        6 => plain * 1e30,
        0..=2 | 7.. => plain,
    }
}

/// Rows of a type by their values.
fn rows_of(dtype: DType, [rows, classes, ld]: [usize; 3], value: impl Fn(usize, usize) -> f32) -> Vec<u32> {
    // Rows of f64 are filled whole, those of other types without their padding.
    let width = match dtype {
        DType::F64 => ld,
        DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => classes,
    };
    let mut at = 0;
    let mut next = || {
        at += 1;
        value((at - 1) / width, (at - 1) % width)
    };
    match dtype {
        DType::F64 => (0..rows * ld)
            .flat_map(|_| {
                let bits = f64::from(next()).to_bits();
                [bits as u32, (bits >> 32) as u32]
            })
            .collect(),
        DType::F32 => rows_f32(rows, classes, ld, next),
        DType::Bf16 | DType::U32 | DType::U16 => rows_bf16(rows, classes, ld, next),
    }
}

fn case(effort: Effort, op: Distillation, values: Values) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 31 + op.classes) as u64);
        // Every tenth row or so is left out by a label that is no class, and as many have none.
        let ends = [0, op.classes - 1, op.classes, 1];
        let labels = (0..op.rows).map(|row| match source.below(10) {
            _ if matches!(values, Values::Peaks) => ends[row % 4] as u32,
            0 => u32::MAX,
            1 => Distillation::UNLABELLED,
            2 => Distillation::UNLABELLED - 1,
            _ => source.below(op.classes as u32),
        });
        let labels = labels.collect();
        let table = |source: &mut Source| -> Vec<f32> {
            (0..op.rows * op.classes)
                .map(|i| values.value(source, i / op.classes, i % op.classes, op.classes))
                .collect()
        };
        let (student, mut teacher) = (table(&mut source), table(&mut source));
        if let Values::Near(apart) = values {
            for (teacher, student) in teacher.iter_mut().zip(&student) {
                *teacher = student + apart * source.unit();
            }
        }
        let at = |table: &[f32], row: usize, col: usize| match col < op.classes {
            true => table[row * op.classes + col],
            false => bf16::widen(0x7fc1),
        };
        let shape = |ld| [op.rows, op.classes, ld];
        let mut operands = vec![
            rows_of(op.logits, shape(op.logits_ld), |row, col| at(&student, row, col)),
            rows_of(op.teacher, shape(op.teacher_ld), |row, col| {
                at(&teacher, row, col)
            }),
            labels,
            Vec::new(),
            Vec::new(),
        ];
        if op.keep_f32 {
            operands.push(Vec::new());
        }
        operands
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    const FILLS: [Fill; 5] = [Fill::F32, Fill::F32, Fill::Labels(10), Fill::Out, Fill::Out];
    let op = Distillation::new(n, 10, DType::F32, DType::F32).with(4.0, 0.5);
    vec![Case::timed(op, &FILLS).into()]
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    const FILLS: [Fill; 5] = [Fill::F32, Fill::F32, Fill::Labels(7), Fill::Out, Fill::Out];
    let case = |(rows, _)| {
        let op = Distillation::new(rows, 7, DType::F32, DType::F32).with(4.0, 0.5);
        Case::timed(op, &FILLS).into()
    };
    awkward_shapes(n).map(case).into()
}
