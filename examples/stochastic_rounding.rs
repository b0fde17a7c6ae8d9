//! Why stochastic rounding: 1.0 + 4,096 additions of bf16(1e-3) with a bf16 accumulator. To nearest every sum falls
//! back to 1.0, whose neighbour is 2^-7 away; stochastically the mean is what the sum should be.
//! Run with `cargo run --release --example stochastic_rounding`.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use fewbit::format::Rounding;
use fewbit::format::random::Draw;
use fewbit::{Device, tensor::DType};

/// Accumulators side by side, each with draws of its own.
const COPIES: usize = 1024;
const STEPS: u32 = 4096;

fn main() -> fewbit::Result<()> {
    let device = Device::auto_blocking()?;
    let bf16 = |value: f32| device.convert(&device.from_f32(&[COPIES], &[value; COPIES])?, DType::Bf16);
    let (x, y) = (bf16(1e-3)?, bf16(1.0)?);
    let exact = 1.0 + STEPS as f32 * x.read_blocking()?[0];
    println!("{}: exact {exact:.4}", device.describe());

    let mut means = Vec::new();
    for rounding in [Rounding::Nearest, Rounding::Stochastic] {
        let mut a = bf16(1.0)?;
        for step in 0..STEPS {
            // The step's number is part of the counter that the draws come from: each step draws anew.
            let draw = Draw {
                seed: 42,
                step,
                ..Draw::default()
            };
            device.fmac_with(&mut a, &x, &y, rounding, draw)?;
        }
        let sums = a.read_blocking()?;
        means.push(sums.iter().sum::<f32>() / COPIES as f32);
        println!(
            "{rounding}: mean {:.4} of {COPIES}",
            sums.iter().sum::<f32>() / COPIES as f32
        );
    }
    assert_eq!(means[0], 1.0);
    // A step's error spreads by half a unit at most, 2^-6 below 8: a sum by 1, the mean of 1,024 by 1/32. Two of those.
    assert!((means[1] - exact).abs() < 2.0 / 32.0, "{means:?}");
    Ok(())
}
