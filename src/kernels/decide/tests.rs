#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::Decide;
use crate::kernels::AdamW;
use crate::op::{Arg, Args, Op};
use crate::tensor::DType::F32;

/// Gradients, one parameter's, that a step looks at: their sum of squares, and whether one is not finite.
struct Training {
    op: Decide,
    state: Vec<u32>,
    values: Vec<u32>,
    number: u32,
}

impl Training {
    fn new(op: Decide, exponent: i32) -> Self {
        let state = op.start(exponent);
        let values = vec![1f32.to_bits(), f32::exp2(exponent as f32).to_bits(), 0, 0];
        let number = 0;
        Self {
            op,
            state,
            values,
            number,
        }
    }

    /// Whether the step is taken.
    fn step(&mut self, sum: f32, broken: u32) -> bool {
        self.number += 1;
        let mut step = self.op.step_values();
        step.number = self.number;
        let squares = [sum.to_bits(), broken];
        let operands = vec![
            Arg::Read(&squares),
            Arg::Write(&mut self.state),
            Arg::Write(&mut self.values),
        ];
        self.op
            .cpu(&crate::cpu::Cpu::detect(), Args::new(operands, step))
            .unwrap();
        self.state[Decide::TAKES as usize] == 1
    }

    fn value(&self, at: usize) -> f32 {
        f32::from_bits(self.values[at])
    }
}

#[test]
fn the_scale_is_halved_at_once_and_doubled_after_clean_steps() {
    let mut op = Decide::new(1, 2, F32);
    op.growth = Some(2000);
    let mut training = Training::new(op, 16);
    assert_eq!(training.value(1), 65536.0);
    assert!(!training.step(1.0, 1));
    assert_eq!((training.value(1), training.state[Decide::SKIPPED]), (32768.0, 1));
    assert!((0..1999).all(|_| training.step(1.0, 0) && training.value(1) == 32768.0));
    assert!(!training.step(1.0, 3));
    assert!((0..1999).all(|_| training.step(1.0, 0) && training.value(1) == 16384.0));
    assert!(training.step(1.0, 0) && training.value(1) == 32768.0);
    // The factor is the reciprocal of the scale that the step had.
    assert_eq!(training.value(0), 1.0 / 16384.0);
    assert!((0..29).all(|_| !training.step(1.0, 1)));
    assert_eq!(
        (training.value(1), training.state[Decide::FAILED]),
        (f32::exp2(-14.0), 0)
    );
    assert!(!training.step(1.0, 1), "2^-15 helps nobody");
    let failed = training.number;
    assert!(!training.step(1.0, 0), "for good");
    assert_eq!(training.state[Decide::FAILED], failed);
    assert_eq!(training.state[Decide::STATE], 1, "the layer's first");
}

/// They are those of [`AdamW::correct`] for the steps that were taken, to the bit, over a training's length.
#[test]
fn corrections_go_by_the_steps_that_were_taken() {
    for betas in [[0.9f32, 0.999], [0.5, 0.999_9], [0.0, 0.95]] {
        let mut op = Decide::new(1, 2, F32);
        (op.growth, op.betas) = (Some(2000), Some(betas.map(Into::into)));
        let mut training = Training::new(op, 16);
        let mut taken = 0;
        for number in 0..20_000u32 {
            if !training.step(1.0, u32::from(number % 1000 == 0)) {
                continue;
            }
            taken += 1;
            let mut want = AdamW::new(1, 1, [F32; 4]).step;
            want.set("beta1", betas[0]);
            want.set("beta2", betas[1]);
            AdamW::correct(&mut want, taken).unwrap();
            for (at, name) in [(2, "correction1"), (3, "correction2")] {
                let want = want.get("adamw", name).unwrap();
                assert_eq!(
                    training.value(at),
                    want,
                    "{name} of {betas:?} after {taken} steps"
                );
            }
        }
    }
}
