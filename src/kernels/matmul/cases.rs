use crate::format::bf16;
use crate::format::random::{Draw, Generator, stream};
use crate::kernels::{Matmul, MatrixLayout};
use crate::op::Op as _;
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes, data::Source};
use crate::tensor::DType::{self, Bf16, F32, F64};

/// What the operands hold.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    /// Fractions in -1..1: the bound judges.
    Unit,
    /// Integers in -8..=8: results are bit-equal.
    Integers,
    /// Fractions, some of them subnormal: the bound's terms for flushing are at work.
    Tiny,
    /// Fractions, one in 300 of them far from the others (2^-60 and 2^40 times): the list of outliers.
    Outliers,
    /// Exponents all over -60..60: more outliers than any list holds.
    Wide,
    /// Runs of fractions and runs of `Wide`: some groups start again where others do not.
    Mixed,
    /// As large as bf16 goes in A, as small in B.
    Extremes,
    /// Fractions, one in 200 of them NaN, infinite, zero of either sign, subnormal or the largest.
    Specials,
    /// Nothing but zeros and, in 1 of 50, subnormals: no number tells a scale.
    Nothing,
}

const SPECIALS: [u32; 8] = [
    0x7fc0_0000,
    0x7f80_0000,
    0xff80_0000,
    0,
    0x8000_0000,
    0x0001_0000,
    0x7f7f_0000,
    0x0080_0000,
];

impl Values {
    /// The next value of operand `name`, of which `index` have been made.
    fn next(self, source: &mut Source, name: &str, index: usize) -> f32 {
        let power = |exponent: u32| f32::from_bits((exponent + 127) << 23);
        let unit = source.unit();
        match self {
            Self::Integers => source.small_integer(),
            Self::Unit => unit,
            Self::Tiny if source.below(4) == 0 => unit * f32::MIN_POSITIVE * 0.5,
            Self::Tiny => unit,
            Self::Outliers => match source.below(600) {
                0 => unit / power(60),
                1 => unit * power(40),
                _ => unit,
            },
            Self::Mixed if index % 5000 < 4600 => unit,
            Self::Wide | Self::Mixed => match source.below(121) {
                exponent @ 0..60 => unit / power(60 - exponent),
                exponent => unit * power(exponent - 60),
            },
            Self::Extremes if name == "a" => (1.0 + unit.abs()).copysign(unit) * power(126),
            Self::Extremes if name == "b" => unit / power(120),
            Self::Extremes => unit,
            Self::Specials if source.below(2000) == 0 => {
                f32::from_bits(SPECIALS[source.below(SPECIALS.len() as u32) as usize])
            }
            Self::Specials => unit,
            Self::Nothing if source.below(50) == 0 => unit * f32::MIN_POSITIVE * 0.5,
            Self::Nothing => 0.0,
        }
    }
}

const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 0x0123_4567_89ab_cdef,
    stream: stream(3, 5),
    step: 7,
};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let mut cases = Vec::new();
    let mut add = |effort, op, values| cases.push(case(effort, op, values));

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
                    Matmul::new(19, 37, 29).types(a, b, c).transposed(ta, tb),
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
    add(
        quick,
        Matmul::new(67, 13, 41).transposed(true, false),
        Values::Integers,
    );

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
        add(quick, wide.transposed(ta, tb).bias(F32), Values::Integers);
        add(quick, tall.transposed(ta, tb).bias(Bf16), Values::Integers);
    }
    add(
        quick,
        Matmul::new(1, 520, 1027)
            .types(Bf16, Bf16, F32)
            .transposed(false, true),
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
            .transposed(true, true)
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

    // Batches: stacked, one B for all, gaps between them, heads side by side in each row of C.
    let batched = Matmul::new(10, 12, 14).types(Bf16, F32, Bf16).batch(5);
    add(quick, batched, Values::Unit);
    add(
        quick,
        batched.transposed(true, true).scaled(1.0, 1.0),
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
    add(
        quick,
        Matmul::new(3, 70, 9).batch(4).transposed(false, true),
        Values::Unit,
    );

    // Foreign leading dimensions: even, off 16 bytes.
    let foreign = Matmul::new(33, 35, 37).types(Bf16, Bf16, Bf16);
    add(quick, foreign.ld(38, 36, 38), Values::Unit);
    add(
        quick,
        foreign.transposed(true, true).ld(34, 46, 36).scaled(1.0, 1.0),
        Values::Integers,
    );
    add(quick, Matmul::new(33, 35, 37).ld(37, 39, 35), Values::Unit);
    add(quick, Matmul::new(5, 35, 37).ld(37, 39, 35), Values::Integers);

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
        Matmul { m: 45, n: 3, ..few }.transposed(false, false),
        Values::Integers,
    );
    add(
        quick,
        Matmul::new(20, 21, 70).types(Bf16, Bf16, Bf16).stochastic(DRAW),
        Values::Unit,
    );

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
        add(quick, base.transposed(true, true).batch(2), values);
        // Few k in a long sum are sampled, so that outliers come as a surprise.
        let long = Matmul::new(18, 130, 1100).types(Bf16, Bf16, Bf16);
        add(quick, long.transposed(false, true).bias(F32), values);
        add(quick, long.transposed(true, false).scaled(0.5, -1.0), values);
    }

    // f64: the CPU device and the reference.
    let double = Matmul::new(21, 23, 25).types(F64, F64, F64);
    add(quick, double, Values::Unit);
    add(
        quick,
        double
            .transposed(true, true)
            .scaled(0.5, 2.0)
            .bias(F64)
            .relu()
            .batch(2),
        Values::Unit,
    );

    // Large.
    let full = Effort::Full;
    let odd = Matmul::new(513, 515, 517);
    add(full, odd.types(Bf16, Bf16, F32), Values::Unit);
    add(
        full,
        odd.transposed(true, true).bias(F32).relu(),
        Values::Integers,
    );
    add(
        full,
        odd.types(Bf16, Bf16, Bf16)
            .transposed(false, true)
            .stochastic(DRAW),
        Values::Integers,
    );
    add(
        full,
        Matmul::new(1024, 1024, 1024).types(Bf16, Bf16, F32),
        Values::Unit,
    );
    add(
        full,
        Matmul::new(1024, 520, 640)
            .types(F32, Bf16, Bf16)
            .transposed(true, false),
        Values::Unit,
    );
    add(
        full,
        Matmul::new(1, 2049, 4096)
            .types(Bf16, Bf16, F32)
            .transposed(false, true),
        Values::Unit,
    );

    // Sums so long that a lane's loops pass the cap on turns of software adapters: eight k a turn, and in tiles one k a
    // turn. (512 k a turn would need gigabytes: a small cap stands in for them.)
    add(
        full,
        Matmul::new(1, 3, 530_000).transposed(false, true).bias(F32),
        Values::Integers,
    );
    add(
        full,
        Matmul::new(2, 1, 530_000)
            .types(Bf16, Bf16, Bf16)
            .transposed(true, false)
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
            .transposed(true, true)
            .batch(2),
        Values::Unit,
    );
    cases
}

