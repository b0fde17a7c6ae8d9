use std::sync::Arc;

use super::storage::Storage;
use super::{Device, Kind};
use crate::error::{Error, Result};
use crate::tensor::{DType, HostBuffer, Layout};

/// A tensor on a device: a layout and the memory of its parts. Clones share memory until one is written.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(super) device: Device,
    pub(super) layout: Layout,
    pub(crate) parts: Vec<Arc<Storage>>,
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
        let storage = self.parts.get(part).ok_or(Error::Operands {
            op: "read",
            expected: self.parts.len(),
            got: part + 1,
        })?;
        match (&**storage, self.device.gpu_state()) {
            (Storage::Host(buffer), _) => buffer.try_clone(),
            (Storage::Gpu(buffer), Some(state)) => state.read_back(buffer)?.read().await,
            (Storage::Gpu(_), None) => Err(Error::OtherDevice {
                op: "read",
                operand: "tensor",
            }),
        }
    }

    /// [`Tensor::read_part`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read_part`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_part_blocking(&self, part: usize) -> Result<HostBuffer> {
        self.device.block_on(self.read_part(part))
    }
}

impl Tensor {
    /// The parts as tensors of their own, for operations that write several; [`Tensor::join_parts`] puts them
    /// back.
    pub(crate) fn split_parts(&mut self) -> Vec<Self> {
        let parts = std::mem::take(&mut self.parts);
        let part = |storage| Self {
            device: self.device.clone(),
            layout: self.layout.clone(),
            parts: vec![storage],
        };
        parts.into_iter().map(part).collect()
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
        const OP: &str = "upload";
        layout.check()?;
        let specs = layout.parts();
        if specs.len() != parts.len() {
            return Err(Error::Operands {
                op: OP,
                expected: specs.len(),
                got: parts.len(),
            });
        }
        let mut storages = Vec::with_capacity(parts.len());
        for (spec, words) in specs.iter().zip(parts) {
            let (needed, got) = (spec.words * 4, words.len() as u64 * 4);
            if needed != got {
                return Err(Error::TooSmall {
                    op: OP,
                    operand: spec.name,
                    needed,
                    got,
                });
            }
            storages.push(Arc::new(match self.gpu_state() {
                Some(state) => Storage::Gpu(state.upload(words)?),
                None => Storage::Host(HostBuffer::from_words(words)?),
            }));
        }
        Ok(Tensor {
            device: self.clone(),
            layout,
            parts: storages,
        })
    }

    pub(super) fn gpu_state(&self) -> Option<&super::storage::GpuState> {
        match self.kind() {
            Kind::Gpu(state) => Some(state),
            Kind::Checked(inner) => inner.gpu_state(),
            Kind::Cpu(_) | Kind::Reference => None,
        }
    }

    pub(super) fn allocate(&self, words: u64, zeroed: bool) -> Result<Arc<Storage>> {
        Ok(Arc::new(match self.gpu_state() {
            Some(state) => Storage::Gpu(state.allocate(words, zeroed)?),
            None => Storage::Host(HostBuffer::zeroed(words)?),
        }))
    }
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
