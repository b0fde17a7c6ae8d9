//! A ReLU that ends no product (those have it as their last step): `y = max(x, 0)`.

use super::super::build::Build;
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::kernels::Relu;

pub(in crate::nn) fn forward(net: &mut Build<'_>, number: usize) -> Result<CallId> {
    let [rows, cols] = net.stages[number].to.tensor(net.options.batch);
    let relu = Relu::new(rows, cols, net.types.values[number]);
    net.program
        .call(relu, &[net.values[number], net.values[number + 1]])
}

/// `dx = dy` where y is above zero, in dy's place.
pub(in crate::nn) fn backward(net: &mut Build<'_>, number: usize, dy: TensorId) -> Result<TensorId> {
    net.mask(number, dy)?;
    Ok(dy)
}
