//! Number formats: known answers, second opinions (half, rand_philox, f64 arithmetic), properties. Class exact.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use fewbit::format::Rounding;
use fewbit::format::random::Draw;

#[path = "formats/bf16.rs"]
mod bf16;
#[path = "formats/block.rs"]
mod block;
#[path = "formats/every.rs"]
mod every;
#[path = "formats/exact.rs"]
mod exact;
#[path = "formats/golden.rs"]
mod golden;
#[path = "formats/random.rs"]
mod random;
#[path = "formats/shaders.rs"]
mod shaders;
#[path = "formats/small.rs"]
mod small;
#[path = "formats/table.rs"]
mod table;
#[path = "formats/through.rs"]
mod through;

const ROUNDINGS: [Rounding; 3] = [Rounding::Nearest, Rounding::Stochastic, Rounding::TowardZero];

/// A cheap source of varied words for the tests themselves.
fn words(seed: u64) -> impl FnMut() -> u32 {
    let mut draw = Draw {
        seed,
        stream: 0xffff_ffff,
        ..Draw::default()
    }
    .cached();
    let mut i = 0;
    move || {
        i += 2;
        draw.bits(i - 2) << 16 | draw.bits(i - 1)
    }
}

fn value(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

/// 2^n, exact.
fn pow2(n: i32) -> f64 {
    assert!(n >= -1022);
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// The oracle for every rounding of `x >= 0` steps: f64 arithmetic, exact for the steps used here (at most 24
/// bits of x, within f64's range).
fn round_f64(x: f64, rounding: Rounding, r16: u32) -> f64 {
    match rounding {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::TowardZero => x.floor(),
        Rounding::Stochastic => {
            let first_16_dropped = (x.fract() * 65536.0).floor();
            x.floor() + f64::from(first_16_dropped + f64::from(r16) >= 65536.0)
        }
    }
}
