//! Running one operation on a device: the step between tensors and plans.

#[cfg(not(target_arch = "wasm32"))]
use super::checked::check_against;
use super::memory::Memory;
use super::storage::{GpuState, Storage, offsets_of};
use super::{Device, Kind, Tensor};
use crate::error::{Error, Result};
use crate::gpu::{Operand, StepValues};
#[cfg(not(target_arch = "wasm32"))]
use crate::op::run::{Host, copies};
use crate::op::{Arg, Args, Op};
#[cfg(not(target_arch = "wasm32"))]
use crate::tensor::HostBuffer;

/// A tensor's part given to an operation: read, or written in place.
#[derive(Debug)]
pub enum Slot<'a> {
    /// Part number `.1` of a tensor that is only read.
    In(&'a Tensor, usize),
    /// Part number `.1` of a tensor that is written. If clones share its memory, it gets its own first.
    Out(&'a mut Tensor, usize),
}

impl<'a> From<&'a Tensor> for Slot<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::In(tensor, 0)
    }
}

impl<'a> From<&'a mut Tensor> for Slot<'a> {
    fn from(tensor: &'a mut Tensor) -> Self {
        Self::Out(tensor, 0)
    }
}

impl Slot<'_> {
    fn tensor(&self) -> (&Tensor, usize) {
        match self {
            Slot::In(tensor, part) => (tensor, *part),
            Slot::Out(tensor, part) => (tensor, *part),
        }
    }

    fn memory(&self, op: &dyn Op) -> Result<(&Memory, u64)> {
        let (tensor, part) = self.tensor();
        tensor.part(op.name(), part)
    }
}

