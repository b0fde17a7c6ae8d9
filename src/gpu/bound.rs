//! A plan with its operands: what records into a pass that the caller owns.

use std::ops::Range;
use std::sync::Arc;

use super::dispatch::{Resolved, Source};
use super::{Binding, BindingKind, Gate, Gpu, Operand, OperandSpec, Pipeline, Plan, StepBuffer, StepValues};
use crate::error::{Error, Result};

impl Plan {
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
    /// Every mismatch is a typed error: the number of operands, one too small (for plans with
    /// [`Offsets::Vec4`](super::Offsets::Vec4) also one whose last 16 bytes the buffer cuts short), an offset off its
    /// multiple, a buffer without `STORAGE` usage, one buffer behind an output and another operand, scratch missing,
    /// step values or a buffer of another GPU (see [`Gpu::from_wgpu`] for those that nobody can tell).
    pub fn bind_with(
        &self,
        operands: &[Operand<'_>],
        scratch: Option<Operand<'_>>,
        step_buffer: Option<&StepBuffer>,
    ) -> Result<BoundPlan> {
        self.bind_loosely(operands, scratch, step_buffer, 0)
    }

    /// The same with windows that reach up to `loose` bytes further than they need to, as far as buffers and the limit
    /// on bindings go. What a kernel does past its window is without effect where that is exact, on this device: with
    /// this, tests see it.
    pub(crate) fn bind_loosely(
        &self,
        operands: &[Operand<'_>],
        scratch: Option<Operand<'_>>,
        step_buffer: Option<&StepBuffer>,
        loose: u64,
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
            let view = self.views(step, operands, scratch, &mut params, loose)?;
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
                let mut entries: Vec<_> = (0u32..)
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
                entries.extend(step.pipeline.recorder().map(|record| wgpu::BindGroupEntry {
                    binding: entries.len() as u32,
                    resource: record.as_entire_binding(),
                }));
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
        loose: u64,
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
                Source::Operand(index) => operands.get(index).copied(),
                Source::Scratch => scratch,
                Source::Absent => None,
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
            // A vec4 view may reach past the operand's last word, never past the buffer: cut there, it must not lose
            // words of the operand with the last vector.
            let end = (start + window.words * 4).next_multiple_of(element);
            let (name, words) = match window.source {
                Source::Operand(index) => plan.operands.get(index).map(|spec| (spec.name, spec.words)),
                Source::Scratch | Source::Absent => None,
            }
            .unwrap_or((binding.name, 0));
            let needed = end.min((operand.offset + words * 4).next_multiple_of(element));
            if needed > operand.buffer.size() {
                return Err(Error::TooSmall {
                    op: plan.op,
                    operand: name,
                    needed: needed - operand.offset,
                    got: operand.buffer.size() - operand.offset,
                });
            }
            let end = end.min(operand.buffer.size());
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
            let looser = (end + loose).min(operand.buffer.size()) - aligned;
            let size = (looser.min(limit) / element * element).max(size);
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

    /// Records every step into a compute pass, which is left with the last one's pipeline and bind group: it is for that
    /// bind group alone, so set others of your own before you dispatch again.
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

    /// The workgroups of every step, in order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = [u32; 3]> + '_ {
        self.dispatches.iter().map(|dispatch| dispatch.groups)
    }

    /// Records step `index` with the workgroups that a gate gives to its dispatch number `at`.
    pub(crate) fn record_gated(&self, pass: &mut wgpu::ComputePass<'_>, index: usize, gate: &Gate, at: u64) {
        if let Some(dispatch) = self.dispatches.get(index) {
            pass.set_pipeline(dispatch.pipeline.raw());
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            let (buffer, offset) = gate.place(at);
            pass.dispatch_workgroups_indirect(buffer, offset);
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

impl Gpu {
    pub(crate) fn placeholder_for(&self, binding: Binding) -> &wgpu::Buffer {
        match binding.kind {
            BindingKind::Write => self.placeholder_writable(),
            _ => self.placeholder(),
        }
    }
}
