use super::Accumulate;
use crate::format::Rounding::{Nearest, Stochastic};
use crate::format::random::{Draw, Generator, stream};
use crate::op::data::{FAR, FAR_ODD, Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 0x0123_4567_89ab_cdef,
    stream: stream(8, 5),
    step: 77,
    first_block: 0,
};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let philox = Draw {
        generator: Generator::Philox,
        ..DRAW
    };
    let mut cases = Vec::new();
    let types = [DType::F32, DType::Bf16];
    for (rows, cols, pad, effort) in [
        (0, 5usize, 1, Effort::Quick),
        (5, 0, 2, Effort::Quick),
        (3, 5, 3, Effort::Quick),
        (16, 24, 0, Effort::Quick),
        (33, 65, 7, Effort::Quick),
        (513, 776, 0, Effort::Full),
    ] {
        for pair in 0..4 {
            let op = Accumulate {
                x_ld: (cols + pad).next_multiple_of(2),
                sum_ld: (cols + pad).next_multiple_of(4) + 2,
                ..Accumulate::new(rows, cols, types[pair & 1], types[pair >> 1])
            };
            let drawn = op.with_rounding(Stochastic, DRAW);
            cases.push(case(effort, op, false));
            cases.push(case(effort, kept(op), true));
            cases.push(case(effort, anew(kept(drawn)), true));
            if op.sum == DType::Bf16 {
                cases.push(case(effort, drawn, false));
                cases.push(case(effort, kept(drawn), false));
                cases.push(case(effort, kept(op.with_rounding(Stochastic, philox)), true));
                cases.push(case(effort, anew(op.with_rounding(Nearest, DRAW)), false));
            }
        }
        let wide = Accumulate::new(rows, cols, DType::F64, DType::F64);
        cases.push(case(effort, wide, false));
        cases.push(case(effort, kept(wide), false));
        cases.push(case(effort, anew(wide), false));
    }
    // A piece whose indices carry.
    for first_block in [FAR, FAR_ODD] {
        let draw = Draw { first_block, ..DRAW };
        let op = Accumulate::new(5, 5, DType::F32, DType::Bf16).with_rounding(Stochastic, draw);
        cases.push(case(Effort::Quick, kept(op), false));
    }
    cases
}

fn kept(op: Accumulate) -> Accumulate {
    Accumulate { keep_f32: true, ..op }
}

fn anew(op: Accumulate) -> Accumulate {
    Accumulate { keep: false, ..op }
}

/// `any` bits, NaN, infinities and subnormals among them, or ordinary values. A sum that begins anew held any.
fn case(effort: Effort, op: Accumulate, any: bool) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 13 + op.cols) as u64);
        let mut operand = |dtype: DType, ld: usize, any: bool| {
            let mut value = || match any {
                true => f32::from_bits(source.awkward()),
                false => source.unit() * 2f32.powi(-(source.below(12) as i32)),
            };
            match dtype {
                DType::F64 => (0..op.rows * ld)
                    .flat_map(|_| {
                        let bits = f64::from(value()).to_bits();
                        [bits as u32, (bits >> 32) as u32]
                    })
                    .collect(),
                DType::F32 | DType::U32 | DType::U16 => rows_f32(op.rows, op.cols, ld, value),
                DType::Bf16 => rows_bf16(op.rows, op.cols, ld, value),
            }
        };
        let mut operands = vec![
            operand(op.x, op.x_ld, any),
            operand(op.sum, op.sum_ld, any || !op.keep),
        ];
        if op.keep_f32 {
            operands.push(Vec::new());
        }
        operands
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    timed(n, n).into()
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    awkward_shapes(n)
        .into_iter()
        .flat_map(|(rows, cols)| timed(rows, cols))
        .collect()
}

/// All f32, and all bf16 with draws.
fn timed(rows: usize, cols: usize) -> [BenchCase; 2] {
    let plain = Accumulate::new(rows, cols, DType::F32, DType::F32);
    let draws = Accumulate::new(rows, cols, DType::Bf16, DType::Bf16).with_rounding(Stochastic, DRAW);
    [
        Case::timed(plain, &[Fill::F32; 2]).into(),
        Case::timed(draws, &[Fill::Bf16; 2]).into(),
    ]
}
