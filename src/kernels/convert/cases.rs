use crate::format::Rounding;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::Convert;
use crate::op::Op as _;
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes, data::Source};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = [
        (0, Effort::Quick),
        (1, Effort::Quick),
        (7, Effort::Quick),
        (8, Effort::Quick),
    ];
    let more = [
        (1023, Effort::Quick),
        (4096, Effort::Quick),
        ((1 << 20) + 3, Effort::Full),
    ];
    for (len, effort) in sizes.into_iter().chain(more) {
        let encode = Convert::contiguous(DType::F32, DType::Bf16, len);
        cases.push(case(effort, encode));
        cases.push(case(
            effort,
            Convert {
                saturate: true,
                ..encode
            },
        ));
        for generator in [Generator::Threefry, Generator::Philox] {
            for saturate in [false, true] {
                let draw = Draw {
                    generator,
                    seed: 0x0123_4567_89ab_cdef,
                    stream: stream(7, 3),
                    step: 11,
                };
                cases.push(case(
                    effort,
                    Convert {
                        saturate,
                        ..encode.with_rounding(Rounding::Stochastic, draw)
                    },
                ));
            }
        }
        cases.push(case(effort, Convert::contiguous(DType::Bf16, DType::F32, len)));
    }
    // Padded rows of odd length: draws straddle the eights, rows end in half a word.
    let draw = Draw {
        seed: 42,
        stream: stream(1, 1),
        step: 3,
        ..Draw::default()
    };
    for (rows, cols, src_ld, dst_ld, effort) in [
        (3, 5, 7, 8, Effort::Quick),
        (67, 33, 33, 40, Effort::Quick),
        (513, 515, 516, 520, Effort::Full),
    ] {
        let base = Convert {
            rows,
            cols,
            src_ld,
            dst_ld,
            ..Convert::contiguous(DType::F32, DType::Bf16, 0)
        };
        cases.push(case(effort, base));
        cases.push(case(effort, base.with_rounding(Rounding::Stochastic, draw)));
        let back = Convert {
            from: DType::Bf16,
            to: DType::F32,
            src_ld: dst_ld,
            dst_ld: src_ld,
            ..base
        };
        cases.push(case(effort, back));
    }
    cases
}

fn case(effort: Effort, op: Convert) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 1000 + op.cols) as u64);
        let words = op.operands()[0].words;
        vec![(0..words).map(|_| source.awkward()).collect(), Vec::new()]
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let seed = 1;
    let draw = Draw {
        seed,
        ..Draw::default()
    };
    let philox = Draw {
        generator: Generator::Philox,
        ..draw
    };
    let encode = Convert::contiguous(DType::F32, DType::Bf16, n * n);
    let decode = Convert::contiguous(DType::Bf16, DType::F32, n * n);
    let stochastic = |draw| encode.with_rounding(Rounding::Stochastic, draw);
    let encodes = [encode, stochastic(draw), stochastic(philox)];
    let mut cases: Vec<BenchCase> = encodes
        .map(|op| Case::timed(op, &[Fill::F32, Fill::Out]).into())
        .into();
    cases.push(Case::timed(decode, &[Fill::Bf16, Fill::Out]).into());
    cases
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols)| {
        let op = Convert::contiguous(DType::F32, DType::Bf16, rows * cols);
        Case::timed(op, &[Fill::F32, Fill::Out]).into()
    };
    awkward_shapes(n).map(case).into()
}
