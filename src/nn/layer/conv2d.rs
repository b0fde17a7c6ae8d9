//! A 2-D convolution (cross-correlation, as in every framework) as a product over patches: `Y = P W^T + b`, where P has
//! a row for every place of a filter, its numbers in the order window row, window column, channel, and W a row for
//! every filter in the same order.

use super::super::build::Build;
use super::super::model::{Conv, Lying, Shape};
use super::super::network::ld;
use super::{input_gradient, product, reshape, weight_gradients};
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::kernels::{Patches, PatchesGrad};
use crate::tensor::DType;

/// The patches of what the stage reads, if that lies so.
fn patches(net: &Build<'_>, number: usize, conv: Conv, lying: Lying, dtype: DType) -> Patches {
    let from = net.stages[number].from;
    let patches = Patches {
        stride: conv.stride,
        padding: conv.padding,
        ..Patches::new(net.options.batch, from.image, conv.window, dtype)
    };
    match lying {
        Lying::Rows => patches.of_rows(ld(dtype, from.numbers())),
        Lying::Pixels => patches,
    }
}

/// The patches of what the stage reads, made unless they lie there still, as those of the last convolution do when its
/// gradients are made: where they lie, and their rows.
fn gather(net: &mut Build<'_>, number: usize, conv: Conv) -> Result<(TensorId, usize)> {
    let stage = net.stages[number];
    let shape = stage.patches(net.options.batch).unwrap_or_default();
    let dtype = net.types.values[number];
    let memory = net.patches(dtype, shape)?;
    if net.patches_of != Some(number) {
        let patches = patches(net, number, conv, stage.from.lying, dtype);
        net.program.call(patches, &[net.values[number], memory])?;
        net.patches_of = Some(number);
    }
    Ok((memory, shape[0]))
}

pub(in crate::nn) fn forward(net: &mut Build<'_>, number: usize, conv: Conv) -> Result<CallId> {
    let (patches, rows) = gather(net, number, conv)?;
    product(net, number, patches, rows)
}

/// `dW = dY^T P` over the patches, `db` the column sums of dY, and, if something `below` needs it, `dP = dY W`
/// in P's place, summed back onto the pixels.
pub(in crate::nn) fn backward(
    net: &mut Build<'_>,
    number: usize,
    conv: Conv,
    dy: TensorId,
    below: bool,
) -> Result<TensorId> {
    let (memory, rows) = gather(net, number, conv)?;
    let gradients = weight_gradients(net, number, memory, dy, rows)?;
    let mut dx = dy;
    if below {
        let (stage, dtype) = (net.stages[number], net.types.gradients[number]);
        // The patches were read for the last time.
        let memory = net.patches(dtype, stage.patches(net.options.batch).unwrap_or_default())?;
        input_gradient(net, number, dy, memory, rows)?;
        net.patches_of = None;
        let from = stage.from;
        let pixels = Shape {
            lying: Lying::Pixels,
            ..from
        };
        let sums = PatchesGrad::new(patches(net, number, conv, Lying::Pixels, dtype));
        dx = match from.lies(Lying::Pixels) {
            true => net.gradient(number, from)?,
            // dY was read for the last time: what lies by pixels goes into its place, and from there to the other.
            false => net.gradient_in_place(number, pixels)?,
        };
        net.program.call(sums, &[memory, dx])?;
        if !from.lies(Lying::Pixels) {
            let by_pixels = dx;
            dx = net.gradient(number, from)?;
            let copy = reshape::copy(net.options.batch, from, dtype);
            net.program.call(copy, &[by_pixels, dx])?;
        }
    }
    net.update(number, gradients)?;
    Ok(dx)
}
