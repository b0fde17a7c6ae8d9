//! A chain of operations made ready once and run many times: a training step, a model's forward pass.

mod bytes;
mod calls;
mod run;
mod when;

use std::ops::{Bound, Range, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};

use super::codes::{Code, lent, pack};
use super::memory::Memory;
use super::storage::{GpuBuffer, GpuState, Storage, offsets_of};
use super::tensor::check_words;
use super::{Device, Tensor};
use crate::error::{Error, Result};
use crate::gpu::{BoundPlan, Operand, Plan, StepBuffer, StepValues};
use crate::op::Op;
use crate::tensor::Layout;

pub use when::Condition;
use when::{Fed, Gated, When};

/// A tensor of a [`Program`]; every other program refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorId {
    program: u64,
    index: usize,
}

/// An operation of a [`Program`], to run from or up to; every other program refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    program: u64,
    index: usize,
}

/// Tensors and the operations over them, in order. On a GPU every plan is bound once, and a run records the whole
/// chain without read-back: few submits however long the chain is.
///
/// ```
/// # fn main() -> fewbit::Result<()> {
/// use fewbit::device::{Device, Program};
/// use fewbit::gpu::StepValues;
/// use fewbit::kernels::{Convert, Matmul};
/// use fewbit::tensor::{DType, Layout};
///
/// let device = Device::cpu();
/// let mut program = Program::new(&device);
/// let x = program.zeros(Layout::dense(DType::F32, &[2, 8]))?;
/// let w = program.adopt(device.from_f32(&[8, 4], &[0.25; 32])?)?;
/// let y = program.zeros(Layout::dense(DType::F32, &[2, 4]))?;
/// let half = program.zeros(Layout::dense(DType::Bf16, &[2, 4]))?;
/// let product = program.call(Matmul::new(2, 4, 8), &[x, w, y])?;
/// program.call(Convert::new(2, 4, DType::F32, DType::Bf16), &[y, half])?;
///
/// program.write_codes(x, &[&[1.5f32.to_bits(); 16]])?;
/// program.run(&StepValues::default())?;
/// assert_eq!(program.tensor(half)?.read_blocking()?, [3.0; 8]);
/// // A part of it alone.
/// program.run_range(..=product, &StepValues::default())?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Program {
    /// Unique in the process.
    number: u64,
    device: Device,
    memories: Vec<Memory>,
    tensors: Vec<Entry>,
    calls: Vec<Call>,
    steps: Vec<StepBuffer>,
    /// The condition of the calls to come.
    when: Option<When>,
    gates: Vec<Gated>,
    fed: Vec<Fed>,
    /// Of every step buffer, whether it has what is fed.
    fresh: Vec<bool>,
}

/// A tensor: its layout, and where its parts lie.
#[derive(Debug)]
struct Entry {
    layout: Layout,
    parts: Vec<Span>,
}

/// The first words of a memory.
#[derive(Clone, Copy, Debug)]
struct Span {
    memory: usize,
    words: u64,
}

#[derive(Debug)]
struct Call {
    op: Box<dyn Op>,
    operands: Vec<Span>,
    ready: Option<Ready>,
    when: Option<When>,
}

/// What a call is on a GPU.
#[derive(Debug)]
struct Ready {
    bound: BoundPlan,
    scratch: Option<GpuBuffer>,
    /// Which step buffer its plan reads.
    step: usize,
}

impl Program {
    /// An empty program on a device.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            device: device.clone(),
            memories: Vec::new(),
            tensors: Vec::new(),
            calls: Vec::new(),
            steps: Vec::new(),
            when: None,
            gates: Vec::new(),
            fed: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Adds a tensor of zeros.
    ///
    /// # Errors
    /// See [`Device::zeros`].
    pub fn zeros(&mut self, layout: Layout) -> Result<TensorId> {
        let tensor = self.device.zeros(layout)?;
        self.adopt(tensor)
    }

