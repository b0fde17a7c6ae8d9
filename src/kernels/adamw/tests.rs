#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::AdamW;
use crate::cpu::Cpu;
use crate::error::Error;
use crate::format::{Rounding, bf16};
use crate::op::{Arg, Args, Op};
use crate::tensor::DType::{Bf16, F32};

const STEPS: u32 = 1000;

/// Second moments of these codes after `steps` steps with such gradients, by the CPU device.
fn moments(op: &AdamW, codes: &[u16], gradient: f32, steps: u32) -> Vec<f64> {
    let cpu = Cpu::detect();
    let cols = codes.len();
    let gradients = vec![gradient.to_bits(); cols];
    let (mut w, mut m) = (vec![0; cols], vec![0; cols]);
    let mut v: Vec<u32> = match op.v_compensated {
        true => codes.iter().map(|code| u32::from(*code)).collect(),
        false => codes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[low, high]| u32::from(*low) | u32::from(*high) << 16)
            .collect(),
    };
    for number in 0..steps {
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
    let halves = bf16::halves(&v).iter().map(|half| f64::from(bf16::widen(*half)));
    match op.v_compensated {
        true => halves.step_by(2).collect(),
        false => halves.collect(),
    }
}

/// Every significand, at three exponents.
fn significands() -> Vec<u16> {
    [1.0f32, 9.765_625e-4, 1e10]
        .into_iter()
        .map(|start| bf16::from_f32(start) & 0xff80)
        .flat_map(|first| first..first + 128)
        .collect()
}

/// The mean over `codes` of what is left of them after steps without gradients.
fn left(op: &AdamW, codes: &[u16]) -> f64 {
    let after = moments(op, codes, 0.0, STEPS);
    let shares = after
        .iter()
        .zip(codes)
        .map(|(after, code)| after / f64::from(bf16::widen(*code)));
    shares.sum::<f64>() / codes.len() as f64
}

#[test]
fn a_bf16_second_moment_to_nearest_only_ratchets_up() {
    let codes = significands();
    let mut op = AdamW::new(1, codes.len(), [F32, F32, F32, Bf16]);
    op.v_rounding = Rounding::Nearest;
    assert!(matches!(op.check(), Err(Error::Value { .. })));
    op.allow_nearest_v = true;
    assert!(op.check().is_ok());
    let start: Vec<_> = codes.iter().map(|code| f64::from(bf16::widen(*code))).collect();
    assert_eq!(moments(&op, &codes, 0.0, STEPS), start);
    // Up it goes all the same.
    let grown = moments(&op, &codes, 1e7, 1);
    assert!(grown.iter().zip(&start).all(|(grown, start)| grown > start));
}

#[test]
fn a_bf16_second_moment_decays_stochastically_and_compensated() {
    let codes: Vec<_> = significands().into_iter().cycle().take(1536).collect();
    let exact = f64::from(0.999f32).powi(STEPS as i32);
    let mut drawn = AdamW::new(1, codes.len(), [F32, F32, F32, Bf16]);
    drawn.step.seed = 5;
    // One element's deviation is below 0.06 of the start, the mean's below 0.0016.
    let mean = left(&drawn, &codes);
    assert!((mean - exact).abs() < 0.006, "{mean} for {exact}");
    for (rounding, bound) in [(Rounding::Nearest, 0.002), (Rounding::Stochastic, 0.002)] {
        let paired = AdamW {
            v_compensated: true,
            v_rounding: rounding,
            ..drawn.clone()
        };
        assert!(paired.check().is_ok(), "no ratchet, so no refusal");
        let mean = left(&paired, &codes);
        assert!((mean - exact).abs() < bound, "{rounding}: {mean} for {exact}");
    }
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
fn pairs_are_of_bf16_second_moments() {
    let mut op = AdamW::new(2, 2, [F32; 4]);
    op.v_compensated = true;
    assert!(matches!(op.check(), Err(Error::DType { operand: "v", .. })));
    op.v = Bf16;
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
