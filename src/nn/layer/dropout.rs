//! Dropout: numbers drawn to be 0, the others larger by as much. The gradient draws the same bits again.

use super::super::build::Build;
use super::super::network::DROPOUT;
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::format::random::{Draw, stream};
use crate::kernels::Dropout;
use crate::op::Scalar;
use crate::tensor::DType;

fn dropout(net: &Build<'_>, number: usize, p: Scalar, dtype: DType) -> Dropout {
    let stage = net.stages[number];
    let [rows, cols] = stage.to.tensor(net.options.batch);
    let mut dropout = Dropout::new(rows, cols, dtype, p.get());
    // Seed and step are the program's.
    dropout.draw = Draw {
        generator: net.options.generator,
        stream: stream(DROPOUT, stage.layer as u32),
        ..Draw::default()
    };
    dropout
}

pub(in crate::nn) fn forward(net: &mut Build<'_>, number: usize, p: Scalar) -> Result<CallId> {
    let dropout = dropout(net, number, p, net.types.values[number]);
    if !net.evaluating {
        net.claim_id(DROPOUT, net.stages[number].layer as u32)?;
    }
    net.program
        .call(dropout, &[net.values[number], net.values[number + 1]])
}

/// The same on dy, in its place.
pub(in crate::nn) fn backward(
    net: &mut Build<'_>,
    number: usize,
    p: Scalar,
    dy: TensorId,
) -> Result<TensorId> {
    let dropout = Dropout {
        in_place: true,
        ..dropout(net, number, p, net.types.gradients[number])
    };
    net.program.call(dropout, &[dy])?;
    Ok(dy)
}
