//! What belongs to another GPU.
//!
//! wgpu names devices and buffers by numbers that each of its instances counts anew, and its handles do not say which
//! instance they are of. So these can be told apart: a GPU that is a clone of this one from every other; devices of
//! one instance from each other; buffers of OpenGL from all others. Buffers of other devices of the *same* instance
//! are found by wgpu, and come back as [`Error::Gpu`]; fewbit opens all its devices on one instance (see
//! [`adapters`](super::adapters)). Buffers of another instance on the same back end cannot be found by anybody.

use std::sync::Arc;

use super::Gpu;
use crate::error::{Error, Result};

impl Gpu {
    /// Whether both stand for one device. Two devices that were borrowed count as one where wgpu says so, which
    /// compares numbers and is right within one instance.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let borrowed = !self.is_owned() && !other.is_owned();
        Arc::ptr_eq(&self.0, &other.0) || (borrowed && self.device() == other.device())
    }

    /// Refuses what was made for another GPU.
    pub(crate) fn check_same(&self, op: &'static str, operand: &'static str, other: &Self) -> Result<()> {
        match self.same(other) {
            true => Ok(()),
            false => Err(Error::OtherDevice { op, operand }),
        }
    }

    /// Refuses a buffer of OpenGL elsewhere, and any other on OpenGL: their instances count alike.
    pub(crate) fn check_buffer(
        &self,
        op: &'static str,
        operand: &'static str,
        buffer: &wgpu::Buffer,
    ) -> Result<()> {
        match is_opengl(buffer) {
            Some(opengl) if opengl != (self.info().backend == wgpu::Backend::Gl) => {
                Err(Error::OtherDevice { op, operand })
            }
            _ => Ok(()),
        }
    }
}

/// Whether OpenGL holds the buffer (one that has been destroyed is held by nobody); `None` where wgpu has no OpenGL.
#[cfg(all(
    feature = "native",
    any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")
))]
#[expect(unsafe_code, reason = "wgpu tells a buffer's back end in no other way")]
fn is_opengl(buffer: &wgpu::Buffer) -> Option<bool> {
    // SAFETY: the guard is dropped at once; nothing behind it is touched.
    let opengl = unsafe { buffer.as_hal::<wgpu::hal::api::Gles>() }.is_some();
    Some(opengl)
}

#[cfg(not(all(
    feature = "native",
    any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")
)))]
fn is_opengl(_: &wgpu::Buffer) -> Option<bool> {
    None
}
