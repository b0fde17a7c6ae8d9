//! Cases of products of codes.

use super::cases::{Add, DRAW};
use super::data::{Values, case};
use crate::format::{Elements, Format};
use crate::kernels::Matmul;
use crate::kernels::shared::coded_cases::formats;
use crate::op::{BenchCase, Effort};
use crate::tensor::DType::{Bf16, F32};

/// Operands of codes: every format on either side, with itself, f32 and bf16; what comes after the sums; batches.
pub(super) fn coded(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    // Kernels are compiled for kinds of elements, not for formats: few pairs of kinds, many formats.
    for (i, format) in formats().into_iter().enumerate() {
        let (m, n, k) = (19 + i % 5, 37 - i % 7, 29 + 34 * (i % 4));
        let product = Matmul::new(m, n, k);
        let values = [Values::Unit, Values::Strange][i % 2];
        add(quick, product.types(format, format, F32).transpose_b(), values);
        if i % 2 == 0 {
            let plain = if i == 0 { F32 } else { Bf16 };
            add(
                quick,
                product.types(format, plain, F32).transpose_b(),
                Values::Unit,
            );
            add(
                quick,
                product.types(plain, format, Bf16).transpose_b(),
                Values::Unit,
            );
        }
        // A single row: weights in codes.
        add(
            quick,
            Matmul::new(1, n, k).types(Bf16, format, F32).transpose_b(),
            Values::Unit,
        );
    }
    let named = |name: &str| name.parse::<Format>().map(Elements::from).unwrap_or(F32.into());
    let (mx4, mx8, bfp, tensor) = (
        named("mxfp4"),
        named("mxfp8-e4m3"),
        named("bfp5-16"),
        named("fp8-e4m3-tensor"),
    );
    let small = Matmul::new(5, 6, 70).types(bfp, bfp, F32).transpose_b();
    add(quick, small, Values::Small);
    // NaN in some blocks of either, of which each row has one.
    let op = Matmul::new(5, 40, 16).types(bfp, bfp, F32).transpose_b();
    add(quick, op, Values::Strange);
    // The last lane of the last of several workgroups, whose lanes make eight columns each.
    let wide = Matmul::new(5, 1024, 16).types(bfp, bfp, F32).transpose_b();
    add(quick, wide, Values::Unit);
    for (a, b) in [
        (mx4, mx8),
        (bfp, bfp),
        (tensor, mx4),
        (mx8, tensor),
        (named("bfp3-16"), named("bfp8-16")),
    ] {
        let op = Matmul::new(33, 35, 150).types(a, b, Bf16).transpose_b();
        add(quick, op.scaled(0.5, -1.0).bias(F32).relu(), Values::Unit);
        add(quick, op.batch(3).stochastic(DRAW), Values::Unit);
        // One B for all, and gaps between the A of batches.
        add(
            quick,
            op.batch(2).batch_strides(40 * 150, 0, 40 * 35),
            Values::Unit,
        );
        add(
            quick,
            Matmul::new(70, 66, 1100).types(a, b, F32).transpose_b(),
            Values::Unit,
        );
        for (m, n, k) in [(0, 5, 32), (5, 0, 32), (15, 16, 0)] {
            add(
                quick,
                Matmul::new(m, n, k).types(a, b, F32).transpose_b(),
                Values::Unit,
            );
        }
        add(
            quick,
            Matmul::new(5, 6, 70)
                .types(a, b, F32)
                .transpose_b()
                .scaled(0.0, 1.0),
            Values::Unit,
        );
        add(
            quick,
            Matmul::new(9, 130, 70).types(a, b, F32).transpose_b(),
            Values::Tiny,
        );
        let wide = Matmul::new(9, 130, 70).types(a, b, F32).transpose_b();
        add(quick, wide, Values::Wide);
        add(quick, wide, Values::Specials);
        add(
            Effort::Full,
            Matmul::new(513, 515, 517).types(a, b, F32).transpose_b(),
            Values::Unit,
        );
    }
    add(
        Effort::Full,
        Matmul::new(9, 10, 70_000).types(bfp, bfp, F32).transpose_b(),
        Values::Unit,
    );
    add(
        Effort::Full,
        Matmul::new(1, 2049, 4096).types(Bf16, mx4, F32).transpose_b(),
        Values::Unit,
    );
}

/// Products of codes: both operands, weights alone, and a single row with weights.
pub(super) fn coded_bench(n: usize) -> Vec<BenchCase> {
    let mut cases = Vec::new();
    for name in ["mxfp8-e4m3", "mxfp6-e3m2", "mxfp4", "bfp5-16"] {
        let Ok(format) = name.parse::<Format>() else {
            continue;
        };
        let square = Matmul::new(n, n, n);
        cases.push(square.types(format, format, F32));
        cases.push(square.types(Bf16, format, F32));
        cases.push(Matmul::new(1, n, n).types(Bf16, format, F32));
    }
    let timed = |op: Matmul| case(Effort::Full, op.transpose_b(), Values::Unit).into();
    cases.into_iter().map(timed).collect()
}
