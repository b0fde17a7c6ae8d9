//! How fast each matmul variant is here: `cargo test --release --test matmul_speed -- --ignored --nocapture`.
//! `M N K` in `FEWBIT_SHAPE` overrides the shape.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::time::Instant;

use fewbit::Result;
use fewbit::gpu::{Gpu, GpuOptions, Operand, PlanRequest};
use fewbit::ops::{Matmul, Op as _};
use fewbit::tensor::DType;

#[test]
#[ignore = "a measurement"]
fn gflops_per_variant() -> Result<()> {
    let options = GpuOptions {
        adapter: fewbit::gpu::AdapterChoice::Any,
        ..GpuOptions::default()
    };
    let gpu = pollster::block_on(Gpu::open(&options))?;
    let shape = std::env::var("FEWBIT_SHAPE").unwrap_or_default();
    let shape: Vec<usize> = shape
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    let [m, n, k] = shape.try_into().unwrap_or([1024; 3]);
    let only = std::env::var("FEWBIT_VARIANT").unwrap_or_default();
    println!("{} on {}", env!("CARGO_PKG_NAME"), gpu.info().name);
    for (a, b, c) in [
        (DType::Bf16, DType::Bf16, DType::F32),
        (DType::F32, DType::F32, DType::F32),
    ] {
        for (ta, tb) in [(false, false), (false, true), (true, false)] {
            let op = Matmul::new(m, n, k).types(a, b, c).transposed(ta, tb);
            for variant in op.variants(&gpu, false) {
                if !variant.contains(&only) {
                    continue;
                }
                for any_offset in [false, true] {
                    measure(&gpu, &op, variant, any_offset)?;
                }
            }
        }
    }
    Ok(())
}

fn measure(gpu: &Gpu, op: &Matmul, variant: &'static str, any_offset: bool) -> Result<()> {
    let request = PlanRequest {
        variant: Some(variant),
        any_offset,
    };
    let started = Instant::now();
    let plan = op.plan(gpu, &request)?;
    let buffers = op
        .operands()
        .iter()
        .map(|spec| {
            // Small numbers, so that nothing overflows.
            let words = vec![0x3e01_3e02; spec.words as usize];
            let usage = fewbit::wgpu::BufferUsages::STORAGE;
            gpu.buffer_with(spec.name, &words, usage)
        })
        .collect::<Result<Vec<_>>>()?;
    let operands: Vec<_> = buffers.iter().map(Operand::whole).collect();
    let scratch = gpu.buffer("scratch", plan.scratch_bytes())?;
    let bound = plan.bind_with(&operands, Some(Operand::whole(&scratch)), None)?;
    let run = || -> Result<f64> {
        let started = Instant::now();
        let mut encoder = gpu.encoder("speed");
        bound.encode(&mut encoder);
        gpu.submit("speed", encoder)?;
        gpu.wait()?;
        Ok(started.elapsed().as_secs_f64())
    };
    let first = run()?;
    let cpu0 = cpu_seconds();
    let ready = started.elapsed().as_secs_f64();
    let mut best = first;
    for _ in 0..7 {
        best = best.min(run()?);
    }
    let cpu = (cpu_seconds() - cpu0) / 7.0;
    let offsets = if any_offset { "word" } else { "vec4" };
    let gflops = op.work().flops / best / 1e9;
    let bandwidth = op.work().bytes / best / 1e9;
    println!(
        "{:44} {variant:10} {offsets}  {gflops:8.2} GFLOP/s {bandwidth:7.2} GB/s  ready {ready:.2} s  {:7.2} GFLOP per CPU second",
        op.describe(),
        op.work().flops / cpu / 1e9,
    );
    Ok(())
}

/// User and system time of this process (Linux), in ticks of 1/100 s: what is left to compare by on a machine
/// that others use too.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}
        "{:44} {variant:10} {offsets}  {gflops:8.2} GFLOP/s {bandwidth:7.2} GB/s  ready {ready:.2} s",
        op.describe()
