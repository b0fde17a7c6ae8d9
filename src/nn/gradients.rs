//! Where the gradients of a network lie.

use super::build::largest;
use super::model::{Lying, Shape, Stage, Work};
use super::network::MemoryUse;
use super::places::Types;
use super::recipe::Recipe;
use crate::device::{Program, TensorId};
use crate::error::{Error, Result};
use crate::tensor::DType;

/// One memory serves the gradients of all stages' weights, one those of their biases, and two those of activations:
/// the one read and the one written. Every stage sees them by its own extents. Where all gradients are looked at before
/// any is used, each layer's weights and biases have memory of their own.
pub(super) struct Gradients {
    /// Of weights and of biases, layer by layer; or one of each for all layers.
    parameters: Vec<[TensorId; 2]>,
    /// Of activations.
    pub(super) turns: [TensorId; 2],
    /// In which of the two the last one lies.
    pub(super) turn: usize,
}

impl Gradients {
    pub(super) fn new(
        program: &mut Program,
        memory: &mut MemoryUse,
        recipe: &Recipe,
        (batch, apart): (usize, bool),
        stages: &[Stage],
    ) -> Result<Self> {
        let types = Types::new(recipe, stages).gradients;
        let own = |layer| recipe.places_of(layer).weight_gradients;
        let weights: Vec<_> = stages.iter().filter_map(Stage::weights).enumerate().collect();
        let biases: Vec<_> = weights
            .iter()
            .map(|&(layer, [outputs, _])| (own(layer), [1, outputs]))
            .collect();
        let weights: Vec<_> = weights
            .into_iter()
            .map(|(layer, shape)| (own(layer), shape))
            .collect();
        // From the first weights on; what that stage reads has no gradient.
        let first = stages.iter().position(|stage| stage.weights().is_some());
        let first = first.unwrap_or(0);
        let above = &stages[first..];
        let made = above.iter().zip(&types[first + 1..]);
        let mut flows: Vec<_> = made
            .map(|(stage, dtype)| (*dtype, stage.to.tensor(batch)))
            .collect();
        // A convolution's gradient comes by pixels, and changes how it lies from one memory to the other.
        let read = above.iter().zip(&types[first..]).skip(1);
        let by_pixels = read.filter_map(|(stage, dtype)| match stage.work {
            Work::Conv2d(_) => {
                let shape = Shape {
                    lying: Lying::Pixels,
                    ..stage.from
                };
                Some((*dtype, shape.tensor(batch)))
            }
            Work::Linear | Work::MaxPool(_) | Work::Relu | Work::Dropout(_) | Work::Reshape => None,
        });
        flows.extend(by_pixels);
        let mut of = |shapes: &[(DType, [usize; 2])]| {
            let memory = largest(program, &mut memory.gradients, shapes)?;
            memory.ok_or_else(|| Error::Value {
                op: "train",
                what: "layers",
                value: "none with weights".into(),
                expected: "one or more",
            })
        };
        let parameters = match apart {
            true => weights
                .iter()
                .zip(&biases)
                .map(|(weight, bias)| Ok([of(&[*weight])?, of(&[*bias])?]))
                .collect::<Result<_>>()?,
            false => vec![[of(&weights)?, of(&biases)?]],
        };
        Ok(Self {
            parameters,
            turns: [of(&flows)?, of(&flows)?],
            turn: 1,
        })
    }
}

impl Gradients {
    /// Where those of a layer's weights and biases go.
    pub(super) fn of_layer(&self, layer: usize) -> [TensorId; 2] {
        self.parameters[layer.min(self.parameters.len() - 1)]
    }
}
