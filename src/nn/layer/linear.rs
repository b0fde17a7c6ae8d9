//! A linear layer: `y = x W^T + b` over rows of images, W stored `[outputs, inputs]`.

use super::super::build::Build;
use super::{input_gradient, product, weight_gradients};
use crate::device::{CallId, TensorId};
use crate::error::Result;

pub(in crate::nn) fn forward(net: &mut Build<'_>, number: usize) -> Result<CallId> {
    product(net, number, net.values[number], net.options.batch)
}

/// `dW = dy^T x`, `db` the column sums of dy, and `dx = dy W` if something `below` needs it.
pub(in crate::nn) fn backward(
    net: &mut Build<'_>,
    number: usize,
    dy: TensorId,
    below: bool,
) -> Result<TensorId> {
    let batch = net.options.batch;
    let gradients = weight_gradients(net, number, net.values[number], dy, batch)?;
    let mut dx = dy;
    if below {
        dx = net.gradient(number, net.stages[number].from)?;
        input_gradient(net, number, dy, dx, batch)?;
    }
    net.update(number, gradients)?;
    Ok(dx)
}
