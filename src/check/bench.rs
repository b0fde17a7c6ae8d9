//! The shapes that are measured: each is also checked.

use super::{Case, Effort, data::Source};
use crate::format::Rounding;
use crate::format::random::Draw;
use crate::ops::{Convert, Copy, Fmac, FmacMatmul};
use crate::tensor::DType;

/// The cases to time at size `n`: matrices of `n` x `n`, runs of `n * n` elements.
#[must_use]
pub fn bench_cases(n: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let words = (n * n) as u64;
    cases.push(Case::new(Effort::Full, Copy { words }, move || {
        vec![random_f32(n * n, 1), Vec::new()]
    }));
    let encode = Convert::contiguous(DType::F32, DType::Bf16, n * n);
    let draw = Draw {
        seed: 1,
        ..Draw::default()
    };
    for op in [encode, encode.with_rounding(Rounding::Stochastic, draw)] {
        cases.push(Case::new(Effort::Full, op, move || {
            vec![random_f32(n * n, 1), Vec::new()]
        }));
    }
    for op in [
        FmacMatmul::new(n, n, n),
        FmacMatmul::new(n, n, n).with_rounding(Rounding::Stochastic, draw),
    ] {
        cases.push(Case::new(Effort::Full, op, move || {
            vec![
                random_bf16(n * op.a_ld, 1),
                random_bf16(n * op.b_ld, 2),
                Vec::new(),
            ]
        }));
    }
    let fmac = Fmac::contiguous(n * n);
    for op in [fmac, fmac.with_rounding(Rounding::Stochastic, draw)] {
        cases.push(Case::new(Effort::Full, op, move || {
            (1..=3).map(|seed| random_bf16(n * n, seed)).collect()
        }));
    }
    let decode = Convert::contiguous(DType::Bf16, DType::F32, n * n);
    cases.push(Case::new(Effort::Full, decode, move || {
        vec![random_bf16(n * n, 1), Vec::new()]
    }));
    cases
}

fn random_f32(len: usize, seed: u64) -> Vec<u32> {
    let mut source = Source::new(seed);
    (0..len).map(|_| source.unit().to_bits()).collect()
}

fn random_bf16(len: usize, seed: u64) -> Vec<u32> {
    let mut source = Source::new(seed);
    (0..len.div_ceil(2))
        .map(|_| u32::from(source.bf16()) | (u32::from(source.bf16()) << 16))
        .collect()
}
