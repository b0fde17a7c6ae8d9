//! Products of tensors.

use crate::device::dense;
use crate::device::{Device, Slot, Tensor};
use crate::error::{Error, Result};
use crate::format::random::Draw;
use crate::format::{Elements, Rounding};
use crate::kernels::{Matmul, MatrixLayout};
use crate::tensor::{DType, Layout};

const OP: &str = "matmul";

/// What [`Device::matmul_with`] does beside multiplying. See [`Matmul`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MatmulOptions {
    /// A is stored `[.., K, M]`.
    pub transpose_a: bool,
    /// B is stored `[.., N, K]`.
    pub transpose_b: bool,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of what C held; [`Device::matmul_into`] only.
    pub beta: f32,
    /// Negative results become zero.
    pub relu: bool,
    /// Type of the result; without one f64 for f64 operands, else f32. [`Device::matmul_into`] takes C's.
    pub output: Option<DType>,
    /// How results are rounded to bf16.
    pub rounding: Rounding,
    /// What stochastic rounding draws from.
    pub draw: Draw,
}

impl Default for MatmulOptions {
    fn default() -> Self {
        Self {
            transpose_a: false,
            transpose_b: false,
            alpha: 1.0,
            beta: 0.0,
            relu: false,
            output: None,
            rounding: Rounding::Nearest,
            draw: Draw::default(),
        }
    }
}

impl Device {
    /// The product of `[M, K]` and `[K, N]`, or of `[B, M, K]` and `[B, K, N]` (or `[K, N]`, for all batches):
    /// f64 for f64 operands, else f32. A tensor of codes is a matrix whose rows lie along K: A as it is, B transposed
    /// ([`MatmulOptions::transpose_b`]). See [`Matmul`].
    ///
    /// # Errors
    /// Shapes that do not fit, types that are not f32, bf16 or f64, f64 on a GPU, out of memory, device lost.
    pub fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.matmul_with(a, b, None, &MatmulOptions::default())
    }

    /// The same with transposed operands, a bias of N elements for every row, and other options.
    ///
    /// # Errors
    /// See [`Device::matmul`]; `beta` that is not 0.
    pub fn matmul_with(
        &self,
        a: &Tensor,
        b: &Tensor,
        bias: Option<&Tensor>,
        options: &MatmulOptions,
    ) -> Result<Tensor> {
        if options.beta != 0.0 {
            return Err(Error::Value {
                op: OP,
                what: "beta",
                value: options.beta.to_string(),
                expected: "0 where there is no C to add (see Device::matmul_into)",
            });
        }
        let default = match a.dtype() {
            Some(DType::F64) => DType::F64,
            Some(DType::F32 | DType::Bf16 | DType::U32 | DType::U16) | None => DType::F32,
        };
        let (op, shape) = product(a, b, bias, options, options.output.unwrap_or(default))?;
        let mut c = self.zeros(Layout::dense(op.c.dtype(), &shape))?;
        self.multiply(&op, a, b, bias, &mut c)?;
        Ok(c)
    }

    /// The same into a tensor that exists, to which `beta` times what it held may be added.
    ///
    /// # Errors
    /// See [`Device::matmul`]; C of another shape than the product.
    pub fn matmul_into(
        &self,
        a: &Tensor,
        b: &Tensor,
        bias: Option<&Tensor>,
        c: &mut Tensor,
        options: &MatmulOptions,
    ) -> Result<()> {
        let (dtype, ld) = dense(OP, "c", c)?;
        let (mut op, shape) = product(a, b, bias, options, dtype)?;
        if c.shape() != shape {
            return Err(Error::Shape {
                op: OP,
                operand: "c",
                expected: format!("{shape:?}"),
                got: c.shape(),
            });
        }
        (op.c.ld, op.c.batch_stride) = (ld, op.m * ld);
        self.multiply(&op, a, b, bias, c)
    }

    fn multiply(
        &self,
        op: &Matmul,
        a: &Tensor,
        b: &Tensor,
        bias: Option<&Tensor>,
        c: &mut Tensor,
    ) -> Result<()> {
        self.run(op, &mut slots(a, b, bias, c))
    }
}

/// The parts of the operands, in the operation's order.
pub(super) fn slots<'a>(
    a: &'a Tensor,
    b: &'a Tensor,
    bias: Option<&'a Tensor>,
    c: &'a mut Tensor,
) -> Vec<Slot<'a>> {
    let parts =
        |tensor: &'a Tensor| (0..tensor.layout().parts().len()).map(move |part| Slot::In(tensor, part));
    let mut slots: Vec<_> = parts(a).chain(parts(b)).collect();
    slots.push(c.into());
    slots.extend(bias.map(Slot::from));
    slots
}

