use std::sync::Arc;

use super::storage::Storage;
use super::{Device, Kind};
use crate::error::{Error, Result};
use crate::format::bf16;
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
            _ => None,
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
            (Storage::Host(buffer), _) => Ok(buffer.clone()),
            (Storage::Gpu(buffer), Some(state)) => state.read_back(buffer)?.read().await,
            (Storage::Gpu(_), None) => Err(Error::OtherDevice {
                op: "read",
                operand: "tensor",
            }),
        }
    }

    /// The logical elements of a dense f32 or bf16 tensor as f32, row-major, padding left out.
    ///
    /// # Errors
    /// [`Error::DType`] for other types, device lost, or out of memory.
    pub async fn read(&self) -> Result<Vec<f32>> {
        let Layout::Dense { dtype, ld, .. } = &self.layout else {
            let (what, device) = (format!("reading {:?} as f32", self.layout), "any device");
            return Err(Error::Unsupported {
                op: "read",
                what,
                device,
            });
        };
        let words = self.read_part(0).await?;
        let (rows, cols) = (self.layout.rows(), self.layout.cols());
        let mut values = Vec::with_capacity(rows * cols);
        for row in 0..rows {
            match dtype {
                DType::F32 => {
                    let row = &words.words()[row * ld..row * ld + cols];
                    values.extend(row.iter().map(|&bits| f32::from_bits(bits)));
                }
                DType::Bf16 => {
                    let halves = bf16::halves(words.words());
                    values.extend(
                        halves[row * ld..row * ld + cols]
                            .iter()
                            .map(|&half| bf16::widen(half)),
                    );
                }
                got => {
                    let (op, operand, expected) = ("read", "tensor", "f32 or bf16");
                    return Err(Error::DType {
                        op,
                        operand,
                        expected,
                        got: *got,
                    });
                }
            }
        }
        Ok(values)
    }

    /// [`Tensor::read`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self) -> Result<Vec<f32>> {
        self.block_on(self.read())
    }

    /// [`Tensor::read_part`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read_part`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_part_blocking(&self, part: usize) -> Result<HostBuffer> {
        self.block_on(self.read_part(part))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        use futures::FutureExt as _;
        let gpu = self.device.as_gpu().filter(|gpu| !gpu.is_owned());
        let mut future = std::pin::pin!(future);
        let Some(gpu) = gpu else {
            return pollster::block_on(future);
        };
        loop {
            match future.as_mut().now_or_never() {
                Some(value) => return value,
                None => gpu.wait()?,
            }
        }
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
    /// Out of memory, or past a limit of the device.
    pub fn zeros(&self, layout: Layout) -> Result<Tensor> {
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
    /// Another number of parts or words than the layout has, out of memory, or past a limit of the device.
    pub fn from_words(&self, layout: Layout, parts: &[&[u32]]) -> Result<Tensor> {
        const OP: &str = "upload";
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

    /// A dense f32 tensor of `values` in row-major order.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shape holds another number of elements; out of memory; past a device limit.
    pub fn from_f32(&self, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        let layout = Layout::dense(DType::F32, shape);
        let mut words = self.staging(&layout, shape, values.len())?;
        let (cols, ld) = (
            layout.cols(),
            layout.cols().next_multiple_of(DType::F32.row_multiple()),
        );
        if cols > 0 {
            for (row, values) in words.words_mut().chunks_mut(ld).zip(values.chunks(cols)) {
                row[..cols].copy_from_slice(bytemuck::cast_slice(values));
            }
        }
        self.from_words(layout, &[words.words()])
    }

    /// A dense f64 tensor of `values` in row-major order. CPU device and reference only.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a GPU; [`Error::Shape`]; out of memory.
    pub fn from_f64(&self, shape: &[usize], values: &[f64]) -> Result<Tensor> {
        if self.as_gpu().is_some() {
            let what = "f64".to_string();
            return Err(Error::Unsupported {
                op: "upload",
                what,
                device: "a GPU (WGSL has no f64)",
            });
        }
        let layout = Layout::dense(DType::F64, shape);
        let mut words = self.staging(&layout, shape, values.len())?;
        let (cols, ld) = (
            layout.cols(),
            layout.cols().next_multiple_of(DType::F64.row_multiple()),
        );
        if cols > 0 {
            for (row, values) in words.words_mut().chunks_mut(2 * ld).zip(values.chunks(cols)) {
                row[..2 * cols].copy_from_slice(bytemuck::cast_slice(values));
            }
        }
        self.from_words(layout, &[words.words()])
    }

    fn staging(&self, layout: &Layout, shape: &[usize], len: usize) -> Result<HostBuffer> {
        let elements: usize = shape.iter().product();
        if elements != len {
            let expected = format!("a shape of {len} elements, as many as there are values");
            return Err(Error::Shape {
                op: "upload",
                operand: "values",
                expected,
                got: shape.to_vec(),
            });
        }
        HostBuffer::zeroed(layout.bytes() / 4)
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
