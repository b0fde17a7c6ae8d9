//! Calls that run where a word of a tensor says so, and step values that are words of tensors: what a program decides
//! for itself, without the host's looking at it.

use super::{Program, TensorId, pieces, written};
use crate::device::storage::{GpuBuffer, GpuState, Storage, needs};
use crate::error::{Error, Result};
use crate::gpu::{Gate, StepValues, Test};
use crate::tensor::{DType, Layout};

/// What must be for a call to run: a word of one of the program's tensors of `u32`, masked, is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    tensor: TensorId,
    test: Test,
}

impl Condition {
    /// Word number `word` of the tensor is `value`.
    #[must_use]
    pub const fn equal(tensor: TensorId, word: u64, value: u32) -> Self {
        let mask = u32::MAX;
        Self {
            tensor,
            test: Test { word, mask, value },
        }
    }

    /// Of the word these bits alone, the others counting as 0: several flags of one word at once.
    #[must_use]
    pub const fn masked(mut self, mask: u32) -> Self {
        self.test.mask = mask;
        self
    }
}

/// A condition on a memory of the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) memory: usize,
    test: Test,
    /// On a GPU the call's first dispatch among those of the memory's gate.
    first: u64,
}

/// All calls on conditions on one memory, on a GPU.
#[derive(Debug)]
pub(super) struct Gated {
    memory: usize,
    /// Words of it that conditions look at.
    words: u64,
    /// Whether the memory may have changed since it was looked at.
    stale: bool,
    /// Made when it is needed, and made anew when a call is added or the memory moves.
    gate: Option<Gate>,
}

/// A step value that is a word of a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fed {
    name: &'static str,
    memory: usize,
    word: u64,
}

impl Program {
    /// Calls appended from now on run only where the condition holds when they are reached; `None`: always. On a GPU
    /// the device looks itself: nothing is read back, however the word came to be; the work of a call counts for the cap
    /// on a submit's whether it runs or not. A checked device compares those that run.
    ///
    /// ```
    /// # fn main() -> fewbit::Result<()> {
    /// use fewbit::device::{Condition, Device, Program};
    /// use fewbit::gpu::StepValues;
    /// use fewbit::kernels::Copy;
    /// use fewbit::tensor::{DType, Layout};
    ///
    /// let mut program = Program::new(&Device::cpu());
    /// let words = |n| Layout::dense(DType::U32, &[n]);
    /// let (x, y, flags) = (program.zeros(words(4))?, program.zeros(words(4))?, program.zeros(words(1))?);
    /// program.when(Some(Condition::equal(flags, 0, 1)))?;
    /// program.call(Copy::new(4), &[x, y])?;
    /// program.when(None)?;
    ///
    /// program.write_words(x, &[&[7; 4]])?;
    /// program.run(&StepValues::default())?;
    /// assert_eq!(program.tensor(y)?.read_u32_blocking()?, [0; 4]);
    /// program.write_codes(flags, &[&[1u32]])?;
    /// program.run(&StepValues::default())?;
    /// assert_eq!(program.tensor(y)?.read_u32_blocking()?, [7; 4]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A tensor of another program, or of others than `u32`; [`Error::Limit`] for a word past its end; [`Error::Value`]
    /// for a value with bits outside the mask, which no word has; [`Error::Unsupported`] on a GPU without indirect
    /// dispatches.
    pub fn when(&mut self, condition: Option<Condition>) -> Result<()> {
        const OP: &str = "when";
        self.when = match condition {
            None => None,
            Some(Condition { tensor, test }) => {
                let memory = self.word(OP, tensor, DType::U32, test.word)?;
                if test.value & !test.mask != 0 {
                    return Err(Error::Value {
                        op: OP,
                        what: "value",
                        value: format!("{:#x} (of {:#x})", test.value, test.mask),
                        expected: "bits of the mask",
                    });
                }
                if self
                    .device
                    .as_gpu()
                    .is_some_and(|gpu| !gpu.dispatches_indirectly())
                {
                    return Err(Error::Unsupported {
                        op: OP,
                        what: "an operation on a condition".to_string(),
                        device: "a GPU without indirect dispatches",
                    });
                }
                let first = 0;
                Some(When { memory, test, first })
            }
        };
        Ok(())
    }

