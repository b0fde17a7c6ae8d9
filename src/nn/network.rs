//! A network as one [`Program`]: forward pass, loss, backward pass and update over tensors that are made once.
//!
//! Every stage of the model (src/nn/layer) pushes its operations, forward from the image to the logits, then backward
//! from the logits to the first weights: the gradients of its weights and biases, then that of what it read, and last
//! the fused update, which therefore comes after the last use of the old weights. All stages share one memory for the
//! gradients of weights and one for those of biases, two for those of activations, taking turns, and one for patches.

use std::ops::Bound;

use super::build::Build;
use super::held::Held;
use super::model::with_weights;
use super::precision::Choices;
use super::recipe::Recipe;
use super::train::TrainOptions;
use crate::device::{CallId, Device, Program, TensorId};
use crate::error::{Error, Result};
use crate::format::bf16;
use crate::format::random::{Draw, stream};
use crate::gpu::StepValues;
use crate::kernels::Dropout;
use crate::tensor::{DType, alloc};

/// What random bits are for: the high byte of their stream, the parameter's number (or the layer's) being the rest.
const INIT: u8 = 1;
pub(super) const SHUFFLE: u8 = 2;
pub(super) const WEIGHTS: u8 = 3;
pub(super) const MOMENTUM: u8 = 4;
pub(super) const AUGMENT: u8 = 5;
pub(super) const SECOND: u8 = 6;
pub(super) const DROPOUT: u8 = 7;
pub(super) const SUM: u8 = 8;
pub(super) const PRODUCT: u8 = 16;
pub(super) const ENCODE: u8 = 17;

/// A weight matrix or a bias of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Which of the layers with weights it belongs to, from 0.
    pub layer: usize,
    /// Whether it is the bias (one row) and not the matrix.
    pub bias: bool,
    /// Outputs or filters of the layer, or 1 for a bias.
    pub rows: usize,
    /// The numbers that each of them is a product of (inputs, or those of a patch), or their count for a bias.
    pub cols: usize,
    /// How products see it.
    pub dtype: DType,
    /// Elements from one row to the next.
    pub ld: usize,
    pub(super) values: TensorId,
    pub(super) master: Option<TensorId>,
    pub(super) momentum: TensorId,
    /// AdamW's second moment.
    pub(super) second: Option<TensorId>,
    pub(super) compensation: Option<TensorId>,
}

impl Parameter {
    /// Its name: `layers.0.weight`, `layers.0.bias`.
    #[must_use]
    pub fn name(&self) -> String {
        let what = if self.bias { "bias" } else { "weight" };
        format!("layers.{}.{what}", self.layer)
    }
}

/// Bytes of a network's buffers by their use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Weights and biases as products read them.
    pub weights: u64,
    /// The wider copy of weights and biases, where the recipe has one.
    pub master: u64,
    /// Momentum or moments, and the compensation of weights.
    pub optimizer: u64,
    /// Gradients of weights, biases and activations, and the sums of the former over micro-batches.
    pub gradients: u64,
    /// Inputs, labels, activations, patches and losses of one batch.
    pub activations: u64,
    /// Operands of products as they are encoded, one product at a time.
    pub operands: u64,
    /// All buffers together, scratch memory of the plans included. They all exist from the start, so this is
    /// also the peak.
    pub total: u64,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) program: Program,
    pub(super) parameters: Vec<Parameter>,
    pub(super) input: TensorId,
    pub(super) labels: TensorId,
    /// The logits to learn from.
    pub(super) teacher: Option<TensorId>,
    pub(super) loss: TensorId,
    pub(super) logits: TensorId,
    /// The last call of the forward pass.
    forward: CallId,
    /// The last call of a training step, and of an evaluation, which follows it where it is not the forward pass.
    evaluation: Option<[CallId; 2]>,
    memory: MemoryUse,
    /// What variable precision chooses.
    pub(super) choices: Option<Choices>,
    /// What is decided of gradients that are held back.
    pub(super) held: Option<Held>,
    /// The last call of a micro-step that others follow.
    accumulated: Option<CallId>,
    /// Layers with weights.
    pub(super) layers: usize,
}

