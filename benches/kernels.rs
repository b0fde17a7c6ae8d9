//! Every kernel on the best device here, for comparisons between two versions of fewbit:
//! `cargo bench -- --save-baseline before`, then `cargo bench -- --baseline before`. For shares of the machine's
//! ceilings run `fewbit bench`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot run has nothing to report"
)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fewbit::Device;
use fewbit::check::{BenchCase, Case, bench_cases};
use fewbit::gpu::{Gpu, Operand, PlanRequest, StepBuffer};
use fewbit::op::{Arg, Args};

fn kernels(criterion: &mut Criterion) {
    let device = Device::auto_blocking().expect("a device");
    for case in bench_cases(512).into_iter().map(BenchCase::make) {
        let name = format!("{} {}", case.op.name(), case.op.describe());
        criterion.bench_function(&name, |bencher| {
            bencher.iter_custom(|runs| match device.as_gpu() {
                Some(gpu) => on_gpu(gpu, &case, runs).expect("a timed run"),
                None => on_host(&device, &case, runs).expect("a timed run"),
            });
        });
    }
}

fn on_host(device: &Device, case: &Case, runs: u64) -> fewbit::Result<Duration> {
    let (mut operands, specs) = (case.operands()?, case.op.operands());
    let start = Instant::now();
    for _ in 0..runs {
        let lent = operands
            .iter_mut()
            .zip(&specs)
            .map(|(words, spec)| match spec.is_written() {
                true => Arg::Write(words.words_mut()),
                false => Arg::Read(words.words()),
            });
        let args = Args::new(lent.collect(), case.op.step_values());
        match device.as_cpu() {
            Some(cpu) => case.op.cpu(cpu, args)?,
            None => case.op.reference(args)?,
        }
    }
    Ok(start.elapsed())
}

fn on_gpu(gpu: &Gpu, case: &Case, runs: u64) -> fewbit::Result<Duration> {
    let plan = case.op.plan(gpu, &PlanRequest::default())?;
    let usage = fewbit::wgpu::BufferUsages::STORAGE;
    let mut buffers = Vec::new();
    for operand in case.operands()? {
        buffers.push(gpu.buffer_with("bench", operand.words(), usage)?);
    }
    let scratch = gpu.buffer("scratch", plan.scratch_bytes())?;
    let step = StepBuffer::new(gpu, plan.scalars(), &case.op.step_values())?;
    let operands: Vec<_> = buffers.iter().map(Operand::whole).collect();
    let bound = plan.bind_with(&operands, Some(Operand::whole(&scratch)), Some(&step))?;
    gpu.wait()?;
    let start = Instant::now();
    for _ in 0..runs {
        let mut encoder = gpu.encoder("bench");
        bound.encode(&mut encoder);
        gpu.submit("bench", encoder)?;
    }
    gpu.wait()?;
    Ok(start.elapsed())
}

criterion_group!(benches, kernels);
criterion_main!(benches);
