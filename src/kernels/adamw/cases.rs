use super::AdamW;
use crate::format::Rounding::{Nearest, Stochastic};
use crate::format::random::{Generator, stream};
use crate::gpu::StepValues;
use crate::op::data::{FAR, FAR_ODD, Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let types = [DType::F32, DType::Bf16];
    for (rows, cols, pad, effort) in [
        (0, 5, 1, Effort::Quick),
        (5, 0, 2, Effort::Quick),
        (1, 1, 1, Effort::Quick),
        (3, 5, 3, Effort::Quick),
        (16, 24, 0, Effort::Quick),
        (33, 65, 7, Effort::Quick),
        (513, 776, 0, Effort::Full),
    ] {
        for i in 0..16 {
            // Everything in two shapes; else all f32, f32 weights only, bf16 weights only, all bf16.
            if ![3, 33].contains(&rows) && ![0, 2, 13, 15].contains(&i) {
                continue;
            }
            let [g, w, m, v] = [0, 1, 2, 3].map(|bit| types[(i >> bit) & 1]);
            let op = values(AdamW {
                g_ld: cols + pad,
                w_ld: cols + pad,
                m_ld: (cols + pad).next_multiple_of(4),
                v_ld: (cols + pad).next_multiple_of(8),
                ..AdamW::new(rows, cols, [g, w, m, v])
            });
            add(&mut cases, effort, &op);
        }
        let op = values(AdamW::new(rows, cols, [DType::F64; 4]));
        let keep_f32 = cols == 5;
        cases.push(case(effort, AdamW { keep_f32, ..op }, false));
    }
    cases.extend(with_factor());
    cases.extend(with_pairs());
    // A piece whose indices carry.
    for first_block in [FAR, FAR_ODD] {
        let op = values(AdamW::new(5, 5, [DType::Bf16; 4]));
        let piece = AdamW {
            w_rounding: Stochastic,
            m_rounding: Stochastic,
            keep_f32: true,
            first_block,
            ..op
        };
        cases.push(case(Effort::Quick, piece, false));
    }
    cases
}

/// A factor of the gradient: of every type, beside a copy, compensated, with any bits.
fn with_factor() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, cols, effort) in [(7, 19usize, Effort::Quick), (513, 776, Effort::Full)] {
        let f32s = AdamW {
            copy_ld: Some((cols + 5).next_multiple_of(2)),
            ..AdamW::new(rows, cols, [DType::F32; 4])
        };
        let bf16s = AdamW {
            w_rounding: Stochastic,
            m_rounding: Stochastic,
            ..AdamW::new(rows, cols, [DType::Bf16; 4])
        };
        let compensated = AdamW {
            compensation_ld: Some((cols + 3).next_multiple_of(2)),
            ..AdamW::new(rows, cols, [DType::F32, DType::Bf16, DType::F32, DType::F32])
        };
        let wide = AdamW::new(rows, cols, [DType::F64; 4]);
        for (op, any) in [(f32s, true), (bf16s, false), (compensated, true), (wide, false)] {
            let mut op = values(op);
            op.gradient_factor = true;
            op.step.set("gradient_factor", 0.3);
            let kept = AdamW {
                keep_f32: true,
                ..op.clone()
            };
            cases.extend([case(effort, op, false), case(effort, kept, any)]);
        }
    }
    cases
}

/// A compensated bf16 second moment: beside f32 and bf16 weights, to nearest and drawn, with any bits.
fn with_pairs() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, cols, effort) in [
        (3, 5, Effort::Quick),
        (7, 19usize, Effort::Quick),
        (513, 776, Effort::Full),
    ] {
        let f32s = AdamW {
            v_rounding: Nearest,
            v_ld: cols + 3,
            copy_ld: Some((cols + 5).next_multiple_of(2)),
            ..AdamW::new(rows, cols, [DType::Bf16, DType::F32, DType::F32, DType::Bf16])
        };
        let bf16s = AdamW {
            w_rounding: Stochastic,
            m_rounding: Stochastic,
            compensation_ld: Some((cols + 3).next_multiple_of(2)),
            ..AdamW::new(rows, cols, [DType::Bf16; 4])
        };
        for (op, any) in [(f32s, true), (bf16s, false)] {
            let op = values(AdamW {
                v_compensated: true,
                ..op
            });
            let kept = AdamW {
                keep_f32: true,
                ..op.clone()
            };
            cases.extend([case(effort, op, false), case(effort, kept, any)]);
        }
    }
    cases
}

