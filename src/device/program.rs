//! A chain of operations made ready once and run many times: a training step, a model's forward pass.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(target_arch = "wasm32"))]
use super::checked::check_against;
use super::storage::{GpuBuffer, GpuState};
use super::{Device, Kind};
use crate::error::{Error, Result};
use crate::gpu::{BoundPlan, Operand, StepBuffer, StepValues};
use crate::op::run::Host;
#[cfg(not(target_arch = "wasm32"))]
use crate::op::run::copies;
use crate::op::{Arg, Args, Op};
use crate::tensor::HostBuffer;

/// A buffer of a [`Program`]; every other program refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId {
    program: u64,
    index: usize,
}

/// Buffers and the operations over them, in order. On a GPU every plan is bound once, and a run records the
/// whole chain without read-back: few submits however long the chain is.
#[derive(Debug)]
pub struct Program {
    /// Unique in the process.
    number: u64,
    device: Device,
    buffers: Vec<Memory>,
    calls: Vec<Call>,
    steps: Vec<StepBuffer>,
    scratch: Vec<GpuBuffer>,
}

#[derive(Debug)]
enum Memory {
    Host(HostBuffer),
    Gpu(GpuBuffer),
}

#[derive(Debug)]
struct Call {
    op: Box<dyn Op>,
    operands: Vec<BufferId>,
    bound: Option<BoundPlan>,
    /// Which step buffer its plan reads.
    step: Option<usize>,
}

impl Program {
    /// An empty program on a device.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            device: device.clone(),
            buffers: Vec::new(),
            calls: Vec::new(),
            steps: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Adds a buffer of `words` words, zeroed.
    ///
    /// # Errors
    /// Out of memory, or past a limit of the device.
    pub fn buffer(&mut self, words: u64) -> Result<BufferId> {
        self.buffers.push(match self.device.gpu_state() {
            Some(state) => Memory::Gpu(state.allocate(words, true)?),
            None => Memory::Host(HostBuffer::zeroed(words)?),
        });
        Ok(BufferId {
            program: self.number,
            index: self.buffers.len() - 1,
        })
    }

    /// The place of a buffer, unless it is another program's.
    fn index(&self, op: &'static str, id: BufferId) -> Result<usize> {
        if id.program != self.number {
            return Err(Error::Value {
                op,
                what: "buffer",
                value: format!("number {} of another program", id.index),
                expected: "one of this program's buffers",
            });
        }
        Ok(id.index)
    }

