//! Running one operation on a device: the step between tensors and plans.

use std::sync::Arc;

#[cfg(not(target_arch = "wasm32"))]
use super::checked::check_against;
use super::storage::{GpuState, Storage};
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

    fn storage(&self, op: &dyn Op) -> Result<&Arc<Storage>> {
        let (tensor, part) = self.tensor();
        let got = part + 1;
        tensor.parts.get(part).ok_or(Error::Operands {
            op: op.name(),
            expected: tensor.parts.len(),
            got,
        })
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
        for slot in slots.iter_mut() {
            if let Slot::Out(tensor, part) = slot {
                self.make_unique(tensor, *part)?;
            }
        }
        match self.kind() {
            Kind::Checked(inner) => self.run_checked(inner, op, slots, step),
            kind => run_on(kind, op, slots, step),
        }
    }

    /// Gives a tensor its own copy of a part that clones share.
    fn make_unique(&self, tensor: &mut Tensor, part: usize) -> Result<()> {
        let Some(storage) = tensor.parts.get_mut(part) else {
            return Ok(());
        };
        if Arc::get_mut(storage).is_some() {
            return Ok(());
        }
        *storage = match (&**storage, self.gpu_state()) {
            (Storage::Host(buffer), _) => Arc::new(Storage::Host(buffer.try_clone()?)),
            (Storage::Gpu(buffer), Some(state)) => {
                let copy = state.allocate(buffer.words, false)?;
                state.record(buffer.words, |encoder| {
                    encoder.copy_buffer_to_buffer(&buffer.raw, 0, &copy.raw, 0, buffer.words * 4);
                    Ok(())
                })?;
                Arc::new(Storage::Gpu(copy))
            }
            (Storage::Gpu(_), None) => {
                return Err(Error::OtherDevice {
                    op: "write",
                    operand: "tensor",
                });
            }
        };
        Ok(())
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
        check_against(inner, op, &before, &want, &got, step, None)
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
            Slot::Out(tensor, part) => match tensor.parts.get_mut(*part).map(Arc::get_mut) {
                Some(Some(Storage::Host(buffer))) => Arg::Write(buffer.words_mut()),
                Some(_) => return Err(wrong_device()),
                None => return Err(missing),
            },
        });
    }
    Ok(Args::new(args, step.clone()))
}

fn run_gpu(state: &GpuState, op: &dyn Op, slots: &[Slot<'_>], step: &StepValues) -> Result<()> {
    let mut operands = Vec::with_capacity(slots.len());
    for slot in slots {
        match &**slot.storage(op)? {
            Storage::Gpu(buffer) => operands.push(Operand::new(&buffer.raw, 0, buffer.words * 4)),
            Storage::Host(_) => {
                return Err(Error::OtherDevice {
                    op: op.name(),
                    operand: "tensor",
                });
            }
        }
    }
    #[cfg(not(target_arch = "wasm32"))]
    super::tune::lazily(state, op, &operands, step)?;
    let plan = state.plan(op)?;
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
