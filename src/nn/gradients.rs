//! Where the gradients of a network lie.

use super::mlp::{MemoryUse, Parameter, tensor};
use super::recipe::Recipe;
use super::train::TrainOptions;
use crate::device::{Program, TensorId};
use crate::error::Result;
use crate::tensor::{DType, Layout};

/// One memory serves the gradients of all layers' weights, one those of their biases, and two those of activations:
/// the one read and the one written. Every layer sees them by its own extents.
pub(super) struct Gradients {
    pub(super) weights: Vec<TensorId>,
    pub(super) bias: Vec<TensorId>,
    /// Of the outputs of every layer.
    pub(super) outputs: Vec<TensorId>,
}

impl Gradients {
    pub(super) fn new(
        program: &mut Program,
        memory: &mut MemoryUse,
        recipe: &Recipe,
        options: &TrainOptions,
        parameters: &[Parameter],
    ) -> Result<Self> {
        let mut shared =
            |shapes: Vec<[usize; 2]>| views(program, &mut memory.gradients, recipe.gradients, &shapes);
        let of = |bias| {
            let own = parameters.iter().filter(move |parameter| parameter.bias == bias);
            own.map(|parameter| [parameter.rows, parameter.cols]).collect()
        };
        let (weights, bias) = (shared(of(false))?, shared(of(true))?);
        let widths = &options.layers[1..];
        let shapes: Vec<_> = widths.iter().map(|&width| [options.batch, width]).collect();
        let turns = [shared(shapes.clone())?, shared(shapes)?];
        // The last layer's lie in the first memory.
        let turn = |layer: usize| turns[(widths.len() - 1 - layer) % 2][layer];
        Ok(Self {
            weights,
            bias,
            outputs: (0..widths.len()).map(turn).collect(),
        })
    }
}

/// A tensor for each of the shapes, all over one memory that holds the largest.
fn views(
    program: &mut Program,
    count: &mut u64,
    dtype: DType,
    shapes: &[[usize; 2]],
) -> Result<Vec<TensorId>> {
    let layout = |shape: &[usize; 2]| Layout::dense(dtype, shape);
    let Some(&largest) = shapes.iter().max_by_key(|shape| layout(shape).bytes()) else {
        return Ok(Vec::new());
    };
    let memory = tensor(program, count, dtype, largest)?;
    let view = |shape| program.view(memory, layout(shape));
    shapes.iter().map(view).collect()
}
