use crate::format::Rounding;
use crate::format::random::{Generator, stream};
use crate::gpu::StepValues;
use crate::kernels::Sgd;
use crate::op::data::{FAR, Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let types = [DType::F32, DType::Bf16];
    for (rows, cols, pad, effort) in [
        (0, 5, 1, Effort::Quick),
        (1, 1, 1, Effort::Quick),
        (3, 5, 3, Effort::Quick),
        (16, 24, 0, Effort::Quick),
        (33, 65, 7, Effort::Quick),
        (513, 776, 0, Effort::Full),
    ] {
        for i in 0..8 {
            // Large: all f32, bf16 weights with f32 momentum, all bf16.
            if effort == Effort::Full && ![0, 3, 7].contains(&i) {
                continue;
            }
            let [g, w, v] = [i & 1, (i >> 1) & 1, (i >> 2) & 1].map(|bit| types[bit]);
            let op = values(Sgd {
                g_ld: cols + pad,
                w_ld: cols + pad,
                v_ld: (cols + pad).next_multiple_of(8),
                ..Sgd::new(rows, cols, [g, w, v])
            });
            cases.push(case(effort, op.clone()));
            if w == DType::F32 {
                let copy_ld = Some((cols + pad).next_multiple_of(4));
                cases.push(case(
                    effort,
                    Sgd {
                        copy_ld,
                        ..op.clone()
                    },
                ));
                let keep_f32 = true;
                cases.push(case(
                    effort,
                    Sgd {
                        copy_ld,
                        keep_f32,
                        ..op.clone()
                    },
                ));
            }
            if w == DType::Bf16 || v == DType::Bf16 {
                cases.push(case(
                    effort,
                    Sgd {
                        keep_f32: true,
                        ..op.clone()
                    },
                ));
                for generator in [Generator::Threefry, Generator::Philox] {
                    let op = Sgd {
                        rounding: Rounding::Stochastic,
                        generator,
                        ..op.clone()
                    };
                    cases.push(case(effort, op.clone()));
                    cases.push(case(
                        effort,
                        Sgd {
                            keep_f32: true,
                            ..op.clone()
                        },
                    ));
                }
            }
        }
        let op = values(Sgd::new(rows, cols, [DType::F64; 3]));
        cases.push(case(effort, op.clone()));
    }
    cases.extend(compensated());
    cases.extend(with_factor());
    // A piece whose indices carry.
    let piece = Sgd {
        rounding: Rounding::Stochastic,
        keep_f32: true,
        first_block: FAR,
        ..values(Sgd::new(5, 5, [DType::Bf16; 3]))
    };
    cases.push(case(Effort::Quick, piece));
    cases
}

/// A factor of the gradient: of every type, beside a copy, compensated, with NaN, infinities and subnormals.
fn with_factor() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, cols, effort) in [(7, 19usize, Effort::Quick), (513, 776, Effort::Full)] {
        let f32s = Sgd {
            copy_ld: Some((cols + 5).next_multiple_of(2)),
            ..Sgd::new(rows, cols, [DType::F32; 3])
        };
        let bf16s = Sgd {
            rounding: Rounding::Stochastic,
            ..Sgd::new(rows, cols, [DType::Bf16; 3])
        };
        let compensated = Sgd {
            compensation_ld: Some((cols + 3).next_multiple_of(2)),
            ..Sgd::new(rows, cols, [DType::F32, DType::Bf16, DType::F32])
        };
        let wide = Sgd::new(rows, cols, [DType::F64; 3]);
        for op in [f32s, bf16s, compensated.clone(), wide] {
            let mut op = values(op);
            op.gradient_factor = true;
            op.step.set("gradient_factor", 0.3);
            let kept = Sgd {
                keep_f32: true,
                ..op.clone()
            };
            cases.extend([case(effort, op), case(effort, kept)]);
        }
        let mut op = values(compensated);
        op.gradient_factor = true;
        op.step.set("gradient_factor", -3.0);
        op.keep_f32 = true;
        cases.push(special(effort, op));
    }
    cases
}

