//! Max pooling: rows of pixels to a row for every image.

use super::super::build::Build;
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::kernels::{MaxPool, MaxPoolGrad};
use crate::tensor::DType;

fn pool(net: &Build<'_>, number: usize, window: [usize; 2], dtype: DType) -> MaxPool {
    MaxPool::new(net.options.batch, net.stages[number].from.image, window, dtype)
}

pub(in crate::nn) fn forward(net: &mut Build<'_>, number: usize, window: [usize; 2]) -> Result<CallId> {
    let pool = pool(net, number, window, net.types.values[number]);
    net.program
        .call(pool, &[net.values[number], net.values[number + 1]])
}

/// The gradient back to where the largest number stood.
pub(in crate::nn) fn backward(
    net: &mut Build<'_>,
    number: usize,
    window: [usize; 2],
    dy: TensorId,
) -> Result<TensorId> {
    let dx = net.gradient(number, net.stages[number].from)?;
    let pool = pool(net, number, window, net.types.values[number]);
    let grad = MaxPoolGrad::new(pool).with_gradients(net.types.gradients[number]);
    net.program.call(grad, &[net.values[number], dy, dx])?;
    Ok(dx)
}
