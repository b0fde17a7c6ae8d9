use super::coded_cases::{coded, coded_bench};
use super::data::{Values, case};
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::Matmul;
use crate::op::data::FAR;
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType::{self, Bf16, F32, F64};

pub(super) const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 0x0123_4567_89ab_cdef,
    stream: stream(3, 5),
    step: 7,
    first_block: 0,
};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let parts = [
        edges, thin, epilogues, layouts, draws, ranges, specials, coded, large,
    ];
    for part in parts {
        part(&mut |effort, op, values| cases.push(case(effort, op, values)));
    }
    cases
}

/// Takes a case.
pub(super) type Add<'a> = dyn FnMut(Effort, Matmul, Values) + 'a;

/// Nothing to write, nothing to sum; every decoding; tiles more or less one; few rows or columns.
fn edges(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    // Nothing to write, nothing to sum, one of everything.
    for (m, n, k) in [(0, 5, 3), (5, 0, 3), (0, 0, 0), (1, 1, 1), (1, 2, 0)] {
        add(quick, Matmul::new(m, n, k), Values::Unit);
    }
    add(
        quick,
        Matmul::new(9, 11, 0).types(Bf16, F32, Bf16).bias(F32),
        Values::Unit,
    );
    add(
        quick,
        Matmul::new(9, 11, 0).scaled(1.0, -0.5).relu(),
        Values::Unit,
    );
    add(
        quick,
        Matmul::new(9, 11, 5).scaled(0.0, 2.0).bias(Bf16),
        Values::Unit,
    );
    add(quick, Matmul::new(4, 3, 2).batch(0), Values::Unit);

    // Every decoding: types and transpositions, at shapes that divide nothing.
    for a in [F32, Bf16] {
        for b in [F32, Bf16] {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let c = if a == b { a } else { F32 };
                add(
                    quick,
                    stored(Matmul::new(19, 37, 29).types(a, b, c), ta, tb),
                    Values::Unit,
                );
            }
        }
    }
    // Tiles more or less one, primes, and the tall and the wide.
    for (m, n, k) in [
        (63, 65, 17),
        (64, 64, 16),
        (65, 63, 15),
        (127, 129, 33),
        (31, 7, 101),
        (8, 9, 61),
    ] {
        add(
            quick,
            Matmul::new(m, n, k).types(Bf16, Bf16, F32),
            Values::Integers,
        );
    }
    add(quick, Matmul::new(67, 13, 41).transpose_a(), Values::Integers);
    // The last lane of the last of several workgroups, whose lanes make eight columns each.
    add(
        quick,
        Matmul::new(5, 1024, 13)
            .types(Bf16, Bf16, Bf16)
            .transpose_b()
            .scaled(1.0, 1.0),
        Values::Integers,
    );
}

/// Few rows or few columns, and few outputs of long sums.
fn thin(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    // Few rows or few columns. Decodings differ only where the kernel does anyway, by the next power of two:
    // every further pair would compile ten pipelines.
    for rows in 1..=8 {
        let (a, b, ta, tb) = match rows {
            1 => (Bf16, Bf16, false, true),
            2 => (F32, F32, true, false),
            3 | 4 => (Bf16, Bf16, true, true),
            _ => (F32, Bf16, false, false),
        };
        let wide = Matmul::new(rows, 83, 71).types(a, b, if rows % 2 == 0 { Bf16 } else { F32 });
        let tall = Matmul::new(83, rows, 71).types(a, b, if rows % 2 == 1 { Bf16 } else { F32 });
        add(quick, stored(wide, ta, tb).bias(F32), Values::Integers);
        add(quick, stored(tall, ta, tb).bias(Bf16), Values::Integers);
    }
    add(
        quick,
        Matmul::new(1, 520, 1027).types(Bf16, Bf16, F32).transpose_b(),
        Values::Unit,
    );
    add(quick, Matmul::new(3, 1, 2053), Values::Unit);

    // Long sums of few outputs: K is split over groups, and the parts do not divide it.
    add(
        quick,
        Matmul::new(70, 91, 1100).types(Bf16, Bf16, F32),
        Values::Integers,
    );
    add(
        quick,
        Matmul::new(33, 67, 777)
            .types(Bf16, Bf16, Bf16)
            .transpose_a()
            .transpose_b()
            .batch(2)
            .bias(F32)
            .scaled(1.5, -0.25)
            .relu(),
        Values::Unit,
    );
    add(
        quick,
        Matmul::new(65, 13, 1030).types(Bf16, F32, Bf16).stochastic(DRAW),
        Values::Unit,
    );
}

