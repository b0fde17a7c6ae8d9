//! The layers, each in a file: the operations that it pushes onto a network's program, forward and backward.
//!
//! `forward` reads what the stage below made and returns the call whose output the next one reads. `backward` is given
//! the gradient of what the stage made, masked by its ReLU, and returns that of what it read.

pub(super) mod conv2d;
pub(super) mod dropout;
pub(super) mod linear;
pub(super) mod max_pool;
pub(super) mod relu;
pub(super) mod reshape;

use super::build::Build;
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::kernels::{ColumnSums, Matmul};
use crate::tensor::Layout;

/// `y = x W^T + b`, and the stage's ReLU if it has one, over so many rows.
fn product(net: &mut Build<'_>, number: usize, x: TensorId, rows: usize) -> Result<CallId> {
    let recipe = net.recipe;
    let [w, b] = net.parameters_of(number).map(|id| net.parameters[id].values);
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let (act, weights) = (recipe.activations, recipe.weights);
    let product = Matmul::new(rows, outputs, inputs)
        .types(act, weights, act)
        .transpose_b()
        .bias(weights);
    let product = match net.stages[number].relu {
        true => product.relu(),
        false => product,
    };
    net.program.call(product, &[x, w, net.values[number + 1], b])
}

/// `dW = dy^T x` and `db`, the column sums of dy.
fn weight_gradients(
    net: &mut Build<'_>,
    number: usize,
    x: TensorId,
    dy: TensorId,
    rows: usize,
) -> Result<[TensorId; 2]> {
    let (act, grad) = (net.recipe.activations, net.recipe.gradients);
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let layout = |rows, cols| Layout::dense(grad, &[rows, cols]);
    let dw = net.program.view(net.gradients.weights, layout(outputs, inputs))?;
    let db = net.program.view(net.gradients.bias, layout(1, outputs))?;
    let product = Matmul::new(outputs, inputs, rows)
        .types(grad, act, grad)
        .transpose_a();
    net.program.call(product, &[dy, x, dw])?;
    net.program
        .call(ColumnSums::new(rows, outputs, grad, grad), &[dy, db])?;
    Ok([dw, db])
}

/// `dx = dy W`.
fn input_gradient(net: &mut Build<'_>, number: usize, dy: TensorId, dx: TensorId, rows: usize) -> Result<()> {
    let (weights, grad) = (net.recipe.weights, net.recipe.gradients);
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let w = net.parameters[net.parameters_of(number)[0]].values;
    let product = Matmul::new(rows, inputs, outputs).types(grad, weights, grad);
    net.program.call(product, &[dy, w, dx])?;
    Ok(())
}
