//! A multilayer perceptron as one [`Program`]: forward pass, loss, backward pass and update over buffers that
//! are made once.
//!
//! Layer l maps `[batch, inputs]` to `[batch, outputs]`: `y = relu(x W^T + b)` with W stored `[outputs, inputs]`,
//! the last layer without the rectifier. Backward, from the last layer down: `dW = dy^T x`, `db` = column sums of
//! dy, `dx = dy W` masked by the rectifier below, then the fused update of W and b, which therefore comes after
//! the last use of the old W. All layers share one buffer for dW and one for db, and two for dy, taking turns.

use super::recipe::Recipe;
use super::train::TrainOptions;
use crate::device::{BufferId, Device, Program};
use crate::error::{Error, Result};
use crate::format::random::{Draw, stream};
use crate::format::{Rounding, bf16};
use crate::gpu::StepValues;
use crate::kernels::{ColumnSums, Matmul, ReluGrad, Sgd, SoftmaxCrossEntropy};
use crate::tensor::{DType, alloc};

/// What random bits are for: the high byte of their stream, the parameter's number being the rest.
const INIT: u8 = 1;
pub(super) const SHUFFLE: u8 = 2;
const WEIGHTS: u8 = 3;
const MOMENTUM: u8 = 4;

/// A weight matrix or a bias of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its layer, from 0.
    pub layer: usize,
    /// Whether it is the bias (one row) and not the matrix.
    pub bias: bool,
    /// Outputs of the layer, or 1 for a bias.
    pub rows: usize,
    /// Inputs of the layer, or its outputs for a bias.
    pub cols: usize,
    /// How products see it.
    pub dtype: DType,
    /// Elements from one row to the next.
    pub ld: usize,
    pub(super) buffer: BufferId,
    master: Option<BufferId>,
    momentum: BufferId,
}

/// Bytes of a network's buffers by their use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Weights and biases as products read them.
    pub weights: u64,
    /// The wider copy of weights and biases, where the recipe has one.
    pub master: u64,
    /// Momentum.
    pub optimizer: u64,
    /// Gradients of weights, biases and activations.
    pub gradients: u64,
    /// Inputs, labels, activations and losses of one batch.
    pub activations: u64,
    /// All buffers together, scratch memory of the plans included. They all exist from the start, so this is
    /// also the peak.
    pub total: u64,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) program: Program,
    pub(super) parameters: Vec<Parameter>,
    pub(super) input: BufferId,
    pub(super) labels: BufferId,
    pub(super) loss: BufferId,
    pub(super) logits: BufferId,
    /// How many calls the forward pass has: the first ones.
    pub(super) forward: usize,
    memory: MemoryUse,
}

/// The leading dimension of rows of `cols` elements.
pub(super) fn ld(dtype: DType, cols: usize) -> usize {
    // Extents that wrap are refused as buffers past every limit.
    cols.checked_next_multiple_of(dtype.row_multiple())
        .unwrap_or(usize::MAX)
}

fn words(dtype: DType, rows: usize, cols: usize) -> u64 {
    dtype.words((rows as u64).saturating_mul(ld(dtype, cols) as u64))
}

