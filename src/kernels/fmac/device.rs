use crate::device::dense;
use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::Draw;
use crate::kernels::{Fmac, FmacMatmul};
use crate::tensor::{DType, Layout};

/// Leading dimension of a bf16 tensor.
fn bf16_ld(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<usize> {
    match dense(op, operand, tensor)? {
        (DType::Bf16, ld) => Ok(ld),
        (got, _) => Err(Error::DType {
            op,
            operand,
            expected: "bf16",
            got,
        }),
    }
}

/// The leading extents, and the last two.
fn matrices(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<(Vec<usize>, usize, usize)> {
    let mut shape = tensor.shape();
    match (shape.pop(), shape.pop()) {
        (Some(cols), Some(rows)) => Ok((shape, rows, cols)),
        _ => Err(Error::Shape {
            op,
            operand,
            expected: "a matrix or a batch of them".to_string(),
            got: tensor.shape(),
        }),
    }
}

impl Device {
    /// `a <- a + x * y` in bf16, elementwise, rounded to nearest even. See [`Fmac`].
    ///
    /// # Errors
    /// Shapes that differ, types that are not bf16, out of memory, or device lost.
    pub fn fmac(&self, a: &mut Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
        self.fmac_with(a, x, y, Rounding::Nearest, Draw::default())
    }

    /// `a <- a + x * y` in bf16, elementwise, with a rounding and a draw. See [`Fmac`].
    ///
    /// # Errors
    /// See [`Device::fmac`].
    pub fn fmac_with(
        &self,
        a: &mut Tensor,
        x: &Tensor,
        y: &Tensor,
        rounding: Rounding,
        draw: Draw,
    ) -> Result<()> {
        const OP: &str = "fmac";
        for (operand, tensor) in [("x", x), ("y", y)] {
            if tensor.shape() != a.shape() {
                return Err(Error::Shape {
                    op: OP,
                    operand,
                    expected: format!("the shape of a, {:?}", a.shape()),
                    got: tensor.shape(),
                });
            }
        }
        let op = Fmac {
            rows: a.layout().rows(),
            cols: a.layout().cols(),
            x_ld: bf16_ld(OP, "x", x)?,
            y_ld: bf16_ld(OP, "y", y)?,
            a_ld: bf16_ld(OP, "a", a)?,
            rounding,
            draw,
        };
        self.probe_float_fmac()?;
        self.run(&op, &mut [x.into(), y.into(), a.into()])
    }

    /// The product of two bf16 matrices (or of two batches of as many) with a bf16 accumulator that is rounded
    /// to nearest even after every `chunk` steps. See [`FmacMatmul`].
    ///
    /// # Errors
    /// Shapes that do not match, types that are not bf16, a chunk of 0, out of memory, or device lost.
    pub fn fmac_matmul(&self, a: &Tensor, b: &Tensor, chunk: usize) -> Result<Tensor> {
        self.fmac_matmul_with(a, b, chunk, Rounding::Nearest, Draw::default())
    }

    /// The product of two bf16 matrices with a bf16 accumulator, with a rounding and a draw. See
    /// [`FmacMatmul`].
    ///
    /// # Errors
    /// See [`Device::fmac_matmul`].
    pub fn fmac_matmul_with(
        &self,
        a: &Tensor,
        b: &Tensor,
        chunk: usize,
        rounding: Rounding,
        draw: Draw,
    ) -> Result<Tensor> {
        const OP: &str = "fmac_matmul";
        let ((mut shape, m, k), (b_batch, b_rows, n)) = (matrices(OP, "a", a)?, matrices(OP, "b", b)?);
        if shape != b_batch {
            return Err(Error::Shape {
                op: OP,
                operand: "b",
                expected: format!("leading extents of a, {shape:?}"),
                got: b.shape(),
            });
        }
        if k != b_rows {
            return Err(Error::Dimension {
                op: OP,
                dimension: "K",
                left_name: "a",
                left: k as u64,
                right_name: "b",
                right: b_rows as u64,
            });
        }
        let batch = shape.iter().product();
        shape.extend([m, n]);
        let op = FmacMatmul {
            batch,
            m,
            n,
            k,
            trans_a: false,
            trans_b: false,
            a_ld: bf16_ld(OP, "a", a)?,
            b_ld: bf16_ld(OP, "b", b)?,
            c_ld: n.next_multiple_of(DType::Bf16.row_multiple()),
            chunk,
            add_c: false,
            rounding,
            draw,
        };
        self.probe_float_fmac()?;
        let mut c = self.zeros(Layout::dense(DType::Bf16, &shape))?;
        self.run(&op, &mut [a.into(), b.into(), (&mut c).into()])?;
        Ok(c)
    }

    /// On a GPU that fewbit opened itself, the first FMAC finds out whether the float variants are exact. A
    /// borrowed device is never submitted to for that, and a browser cannot wait: there the integer variants
    /// run unless the caller has awaited [`probe_float_fmac`](crate::kernels::probe_float_fmac).
    fn probe_float_fmac(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(gpu) = self.as_gpu().filter(|gpu| gpu.is_owned()) {
            crate::kernels::probe_float_fmac_blocking(gpu)?;
        }
        Ok(())
    }
}
