//! From wgpu's three ways of failing (error scopes, uncaptured errors, callbacks) to one typed error.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;

use super::Gpu;
use crate::error::{Error, Result};

/// What has gone wrong with a device for good.
#[derive(Debug, Default)]
pub(super) struct Lost(Mutex<Option<Error>>);

impl Lost {
    fn set(&self, error: Error) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }

    fn get(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the callbacks that an owned device reports through.
    pub(super) fn watch(self: std::sync::Arc<Self>, device: &wgpu::Device) {
        let on_lost = self.clone();
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the last handle reports `Destroyed` too; nobody is left to care then.
            log::debug!("GPU device lost ({reason:?}): {message}");
            on_lost.set(Error::DeviceLost {
                op: "device",
                reason: format!("{reason:?}: {message}"),
            });
        });
        device.on_uncaptured_error(std::sync::Arc::new(move |error: wgpu::Error| {
            log::error!("uncaptured GPU error: {error}");
            self.set(from_wgpu("queue", 0, &error));
        }));
    }
}

pub(super) fn gpu_error(op: &'static str, error: &dyn Display) -> Error {
    Error::Gpu {
        op,
        message: error.to_string(),
    }
}

fn from_wgpu(op: &'static str, bytes: u64, error: &wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { op, bytes },
        other => gpu_error(op, other),
    }
}

impl Gpu {
    /// Tells fewbit that the borrowed device was lost: every later call returns [`Error::DeviceLost`].
    pub fn notify_lost(&self, reason: &str) {
        self.0.lost.set(Error::DeviceLost {
            op: "device",
            reason: reason.to_string(),
        });
    }

    /// The error that ended this device, if one did: lost, or an error no call was there to catch.
    ///
    /// # Errors
    /// That error, under the name of `op`.
    pub fn check_lost(&self, op: &'static str) -> Result<()> {
        match self.0.lost.get() {
            None => Ok(()),
            Some(Error::DeviceLost { reason, .. }) => Err(Error::DeviceLost { op, reason }),
            Some(error) => Err(error),
        }
    }

    /// [`Gpu::check_lost`] after asking the driver, which tells of a lost device only where it is polled. A
    /// borrowed device is its owner's to poll, whose callbacks would run here.
    pub(super) fn notice_lost(&self, op: &'static str) -> Result<()> {
        if self.is_owned() {
            // What polling itself finds wrong is the loss, or comes back with the next submit.
            let _ = self.device().poll(wgpu::PollType::Poll);
        }
        self.check_lost(op)
    }

    /// Runs `body` inside error scopes, so that whatever wgpu finds wrong comes back as an error and never as
    /// a panic. `bytes` is what the body allocates, for the message.
    pub(crate) fn scoped<T>(&self, op: &'static str, bytes: u64, body: impl FnOnce() -> T) -> Result<T> {
        let device = self.device();
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = body();
        // Native back ends answer at once. A browser answers later: our own checks have come first, so what
        // is left there reaches the uncaptured-error handler.
        for scope in [validation, internal, memory] {
            if let Some(Some(error)) = scope.pop().now_or_never() {
                self.notice_lost(op)?;
                return Err(from_wgpu(op, bytes, &error));
            }
        }
        Ok(value)
    }

    pub(super) fn create_buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<wgpu::Buffer> {
        const OP: &str = "buffer";
        self.notice_lost(OP)?;
        let size = bytes.max(16).checked_next_multiple_of(16).unwrap_or(u64::MAX);
        let limit = self.limits().max_buffer_size;
        if size > limit {
            return Err(Error::Limit {
                op: OP,
                what: "bytes in one buffer",
                value: bytes,
                limit,
            });
        }
        self.scoped(OP, size, || {
            self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation,
            })
        })
    }
}
