//! The copy kernels' host side: used by the `copy` operation and by step buffers inside a pass.

use super::{Binding, Gpu, Kernel, OperandSpec, Permutation, Plan, Step, StepValues, Window};
use super::{split_rows, spread_groups};
use crate::error::Result;

const GROUP: u32 = 64;

static COPY: Kernel = Kernel {
    name: "copy",
    sources: &[
        include_str!("../../shaders/lib/index.wgsl"),
        include_str!("../../shaders/copy/copy.wgsl"),
    ],
    bindings: &[Binding::params(4), Binding::read("src"), Binding::write("dst")],
};

static COPY_VEC4: Kernel = Kernel {
    name: "copy_vec4",
    sources: &[
        include_str!("../../shaders/lib/index.wgsl"),
        include_str!("../../shaders/copy/copy_vec4.wgsl"),
    ],
    bindings: &[
        Binding::params(4),
        Binding::read("src").vec4(),
        Binding::write("dst").vec4(),
    ],
};

/// How many words an invocation copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Word,
    Vec4,
    FourVec4,
}

impl Width {
    pub(crate) fn permutation(self) -> Permutation {
        match self {
            Self::Word => Permutation::new(&COPY).constant("GROUP", GROUP),
            Self::Vec4 => Permutation::new(&COPY_VEC4)
                .constant("GROUP", GROUP)
                .constant("STRIDE", 1),
            Self::FourVec4 => Permutation::new(&COPY_VEC4)
                .constant("GROUP", GROUP)
                .constant("STRIDE", 4),
        }
    }

    fn words(self) -> u64 {
        match self {
            Self::Word => 1,
            Self::Vec4 => 4,
            Self::FourVec4 => 16,
        }
    }
}

pub(crate) fn operands(words: u64) -> Vec<OperandSpec> {
    vec![OperandSpec::read("src", words), OperandSpec::write("dst", words)]
}

pub(super) fn plan_words(gpu: &Gpu, words: u64) -> Result<Plan> {
    plan(gpu, words, Width::Word, "word")
}

pub(crate) fn plan(gpu: &Gpu, words: u64, width: Width, variant: &'static str) -> Result<Plan> {
    let pipeline = gpu.pipeline(&width.permutation())?;
    let element = if width == Width::Word { 1 } else { 4 };
    let steps = split_rows(gpu, words / element, element, element * 4, u64::from(GROUP))
        .into_iter()
        .map(|range| {
            let count = range.end - range.start;
            let per_group = u64::from(GROUP) * width.words() / element;
            Step {
                pipeline: pipeline.clone(),
                params: vec![count as u32, 0, 0, 0],
                windows: vec![
                    Window::of(0, range.start * element, count * element, 1),
                    Window::of(1, range.start * element, count * element, 2),
                ],
                groups: spread_groups(gpu, count.div_ceil(per_group)),
                work: count * element,
                // copy_vec4.wgsl's loop; copy.wgsl has none.
                turns: if width == Width::Word {
                    0
                } else {
                    width.words() / element + 1
                },
            }
        })
        .collect();
    Plan::new(
        gpu,
        "copy",
        variant,
        operands(words),
        steps,
        StepValues::default(),
    )
}