/// The leading dimension of rows of `cols` elements.
pub(super) fn ld(dtype: DType, cols: usize) -> usize {
    // Extents that wrap are refused as buffers past every limit.
    cols.checked_next_multiple_of(dtype.row_multiple())
        .unwrap_or(usize::MAX)
}

/// The type of losses: f64 where everything is.
pub(super) fn loss_type(recipe: &Recipe) -> DType {
    match recipe.logits {
        DType::F64 => DType::F64,
        DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => DType::F32,
    }
}

impl Network {
    pub(super) fn new(device: &Device, recipe: &Recipe, options: &TrainOptions) -> Result<Self> {
        let mut network = Self::built(device, recipe, options)?;
        network.initialize(recipe, options.seed)?;
        Ok(network)
    }

    /// The network before its weights are drawn: all zeros.
    pub(super) fn built(device: &Device, recipe: &Recipe, options: &TrainOptions) -> Result<Self> {
        let mut build = Build::new(device, recipe, options)?;
        let forward = build.forward()?;
        build.backward()?;
        let accumulated = (options.accumulate > 1).then(|| build.program.last()).flatten();
        let held = build.held()?;
        build.choose()?;
        let evaluation = build.evaluation()?;
        let mut memory = build.memory;
        memory.total = build.program.bytes();
        Ok(Self {
            program: build.program,
            parameters: build.parameters,
            input: build.input,
            labels: build.labels,
            teacher: build.teacher,
            loss: build.loss,
            logits: build.logits,
            forward,
            evaluation,
            memory,
            choices: build.choices,
            held,
            accumulated,
            layers: with_weights(&build.stages),
        })
    }

