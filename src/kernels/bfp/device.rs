use crate::device::{Device, Slot, Tensor};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::block::BfpFormat;
use crate::format::random::Draw;
use crate::kernels::{BfpDecode, BfpEncode, BfpMatmul};
use crate::tensor::{DType, Layout};

/// A block floating point tensor's format, rows and columns.
fn block(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<(BfpFormat, usize, usize)> {
    match tensor.layout() {
        Layout::Bfp { format, rows, cols } => Ok((*format, *rows, *cols)),
        other => {
            let expected = "a block floating point tensor".to_string();
            Err(Error::Shape {
                op,
                operand,
                expected,
                got: other.shape(),
            })
        }
    }
}

impl Device {
    /// Encodes a dense f32 or bf16 tensor into block floating point, blocks along its last extent (all others
    /// become rows). See [`BfpEncode`].
    ///
    /// # Errors
    /// Other types, out of memory, or device lost.
    pub fn bfp_encode(
        &self,
        src: &Tensor,
        format: BfpFormat,
        rounding: Rounding,
        draw: Draw,
    ) -> Result<Tensor> {
        let (from, src_ld) = crate::device::dense("bfp_encode", "src", src)?;
        let (rows, cols) = (src.layout().rows(), src.layout().cols());
        let mut dst = self.zeros(Layout::Bfp { format, rows, cols })?;
        let op = BfpEncode {
            format,
            from,
            rows,
            cols,
            src_ld,
            rounding,
            draw,
        };
        // Two parts of one tensor are written: each is lent as a tensor of its own.
        let mut parts = dst.split_parts();
        let [codes, exponents] = parts.as_mut_slice() else {
            return Err(Error::Operands {
                op: "bfp_encode",
                expected: 2,
                got: 0,
            });
        };
        self.run(
            &op,
            &mut [src.into(), Slot::Out(codes, 0), Slot::Out(exponents, 0)],
        )?;
        dst.join_parts(parts);
        Ok(dst)
    }

    /// Decodes block floating point to f32 or bf16. See [`BfpDecode`].
    ///
    /// # Errors
    /// Another layout or type, out of memory, or device lost.
    pub fn bfp_decode(&self, src: &Tensor, to: DType) -> Result<Tensor> {
        let (format, rows, cols) = block("bfp_decode", "src", src)?;
        let layout = Layout::dense(to, &[rows, cols]);
        let dst_ld = cols.next_multiple_of(to.row_multiple());
        let mut dst = self.zeros(layout)?;
        let op = BfpDecode {
            format,
            to,
            rows,
            cols,
            dst_ld,
        };
        self.run(&op, &mut [Slot::In(src, 0), Slot::In(src, 1), (&mut dst).into()])?;
        Ok(dst)
    }

    /// `A B^T` of two block floating point matrices of one format, `[M, K]` and `[N, K]`, in f32. See
    /// [`BfpMatmul`].
    ///
    /// # Errors
    /// [`Error::Dimension`] where formats or K disagree; out of memory, or device lost.
    pub fn bfp_matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        const OP: &str = "bfp_matmul";
        let (format, m, k) = block(OP, "a", a)?;
        let (b_format, n, b_k) = block(OP, "b", b)?;
        for (dimension, left, right) in [
            ("K", k as u64, b_k as u64),
            ("block", format.block().into(), b_format.block().into()),
            ("bits", format.bits().into(), b_format.bits().into()),
        ] {
            if left != right {
                let (left_name, right_name) = ("a", "b");
                return Err(Error::Dimension {
                    op: OP,
                    dimension,
                    left_name,
                    left,
                    right_name,
                    right,
                });
            }
        }
        let mut c = self.zeros(Layout::dense(DType::F32, &[m, n]))?;
        let op = BfpMatmul::new(m, n, k, format);
        let operands = [Slot::In(a, 0), Slot::In(a, 1), Slot::In(b, 0), Slot::In(b, 1)];
        let mut slots: Vec<_> = operands.into_iter().collect();
        slots.push((&mut c).into());
        self.run(&op, &mut slots)?;
        Ok(c)
    }
}
