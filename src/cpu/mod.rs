//! The native CPU device (placeholder until it lands).

/// A CPU device.
#[derive(Clone, Debug)]
pub struct Cpu;

/// An instruction-set level that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine lacks that instruction set")]
pub struct CpuError;

impl Cpu {
    /// Every level of this machine.
    #[must_use]
    pub fn available() -> Vec<Self> {
        vec![Self]
    }

    /// The best level.
    #[must_use]
    pub fn detect() -> Self {
        Self
    }

    /// Whether products of bf16 go through dpbf16.
    #[must_use]
    pub fn uses_dpbf16(&self) -> bool {
        false
    }
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("portable")
    }
}

pub(crate) fn copy(_: &Cpu, src: &[u32], dst: &mut [u32]) {
    dst.copy_from_slice(src);
}

pub(crate) fn convert(_: &Cpu, op: &crate::ops::Convert, src: &[u32], dst: &mut [u32]) {
    crate::reference::convert(op, src, dst);
}

pub(crate) fn ceiling(_: &Cpu, op: &crate::ops::Ceiling, src: &[u32], dst: &mut [u32]) {
    crate::reference::ceiling(op, src, dst);
}
