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
        DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => DType::F32,
    }
}

impl Network {
    pub(super) fn new(device: &Device, recipe: &Recipe, options: &TrainOptions) -> Result<Self> {
        let mut program = Program::new(device);
        let mut memory = MemoryUse::default();
        let parameters = parameters(&mut program, &mut memory, recipe, &options.layers)?;
        let data = Data::new(&mut program, &mut memory, recipe, options)?;
        let gradients = Gradients::new(&mut program, &mut memory, recipe, options, &parameters)?;
        forward(&mut program, recipe, options, &parameters, &data)?;
        let forward = program.len();
        backward(&mut program, recipe, options, &parameters, &data, &gradients)?;
        memory.total = program.bytes();
        let mut network = Self {
            program,
            parameters,
            input: data.input,
            labels: data.labels,
            loss: data.loss,
            logits: data.logits,
            forward,
            memory,
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

/// A buffer of the program, counted to its use.
fn buffer(program: &mut Program, count: &mut u64, words: u64) -> Result<BufferId> {
    *count += words * 4;
    program.buffer(words)
}

/// Weights and biases, layer by layer, with what their updates keep.
fn parameters(
    program: &mut Program,
    memory: &mut MemoryUse,
    recipe: &Recipe,
    layers: &[usize],
) -> Result<Vec<Parameter>> {
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
    Ok(parameters)
}

/// What flows forward.
struct Data {
    input: BufferId,
    /// The outputs of every layer, the logits last.
    outputs: Vec<BufferId>,
    logits: BufferId,
    labels: BufferId,
    loss: BufferId,
}

impl Data {
    fn new(
        program: &mut Program,
        memory: &mut MemoryUse,
        recipe: &Recipe,
        options: &TrainOptions,
    ) -> Result<Self> {
        let count = &mut memory.activations;
        let mut rows = |program: &mut Program, width| {
            buffer(program, count, words(recipe.activations, options.batch, width))
        };
        let input = rows(program, options.layers[0])?;
        let mut outputs = Vec::new();
        let mut logits = input;
        for &width in &options.layers[1..] {
            logits = rows(program, width)?;
            outputs.push(logits);
        }
        let loss_words = loss_type(recipe).words(options.batch as u64);
        Ok(Self {
            input,
            outputs,
            logits,
            labels: buffer(program, &mut memory.activations, options.batch as u64)?,
            loss: buffer(program, &mut memory.activations, loss_words)?,
        })
    }

    /// What layer number `layer` reads.
    fn input_of(&self, layer: usize) -> BufferId {
        match layer {
            0 => self.input,
            layer => self.outputs[layer - 1],
        }
    }
}

/// One buffer serves the gradients of all layers' weights, one those of their biases, and two those of
/// activations: the one read and the one written.
struct Gradients {
    weights: BufferId,
    bias: BufferId,
    turns: [BufferId; 2],
}

impl Gradients {
    fn new(
        program: &mut Program,
        memory: &mut MemoryUse,
        recipe: &Recipe,
        options: &TrainOptions,
        parameters: &[Parameter],
    ) -> Result<Self> {
        let outputs = &options.layers[1..];
        let gradient = |rows, cols| words(recipe.gradients, rows, cols);
        let largest = |sizes: &mut dyn Iterator<Item = u64>| sizes.max().unwrap_or(0);
        let weights = parameters.iter().filter(|parameter| !parameter.bias);
        let weights = largest(&mut weights.map(|p| gradient(p.rows, p.cols)));
        let bias = largest(&mut outputs.iter().map(|&width| gradient(1, width)));
        let activations = largest(&mut outputs.iter().map(|&width| gradient(options.batch, width)));
        let mut make = |words| buffer(program, &mut memory.gradients, words);
        Ok(Self {
            weights: make(weights)?,
            bias: make(bias)?,
            turns: [make(activations)?, make(activations)?],
        })
    }
}

/// A product with its bias and, but for the last, its ReLU per layer.
fn forward(
    program: &mut Program,
    recipe: &Recipe,
    options: &TrainOptions,
    parameters: &[Parameter],
    data: &Data,
) -> Result<()> {
    let layers = &options.layers;
    let (act, count) = (recipe.activations, layers.len() - 1);
    for layer in 0..count {
        let (inputs, outputs) = (layers[layer], layers[layer + 1]);
        let (w, b) = (&parameters[2 * layer], &parameters[2 * layer + 1]);
        let product = Matmul::new(options.batch, outputs, inputs)
            .types(act, recipe.weights, act)
            .transpose_b()
            .bias(recipe.weights);
        let product = if layer + 1 < count {
            product.relu()
        } else {
            product
        };
        let operands = [data.input_of(layer), w.buffer, data.outputs[layer], b.buffer];
        program.push(product, &operands)?;
    }
    Ok(())
}

/// The loss, and from the last layer to the first the gradients and the updates.
fn backward(
    program: &mut Program,
    recipe: &Recipe,
    options: &TrainOptions,
    parameters: &[Parameter],
    data: &Data,
    gradients: &Gradients,
) -> Result<()> {
    let (layers, batch) = (&options.layers, options.batch);
    let (act, grad) = (recipe.activations, recipe.gradients);
    let count = layers.len() - 1;
    let turns = gradients.turns;
    let softmax = SoftmaxCrossEntropy::new(batch, layers[count], act, grad);
    program.push(softmax, &[data.logits, data.labels, data.loss, turns[0]])?;
    for layer in (0..count).rev() {
        let (inputs, outputs) = (layers[layer], layers[layer + 1]);
        let (w, b) = (&parameters[2 * layer], &parameters[2 * layer + 1]);
        let (dy, dx) = match (count - 1 - layer) % 2 {
            0 => (turns[0], turns[1]),
            _ => (turns[1], turns[0]),
        };
        let x = data.input_of(layer);
        let product = Matmul::new(outputs, inputs, batch)
            .types(grad, act, grad)
            .transpose_a();
        program.push(product, &[dy, x, gradients.weights])?;
        let sums = ColumnSums::new(batch, outputs, grad, grad);
        program.push(sums, &[dy, gradients.bias])?;
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
        for (id, parameter, gradient) in [
            (2 * layer, w, gradients.weights),
            (2 * layer + 1, b, gradients.bias),
        ] {
            let sgd = sgd(recipe, options, id as u32, parameter.rows, parameter.cols);
            let (weights, momentum) = (parameter.buffer, parameter.momentum);
            match parameter.master {
                Some(master) => program.push(sgd, &[gradient, master, momentum, weights])?,
                None => program.push(sgd, &[gradient, weights, momentum])?,
            }
        }
    }
    Ok(())
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
            recipe.name.to_string(),
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