impl Device {
    /// Runs an operation over tensors' parts, in the operation's order, with the step values it was made
    /// with.
    ///
    /// # Errors
    /// See [`Device::run_step`].
    pub fn run(&self, op: &dyn Op, slots: &mut [Slot<'_>]) -> Result<()> {
        self.run_step(op, slots, &op.step_values())
    }

    /// Runs an operation with the step values of this step.
    ///
    /// # Errors
    /// Whatever the operation's check, plan or run finds; [`Error::OtherDevice`] for foreign tensors;
    /// [`Error::Wrong`] on a checked device.
    pub fn run_step(&self, op: &dyn Op, slots: &mut [Slot<'_>], step: &StepValues) -> Result<()> {
        op.check()?;
        let specs = op.operands();
        if specs.len() != slots.len() {
            return Err(Error::Operands {
                op: op.name(),
                expected: specs.len(),
                got: slots.len(),
            });
        }
        for (spec, slot) in specs.iter().zip(slots.iter()) {
            if !slot.tensor().0.device.same(self) {
                return Err(Error::OtherDevice {
                    op: op.name(),
                    operand: spec.name,
                });
            }
            if spec.is_written() && matches!(slot, Slot::In(..)) {
                return Err(Error::Usage {
                    op: op.name(),
                    operand: spec.name,
                    usage: "write",
                });
            }
        }
        for (spec, slot) in specs.iter().zip(slots.iter_mut()) {
            if let Slot::Out(tensor, part) = slot
                && let Some(memory) = tensor.parts.get_mut(*part)
            {
                self.unshare(op.name(), spec.name, memory)?;
            }
        }
        match self.kind() {
            Kind::Checked(inner) => self.run_checked(inner, op, slots, step),
            kind => run_on(kind, op, slots, step),
        }
    }

    #[cfg(target_arch = "wasm32")]
    fn run_checked(&self, _: &Self, op: &dyn Op, _: &mut [Slot<'_>], _: &StepValues) -> Result<()> {
        let what = "a checked device".to_string();
        Err(Error::Unsupported {
            op: op.name(),
            what,
            device: "wasm32 (it needs threads that may block)",
        })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn run_checked(
        &self,
        inner: &Self,
        op: &dyn Op,
        slots: &mut [Slot<'_>],
        step: &StepValues,
    ) -> Result<()> {
        let download = |slots: &[Slot<'_>]| -> Result<Vec<HostBuffer>> {
            slots
                .iter()
                .map(|slot| {
                    let (tensor, part) = slot.tensor();
                    tensor.read_part_blocking(part)
                })
                .collect()
        };
        let before = download(slots)?;
        let mut want = copies(&before)?;
        Host::Reference.run(op, &mut want, step)?;
        run_on(inner.kind(), op, slots, step)?;
        let got = download(slots)?;
        let variant = match inner.gpu_state() {
            Some(state) => Some(state.plan(op, offsets_of(&operands(op, slots)?))?.variant()),
            None => None,
        };
        check_against(inner, op, &before, &want, &got, step, variant)
    }
}

fn run_on(kind: &Kind, op: &dyn Op, slots: &mut [Slot<'_>], step: &StepValues) -> Result<()> {
    match kind {
        Kind::Gpu(state) => run_gpu(state, op, slots, step),
        Kind::Cpu(cpu) => op.cpu(cpu, host_args(op, slots, step)?),
        Kind::Reference => op.reference(host_args(op, slots, step)?),
        Kind::Checked(inner) => run_on(inner.kind(), op, slots, step),
    }
}

fn host_args<'a>(op: &dyn Op, slots: &'a mut [Slot<'_>], step: &StepValues) -> Result<Args<'a>> {
    let mut args = Vec::with_capacity(slots.len());
    let wrong_device = || Error::OtherDevice {
        op: op.name(),
        operand: "tensor",
    };
    for slot in slots {
        let missing = Error::Operands {
            op: op.name(),
            expected: 1,
            got: 0,
        };
        args.push(match slot {
            Slot::In(tensor, part) => match tensor.parts.get(*part).map(|storage| &**storage) {
                Some(Storage::Host(buffer)) => Arg::Read(buffer.words()),
                Some(Storage::Gpu(_)) => return Err(wrong_device()),
                None => return Err(missing),
            },
            Slot::Out(tensor, part) => match tensor.parts.get_mut(*part).map(Memory::get_mut) {
                Some(Some(Storage::Host(buffer))) => Arg::Write(buffer.words_mut()),
                Some(_) => return Err(wrong_device()),
                None => return Err(missing),
            },
        });
    }
    Ok(Args::new(args, step.clone()))
}

/// The pieces of buffers behind the slots.
fn operands<'a>(op: &dyn Op, slots: &'a [Slot<'_>]) -> Result<Vec<Operand<'a>>> {
    let piece = |slot: &'a Slot<'_>| {
        let (memory, words) = slot.memory(op)?;
        match &**memory {
            Storage::Gpu(buffer) => Ok(buffer.operand(words)),
            Storage::Host(_) => Err(Error::OtherDevice {
                op: op.name(),
                operand: "tensor",
            }),
        }
    };
    slots.iter().map(piece).collect()
}

fn run_gpu(state: &GpuState, op: &dyn Op, slots: &[Slot<'_>], step: &StepValues) -> Result<()> {
    let operands = operands(op, slots)?;
    #[cfg(not(target_arch = "wasm32"))]
    super::tune::lazily(state, op, &operands, step)?;
    let plan = state.plan(op, offsets_of(&operands))?;
    let scratch = match plan.scratch_bytes() {
        0 => None,
        bytes => Some(state.allocate(bytes / 4, false)?),
    };
    let scratch = scratch.as_ref().map(|buffer| Operand::whole(&buffer.raw));
    let step_buffer = crate::gpu::StepBuffer::new(&state.gpu, plan.scalars(), step)?;
    let bound = plan.bind_with(&operands, scratch, Some(&step_buffer))?;
    for index in 0..plan.steps() {
        state.record(plan.work(index), |encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(op.name()),
                timestamp_writes: None,
            });
            bound.record_range(&mut pass, index..index + 1);
            Ok(())
        })?;
    }
    Ok(())
}
