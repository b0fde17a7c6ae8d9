//! Where the gradients of a network lie.

use super::build::largest;
use super::model::{Lying, Shape, Stage, Work};
use super::network::MemoryUse;
use super::recipe::Recipe;
use crate::device::{Program, TensorId};
use crate::error::{Error, Result};

/// One memory serves the gradients of all stages' weights, one those of their biases, and two those of activations:
/// the one read and the one written. Every stage sees them by its own extents.
pub(super) struct Gradients {
    pub(super) weights: TensorId,
    pub(super) bias: TensorId,
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
        batch: usize,
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
        Ok(Self {
            weights: of(&weights)?,
            bias: of(&biases)?,
            turns: [of(&flows)?, of(&flows)?],
            turn: 1,
        })
    }
}