/// bf16 weights with compensation: every type of momentum and rounding, plain and kept, with NaN, infinities and
/// subnormals too, and a piece whose indices carry.
fn compensated() -> Vec<Case> {
    use Rounding::{Nearest, Stochastic};
    let mut cases = Vec::new();
    for (rows, cols, pad, effort) in [
        (0, 5, 1, Effort::Quick),
        (1, 1, 1, Effort::Quick),
        (5, 9usize, 3, Effort::Quick),
        (33, 65, 7, Effort::Quick),
        (513, 776, 0, Effort::Full),
    ] {
        for [g, v] in [[DType::F32; 2], [DType::F32, DType::Bf16], [DType::Bf16; 2]] {
            for (i, (rounding, y_rounding, generator)) in [
                (Nearest, Nearest, Generator::Threefry),
                (Nearest, Stochastic, Generator::Threefry),
                (Stochastic, Stochastic, Generator::Philox),
                (Stochastic, Nearest, Generator::Threefry),
            ]
            .into_iter()
            .enumerate()
            {
                let op = values(Sgd {
                    g_ld: (cols + pad).next_multiple_of(2),
                    w_ld: (cols + pad).next_multiple_of(4),
                    v_ld: (cols + pad).next_multiple_of(8),
                    compensation_ld: Some((cols + pad).next_multiple_of(2) + 2),
                    rounding,
                    y_rounding,
                    generator,
                    ..Sgd::new(rows, cols, [g, DType::Bf16, v])
                });
                let first_block = if i == 2 { FAR } else { 0 };
                let kept = Sgd {
                    keep_f32: true,
                    first_block,
                    ..op.clone()
                };
                cases.push(case(effort, op));
                cases.push(case(effort, kept.clone()));
                cases.push(special(effort, kept));
            }
        }
    }
    cases
}

/// Ordinary values, and one in eight that is not.
fn special(effort: Effort, op: Sgd) -> Case {
    const SPECIAL: [u32; 8] = [
        0x7f80_0000,
        0xff80_0000,
        0x7fc1_0000,
        0xff81_0000,
        0x0001_0000,
        0x807f_0000,
        0x8000_0000,
        0x0080_0000,
    ];
    let shape = op.clone();
    Case::new(effort, shape, move || {
        let mut source = Source::new((op.rows * 17 + op.cols) as u64);
        let mut value = || match source.below(8) {
            0 => f32::from_bits(SPECIAL[source.below(8) as usize]),
            _ => source.unit() * 2f32.powi(-(source.below(12) as i32)),
        };
        let mut operand = |dtype: DType, ld: usize| match dtype {
            DType::Bf16 => rows_bf16(op.rows, op.cols, ld, &mut value),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => rows_f32(op.rows, op.cols, ld, &mut value),
        };
        let c_ld = op.compensation_ld.unwrap_or(2);
        vec![
            operand(op.g, op.g_ld),
            operand(op.w, op.w_ld),
            operand(op.v, op.v_ld),
            operand(DType::Bf16, c_ld),
            Vec::new(),
            Vec::new(),
        ]
    })
}

fn values(op: Sgd) -> Sgd {
    Sgd {
        w_stream: stream(1, 5),
        v_stream: stream(2, 5),
        step: StepValues::new(0x0123_4567_89ab_cdef, 77)
            .with("learning_rate", 0.05)
            .with("momentum", 0.9)
            .with("weight_decay", 0.001),
        ..op
    }
}

fn case(effort: Effort, op: Sgd) -> Case {
    let shape = op.clone();
    Case::new(effort, shape, move || {
        let mut source = Source::new((op.rows * 13 + op.cols) as u64);
        let mut operand = |dtype: DType, ld: usize| {
            let mut value = || source.unit() * 2f32.powi(-(source.below(12) as i32));
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
            operand(op.g, op.g_ld),
            operand(op.w, op.w_ld),
            operand(op.v, op.v_ld),
        ];
        if let Some(ld) = op.compensation_ld {
            operands.push(operand(DType::Bf16, ld));
        }
        let more = usize::from(op.copy_ld.is_some()) + if op.keep_f32 { 2 } else { 0 };
        operands.resize(operands.len() + more, Vec::new());
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
    let mut plain = Sgd::new(rows, cols, [DType::F32; 3]);
    plain.step.set("momentum", 0.9);
    let mut draws = Sgd::new(rows, cols, [DType::Bf16; 3]);
    draws.rounding = Rounding::Stochastic;
    draws.step = plain.step.clone();
    [
        Case::timed(plain, &[Fill::F32, Fill::F32, Fill::F32]).into(),
        Case::timed(draws, &[Fill::Bf16, Fill::Bf16, Fill::Bf16]).into(),
    ]
}