    /// Adds a tensor that exists. One over a caller's buffers ([`Device::from_buffers`]) is read and written where it
    /// lies; clones that were made of others keep what they hold.
    ///
    /// # Errors
    /// [`Error::OtherDevice`].
    pub fn adopt(&mut self, tensor: Tensor) -> Result<TensorId> {
        if !tensor.device.same(&self.device) {
            return Err(Error::OtherDevice {
                op: "program",
                operand: "tensor",
            });
        }
        let first = self.memories.len();
        let parts = tensor.layout.parts();
        let span = |(part, memory)| Span { memory, words: part };
        let entry = Entry {
            parts: parts
                .iter()
                .map(|part| part.words)
                .zip(first..)
                .map(span)
                .collect(),
            layout: tensor.layout,
        };
        self.memories.extend(tensor.parts);
        Ok(self.enter(entry))
    }

    /// Another tensor over the memory of one that is there, for those that take turns. Writing one writes the other.
    ///
    /// # Errors
    /// What [`Layout::check`] finds; [`Error::Operands`] for a layout of other parts, [`Error::TooSmall`] for one that
    /// does not fit; a tensor of another program.
    pub fn view(&mut self, id: TensorId, layout: Layout) -> Result<TensorId> {
        const OP: &str = "view";
        layout.check()?;
        let from = self.entry(OP, id)?;
        let wanted = layout.parts();
        if from.parts.len() != wanted.len() {
            return Err(Error::Operands {
                op: OP,
                expected: from.parts.len(),
                got: wanted.len(),
            });
        }
        let mut parts = Vec::with_capacity(wanted.len());
        for (span, part) in from.parts.iter().zip(wanted) {
            if part.words > span.words {
                return Err(Error::TooSmall {
                    op: OP,
                    operand: part.name,
                    needed: part.words * 4,
                    got: span.words * 4,
                });
            }
            parts.push(Span {
                words: part.words,
                ..*span
            });
        }
        Ok(self.enter(Entry { layout, parts }))
    }

    fn enter(&mut self, entry: Entry) -> TensorId {
        self.tensors.push(entry);
        TensorId {
            program: self.number,
            index: self.tensors.len() - 1,
        }
    }

    /// A tensor, unless it is another program's.
    fn entry(&self, op: &'static str, id: TensorId) -> Result<&Entry> {
        let own = self.tensors.get(id.index).filter(|_| id.program == self.number);
        own.ok_or_else(|| Error::Value {
            op,
            what: "tensor",
            value: format!("number {} of another program", id.index),
            expected: "one of this program's tensors",
        })
    }

    /// A tensor's layout.
    ///
    /// # Errors
    /// A tensor of another program.
    pub fn layout(&self, id: TensorId) -> Result<&Layout> {
        Ok(&self.entry("layout", id)?.layout)
    }

    /// A tensor with what it holds now, to read or to use elsewhere. It shares the program's memory as a clone does:
    /// a run that writes it while the clone is there first moves to memory of its own.
    ///
    /// # Errors
    /// A tensor of another program.
    pub fn tensor(&self, id: TensorId) -> Result<Tensor> {
        let entry = self.entry("tensor", id)?;
        let parts = entry.parts.iter().map(|span| self.memories[span.memory].clone());
        Ok(Tensor {
            device: self.device.clone(),
            layout: entry.layout.clone(),
            parts: parts.collect(),
        })
    }

    /// Overwrites a tensor, every part word for word, padding included. See [`Tensor::write_words`].
    ///
    /// # Errors
    /// See there; a tensor of another program.
    pub fn write_words(&mut self, id: TensorId, parts: &[&[u32]]) -> Result<()> {
        const OP: &str = "write";
        let entry = self.entry(OP, id)?;
        check_words(OP, &entry.layout, parts)?;
        let spans = entry.parts.clone();
        self.unshare(spans.iter().map(|span| (OP, "tensor", span.memory)).collect())?;
        for (span, words) in spans.iter().zip(parts) {
            self.device.overwrite(&mut self.memories[span.memory], words)?;
            self.changed(span.memory, false);
        }
        Ok(())
    }

