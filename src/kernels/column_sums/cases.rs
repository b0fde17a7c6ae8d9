use crate::format::Rounding;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::ColumnSums;
use crate::op::data::{Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let draw = Draw {
        generator: Generator::Threefry,
        seed: 0x5eed,
        stream: stream(3, 1),
        step: 9,
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
                let op = ColumnSums::new(from, to, rows, cols, ld);
                for integers in [false, true] {
                    cases.push(case(effort, op, integers));
                }
                if to == DType::Bf16 {
                    let rounding = Rounding::Stochastic;
                    cases.push(case(effort, ColumnSums { rounding, draw, ..op }, false));
                    cases.push(case(effort, ColumnSums { rounding, draw, ..op }, true));
                }
            }
        }
        cases.push(case(
            effort,
            ColumnSums::new(DType::F64, DType::F64, rows, cols, ld),
            false,
        ));
    }
    let generator = Generator::Philox;
    let (rounding, draw) = (Rounding::Stochastic, Draw { generator, ..draw });
    let op = ColumnSums::new(DType::F32, DType::Bf16, 33, 65, 66);
    cases.push(case(Effort::Quick, ColumnSums { rounding, draw, ..op }, true));
    if !cfg!(miri) {
        cases.extend(long(ColumnSums { rounding, draw, ..op }));
    }
    cases
}

/// More rows than 65,535 per invocation, where software adapters leave a loop: of `columns`, then of `tree` as well.
/// Whole numbers, for in a bound of so many terms the missing ones would hide.
fn long(stochastic: ColumnSums) -> [Case; 3] {
    let nearest = |from, rows, cols| ColumnSums::new(from, DType::F32, rows, cols, 2);
    let rounded = ColumnSums {
        rows: 140_000,
        cols: 2,
        x_ld: 2,
        ..stochastic
    };
    [
        case(Effort::Quick, nearest(DType::Bf16, 140_000, 2), true),
        case(Effort::Quick, rounded, true),
        case(Effort::Full, nearest(DType::F32, 540_000, 1), true),
    ]
}

fn case(effort: Effort, op: ColumnSums, integers: bool) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 7 + op.cols) as u64);
        // Magnitudes far apart, so that the order of the sum shows.
        let mut value = || match integers {
            true => source.small_integer(),
            false => source.unit() * 2f32.powi(source.below(24) as i32 - 12),
        };
        let x = match op.from {
            DType::F64 => (0..op.rows * op.x_ld)
                .flat_map(|_| {
                    let bits = f64::from(value()).to_bits();
                    [bits as u32, (bits >> 32) as u32]
                })
                .collect(),
            DType::F32 => rows_f32(op.rows, op.cols, op.x_ld, value),
            _ => rows_bf16(op.rows, op.cols, op.x_ld, value),
        };
        vec![x, Vec::new()]
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let op = ColumnSums::new(DType::Bf16, DType::F32, n, n, n.next_multiple_of(8));
    vec![Case::timed(op, &[Fill::Bf16, Fill::Out]).into()]
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols): (usize, usize)| {
        let op = ColumnSums::new(DType::Bf16, DType::F32, rows, cols, cols.next_multiple_of(2));
        Case::timed(op, &[Fill::Bf16, Fill::Out]).into()
    };
    awkward_shapes(n).map(case).into()
}
