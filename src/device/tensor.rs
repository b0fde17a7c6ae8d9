use super::memory::Memory;
use super::storage::Storage;
use super::{Device, Kind};
use crate::error::{Error, Result};
use crate::tensor::{DType, HostBuffer, Layout, Part};

/// A tensor on a device: a layout and the memory of its parts. Clones share memory until one is written, which then
/// gets its own.
///
/// One over a caller's buffer ([`Device::from_buffers`]) is written where it lies. Its clones read the same memory and
/// get their own when they are written; while there are any, writing the tensor itself is [`Error::Aliased`], for they
/// would change with it.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(super) device: Device,
    pub(super) layout: Layout,
    pub(crate) parts: Vec<Memory>,
}

impl Tensor {
    /// The device it lives on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its extents.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.layout.shape()
    }

    /// Its element type, if it is dense.
    #[must_use]
    pub fn dtype(&self) -> Option<DType> {
        match &self.layout {
            Layout::Dense { dtype, .. } => Some(*dtype),
            Layout::Coded { .. } | Layout::Csr { .. } => None,
        }
    }

    /// Bytes its parts hold, padding included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// Reads part number `part` back, word for word, padding included. On an owned device this drives polling
    /// itself; on a borrowed one the caller polls.
    ///
    /// # Errors
    /// No such part, device lost, or out of memory.
    pub async fn read_part(&self, part: usize) -> Result<HostBuffer> {
        let (memory, words) = self.part("read", part)?;
        self.device.read_memory(memory, words).await
    }

    /// [`Tensor::read_part`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read_part`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_part_blocking(&self, part: usize) -> Result<HostBuffer> {
        self.device.block_on(self.read_part(part))
    }

    /// The same contents in memory of its own, on the same device.
    ///
    /// # Errors
    /// A caller's buffer without usage `COPY_SRC`, device lost, or out of memory.
    pub fn copy(&self) -> Result<Self> {
        let copies = self.parts.iter().map(|memory| self.device.duplicate(memory));
        Ok(Self {
            device: self.device.clone(),
            layout: self.layout.clone(),
            parts: copies.collect::<Result<_>>()?,
        })
    }

    /// Overwrites every part with words, padding included. What the device has pending is submitted first.
    ///
    /// # Errors
    /// Another number of parts or words than the layout has; [`Error::Aliased`] for a caller's buffer that clones
    /// share, [`Error::Usage`] for one without `COPY_DST`; device lost. Nothing is written then.
    pub fn write_words(&mut self, parts: &[&[u32]]) -> Result<()> {
        check_words("write", &self.layout, parts)?;
        for memory in &mut self.parts {
            self.device.unshare("write", "tensor", memory)?;
        }
        let each = self.parts.iter_mut().zip(parts);
        each.into_iter()
            .try_for_each(|(memory, words)| self.device.overwrite(memory, words))
    }

    /// The memory of a part, and how many words of it belong to the tensor.
    pub(super) fn part(&self, op: &'static str, part: usize) -> Result<(&Memory, u64)> {
        let spec = self.layout.parts().get(part).map(|spec| spec.words);
        self.parts.get(part).zip(spec).ok_or(Error::Operands {
            op,
            expected: self.parts.len(),
            got: part + 1,
        })
    }
}

impl Tensor {
    /// The parts as tensors of their own, for operations that write several; [`Tensor::join_parts`] puts them
    /// back.
    pub(crate) fn split_parts(&mut self) -> Vec<Self> {
        let parts = std::mem::take(&mut self.parts).into_iter();
        let part = |(memory, spec): (Memory, Part)| Self {
            device: self.device.clone(),
            layout: plain(spec.words),
            parts: vec![memory],
        };
        parts.zip(self.layout.parts()).map(part).collect()
    }

    pub(crate) fn join_parts(&mut self, parts: Vec<Self>) {
        self.parts = parts.into_iter().flat_map(|part| part.parts).collect();
    }
}

impl Device {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// What [`Layout::check`] finds, out of memory, or past a limit of the device.
    pub fn zeros(&self, layout: Layout) -> Result<Tensor> {
        layout.check()?;
        let parts = layout
            .parts()
            .iter()
            .map(|part| self.allocate(part.words, true))
            .collect::<Result<_>>()?;
        Ok(Tensor {
            device: self.clone(),
            layout,
            parts,
        })
    }

    /// A tensor made of the words of its parts, padding included.
    ///
    /// # Errors
    /// What [`Layout::check`] finds, another number of parts or words than the layout has, out of memory, or past a
    /// limit of the device.
    pub fn from_words(&self, layout: Layout, parts: &[&[u32]]) -> Result<Tensor> {
        layout.check()?;
        check_words("upload", &layout, parts)?;
        let upload = |words: &&[u32]| {
            Ok(Memory::from(match self.gpu_state() {
                Some(state) => Storage::Gpu(state.upload(words)?),
                None => Storage::Host(HostBuffer::from_words(words)?),
            }))
        };
        let parts = parts.iter().map(upload).collect::<Result<_>>()?;
        Ok(Tensor {
            device: self.clone(),
            layout,
            parts,
        })
    }

    pub(super) fn gpu_state(&self) -> Option<&super::storage::GpuState> {
        match self.kind() {
            Kind::Gpu(state) => Some(state),
            Kind::Checked(inner) => inner.gpu_state(),
            Kind::Cpu(_) | Kind::Reference => None,
        }
    }
}

/// Words without a meaning.
fn plain(words: u64) -> Layout {
    let len = usize::try_from(words).unwrap_or(usize::MAX);
    Layout::Dense {
        dtype: DType::U32,
        shape: vec![len],
        ld: len,
    }
}

/// One list of words for each part of a layout, as long as the part.
pub(super) fn check_words(op: &'static str, layout: &Layout, parts: &[&[u32]]) -> Result<()> {
    let specs = layout.parts();
    if specs.len() != parts.len() {
        return Err(Error::Operands {
            op,
            expected: specs.len(),
            got: parts.len(),
        });
    }
    for (spec, words) in specs.iter().zip(parts) {
        let (needed, got) = (spec.words * 4, words.len() as u64 * 4);
        if needed != got {
            return Err(Error::TooSmall {
                op,
                operand: spec.name,
                needed,
                got,
            });
        }
    }
    Ok(())
}

/// A dense tensor's element type and leading dimension.
pub(crate) fn dense(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<(DType, usize)> {
    match tensor.layout() {
        Layout::Dense { dtype, ld, .. } => Ok((*dtype, *ld)),
        other => {
            let expected = "a dense tensor".to_string();
            Err(Error::Shape {
                op,
                operand,
                expected,
                got: other.shape(),
            })
        }
    }
}