/// What comes after the sums.
fn epilogues(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    // The epilogue.
    for dtype in [F32, Bf16] {
        let base = Matmul::new(21, 23, 27).types(Bf16, Bf16, dtype);
        for (alpha, beta) in [(-1.0, 1.0), (0.75, 0.0), (1.5, -0.25)] {
            add(quick, base.scaled(alpha, beta), Values::Unit);
        }
        add(quick, base.bias(F32).relu(), Values::Unit);
        add(quick, base.scaled(-1.0, 1.0).bias(Bf16).relu(), Values::Integers);
        add(quick, base.scaled(0.5, 2.0).bias(Bf16).relu(), Values::Tiny);
    }
    add(quick, Matmul::new(17, 18, 19), Values::Tiny);
    // Sums of subnormal products, wherever they flush.
    add(
        quick,
        Matmul::new(5, 6, 90).types(Bf16, Bf16, F32).scaled(1e-30, 0.0),
        Values::Tiny,
    );
}

/// Batches and leading dimensions.
fn layouts(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    // Batches: stacked, one B for all, gaps between them, heads side by side in each row of C.
    let batched = Matmul::new(10, 12, 14).types(Bf16, F32, Bf16).batch(5);
    add(quick, batched, Values::Unit);
    add(
        quick,
        batched.transpose_a().transpose_b().scaled(1.0, 1.0),
        Values::Integers,
    );
    add(quick, batched.batch_strides(160, 0, 160), Values::Integers);
    add(
        quick,
        batched.batch_strides(0, 168 + 4, 160 + 2).bias(F32),
        Values::Unit,
    );
    add(
        quick,
        batched.ld(16, 12, 72).batch_strides(160, 168, 14),
        Values::Integers,
    );
    add(quick, Matmul::new(3, 70, 9).batch(4).transpose_b(), Values::Unit);

    // Foreign leading dimensions: even, off 16 bytes.
    let foreign = Matmul::new(33, 35, 37).types(Bf16, Bf16, Bf16);
    add(quick, foreign.ld(38, 36, 38), Values::Unit);
    add(
        quick,
        foreign
            .transpose_a()
            .transpose_b()
            .ld(34, 46, 36)
            .scaled(1.0, 1.0),
        Values::Integers,
    );
    add(quick, Matmul::new(33, 35, 37).ld(37, 39, 35), Values::Unit);
    add(quick, Matmul::new(5, 35, 37).ld(37, 39, 35), Values::Integers);
}

/// Stochastic rounding.
fn draws(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    // Stochastic rounding: sums past 256 lie between two bf16 numbers, and their f32 values are exact.
    for generator in [Generator::Threefry, Generator::Philox] {
        let draw = Draw { generator, ..DRAW };
        let base = Matmul::new(20, 21, 70).types(Bf16, Bf16, Bf16).stochastic(draw);
        add(quick, base, Values::Integers);
        add(
            quick,
            base.batch(3).scaled(1.0, -1.0).bias(Bf16).relu(),
            Values::Integers,
        );
    }
    let few = Matmul::new(3, 45, 90).types(Bf16, Bf16, Bf16).stochastic(DRAW);
    add(quick, few, Values::Integers);
    add(
        quick,
        Matmul { m: 45, n: 3, ..few }.types(Bf16, Bf16, Bf16),
        Values::Integers,
    );
    add(
        quick,
        Matmul::new(20, 21, 70).types(Bf16, Bf16, Bf16).stochastic(DRAW),
        Values::Unit,
    );
    // A piece whose indices carry.
    let far = Draw {
        first_block: FAR,
        ..DRAW
    };
    let piece = Matmul::new(9, 13, 70).types(Bf16, Bf16, Bf16).stochastic(far);
    add(quick, piece, Values::Integers);
}

