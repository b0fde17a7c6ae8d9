//! A plan: an operation made ready for one GPU. It records into what the caller owns.

use std::sync::Arc;

use super::dispatch::{Resolved, Source as Memory, Window as View};
use super::{Dispatch, Gpu, OperandSpec, Pipeline, StepValues};
use crate::error::{Error, Result};

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
}
