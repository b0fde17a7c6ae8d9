//! fewbit: a portable GPU compute backend on wgpu for compressed and low-precision neural networks.

pub mod check;
pub mod cpu;
pub mod device;
pub mod error;
pub mod format;
pub mod gpu;
#[cfg(feature = "io")]
pub mod io;
#[cfg(feature = "nn")]
pub mod nn;
pub mod ops;
pub mod reference;
pub mod shaders;
pub mod tensor;

pub use device::{Device, Tensor};
pub use error::{Error, Result};
pub use wgpu;
