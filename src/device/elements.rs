//! Dense tensors from values and back.

use bytemuck::Pod;
use half::bf16;

use super::{Device, Tensor};
use crate::error::{Error, Result};
use crate::format::bf16::widen;
use crate::tensor::{DType, HostBuffer, Layout, alloc};

impl Device {
    /// A dense f32 tensor of `values` in row-major order.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shape holds another number of elements; what [`Layout::check`] finds; out of memory;
    /// past a device limit.
    pub fn from_f32(&self, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        self.dense_of(DType::F32, shape, values)
    }

    /// A dense bf16 tensor of `values` in row-major order, bit for bit: NaN keep their payloads.
    ///
    /// # Errors
    /// See [`Device::from_f32`].
    pub fn from_bf16(&self, shape: &[usize], values: &[bf16]) -> Result<Tensor> {
        self.dense_of(DType::Bf16, shape, values)
    }

    /// A dense u32 tensor of `values` in row-major order.
    ///
    /// # Errors
    /// See [`Device::from_f32`].
    pub fn from_u32(&self, shape: &[usize], values: &[u32]) -> Result<Tensor> {
        self.dense_of(DType::U32, shape, values)
    }

    /// A dense f64 tensor of `values` in row-major order. CPU device and reference only.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a GPU; see [`Device::from_f32`].
    pub fn from_f64(&self, shape: &[usize], values: &[f64]) -> Result<Tensor> {
        if self.as_gpu().is_some() {
            let what = "f64".to_string();
            return Err(Error::Unsupported {
                op: "upload",
                what,
                device: "a GPU (WGSL has no f64)",
            });
        }
        self.dense_of(DType::F64, shape, values)
    }

    /// `T` is the Rust type of `dtype`.
    fn dense_of<T: Pod>(&self, dtype: DType, shape: &[usize], values: &[T]) -> Result<Tensor> {
        let layout = Layout::dense(dtype, shape);
        layout.check()?;
        // The check has bounded the product.
        let elements: usize = shape.iter().product();
        if elements != values.len() {
            let expected = format!(
                "a shape of {} elements, as many as there are values",
                values.len()
            );
            return Err(Error::Shape {
                op: "upload",
                operand: "values",
                expected,
                got: shape.to_vec(),
            });
        }
        let mut words = HostBuffer::zeroed(layout.bytes() / 4)?;
        let cols = layout.cols();
        if cols > 0 {
            let ld = cols.next_multiple_of(dtype.row_multiple());
            let stored: &mut [T] = bytemuck::cast_slice_mut(words.words_mut());
            for (row, values) in stored.chunks_mut(ld).zip(values.chunks(cols)) {
                row[..cols].copy_from_slice(values);
            }
        }
        self.from_words(layout, &[words.words()])
    }
}

impl Tensor {
    /// The logical elements of a dense f32 or bf16 tensor as f32, row-major, padding left out.
    ///
    /// # Errors
    /// [`Error::DType`] for other types, [`Error::Unsupported`] for what is not dense, device lost, or out of memory.
    pub async fn read(&self) -> Result<Vec<f32>> {
        match self.dtype() {
            Some(DType::Bf16) => {
                let codes = self.read_bf16().await?;
                // Not `bf16::to_f32`, which makes every NaN a quiet one.
                alloc::collected(OP, codes.into_iter().map(|code| widen(code.to_bits())))
            }
            Some(DType::F64 | DType::F32 | DType::U32 | DType::U16) | None => {
                self.read_as(DType::F32, "f32 or bf16").await
            }
        }
    }

    /// The logical elements of a dense bf16 tensor bit for bit, row-major, padding left out.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    pub async fn read_bf16(&self) -> Result<Vec<bf16>> {
        self.read_as(DType::Bf16, "bf16").await
    }

    /// The logical elements of a dense u32 tensor, row-major, padding left out.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    pub async fn read_u32(&self) -> Result<Vec<u32>> {
        self.read_as(DType::U32, "u32").await
    }

    /// The logical elements of a dense f64 tensor, row-major, padding left out.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    pub async fn read_f64(&self) -> Result<Vec<f64>> {
        self.read_as(DType::F64, "f64").await
    }

    /// `T` is the Rust type of `dtype`.
    async fn read_as<T: Pod>(&self, dtype: DType, expected: &'static str) -> Result<Vec<T>> {
        let &Layout::Dense { dtype: got, ld, .. } = self.layout() else {
            let (what, device) = (format!("reading {:?} as {expected}", self.layout()), "any device");
            return Err(Error::Unsupported { op: OP, what, device });
        };
        if got != dtype {
            return Err(Error::DType {
                op: OP,
                operand: "tensor",
                expected,
                got,
            });
        }
        let (rows, cols) = (self.layout().rows(), self.layout().cols());
        if cols == 0 {
            // Rows may be any number.
            return Ok(Vec::new());
        }
        let words = self.read_part(0).await?;
        let stored: &[T] = bytemuck::cast_slice(words.words());
        let mut values = alloc::reserved(OP, rows * cols)?;
        for row in 0..rows {
            values.extend_from_slice(&stored[row * ld..][..cols]);
        }
        Ok(values)
    }

    /// [`Tensor::read`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self) -> Result<Vec<f32>> {
        self.device().block_on(self.read())
    }

    /// [`Tensor::read_bf16`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_bf16_blocking(&self) -> Result<Vec<bf16>> {
        self.device().block_on(self.read_bf16())
    }

    /// [`Tensor::read_u32`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_u32_blocking(&self) -> Result<Vec<u32>> {
        self.device().block_on(self.read_u32())
    }

    /// [`Tensor::read_f64`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_f64_blocking(&self) -> Result<Vec<f64>> {
        self.device().block_on(self.read_f64())
    }
}

const OP: &str = "read";
