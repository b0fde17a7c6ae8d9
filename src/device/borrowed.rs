//! Where the two doors meet: tensors over a caller's buffers, and tensors lent as pieces of buffers.

use super::memory::Memory;
use super::storage::{GpuBuffer, GpuState, Storage};
use super::{Device, Tensor};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Operand};
use crate::tensor::Layout;

const OP: &str = "from_buffers";

impl Device {
    /// A tensor over pieces of the caller's buffers, one for each part of the layout ([`Layout::parts`]), each at any
    /// byte offset that is a multiple of 4. Nothing is copied: operations read and write the pieces where they lie.
    /// The buffers stay the caller's, are never destroyed and never pooled. A piece may be longer than its part.
    ///
    /// - Off multiples of 16 bytes, kernels that load four words at once are left out, which costs speed.
    /// - One buffer may be behind several tensors, but not behind what one operation writes and another of its
    ///   operands: that is [`Error::Aliased`], as WebGPU has it.
    /// - Of this tensor and its clones only this one writes to the buffers; see [`Tensor`].
    /// - Operations are pending until [`Device::flush`], a read, or [`Tensor::as_buffer`] submits them. Flush before
    ///   commands of your own, or `queue.write_buffer`, touch the buffers, and before they are mapped or destroyed:
    ///   a batch with such a buffer in it fails as a whole.
    ///
    /// The buffers need the usage `STORAGE`; `COPY_SRC` too where they are read back, or copied because a clone is
    /// written; `COPY_DST` too for [`Tensor::write_words`].
    ///
    /// ```
    /// # fn main() -> fewbit::Result<()> {
    /// use fewbit::gpu::Operand;
    /// use fewbit::tensor::{DType, Layout};
    /// use fewbit::{Device, Error, wgpu};
    ///
    /// // Any device: one over your own `wgpu::Device` is `Device::from_gpu(Gpu::from_wgpu(&device, &queue))`.
    /// let device = match Device::gpu_blocking() {
    ///     Err(Error::NoAdapter { .. }) => return Ok(()),
    ///     device => device?,
    /// };
    /// # let Some(gpu) = device.as_gpu() else { return Ok(()) };
    /// let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
    ///     label: None,
    ///     size: 1024,
    ///     usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
    ///     mapped_at_creation: false,
    /// });
    /// let layout = Layout::dense(DType::F32, &[4, 4]);
    /// let mut c = device.from_buffers(layout, &[Operand::new(&buffer, 260, 64)])?;
    ///
    /// // The product is written into the buffer, 260 bytes from its start.
    /// let a = device.from_f32(&[4, 4], &[0.5; 16])?;
    /// device.matmul_into(&a, &a, None, &mut c, &Default::default())?;
    /// assert_eq!(c.read_blocking()?, [1.0; 16]);
    ///
    /// // And lent again: what is pending is submitted, and the piece can be bound anywhere.
    /// let piece = c.as_buffer(0)?;
    /// assert_eq!((piece.buffer, piece.offset, piece.bytes), (&buffer, 260, 64));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What [`Layout::check`] finds; [`Error::Unsupported`] on a device that is no GPU; [`Error::Operands`] for another
    /// number of pieces than the layout has parts; [`Error::TooSmall`] for a piece shorter than its part, or that does
    /// not lie inside its buffer; [`Error::Alignment`]; [`Error::Usage`]; [`Error::OtherDevice`] where wgpu can tell
    /// (see [`Gpu::from_wgpu`] for those that nobody can); [`Error::Gpu`] for a buffer that has been destroyed; device
    /// lost.
    pub fn from_buffers(&self, layout: Layout, parts: &[Operand<'_>]) -> Result<Tensor> {
        layout.check()?;
        let state = self.gpu_or_else(OP, "a tensor over buffers of wgpu")?;
        let specs = layout.parts();
        if specs.len() != parts.len() {
            return Err(Error::Operands {
                op: OP,
                expected: specs.len(),
                got: parts.len(),
            });
        }
        let mut memories = Vec::with_capacity(parts.len());
        for (spec, piece) in specs.iter().zip(parts) {
            check(&state.gpu, spec.name, spec.words, piece)?;
            memories.push(Memory::from(Storage::Gpu(GpuBuffer::borrowed(
                *piece, spec.words,
            ))));
        }
        Ok(Tensor {
            device: self.clone(),
            layout,
            parts: memories,
        })
    }

    fn gpu_or_else(&self, op: &'static str, what: &str) -> Result<&GpuState> {
        self.gpu_state().ok_or_else(|| Error::Unsupported {
            op,
            what: what.to_string(),
            device: "a device that is no GPU",
        })
    }
}

impl Tensor {
    /// Part number `part` as a piece of a buffer, to be read by plans of the low door or by the caller's own commands.
    /// The device's own buffers have the usages `STORAGE`, `COPY_SRC` and `COPY_DST`.
    ///
    /// What the device has pending is submitted, so that whatever is submitted after this call finds the contents.
    /// Keep the tensor, and write it with nothing else, until your own commands are submitted too: its memory goes to
    /// another tensor once the last clone is dropped.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device that is no GPU, no such part, or device lost.
    pub fn as_buffer(&self, part: usize) -> Result<Operand<'_>> {
        const OP: &str = "as_buffer";
        let state = self.device.gpu_or_else(OP, "lending a tensor as a buffer")?;
        state.gpu.check_lost(OP)?;
        let (memory, words) = self.part(OP, part)?;
        state.flush()?;
        match &**memory {
            Storage::Gpu(buffer) => Ok(buffer.operand(words)),
            Storage::Host(_) => Err(Error::OtherDevice {
                op: OP,
                operand: "tensor",
            }),
        }
    }

