//! Running an operation over plain words: on a host device, and through the low door on a GPU.

use super::{Arg, Args, Arithmetic, Op};
use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::{Gpu, Operand, PlanRequest, ReadBack, StepBuffer, StepValues};
use crate::tensor::HostBuffer;

/// A copy of every operand.
///
/// # Errors
/// Out of memory.
pub fn copies(operands: &[HostBuffer]) -> Result<Vec<HostBuffer>> {
    operands.iter().map(HostBuffer::try_clone).collect()
}

/// A device whose memory is the host's.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// The native CPU device.
    Cpu(&'a Cpu),
    /// The specification.
    Reference,
}

impl Host<'_> {
    /// Runs an operation over operands in its order, in place.
    ///
    /// # Errors
    /// Whatever the operation's check finds; operands of the wrong number or size.
    pub fn run(&self, op: &dyn Op, operands: &mut [HostBuffer], step: &StepValues) -> Result<()> {
        let specs = op.operands();
        let args = operands.iter_mut().enumerate().map(|(at, buffer)| {
            let written = specs.get(at).is_some_and(|spec| spec.is_written());
            match written {
                true => Arg::Write(buffer.words_mut()),
                false => Arg::Read(buffer.words()),
            }
        });
        self.run_args(op, Args::new(args.collect(), step.clone()))
    }

    /// The same over borrowed words.
    ///
    /// # Errors
    /// See [`Host::run`].
    pub fn run_args(&self, op: &dyn Op, args: Args<'_>) -> Result<()> {
        match self {
            Self::Cpu(cpu) => op.cpu(cpu, args),
            Self::Reference => op.reference(args),
        }
    }
}

/// Words around every operand that no kernel may touch.
const GUARD: u32 = 0xfee1_dead;

/// Bytes past a window that a kernel may then reach: those of a case's guard words.
const LOOSE: u64 = 64;

/// What a run on a GPU leaves: the variant that ran, and every operand after it.
#[derive(Debug)]
pub struct Ran {
    /// The variant.
    pub variant: &'static str,
    /// What may be assumed of its arithmetic, for the bounds of its class.
    pub arithmetic: Arithmetic,
    /// The operands, in order.
    pub operands: Vec<HostBuffer>,
}

/// Plans an operation, uploads its operands `offset` words into buffers of their own, records it in submits under
/// the cap on work, and reads every operand back.
///
/// # Errors
/// Whatever planning or running finds; device lost; out of memory.
pub async fn on_gpu(
    gpu: &Gpu,
    op: &dyn Op,
    request: &PlanRequest,
    operands: &[HostBuffer],
    offset: usize,
) -> Result<Ran> {
    on_gpu_step(gpu, op, request, operands, offset, &op.step_values()).await
}

/// [`on_gpu`] with the values of this step.
pub(crate) async fn on_gpu_step(
    gpu: &Gpu,
    op: &dyn Op,
    request: &PlanRequest,
    operands: &[HostBuffer],
    offset: usize,
    step: &StepValues,
) -> Result<Ran> {
    let ((variant, arithmetic), backs) = submit(gpu, op, request, operands, offset, step)?;
    let mut operands = Vec::with_capacity(backs.len());
    for back in backs {
        operands.push(back.read().await?);
    }
    Ok(Ran {
        variant,
        arithmetic,
        operands,
    })
}

/// [`on_gpu`] for threads that may block; polls on borrowed devices too.
///
/// # Errors
/// See [`on_gpu`]; [`Error::Unsupported`](crate::Error::Unsupported) in a browser.
pub fn on_gpu_blocking(
    gpu: &Gpu,
    op: &dyn Op,
    request: &PlanRequest,
    operands: &[HostBuffer],
    offset: usize,
) -> Result<Ran> {
    let ((variant, arithmetic), backs) = submit(gpu, op, request, operands, offset, &op.step_values())?;
    let operands = backs.into_iter().map(read).collect::<Result<_>>()?;
    Ok(Ran {
        variant,
        arithmetic,
        operands,
    })
}

fn submit(
    gpu: &Gpu,
    op: &dyn Op,
    request: &PlanRequest,
    operands: &[HostBuffer],
    offset: usize,
    step: &StepValues,
) -> Result<((&'static str, Arithmetic), Vec<ReadBack>)> {
    let plan = op.plan(gpu, request)?;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let mut buffers = Vec::with_capacity(operands.len());
    for operand in operands {
        let mut words = HostBuffer::zeroed((offset + operand.len()) as u64)?;
        let (before, inside) = words.words_mut().split_at_mut(offset);
        before.fill(GUARD);
        inside.copy_from_slice(operand.words());
        buffers.push(gpu.buffer_with("operand", words.words(), usage)?);
    }
    let lent: Vec<_> = buffers
        .iter()
        .zip(operands)
        .map(|(buffer, words)| Operand::new(buffer, offset as u64 * 4, words.len() as u64 * 4))
        .collect();
    let scratch = gpu.buffer("scratch", plan.scratch_bytes())?;
    let step = StepBuffer::new(gpu, plan.scalars(), step)?;
    // Operands off their bindings' starts are there to be looked around: up to as many words behind them too.
    let loose = if offset > 0 { LOOSE } else { 0 };
    let bound = plan.bind_loosely(&lent, Some(Operand::whole(&scratch)), Some(&step), loose)?;
    let mut encoder = gpu.encoder("run");
    let mut work = 0u64;
    for index in 0..plan.steps() {
        work = work.saturating_add(plan.work(index));
        if work > gpu.work_cap() && index > 0 {
            gpu.submit("run", std::mem::replace(&mut encoder, gpu.encoder("run")))?;
            work = plan.work(index);
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        bound.record_range(&mut pass, index..index + 1);
    }
    let mut backs = Vec::with_capacity(buffers.len());
    for (buffer, words) in buffers.iter().zip(operands) {
        let (first, len) = (offset as u64 * 4, words.len() as u64);
        backs.push(ReadBack::record(gpu, &mut encoder, buffer, first, len)?);
    }
    gpu.submit("run", encoder)?;
    Ok(((plan.variant(), Arithmetic::of(&plan)), backs))
}

#[cfg(not(target_arch = "wasm32"))]
fn read(back: ReadBack) -> Result<HostBuffer> {
    back.read_blocking()
}

#[cfg(target_arch = "wasm32")]
fn read(_: ReadBack) -> Result<HostBuffer> {
    let (op, what) = ("run", "reading back synchronously".to_string());
    Err(crate::Error::Unsupported {
        op,
        what,
        device: "wasm32 (it needs threads that may block)",
    })
}
