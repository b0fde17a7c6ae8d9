//! Where the gradients of a network lie.

use super::build::largest;
use super::model::{Lying, Shape, Stage, Work};
use super::network::MemoryUse;
use super::recipe::Recipe;
use crate::device::{Program, TensorId};
use crate::error::{Error, Result};

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
        (batch, held): (usize, bool),
        stages: &[Stage],
    ) -> Result<Self> {
        let weights: Vec<_> = stages.iter().filter_map(Stage::weights).collect();
        let biases: Vec<_> = weights.iter().map(|&[outputs, _]| [1, outputs]).collect();
        // From the first weights on; what that stage reads has no gradient.
        let first = stages.iter().position(|stage| stage.weights().is_some());
        let above = &stages[first.unwrap_or(0)..];
        let mut flows: Vec<_> = above.iter().map(|stage| stage.to.tensor(batch)).collect();
        // A convolution's gradient comes by pixels, and changes how it lies from one memory to the other.
        let by_pixels = above.iter().skip(1).filter_map(|stage| match stage.work {
            Work::Conv2d(_) => Some(Shape {
                lying: Lying::Pixels,
                ..stage.from
            }),
            Work::Linear | Work::MaxPool(_) | Work::Relu | Work::Dropout(_) | Work::Reshape => None,
        });
        flows.extend(by_pixels.map(|shape| shape.tensor(batch)));
        let mut of = |shapes: &[[usize; 2]]| {
            let memory = largest(program, &mut memory.gradients, recipe.gradients, shapes)?;
            memory.ok_or_else(|| Error::Value {
                op: "train",
                what: "layers",
                value: "none with weights".into(),
                expected: "one or more",
            })
        };
        let parameters = match held {
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