/// The operation for these tensors, and the shape of its result.
pub(super) fn product(
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
    options: &MatmulOptions,
    output: DType,
) -> Result<(Matmul, Vec<usize>)> {
    let (a_batch, a_extents, a_matrix) = matrix("a", a, options.transpose_a)?;
    let (b_batch, b_extents, b_matrix) = matrix("b", b, options.transpose_b)?;
    let ([m, k], [k_of_b, n]) = (a_extents, b_extents);
    let agree = |dimension, left: usize, right: usize, names: [&'static str; 2]| match left == right {
        true => Ok(()),
        false => Err(Error::Dimension {
            op: OP,
            dimension,
            left_name: names[0],
            left: left as u64,
            right_name: names[1],
            right: right as u64,
        }),
    };
    agree("K", k, k_of_b, ["a", "b"])?;
    if let (Some(left), Some(right)) = (a_batch, b_batch) {
        agree("batches", left, right, ["a", "b"])?;
    }
    let bias = match bias {
        Some(bias) => {
            agree("N", n, bias.shape().iter().product(), ["b", "bias"])?;
            if bias.layout().rows() > 1 {
                let expected = format!("[{n}]");
                return Err(Error::Shape {
                    op: OP,
                    operand: "bias",
                    expected,
                    got: bias.shape(),
                });
            }
            Some(dense(OP, "bias", bias)?.0)
        }
        None => None,
    };
    let batch = a_batch.or(b_batch);
    let base =
        Matmul::new(m, n, k)
            .batch(batch.unwrap_or(1))
            .types(a_matrix.elements, b_matrix.elements, output);
    let op = Matmul {
        a: a_matrix,
        b: b_matrix,
        alpha: options.alpha.into(),
        beta: options.beta.into(),
        bias,
        relu: options.relu,
        rounding: options.rounding,
        draw: options.draw,
        ..base
    };
    Ok((op, batch.into_iter().chain([m, n]).collect()))
}

/// A tensor's batches if it has three extents, its matrices' extents once transposed, and their storage.
fn matrix(
    operand: &'static str,
    tensor: &Tensor,
    transposed: bool,
) -> Result<(Option<usize>, [usize; 2], MatrixLayout)> {
    let (elements, ld) = match *tensor.layout() {
        Layout::Coded { format, cols, .. } => (Elements::Coded(format), cols),
        _ => {
            let (dtype, ld) = dense(OP, operand, tensor)?;
            (Elements::Plain(dtype), ld)
        }
    };
    let (batch, [rows, cols]) = match tensor.shape()[..] {
        [rows, cols] => (None, [rows, cols]),
        [batch, rows, cols] => (Some(batch), [rows, cols]),
        _ => {
            return Err(Error::Shape {
                op: OP,
                operand,
                expected: "two extents, or three with batches first".to_string(),
                got: tensor.shape(),
            });
        }
    };
    let storage = MatrixLayout {
        elements,
        ld,
        // Without batches every product reads the same matrix.
        batch_stride: if batch.is_some() { rows * ld } else { 0 },
        transposed,
    };
    Ok((
        batch,
        if transposed { [cols, rows] } else { [rows, cols] },
        storage,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, from: i32) -> Vec<f32> {
        (from..).take(len).map(|value| value as f32).collect()
    }

    #[test]
    fn shapes_decide_the_product() -> Result<()> {
        let device = Device::reference();
        let a = device.from_f32(&[2, 3], &numbers(6, 1))?;
        let b = device.from_f32(&[3, 2], &numbers(6, -2))?;
        let c = device.matmul(&a, &b)?;
        assert_eq!(c.shape(), [2, 2]);
        assert_eq!(c.read_blocking()?, [4.0, 10.0, 4.0, 19.0]);

        let options = MatmulOptions {
            transpose_b: true,
            ..MatmulOptions::default()
        };
        // A times its own transpose.
        let square = device.matmul_with(&a, &a, None, &options)?;
        assert_eq!(square.read_blocking()?, [14.0, 32.0, 32.0, 77.0]);
        let mut sum = device.from_f32(&[2, 2], &[1.0; 4])?;
        let bias = device.from_f32(&[2], &[100.0, 200.0])?;
        let options = MatmulOptions { beta: 2.0, ..options };
        device.matmul_into(&a, &a, Some(&bias), &mut sum, &options)?;
        assert_eq!(sum.read_blocking()?, [116.0, 234.0, 134.0, 279.0]);

        // Two batches of A, one B for both.
        let stack = device.from_f32(&[2, 1, 3], &numbers(6, 1))?;
        let c = device.matmul(&stack, &b)?;
        assert_eq!(c.shape(), [2, 1, 2]);
        assert_eq!(c.read_blocking()?, [4.0, 10.0, 4.0, 19.0]);
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_typed_errors() -> Result<()> {
        let device = Device::reference();
        let a = device.from_f32(&[2, 3], &numbers(6, 0))?;
        let stacks = [3, 2].map(|batch| device.from_f32(&[batch, 3, 3], &numbers(batch * 9, 0)));
        let [three, two] = stacks;
        let (three, two) = (three?, two?);
        for (left, right, dimension) in [(&a, &a, "K"), (&three, &two, "batches")] {
            let found = device.matmul(left, right);
            assert!(matches!(found, Err(Error::Dimension { dimension: found, .. }) if found == dimension));
        }
        let short = device.from_f32(&[2], &[0.0; 2])?;
        let found = device.matmul_with(&two, &three, Some(&short), &MatmulOptions::default());
        assert!(matches!(found, Err(Error::Dimension { .. })));
        let vector = device.matmul(&short, &a);
        assert!(matches!(vector, Err(Error::Shape { operand: "a", .. })));
        let options = MatmulOptions {
            beta: 1.0,
            ..MatmulOptions::default()
        };
        let found = device.matmul_with(&a, &two, None, &options);
        assert!(matches!(found, Err(Error::Value { what: "beta", .. })));
        Ok(())
    }
}
