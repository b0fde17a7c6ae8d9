//! Dense products.

use super::{Rng, gamma, levels, nearest, widen};
use fewbit::cpu::{Cpu, GemmParams, Level, Rounding, Sink, Source, Source64, StoreRow, gemm, gemm_f64};

/// An operand as stored (padding NaN) and as f64 in the product's own orientation.
struct Operand {
    f32: Vec<f32>,
    bf16: Option<Vec<u16>>,
    ld: usize,
    transposed: bool,
    exact: Vec<f64>,
}

impl Operand {
    fn new(rng: &mut Rng, rows: usize, cols: usize, bf16: bool, transposed: bool, integers: bool) -> Self {
        let (r, c) = if transposed { (cols, rows) } else { (rows, cols) };
        let ld = c + rng.below(4);
        let mut data = vec![f32::NAN; (r * ld).max(1)];
        let mut exact = vec![0.0; rows * cols];
        for i in 0..r {
            for j in 0..c {
                let mut value = if integers { rng.small() } else { rng.unit() } as f32;
                if bf16 {
                    value = widen(nearest(value)) as f32;
                }
                data[i * ld + j] = value;
                exact[if transposed { j * cols + i } else { i * cols + j }] = f64::from(value);
            }
        }
        let bits = bf16.then(|| data.iter().map(|&x| nearest(x)).collect());
        Operand {
            f32: data,
            bf16: bits,
            ld,
            transposed,
            exact,
        }
    }

    fn source(&self) -> Source<'_> {
        let source = match &self.bf16 {
            Some(bits) => Source::bf16(bits, self.ld),
            None => Source::f32(&self.f32, self.ld),
        };
        if self.transposed {
            source.transposed()
        } else {
            source
        }
    }
}

/// (sum, sum of absolute values) of every product.
fn reference(m: usize, n: usize, k: usize, a: &[f64], b: &[f64]) -> Vec<(f64, f64)> {
    let mut out = vec![(0.0, 0.0); m * n];
    for i in 0..m {
        for p in 0..k {
            let x = a[i * k + p];
            for j in 0..n {
                let product = x * b[p * n + j];
                let (sum, abs) = &mut out[i * n + j];
                *sum += product;
                *abs += product.abs();
            }
        }
    }
    out
}

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a_bf16: bool,
    b_bf16: bool,
    c_bf16: bool,
    ta: bool,
    tb: bool,
    integers: bool,
    alpha: f32,
    beta: f32,
    bias: bool,
    relu: bool,
}

