//! One dense product with its operands, and the f64 loops that it is compared with.

use fewbit::cpu::{Cpu, GemmParams, Level, Sink, Source, gemm};

use super::{Rng, gamma, nearest, widen};

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
pub(crate) fn reference(m: usize, n: usize, k: usize, a: &[f64], b: &[f64]) -> Vec<(f64, f64)> {
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
pub(crate) struct Case {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a_bf16: bool,
    pub(crate) b_bf16: bool,
    pub(crate) c_bf16: bool,
    pub(crate) ta: bool,
    pub(crate) tb: bool,
    pub(crate) integers: bool,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) bias: bool,
    pub(crate) relu: bool,
}

/// Runs one case, compares it with the reference if `check`, and returns C's bits.
pub(crate) fn run_case(cpu: &Cpu, case: Case, seed: u64, check: bool) -> Vec<u32> {
    let operands = Operands::new(case, seed);
    let got = operands.product(cpu);
    if check {
        operands.compare(cpu, &got);
    }
    got.into_iter().map(f32::to_bits).collect()
}

/// The operands of a case.
struct Operands {
    case: Case,
    a: Operand,
    b: Operand,
    c: Operand,
    bias: Operand,
}

/// What lies between and past C's rows.
const GUARD: f32 = 12345.0;

impl Operands {
    fn new(case: Case, seed: u64) -> Self {
        let Case { m, n, k, .. } = case;
        let mut rng = Rng(seed);
        Self {
            case,
            a: Operand::new(&mut rng, m, k, case.a_bf16, case.ta, case.integers),
            b: Operand::new(&mut rng, k, n, case.b_bf16, case.tb, case.integers),
            c: Operand::new(&mut rng, m, n, case.c_bf16, false, case.integers),
            bias: Operand::new(&mut rng, 1, n, case.a_bf16, false, case.integers),
        }
    }

    fn guards(&self, i: usize) -> bool {
        let ld = self.c.ld.max(1);
        i % ld >= self.case.n || i / ld >= self.case.m
    }

    /// C and its guards. Before, C is poison where it must not be read.
    fn product(&self, cpu: &Cpu) -> Vec<f32> {
        let (case, ld) = (&self.case, self.c.ld);
        let p = GemmParams {
            m: case.m,
            n: case.n,
            k: case.k,
            alpha: case.alpha,
            beta: case.beta,
            relu: case.relu,
        };
        let bias_source = case.bias.then(|| self.bias.source());
        let start: Vec<f32> = (0..case.m * ld + 5)
            .map(|i| match (self.guards(i), case.beta == 0.0) {
                (true, _) => GUARD,
                (_, true) => f32::NAN,
                _ => self.c.f32[i],
            })
            .collect();
        if case.c_bf16 {
            let mut bits: Vec<u16> = start.iter().map(|&x| nearest(x)).collect();
            gemm(
                cpu,
                &p,
                self.a.source(),
                self.b.source(),
                Sink::bf16(&mut bits, ld),
                bias_source,
            )
            .unwrap();
            bits.into_iter().map(|bits| widen(bits) as f32).collect()
        } else {
            let mut data = start;
            gemm(
                cpu,
                &p,
                self.a.source(),
                self.b.source(),
                Sink::f32(&mut data, ld),
                bias_source,
            )
            .unwrap();
            data
        }
    }

    fn compare(&self, cpu: &Cpu, got: &[f32]) {
        let case = &self.case;
        let &Case { m, n, k, .. } = case;
        let dp = cpu.level() == Level::Avx512Bf16 && case.a_bf16 && case.b_bf16;
        let (u, eta) = if dp {
            (2.0_f64.powi(-23), 2.0_f64.powi(-124))
        } else {
            (2.0_f64.powi(-24), 2.0_f64.powi(-149))
        };
        let sums = reference(m, n, k, &self.a.exact, &self.b.exact);
        let (alpha, beta) = (f64::from(case.alpha), f64::from(case.beta));
        for (i, got) in got.iter().enumerate() {
            let got = f64::from(*got);
            if self.guards(i) {
                let expected = if case.c_bf16 {
                    widen(nearest(GUARD))
                } else {
                    f64::from(GUARD)
                };
                assert_eq!(got, expected, "guard at {i} {case:?} {}", cpu.level());
                continue;
            }
            let (row, col) = (i / self.c.ld, i % self.c.ld);
            let (sum, abs) = sums[row * n + col];
            let old = if beta == 0.0 {
                0.0
            } else {
                self.c.exact[row * n + col]
            };
            let add = if case.bias { self.bias.exact[col] } else { 0.0 };
            let mut want = alpha * sum + beta * old + add;
            if case.relu {
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
    }
}
