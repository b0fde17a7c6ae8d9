//! fewbit: a portable GPU compute backend on wgpu for compressed and low-precision neural networks.

pub mod cpu;
pub mod format;
#[cfg(feature = "io")]
pub mod io;
#[cfg(feature = "nn")]
pub mod nn;
