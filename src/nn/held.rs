//! Gradients that are looked at, all of them, before any is used: the device decides whether the step is taken and what
//! they are multiplied by.

use super::build::{Build, tensor};
use super::network::Parameter;
use super::optimizer::{Optimizer, gradient_type};
use super::scaling::LossScale;
use crate::device::{Condition, Program, TensorId};
use crate::error::Result;
use crate::kernels::{Decide, SoftmaxCrossEntropy, Squares};
use crate::tensor::DType;

/// What is decided, and what by.
#[derive(Debug)]
pub(super) struct Held {
    op: Decide,
    scaled: Option<LossScale>,
    state: TensorId,
    values: TensorId,
}

/// What a state says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) scale: f32,
    pub(super) skipped: u32,
    /// The step that ended the training, and the first of the layers that did it, from 0.
    pub(super) failed: Option<(u32, usize)>,
}

impl Held {
    /// Pushes the squares of these parameters' gradients, the decision, and the updates on its condition.
    pub(super) fn push(net: &mut Build<'_>, gradients: Vec<(usize, TensorId)>) -> Result<Self> {
        // Where one place is f64, all are.
        let sums = match net.recipe.weights {
            DType::F64 => DType::F64,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => DType::F32,
        };
        // A matrix and a bias a layer.
        let mut op = Decide::new(net.parameters.len(), 2, sums);
        op.clip = net.options.clip.map(Into::into);
        op.growth = net.recipe.loss_scale.map(|scale| scale.growth.max(1));
        op.betas = match net.options.optimizer {
            Optimizer::Sgd => None,
            Optimizer::AdamW { beta1, beta2, .. } => Some([beta1.into(), beta2.into()]),
        };
        let words = Squares::new(1, 1, sums).slot_words() * op.parameters;
        let count = &mut net.memory.gradients;
        let squares = tensor(&mut net.program, count, DType::U32, [1, words])?;
        let state = tensor(
            &mut net.program,
            count,
            DType::U32,
            [1, Decide::STATE + op.layers()],
        )?;
        let names: &[_] = match op.betas {
            None => &["gradient_factor", SoftmaxCrossEntropy::LOSS_SCALE],
            Some(_) => &[
                "gradient_factor",
                SoftmaxCrossEntropy::LOSS_SCALE,
                "correction1",
                "correction2",
            ],
        };
        let values = tensor(&mut net.program, count, DType::F32, [1, names.len()])?;
        for (word, name) in (0..).zip(names) {
            net.program.feed(name, values, word)?;
        }
        for &(slot, gradient) in &gradients {
            let Parameter {
                rows, cols, layer, ..
            } = net.parameters[slot];
            let dtype = gradient_type(&net.recipe.places_of(layer), net.options);
            let op = Squares {
                slot,
                ..Squares::new(rows, cols, dtype)
            };
            net.program.call(op, &[gradient, squares])?;
        }
        net.program.call(op.clone(), &[squares, state, values])?;
        net.program
            .when(Some(Condition::equal(state, Decide::TAKES, 1)))?;
        for (id, gradient) in gradients {
            net.update_one(id, gradient)?;
        }
        net.program.when(None)?;
        let scaled = net.recipe.loss_scale;
        let held = Self {
            op,
            scaled,
            state,
            values,
        };
        let start = held.start();
        held.write(&mut net.program, &start)?;
        Ok(held)
    }

    /// The words before the first step.
    pub(super) fn start(&self) -> Vec<u32> {
        let exponent = self.scaled.map_or(0, |scale| scale.start());
        let mut words = self.op.start(exponent);
        words.resize(self.words(), 1f32.to_bits());
        words[Decide::STATE + self.op.layers() + 1] = f32::exp2(exponent as f32).to_bits();
        words
    }

    /// How many words it has: state and values.
    pub(super) fn words(&self) -> usize {
        let values = if self.op.betas.is_some() { 4 } else { 2 };
        Decide::STATE + self.op.layers() + values
    }

    /// Its tensors, and how many words of each count.
    pub(super) fn tensors(&self) -> [(TensorId, usize); 2] {
        let state = Decide::STATE + self.op.layers();
        [(self.state, state), (self.values, self.words() - state)]
    }

    /// Takes up as many words.
    pub(super) fn write(&self, program: &mut Program, words: &[u32]) -> Result<()> {
        let (state, values) = words.split_at(words.len().min(Decide::STATE + self.op.layers()));
        program.write_codes(self.state, &[state])?;
        program.write_codes(self.values, &[values])
    }

    /// What the words say.
    pub(super) fn decided(&self, words: &[u32]) -> Decided {
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let failed = word(Decide::FAILED);
        let layers = words.get(Decide::STATE..).unwrap_or_default();
        let layer = layers.iter().position(|&first| first == failed).unwrap_or(0);
        Decided {
            scale: f32::exp2(word(Decide::EXPONENT).cast_signed() as f32),
            skipped: word(Decide::SKIPPED),
            failed: (failed > 0).then_some((failed, layer)),
        }
    }

    /// Whether the loss is scaled.
    pub(super) fn is_scaled(&self) -> bool {
        self.scaled.is_some()
    }
}
