#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::AdamW;
use crate::cpu::Cpu;
use crate::error::Error;
use crate::format::{Rounding, bf16};
use crate::op::{Arg, Args, Op};
use crate::tensor::DType::{Bf16, F32};

const COLS: usize = 2048;
const STEPS: u32 = 1000;

/// The second moments, at first those of one gradient of 1, after a thousand steps without gradients.
fn without_gradients(op: &AdamW) -> Vec<f64> {
    let cpu = Cpu::detect();
    let one = u32::from(bf16::from_f32(1.0 - 0.999));
    let gradients = vec![0; COLS];
    let (mut w, mut m) = (vec![0; COLS], vec![0; COLS]);
    let mut v = vec![one | one << 16; COLS / 2];
    for number in 0..STEPS {
        let operands = vec![
            Arg::Read(&gradients),
            Arg::Write(&mut w),
            Arg::Write(&mut m),
            Arg::Write(&mut v),
        ];
        let mut step = op.step_values();
        step.number = number;
        op.cpu(&cpu, Args::new(operands, step)).unwrap();
    }
    bf16::halves(&v)
        .iter()
        .map(|half| f64::from(bf16::widen(*half)))
        .collect()
}

#[test]
fn a_bf16_second_moment_to_nearest_only_ratchets_up() {
    let mut op = AdamW::new(1, COLS, [F32, F32, F32, Bf16]);
    let start = f64::from(bf16::widen(bf16::from_f32(1.0 - 0.999)));
    op.v_rounding = Rounding::Nearest;
    assert!(matches!(op.check(), Err(Error::Value { .. })));
    op.allow_nearest_v = true;
    assert!(without_gradients(&op).iter().all(|v| *v == start));

    let mut op = AdamW::new(1, COLS, [F32, F32, F32, Bf16]);
    op.step.seed = 5;
    let after = without_gradients(&op);
    let mean = after.iter().sum::<f64>() / COLS as f64 / start;
    // One element's deviation is below 0.06 of the start, the mean's below 0.0014.
    let exact = f64::from(0.999f32).powi(STEPS as i32);
    assert!((mean - exact).abs() < 0.006, "{mean} for {exact}");
}

#[test]
fn every_bf16_significand_stays_to_nearest_up_to_the_limit() {
    // 1 - 2^-9 is the first beta2 that moves one: 1.0 itself is then a tie.
    let beta2 = f32::from_bits((1.0f32 - 1.0 / 512.0).to_bits() + 1);
    for half in bf16::from_f32(1.0)..bf16::from_f32(2.0) {
        let decayed = beta2 * bf16::widen(half);
        assert_eq!(bf16::round_nearest(decayed.to_bits()), half);
    }
}

#[test]
fn roundings_that_draw_have_streams_of_their_own() {
    let mut op = AdamW::new(2, 2, [Bf16; 4]);
    op.m_stream = op.v_stream;
    // To nearest the first moment draws nothing.
    assert!(op.check().is_ok());
    op.m_rounding = Rounding::Stochastic;
    assert!(matches!(op.check(), Err(Error::Value { value, .. }) if value == "2"));
}

#[test]
fn compensation_is_of_bf16_weights() {
    let mut op = AdamW::new(2, 2, [F32; 4]);
    op.compensation_ld = Some(2);
    assert!(matches!(op.check(), Err(Error::DType { operand: "w", .. })));
    op.w = Bf16;
    assert!(op.check().is_ok());
}

#[test]
fn corrections_are_those_of_the_step() {
    let mut step = AdamW::new(1, 1, [F32; 4]).step;
    AdamW::correct(&mut step, 3).unwrap();
    let exact = |beta: f32| 1.0 / (1.0 - f64::from(beta).powi(3));
    for (name, beta) in [("correction1", 0.9), ("correction2", 0.999)] {
        let got = f64::from(step.get("adamw", name).unwrap());
        assert!((got / exact(beta) - 1.0).abs() < 1e-7, "{name} {got}");
    }
    assert!(matches!(AdamW::correct(&mut step, 0), Err(Error::Value { .. })));
    step.set("beta2", 1.0);
    assert!(matches!(AdamW::correct(&mut step, 3), Err(Error::Value { .. })));
}

/// Weights and both moments after a step with these gradients.
fn stepped(op: &AdamW, factor: f32, gradients: &[u32]) -> [Vec<u32>; 3] {
    let cols = gradients.len();
    let (mut w, mut m, mut v) = (
        vec![0x3f80_0001; cols],
        vec![0x3e4c_cccd; cols],
        vec![0x3a4c_cccd; cols],
    );
    let operands = vec![
        Arg::Read(gradients),
        Arg::Write(&mut w),
        Arg::Write(&mut m),
        Arg::Write(&mut v),
    ];
    let step = op.step_values().with("gradient_factor", factor);
    op.cpu(&Cpu::detect(), Args::new(operands, step)).unwrap();
    [w, m, v]
}

#[test]
fn gradients_are_multiplied_first_and_rounded_once() {
    let gradients: Vec<f32> = (0..64).map(|i| 0.1 + 0.037 * i as f32).collect();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let plain = AdamW::new(1, 64, [F32; 4]);
    let with_factor = AdamW {
        gradient_factor: true,
        ..plain.clone()
    };
    let before = stepped(&plain, 0.3, &bits(&gradients));
    assert_eq!(stepped(&with_factor, 1.0, &bits(&gradients)), before);
    let products: Vec<f32> = gradients.iter().map(|gradient| 0.3 * gradient).collect();
    let multiplied = stepped(&plain, 1.0, &bits(&products));
    assert_eq!(stepped(&with_factor, 0.3, &bits(&gradients)), multiplied);
    assert_ne!(before, multiplied);
}