/// One choice of types: to nearest, with a copy, with draws, with draws of some; plain and kept; any bits.
fn add(cases: &mut Vec<Case>, effort: Effort, op: &AdamW) {
    let nearest = AdamW {
        v_rounding: Nearest,
        allow_nearest_v: true,
        ..op.clone()
    };
    let drawn = AdamW {
        w_rounding: Stochastic,
        m_rounding: Stochastic,
        ..op.clone()
    };
    let kept = |op: &AdamW| AdamW {
        keep_f32: true,
        ..op.clone()
    };
    cases.push(case(effort, nearest.clone(), false));
    cases.push(case(effort, kept(&nearest), true));
    if op.w == DType::F32 {
        let copy_ld = Some((op.cols + 1).next_multiple_of(4));
        let copied = AdamW {
            copy_ld,
            ..drawn.clone()
        };
        cases.push(case(effort, kept(&copied), false));
        cases.push(case(effort, copied, true));
    }
    if [op.w, op.m, op.v].contains(&DType::Bf16) {
        let philox = AdamW {
            generator: Generator::Philox,
            ..drawn.clone()
        };
        cases.push(case(effort, drawn.clone(), false));
        cases.push(case(effort, kept(&drawn), false));
        cases.push(case(effort, kept(&philox), true));
    }
    if op.w == DType::Bf16 {
        let compensation_ld = Some((op.cols + 1).next_multiple_of(2) + 2);
        let compensated = AdamW {
            compensation_ld,
            ..op.clone()
        };
        let drawn = AdamW {
            compensation_ld,
            ..drawn.clone()
        };
        cases.push(case(effort, compensated.clone(), false));
        cases.push(case(effort, kept(&compensated), false));
        cases.push(case(effort, kept(&drawn), false));
        cases.push(case(effort, kept(&drawn), true));
    }
    if [op.w, op.m, op.v] == [DType::Bf16; 3] {
        for some in [
            op.clone(),
            AdamW {
                m_rounding: Nearest,
                ..drawn.clone()
            },
            AdamW {
                v_rounding: Nearest,
                allow_nearest_v: true,
                ..drawn
            },
        ] {
            cases.push(case(effort, kept(&some), false));
        }
    }
}

/// Scalars of which each can be told from its neighbours: an epsilon and a decay that count.
fn values(op: AdamW) -> AdamW {
    AdamW {
        w_stream: stream(1, 5),
        m_stream: stream(2, 5),
        v_stream: stream(3, 5),
        step: StepValues::new(0x0123_4567_89ab_cdef, 77)
            .with("learning_rate", 0.05)
            .with("beta1", 0.9)
            .with("beta2", 0.99)
            .with("epsilon", 0.01)
            .with("weight_decay", 0.1)
            .with("correction1", 3.690_037)
            .with("correction2", 33.669_466),
        ..op
    }
}

/// `any` bits, NaN, infinities and subnormals among them, or ordinary values.
fn case(effort: Effort, op: AdamW, any: bool) -> Case {
    let shape = op.clone();
    Case::new(effort, shape, move || {
        let mut source = Source::new((op.rows * 13 + op.cols) as u64);
        let mut operand = |dtype: DType, ld: usize, is_square: bool| {
            let mut value = || {
                let value = match any {
                    true => f32::from_bits(source.awkward()),
                    false => source.unit() * 2f32.powi(-(source.below(12) as i32)),
                };
                // A few second moments below zero too, where anything goes.
                match is_square && !(any && source.below(8) == 0) {
                    true => value.abs(),
                    false => value,
                }
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
            operand(op.g, op.g_ld, false),
            operand(op.w, op.w_ld, false),
            operand(op.m, op.m_ld, false),
            match op.v_compensated {
                true => pairs(&op, &mut operand),
                false => operand(op.v, op.v_ld, true),
            },
        ];
        if let Some(ld) = op.compensation_ld {
            operands.push(operand(DType::Bf16, ld, false));
        }
        let more = usize::from(op.copy_ld.is_some()) + if op.keep_f32 { 3 } else { 0 };
        operands.resize(operands.len() + more, Vec::new());
        operands
    })
}

/// Moments and their compensations, which are smaller, side by side.
fn pairs(op: &AdamW, operand: &mut dyn FnMut(DType, usize, bool) -> Vec<u32>) -> Vec<u32> {
    let [moments, lost] = [true, false].map(|is_square| operand(DType::F32, op.v_ld, is_square));
    let pair = |(moment, lost): (u32, u32)| {
        let lost = f32::from_bits(lost) / 512.0;
        moment >> 16 | lost.to_bits() & 0xffff_0000
    };
    moments.into_iter().zip(lost).map(pair).collect()
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
    let plain = AdamW::new(rows, cols, [DType::F32; 4]);
    let draws = AdamW {
        w_rounding: Stochastic,
        m_rounding: Stochastic,
        ..AdamW::new(rows, cols, [DType::Bf16; 4])
    };
    [
        Case::timed(plain, &[Fill::F32; 4]).into(),
        Case::timed(draws, &[Fill::Bf16; 4]).into(),
    ]
}
