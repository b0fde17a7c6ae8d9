//! One method per operation, over tensors: each only makes the operation from its tensors' layouts.

use crate::device::{Device, Tensor};
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::Draw;
use crate::kernels::Convert;
use crate::tensor::{DType, Layout};

impl Device {
    /// Converts to another element type, rounding to nearest even. See [`Convert`].
    ///
    /// # Errors
    /// Types that are not f32, bf16 or f64, f64 on a GPU, out of memory, or device lost.
    pub fn convert(&self, src: &Tensor, to: DType) -> Result<Tensor> {
        self.convert_with(src, to, Rounding::Nearest, Draw::default(), false)
    }

    /// Converts to another element type with a rounding, a draw and the saturating flag. See [`Convert`].
    ///
    /// # Errors
    /// See [`Device::convert`].
    pub fn convert_with(
        &self,
        src: &Tensor,
        to: DType,
        rounding: Rounding,
        draw: Draw,
        saturate: bool,
    ) -> Result<Tensor> {
        let (from, src_ld) = crate::device::dense("convert", "src", src)?;
        let layout = Layout::dense(to, &src.shape());
        let (rows, cols) = (layout.rows(), layout.cols());
        let dst_ld = cols.next_multiple_of(to.row_multiple());
        let op = Convert {
            from,
            to,
            rows,
            cols,
            src_ld,
            dst_ld,
            rounding,
            saturate,
            draw,
        };
        let mut dst = self.zeros(layout)?;
        self.run(&op, &mut [src.into(), (&mut dst).into()])?;
        Ok(dst)
    }
}
