//! Dispatches that run where a word of memory says so, without the host's looking at it: a small kernel writes their
//! workgroups, or none, and they are dispatched indirectly.

use super::{BoundPlan, Dispatch, Gpu, Operand, OperandSpec, Permutation, Plan, Shader, StepValues, Words};
use crate::error::Result;

const GROUP: u32 = 64;
const OP: &str = "gate";

// SAFETY: no loop, no array.
static GATE: Shader =
    unsafe { Shader::new("lib/gate.wgsl", include_str!("../../shaders/lib/gate.wgsl")).trusted() };

/// A word, masked, and the value that it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) word: u64,
    pub(crate) mask: u32,
    pub(crate) value: u32,
}

impl Test {
    /// Whether the word is as it must be.
    pub(crate) fn holds(self, word: u32) -> bool {
        word & self.mask == self.value
    }
}

/// Any number of dispatches that each depend on a word of one memory.
#[derive(Debug)]
pub(crate) struct Gate {
    bound: BoundPlan,
    /// Workgroups in x, y and z of each.
    open: wgpu::Buffer,
}

impl Gate {
    /// A gate for these dispatches; `flags` has so many words.
    pub(crate) fn new(gpu: &Gpu, flags: Operand<'_>, words: u64, all: &[(Test, [u32; 3])]) -> Result<Self> {
        let mut table = crate::tensor::alloc::reserved(OP, 6 * all.len())?;
        for (test, groups) in all {
            // Words of a tensor are counted in 32 bits by every shader.
            table.extend([test.word as u32, test.mask, test.value]);
            table.extend(groups);
        }
        let (count, pipeline) = (
            all.len() as u64,
            gpu.pipeline(&Permutation::new(&GATE).constant("GROUP", GROUP))?,
        );
        let dispatch = Dispatch::new(&pipeline)
            .set("count", count)
            .bind("flags", Words::of("flags", 0..words))
            .bind("table", Words::of("table", 0..6 * count))
            .bind("open", Words::of("open", 0..3 * count))
            .linear_groups(gpu, count.div_ceil(GROUP.into()));
        let operands = vec![
            OperandSpec::read("flags", words),
            OperandSpec::read("table", 6 * count),
            OperandSpec::write("open", 3 * count),
        ];
        let plan = Plan::new(gpu, OP, "word", operands, vec![dispatch], StepValues::default())?;
        let table = gpu.buffer_with("gate", &table, wgpu::BufferUsages::STORAGE)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::INDIRECT;
        let open = gpu.create_buffer("gate (groups)", 12 * count, usage, false)?;
        let bound = plan.bind(&[flags, Operand::whole(&table), Operand::whole(&open)])?;
        Ok(Self { bound, open })
    }

    /// Records the look at the flags: dispatches recorded after it go by what they were then.
    pub(crate) fn look(&self, encoder: &mut wgpu::CommandEncoder) {
        self.bound.encode(encoder);
    }

    /// The buffer of an indirect dispatch and the place of dispatch number `at` in it.
    pub(super) fn place(&self, at: u64) -> (&wgpu::Buffer, u64) {
        (&self.open, 12 * at)
    }
}

impl Gpu {
    /// Whether it has indirect dispatches, as all but some old OpenGL drivers do; yes where the adapter is not known.
    #[must_use]
    pub fn dispatches_indirectly(&self) -> bool {
        self.adapter().is_none_or(|adapter| {
            let flags = adapter.get_downlevel_capabilities().flags;
            flags.contains(wgpu::DownlevelFlags::INDIRECT_EXECUTION)
        })
    }
}