    /// Overwrites a tensor by the exact bits of its elements. See [`Device::from_codes`].
    ///
    /// # Errors
    /// See there, and [`Program::write_words`].
    pub fn write_codes<C: Code>(&mut self, id: TensorId, parts: &[&[C]]) -> Result<()> {
        let words = pack("write", self.layout(id)?, parts)?;
        self.write_words(id, &lent(&words))
    }

    /// Bytes that all its tensors hold (scratch included).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let memories = self.memories.iter().map(|memory| match &**memory {
            Storage::Host(buffer) => buffer.len() as u64 * 4,
            Storage::Gpu(buffer) => buffer.words * 4,
        });
        let scratch = self
            .calls
            .iter()
            .filter_map(|call| call.ready.as_ref()?.scratch.as_ref());
        memories.sum::<u64>() + scratch.map(|buffer| buffer.words * 4).sum::<u64>()
    }

    /// Appends an operation over tensors, in the operation's order, and makes it ready. Of a tensor with several parts
    /// every part is an operand, in their order ([`Layout::parts`]). Tensors may be longer than the operation says.
    ///
    /// # Errors
    /// Whatever the operation's check and plan find; a tensor too small, or of another program; one memory twice where
    /// one of the two is written; [`Error::Aliased`] for a caller's buffer that is written while clones share it.
    pub fn call(&mut self, op: impl Op + 'static, operands: &[TensorId]) -> Result<CallId> {
        let when = self.when;
        let call = self.ready(op, operands, when)?;
        self.calls.push(call);
        Ok(CallId {
            program: self.number,
            index: self.calls.len() - 1,
        })
    }

    /// A call, checked and planned.
    fn ready(&mut self, op: impl Op + 'static, operands: &[TensorId], when: Option<When>) -> Result<Call> {
        op.check()?;
        let (name, specs) = (op.name(), op.operands());
        let mut spans = Vec::with_capacity(specs.len());
        for id in operands {
            spans.extend_from_slice(&self.entry(name, *id)?.parts);
        }
        if specs.len() != spans.len() {
            return Err(Error::Operands {
                op: name,
                expected: specs.len(),
                got: spans.len(),
            });
        }
        for (i, (spec, span)) in specs.iter().zip(&spans).enumerate() {
            if span.words < spec.words {
                return Err(Error::TooSmall {
                    op: name,
                    operand: spec.name,
                    needed: spec.words * 4,
                    got: span.words * 4,
                });
            }
            for (other, other_span) in specs[..i].iter().zip(&spans) {
                let written = spec.is_written() || other.is_written();
                if other_span.memory == span.memory && written {
                    return Err(Error::Aliased {
                        op: name,
                        first: other.name,
                        second: spec.name,
                    });
                }
            }
        }
        self.unshare(written(&op, &spans).collect())?;
        let device = self.device.clone();
        let ready = match device.gpu_state() {
            None => None,
            Some(state) => Some(self.make_ready(state, &op, &spans)?),
        };
        if let Some(when) = when {
            self.gated(when);
        }
        Ok(Call {
            op: Box::new(op),
            operands: spans,
            ready,
            when,
        })
    }

    fn make_ready(&mut self, state: &GpuState, op: &dyn Op, spans: &[Span]) -> Result<Ready> {
        let plan = state.plan(op, offsets_of(&pieces(&self.memories, spans)))?;
        let scratch = match plan.scratch_bytes() {
            0 => None,
            bytes => Some(state.allocate(bytes / 4, false)?),
        };
        let wanted = plan.scalars();
        let found = self
            .steps
            .iter()
            .position(|step| step.scalars().starts_with(wanted));
        let step = match found {
            Some(step) => step,
            None => {
                self.steps.push(StepBuffer::zeroed(&state.gpu, wanted)?);
                self.fresh.push(false);
                self.steps.len() - 1
            }
        };
        let bound = bind(
            &plan,
            &self.memories,
            spans,
            scratch.as_ref(),
            self.steps.get(step),
        )?;
        Ok(Ready { bound, scratch, step })
    }

    /// Sees to it that writing these memories, each for an operation's operand, changes no tensor outside the program,
    /// and binds the calls anew whose memory has moved.
    fn unshare(&mut self, written: Vec<(&'static str, &'static str, usize)>) -> Result<()> {
        for (op, operand, memory) in written {
            if !self.device.unshare(op, operand, &mut self.memories[memory])? {
                continue;
            }
            self.changed(memory, true);
            for call in &mut self.calls {
                let moved = call.operands.iter().any(|span| span.memory == memory);
                if let Some(ready) = call.ready.as_mut().filter(|_| moved) {
                    let (plan, scratch) = (ready.bound.plan().clone(), ready.scratch.as_ref());
                    let step = self.steps.get(ready.step);
                    ready.bound = bind(&plan, &self.memories, &call.operands, scratch, step)?;
                }
            }
        }
        Ok(())
    }

    /// Runs every operation in order with the values of this step.
    ///
    /// # Errors
    /// Whatever an operation's run finds; device lost; [`Error::Wrong`] on a checked device; [`Error::Aliased`] for a
    /// caller's buffer that is written while clones share it.
    pub fn run(&mut self, values: &StepValues) -> Result<()> {
        self.run_calls(0..self.calls.len(), values)
    }

    /// Runs the operations from one call to another: `..=last` is a training step's forward pass, say.
    ///
    /// # Errors
    /// See [`Program::run`]; a call of another program.
    pub fn run_range(&mut self, range: impl RangeBounds<CallId>, values: &StepValues) -> Result<()> {
        let range = self.indices(range)?;
        self.run_calls(range, values)
    }

    /// Which calls a range is of.
    fn indices(&self, range: impl RangeBounds<CallId>) -> Result<Range<usize>> {
        let index = |id: &CallId| match id.program == self.number {
            true => Ok(id.index),
            false => Err(Error::Value {
                op: "run",
                what: "call",
                value: format!("number {} of another program", id.index),
                expected: "one of this program's calls",
            }),
        };
        let start = match range.start_bound() {
            Bound::Included(id) => index(id)?,
            Bound::Excluded(id) => index(id)? + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(id) => index(id)? + 1,
            Bound::Excluded(id) => index(id)?,
            Bound::Unbounded => self.calls.len(),
        };
        Ok(start..end)
    }

    fn run_calls(&mut self, range: Range<usize>, values: &StepValues) -> Result<()> {
        let calls = self.calls.get(range.clone()).unwrap_or_default();
        let outputs = calls.iter().flat_map(|call| written(&*call.op, &call.operands));
        self.unshare(outputs.collect())?;
        self.forget();
        let device = self.device.clone();
        self.run_kind(device.kind(), range, values)
    }
}

/// The memories that an operation writes, with the operation and the operand.
fn written<'a>(
    op: &'a dyn Op,
    spans: &'a [Span],
) -> impl Iterator<Item = (&'static str, &'static str, usize)> + 'a {
    let pairs = op.operands().into_iter().zip(spans);
    pairs
        .filter(|(spec, _)| spec.is_written())
        .map(|(spec, span)| (op.name(), spec.name, span.memory))
}

/// The pieces of buffers behind operands.
fn pieces<'a>(memories: &'a [Memory], spans: &[Span]) -> Vec<Operand<'a>> {
    let piece = |span: &Span| match &*memories[span.memory] {
        Storage::Gpu(buffer) => Some(buffer.operand(span.words)),
        Storage::Host(_) => None,
    };
    spans.iter().filter_map(piece).collect()
}

fn bind(
    plan: &Plan,
    memories: &[Memory],
    spans: &[Span],
    scratch: Option<&GpuBuffer>,
    step: Option<&StepBuffer>,
) -> Result<BoundPlan> {
    let scratch = scratch.map(|buffer| buffer.operand(buffer.words));
    plan.bind_with(&pieces(memories, spans), scratch, step)
}