/// Runs one case, compares it with the reference if `check`, and returns C's bits.
fn run_case(cpu: &Cpu, case: Case, seed: u64, check: bool) -> Vec<u32> {
    let Case {
        m,
        n,
        k,
        alpha,
        beta,
        relu,
        ..
    } = case;
    let mut rng = Rng(seed);
    let a = Operand::new(&mut rng, m, k, case.a_bf16, case.ta, case.integers);
    let b = Operand::new(&mut rng, k, n, case.b_bf16, case.tb, case.integers);
    let c = Operand::new(&mut rng, m, n, case.c_bf16, false, case.integers);
    let bias = Operand::new(&mut rng, 1, n, case.a_bf16, false, case.integers);
    let p = GemmParams {
        m,
        n,
        k,
        alpha,
        beta,
        relu,
    };
    let bias_source = case.bias.then(|| bias.source());
    const GUARD: f32 = 12345.0;
    // C is poison where it must not be read, and guarded between and past its rows.
    let ld = c.ld;
    let guard = |i: usize| i % ld.max(1) >= n || i / ld.max(1) >= m;
    let start: Vec<f32> = (0..m * ld + 5)
        .map(|i| match (guard(i), beta == 0.0) {
            (true, _) => GUARD,
            (_, true) => f32::NAN,
            _ => c.f32[i],
        })
        .collect();
    let got: Vec<f32> = if case.c_bf16 {
        let mut bits: Vec<u16> = start.iter().map(|&x| nearest(x)).collect();
        gemm(
            cpu,
            &p,
            a.source(),
            b.source(),
            Sink::bf16(&mut bits, ld),
            bias_source,
        )
        .unwrap();
        bits.into_iter().map(|bits| widen(bits) as f32).collect()
    } else {
        let mut data = start.clone();
        gemm(
            cpu,
            &p,
            a.source(),
            b.source(),
            Sink::f32(&mut data, ld),
            bias_source,
        )
        .unwrap();
        data
    };
    if !check {
        return got.into_iter().map(f32::to_bits).collect();
    }
    let dp = cpu.level() == Level::Avx512Bf16 && case.a_bf16 && case.b_bf16;
    let (u, eta) = if dp {
        (2.0_f64.powi(-23), 2.0_f64.powi(-124))
    } else {
        (2.0_f64.powi(-24), 2.0_f64.powi(-149))
    };
    let sums = reference(m, n, k, &a.exact, &b.exact);
    let (alpha, beta) = (f64::from(alpha), f64::from(beta));
    for (i, got) in got.iter().enumerate() {
        let got = f64::from(*got);
        if guard(i) {
            let expected = if case.c_bf16 {
                widen(nearest(GUARD))
            } else {
                f64::from(GUARD)
            };
            assert_eq!(got, expected, "guard at {i} {case:?} {}", cpu.level());
            continue;
        }
        let (row, col) = (i / ld, i % ld);
        let (sum, abs) = sums[row * n + col];
        let old = if beta == 0.0 { 0.0 } else { c.exact[row * n + col] };
        let add = if case.bias { bias.exact[col] } else { 0.0 };
        let mut want = alpha * sum + beta * old + add;
        if relu {
            want = want.max(0.0);
        }
        let bound = if case.integers {
            if case.c_bf16 {
                2.0_f64.powi(-8) * got.abs()
            } else {
                0.0
            }
        } else {
            let t = alpha.abs() * abs + beta.abs() * old.abs() + add.abs();
            let f = eta * (k as f64 * alpha.abs().max(1.0) + 2.0);
            let r = if case.c_bf16 {
                2.0_f64.powi(-8) * got.abs() + 2.0_f64.powi(-134)
            } else {
                0.0
            };
            gamma(u, k) * t + f + r
        };
        assert!(
            (got - want).abs() <= bound,
            "[{row}, {col}]: got {got:e}, want {want:e}, off {:e}, bound {bound:e}; {case:?} at {}",
            (got - want).abs(),
            cpu.level()
        );
        if case.integers && case.c_bf16 {
            assert_eq!(
                // `+ 0.0`: the sign of a zero is free.
                nearest(got as f32 + 0.0),
                nearest(want as f32 + 0.0),
                "{case:?} at {}",
                cpu.level()
            );
        }
    }
    got.into_iter().map(f32::to_bits).collect()
}

fn every_type(mut f: impl FnMut(bool, bool, bool, bool, bool)) {
    for bits in 0..32 {
        f(
            bits & 1 != 0,
            bits & 2 != 0,
            bits & 4 != 0,
            bits & 8 != 0,
            bits & 16 != 0,
        );
    }
}

const SCALARS: [(f32, f32, bool, bool); 6] = [
    (1.0, 0.0, false, false),
    (1.0, 1.0, true, false),
    (-1.0, 0.0, true, true),
    (0.0, 1.0, true, false),
    (0.0, 0.0, false, false),
    (1.0, -1.0, false, true),
];

