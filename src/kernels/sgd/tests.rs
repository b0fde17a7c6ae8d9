#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::Sgd;
use crate::cpu::Cpu;
use crate::error::Error;
use crate::format::{Rounding, bf16};
use crate::op::{Arg, Args, Op};
use crate::tensor::DType::{Bf16, F32};

const COLS: usize = 64;
const STEPS: u32 = 4096;

/// The first step's rate, bf16(1e-3), as a weight of 1 takes it 4,096 times: weights and compensation.
fn walk(op: &Sgd, on_reference: bool) -> [Vec<f32>; 2] {
    let cpu = Cpu::detect();
    let one = u32::from(bf16::from_f32(1.0));
    let gradients = vec![(-1f32).to_bits(); COLS];
    let mut w = vec![one | one << 16; COLS / 2];
    let (mut v, mut c) = (vec![0; COLS], vec![0; COLS / 2]);
    for number in 0..STEPS {
        let mut operands = vec![Arg::Read(&gradients), Arg::Write(&mut w), Arg::Write(&mut v)];
        if op.compensation_ld.is_some() {
            operands.push(Arg::Write(&mut c));
        }
        let mut step = op
            .step_values()
            .with("learning_rate", bf16::widen(bf16::from_f32(1e-3)));
        step.number = number;
        let args = Args::new(operands, step);
        match on_reference {
            true => op.reference(args).unwrap(),
            false => op.cpu(&cpu, args).unwrap(),
        }
    }
    let values = |words: &[u32]| {
        bf16::halves(words)
            .iter()
            .map(|half| bf16::widen(*half))
            .collect()
    };
    [values(&w), values(&c)]
}

#[test]
fn compensation_keeps_what_nearest_loses() {
    let plain = Sgd::new(1, COLS, [F32, Bf16, F32]);
    let compensated = Sgd {
        compensation_ld: Some(COLS),
        ..plain.clone()
    };
    for on_reference in [false, true] {
        assert_eq!(walk(&plain, on_reference)[0], [1.0; COLS]);
        let [w, c] = walk(&compensated, on_reference);
        assert_eq!(w, [5.09375; COLS]);
        assert_eq!(c, [-19.0 / 4096.0; COLS]);
    }
    let drawn = Sgd {
        y_rounding: Rounding::Stochastic,
        ..compensated
    };
    let [w, c] = walk(&drawn, false);
    // Where y is all that is lost, its rounding's deviation over the walk is below 0.01.
    let mean = w.iter().zip(&c).map(|(w, c)| w - c).sum::<f32>() / COLS as f32;
    assert!((mean - 5.09375).abs() < 0.005, "{mean}");
}

#[test]
fn compensation_is_of_bf16_weights() {
    let op = Sgd {
        compensation_ld: Some(COLS),
        ..Sgd::new(1, COLS, [F32; 3])
    };
    assert!(matches!(op.check(), Err(Error::DType { operand: "w", .. })));
    let op = Sgd {
        y_rounding: Rounding::Stochastic,
        v_stream: 0,
        compensation_ld: Some(COLS),
        ..Sgd::new(1, COLS, [Bf16; 3])
    };
    // Momentum to nearest draws nothing.
    assert!(op.check().is_ok());
    let op = Sgd {
        rounding: Rounding::Stochastic,
        ..op
    };
    assert!(matches!(op.check(), Err(Error::Value { .. })));
}

/// Weights and momentum after a step with these gradients.
fn stepped(op: &Sgd, factor: f32, gradients: &[u32]) -> [Vec<u32>; 2] {
    let (mut w, mut v) = (vec![0x3f80_0001; COLS], vec![0x3e4c_cccd; COLS]);
    let operands = vec![Arg::Read(gradients), Arg::Write(&mut w), Arg::Write(&mut v)];
    let step = op
        .step_values()
        .with("momentum", 0.9)
        .with("gradient_factor", factor);
    op.cpu(&Cpu::detect(), Args::new(operands, step)).unwrap();
    [w, v]
}

#[test]
fn gradients_are_multiplied_first_and_rounded_once() {
    let gradients: Vec<f32> = (0..COLS).map(|i| 0.1 + 0.037 * i as f32).collect();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let plain = Sgd::new(1, COLS, [F32; 3]);
    let with_factor = Sgd {
        gradient_factor: true,
        ..plain.clone()
    };
    let before = stepped(&plain, 0.3, &bits(&gradients));
    assert_eq!(stepped(&with_factor, 1.0, &bits(&gradients)), before);
    let products: Vec<f32> = gradients.iter().map(|gradient| 0.3 * gradient).collect();
    let multiplied = stepped(&plain, 1.0, &bits(&products));
    assert_eq!(stepped(&with_factor, 0.3, &bits(&gradients)), multiplied);
    assert_ne!(before, multiplied);
    // Whoever asks for a factor says which.
    let mut none = crate::gpu::StepValues::new(0, 0);
    for name in ["learning_rate", "momentum", "weight_decay"] {
        none.set(name, 0.0);
    }
    assert!(plain.rates(&none).is_ok());
    assert!(matches!(
        with_factor.rates(&none),
        Err(Error::Value {
            what: "gradient_factor",
            ..
        })
    ));
}
