use crate::format::Rounding;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::Convert;
use crate::op::Op as _;
use crate::op::data::{FAR, FAR_ODD, Source};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
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
                    first_block: 0,
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
    cases.extend(padded());
    // Pieces whose indices carry: of whole runs of eight, and of rows that straddle them.
    let far = Draw {
        first_block: FAR,
        ..DRAW
    };
    let whole = Convert::contiguous(DType::F32, DType::Bf16, 40);
    let rows = Convert {
        rows: 5,
        cols: 5,
        src_ld: 7,
        dst_ld: 8,
        ..whole
    };
    cases.extend([whole, rows].map(|op| case(Effort::Quick, op.with_rounding(Rounding::Stochastic, far))));
    let generators = [Generator::Threefry, Generator::Philox];
    for first_block in [FAR, FAR_ODD] {
        let draw = |generator| Draw {
            generator,
            first_block,
            ..far
        };
        cases.extend(generators.map(|generator| thresholds(draw(generator))));
    }
    cases
}

/// What rows with leading dimensions draw from.
const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 42,
    stream: stream(1, 1),
    step: 3,
    first_block: 0,
};

fn padded() -> Vec<Case> {
    let mut cases = Vec::new();
    // Padded rows of odd length: draws straddle the eights, rows end in half a word.
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
        cases.push(case(effort, base.with_rounding(Rounding::Stochastic, DRAW)));
        let back = Convert {
            from: DType::Bf16,
            to: DType::F32,
            src_ld: dst_ld,
            dst_ld: src_ld,
            ..base
        };
        cases.push(case(effort, back));
    }
    // Leading dimensions far wider than the rows; every pair with f64.
    for (rows, cols, ld) in [(5, 9, 1000), (2, 1, 4098)] {
        let types = [DType::F32, DType::Bf16, DType::F64];
        for (from, to) in types.into_iter().flat_map(|from| types.map(|to| (from, to))) {
            if from == to {
                continue;
            }
            let wide = Convert {
                rows,
                cols,
                src_ld: ld,
                dst_ld: ld + 2,
                ..Convert::contiguous(from, to, 0)
            };
            for op in [
                wide,
                Convert {
                    saturate: true,
                    ..wide
                },
                Convert::contiguous(from, to, rows * 8001),
            ] {
                cases.push(case(Effort::Quick, op));
            }
            if from == DType::F32 && to == DType::Bf16 {
                let op = wide.with_rounding(Rounding::Stochastic, DRAW);
                cases.push(case(Effort::Quick, op));
            }
        }
    }
    cases
}

/// Elements that the least change of their draws rounds the other way: the first half just up, the other just down.
fn thresholds(draw: Draw) -> Case {
    let op = Convert::contiguous(DType::F32, DType::Bf16, 64).with_rounding(Rounding::Stochastic, draw);
    Case::new(Effort::Quick, op, move || {
        let least = |i| 0x3f81_0000 - draw.bits(i) - u32::from(i >= 32);
        vec![(0..64).map(least).collect(), Vec::new()]
    })
}

fn case(effort: Effort, op: Convert) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 1000 + op.cols) as u64);
        let words = op.operands()[0].words;
        let src = match op.from {
            DType::F64 => (0..words / 2).flat_map(|_| wide(&mut source)).collect(),
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                (0..words).map(|_| source.awkward()).collect()
            }
        };
        vec![src, Vec::new()]
    })
}

/// The words of an f64: any bits, an awkward f32, or one that a few low bits move off it.
fn wide(source: &mut Source) -> [u32; 2] {
    let value = f64::from(f32::from_bits(source.awkward())).to_bits();
    let bits = match source.below(4) {
        0 => u64::from(source.bits()) << 32 | u64::from(source.bits()),
        1 => value.wrapping_add(u64::from(source.below(3))).wrapping_sub(1),
        _ => value,
    };
    [bits as u32, (bits >> 32) as u32]
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
