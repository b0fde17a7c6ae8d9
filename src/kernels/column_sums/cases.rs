use crate::format::Rounding;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::ColumnSums;
use crate::op::data::{FAR, Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let draw = Draw {
        generator: Generator::Threefry,
        seed: 0x5eed,
        stream: stream(3, 1),
        step: 9,
        first_block: 0,
    };
    for (rows, cols, ld, effort) in [
        (0, 3, 4, Effort::Quick),
        (1, 1, 2, Effort::Quick),
        (5, 7, 8, Effort::Quick),
        (64, 10, 16, Effort::Quick),
        (129, 130, 130, Effort::Quick),
        (2003, 3, 4, Effort::Quick),
        (515, 1031, 1032, Effort::Full),
    ] {
        for from in [DType::F32, DType::Bf16] {
            for to in [DType::F32, DType::Bf16] {
                let op = ColumnSums::spaced(from, to, rows, cols, ld);
                let both = [Values::Magnitudes, Values::Integers];
                cases.extend(both.map(|values| case(effort, op, values)));
                if to == DType::Bf16 {
                    let rounding = Rounding::Stochastic;
                    let op = ColumnSums { rounding, draw, ..op };
                    cases.extend(both.map(|values| case(effort, op, values)));
                }
            }
        }
        cases.push(case(
            effort,
            ColumnSums::spaced(DType::F64, DType::F64, rows, cols, ld),
            Values::Magnitudes,
        ));
    }
    let generator = Generator::Philox;
    let (rounding, draw) = (Rounding::Stochastic, Draw { generator, ..draw });
    let op = ColumnSums::spaced(DType::F32, DType::Bf16, 33, 65, 66);
    let stochastic = ColumnSums { rounding, draw, ..op };
    cases.push(case(Effort::Quick, stochastic, Values::Integers));
    if !cfg!(miri) {
        cases.extend(long(stochastic));
    }
    cases.extend(specials(stochastic));
    // Sums that are exact in f32 and not in bf16, so that every draw counts; more columns than a small binding takes.
    for (rows, cols, ld) in [(300, 13, 14), (70, 5000, 5000)] {
        let op = ColumnSums::spaced(DType::F32, DType::Bf16, rows, cols, ld);
        let op = ColumnSums { rounding, draw, ..op };
        cases.push(case(Effort::Quick, op, Values::Positive));
    }
    // A piece whose indices carry.
    let op = ColumnSums::spaced(DType::F32, DType::Bf16, 300, 19, 20);
    let first_block = FAR;
    let draw = Draw { first_block, ..draw };
    let op = ColumnSums { rounding, draw, ..op };
    cases.push(case(Effort::Quick, op, Values::Positive));
    cases
}

/// More rows than 65,535 per invocation, where software adapters leave a loop: of `columns`, then of `tree` as well.
/// Whole numbers, for in a bound of so many terms the missing ones would hide.
fn long(stochastic: ColumnSums) -> [Case; 3] {
    let nearest = |from, rows, cols| ColumnSums::spaced(from, DType::F32, rows, cols, 2);
    let rounded = ColumnSums {
        rows: 140_000,
        cols: 2,
        x_ld: 2,
        ..stochastic
    };
    [
        case(Effort::Quick, nearest(DType::Bf16, 140_000, 2), Values::Integers),
        case(Effort::Quick, rounded, Values::Integers),
        case(Effort::Full, nearest(DType::F32, 540_000, 1), Values::Integers),
    ]
}

/// Columns of every special kind, and rows far apart.
fn specials(stochastic: ColumnSums) -> Vec<Case> {
    let (rows, cols, ld) = (21, 19, 90);
    let shape = |op: ColumnSums| ColumnSums {
        rows,
        cols,
        x_ld: ld,
        ..op
    };
    let types = [
        (DType::F32, DType::F32),
        (DType::F32, DType::Bf16),
        (DType::Bf16, DType::F32),
        (DType::Bf16, DType::Bf16),
        (DType::F64, DType::F64),
    ];
    let nearest = types.map(|(from, to)| ColumnSums::spaced(from, to, rows, cols, ld));
    let ops = nearest.into_iter().chain([shape(stochastic)]);
    ops.map(|op| case(Effort::Quick, op, Values::Specials)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Values {
    /// Magnitudes far apart, so that the order of the sum shows.
    Magnitudes,
    /// Small whole numbers, whose sums are exact.
    Integers,
    /// None of them below zero: sums need more bits.
    Positive,
    /// By column: NaNs, infinities of one sign or both, zeros, subnormals.
    Specials,
}

impl Values {
    fn value(self, source: &mut Source, col: usize) -> f32 {
        match self {
            Self::Magnitudes => source.unit() * 2f32.powi(source.below(24) as i32 - 12),
            Self::Integers => source.small_integer(),
            Self::Positive => source.small_integer().abs(),
            Self::Specials => special(source, col),
        }
    }
}

fn special(source: &mut Source, col: usize) -> f32 {
    let (now, plain) = (source.below(4) == 0, source.unit());
    let subnormal = f32::from_bits(source.bits() & 0x807f_ffff);
    match col % 9 {
        0 if now => f32::NAN,
        1 if now => f32::INFINITY,
        2 if now => f32::NEG_INFINITY,
        3 if now => f32::INFINITY.copysign(plain),
        4 => -0.0,
        5 => subnormal,
        6 if now => subnormal,
        6 => plain * f32::MIN_POSITIVE,
        7 => f32::MAX.copysign(plain),
        0..=3 | 8.. => plain,
    }
}

fn case(effort: Effort, op: ColumnSums, values: Values) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 7 + op.cols) as u64);
        // Rows of f64 are filled whole, those of other types without their padding.
        let width = if op.from == DType::F64 { op.x_ld } else { op.cols };
        let mut at = 0;
        let mut value = || {
            at += 1;
            values.value(&mut source, (at - 1) % width)
        };
        let x = match op.from {
            DType::F64 => (0..op.rows * op.x_ld)
                .flat_map(|_| {
                    let bits = f64::from(value()).to_bits();
                    [bits as u32, (bits >> 32) as u32]
                })
                .collect(),
            DType::F32 => rows_f32(op.rows, op.cols, op.x_ld, value),
            DType::Bf16 | DType::U32 | DType::U16 => rows_bf16(op.rows, op.cols, op.x_ld, value),
        };
        vec![x, Vec::new()]
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let op = ColumnSums::spaced(DType::Bf16, DType::F32, n, n, n.next_multiple_of(8));
    vec![Case::timed(op, &[Fill::Bf16, Fill::Out]).into()]
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols): (usize, usize)| {
        let op = ColumnSums::spaced(DType::Bf16, DType::F32, rows, cols, cols.next_multiple_of(2));
        Case::timed(op, &[Fill::Bf16, Fill::Out]).into()
    };
    awkward_shapes(n).map(case).into()
}
