//! Dense products.

use super::case::{Case, reference, run_case};
use super::{Rng, gamma, levels};
use fewbit::cpu::{GemmParams, Narrow, Sink, Source, Source64, StoreRow, gemm, gemm_f64};

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
            let rounding = Narrow::Custom {
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
