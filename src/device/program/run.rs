//! Running a program's calls on each kind of device.

use std::ops::Range;

#[cfg(not(target_arch = "wasm32"))]
use super::Span;
use super::{Call, Program, Ready};
#[cfg(not(target_arch = "wasm32"))]
use crate::device::checked::check_against;
use crate::device::memory::Memory;
use crate::device::storage::{GpuState, Storage};
use crate::device::{Device, Kind};
use crate::error::Result;
use crate::gpu::StepValues;
use crate::op::run::Host;
#[cfg(not(target_arch = "wasm32"))]
use crate::op::run::copies;
use crate::op::{Arg, Args};
#[cfg(not(target_arch = "wasm32"))]
use crate::tensor::HostBuffer;

impl Program {
    pub(super) fn run_kind(
        &mut self,
        kind: &Kind,
        mut range: Range<usize>,
        values: &StepValues,
    ) -> Result<()> {
        match kind {
            Kind::Gpu(state) => {
                self.update_steps(state, &range, values)?;
                range.try_for_each(|call| self.run_gpu(state, call))
            }
            Kind::Cpu(cpu) => range.try_for_each(|call| self.run_host(call, values, Host::Cpu(cpu))),
            Kind::Reference => range.try_for_each(|call| self.run_host(call, values, Host::Reference)),
            Kind::Checked(inner) => self.run_checked(inner, range, values),
        }
    }

    /// Records the values of this step into the step buffers that the calls of `range` read.
    fn update_steps(&mut self, state: &GpuState, range: &Range<usize>, values: &StepValues) -> Result<()> {
        self.fresh.fill(false);
        let calls = self.calls.get(range.clone()).unwrap_or_default();
        let values = &self.with_fed(values);
        for (at, step) in self.steps.iter().enumerate() {
            if calls
                .iter()
                .any(|call| call.ready.as_ref().is_some_and(|ready| ready.step == at))
            {
                state.record(0, |encoder| step.update(encoder, values))?;
            }
        }
        Ok(())
    }

    fn run_gpu(&mut self, state: &GpuState, call: usize) -> Result<()> {
        let gate = self.gate(state, call)?;
        if let Some(ready) = self.calls.get(call).and_then(|call| call.ready.as_ref()) {
            self.feed_step(state, ready.step)?;
        }
        self.record(state, call, gate)?;
        self.ran(call);
        Ok(())
    }

    /// Records a call, which passes a gate as its dispatches from so many on, or always runs.
    fn record(&self, state: &GpuState, call: usize, gate: Option<(usize, u64)>) -> Result<()> {
        let Some(Ready { bound, .. }) = self.calls.get(call).and_then(|call| call.ready.as_ref()) else {
            return Ok(());
        };
        let gate = gate.and_then(|(at, first)| Some((self.gate_at(at)?, first)));
        for step in 0..bound.plan().steps() {
            state.record(bound.plan().work(step), |encoder| {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(bound.plan().op()),
                    timestamp_writes: None,
                });
                match gate {
                    Some((gate, first)) => bound.record_gated(&mut pass, step, gate, first + step as u64),
                    None => bound.record_range(&mut pass, step..step + 1),
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn run_host(&mut self, call: usize, values: &StepValues, host: Host<'_>) -> Result<()> {
        if !self.runs(call)? {
            return Ok(());
        }
        let values = self.fed(values)?;
        let Self { calls, memories, .. } = self;
        let Some(Call { op, operands, .. }) = calls.get(call) else {
            return Ok(());
        };
        let specs = op.operands();
        // Written memories are taken out of the list, so that the others can be lent side by side with them.
        let mut taken: Vec<Option<Memory>> = specs
            .iter()
            .zip(operands)
            .map(|(spec, span)| match spec.is_written() {
                true => Some(std::mem::replace(&mut memories[span.memory], Memory::none())),
                false => None,
            })
            .collect();
        let args = taken.iter_mut().zip(operands).map(|(taken, span)| {
            let words = span.words as usize;
            match taken {
                Some(memory) => match memory.get_mut() {
                    Some(Storage::Host(buffer)) => Arg::Write(&mut buffer.words_mut()[..words]),
                    Some(Storage::Gpu(_)) | None => Arg::Read(&[]),
                },
                None => match &*memories[span.memory] {
                    Storage::Host(buffer) => Arg::Read(&buffer.words()[..words]),
                    Storage::Gpu(_) => Arg::Read(&[]),
                },
            }
        });
        let args = args.collect();
        let outcome = host.run_args(&**op, Args::new(args, values));
        for (memory, span) in taken.into_iter().zip(operands) {
            if let Some(memory) = memory {
                memories[span.memory] = memory;
            }
        }
        outcome
    }

    #[cfg(target_arch = "wasm32")]
    fn run_checked(&mut self, _: &Device, _: Range<usize>, _: &StepValues) -> Result<()> {
        let (op, what) = ("program", "a checked device".to_string());
        Err(crate::error::Error::Unsupported {
            op,
            what,
            device: "wasm32 (it needs threads that may block)",
        })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn run_checked(&mut self, inner: &Device, range: Range<usize>, values: &StepValues) -> Result<()> {
        if let Some(state) = inner.gpu_state() {
            self.update_steps(state, &range, values)?;
        }
        let given = values;
        for call in range {
            // What does not run is not compared.
            if !self.runs(call)? {
                continue;
            }
            let values = &self.fed(given)?;
            let before = self.operands_of(call)?;
            let mut want = copies(&before)?;
            if let Some(call) = self.calls.get(call) {
                Host::Reference.run(&*call.op, &mut want, values)?;
            }
            match inner.kind() {
                Kind::Gpu(state) => self.run_gpu(state, call)?,
                Kind::Cpu(cpu) => self.run_host(call, values, Host::Cpu(cpu))?,
                Kind::Reference => self.run_host(call, values, Host::Reference)?,
                Kind::Checked(inner) => {
                    let inner = inner.clone();
                    self.run_checked(&inner, call..call + 1, values)?;
                }
            }
            let got = self.operands_of(call)?;
            if let Some(call) = self.calls.get(call) {
                let variant = call.ready.as_ref().map(|ready| ready.bound.plan().variant());
                check_against(inner, &*call.op, &before, &want, &got, values, variant)?;
            }
        }
        Ok(())
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn operands_of(&self, call: usize) -> Result<Vec<HostBuffer>> {
        let operands = self.calls.get(call).map_or(&[][..], |call| &call.operands);
        let read = |span: &Span| {
            let memory = &self.memories[span.memory];
            self.device.block_on(self.device.read_memory(memory, span.words))
        };
        operands.iter().map(read).collect()
    }
}
