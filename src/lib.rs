//! fewbit: a portable GPU compute backend on wgpu for compressed and low-precision neural networks.
//!
//! WGSL has no bf16, no stochastic rounding, no block floating point and no sparse product. fewbit has them, in
//! plain WGSL that needs nothing beyond core WebGPU; every kernel has a CPU twin that is its specification, and
//! a class that says what its results may differ by (see [`op::contract`]).
//!
//! ```
//! use fewbit::kernels::Convert;
//! use fewbit::op::Op as _;
//! use fewbit::{Device, tensor::DType};
//!
//! fn main() -> fewbit::Result<()> {
//!     // A real GPU if there is one, else the native CPU device; the calls are the same on both.
//!     let device = Device::auto_blocking()?;
//!     println!("{}", device.describe());
//!
//!     // Two matrices, rounded to bf16: half the bytes.
//!     let a = device.from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//!     let b = device.from_f32(&[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0])?;
//!     let (a, b) = (device.convert(&a, DType::Bf16)?, device.convert(&b, DType::Bf16)?);
//!
//!     // Their product, summed in f32.
//!     let c = device.matmul(&a, &b)?;
//!     assert_eq!(c.read_blocking()?, [4.0, 5.0, 10.0, 11.0]);
//!
//!     // The same with every operation also run on the reference: the first wrong result is an error.
//!     let checked = Device::checked(device);
//!     let x = checked.from_f32(&[4], &[0.1, 0.2, 0.3, 0.4])?;
//!     let y = checked.convert(&x, DType::Bf16)?;
//!     assert_eq!(y.read_blocking()?[0], 0.10009765625);
//!
//!     // An operation is a plain value: what it costs and what can go wrong is known before it runs.
//!     let op = Convert::contiguous(DType::F32, DType::Bf16, 1000);
//!     op.check()?;
//!     assert_eq!(op.work().bytes, 6000.0);
//!     Ok(())
//! }
//! ```
//!
//! # Two doors
//!
//! - The high door, [`device`]: [`Device`], [`Tensor`], and a method per operation.
//! - The low door, [`gpu`]: [`gpu::Gpu::from_wgpu`] borrows a `wgpu::Device`; an operation's
//!   [`plan`](op::Op::plan) is bound to buffers the caller owns and records into a pass the caller owns.
//!   Nothing is submitted, nothing blocks, no callback is set.
//!
//! They meet: [`Device::from_buffers`] makes a tensor over a caller's buffers, [`Tensor::as_buffer`] lends one to the
//! low door, and a [`device::Program`] runs over both.
//!
//! # Rooms
//!
//! Each module uses those before it, never those after: [`format`](mod@format), [`error`]; [`tensor`]; [`gpu`] and
//! [`cpu`]; [`op`]; [`device`]; [`kernels`]; [`check`]; `io`; `nn`; `compress`.

#![cfg_attr(
    not(all(feature = "sparse", feature = "quant", feature = "nn")),
    allow(dead_code, reason = "primitives of the kernels that are left out")
)]
#![cfg_attr(
    target_arch = "wasm32",
    allow(
        clippy::arc_with_non_send_sync,
        reason = "a page has one thread, and wgpu's handles stay on it"
    )
)]

#[cfg(feature = "check")]
pub mod check;
#[cfg(feature = "compress")]
pub mod compress;
pub mod cpu;
pub mod device;
pub mod error;
pub mod file;
pub mod format;
pub mod gpu;
#[cfg(feature = "io")]
pub mod io;
pub mod kernels;
#[cfg(feature = "nn")]
pub mod nn;
pub mod op;
pub mod tensor;

pub use device::{Device, Tensor};
pub use error::{Error, Result};
pub use wgpu;

/// Runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
