//! A multilayer perceptron as one [`Program`]: forward pass, loss, backward pass and update over tensors
//! that are made once.
//!
//! Layer l maps `[batch, inputs]` to `[batch, outputs]`: `y = relu(x W^T + b)` with W stored `[outputs, inputs]`,
//! the last layer without the rectifier. Backward, from the last layer down: `dW = dy^T x`, `db` = column sums of
//! dy, `dx = dy W` masked by the rectifier below, then the fused update of W and b, which therefore comes after
//! the last use of the old W. All layers share one memory for dW and one for db, and two for dy, taking turns.

use super::gradients::Gradients;
use super::recipe::Recipe;
use super::train::TrainOptions;
use crate::device::{CallId, Device, Program, TensorId};
use crate::error::{Error, Result};
use crate::format::random::{Draw, stream};
use crate::format::{Rounding, bf16};
use crate::gpu::StepValues;
use crate::kernels::{ColumnSums, Matmul, ReluGrad, Sgd, SoftmaxCrossEntropy};
use crate::tensor::{DType, Layout, alloc};

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
    pub(super) values: TensorId,
    master: Option<TensorId>,
    momentum: TensorId,
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
    pub(super) input: TensorId,
    pub(super) labels: TensorId,
    pub(super) loss: TensorId,
    pub(super) logits: TensorId,
    /// The last call of the forward pass.
    forward: CallId,
    memory: MemoryUse,
}

/// The leading dimension of rows of `cols` elements.
pub(super) fn ld(dtype: DType, cols: usize) -> usize {
    // Extents that wrap are refused as buffers past every limit.
    cols.checked_next_multiple_of(dtype.row_multiple())
        .unwrap_or(usize::MAX)
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
        let forward = forward(&mut program, recipe, options, &parameters, &data)?;
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
            self.program.write_words(parameter.values, &[&packed])?;
            if let (Some(dtype), Some(master)) = (recipe.master, parameter.master) {
                let packed = pack(dtype, rows, cols, |i| values[i])?;
                self.program.write_words(master, &[&packed])?;
            }
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> MemoryUse {
        self.memory
    }

    /// Runs the forward pass only.
    pub(super) fn run_forward(&mut self, values: &StepValues) -> Result<()> {
        self.program.run_range(..=self.forward, values)
    }
}

/// A tensor of the program, counted to its use.
pub(super) fn tensor(
    program: &mut Program,
    count: &mut u64,
    dtype: DType,
    shape: [usize; 2],
) -> Result<TensorId> {
    let layout = Layout::dense(dtype, &shape);
    // Layouts past every limit are refused before they are counted.
    let bytes = layout.bytes();
    let id = program.zeros(layout)?;
    *count += bytes;
    Ok(id)
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
            let shape = [rows, cols];
            let master = match recipe.master {
                Some(dtype) => Some(tensor(program, &mut memory.master, dtype, shape)?),
                None => None,
            };
            parameters.push(Parameter {
                layer,
                bias,
                rows,
                cols,
                dtype: recipe.weights,
                ld: ld(recipe.weights, cols),
                values: tensor(program, &mut memory.weights, recipe.weights, shape)?,
                master,
                momentum: tensor(program, &mut memory.optimizer, recipe.momentum, shape)?,
            });
        }
    }
    Ok(parameters)
}

/// What flows forward.
struct Data {
    input: TensorId,
    /// The outputs of every layer, the logits last.
    outputs: Vec<TensorId>,
    logits: TensorId,
    labels: TensorId,
    loss: TensorId,
}

impl Data {
    fn new(
        program: &mut Program,
        memory: &mut MemoryUse,
        recipe: &Recipe,
        options: &TrainOptions,
    ) -> Result<Self> {
        let count = &mut memory.activations;
        let (batch, act) = (options.batch, recipe.activations);
        let mut rows = |program: &mut Program, width| tensor(program, count, act, [batch, width]);
        let input = rows(program, options.layers[0])?;
        let mut outputs = Vec::new();
        let mut logits = input;
        for &width in &options.layers[1..] {
            logits = rows(program, width)?;
            outputs.push(logits);
        }
        let loss = loss_type(recipe);
        Ok(Self {
            input,
            outputs,
            logits,
            labels: tensor(program, count, DType::U32, [1, batch])?,
            loss: tensor(program, count, loss, [1, batch])?,
        })
    }

    /// What layer number `layer` reads.
    fn input_of(&self, layer: usize) -> TensorId {
        match layer {
            0 => self.input,
            layer => self.outputs[layer - 1],
        }
    }
}

/// A product with its bias and, but for the last, its ReLU per layer.
fn forward(
    program: &mut Program,
    recipe: &Recipe,
    options: &TrainOptions,
    parameters: &[Parameter],
    data: &Data,
) -> Result<CallId> {
    let layers = &options.layers;
    let mut last = None;
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
        let operands = [data.input_of(layer), w.values, data.outputs[layer], b.values];
        last = Some(program.call(product, &operands)?);
    }
    last.ok_or_else(|| no_layers(options))
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
    let of_logits = gradients.outputs[count - 1];
    let softmax = SoftmaxCrossEntropy::new(batch, layers[count], act, grad);
    program.call(softmax, &[data.logits, data.labels, data.loss, of_logits])?;
    for layer in (0..count).rev() {
        let (inputs, outputs) = (layers[layer], layers[layer + 1]);
        let (w, b) = (&parameters[2 * layer], &parameters[2 * layer + 1]);
        let (dy, dw, db) = (
            gradients.outputs[layer],
            gradients.weights[layer],
            gradients.bias[layer],
        );
        let x = data.input_of(layer);
        let product = Matmul::new(outputs, inputs, batch)
            .types(grad, act, grad)
            .transpose_a();
        program.call(product, &[dy, x, dw])?;
        let sums = ColumnSums::new(batch, outputs, grad, grad);
        program.call(sums, &[dy, db])?;
        if layer > 0 {
            let product = Matmul::new(batch, inputs, outputs).types(grad, recipe.weights, grad);
            let dx = gradients.outputs[layer - 1];
            program.call(product, &[dy, w.values, dx])?;
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
            program.call(mask, &[x, dx])?;
        }
        for (id, parameter, gradient) in [(2 * layer, w, dw), (2 * layer + 1, b, db)] {
            let sgd = sgd(recipe, options, id as u32, parameter.rows, parameter.cols);
            let (weights, momentum) = (parameter.values, parameter.momentum);
            match parameter.master {
                Some(master) => program.call(sgd, &[gradient, master, momentum, weights])?,
                None => program.call(sgd, &[gradient, weights, momentum])?,
            };
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

fn no_layers(options: &TrainOptions) -> Error {
    Error::Value {
        op: "train",
        what: "layers",
        value: format!("{:?}", options.layers),
        expected: "two widths or more, none of them 0",
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
        return Err(no_layers(options));
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
