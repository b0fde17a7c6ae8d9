//! Speed of the kernels: `cargo test --release --test cpu -- --ignored --nocapture benchmark`, with
//! FEWBIT_BENCH_THREADS (default 2) and FEWBIT_BENCH_LEVEL (a prefix of the levels' names).

use super::sparse::{csr, product, run, words};
use super::{Rng, levels, nearest};
use fewbit::cpu::{GemmParams, Sink, Source, Source64, gemm, gemm_f64};
use fewbit::tensor::DType;

/// Nanoseconds this thread has spent on a core (Linux), which a busy machine does not distort.
fn on_core() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok()
}

/// Seconds of `f`: the best by the clock, and the mean on the core (0 if unknown). About 0.3 s.
fn time(mut f: impl FnMut()) -> (f64, f64) {
    f();
    let (start, core) = (std::time::Instant::now(), on_core());
    let (mut best, mut count) = (f64::INFINITY, 0);
    while count < 3 || start.elapsed().as_secs_f64() < 0.3 {
        let begin = std::time::Instant::now();
        f();
        best = best.min(begin.elapsed().as_secs_f64());
        count += 1;
    }
    let core = core.zip(on_core()).map_or(0.0, |(a, b)| (b - a) * 1e-9);
    (best, core / f64::from(count))
}

#[test]
#[ignore = "benchmark"]
fn benchmark() {
    let shapes = [
        ("1024^3", 1024, 1024, 1024, false, false),
        ("X W^T 128x2800x784", 128, 2800, 784, false, true),
        ("X W 128x2800x784", 128, 2800, 784, false, false),
        ("X W^T 128x2600x2800", 128, 2600, 2800, false, true),
        ("dW=dY^T X 2600x2800x128", 2600, 2800, 128, true, false),
        ("dX=dY W 128x2800x2600", 128, 2800, 2600, false, false),
        ("head 128x10x2600", 128, 10, 2600, false, true),
        ("matvec 1x4096x4096 W^T", 1, 4096, 4096, false, true),
        ("matvec 1x4096x4096", 1, 4096, 4096, false, false),
        ("matvec 1x256x2048 W^T", 1, 256, 2048, false, true),
        ("matvec 8x256x2048 W^T", 8, 256, 2048, false, true),
        ("matvec 8x256x2048", 8, 256, 2048, false, false),
    ];
    let only = std::env::var("FEWBIT_BENCH_LEVEL").unwrap_or_default();
    let threads: usize = std::env::var("FEWBIT_BENCH_THREADS").map_or(2, |n| n.parse().unwrap());
    println!("{threads} threads; by the clock (best) / by time on the calling thread's core (mean)");
    for cpu in levels()
        .iter()
        .rev()
        .filter(|cpu| cpu.level().to_string().starts_with(&only))
    {
        let cpu = &cpu.with_threads(threads).unwrap();
        for (name, m, n, k, ta, tb) in shapes {
            let mut rng = Rng(5);
            let mut fill = |len: usize| -> Vec<f32> { (0..len).map(|_| rng.unit() as f32).collect() };
            let (a, b) = (fill(m * k), fill(k * n));
            let bits = |x: &[f32]| x.iter().map(|&x| nearest(x)).collect::<Vec<_>>();
            let (a16, b16) = (bits(&a), bits(&b));
            let (lda, ldb) = (if ta { m } else { k }, if tb { k } else { n });
            let turn = |s: Source<'static>, t: bool| if t { s.transposed() } else { s };
            let leak = |x: Vec<f32>| -> &'static [f32] { x.leak() };
            let leak16 = |x: Vec<u16>| -> &'static [u16] { x.leak() };
            let p = GemmParams::new(m, n, k);
            let mut c = vec![0.0; m * n];
            let flop = 2.0 * (m * n * k) as f64;
            let gf =
                |(best, core): (f64, f64)| format!("{:6.0} /{:6.0}", flop / best / 1e9, flop / core / 1e9);
            let a64: Vec<f64> = a.iter().map(|&x| f64::from(x)).collect();
            let b64: Vec<f64> = b.iter().map(|&x| f64::from(x)).collect();
            let (sa, sb) = (
                turn(Source::f32(leak(a), lda), ta),
                turn(Source::f32(leak(b), ldb), tb),
            );
            let f32s = time(|| gemm(cpu, &p, sa, sb, Sink::f32(&mut c, n), None).unwrap());
            let (sa, sb) = (
                turn(Source::bf16(leak16(a16), lda), ta),
                turn(Source::bf16(leak16(b16), ldb), tb),
            );
            let bf16s = time(|| gemm(cpu, &p, sa, sb, Sink::f32(&mut c, n), None).unwrap());
            let mut f64s = String::new();
            if m * n * k == 1 << 30 {
                let (sa, sb) = (Source64::new(&a64, k), Source64::new(&b64, n));
                let mut c = vec![0.0; m * n];
                let p = GemmParams::new_f64(m, n, k);
                f64s = format!(
                    "  f64 {}",
                    gf(time(|| gemm_f64(cpu, &p, sa, sb, &mut c, n, None).unwrap()))
                );
            }
            println!(
                "{:10} {name:24} GFLOP/s clock/core  f32 {}  bf16 {}{f64s}",
                cpu.level(),
                gf(f32s),
                gf(bf16s)
            );
        }
        let mut rng = Rng(9);
        let (ptr, columns, values) = csr(&mut rng, 4096, 4096, |_| 410, false);
        let x = vec![1.0; 4096];
        let mut y = vec![0.0; 4096];
        let mut timed = |types| {
            let (a, op) = (
                words(&ptr, &columns, &values, types),
                product(4096, 4096, columns.len(), types),
            );
            time(|| run(Some(cpu), &op, &a, &x, &mut y).unwrap())
        };
        let a = timed([DType::U32, DType::F32]);
        let b = timed([DType::U16, DType::Bf16]);
        println!(
            "{:10} spmv 4096^2 90 %: f32+u32 {:.3} ms / {:.3}, bf16+u16 {:.3} ms / {:.3}",
            cpu.level(),
            a.0 * 1e3,
            a.1 * 1e3,
            b.0 * 1e3,
            b.1 * 1e3
        );
    }
}