    /// He's initialization: normal with variance 2 / inputs; biases 0, momentum 0.
    fn initialize(&mut self, recipe: &Recipe, seed: u64) -> Result<()> {
        for (id, parameter) in (0u32..).zip(&self.parameters) {
            if parameter.bias {
                // Buffers start zeroed.
                continue;
            }
            let (rows, cols) = (parameter.rows, parameter.cols);
            let draw = Draw {
                seed,
                stream: stream(INIT, id),
                ..Draw::default()
            };
            let scale = (2.0 / cols as f64).sqrt();
            let values = normals(draw, rows * cols, scale)?;
            let packed = pack(parameter.dtype, rows, cols, |i| values[i])?;
            self.program.write_words(parameter.values, &[&packed])?;
            if let (Some(dtype), Some(master)) = (recipe.places_of(parameter.layer).master, parameter.master)
            {
                let packed = pack(dtype, rows, cols, |i| values[i])?;
                self.program.write_words(master, &[&packed])?;
            }
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> MemoryUse {
        self.memory
    }

    /// Runs a training step, one that measures or not.
    pub(super) fn run(&mut self, values: &StepValues, measuring: bool) -> Result<()> {
        self.run_to(self.last(), values, measuring)
    }

    /// Runs what a micro-step that others follow does: everything up to the sums of gradients.
    pub(super) fn run_micro(&mut self, values: &StepValues) -> Result<()> {
        let last = self.accumulated.map_or(self.last(), Bound::Included);
        self.run_to(last, values, false)
    }

    /// The end of a training step.
    fn last(&self) -> Bound<CallId> {
        match self.evaluation {
            Some([last, _]) => Bound::Included(last),
            None => Bound::Unbounded,
        }
    }

    fn run_to(&mut self, last: Bound<CallId>, values: &StepValues, measuring: bool) -> Result<()> {
        match self.choices.as_ref().filter(|_| !measuring) {
            Some(choices) => {
                for range in choices.usual(last) {
                    self.program.run_range(range, values)?;
                }
                Ok(())
            }
            None => self.program.run_range((Bound::Unbounded, last), values),
        }
    }

    /// Runs the forward pass only, drawing nothing.
    pub(super) fn evaluate(&mut self) -> Result<()> {
        let values = StepValues::default().with(Dropout::TRAINING, 0.0);
        let [from, to] = self.evaluated();
        self.program.run_range((from, to), &values)
    }

    /// The bounds of an evaluation's calls.
    fn evaluated(&self) -> [Bound<CallId>; 2] {
        match self.evaluation {
            Some([training, last]) => [Bound::Excluded(training), Bound::Included(last)],
            None => [Bound::Unbounded, Bound::Included(self.forward)],
        }
    }

    /// Bytes of the buffers that an evaluation reads and writes.
    pub(super) fn forward_bytes(&self) -> u64 {
        let [from, to] = self.evaluated();
        self.program.bytes_of((from, to))
    }
}

/// Checks what no operation checks by itself.
pub(super) fn check(recipe: &Recipe, options: &TrainOptions) -> Result<()> {
    const OP: &str = "train";
    let value = |what, value: String, expected| {
        Err(Error::Value {
            op: OP,
            what,
            value,
            expected,
        })
    };
    if options.batch == 0 {
        return value("batch", "0".to_string(), "at least 1");
    }
    if options.accumulate == 0 {
        return value("micro-batches of a step", "0".to_string(), "at least 1");
    }
    let rates = [
        ("learning rate", options.learning_rate),
        ("momentum", options.momentum),
        ("weight decay", options.weight_decay),
    ];
    let bad = |(_, rate): &&(&str, f32)| !(rate.is_finite() && *rate >= 0.0);
    if let Some((what, rate)) = rates.iter().find(bad) {
        return value(what, rate.to_string(), "a finite number, 0 or more");
    }
    if let Some(clip) = options.clip.filter(|clip| !(clip.is_finite() && *clip > 0.0)) {
        return value("clip", clip.to_string(), "a finite number above 0");
    }
    options.schedule.check()?;
    super::distill::check(options)?;
    if options.epochs == 0 {
        return value("epochs", "0".to_string(), "at least 1");
    }
    options.optimizer.check()?;
    recipe.check(options.optimizer, &options.model.stages()?)
}

/// `count` normal numbers of mean 0: Box and Muller's transform of pairs of 32 random bits.
fn normals(draw: Draw, count: usize, deviation: f64) -> Result<Vec<f64>> {
    let mut values = alloc::reserved("initialize", count.next_multiple_of(4))?;
    for block in 0..count.div_ceil(4) as u64 {
        let [a, b, c, d] = draw
            .block(block)
            .map(|bits| (f64::from(bits) + 0.5) / 4_294_967_296.0);
        for (u, v) in [(a, b), (c, d)] {
            let radius = deviation * (-2.0 * u.ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
            values.extend([radius * cos, radius * sin]);
        }
    }
    values.truncate(count);
    Ok(values)
}

/// Values as rows of a type with the leading dimension of tensors; padding is zero.
pub(super) fn pack(dtype: DType, rows: usize, cols: usize, value: impl Fn(usize) -> f64) -> Result<Vec<u32>> {
    let ld = ld(dtype, cols);
    let mut packed = alloc::filled("pack", dtype.words((rows * ld) as u64) as usize, 0)?;
    for row in 0..rows {
        for col in 0..cols {
            let (value, at) = (value(row * cols + col), row * ld + col);
            match dtype {
                DType::F64 => {
                    let bits = value.to_bits();
                    packed[2 * at] = bits as u32;
                    packed[2 * at + 1] = (bits >> 32) as u32;
                }
                DType::Bf16 => {
                    packed[at / 2] |= u32::from(bf16::from_f32(value as f32)) << (16 * (at % 2));
                }
                DType::F32 | DType::U32 | DType::U16 => packed[at] = (value as f32).to_bits(),
            }
        }
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_are_normal() -> Result<()> {
        let draw = Draw {
            seed: 1,
            ..Draw::default()
        };
        let n = 100_000;
        let values = normals(draw, n, 2.0)?;
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / n as f64;
        // Five standard deviations of each.
        assert!(mean.abs() < 5.0 * 2.0 / (n as f64).sqrt(), "{mean}");
        assert!(
            (variance - 4.0).abs() < 5.0 * 4.0 * (2.0 / n as f64).sqrt(),
            "{variance}"
        );
        let outside = values.iter().filter(|v| v.abs() > 4.0).count() as f64 / n as f64;
        assert!((outside - 0.0455).abs() < 0.004, "{outside}");
        Ok(())
    }
}
