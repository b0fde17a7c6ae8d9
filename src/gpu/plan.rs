//! A plan: an operation made ready for one GPU. It records into what the caller owns.

use std::ops::Range;
use std::sync::Arc;

use super::dispatch::{Resolved, Source as Memory, Window as View};
use super::{Binding, BindingKind, Dispatch, Gpu, Operand, OperandSpec, Pipeline, StepBuffer, StepValues};
use crate::error::{Error, Result};

/// Where operands start in their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Offsets {
    /// At multiples of 16 bytes, so that kernels may load `vec4<u32>`.
    #[default]
    Vec4,
    /// At any multiple of 4 bytes: variants with such loads are left out, which costs speed.
    Any,
}

impl Offsets {
    /// Whether an operand may start off 16 bytes.
    #[must_use]
    pub const fn any(self) -> bool {
        matches!(self, Self::Any)
    }
}

/// What a caller asks of a plan beside the operation itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlanRequest {
    /// Take this variant instead of the one that fits the device best (tests and tuners do).
    pub variant: Option<&'static str>,
    /// Where operands will start in their buffers.
    pub offsets: Offsets,
}

/// The part of an operand that one dispatch sees.
#[derive(Clone, Debug)]
pub struct Window {
    source: Source,
    first: u64,
    words: u64,
    offset_param: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Operand(usize),
    Scratch,
    Empty,
}

impl Window {
    /// Words `first .. first + words` of operand number `operand`. Storage bindings start at multiples of the
    /// device's alignment (256 bytes at most); the words that the binding starts too early are written into
    /// parameter `offset_param`, for the kernel to add to its index.
    #[must_use]
    pub fn of(operand: usize, first: u64, words: u64, offset_param: usize) -> Self {
        Self {
            source: Source::Operand(operand),
            first,
            words,
            offset_param: Some(offset_param),
        }
    }

    /// The same of the plan's scratch memory.
    #[must_use]
    pub fn scratch(first: u64, words: u64, offset_param: usize) -> Self {
        Self {
            source: Source::Scratch,
            first,
            words,
            offset_param: Some(offset_param),
        }
    }

    /// A binding that the kernel never touches (an optional operand that is absent).
    #[must_use]
    pub fn empty() -> Self {
        Self {
            source: Source::Empty,
            first: 0,
            words: 0,
            offset_param: None,
        }
    }
}

/// One dispatch of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// The compiled kernel.
    pub pipeline: Arc<Pipeline>,
    /// The words of its parameter structure; those named by a window's `offset_param` are filled in.
    pub params: Vec<u32>,
    /// What stands behind each storage binding, in order.
    pub windows: Vec<Window>,
    /// Workgroups in x, y and z.
    pub groups: [u32; 3],
    /// Elementary operations, for the cap on work per submit.
    pub work: u64,
    /// The most turns that one invocation makes, all its loops counted together (a nested loop's turns each time),
    /// as if every lane beside it made as many: see [`Gpu::turn_cap`]. The turn in which a loop is left counts too:
    /// what runs n times makes n + 1.
    pub turns: u64,
}

impl Step {
    fn resolved(self) -> Resolved {
        let view = |window: Window| View {
            source: match window.source {
                Source::Operand(at) => Memory::Operand(at),
                Source::Scratch => Memory::Scratch,
                Source::Empty => Memory::Absent,
            },
            first: window.first,
            words: window.words,
            offset_param: window.offset_param,
        };
        Resolved {
            pipeline: self.pipeline,
            params: self.params,
            windows: self.windows.into_iter().map(view).collect(),
            groups: self.groups,
            work: self.work,
        }
    }
}

/// An operation made ready for one GPU: pipelines, geometry and parameters. Immutable and shareable.
#[derive(Clone, Debug)]
pub struct Plan(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gpu: Gpu,
    op: &'static str,
    variant: &'static str,
    operands: Vec<OperandSpec>,
    dispatches: Vec<Resolved>,
    scratch_words: u64,
    step_values: StepValues,
    scalars: Vec<&'static str>,
}

/// The most dispatches that a plan may have: what needs more is larger than any device's memory.
const MOST_DISPATCHES: usize = 1 << 22;