fn case(effort: Effort, op: Matmul, values: Values) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.m * 1_000_000 + op.n * 1000 + op.k) as u64);
        op.operands()
            .iter()
            .map(|spec| {
                let words = spec.words as usize;
                let mut index = 0;
                let mut value = || {
                    index += 1;
                    values.next(&mut source, spec.name, index - 1)
                };
                let (m, n) = (op.m, op.n);
                match spec.name {
                    "a" => fill(words, &op.a, op.batch, op.stored_a(), &mut value),
                    "b" => fill(words, &op.b, op.batch, op.stored_b(), &mut value),
                    // Where C is not read it starts as sentinels.
                    "c" if op.beta == 0.0 => Vec::new(),
                    "c" => fill(words, &op.c, op.batch, [m, n], &mut value),
                    _ => {
                        let bias = MatrixLayout {
                            dtype: op.bias.unwrap_or(F32),
                            ld: n,
                            ..op.c
                        };
                        fill(words, &bias, 1, [1, n], &mut value)
                    }
                }
            })
            .collect()
    })
}

/// A matrix of values between NaNs, which reach a result if padding does.
fn fill(
    words: usize,
    matrix: &MatrixLayout,
    batch: usize,
    [rows, cols]: [usize; 2],
    value: &mut impl FnMut() -> f32,
) -> Vec<u32> {
    let mut all = vec![0x7fc1_7fc1; words];
    if words == 0 {
        return all;
    }
    for b in 0..batch {
        for row in 0..rows {
            for col in 0..cols {
                set(
                    &mut all,
                    matrix.dtype,
                    b * matrix.batch_stride + row * matrix.ld + col,
                    value(),
                );
            }
        }
    }
    all
}

fn set(words: &mut [u32], dtype: DType, element: usize, value: f32) {
    match dtype {
        F64 => {
            let bits = f64::from(value).to_bits();
            words[2 * element] = bits as u32;
            words[2 * element + 1] = (bits >> 32) as u32;
        }
        Bf16 => {
            let shift = 16 * (element % 2);
            let word = &mut words[element / 2];
            *word = (*word & !(0xffff << shift)) | (u32::from(bf16::from_f32(value)) << shift);
        }
        _ => words[element] = value.to_bits(),
    }
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let square = Matmul::new(n, n, n);
    let halves = |op: Matmul, to| op.types(DType::Bf16, DType::Bf16, to);
    let plain: &[Fill] = &[Fill::Bf16, Fill::Bf16, Fill::Out];
    // A layer's three products: forward with its bias and ReLU, and both gradients; the second is the square one.
    let forward = halves(Matmul::new(128, n, n), DType::Bf16)
        .transposed(false, true)
        .bias(DType::F32)
        .relu();
    let gradient = halves(Matmul::new(n, n, 128), DType::Bf16).transposed(true, false);
    let odd = halves(Matmul::new(127, n + 1, n - 1), DType::F32);
    let row = halves(Matmul::new(1, n, n), DType::F32).transposed(false, true);
    vec![
        Case::timed(square, &[Fill::F32, Fill::F32, Fill::Out]).into(),
        Case::timed(halves(square, DType::F32), plain).into(),
        Case::timed(forward, &[Fill::Bf16, Fill::Bf16, Fill::Out, Fill::F32]).into(),
        Case::timed(gradient, plain).into(),
        Case::timed(odd, plain).into(),
        Case::timed(row, plain).into(),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Expected, judge};
    use crate::error::Result;
    use crate::op::Arithmetic;

    /// The judge leaves out elements whose sums may overflow: no case may hide behind that.
    #[test]
    fn every_element_of_every_case_is_compared() -> Result<()> {
        for case in cases(Effort::Quick)
            .into_iter()
            .filter(|case| case.effort == Effort::Quick)
        {
            let expected = Expected::new(&case)?;
            let verdict = judge(&case, &expected, &expected.want, Arithmetic::CPU);
            assert!(verdict.passed(), "{case:?}: {:?}", verdict.failure);
            let outputs = case.op.work().flops / 2.0;
            assert!(
                outputs == 0.0 || verdict.compared > 0,
                "{case:?}: nothing was compared"
            );
        }
        Ok(())
    }
}
