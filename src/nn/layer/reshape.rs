//! Rows of images to rows of pixels and back: copies, as patches of one pixel and of a whole image.

use super::super::build::Build;
use super::super::model::{Lying, Shape};
use super::super::network::ld;
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::kernels::Patches;
use crate::tensor::DType;

/// The copy that makes `to` of the same images lying the other way.
pub(super) fn copy(batch: usize, to: Shape, dtype: DType) -> Patches {
    let [height, width, _] = to.image;
    match to.lying {
        Lying::Pixels => Patches::new(batch, to.image, [1, 1], dtype).of_rows(ld(dtype, to.numbers())),
        Lying::Rows => Patches::new(batch, to.image, [height, width], dtype),
    }
}

pub(in crate::nn) fn forward(net: &mut Build<'_>, number: usize) -> Result<CallId> {
    let dtype = net.types.values[number];
    let copy = copy(net.options.batch, net.stages[number].to, dtype);
    net.program
        .call(copy, &[net.values[number], net.values[number + 1]])
}

/// The same numbers lying as they did.
pub(in crate::nn) fn backward(net: &mut Build<'_>, number: usize, dy: TensorId) -> Result<TensorId> {
    let from = net.stages[number].from;
    let dx = net.gradient(number, from)?;
    let copy = copy(net.options.batch, from, net.types.gradients[number]);
    net.program.call(copy, &[dy, dx])?;
    Ok(dx)
}
