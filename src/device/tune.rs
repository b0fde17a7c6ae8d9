//! Timing the variants of an operation on the device it is about to run on.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::storage::{GpuState, offsets_of};
use crate::error::{Error, Result};
use crate::gpu::{Access, Offsets, Operand, PlanRequest, StepBuffer, StepValues};
use crate::op::Op;

/// Timed runs of each variant, turn by turn; the fastest of each counts.
const ROUNDS: usize = 5;

/// Prefers the fastest variant of `op` for its family, if tuning is on and there is something to choose. The
/// operands are only read: what an operation writes goes to copies.
pub(super) fn lazily(
    state: &GpuState,
    op: &dyn Op,
    operands: &[Operand<'_>],
    step: &StepValues,
) -> Result<()> {
    if !state.lazy_tuning.load(Ordering::Relaxed) {
        return Ok(());
    }
    // What is found over operands off 16 bytes would be taken for all.
    if offsets_of(operands).any() {
        return Ok(());
    }
    let variants = op.variants(&state.gpu, Offsets::Vec4);
    let mut tuning = state.gpu.tuning();
    let family = op.family();
    if variants.len() < 2 || tuning.get(op.name(), &family).is_some() {
        return Ok(());
    }
    // What is updated is timed on copies, which a caller's buffer may refuse.
    let copied = |operand: &Operand<'_>| operand.buffer.usage().contains(wgpu::BufferUsages::COPY_SRC);
    let specs = op.operands();
    let mut updated = specs
        .iter()
        .zip(operands)
        .filter(|(spec, _)| spec.access == Access::Update);
    if !updated.all(|(_, operand)| copied(operand)) {
        return Ok(());
    }
    op.check_gpu(&state.gpu)?;
    let times = time(state, op, &variants, operands, step)?;
    let fastest = times.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((variant, seconds)) = fastest {
        log::info!(
            "{} {family}: {variant} takes {seconds:.2e} s, of {times:?}",
            op.name()
        );
        tuning.set(op.name(), &family, variant);
        state.gpu.set_tuning(tuning);
    }
    Ok(())
}

/// Seconds of one run of each variant that compiles and fits.
fn time(
    state: &GpuState,
    op: &dyn Op,
    variants: &[&'static str],
    operands: &[Operand<'_>],
    step: &StepValues,
) -> Result<Vec<(&'static str, f64)>> {
    let gpu = &state.gpu;
    let mut copies = Vec::new();
    for (spec, operand) in op.operands().iter().zip(operands) {
        copies.push(if spec.is_written() {
            let copy = state.allocate(operand.bytes.div_ceil(4), false)?;
            // What is only written needs no contents.
            if spec.access == Access::Update && operand.bytes > 0 {
                state.record(operand.bytes / 4, |encoder| {
                    let bytes = operand.bytes / 4 * 4;
                    encoder.copy_buffer_to_buffer(operand.buffer, operand.offset, &copy.raw, 0, bytes);
                    Ok(())
                })?;
            }
            Some(copy)
        } else {
            None
        });
    }
    state.flush()?;
    let views: Vec<_> = operands
        .iter()
        .zip(&copies)
        .map(|(operand, copy)| match copy {
            Some(copy) => Operand::new(&copy.raw, 0, copy.words * 4),
            None => *operand,
        })
        .collect();
    let mut ready = Vec::new();
    for &variant in variants {
        let request = PlanRequest {
            variant: Some(variant),
            offsets: Offsets::Vec4,
        };
        let plan = match op.plan(gpu, &request) {
            Ok(plan) => plan,
            // It does not serve here: the others may.
            Err(error @ (Error::Compile { .. } | Error::Limit { .. })) => {
                log::warn!("{}: variant {variant} is not timed: {error}", op.name());
                continue;
            }
            Err(error) => return Err(error),
        };
        let scratch = state.allocate(plan.scratch_bytes().div_ceil(4), false)?;
        let step = StepBuffer::new(gpu, plan.scalars(), step)?;
        let bound = plan.bind_with(&views, Some(Operand::whole(&scratch.raw)), Some(&step))?;
        ready.push((variant, bound, scratch, f64::INFINITY));
    }
    // The first round pays for compilation that drivers put off, and does not count.
    for round in 0..=ROUNDS {
        for (_, bound, _, best) in &mut ready {
            let mut encoders = Vec::new();
            let mut at = 0;
            while at < bound.plan().steps() {
                // One submit holds as many steps as the cap on work allows, at least one.
                let (first, mut work) = (at, 0u64);
                while at < bound.plan().steps()
                    && (at == first || work + bound.plan().work(at) <= gpu.work_cap())
                {
                    work = work.saturating_add(bound.plan().work(at));
                    at += 1;
                }
                let mut encoder = gpu.encoder("tune");
                {
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: Some("tune"),
                        timestamp_writes: None,
                    });
                    bound.record_range(&mut pass, first..at);
                }
                encoders.push(encoder);
            }
            gpu.wait()?;
            let start = Instant::now();
            for encoder in encoders {
                gpu.submit("tune", encoder)?;
            }
            gpu.wait()?;
            if round > 0 {
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
    }
    Ok(ready
        .iter()
        .map(|(variant, _, _, best)| (*variant, *best))
        .collect())
}
