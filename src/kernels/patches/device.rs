use super::{Patches, PatchesGrad};
use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::tensor::{DType, Layout};

impl Patches {
    /// A tensor of the operation's type: its leading dimension.
    fn ld_of(&self, op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<usize> {
        let (dtype, ld) = crate::device::dense(op, operand, tensor)?;
        if dtype != self.dtype {
            let expected = match self.dtype {
                DType::F64 => "f64, as the operation",
                DType::F32 => "f32, as the operation",
                DType::Bf16 => "bf16, as the operation",
                DType::U32 | DType::U16 => "f32, bf16 or f64, as the operation",
            };
            return Err(Error::DType {
                op,
                operand,
                expected,
                got: dtype,
            });
        }
        Ok(ld)
    }
}

impl Device {
    /// The patches of images, `[patches, numbers of a patch]`. See [`Patches`], whose leading dimensions do not matter here:
    /// `x` has a row for every pixel, `[batch * height * width, channels]`, or one for every image, `[batch, height *
    /// width * channels]`.
    ///
    /// # Errors
    /// [`Shape`](Error::Shape) or [`DType`](Error::DType) where `x` is another tensor than the operation says,
    /// [`Value`](Error::Value) for a window that does not fit; out of memory, or device lost.
    pub fn patches(&self, x: &Tensor, op: &Patches) -> Result<Tensor> {
        const OP: &str = "patches";
        let ld = op.ld_of(OP, "x", x)?;
        let pixels = op.pixels();
        let of_pixels = [op.batch.saturating_mul(pixels), op.channels];
        let of_images = [op.batch, pixels.saturating_mul(op.channels)];
        let shape = x.shape();
        let mut op = *op;
        if shape == of_pixels {
            (op.pixel_ld, op.image_ld) = (ld, pixels.saturating_mul(ld));
        } else if shape == of_images {
            op = op.of_rows(ld);
        } else {
            let expected = format!("{of_pixels:?}, or {of_images:?}");
            return Err(Error::Shape {
                op: OP,
                operand: "x",
                expected,
                got: shape,
            });
        }
        op.y_ld = op.dtype.row_ld(op.cols());
        crate::op::Op::check(&op)?;
        let mut y = self.zeros(Layout::dense(op.dtype, &[op.rows(), op.cols()]))?;
        self.run(&op, &mut [x.into(), (&mut y).into()])?;
        Ok(y)
    }

    /// The gradient of images from that of their patches, a row for every pixel: `[batch * height * width, channels]`. See
    /// [`PatchesGrad`]; leading dimensions of `op` do not matter here.
    ///
    /// # Errors
    /// [`Shape`](Error::Shape) or [`DType`](Error::DType) where `dy` is another tensor than what [`Device::patches`] makes,
    /// [`Value`](Error::Value) for a window that does not fit; out of memory, or device lost.
    pub fn patches_grad(&self, dy: &Tensor, op: &Patches) -> Result<Tensor> {
        const OP: &str = "patches_grad";
        let y_ld = op.ld_of(OP, "dy", dy)?;
        let grad = PatchesGrad::new(Patches { y_ld, ..*op });
        crate::op::Op::check(&grad)?;
        let expected = [op.rows(), op.cols()];
        if dy.shape() != expected {
            return Err(Error::Shape {
                op: OP,
                operand: "dy",
                expected: format!("{expected:?}"),
                got: dy.shape(),
            });
        }
        let pixels = [op.batch.saturating_mul(op.pixels()), op.channels];
        let mut dx = self.zeros(Layout::dense(op.dtype, &pixels))?;
        self.run(&grad, &mut [dy.into(), (&mut dx).into()])?;
        Ok(dx)
    }
}
