//! `copy`: words from one operand to another.
//!
//! | variant | when | why |
//! |---|---|---|
//! | vec4x4 | 16-byte offsets, a multiple of 4 words | fewest invocations |
//! | vec4 | the same | one vector per invocation |
//! | word | any | the only one for lengths or offsets off 16 bytes |

pub(crate) mod cases;
mod cpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::copy::{self, Width};
use crate::gpu::{Gpu, OperandSpec, Permutation, Plan};
use crate::op::{Args, Class, Op, Work};

/// `dst = src`, bit for bit. Operands: `src`, `dst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Length in `u32` words.
    pub words: u64,
}

const WIDTHS: [(&str, Width); 3] = [
    ("vec4x4", Width::FourVec4),
    ("vec4", Width::Vec4),
    ("word", Width::Word),
];

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn describe(&self) -> String {
        format!("{} words", self.words)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        copy::operands(self.words)
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn work(&self) -> Work {
        Work {
            bytes: 8.0 * self.words as f64,
            ..Work::default()
        }
    }

    fn variants(&self, _gpu: &Gpu, any_offset: bool) -> Vec<&'static str> {
        let vectors = self.words.is_multiple_of(4) && !any_offset;
        WIDTHS
            .iter()
            .filter(|(_, width)| vectors || *width == Width::Word)
            .map(|(name, _)| *name)
            .collect()
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _any_offset: bool) -> Result<Plan> {
        let width = WIDTHS
            .iter()
            .find(|(name, _)| *name == variant)
            .map_or(Width::Word, |(_, width)| *width);
        copy::plan(gpu, self.words, width, variant)
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        let words = self.words as usize;
        let (src, dst) = (&src.read()[..words], &mut dst.write()[..words]);
        cpu::copy(cpu, src, dst);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        reference::copy(src.read(), dst.write(), self.words as usize);
        Ok(())
    }
}

pub(super) fn permutations() -> Vec<Permutation> {
    WIDTHS.iter().map(|(_, width)| width.permutation()).collect()
}
