//! What a checked device does beside running an operation.

use super::Device;
use crate::error::{Error, Result};
use crate::gpu::{Offsets, StepValues};
use crate::op::{Comparison, Op};
use crate::tensor::HostBuffer;

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
        (Some(state), None) => op.arithmetic(state.plan(op, Offsets::Vec4)?.variant()),
        (None, _) => device.arithmetic(),
    };
    let verdict = op.compare(&Comparison {
        before: &before,
        want: &want,
        got: &got,
        arithmetic,
        step: step.clone(),
        sums: None,
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
