//! The layers, each in a file: the operations that it pushes onto a network's program, forward and backward.
//!
//! `forward` reads what the stage below made and returns the call whose output the next one reads. `backward` is given
//! the gradient of what the stage made, masked by its ReLU, and returns that of what it read.

pub(super) mod conv2d;
pub(super) mod dropout;
mod fmac;
pub(super) mod linear;
pub(super) mod max_pool;
mod operands;
pub(super) mod relu;
pub(super) mod reshape;

pub(super) use operands::Encoded;
use operands::{Along, Factor};

use super::build::Build;
use super::precision::Place;
use super::products::Accumulator;
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::kernels::{ColumnSums, Matmul};
use crate::tensor::Layout;

/// `y = x W^T + b`, and the stage's ReLU if it has one, over so many rows.
fn product(net: &mut Build<'_>, number: usize, x: TensorId, rows: usize) -> Result<CallId> {
    if let Accumulator::Bf16 { chunk, rounding } = net.products(number).accumulators.outputs {
        return fmac::forward(net, number, x, rows, (chunk, rounding));
    }
    let [w, b] = net.parameters_of(number).map(|id| net.parameters[id].values);
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let (from, made) = (net.types.values[number], net.types.values[number + 1]);
    let weights = net.places(number).weights;
    let factors = [
        Factor::new(Place::Activations, (x, from), [rows, inputs], Along::Columns),
        Factor::new(Place::Weights, (w, weights), [outputs, inputs], Along::Columns),
    ];
    let product = Matmul::new(rows, outputs, inputs).bias(weights);
    let product = match net.stages[number].relu {
        true => product.relu(),
        false => product,
    };
    net.multiply(number, 0, product, made, factors, &[net.values[number + 1], b])
}

/// `dW = dy^T x` and `db`, the column sums of dy.
fn weight_gradients(
    net: &mut Build<'_>,
    number: usize,
    x: TensorId,
    dy: TensorId,
    rows: usize,
) -> Result<[TensorId; 2]> {
    let (from, flow) = (net.types.values[number], net.types.gradients[number + 1]);
    let own = net.places(number).weight_gradients;
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let layout = |rows, cols| Layout::dense(own, &[rows, cols]);
    let [dw, db] = net.gradients.of_layer(net.layer_of(number));
    let dw = net.program.view(dw, layout(outputs, inputs))?;
    let db = net.program.view(db, layout(1, outputs))?;
    net.measure(number, x, dy, rows)?;
    match net.products(number).accumulators.weight_gradients {
        Accumulator::Bf16 { chunk, rounding } => {
            fmac::weight_gradient(net, number, [dy, x, dw], rows, (chunk, rounding))?;
        }
        Accumulator::Wide => {
            let factors = [
                Factor::new(Place::Gradients, (dy, flow), [rows, outputs], Along::Rows),
                Factor::new(Place::Activations, (x, from), [rows, inputs], Along::Rows),
            ];
            let product = Matmul::new(outputs, inputs, rows);
            net.multiply(number, 2, product, own, factors, &[dw])?;
        }
    }
    net.program
        .call(ColumnSums::new(rows, outputs, flow, own), &[dy, db])?;
    Ok([dw, db])
}

/// `dx = dy W`.
fn input_gradient(net: &mut Build<'_>, number: usize, dy: TensorId, dx: TensorId, rows: usize) -> Result<()> {
    let w = net.parameters[net.parameters_of(number)[0]].values;
    if let Accumulator::Bf16 { chunk, rounding } = net.products(number).accumulators.input_gradients {
        return fmac::input_gradient(net, number, [dy, w, dx], rows, (chunk, rounding));
    }
    let (flow, made) = (net.types.gradients[number + 1], net.types.gradients[number]);
    let weights = net.places(number).weights;
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let factors = [
        Factor::new(Place::Gradients, (dy, flow), [rows, outputs], Along::Columns),
        Factor::new(Place::Weights, (w, weights), [outputs, inputs], Along::Rows),
    ];
    let product = Matmul::new(rows, inputs, outputs);
    net.multiply(number, 1, product, made, factors, &[dx])?;
    Ok(())
}