#[test]
fn gemm_small_shapes() {
    let shapes = [
        (0, 3, 2),
        (3, 0, 2),
        (3, 2, 0),
        (1, 1, 1),
        (1, 1, 0),
        (2, 3, 1),
        (1, 17, 33),
        (17, 1, 33),
        (5, 7, 11),
        (8, 48, 16),
        (7, 47, 15),
        (9, 49, 17),
        (4, 24, 8),
        (3, 23, 7),
        (5, 25, 9),
        (12, 16, 31),
        (13, 9, 300),
        (9, 130, 2),
        (130, 9, 2),
        (8, 200, 70),
        (200, 8, 70),
        (6, 100, 65),
        (100, 3, 129),
        (31, 37, 257),
        (49, 97, 259),
        (97, 53, 513),
    ];
    for cpu in levels() {
        let mut seed = 1;
        for (m, n, k) in shapes {
            every_type(|a_bf16, b_bf16, c_bf16, ta, tb| {
                seed += 1;
                let (alpha, beta, bias, relu) = SCALARS[seed as usize % SCALARS.len()];
                let case = Case {
                    m,
                    n,
                    k,
                    a_bf16,
                    b_bf16,
                    c_bf16,
                    ta,
                    tb,
                    integers: true,
                    alpha,
                    beta,
                    bias,
                    relu,
                };
                run_case(&cpu, case, seed, true);
                let (alpha, beta) = (alpha * 1.37, beta * 0.77);
                run_case(
                    &cpu,
                    Case {
                        integers: false,
                        alpha,
                        beta,
                        ..case
                    },
                    seed,
                    true,
                );
            });
        }
    }
}

#[test]
fn gemm_large_shapes_and_threads() {
    // Past every block size, and the threads must not show.
    let shapes = [
        (128, 300, 784),
        (512, 512, 512),
        (257, 769, 531),
        (1025, 40, 130),
        (10, 1300, 128),
        (3, 1000, 700),
    ];
    for cpu in levels() {
        let (one, two) = (cpu.with_threads(1).unwrap(), cpu.with_threads(2).unwrap());
        let three = cpu.with_threads(3).unwrap();
        let mut seed = 100;
        for (m, n, k) in shapes {
            for (bf16, ta, tb) in [
                (false, false, false),
                (true, true, false),
                (true, false, true),
                (false, true, true),
            ] {
                seed += 1;
                let case = Case {
                    m,
                    n,
                    k,
                    a_bf16: bf16,
                    b_bf16: bf16,
                    c_bf16: bf16,
                    ta,
                    tb,
                    integers: false,
                    alpha: 0.5,
                    beta: 2.0,
                    bias: true,
                    relu: false,
                };
                let first = run_case(&one, case, seed, true);
                assert_eq!(
                    first,
                    run_case(&two, case, seed, false),
                    "{case:?} at {}",
                    cpu.level()
                );
                assert_eq!(
                    first,
                    run_case(&three, case, seed, false),
                    "{case:?} at {}",
                    cpu.level()
                );
            }
        }
    }
}

