//! One dispatch of a plan, put together by the names that its shader gives to parameters and bindings.

use std::ops::Range;
use std::sync::Arc;

use super::{Gpu, OperandSpec, Pipeline, spread_groups};
use crate::error::{Error, Result};

/// What stands behind a binding: words of an operand, words of the plan's scratch memory, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    source: Memory,
    first: u64,
    words: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Operand(&'static str),
    Scratch,
    Absent,
}

impl Words {
    /// Words of the operand of this name. Storage bindings start at multiples of the device's alignment (256 bytes
    /// at most): where `x_offset` is a parameter, it gets the elements that the binding of `x` starts too early.
    #[must_use]
    pub const fn of(operand: &'static str, words: Range<u64>) -> Self {
        Self {
            source: Memory::Operand(operand),
            first: words.start,
            words: words.end.saturating_sub(words.start),
        }
    }

    /// Words of the plan's scratch memory.
    #[must_use]
    pub const fn scratch(words: Range<u64>) -> Self {
        Self {
            source: Memory::Scratch,
            first: words.start,
            words: words.end.saturating_sub(words.start),
        }
    }

    /// Nothing: an optional operand that is not there, and that the kernel never touches.
    #[must_use]
    pub const fn absent() -> Self {
        Self {
            source: Memory::Absent,
            first: 0,
            words: 0,
        }
    }
}

/// A value that one word of a parameter structure can hold.
pub trait Parameter {
    /// The word, or what does not fit.
    ///
    /// # Errors
    /// The value itself where it takes more than 32 bits.
    fn word(self) -> Result<u32, u64>;
}

impl Parameter for u32 {
    fn word(self) -> Result<u32, u64> {
        Ok(self)
    }
}

impl Parameter for u64 {
    fn word(self) -> Result<u32, u64> {
        u32::try_from(self).map_err(|_| self)
    }
}

impl Parameter for usize {
    fn word(self) -> Result<u32, u64> {
        (self as u64).word()
    }
}

impl Parameter for bool {
    fn word(self) -> Result<u32, u64> {
        Ok(self.into())
    }
}

impl Parameter for f32 {
    fn word(self) -> Result<u32, u64> {
        Ok(self.to_bits())
    }
}

/// One dispatch: a compiled kernel, its parameters and what stands behind its bindings, by name.
///
/// Every parameter must be set and every binding bound; `x_offset` is set by binding `x`. A name that the shader does
/// not have, one that is left out, or a value that does not fit is found by [`Plan::new`](super::Plan::new).
#[derive(Clone, Debug)]
#[must_use]
pub struct Dispatch {
    pub(super) pipeline: Arc<Pipeline>,
    params: Vec<Option<u32>>,
    bound: Vec<Option<Words>>,
    pub(super) groups: [u32; 3],
    pub(super) work: u64,
    pub(super) turns: u64,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Parameter(&'static str),
    Binding(&'static str),
    Wide(&'static str, u64),
    Groups(u64),
}

/// What stands behind one storage binding, and the parameter that takes where it begins.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) source: Source,
    pub(super) first: u64,
    pub(super) words: u64,
    pub(super) offset_param: Option<usize>,
}

/// The memory of a [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Operand(usize),
    Scratch,
    Absent,
}

/// A dispatch whose names have been resolved.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) params: Vec<u32>,
    /// One for each storage binding, in order.
    pub(super) windows: Vec<Window>,
    pub(super) groups: [u32; 3],
    pub(super) work: u64,
}

impl Dispatch {
    /// A dispatch of one workgroup.
    pub fn new(pipeline: &Arc<Pipeline>) -> Self {
        let interface = pipeline.interface();
        Self {
            pipeline: pipeline.clone(),
            params: vec![None; interface.params.len()],
            bound: vec![None; interface.bindings.len()],
            groups: [1; 3],
            work: 0,
            turns: 0,
            fault: None,
        }
    }

    /// Sets a parameter.
    pub fn set(mut self, name: &'static str, value: impl Parameter) -> Self {
        let at = self
            .pipeline
            .interface()
            .params
            .iter()
            .position(|param| *param == name);
        match (at, value.word()) {
            (None, _) => self.fault(Fault::Parameter(name)),
            (Some(_), Err(value)) => self.fault(Fault::Wide(name, value)),
            (Some(at), Ok(word)) => self.params[at] = Some(word),
        }
        self
    }