impl Plan {
    /// Puts a plan together; operations call this at the end of `Op::plan_variant`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a name that a shader does not have, or one that was left out; [`Error::Limit`] where a
    /// dispatch has more workgroups in a dimension, or more turns, than the device takes.
    pub fn new(
        gpu: &Gpu,
        op: &'static str,
        variant: &'static str,
        operands: Vec<OperandSpec>,
        dispatches: Vec<Dispatch>,
        step_values: StepValues,
    ) -> Result<Self> {
        let limit = |what, value: u64, limit: u64| match value > limit {
            true => Err(Error::Limit {
                op,
                what,
                value,
                limit,
            }),
            false => Ok(()),
        };
        limit("dispatches", dispatches.len() as u64, MOST_DISPATCHES as u64)?;
        let most_groups = gpu.limits().max_compute_workgroups_per_dimension.into();
        let (mut scratch_words, mut scalars) = (0, Vec::new());
        let mut resolved = Vec::with_capacity(dispatches.len());
        for dispatch in &dispatches {
            limit("turns of one invocation's loops", dispatch.turns, gpu.turn_cap())?;
            for groups in dispatch.groups {
                limit("workgroups per dimension", groups.into(), most_groups)?;
            }
            let dispatch = dispatch.resolve(op, &operands)?;
            for window in &dispatch.windows {
                if window.source == Memory::Scratch {
                    scratch_words = scratch_words.max(window.first + window.words);
                }
            }
            let own = &dispatch.pipeline.interface().scalars;
            if own.len() > scalars.len() {
                scalars.clone_from(own);
            }
            resolved.push(dispatch);
        }
        for dispatch in &resolved {
            let own = &dispatch.pipeline.interface().scalars;
            if !scalars.starts_with(own) {
                return Err(Error::Parameter {
                    op,
                    kernel: dispatch.pipeline.label().to_string(),
                    name: own.join(", "),
                    problem: "are not the first scalars of the plan's other shaders",
                });
            }
        }
        Ok(Self(Arc::new(Inner {
            gpu: gpu.clone(),
            op,
            variant,
            operands,
            dispatches: resolved,
            scratch_words,
            step_values,
            scalars,
        })))
    }

    /// The same from steps that count parameters and operands by position.
    ///
    /// # Errors
    /// See [`Plan::new`].
    pub fn from_steps(
        gpu: &Gpu,
        op: &'static str,
        variant: &'static str,
        operands: Vec<OperandSpec>,
        steps: Vec<Step>,
        step_values: StepValues,
    ) -> Result<Self> {
        let mut scratch_words = 0;
        let limit = gpu.limits().max_compute_workgroups_per_dimension;
        for step in &steps {
            if let Some(&groups) = step.groups.iter().find(|&&groups| groups > limit) {
                return Err(Error::Limit {
                    op,
                    what: "workgroups per dimension",
                    value: groups.into(),
                    limit: limit.into(),
                });
            }
            if step.turns > gpu.turn_cap() {
                return Err(Error::Limit {
                    op,
                    what: "turns of one invocation's loops",
                    value: step.turns,
                    limit: gpu.turn_cap(),
                });
            }
            let bindings = step.pipeline.bindings();
            let storage = bindings.iter().filter(|binding| binding.is_storage()).count();
            if storage != step.windows.len() {
                return Err(Error::Operands {
                    op,
                    expected: storage,
                    got: step.windows.len(),
                });
            }
            for window in &step.windows {
                if window.source == Source::Scratch {
                    scratch_words = scratch_words.max(window.first + window.words);
                }
            }
        }
        Ok(Self(Arc::new(Inner {
            gpu: gpu.clone(),
            op,
            variant,
            operands,
            dispatches: steps.into_iter().map(Step::resolved).collect(),
            scratch_words,
            step_values,
            scalars: Vec::new(),
        })))
    }