    /// Bytes that all its buffers hold (scratch included).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let buffers = self.buffers.iter().map(|memory| match memory {
            Memory::Host(buffer) => buffer.len() as u64 * 4,
            Memory::Gpu(buffer) => buffer.words * 4,
        });
        buffers.sum::<u64>() + self.scratch.iter().map(|buffer| buffer.words * 4).sum::<u64>()
    }

    /// How many operations it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Appends an operation over buffers, in the operation's order, and makes it ready.
    ///
    /// # Errors
    /// Whatever the operation's check and plan find; a buffer too small, or of another program; one buffer twice
    /// where one of the two is written.
    pub fn push(&mut self, op: impl Op + 'static, operands: &[BufferId]) -> Result<()> {
        op.check()?;
        let specs = op.operands();
        if specs.len() != operands.len() {
            return Err(Error::Operands {
                op: op.name(),
                expected: specs.len(),
                got: operands.len(),
            });
        }
        for (i, (spec, id)) in specs.iter().zip(operands).enumerate() {
            let got = match self.buffers.get(self.index(op.name(), *id)?) {
                Some(Memory::Host(buffer)) => buffer.len() as u64 * 4,
                Some(Memory::Gpu(buffer)) => buffer.words * 4,
                None => 0,
            };
            if got < spec.words * 4 {
                let needed = spec.words * 4;
                return Err(Error::TooSmall {
                    op: op.name(),
                    operand: spec.name,
                    needed,
                    got,
                });
            }
            for (other, other_id) in specs[..i].iter().zip(operands) {
                if other_id == id && (spec.is_written() || other.is_written()) {
                    return Err(Error::Aliased {
                        op: op.name(),
                        first: other.name,
                        second: spec.name,
                    });
                }
            }
        }
        let (bound, step) = match self.device.gpu_state() {
            None => (None, None),
            Some(state) => {
                let plan = state.plan(&op)?;
                if plan.scratch_bytes() > 0 {
                    self.scratch
                        .push(state.allocate(plan.scratch_bytes() / 4, false)?);
                }
                let scratch = match plan.scratch_bytes() {
                    0 => None,
                    _ => self.scratch.last().map(|buffer| Operand::whole(&buffer.raw)),
                };
                let operands: Vec<_> = operands
                    .iter()
                    .filter_map(|id| match self.buffers.get(id.index) {
                        Some(Memory::Gpu(buffer)) => Some(Operand::new(&buffer.raw, 0, buffer.words * 4)),
                        _ => None,
                    })
                    .collect();
                let wanted = plan.scalars();
                let step = match self
                    .steps
                    .iter()
                    .position(|step| step.scalars().starts_with(wanted))
                {
                    Some(at) => at,
                    None => {
                        self.steps.push(StepBuffer::zeroed(&state.gpu, wanted)?);
                        self.steps.len() - 1
                    }
                };
                let bound = plan.bind_with(&operands, scratch, self.steps.get(step))?;
                (Some(bound), Some(step))
            }
        };
        self.calls.push(Call {
            op: Box::new(op),
            operands: operands.to_vec(),
            bound,
            step,
        });
        Ok(())
    }

    /// Runs every operation in order with the values of this step.
    ///
    /// # Errors
    /// Whatever an operation's run finds; device lost; [`Error::Wrong`] on a checked device.
    pub fn run(&mut self, values: &StepValues) -> Result<()> {
        self.run_range(0..self.calls.len(), values)
    }

    /// Runs the operations of `range` (cut to those there are): the forward pass of a training step, say.
    ///
    /// # Errors
    /// See [`Program::run`].
    pub fn run_range(&mut self, range: Range<usize>, values: &StepValues) -> Result<()> {
        let range = range.start..range.end.min(self.calls.len());
        let device = self.device.clone();
        self.run_kind(device.kind(), range, values)
    }

    fn run_kind(&mut self, kind: &Kind, mut range: Range<usize>, values: &StepValues) -> Result<()> {
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
    fn update_steps(&self, state: &GpuState, range: &Range<usize>, values: &StepValues) -> Result<()> {
        let calls = self.calls.get(range.clone()).unwrap_or_default();
        for (at, step) in self.steps.iter().enumerate() {
            if calls.iter().any(|call| call.step == Some(at)) {
                state.record(0, |encoder| step.update(encoder, values))?;
            }
        }
        Ok(())
    }

    fn run_gpu(&self, state: &GpuState, call: usize) -> Result<()> {
        let Some(bound) = self.calls.get(call).and_then(|call| call.bound.as_ref()) else {
            return Ok(());
        };
        for step in 0..bound.plan().steps() {
            state.record(bound.plan().work(step), |encoder| {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(bound.plan().op()),
                    timestamp_writes: None,
                });
                bound.record_range(&mut pass, step..step + 1);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn run_host(&mut self, call: usize, values: &StepValues, host: Host<'_>) -> Result<()> {
        let Self { calls, buffers, .. } = self;
        let Some(Call { op, operands, .. }) = calls.get(call) else {
            return Ok(());
        };
        let specs = op.operands();
        // Written buffers are taken out of the list, so that the others can be lent side by side with them.
        let mut written: Vec<Option<HostBuffer>> = specs
            .iter()
            .zip(operands)
            .map(|(spec, id)| match buffers.get_mut(id.index) {
                Some(Memory::Host(buffer)) if spec.is_written() => Some(std::mem::take(buffer)),
                _ => None,
            })
            .collect();
        let args = written
            .iter_mut()
            .zip(operands)
            .map(|(taken, id)| match (taken, buffers.get(id.index)) {
                (Some(buffer), _) => Arg::Write(buffer.words_mut()),
                (None, Some(Memory::Host(buffer))) => Arg::Read(buffer.words()),
                (None, _) => Arg::Read(&[]),
            })
            .collect();
        let outcome = host.run_args(&**op, Args::new(args, values.clone()));
        for (taken, id) in written.into_iter().zip(operands) {
            if let (Some(taken), Some(Memory::Host(buffer))) = (taken, buffers.get_mut(id.index)) {
                *buffer = taken;
            }
        }
        outcome
    }

    #[cfg(target_arch = "wasm32")]
    fn run_checked(&mut self, _: &Device, _: Range<usize>, _: &StepValues) -> Result<()> {
        let (op, what) = ("program", "a checked device".to_string());
        Err(Error::Unsupported {
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
        for call in range {
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
                check_against(inner, &*call.op, &before, &want, &got, values, None)?;
            }
        }
        Ok(())
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn operands_of(&self, call: usize) -> Result<Vec<HostBuffer>> {
        let operands = self
            .calls
            .get(call)
            .map(|call| call.operands.clone())
            .unwrap_or_default();
        operands
            .into_iter()
            .map(|id| pollster::block_on(self.read(id)))
            .collect()
    }

    /// Overwrites a buffer's first words.
    ///
    /// # Errors
    /// More words than the buffer holds, a buffer of another program, or device lost.
    pub fn write(&mut self, id: BufferId, words: &[u32]) -> Result<()> {
        let too_small = |got: u64| Error::TooSmall {
            op: "write",
            operand: "buffer",
            needed: words.len() as u64 * 4,
            got,
        };
        let index = self.index("write", id)?;
        match (self.buffers.get_mut(index), self.device.gpu_state()) {
            (Some(Memory::Host(buffer)), _) => {
                let got = buffer.len() as u64 * 4;
                let target = buffer
                    .words_mut()
                    .get_mut(..words.len())
                    .ok_or_else(|| too_small(got))?;
                target.copy_from_slice(words);
                Ok(())
            }
            (Some(Memory::Gpu(buffer)), Some(state)) => {
                if buffer.words < words.len() as u64 {
                    return Err(too_small(buffer.words * 4));
                }
                state.write(buffer, words)
            }
            _ => Err(too_small(0)),
        }
    }

    /// The words of a buffer.
    ///
    /// # Errors
    /// A buffer of another program, device lost, or out of memory.
    pub async fn read(&self, id: BufferId) -> Result<HostBuffer> {
        let index = self.index("read", id)?;
        match (self.buffers.get(index), self.device.gpu_state()) {
            (Some(Memory::Host(buffer)), _) => buffer.try_clone(),
            (Some(Memory::Gpu(buffer)), Some(state)) => state.read_back(buffer)?.read().await,
            _ => Err(Error::TooSmall {
                op: "read",
                operand: "buffer",
                needed: 4,
                got: 0,
            }),
        }
    }
}