    /// From now on the step value of this name is a word of a tensor of f32, as it is when a call that takes it is
    /// reached, whatever value a run is given. On a GPU the device copies it.
    ///
    /// # Errors
    /// A tensor of another program, or of others than f32; [`Error::Limit`] for a word past its end; [`Error::Usage`] for
    /// a caller's buffer that may not be copied from.
    pub fn feed(&mut self, name: &'static str, tensor: TensorId, word: u64) -> Result<()> {
        const OP: &str = "feed";
        let memory = self.word(OP, tensor, DType::F32, word)?;
        if let Storage::Gpu(buffer) = &*self.memories[memory] {
            needs(&buffer.raw, wgpu::BufferUsages::COPY_SRC, OP, "COPY_SRC")?;
        }
        self.fed.retain(|fed| fed.name != name);
        self.fed.push(Fed { name, memory, word });
        Ok(())
    }

    /// The memory of a dense tensor of one type that has a word of this number.
    fn word(&self, op: &'static str, id: TensorId, dtype: DType, word: u64) -> Result<usize> {
        let entry = self.entry(op, id)?;
        let got = match entry.layout {
            Layout::Dense { dtype, .. } => Some(dtype),
            _ => None,
        };
        let Some(span) = entry.parts.first().filter(|_| got == Some(dtype)) else {
            return Err(Error::Value {
                op,
                what: "tensor",
                value: format!("{:?}", entry.layout),
                expected: match dtype {
                    DType::U32 => "a dense tensor of u32",
                    DType::F64 | DType::F32 | DType::Bf16 | DType::U16 => "a dense tensor of f32",
                },
            });
        };
        let most = span.words.min(u64::from(u32::MAX));
        match word < most {
            true => Ok(span.memory),
            false => Err(Error::Limit {
                op,
                what: "word",
                value: word,
                limit: most.saturating_sub(1),
            }),
        }
    }

    /// The values of a run on the host, with those that are words of tensors. On a GPU those are copied later.
    pub(super) fn fed(&self, values: &StepValues) -> Result<StepValues> {
        let mut values = values.clone();
        for fed in &self.fed {
            let word = self.peek(fed.memory, fed.word)?;
            values.set(fed.name, f32::from_bits(word));
        }
        Ok(values)
    }

    /// Whether a call's condition holds now.
    pub(super) fn runs(&self, call: usize) -> Result<bool> {
        match self.calls.get(call).and_then(|call| call.when) {
            Some(When { memory, test, .. }) => Ok(test.holds(self.peek(memory, test.word)?)),
            None => Ok(true),
        }
    }

    /// A word of a memory; that of a GPU is read back, for checked devices.
    fn peek(&self, memory: usize, word: u64) -> Result<u32> {
        let memory = &self.memories[memory];
        let found = match &**memory {
            Storage::Host(buffer) => buffer.words().get(word as usize).copied(),
            #[cfg(not(target_arch = "wasm32"))]
            Storage::Gpu(_) => {
                let read = self.device.read_memory(memory, word + 1);
                self.device.block_on(read)?.words().last().copied()
            }
            #[cfg(target_arch = "wasm32")]
            Storage::Gpu(_) => None,
        };
        found.ok_or(Error::Limit {
            op: "program",
            what: "word",
            value: word,
            limit: 0,
        })
    }

    /// Every gate and every step value is to be looked at anew: callers may have written their buffers.
    pub(super) fn forget(&mut self) {
        self.gates.iter_mut().for_each(|gated| gated.stale = true);
        self.fresh.fill(false);
    }

    /// The same of those that depend on a memory that has been written, or has moved.
    pub(super) fn changed(&mut self, memory: usize, moved: bool) {
        for gated in self.gates.iter_mut().filter(|gated| gated.memory == memory) {
            gated.stale = true;
            if moved {
                gated.gate = None;
            }
        }
        if self.fed.iter().any(|fed| fed.memory == memory) {
            self.fresh.fill(false);
        }
    }