    /// [`Tensor::as_buffer`] to be written: clones that share the part's memory keep what they hold.
    ///
    /// # Errors
    /// See [`Tensor::as_buffer`]; [`Error::Aliased`] for a caller's buffer that clones share; out of memory.
    pub fn as_buffer_mut(&mut self, part: usize) -> Result<Operand<'_>> {
        const OP: &str = "as_buffer";
        self.device.gpu_or_else(OP, "lending a tensor as a buffer")?;
        if let Some(memory) = self.parts.get_mut(part) {
            self.device.unshare(OP, "tensor", memory)?;
        }
        self.as_buffer(part)
    }
}

/// Refuses a piece that cannot stand for a part of `words` words.
fn check(gpu: &Gpu, operand: &'static str, words: u64, piece: &Operand<'_>) -> Result<()> {
    gpu.check_lost(OP)?;
    if !piece.offset.is_multiple_of(4) {
        return Err(Error::Alignment {
            op: OP,
            operand,
            what: "byte offset",
            value: piece.offset,
            multiple: 4,
        });
    }
    let inside = piece.buffer.size().saturating_sub(piece.offset).min(piece.bytes);
    if inside < words * 4 {
        return Err(Error::TooSmall {
            op: OP,
            operand,
            needed: words * 4,
            got: inside,
        });
    }
    if !piece.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return Err(Error::Usage {
            op: OP,
            operand,
            usage: "STORAGE",
        });
    }
    gpu.check_buffer(OP, operand, piece.buffer)?;
    bind(gpu, operand, piece.buffer)
}

/// Lets wgpu look at a buffer, which it does where one is bound: found out later, a buffer of another device would take
/// a whole batch with it.
fn bind(gpu: &Gpu, operand: &'static str, buffer: &wgpu::Buffer) -> Result<()> {
    let size = std::num::NonZeroU64::new(buffer.size().min(4)).filter(|size| size.get() == 4);
    if size.is_none() {
        // Nothing can be bound, and no part lies in it.
        return Ok(());
    }
    let device = gpu.device();
    let bound = gpu.scoped(OP, 0, || {
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(OP),
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: true },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            }],
        });
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(OP),
            layout: &layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: 0,
                    size,
                }),
            }],
        })
    });
    match bound {
        Ok(_) => Ok(()),
        // wgpu's words for a buffer and a group of two devices. Where they change, its own message is the error.
        Err(Error::Gpu { message, .. }) if message.contains("doesn't match") => {
            Err(Error::OtherDevice { op: OP, operand })
        }
        Err(error) => Err(error),
    }
}
