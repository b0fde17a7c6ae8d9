//! Reading buffers back: recorded by the caller's encoder, awaited after the caller's submit.

use futures::channel::oneshot;

use super::Gpu;
use super::errors::gpu_error;
use crate::error::{Error, Result};
use crate::tensor::HostBuffer;

/// A host-visible buffer that a piece of a GPU buffer is copied into and read from.
#[derive(Debug)]
pub struct ReadBack {
    gpu: Gpu,
    buffer: wgpu::Buffer,
    words: u64,
}

impl ReadBack {
    /// Records the copy of `words` words of `source` from byte `offset` on. Submit the encoder, then await
    /// [`ReadBack::read`].
    ///
    /// # Errors
    /// The piece lies outside the buffer, the buffer lacks `COPY_SRC` or is of another back end, the offset is no
    /// multiple of 4, or memory ran out. A buffer of another device makes the encoder's submit an error.
    pub fn record(
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        source: &wgpu::Buffer,
        offset: u64,
        words: u64,
    ) -> Result<Self> {
        const OP: &str = "read back";
        let needed = offset.saturating_add(words.saturating_mul(4));
        if needed > source.size() {
            return Err(Error::TooSmall {
                op: OP,
                operand: "source",
                needed,
                got: source.size(),
            });
        }
        if !offset.is_multiple_of(4) {
            let what = "byte offset";
            return Err(Error::Alignment {
                op: OP,
                operand: "source",
                what,
                value: offset,
                multiple: 4,
            });
        }
        if !source.usage().contains(wgpu::BufferUsages::COPY_SRC) {
            return Err(Error::Usage {
                op: OP,
                operand: "source",
                usage: "COPY_SRC",
            });
        }
        gpu.check_buffer(OP, "source", source)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = gpu.create_buffer("read back", words * 4, usage, false)?;
        if words > 0 {
            encoder.copy_buffer_to_buffer(source, offset, &buffer, 0, words * 4);
        }
        Ok(Self {
            gpu: gpu.clone(),
            buffer,
            words,
        })
    }

    /// The words, once the GPU has written them. On an owned device this drives polling itself; on a borrowed
    /// one the caller polls (`device.poll`, or the frame loop does).
    ///
    /// # Errors
    /// Device lost, or the mapping failed.
    pub async fn read(self) -> Result<HostBuffer> {
        let poll = self.gpu.is_owned();
        self.map(poll).await
    }

    /// [`ReadBack::read`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// Device lost, or the mapping failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(self) -> Result<HostBuffer> {
        pollster::block_on(self.map(true))
    }

    async fn map(self, poll: bool) -> Result<HostBuffer> {
        const OP: &str = "read back";
        let mut out = HostBuffer::zeroed(self.words)?;
        if self.words == 0 {
            return Ok(out);
        }
        let (sender, receiver) = oneshot::channel();
        let bytes = self.words * 4;
        self.gpu.scoped(OP, bytes, || {
            self.buffer
                .map_async(wgpu::MapMode::Read, ..bytes, move |result| {
                    // The receiver is gone when the caller dropped the future.
                    let _ = sender.send(result);
                });
        })?;
        if poll {
            self.gpu.poll_to_end(OP)?;
        }
        let answer = receiver.await;
        self.gpu.check_lost(OP)?;
        match answer {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(gpu_error(OP, &error)),
            Err(_) => return Err(gpu_error(OP, &"the mapping was dropped")),
        }
        {
            let view = self
                .buffer
                .get_mapped_range(..bytes)
                .map_err(|error| gpu_error(OP, &error))?;
            bytemuck::cast_slice_mut::<u32, u8>(out.words_mut()).copy_from_slice(&view);
        }
        self.buffer.unmap();
        Ok(out)
    }
}

impl Gpu {
    /// Polls until everything submitted so far is done. A lost device makes polling fail too: the loss is the error.
    fn poll_to_end(&self, op: &'static str) -> Result<()> {
        let polled = self.device().poll(wgpu::PollType::wait_indefinitely());
        self.check_lost(op)?;
        polled.map(|_| ()).map_err(|error| gpu_error(op, &error))
    }

    /// Waits until everything submitted so far is done.
    ///
    /// # Errors
    /// Device lost, or the driver failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self) -> Result<()> {
        self.poll_to_end("wait")?;
        self.check_lost("wait")
    }

    /// Finishes an encoder and submits it, turning whatever wgpu finds wrong into an error. For code that
    /// owns its submits; embedders call `finish` and `submit` themselves.
    ///
    /// # Errors
    /// Device lost, out of memory, or a validation error that our own checks did not foresee.
    pub fn submit(&self, op: &'static str, encoder: wgpu::CommandEncoder) -> Result<()> {
        self.check_lost(op)?;
        self.scoped(op, 0, || {
            self.queue().submit([encoder.finish()]);
        })?;
        self.0.submits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // What is submitted to a lost device is dropped without an error.
        self.notice_lost(op)
    }

    /// How many times [`Gpu::submit`] has handed work to the queue, the device's batches among them.
    #[must_use]
    pub fn submits(&self) -> u64 {
        self.0.submits.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// A command encoder.
    #[must_use]
    pub fn encoder(&self, label: &str) -> wgpu::CommandEncoder {
        self.device()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) })
    }
}
