//! A kernel from outside the crate, in the files that one inside it has: `CONTRIBUTING.md` builds it step by step. It
//! gets what the built-in ones get: plans that are kept, tuning, `check::run`, `Device::checked`.
//! Run with `cargo run --release --example custom_kernel`.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

mod axpby;

use axpby::AxpbyExt as _;
use fewbit::{Device, check};

fn main() -> fewbit::Result<()> {
    let gpu = Device::gpu_blocking().ok();
    for device in gpu.into_iter().chain([Device::cpu()]) {
        // Every case on every variant, against the specification.
        let mut runs = 0;
        for case in axpby::cases::cases() {
            for report in check::run(&device, &case)? {
                runs += 1;
                assert!(report.verdict.passed(), "{case:?}: {:?}", report.verdict.failure);
            }
        }
        // The high door, with every operation checked as it runs.
        let checked = Device::checked(device.clone());
        let x = checked.from_f32(&[3], &[1.0, 2.0, 3.0])?;
        let mut y = checked.from_f32(&[3], &[10.0, 10.0, 10.0])?;
        checked.axpby(2.0, &x, 0.5, &mut y)?;
        assert_eq!(y.read_blocking()?, [7.0, 9.0, 11.0]);
        println!("{}: {runs} runs passed", device.describe());
    }
    Ok(())
}