/// What f16 matrix units cannot hold, and f64.
fn ranges(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    // What f16 matrix units cannot hold, at the edges of their tiles and past them.
    for values in [
        Values::Outliers,
        Values::Wide,
        Values::Mixed,
        Values::Extremes,
        Values::Specials,
        Values::Nothing,
    ] {
        let base = Matmul::new(70, 67, 75).types(Bf16, Bf16, F32);
        add(quick, base, values);
        add(quick, base.transpose_a().transpose_b().batch(2), values);
        // Few k in a long sum are sampled, so that outliers come as a surprise.
        let long = Matmul::new(18, 130, 1100).types(Bf16, Bf16, Bf16);
        add(quick, long.transpose_b().bias(F32), values);
        add(quick, long.transpose_a().scaled(0.5, -1.0), values);
    }

    add(
        quick,
        Matmul::new(64, 24, 32).types(Bf16, Bf16, F32),
        Values::FullList,
    );
    add(
        quick,
        Matmul::new(24, 24, 32).types(Bf16, Bf16, F32),
        Values::Paired,
    );
    // Scaled back by less than 2^-126: in two steps.
    add(
        quick,
        Matmul::new(70, 67, 75).types(Bf16, Bf16, F32),
        Values::Small,
    );

    // f64: the CPU device and the reference.
    let double = Matmul::new(21, 23, 25).types(F64, F64, F64);
    add(quick, double, Values::Unit);
    add(
        quick,
        double
            .transpose_a()
            .transpose_b()
            .scaled(0.5, 2.0)
            .bias(F64)
            .relu()
            .batch(2),
        Values::Unit,
    );
}

/// NaN, infinities, zeros of either sign and subnormals, in every operand.
fn specials(add: &mut Add<'_>) {
    let quick = Effort::Quick;
    for types in [
        [F32, F32, F32],
        [F32, Bf16, F32],
        [Bf16, Bf16, Bf16],
        [F64, F64, F64],
    ] {
        let [a, b, c] = types;
        let base = Matmul::new(23, 26, 29).types(a, b, c);
        add(quick, base, Values::Strange);
        let whole = base.transpose_a().transpose_b().bias(c).scaled(-1.0, 0.5);
        add(quick, whole.batch(2), Values::Strange);
        add(quick, whole.relu().ld(40, 48, 56), Values::Strange);
        // Few products, so that most sums are of none or one of them.
        add(quick, Matmul::new(40, 41, 3).types(a, b, c), Values::Strange);
        add(quick, Matmul::new(3, 41, 40).types(a, b, c), Values::Strange);
    }
    add(quick, Matmul::new(9, 10, 11).scaled(f32::NAN, 0.0), Values::Unit);
    add(
        quick,
        Matmul::new(9, 10, 11).scaled(1.0, f32::INFINITY),
        Values::Unit,
    );
    add(
        quick,
        Matmul::new(9, 10, 11).scaled(-0.0, -0.0).bias(F32),
        Values::Strange,
    );
    // Rows far apart, and batches with gaps between them.
    let gaps = Matmul::new(19, 21, 33)
        .types(Bf16, Bf16, Bf16)
        .batch(3)
        .bias(Bf16);
    let far = gaps.ld(136, 144, 152).batch_strides(136 * 25, 144 * 35, 152 * 20);
    add(quick, far, Values::Integers);
    add(quick, far.scaled(1.0, 1.0).stochastic(DRAW), Values::Integers);
    let single = Matmul::new(19, 21, 33).batch(3).scaled(1.0, -1.0);
    add(
        quick,
        single.ld(67, 71, 73).batch_strides(67 * 20, 71 * 34, 73 * 21),
        Values::Strange,
    );
}

