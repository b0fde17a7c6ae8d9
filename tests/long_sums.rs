//! The cap on turns of an invocation's loops: what passes it is split over dispatches, or refused by a typed error. Run
//! on the best adapter present. That results stay right is tests/kernels.rs's part.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Suite, open};

use fewbit::Error;
use fewbit::format::{DType, Format};
use fewbit::gpu::{Gpu, PlanRequest};
use fewbit::kernels::{FmacMatmul, Matmul};
use fewbit::op::Op;

fn main() {
    Suite::new()
        .gpu(
            "products_of_blocks_past_the_cap_are_split_along_k",
            products_of_blocks_past_the_cap_are_split_along_k,
        )
        .gpu(
            "sums_past_the_cap_are_split_along_k",
            sums_past_the_cap_are_split_along_k,
        )
        .run();
}

/// Dispatches of a plan, or the limit that it passes and by what.
fn steps(gpu: &Gpu, op: &dyn Op, variant: &'static str) -> Result<usize, (u64, u64)> {
    let request = PlanRequest::default().variant(variant);
    match op.plan(gpu, &request) {
        Ok(plan) => Ok(plan.steps()),
        Err(Error::Limit {
            what: "turns of one invocation's loops",
            value,
            limit,
            ..
        }) => Err((value, limit)),
        Err(error) => panic!("{error}"),
    }
}

fn products_of_blocks_past_the_cap_are_split_along_k() {
    let gpu = open();
    let format = Format::bfp(128, 4).expect("a format");
    gpu.set_turn_cap(1000);
    for (k, want) in [(128, 1), (256, 1), (1 << 15, 2)] {
        let op = Matmul::new(9, 5, k)
            .types(format, format, DType::F32)
            .transpose_b();
        let steps = steps(&gpu, &op, "blocks").expect("split");
        assert!((want..k / 128 + 1).contains(&steps), "{k}: {steps}");
    }
}

fn sums_past_the_cap_are_split_along_k() {
    let gpu = open();
    gpu.set_turn_cap(256);
    // 154 turns beside those of K: 102 of eight k, or 5 slabs of sixteen at 18.
    for (variant, deepest) in [("direct", 816), ("tiled64", 80), ("vec_serial", 816)] {
        for (k, want) in [(deepest, 1), (deepest + 1, 2), (10 * deepest, 10)] {
            assert_eq!(
                steps(&gpu, &Matmul::new(9, 5, k), variant),
                Ok(want),
                "{variant} {k}"
            );
        }
    }
    // 42 turns for eight k, and 6.
    for (k, want) in [(40, 1), (41, 2), (401, 11)] {
        assert_eq!(steps(&gpu, &FmacMatmul::new(9, 5, k), "integer"), Ok(want), "{k}");
    }
    gpu.set_turn_cap(64);
    assert_eq!(steps(&gpu, &Matmul::new(9, 9, 9), "direct"), Err((155, 64)));
}