/// The type of losses: f64 where everything is.
pub(super) fn loss_type(recipe: &Recipe) -> DType {
    match recipe.activations {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// What a network computes in.
struct Buffers {
    /// For each layer its matrix, then its bias.
    parameters: Vec<Parameter>,
    /// Inputs, then the outputs of every layer: logits last.
    activations: Vec<BufferId>,
    labels: BufferId,
    loss: BufferId,
    /// Of the weights of any layer.
    weight_gradient: BufferId,
    /// Of the biases of any layer.
    bias_gradient: BufferId,
    /// Of activations: the one read and the one written, taking turns.
    turns: [BufferId; 2],
    memory: MemoryUse,
}

impl Buffers {
    fn new(program: &mut Program, recipe: &Recipe, options: &TrainOptions) -> Result<Self> {
        let layers = &options.layers;
        let batch = options.batch;
        let mut memory = MemoryUse::default();
        let buffer = |program: &mut Program, count: &mut u64, words: u64| -> Result<BufferId> {
            let id = program.buffer(words)?;
            *count += words * 4;
            Ok(id)
        };

        let mut parameters = Vec::new();
        for (layer, pair) in layers.windows(2).enumerate() {
            let &[inputs, outputs] = pair else { continue };
            for (bias, rows, cols) in [(false, outputs, inputs), (true, 1, outputs)] {
                let weights = words(recipe.weights, rows, cols);
                let master = match recipe.master {
                    Some(dtype) => Some(buffer(program, &mut memory.master, words(dtype, rows, cols))?),
                    None => None,
                };
                let momentum = words(recipe.momentum, rows, cols);
                parameters.push(Parameter {
                    layer,
                    bias,
                    rows,
                    cols,
                    dtype: recipe.weights,
                    ld: ld(recipe.weights, cols),
                    buffer: buffer(program, &mut memory.weights, weights)?,
                    master,
                    momentum: buffer(program, &mut memory.optimizer, momentum)?,
                });
            }
        }
        let mut activations = Vec::new();
        for &width in layers {
            let words = words(recipe.activations, batch, width);
            activations.push(buffer(program, &mut memory.activations, words)?);
        }
        let labels = buffer(program, &mut memory.activations, batch as u64)?;
        let loss_words = loss_type(recipe).words(batch as u64);
        let loss = buffer(program, &mut memory.activations, loss_words)?;

        // One buffer serves the gradients of all layers' weights, one those of their biases, and two those of
        // activations: the one read and the one written.
        let gradient = |rows, cols| words(recipe.gradients, rows, cols);
        let largest = |sizes: &mut dyn Iterator<Item = u64>| sizes.max().unwrap_or(0);
        let weight_words = largest(
            &mut parameters
                .iter()
                .filter(|p| !p.bias)
                .map(|p| gradient(p.rows, p.cols)),
        );
        let bias_words = largest(&mut layers[1..].iter().map(|&width| gradient(1, width)));
        let activation_words = largest(&mut layers[1..].iter().map(|&width| gradient(batch, width)));
        let weight_gradient = buffer(program, &mut memory.gradients, weight_words)?;
        let bias_gradient = buffer(program, &mut memory.gradients, bias_words)?;
        let turns = [
            buffer(program, &mut memory.gradients, activation_words)?,
            buffer(program, &mut memory.gradients, activation_words)?,
        ];
        Ok(Self {
            parameters,
            activations,
            labels,
            loss,
            weight_gradient,
            bias_gradient,
            turns,
            memory,
        })
    }
}

/// Every layer's output from its input.
fn push_forward(
    program: &mut Program,
    buffers: &Buffers,
    recipe: &Recipe,
    options: &TrainOptions,
) -> Result<()> {
    let (layers, batch) = (&options.layers, options.batch);
    let count = layers.len() - 1;
    let act = recipe.activations;
    let Buffers {
        parameters,
        activations,
        ..
    } = buffers;
    for layer in 0..count {
        let (inputs, outputs) = (layers[layer], layers[layer + 1]);
        let (w, b) = (&parameters[2 * layer], &parameters[2 * layer + 1]);
        let product = Matmul::new(batch, outputs, inputs)
            .types(act, recipe.weights, act)
            .transposed(false, true)
            .bias(recipe.weights);
        let product = if layer + 1 < count {
            product.relu()
        } else {
            product
        };
        let operands = [activations[layer], w.buffer, activations[layer + 1], b.buffer];
        program.push(product, &operands)?;
    }
    Ok(())
}

/// The loss, and every layer's gradients and update, from the last layer down.
fn push_backward(
    program: &mut Program,
    buffers: &Buffers,
    recipe: &Recipe,
    options: &TrainOptions,
) -> Result<()> {
    let (layers, batch) = (&options.layers, options.batch);
    let count = layers.len() - 1;
    let (act, grad) = (recipe.activations, recipe.gradients);
    let &Buffers {
        ref parameters,
        ref activations,
        labels,
        loss,
        weight_gradient,
        bias_gradient,
        turns,
        ..
    } = buffers;
    let logits = activations[count];
    let softmax = SoftmaxCrossEntropy::new(batch, layers[count], act, grad);
    program.push(softmax, &[logits, labels, loss, turns[0]])?;

    for layer in (0..count).rev() {
        let (inputs, outputs) = (layers[layer], layers[layer + 1]);
        let (w, b) = (&parameters[2 * layer], &parameters[2 * layer + 1]);
        let (dy, dx) = match (count - 1 - layer) % 2 {
            0 => (turns[0], turns[1]),
            _ => (turns[1], turns[0]),
        };
        let x = activations[layer];
        let product = Matmul::new(outputs, inputs, batch)
            .types(grad, act, grad)
            .transposed(true, false);
        program.push(product, &[dy, x, weight_gradient])?;
        let sums = ColumnSums::new(grad, grad, batch, outputs, ld(grad, outputs));
        program.push(sums, &[dy, bias_gradient])?;
        if layer > 0 {
            let product = Matmul::new(batch, inputs, outputs).types(grad, recipe.weights, grad);
            program.push(product, &[dy, w.buffer, dx])?;
            // The mask is y > 0: activations and gradients share a type in every recipe.
            let mask = ReluGrad {
                dtype: grad,
                rows: batch,
                cols: inputs,
                y_ld: ld(act, inputs),
                dy_ld: ld(grad, inputs),
                dx_ld: ld(grad, inputs),
                in_place: true,
            };
            program.push(mask, &[x, dx])?;
        }
        let update = |program: &mut Program, id: usize, p: &Parameter, gradient: BufferId| {
            let sgd = sgd(recipe, options, id as u32, p.rows, p.cols);
            match p.master {
                Some(master) => program.push(sgd, &[gradient, master, p.momentum, p.buffer]),
                None => program.push(sgd, &[gradient, p.buffer, p.momentum]),
            }
        };
        update(program, 2 * layer, w, weight_gradient)?;
        update(program, 2 * layer + 1, b, bias_gradient)?;
    }
    Ok(())
}

impl Network {
    pub(super) fn new(device: &Device, recipe: &Recipe, options: &TrainOptions) -> Result<Self> {
        let mut program = Program::new(device);
        let mut buffers = Buffers::new(&mut program, recipe, options)?;
        push_forward(&mut program, &buffers, recipe, options)?;
        let forward = program.len();
        push_backward(&mut program, &buffers, recipe, options)?;
        buffers.memory.total = program.bytes();
        let layers = options.layers.len();
        let mut network = Self {
            program,
            parameters: buffers.parameters,
            input: buffers.activations[0],
            labels: buffers.labels,
            loss: buffers.loss,
            logits: buffers.activations[layers - 1],
            forward,
            memory: buffers.memory,
        };
        network.initialize(recipe, options.seed)?;
        Ok(network)
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
            let packed = pack(recipe.weights, rows, cols, |i| values[i])?;
            self.program.write(parameter.buffer, &packed)?;
            if let (Some(dtype), Some(master)) = (recipe.master, parameter.master) {
                let packed = pack(dtype, rows, cols, |i| values[i])?;
                self.program.write(master, &packed)?;
            }
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> MemoryUse {
        self.memory
    }

    /// Runs the forward pass only.
    pub(super) fn run_forward(&mut self, values: &StepValues) -> Result<()> {
        self.program.run_range(0..self.forward, values)
    }
}

/// The update of parameter number `id`.
fn sgd(recipe: &Recipe, options: &TrainOptions, id: u32, rows: usize, cols: usize) -> Sgd {
    let weights = recipe.master.unwrap_or(recipe.weights);
    Sgd {
        copy_ld: recipe.master.map(|_| ld(recipe.weights, cols)),
        rounding: recipe.rounding,
        generator: options.generator,
        w_stream: stream(WEIGHTS, id),
        v_stream: stream(MOMENTUM, id),
        ..Sgd::new(rows, cols, [recipe.gradients, weights, recipe.momentum])
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
    if options.layers.len() < 2 || options.layers.contains(&0) {
        let layers = format!("{:?}", options.layers);
        return value("layers", layers, "two widths or more, none of them 0");
    }
    if options.batch == 0 {
        return value("batch", "0".to_string(), "at least 1");
    }
    let rates = [
        ("learning rate", options.learning_rate),
        ("momentum", options.momentum),
        ("weight decay", options.weight_decay),
        ("rate decay", options.rate_decay),
    ];
    let bad = |(_, rate): &&(&str, f32)| !(rate.is_finite() && *rate >= 0.0);
    if let Some((what, rate)) = rates.iter().find(bad) {
        return value(what, rate.to_string(), "a finite number, 0 or more");
    }
    if recipe.activations != recipe.gradients {
        let text = format!("{} and {}", recipe.activations, recipe.gradients);
        return value("types of activations and gradients", text, "one type");
    }
    let updated = recipe.master.unwrap_or(recipe.weights);
    if recipe.rounding == Rounding::TowardZero || (recipe.master.is_some() && updated != DType::F32) {
        return value(
            "recipe",
            recipe.name.clone(),
            "an f32 master; nearest or stochastic rounding",
        );
    }
    Ok(())
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
                _ => packed[at] = (value as f32).to_bits(),
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
