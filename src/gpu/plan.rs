//! A plan: an operation made ready for one GPU. It records into what the caller owns.

use std::sync::Arc;

use super::dispatch::{Resolved, Source};
use super::{Dispatch, Gpu, OperandSpec, StepValues};
use crate::error::{Error, Result};

/// An operation made ready for one GPU: pipelines, geometry and parameters. Immutable and shareable.
#[derive(Clone, Debug)]
pub struct Plan(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) gpu: Gpu,
    pub(super) op: &'static str,
    pub(super) variant: &'static str,
    pub(super) operands: Vec<OperandSpec>,
    pub(super) dispatches: Vec<Resolved>,
    pub(super) scratch_words: u64,
    pub(super) step_values: StepValues,
    pub(super) scalars: Vec<&'static str>,
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
                if window.source == Source::Scratch {
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
    /// several, and [`BoundPlan::record_range`](super::BoundPlan::record_range) records some of them.
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

    /// Whether one of its pipelines is made of the WGSL file at `path`, below `shaders/`.
    #[must_use]
    pub fn uses(&self, path: &str) -> bool {
        self.0
            .dispatches
            .iter()
            .any(|step| step.pipeline.files().contains(&path))
    }

    /// Whether some of its products are those of matrix units, in a step of its own or of a variant that it calls.
    #[must_use]
    pub fn on_matrix_unit(&self) -> bool {
        self.0
            .dispatches
            .iter()
            .any(|step| step.pipeline.on_matrix_unit())
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
}