    /// The operation's name.
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.0.op
    }

    /// The variant that was chosen.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        self.0.variant
    }

    /// The operands it takes, in order.
    #[must_use]
    pub fn operands(&self) -> &[OperandSpec] {
        &self.0.operands
    }

    /// How many steps (dispatches) it has. Where an operation passes the cap on work per submit there are
    /// several, and [`BoundPlan::record_range`] records some of them.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.0.dispatches.len()
    }

    /// Elementary operations of step `index`, for splitting over submits.
    #[must_use]
    pub fn work(&self, index: usize) -> u64 {
        self.0.dispatches.get(index).map_or(0, |step| step.work)
    }

    /// The scalars that its step values must hold, by name.
    #[must_use]
    pub fn scalars(&self) -> &[&'static str] {
        &self.0.scalars
    }

    /// Bytes of scratch memory that [`Plan::bind_with`] must be given.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        self.0.scratch_words * 4
    }

    /// Waits until every pipeline has compiled. On native back ends planning has waited already; in a browser
    /// compile errors surface here or at the first read.
    ///
    /// # Errors
    /// [`Error::Compile`] with the compiler's message.
    pub async fn ready(&self) -> Result<()> {
        for step in &self.0.dispatches {
            step.pipeline.ready().await?;
        }
        Ok(())
    }

    /// Binds the plan to operands, with step values of its own (those the operation was made with).
    ///
    /// # Errors
    /// See [`Plan::bind_with`].
    pub fn bind(&self, operands: &[Operand<'_>]) -> Result<BoundPlan> {
        self.bind_with(operands, None, None)
    }

    /// Binds the plan to operands, to scratch memory if [`Plan::scratch_bytes`] is not zero, and to a step
    /// buffer that other plans may share.
    ///
    /// # Errors
    /// Every mismatch is a typed error: the number of operands, one too small, an offset off its multiple, a
    /// buffer without `STORAGE` usage, one buffer behind an output and another operand, scratch missing, step
    /// values or a buffer of another GPU (see [`Gpu::from_wgpu`] for those that nobody can tell).
    pub fn bind_with(
        &self,
        operands: &[Operand<'_>],
        scratch: Option<Operand<'_>>,
        step_buffer: Option<&StepBuffer>,
    ) -> Result<BoundPlan> {
        self.check(operands, scratch)?;
        let plan = &*self.0;
        let gpu = &plan.gpu;
        let uses_step = |step: &Resolved| {
            step.pipeline
                .bindings()
                .iter()
                .any(|b| b.kind == BindingKind::Step)
        };
        let step_buffer = match step_buffer {
            Some(shared) => {
                shared.serves(plan.op, gpu, &plan.scalars)?;
                Some(shared.clone())
            }
            None if plan.dispatches.iter().any(uses_step) => {
                Some(StepBuffer::new(gpu, &plan.scalars, &plan.step_values)?)
            }
            None => None,
        };

        // All parameter structures share one uniform buffer, each in a slot of its own.
        let slot = u64::from(gpu.limits().min_uniform_buffer_offset_alignment).max(16);
        let mut offsets = Vec::with_capacity(plan.dispatches.len());
        let mut words = Vec::new();
        let mut views = Vec::with_capacity(plan.dispatches.len());
        for step in &plan.dispatches {
            let mut params = step.params.clone();
            let view = self.views(step, operands, scratch, &mut params)?;
            offsets.push(words.len() as u64 * 4);
            words.extend_from_slice(&params);
            words.resize((words.len() as u64 * 4).next_multiple_of(slot) as usize / 4, 0);
            views.push(view);
        }
        let params = gpu.buffer_with("parameters", &words, wgpu::BufferUsages::UNIFORM)?;

        let mut dispatches = Vec::with_capacity(plan.dispatches.len());
        gpu.scoped(plan.op, words.len() as u64 * 4, || {
            for ((step, offset), views) in plan.dispatches.iter().zip(offsets).zip(views) {
                let mut views = views.into_iter();
                let entries: Vec<_> = (0u32..)
                    .zip(step.pipeline.bindings())
                    .map(|(binding, desc)| {
                        let resource = match desc.kind {
                            BindingKind::Params => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                                buffer: &params,
                                offset,
                                size: std::num::NonZeroU64::new(u64::from(desc.words) * 4),
                            }),
                            BindingKind::Step => match &step_buffer {
                                Some(step) => step.buffer.as_entire_binding(),
                                None => gpu.placeholder().as_entire_binding(),
                            },
                            BindingKind::Read | BindingKind::Write => match views.next() {
                                Some(view) => view,
                                None => gpu.placeholder().as_entire_binding(),
                            },
                        };
                        wgpu::BindGroupEntry { binding, resource }
                    })
                    .collect();
                let bind_group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(plan.op),
                    layout: step.pipeline.layout(),
                    entries: &entries,
                });
                dispatches.push(Recorded {
                    pipeline: step.pipeline.clone(),
                    bind_group,
                    groups: step.groups,
                });
            }
        })?;
        Ok(BoundPlan {
            plan: self.clone(),
            dispatches,
            step_buffer,
        })
    }

    /// What stands behind each storage binding of `step`, and the offsets its parameters need.
    fn views<'b>(
        &'b self,
        step: &Resolved,
        operands: &[Operand<'b>],
        scratch: Option<Operand<'b>>,
        params: &mut [u32],
    ) -> Result<Vec<wgpu::BindingResource<'b>>> {
        let plan = &*self.0;
        let limits = plan.gpu.limits();
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment).max(16);
        let storage = step
            .pipeline
            .bindings()
            .iter()
            .filter(|binding| binding.is_storage());
        let mut views = Vec::with_capacity(step.windows.len());
        for (binding, window) in storage.zip(&step.windows) {
            let operand = match window.source {
                Memory::Operand(index) => operands.get(index).copied(),
                Memory::Scratch => scratch,
                Memory::Absent => None,
            };
            let Some(operand) = operand.filter(|_| window.words > 0) else {
                views.push(plan.gpu.placeholder_for(*binding).as_entire_binding());
                continue;
            };
            let start = operand.offset + window.first * 4;
            let aligned = start / alignment * alignment;
            let element = u64::from(binding.words) * 4;
            if !(start - aligned).is_multiple_of(element) {
                return Err(Error::Alignment {
                    op: plan.op,
                    operand: binding.name,
                    what: "byte offset",
                    value: start,
                    multiple: element,
                });
            }
            // A vec4 view may reach past the operand's last word, never past the buffer.
            let end = (start + window.words * 4)
                .next_multiple_of(element)
                .min(operand.buffer.size());
            let size = (end - aligned) / element * element;
            let limit = limits.max_storage_buffer_binding_size;
            if size > limit {
                return Err(Error::Limit {
                    op: plan.op,
                    what: "bytes in one binding",
                    value: size,
                    limit,
                });
            }
            match window.offset_param.and_then(|param| params.get_mut(param)) {
                Some(param) => *param = ((start - aligned) / element) as u32,
                // The shader has no parameter for it.
                None if start == aligned => {}
                None => {
                    return Err(Error::Alignment {
                        op: plan.op,
                        operand: binding.name,
                        what: "byte offset",
                        value: start,
                        multiple: alignment,
                    });
                }
            }
            views.push(wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: operand.buffer,
                offset: aligned,
                size: std::num::NonZeroU64::new(size),
            }));
        }
        Ok(views)
    }

    fn check(&self, operands: &[Operand<'_>], scratch: Option<Operand<'_>>) -> Result<()> {
        let plan = &*self.0;
        plan.gpu.check_lost(plan.op)?;
        if operands.len() != plan.operands.len() {
            return Err(Error::Operands {
                op: plan.op,
                expected: plan.operands.len(),
                got: operands.len(),
            });
        }
        let spec = OperandSpec::update("scratch", plan.scratch_words);
        let scratch_bytes = scratch.map_or(0, |scratch| scratch.bytes);
        if scratch_bytes < self.scratch_bytes() {
            return Err(Error::TooSmall {
                op: plan.op,
                operand: "scratch",
                needed: self.scratch_bytes(),
                got: scratch_bytes,
            });
        }
        let scratch = scratch.filter(|_| plan.scratch_words > 0);
        let all: Vec<_> = plan
            .operands
            .iter()
            .zip(operands)
            .chain(scratch.iter().map(|s| (&spec, s)))
            .collect();
        for (i, (spec, operand)) in all.iter().enumerate() {
            if spec.words == 0 {
                continue;
            }
            let available = operand
                .buffer
                .size()
                .saturating_sub(operand.offset)
                .min(operand.bytes);
            if available < spec.words * 4 {
                return Err(Error::TooSmall {
                    op: plan.op,
                    operand: spec.name,
                    needed: spec.words * 4,
                    got: available,
                });
            }
            if !operand.offset.is_multiple_of(4) {
                return Err(Error::Alignment {
                    op: plan.op,
                    operand: spec.name,
                    what: "byte offset",
                    value: operand.offset,
                    multiple: 4,
                });
            }
            plan.gpu.check_buffer(plan.op, spec.name, operand.buffer)?;
            if !operand.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
                return Err(Error::Usage {
                    op: plan.op,
                    operand: spec.name,
                    usage: "STORAGE",
                });
            }
            // WebGPU tracks usage per buffer, not per range: read-only and writable bindings of one buffer in
            // one dispatch are an error however far apart they lie, and two writable ones are a silent race.
            for (other_spec, other) in &all[..i] {
                let written = spec.is_written() || other_spec.is_written();
                if other_spec.words > 0 && written && other.buffer == operand.buffer {
                    return Err(Error::Aliased {
                        op: plan.op,
                        first: other_spec.name,
                        second: spec.name,
                    });
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Recorded {
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    groups: [u32; 3],
}

/// A plan with its operands: what records. Recording is synchronous, allocates nothing on the GPU, and may be
/// repeated any number of times.
#[derive(Debug)]
pub struct BoundPlan {
    plan: Plan,
    dispatches: Vec<Recorded>,
    step_buffer: Option<StepBuffer>,
}

impl BoundPlan {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Records every step into a compute pass.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.record_range(pass, 0..self.dispatches.len());
    }

    /// Records the steps of `range` (cut to those there are): for plans that pass the cap on work per submit.
    pub fn record_range(&self, pass: &mut wgpu::ComputePass<'_>, range: Range<usize>) {
        let range = range.start.min(self.dispatches.len())..range.end.min(self.dispatches.len());
        for dispatch in self.dispatches.get(range).unwrap_or_default() {
            pass.set_pipeline(dispatch.pipeline.raw());
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            let [x, y, z] = dispatch.groups;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// Records every step into a pass of its own in `encoder`.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some(self.plan.op()),
            timestamp_writes: None,
        });
        self.record(&mut pass);
    }

    /// Records a change of the step values before the pass that will run this plan. Does nothing for plans
    /// that read none.
    ///
    /// # Errors
    /// Out of memory, or device lost.
    pub fn update(&self, encoder: &mut wgpu::CommandEncoder, values: &StepValues) -> Result<()> {
        self.step_buffer
            .as_ref()
            .map_or(Ok(()), |buffer| buffer.update(encoder, values))
    }

    /// The same inside a pass that has begun.
    ///
    /// # Errors
    /// Out of memory, or device lost.
    pub fn update_in_pass(&self, pass: &mut wgpu::ComputePass<'_>, values: &StepValues) -> Result<()> {
        self.step_buffer
            .as_ref()
            .map_or(Ok(()), |buffer| buffer.update_in_pass(pass, values))
    }
}

/// Workgroup counts in x and y for `groups` workgroups in a row (see `linear_group` in
/// `shaders/lib/index.wgsl`). Groups past the count exist where the rectangle does not divide evenly: kernels
/// check their index.
#[must_use]
pub fn spread_groups(gpu: &Gpu, groups: u64) -> [u32; 3] {
    let limit = u64::from(gpu.limits().max_compute_workgroups_per_dimension);
    if groups <= limit {
        return [groups as u32, 1, 1];
    }
    let rows = groups.div_ceil(limit);
    // A count of rows past the limit is reported by `Plan::new`.
    [
        groups.div_ceil(rows) as u32,
        u32::try_from(rows).unwrap_or(u32::MAX),
        1,
    ]
}

/// Cuts `count` rows into runs whose work stays under the device's cap per dispatch and whose windows of
/// `row_bytes` (the widest operand's bytes per row) stay inside one binding. A single row is never cut.
#[must_use]
pub fn split_rows(
    gpu: &Gpu,
    count: u64,
    work_per_row: u64,
    row_bytes: u64,
    multiple: u64,
) -> Vec<Range<u64>> {
    // A window may start up to one alignment before its first word.
    let binding = gpu
        .limits()
        .max_storage_buffer_binding_size
        .saturating_sub(512)
        .max(1);
    let by_work = gpu.work_cap() / work_per_row.max(1);
    let by_bytes = binding / row_bytes.max(1);
    let rows = by_work.min(by_bytes).max(1);
    let rows = if rows >= multiple {
        rows / multiple * multiple
    } else {
        rows
    };
    (0..count.div_ceil(rows))
        .map(|i| i * rows..((i + 1) * rows).min(count))
        .collect()
}

impl Gpu {
    pub(crate) fn placeholder_for(&self, binding: Binding) -> &wgpu::Buffer {
        match binding.kind {
            BindingKind::Write => self.placeholder_writable(),
            _ => self.placeholder(),
        }
    }
}