    /// Sets the two parameters of a 64-bit value: its low word in `low`, its high word in `high`.
    pub fn set_wide(self, [low, high]: [&'static str; 2], value: u64) -> Self {
        self.set(low, value as u32).set(high, (value >> 32) as u32)
    }

    /// Puts words behind a binding.
    pub fn bind(mut self, name: &'static str, words: Words) -> Self {
        let bindings = &self.pipeline.interface().bindings;
        let at = bindings
            .iter()
            .position(|binding| binding.is_storage() && binding.name == name);
        match at {
            None => self.fault(Fault::Binding(name)),
            Some(at) => self.bound[at] = Some(words),
        }
        self
    }

    /// Scratch memory from this word on takes the place of an operand.
    pub fn from_scratch(mut self, operand: &'static str, first: u64) -> Self {
        for words in self.bound.iter_mut().flatten() {
            if words.source == Memory::Operand(operand) {
                words.source = Memory::Scratch;
                words.first += first;
            }
        }
        self
    }

    /// Workgroups in x, y and z.
    pub fn groups(mut self, groups: [u64; 3]) -> Self {
        let narrow = groups.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        match groups.into_iter().find(|count| *count > u64::from(u32::MAX)) {
            Some(count) => self.fault(Fault::Groups(count)),
            None => self.groups = narrow,
        }
        self
    }

    /// `count` workgroups in a row, spread over x and y (see `linear_group` in `shaders/lib/index.wgsl`). Groups past
    /// the count exist where the rectangle does not divide evenly: kernels check their index.
    pub fn linear_groups(mut self, gpu: &Gpu, count: u64) -> Self {
        self.groups = spread_groups(gpu, count);
        self
    }

    /// Elementary operations, for the cap on work per submit.
    pub fn work(mut self, work: u64) -> Self {
        self.work = work;
        self
    }

    /// The most turns that one invocation makes, all its loops counted together (a nested loop's turns each time), as
    /// if every lane beside it made as many, and the last look at a loop's condition with them: see
    /// [`looped`](super::looped) and [`Gpu::turn_cap`]. Without loops it is 0.
    pub fn turns(mut self, turns: u64) -> Self {
        self.turns = turns;
        self
    }

    fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Finds every name, and whatever is missing.
    pub(super) fn resolve(&self, op: &'static str, operands: &[OperandSpec]) -> Result<Resolved> {
        let interface = self.pipeline.interface();
        let kernel = || self.pipeline.label().to_string();
        let refuse = |name: &str, problem| {
            Err(Error::Parameter {
                op,
                kernel: kernel(),
                name: name.to_string(),
                problem,
            })
        };
        match self.fault {
            Some(Fault::Parameter(name)) => return refuse(name, "is no parameter of the shader"),
            Some(Fault::Binding(name)) => return refuse(name, "is no storage binding of the shader"),
            Some(Fault::Wide(what, value)) => {
                let limit = u32::MAX.into();
                return Err(Error::Limit {
                    op,
                    what,
                    value,
                    limit,
                });
            }
            Some(Fault::Groups(value)) => {
                let (what, limit) = ("workgroups", u32::MAX.into());
                return Err(Error::Limit {
                    op,
                    what,
                    value,
                    limit,
                });
            }
            None => {}
        }
        let mut params = self.params.clone();
        let mut windows = Vec::with_capacity(self.bound.len());
        for (binding, words) in interface.bindings.iter().zip(&self.bound) {
            if !binding.is_storage() {
                continue;
            }
            let Some(words) = words else {
                return refuse(binding.name, "is not bound");
            };
            let source = match words.source {
                Memory::Scratch => Source::Scratch,
                Memory::Absent => Source::Absent,
                Memory::Operand(name) => match operands.iter().position(|spec| spec.name == name) {
                    Some(at) => Source::Operand(at),
                    None => return refuse(name, "is no operand of the operation"),
                },
            };
            let offset = |param: &str| param.strip_suffix("_offset") == Some(binding.name);
            let offset_param = interface.params.iter().position(|param| offset(param));
            if let Some(at) = offset_param {
                params[at].get_or_insert(0);
            }
            windows.push(Window {
                source,
                first: words.first,
                words: words.words,
                offset_param,
            });
        }
        let mut set = Vec::with_capacity(params.len().next_multiple_of(4));
        for (name, value) in interface.params.iter().zip(params) {
            match value {
                Some(value) => set.push(value),
                None => return refuse(name, "is not set"),
            }
        }
        // A uniform structure fills whole vectors.
        set.resize(set.len().next_multiple_of(4), 0);
        Ok(Resolved {
            pipeline: self.pipeline.clone(),
            params: set,
            windows,
            groups: self.groups,
            work: self.work,
        })
    }
}
