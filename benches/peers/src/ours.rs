//! fewbit's side of a pair.

use fewbit::Device;
use fewbit::cpu::{Cpu, GemmParams, Left, PackedB, Sink, Source, gemm_packed};
use fewbit::format::bf16;
use fewbit::gpu::{BoundPlan, Gpu, Operand, PlanRequest, ReadBack, StepBuffer};
use fewbit::op::{Arg, Args, Op};
use fewbit::tensor::HostBuffer;

use crate::problem::{Data, Problem, Shape};

/// Something ready to run.
pub trait Run {
    /// So many runs, back to back, until the last is done.
    fn run(&mut self, repeats: u32) -> Result<(), String>;
    /// The result of the last.
    fn result(&mut self) -> Result<Vec<f32>, String>;
}

pub fn prepare(device: &Device, problem: &Problem) -> Result<Box<dyn Run>, String> {
    let (op, operands) = problem.operation();
    let result = problem.result_operand();
    if let (Some(cpu), true, Data::Dense { a, b }, Shape::Matmul { m, n, k }) = (
        device.as_cpu(),
        problem.case.kept,
        &problem.data,
        problem.case.shape,
    ) {
        let half = |values: &[f32]| -> Result<HostBuffer, String> {
            let mut words =
                HostBuffer::zeroed(values.len().div_ceil(2) as u64).map_err(|error| error.to_string())?;
            for (half, value) in bf16::halves_mut(words.words_mut()).iter_mut().zip(values) {
                *half = (value.to_bits() >> 16) as u16;
            }
            Ok(words)
        };
        // bf16 alone is kept: see the list of cases.
        let b = half(b)?;
        let weights = Source::bf16(&bf16::halves(b.words())[..n * k], k).transposed();
        let weights = PackedB::new(cpu, weights, k, n, Left::Bf16).map_err(|error| error.to_string())?;
        return Ok(Box::new(Kept {
            cpu: cpu.clone(),
            params: GemmParams::new(m, n, k),
            a: half(a)?,
            weights,
            c: HostBuffer::zeroed((m * n) as u64).map_err(|error| error.to_string())?,
        }));
    }
    match device.as_gpu() {
        None => {
            // As a tensor's memory is: on cache lines.
            let operands = operands.iter().map(|words| HostBuffer::from_words(words));
            Ok(Box::new(OnCpu {
                device: device.clone(),
                op,
                operands: operands
                    .collect::<fewbit::Result<_>>()
                    .map_err(|error| error.to_string())?,
                result,
            }))
        }
        Some(gpu) => OnGpu::new(gpu, &*op, &operands, result)
            .map(|run| Box::new(run) as Box<dyn Run>)
            .map_err(|error| error.to_string()),
    }
}

/// A product with weights packed before.
struct Kept {
    cpu: Cpu,
    params: GemmParams,
    a: HostBuffer,
    weights: PackedB,
    c: HostBuffer,
}

impl Run for Kept {
    fn run(&mut self, repeats: u32) -> Result<(), String> {
        for _ in 0..repeats {
            let a = Source::bf16(bf16::halves(self.a.words()), self.params.k);
            let c = Sink::f32(bytemuck::cast_slice_mut(self.c.words_mut()), self.params.n);
            gemm_packed(&self.cpu, &self.params, a, &self.weights, c, None)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, String> {
        Ok(floats(self.c.words()))
    }
}

struct OnCpu {
    device: Device,
    op: Box<dyn Op>,
    operands: Vec<HostBuffer>,
    result: usize,
}

impl Run for OnCpu {
    fn run(&mut self, repeats: u32) -> Result<(), String> {
        let cpu = self.device.as_cpu().ok_or("not a CPU device")?;
        for _ in 0..repeats {
            let args = self.operands.iter_mut().enumerate().map(|(index, words)| {
                if index == self.result {
                    Arg::Write(words.words_mut())
                } else {
                    Arg::Read(words.words())
                }
            });
            let args = Args::new(args.collect(), self.op.step_values());
            self.op.cpu(cpu, args).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, String> {
        Ok(floats(self.operands[self.result].words()))
    }
}

struct OnGpu {
    gpu: Gpu,
    bound: BoundPlan,
    buffers: Vec<fewbit::wgpu::Buffer>,
    result: usize,
    words: u64,
}

impl OnGpu {
    fn new(gpu: &Gpu, op: &dyn Op, operands: &[Vec<u32>], result: usize) -> fewbit::Result<Self> {
        let plan = op.plan(gpu, &PlanRequest::default())?;
        let usage = fewbit::wgpu::BufferUsages::STORAGE | fewbit::wgpu::BufferUsages::COPY_SRC;
        let mut buffers = Vec::new();
        for words in operands {
            buffers.push(gpu.buffer_with("peers", words, usage)?);
        }
        let scratch = gpu.buffer("scratch", plan.scratch_bytes())?;
        let step = StepBuffer::new(gpu, plan.scalars(), &op.step_values())?;
        let views: Vec<_> = buffers.iter().map(Operand::whole).collect();
        let bound = plan.bind_with(&views, Some(Operand::whole(&scratch)), Some(&step))?;
        Ok(Self {
            gpu: gpu.clone(),
            bound,
            words: operands[result].len() as u64,
            buffers,
            result,
        })
    }
}

impl Run for OnGpu {
    fn run(&mut self, repeats: u32) -> Result<(), String> {
        let run = || -> fewbit::Result<()> {
            for _ in 0..repeats {
                let mut encoder = self.gpu.encoder("peers");
                self.bound.encode(&mut encoder);
                self.gpu.submit("peers", encoder)?;
            }
            self.gpu.wait()
        };
        run().map_err(|error| error.to_string())
    }

    fn result(&mut self) -> Result<Vec<f32>, String> {
        let read = || -> fewbit::Result<Vec<f32>> {
            let mut encoder = self.gpu.encoder("peers");
            let back = ReadBack::record(&self.gpu, &mut encoder, &self.buffers[self.result], 0, self.words)?;
            self.gpu.submit("peers", encoder)?;
            Ok(floats(back.read_blocking()?.words()))
        };
        read().map_err(|error| error.to_string())
    }
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}