#[test]
fn gemm_f64_shapes() {
    for cpu in levels() {
        let (one, two) = (cpu.with_threads(1).unwrap(), cpu.with_threads(2).unwrap());
        let mut rng = Rng(7);
        for (m, n, k) in [
            (0, 1, 1),
            (1, 1, 0),
            (1, 1, 1),
            (8, 24, 5),
            (7, 23, 9),
            (9, 25, 257),
            (65, 130, 300),
            (200, 3, 77),
        ] {
            for bits in 0..8 {
                let (ta, tb, integers) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
                let mut fill = |len: usize| -> Vec<f64> {
                    (0..len)
                        .map(|_| if integers { rng.small() } else { rng.unit() })
                        .collect()
                };
                let (a, b, c, bias) = (fill(m * k), fill(k * n), fill(m * n), fill(n));
                let turn = |x: &[f64], r: usize, c: usize| -> Vec<f64> {
                    (0..r * c).map(|i| x[(i % r) * c + i / r]).collect()
                };
                let (sa, sb) = (turn(&a, m, k), turn(&b, k, n));
                let source_a = if ta {
                    Source64::new(&sa, m).transposed()
                } else {
                    Source64::new(&a, k)
                };
                let source_b = if tb {
                    Source64::new(&sb, k).transposed()
                } else {
                    Source64::new(&b, n)
                };
                let (alpha, beta) = if integers { (-1.0, 1.0) } else { (1.3, -0.7) };
                let p = GemmParams {
                    m,
                    n,
                    k,
                    alpha,
                    beta,
                    relu: false,
                };
                let mut got = c.clone();
                gemm_f64(&one, &p, source_a, source_b, &mut got, n, Some(&bias)).unwrap();
                let mut other = c.clone();
                gemm_f64(&two, &p, source_a, source_b, &mut other, n, Some(&bias)).unwrap();
                assert_eq!(got, other);
                for (i, (sum, abs)) in reference(m, n, k, &a, &b).into_iter().enumerate() {
                    let want = alpha * sum + beta * c[i] + bias[i % n];
                    let t = alpha.abs() * abs + beta.abs() * c[i].abs() + bias[i % n].abs();
                    let bound = if integers {
                        0.0
                    } else {
                        2.0 * gamma(2.0_f64.powi(-53), k) * t
                    };
                    assert!(
                        (got[i] - want).abs() <= bound,
                        "{m} {n} {k} {i} at {}",
                        cpu.level()
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_unread_is_read() {
    for cpu in levels() {
        let nan = vec![f32::NAN; 9 * 9];
        // alpha = 0: A and B may even be too short.
        let p = GemmParams {
            alpha: 0.0,
            beta: 2.0,
            ..GemmParams::new(9, 9, 9)
        };
        let mut c = vec![3.0; 81];
        gemm(
            &cpu,
            &p,
            Source::f32(&[], 0),
            Source::f32(&nan, 9),
            Sink::f32(&mut c, 9),
            None,
        )
        .unwrap();
        assert_eq!(c, vec![6.0; 81]);
        let p = GemmParams {
            alpha: 0.0,
            ..GemmParams::new(9, 9, 9)
        };
        let mut c = nan.clone();
        gemm(
            &cpu,
            &p,
            Source::f32(&[], 0),
            Source::f32(&[], 9),
            Sink::f32(&mut c, 9),
            None,
        )
        .unwrap();
        assert_eq!(c, vec![0.0; 81]);
        // NaN in a product reaches C, through ReLU too.
        let p = GemmParams {
            relu: true,
            ..GemmParams::new(9, 9, 9)
        };
        gemm(
            &cpu,
            &p,
            Source::f32(&nan, 9),
            Source::f32(&nan, 9),
            Sink::f32(&mut c, 9),
            None,
        )
        .unwrap();
        assert!(c.iter().all(|x| x.is_nan()));
    }
}

/// Writes the low half of the index and counts.
struct Indices(std::sync::atomic::AtomicU64);

impl StoreRow for Indices {
    fn store_row(&self, first_index: u64, values: &[f32], out: &mut [u16]) {
        assert_eq!(values.len(), out.len());
        self.0
            .fetch_add(out.len() as u64, std::sync::atomic::Ordering::Relaxed);
        for (i, (out, value)) in out.iter_mut().zip(values).enumerate() {
            assert_eq!(*value, 2.0);
            *out = (first_index + i as u64) as u16;
        }
    }
}

#[test]
fn rounding_hook_sees_logical_indices() {
    for cpu in levels() {
        for (m, n) in [(3, 700), (700, 3), (70, 900), (900, 11)] {
            let (a, b) = (vec![1.0; m * 2], vec![1.0; 2 * n]);
            let ld = n + 3;
            let mut c = vec![0; m * ld];
            let hook = Indices(0.into());
            let rounding = Rounding::Custom {
                base: 1000,
                store: &hook,
            };
            let sink = Sink::Bf16 {
                data: &mut c,
                ld,
                rounding,
            };
            gemm(
                &cpu,
                &GemmParams::new(m, n, 2),
                Source::f32(&a, 2),
                Source::f32(&b, n),
                sink,
                None,
            )
            .unwrap();
            assert_eq!(hook.0.into_inner(), (m * n) as u64);
            for (i, &got) in c.iter().enumerate() {
                let (row, col) = (i / ld, i % ld);
                assert_eq!(got, if col < n { (1000 + row * n + col) as u16 } else { 0 });
            }
        }
    }
}