/// Large, and long.
fn large(add: &mut Add<'_>) {
    // Large.
    let full = Effort::Full;
    let odd = Matmul::new(513, 515, 517);
    add(full, odd.types(Bf16, Bf16, F32), Values::Unit);
    add(
        full,
        odd.transpose_a().transpose_b().bias(F32).relu(),
        Values::Integers,
    );
    add(
        full,
        odd.types(Bf16, Bf16, Bf16).transpose_b().stochastic(DRAW),
        Values::Integers,
    );
    add(
        full,
        Matmul::new(1024, 1024, 1024).types(Bf16, Bf16, F32),
        Values::Unit,
    );
    add(
        full,
        Matmul::new(1024, 520, 640).types(F32, Bf16, Bf16).transpose_a(),
        Values::Unit,
    );
    add(
        full,
        Matmul::new(1, 2049, 4096).types(Bf16, Bf16, F32).transpose_b(),
        Values::Unit,
    );

    // Sums so long that a lane's loops pass the cap on turns of software adapters: eight k a turn, and in tiles one k a
    // turn. (512 k a turn would need gigabytes: a small cap stands in for them.)
    add(
        full,
        Matmul::new(1, 3, 530_000).transpose_b().bias(F32),
        Values::Integers,
    );
    add(
        full,
        Matmul::new(2, 1, 530_000)
            .types(Bf16, Bf16, Bf16)
            .transpose_a()
            .scaled(0.5, -1.0),
        Values::Unit,
    );
    let long = Matmul::new(9, 10, 70_000);
    add(full, long.bias(F32).relu(), Values::Integers);
    add(full, long.types(Bf16, Bf16, Bf16).scaled(0.5, -1.0), Values::Unit);
    add(
        full,
        Matmul::new(9, 70, 70_000)
            .types(Bf16, F32, F32)
            .transpose_a()
            .transpose_b()
            .batch(2),
        Values::Unit,
    );
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let square = Matmul::new(n, n, n);
    let halves = |op: Matmul, to| op.types(DType::Bf16, DType::Bf16, to);
    let plain: &[Fill] = &[Fill::Bf16, Fill::Bf16, Fill::Out];
    // A layer's three products: forward with its bias and ReLU, and both gradients; the second is the square one.
    let forward = halves(Matmul::new(128, n, n), DType::Bf16)
        .transpose_b()
        .bias(DType::F32)
        .relu();
    let gradient = halves(Matmul::new(n, n, 128), DType::Bf16).transpose_a();
    let odd = halves(Matmul::new(127, n + 1, n - 1), DType::F32);
    let row = halves(Matmul::new(1, n, n), DType::F32).transpose_b();
    let plain_cases = vec![
        Case::timed(square, &[Fill::F32, Fill::F32, Fill::Out]).into(),
        Case::timed(halves(square, DType::F32), plain).into(),
        Case::timed(forward, &[Fill::Bf16, Fill::Bf16, Fill::Out, Fill::F32]).into(),
        Case::timed(gradient, plain).into(),
        Case::timed(odd, plain).into(),
        Case::timed(row, plain).into(),
    ];
    plain_cases.into_iter().chain(coded_bench(n)).collect()
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols): (usize, usize)| {
        let product = Matmul::new(rows, cols, cols);
        let mut cases = vec![Case::timed(product, &[Fill::F32, Fill::F32, Fill::Out]).into()];
        // `bench` has a single row and an odd shape of bf16 products.
        if rows * cols < 64 {
            let halves = product.types(DType::Bf16, DType::Bf16, DType::F32);
            cases.push(Case::timed(halves, &[Fill::Bf16, Fill::Bf16, Fill::Out]).into());
        }
        cases
    };
    awkward_shapes(n).into_iter().flat_map(case).collect()
}

/// The product with operands stored transposed where asked.
fn stored(op: Matmul, a: bool, b: bool) -> Matmul {
    let op = if a { op.transpose_a() } else { op };
    if b { op.transpose_b() } else { op }
}
