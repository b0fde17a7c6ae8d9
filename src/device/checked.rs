//! What a checked device does beside running an operation.

use super::Device;
use crate::error::{Error, Result};
use crate::gpu::StepValues;
use crate::ops::{Arg, Args, Comparison, Op};
use crate::tensor::HostBuffer;

/// A copy of every operand.
pub(super) fn copies(operands: &[HostBuffer]) -> Result<Vec<HostBuffer>> {
    operands.iter().map(HostBuffer::try_clone).collect()
}

/// Runs the reference in place over the operands' words.
pub(super) fn reference_on(op: &dyn Op, operands: &mut [HostBuffer], step: &StepValues) -> Result<()> {
    let specs = op.operands();
    let args = operands
        .iter_mut()
        .zip(&specs)
        .map(|(buffer, spec)| match spec.is_written() {
            true => Arg::Write(buffer.words_mut()),
            false => Arg::Read(buffer.words()),
        })
        .collect();
    op.reference(Args::new(args, *step))
}

/// [`Error::Wrong`] if `got`, which the variant named made or else the one that a run takes, is outside the
/// operation's class.
pub(super) fn check_against(
    device: &Device,
    op: &dyn Op,
    before: &[HostBuffer],
    want: &[HostBuffer],
    got: &[HostBuffer],
    step: &StepValues,
    variant: Option<&str>,
) -> Result<()> {
    let before: Vec<&[u32]> = before.iter().map(HostBuffer::words).collect();
    let want: Vec<&[u32]> = want.iter().map(HostBuffer::words).collect();
    let got: Vec<&[u32]> = got.iter().map(HostBuffer::words).collect();
    let arithmetic = match (device.gpu_state(), variant) {
        (Some(_), Some(variant)) => op.arithmetic(variant),
        // The plan that ran: it is kept.
        (Some(state), None) => op.arithmetic(state.plan(op)?.variant()),
        (None, _) => device.arithmetic(),
    };
    let verdict = op.compare(&Comparison {
        before: &before,
        want: &want,
        got: &got,
        arithmetic,
        step: *step,
    });
    match verdict.failure {
        None => Ok(()),
        Some(failure) => Err(Error::Wrong {
            op: op.name(),
            device: device.describe(),
            detail: format!("{}: {failure}", op.describe()),
        }),
    }
}
