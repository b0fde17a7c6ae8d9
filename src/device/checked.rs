//! What a checked device does beside running an operation.

use super::Device;
use crate::error::{Error, Result};
use crate::gpu::{Offsets, PlanRequest, StepValues};
use crate::op::{Arithmetic, Comparison, Op};
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
        (Some(state), Some(variant)) => {
            let names = op.variants(&state.gpu, Offsets::Vec4);
            let mut request = PlanRequest::default().offsets(Offsets::Vec4);
            request.variant = names.into_iter().find(|name| *name == variant);
            Arithmetic::of(&op.plan(&state.gpu, &request)?)
        }
        // The plan that ran: it is kept.
        (Some(state), None) => Arithmetic::of(&state.plan(op, Offsets::Vec4)?),
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