    /// The same of what a call writes.
    pub(super) fn ran(&mut self, call: usize) {
        if self.gates.is_empty() && self.fed.is_empty() {
            return;
        }
        let Some(call) = self.calls.get(call) else {
            return;
        };
        let memories: Vec<_> = written(&*call.op, &call.operands)
            .map(|(_, _, memory)| memory)
            .collect();
        for memory in memories {
            self.changed(memory, false);
        }
    }

    /// Gates that a call with this condition passes are made anew.
    pub(super) fn gated(&mut self, when: When) {
        if self.device.gpu_state().is_none() {
            return;
        }
        let words = when.test.word + 1;
        match self.gates.iter_mut().find(|gated| gated.memory == when.memory) {
            Some(gated) => {
                gated.gate = None;
                gated.words = gated.words.max(words);
            }
            None => self.gates.push(Gated {
                memory: when.memory,
                words,
                stale: true,
                gate: None,
            }),
        }
    }

    /// On a GPU: the gate that a call passes, which has looked at what is there now, and the call's first dispatch in
    /// it.
    pub(super) fn gate(&mut self, state: &GpuState, call: usize) -> Result<Option<(usize, u64)>> {
        let Some(When { memory, .. }) = self.calls.get(call).and_then(|call| call.when) else {
            return Ok(None);
        };
        let Some(at) = self.gates.iter().position(|gated| gated.memory == memory) else {
            return Ok(None);
        };
        if self.gates[at].gate.is_none() {
            self.make_gate(state, at)?;
        }
        let gated = &mut self.gates[at];
        if let Some(gate) = gated.gate.as_ref().filter(|_| gated.stale) {
            state.record(0, |encoder| {
                gate.look(encoder);
                Ok(())
            })?;
            gated.stale = false;
        }
        let first = self.calls[call].when.map_or(0, |when| when.first);
        Ok(Some((at, first)))
    }

    fn make_gate(&mut self, state: &GpuState, at: usize) -> Result<()> {
        let Gated { memory, words, .. } = self.gates[at];
        let mut all = Vec::new();
        for call in &mut self.calls {
            let Some(when) = call.when.as_mut().filter(|when| when.memory == memory) else {
                continue;
            };
            when.first = all.len() as u64;
            let groups = call.ready.iter().flat_map(|ready| ready.bound.groups());
            all.extend(groups.map(|groups| (when.test, groups)));
        }
        let span = super::Span { memory, words };
        let flags = pieces(&self.memories, &[span]);
        if let Some(&flags) = flags.first() {
            let gated = &mut self.gates[at];
            gated.gate = Some(Gate::new(&state.gpu, flags, words, &all)?);
            gated.stale = true;
        }
        Ok(())
    }

    /// The gate of that number.
    pub(super) fn gate_at(&self, at: usize) -> Option<&Gate> {
        self.gates.get(at)?.gate.as_ref()
    }

    /// On a GPU: copies what is fed into a step buffer, unless it is there.
    pub(super) fn feed_step(&mut self, state: &GpuState, step: usize) -> Result<()> {
        if self.fed.is_empty() || self.fresh.get(step).is_none_or(|fresh| *fresh) {
            return Ok(());
        }
        let buffer = &self.steps[step];
        for fed in &self.fed {
            let place = buffer.scalars().iter().position(|name| *name == fed.name);
            if let (Some(place), Storage::Gpu(GpuBuffer { raw, offset, .. })) =
                (place, &*self.memories[fed.memory])
            {
                let (from, to) = (offset + 4 * fed.word, 12 + 4 * place as u64);
                state.record(0, |encoder| {
                    encoder.copy_buffer_to_buffer(raw, from, buffer.raw(), to, 4);
                    Ok(())
                })?;
            }
        }
        self.fresh[step] = true;
        Ok(())
    }

    /// The values that step buffers are first given, those that are fed among them.
    pub(super) fn with_fed(&self, values: &StepValues) -> StepValues {
        let zero = |values: StepValues, fed: &Fed| values.with(fed.name, 0.0);
        self.fed.iter().fold(values.clone(), zero)
    }
}
