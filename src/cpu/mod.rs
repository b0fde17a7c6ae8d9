//! stub
#![allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Cpu;
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("x")]
pub struct CpuError;
impl Cpu {
    pub fn available() -> Vec<Self> {
        vec![Self]
    }
    pub fn detect() -> Self {
        Self
    }
    pub fn uses_dpbf16(&self) -> bool {
        false
    }
}
impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
pub(crate) fn copy(_: &Cpu, src: &[u32], dst: &mut [u32]) {
    dst.copy_from_slice(src)
}
pub(crate) fn convert(_: &Cpu, op: &crate::ops::Convert, src: &[u32], dst: &mut [u32]) {
    crate::reference::convert(op, src, dst)
}
pub(crate) fn ceiling(_: &Cpu, op: &crate::ops::Ceiling, src: &[u32], dst: &mut [u32]) {
    crate::reference::ceiling(op, src, dst)
}
