use crate::device::{Device, Slot, Tensor};
use crate::error::{Error, Result};
use crate::kernels::Spmv;
use crate::tensor::{Csr, DType, Layout};

impl Device {
    /// Uploads a sparse matrix with column indices as `U32` or packed `U16` and values as `F32` or packed `Bf16`
    /// (to nearest). How its rows differ in length is looked at here, once, and decides which kernels serve it.
    ///
    /// # Errors
    /// Columns that do not fit `U16`, other types, out of memory, or past a limit of the device.
    pub fn from_csr(&self, matrix: &Csr, index: DType, values: DType) -> Result<Tensor> {
        let [row_ptr, col_idx, words] = matrix.words(index, values)?;
        let (rows, cols, nnz) = (matrix.rows(), matrix.cols(), matrix.nnz());
        let layout = Layout::Csr {
            rows,
            cols,
            nnz,
            index,
            values,
            longest_row: Some(matrix.row_stats().max),
        };
        self.from_words(layout, &[&row_ptr, &col_idx, &words])
    }

    /// A sparse matrix times a dense f32 or bf16 vector, in f32. See [`Spmv`].
    ///
    /// # Errors
    /// [`Error::Shape`] for a dense matrix, [`Error::Dimension`] where columns and length disagree; out of
    /// memory, or device lost.
    pub fn spmv(&self, a: &Tensor, x: &Tensor) -> Result<Tensor> {
        const OP: &str = "spmv";
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
        let (dtype, _) = crate::device::dense(OP, "x", x)?;
        if x.layout().rows() != 1 {
            let expected = "a vector".to_string();
            return Err(Error::Shape {
                op: OP,
                operand: "x",
                expected,
                got: x.shape(),
            });
        }
        let (left, right) = (cols as u64, x.layout().cols() as u64);
        if left != right {
            let (left_name, right_name) = ("a", "x");
            return Err(Error::Dimension {
                op: OP,
                dimension: "columns",
                left_name,
                left,
                right_name,
                right,
            });
        }
        let mut y = self.zeros(Layout::dense(DType::F32, &[rows]))?;
        let op = Spmv {
            rows,
            cols,
            nnz,
            index,
            values,
            x: dtype,
            longest_row,
        };
        let parts = [Slot::In(a, 0), Slot::In(a, 1), Slot::In(a, 2), x.into()];
        let mut slots: Vec<_> = parts.into_iter().collect();
        slots.push((&mut y).into());
        self.run(&op, &mut slots)?;
        Ok(y)
    }
}
