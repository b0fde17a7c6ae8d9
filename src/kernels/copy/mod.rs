//! `copy`: words from one operand to another.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::OperandSpec;
use crate::op::{Args, Op, Table};
use crate::tensor::View;

/// `dst = src`, bit for bit. Operands: `src`, `dst`.
///
/// | variant | when | why |
/// |---|---|---|
/// | `vec4x4` | 16-byte offsets, a multiple of 4 words | fewest invocations |
/// | `vec4` | the same | one vector per invocation |
/// | `word` | any | the only one for lengths or offsets off 16 bytes |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Copy {
    /// Length in `u32` words.
    pub words: u64,
}

impl Copy {
    /// So many words.
    #[must_use]
    pub const fn new(words: u64) -> Self {
        Self { words }
    }
}

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn describe(&self) -> String {
        format!("{} words", self.words)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("src", self.words),
            OperandSpec::write("dst", self.words),
        ]
    }

    fn check(&self) -> Result<()> {
        View::words_of(self.words).check(self.name(), "src")
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        let words = self.words as usize;
        let (src, dst) = (&src.read()[..words], &mut dst.write()?[..words]);
        cpu::copy(cpu, src, dst);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        reference::copy(src.read(), dst.write()?, self.words as usize);
        Ok(())
    }
}
