//! `ceiling`: how fast a device can multiply and add, operate on integers, and read memory: what every other
//! kernel's speed is held against.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::OperandSpec;
use crate::op::{Args, Op, Table, Work};

/// Which ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CeilingKind {
    /// `x <- x * 1 + 1` in f32, sixteen chains per invocation: 32 operations a step.
    MultiplyAdd,
    /// The same sums by the bf16 dot products of the CPU device (`dpbf16`), two products a step: 64 operations.
    /// Where there is none it is the multiply-add; not on GPUs, which have no bf16.
    Bf16Dot,
    /// `x <- (x ^ mask) + odd` in u32, sixteen chains per invocation: 32 operations a step.
    Integer,
    /// The wrapping sum of every word of `src`.
    Read,
}

/// A ceiling kernel. Operands: `src` (for reads; else empty), `dst` (one word per invocation). Exact class:
/// every value is a whole number below 2^24, or a wrapping integer.
///
/// | variant | when | why |
/// |---|---|---|
/// | `chains` | multiply-add, integer | sixteen independent chains hide the latency of one |
/// | `strided` | read, 16-byte offsets | neighbouring invocations read neighbouring vectors |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ceiling {
    /// Which ceiling.
    pub kind: CeilingKind,
    /// Invocations.
    pub count: u32,
    /// Steps of each chain, at most 2^19.
    pub steps: u32,
    /// Words read, a multiple of 4; 0 unless `kind` is `Read`.
    pub src_words: u64,
}

impl Ceiling {
    const FACTOR: f32 = 1.0;
    const SUMMAND: f32 = 1.0;
    const MASK: u32 = 0x5bd1_e995;
    const ODD: u32 = 0x9e37_79b9;

    /// `count` invocations that make chains of so many steps and read nothing.
    #[must_use]
    pub fn new(kind: CeilingKind, count: u32, steps: u32) -> Self {
        Self {
            kind,
            count,
            steps,
            src_words: 0,
        }
    }

    /// `count` invocations that read so many words between them.
    #[must_use]
    pub fn reading(count: u32, src_words: u64) -> Self {
        Self {
            kind: CeilingKind::Read,
            count,
            steps: 0,
            src_words,
        }
    }
}

impl Op for Ceiling {
    fn name(&self) -> &'static str {
        "ceiling"
    }

    fn describe(&self) -> String {
        match self.kind {
            CeilingKind::Bf16Dot => format!("bf16 dot, {} x {} steps", self.count, self.steps),
            CeilingKind::MultiplyAdd => format!("multiply-add, {} x {} steps", self.count, self.steps),
            CeilingKind::Integer => format!("integer, {} x {} steps", self.count, self.steps),
            CeilingKind::Read => format!("read, {} words", self.src_words),
        }
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("src", self.src_words),
            OperandSpec::write("dst", u64::from(self.count)),
        ]
    }

    fn check(&self) -> Result<()> {
        const OP: &str = "ceiling";
        // 16 chains, each below steps + 271, must add up to less than 2^24.
        crate::op::check_limit(OP, "steps", self.steps.into(), 1 << 19)?;
        crate::op::check_limit(OP, "words", self.src_words, u64::from(u32::MAX))?;
        if !self.src_words.is_multiple_of(4) || (self.src_words > 0) != (self.kind == CeilingKind::Read) {
            return Err(Error::Value {
                op: OP,
                what: "words",
                value: self.src_words.to_string(),
                expected: "a multiple of 4 for a read, else 0",
            });
        }
        Ok(())
    }

    fn work(&self) -> Work {
        let operations = f64::from(self.count) * f64::from(self.steps) * 32.0;
        match self.kind {
            CeilingKind::MultiplyAdd => Work {
                flops: operations,
                ..Work::default()
            },
            CeilingKind::Bf16Dot => Work {
                flops: 2.0 * operations,
                ..Work::default()
            },
            CeilingKind::Integer => Work {
                int_ops: operations,
                ..Work::default()
            },
            CeilingKind::Read => Work {
                bytes: self.src_words as f64 * 4.0,
                ..Work::default()
            },
        }
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        cpu::ceiling(cpu, self, src.read(), dst.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [src, dst] = args.take(self)?;
        reference::ceiling(self, src.read(), dst.write()?);
        Ok(())
    }
}
