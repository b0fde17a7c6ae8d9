use crate::format::random::{Draw, Generator, stream};
use crate::kernels::Dropout;
use crate::op::Op as _;
use crate::op::data::{FAR, FAR_ODD, Source};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 0x0dd5_eed5_1234_5678,
    stream: stream(7, 5),
    step: 9,
    first_block: 0,
};

/// Nothing is dropped, one draw in 65536 is, a fifth, half (the scale is a power of two), all but one draw.
const PROBABILITIES: [f32; 5] = [0.0, 1.0 / 65536.0, 0.2, 0.5, 65535.0 / 65536.0];

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let philox = Draw {
        generator: Generator::Philox,
        ..DRAW
    };
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::Bf16, DType::F64] {
        for in_place in [false, true] {
            for (len, effort) in [
                (0, Effort::Quick),
                (1, Effort::Quick),
                (7, Effort::Quick),
                (4099, Effort::Quick),
                ((1 << 20) + 1, Effort::Full),
            ] {
                let op = Dropout::contiguous(dtype, len, 0.2);
                for draw in [DRAW, philox] {
                    cases.push(case(effort, Dropout { in_place, draw, ..op }));
                }
            }
            for p in PROBABILITIES {
                let op = Dropout::contiguous(dtype, 1000, p);
                let op = Dropout {
                    in_place,
                    draw: DRAW,
                    ..op
                };
                cases.push(case(Effort::Quick, op));
                let training = false;
                cases.push(case(Effort::Quick, Dropout { training, ..op }));
            }
            for (rows, cols, ld, effort) in [
                (3, 5, 6, Effort::Quick),
                (31, 8, 8, Effort::Quick),
                (67, 33, 40, Effort::Quick),
                (515, 513, 520, Effort::Full),
            ] {
                let op = Dropout {
                    x_ld: ld,
                    y_ld: ld + 2,
                    in_place,
                    draw: DRAW,
                    ..Dropout::new(rows, cols, dtype, 0.4)
                };
                cases.push(case(effort, op));
            }
            // Pieces whose indices carry: of whole runs of eight, and of rows that straddle them.
            for first_block in [FAR, FAR_ODD] {
                let draw = Draw {
                    first_block,
                    ..philox
                };
                let whole = Dropout::contiguous(dtype, 40, 0.4);
                let rows = Dropout::new(5, 5, dtype, 0.4);
                cases.extend([whole, rows].map(|op| case(Effort::Quick, Dropout { in_place, draw, ..op })));
            }
            // Elements whose bits are the threshold, of both generators.
            for draw in [DRAW, philox] {
                let p = draw.bits(5) as f32 / 65536.0;
                let op = Dropout::contiguous(dtype, 16, p);
                cases.push(case(Effort::Quick, Dropout { in_place, draw, ..op }));
            }
        }
    }
    cases
}

/// Any bits; awkward values in both halves of a word; significands of all exponents, subnormals among them.
fn case(effort: Effort, op: Dropout) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new(23);
        let mut word = || match (source.below(3), op.dtype) {
            (0, DType::Bf16) => (source.awkward() & 0xffff_0000) | (source.awkward() >> 16),
            (0, _) => source.awkward(),
            (1, DType::Bf16) => source.bits() & 0x81ff_81ff,
            (1, _) => source.bits() & 0x81ff_ffff,
            _ => source.unit().to_bits() | (source.bits() & 0xbfff),
        };
        let mut words = |words: u64| (0..words).map(|_| word()).collect();
        op.operands().iter().map(|spec| words(spec.words)).collect()
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    vec![
        Case::timed(
            Dropout::contiguous(DType::F32, n * n, 0.5),
            &[Fill::F32, Fill::Out],
        )
        .into(),
        Case::timed(
            Dropout::contiguous(DType::Bf16, n * n, 0.5),
            &[Fill::Bf16, Fill::Out],
        )
        .into(),
    ]
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols)| {
        let op = Dropout::new(rows, cols, DType::Bf16, 0.5);
        Case::timed(op, &[Fill::Bf16, Fill::Out]).into()
    };
    awkward_shapes(n).map(case).into()
}
