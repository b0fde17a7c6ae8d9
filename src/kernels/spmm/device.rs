use crate::device::{Device, Slot, Tensor};
use crate::error::{Error, Result};
use crate::kernels::Spmm;
use crate::tensor::{DType, Layout};

impl Device {
    /// A sparse matrix times a dense f32 or bf16 matrix, as f32 or bf16 (to nearest), with sums in f32. See
    /// [`Spmm`].
    ///
    /// # Errors
    /// [`Error::Shape`] where `a` is dense or `b` has not two extents, [`Error::Dimension`] where A's columns and
    /// B's rows disagree; other types, out of memory, or device lost.
    pub fn spmm(&self, a: &Tensor, b: &Tensor, to: DType) -> Result<Tensor> {
        const OP: &str = "spmm";
        let &Layout::Csr {
            rows,
            cols,
            nnz,
            index,
            values,
            longest_row,
        } = a.layout()
        else {
            let expected = "a sparse matrix (CSR)".to_string();
            return Err(Error::Shape {
                op: OP,
                operand: "a",
                expected,
                got: a.shape(),
            });
        };
        let (dtype, b_ld) = crate::device::dense(OP, "b", b)?;
        let &[b_rows, n] = b.shape().as_slice() else {
            let expected = "two extents".to_string();
            return Err(Error::Shape {
                op: OP,
                operand: "b",
                expected,
                got: b.shape(),
            });
        };
        if b_rows != cols {
            return Err(Error::Dimension {
                op: OP,
                dimension: "K",
                left_name: "a",
                left: cols as u64,
                right_name: "b",
                right: b_rows as u64,
            });
        }
        let mut c = self.zeros(Layout::dense(to, &[rows, n]))?;
        let (_, c_ld) = crate::device::dense(OP, "c", &c)?;
        let op = Spmm {
            rows,
            cols,
            nnz,
            n,
            index,
            values,
            b: dtype,
            b_ld,
            c: to,
            c_ld,
            longest_row,
        };
        let mut slots = vec![Slot::In(a, 0), Slot::In(a, 1), Slot::In(a, 2), b.into()];
        slots.push((&mut c).into());
        self.run(&op, &mut slots)?;
        Ok(c)
    }
}
