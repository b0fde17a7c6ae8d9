//! Building a network's program: its tensors, and the order of its stages.

use std::collections::BTreeSet;

use super::distill;
use super::gradients::Gradients;
use super::held::Held;
use super::layer::{self, Encoded};
use super::loss;
use super::model::{Shape, Stage, Work, with_weights};
use super::network::{MOMENTUM, MemoryUse, Parameter, SECOND, SUM, WEIGHTS, ld, loss_type};
use super::optimizer::Optimizer;
use super::optimizer::{adamw, held, sgd};
use super::places::{Places, Types};
use super::precision::Choices;
use super::products::Products;
use super::recipe::Recipe;
use super::train::TrainOptions;
use crate::device::{CallId, Device, Program, TensorId};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::{Draw, stream};
use crate::kernels::{Accumulate, Choose, ReluGrad};
use crate::tensor::{DType, Layout};

/// A program in the making, and what its stages read and write.
pub(super) struct Build<'a> {
    pub(super) program: Program,
    pub(super) memory: MemoryUse,
    pub(super) recipe: &'a Recipe,
    pub(super) options: &'a TrainOptions,
    pub(super) stages: Vec<Stage>,
    pub(super) types: Types,
    /// A matrix and a bias for each stage with weights, in order.
    pub(super) parameters: Vec<Parameter>,
    /// What stage i reads, and after it what it makes.
    pub(super) values: Vec<TensorId>,
    pub(super) input: TensorId,
    pub(super) logits: TensorId,
    pub(super) labels: TensorId,
    pub(super) teacher: Option<TensorId>,
    pub(super) loss: TensorId,
    pub(super) gradients: Gradients,
    /// Memory for the patches of any convolution, and then for their gradients.
    patches: Option<TensorId>,
    /// The stage whose patches lie there now.
    pub(super) patches_of: Option<usize>,
    /// Memory for encoded operands.
    pub(super) encoded: Encoded,
    /// Streams of random bits that something draws from.
    streams: BTreeSet<u32>,
    /// Whether what is pushed now is for evaluation, which never draws.
    pub(super) evaluating: bool,
    /// What variable precision chooses.
    pub(super) choices: Option<Choices>,
    /// Parameters and their gradients, where all are looked at before any is used.
    pub(super) held: Option<Vec<(usize, TensorId)>>,
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

/// Memory for the largest of these shapes, if there are any.
pub(super) fn largest(
    program: &mut Program,
    count: &mut u64,
    shapes: &[(DType, [usize; 2])],
) -> Result<Option<TensorId>> {
    let bytes = |(dtype, shape): &&(DType, [usize; 2])| Layout::dense(*dtype, shape).bytes();
    match shapes.iter().max_by_key(bytes) {
        Some(&(dtype, shape)) => tensor(program, count, dtype, shape).map(Some),
        None => Ok(None),
    }
}

impl<'a> Build<'a> {
    /// Every tensor.
    pub(super) fn new(device: &Device, recipe: &'a Recipe, options: &'a TrainOptions) -> Result<Self> {
        let stages = options.model.stages()?;
        let mut program = Program::new(device);
        let mut memory = MemoryUse::default();
        let parameters = parameters(&mut program, &mut memory, recipe, options.optimizer, &stages)?;
        let (batch, types) = (options.batch, Types::new(recipe, &stages));
        let count = &mut memory.activations;
        let shape = Shape::input(options.model.input).tensor(batch);
        let input = tensor(&mut program, count, recipe.activations, shape)?;
        let mut values = vec![input];
        for (stage, dtype) in stages.iter().zip(&types.values[1..]) {
            values.push(tensor(&mut program, count, *dtype, stage.to.tensor(batch))?);
        }
        let patches = largest(&mut program, count, &patches(&types, &stages, batch))?;
        let labels = tensor(&mut program, count, DType::U32, [1, batch])?;
        let classes = stages.last().map_or(0, |stage| stage.to.numbers());
        let teacher = distill::logits(&mut program, &mut memory, recipe, options, classes)?;
        let count = &mut memory.activations;
        let loss = tensor(&mut program, count, loss_type(recipe), [1, batch])?;
        let accumulates = options.accumulate > 1;
        let held = held(recipe, options);
        // Those that are summed take turns: only the sums are looked at.
        let apart = (batch, held && !accumulates);
        let gradients = Gradients::new(&mut program, &mut memory, recipe, apart, &stages)?;
        let choices = match recipe.variable {
            Some(_) => {
                let shape = [1, Choose::STATE * with_weights(&stages)];
                Some(Choices::new(tensor(
                    &mut program,
                    &mut memory.operands,
                    DType::U32,
                    shape,
                )?))
            }
            None => None,
        };
        let encoded = Encoded::new(&mut program, &mut memory.operands, recipe, batch, &stages)?;
        Ok(Self {
            program,
            memory,
            recipe,
            options,
            stages,
            types,
            parameters,
            input,
            logits: values.last().copied().unwrap_or(input),
            values,
            labels,
            teacher,
            loss,
            gradients,
            patches,
            patches_of: None,
            encoded,
            streams: BTreeSet::new(),
            evaluating: false,
            choices,
            held: (held || accumulates).then(Vec::new),
        })
    }

    /// The places of a stage's layer.
    pub(super) fn places(&self, number: usize) -> Places {
        self.recipe.places_of(self.layer_of(number))
    }

    /// How a stage's products are made.
    pub(super) fn products(&self, number: usize) -> Products {
        let products = self.places(number).products;
        match self.evaluating {
            true => products.still(),
            false => products,
        }
    }

    /// What a stage's rounding number `which` for a purpose draws from: if it draws at all, a stream of its own.
    pub(super) fn draw(
        &mut self,
        rounding: Rounding,
        purpose: u8,
        number: usize,
        which: u32,
    ) -> Result<Draw> {
        if rounding != Rounding::Stochastic {
            return Ok(Draw::default());
        }
        let id = 8 * self.layer_of(number) as u32 + which;
        Ok(Draw {
            stream: self.claim_id(purpose, id)?,
            generator: self.options.generator,
            ..Draw::default()
        })
    }

    /// A stream of random bits, which nothing else has.
    pub(super) fn claim_id(&mut self, purpose: u8, id: u32) -> Result<u32> {
        let stream = stream(purpose, id);
        match self.streams.insert(stream) {
            true => Ok(stream),
            false => Err(Error::Value {
                op: "train",
                what: "stream of random bits",
                value: format!("{stream:#x}, claimed twice"),
                expected: "one for each draw",
            }),
        }
    }

    /// The forward pass once more where the first one draws: the same products, rounded to nearest.
    pub(super) fn evaluation(&mut self) -> Result<Option<[CallId; 2]>> {
        let layers = with_weights(&self.stages);
        if !(0..layers).any(|layer| self.recipe.products_of(layer).forward_draws()) {
            return Ok(None);
        }
        self.evaluating = true;
        // Patches may be of another batch by then.
        self.patches_of = None;
        let before = self.program.last();
        let last = self.forward()?;
        self.evaluating = false;
        Ok(before.map(|before| [before, last]))
    }

    /// All stages, up to the logits.
    pub(super) fn forward(&mut self) -> Result<CallId> {
        let mut last = None;
        for number in 0..self.stages.len() {
            last = Some(match self.stages[number].work {
                Work::Linear => layer::linear::forward(self, number)?,
                Work::Conv2d(conv) => layer::conv2d::forward(self, number, conv)?,
                Work::MaxPool(window) => layer::max_pool::forward(self, number, window)?,
                Work::Relu => layer::relu::forward(self, number)?,
                Work::Dropout(p) => layer::dropout::forward(self, number, p)?,
                Work::Reshape => layer::reshape::forward(self, number)?,
            });
        }
        last.ok_or_else(|| Error::Value {
            op: "train",
            what: "layers",
            value: "none".into(),
            expected: "one or more",
        })
    }

    /// The loss, and from the last stage to the first with weights the gradients and the updates.
    pub(super) fn backward(&mut self) -> Result<()> {
        let Some(last) = self.stages.last() else {
            return Ok(());
        };
        let logits = last.to;
        let mut dy = self.gradient(self.stages.len(), logits)?;
        loss::push(self, logits.numbers(), dy)?;
        let first = self
            .stages
            .iter()
            .position(|stage| stage.weights().is_some())
            .unwrap_or(0);
        for number in (first..self.stages.len()).rev() {
            let stage = self.stages[number];
            if stage.relu {
                self.mask(number, dy)?;
            }
            // Nothing below the first weights needs a gradient.
            let below = number > first;
            dy = match stage.work {
                Work::Linear => layer::linear::backward(self, number, dy, below)?,
                Work::Conv2d(conv) => layer::conv2d::backward(self, number, conv, dy, below)?,
                Work::MaxPool(window) => layer::max_pool::backward(self, number, window, dy)?,
                Work::Relu => layer::relu::backward(self, number, dy)?,
                Work::Dropout(p) => layer::dropout::backward(self, number, p, dy)?,
                Work::Reshape => layer::reshape::backward(self, number, dy)?,
            };
        }
        Ok(())
    }

    /// Where the gradient of what stage `at` reads, of this shape, goes: into the memory that the last one does not lie in.
    pub(super) fn gradient(&mut self, at: usize, shape: Shape) -> Result<TensorId> {
        self.gradients.turn = 1 - self.gradients.turn;
        self.gradient_in_place(at, shape)
    }

    /// The same in the memory of the last one, which is overwritten.
    pub(super) fn gradient_in_place(&mut self, at: usize, shape: Shape) -> Result<TensorId> {
        let layout = Layout::dense(self.types.gradients[at], &shape.tensor(self.options.batch));
        self.program
            .view(self.gradients.turns[self.gradients.turn], layout)
    }

    /// The memory for patches, as so many rows and columns.
    pub(super) fn patches(&mut self, dtype: DType, shape: [usize; 2]) -> Result<TensorId> {
        let layout = Layout::dense(dtype, &shape);
        match self.patches {
            Some(memory) => self.program.view(memory, layout),
            None => self.program.zeros(layout),
        }
    }

    /// The gradient of what a stage makes, masked where that is not above zero, in place.
    pub(super) fn mask(&mut self, number: usize, dy: TensorId) -> Result<()> {
        let (y, shape) = (self.values[number + 1], self.stages[number].to);
        let (act, grad) = (self.types.values[number + 1], self.types.gradients[number + 1]);
        let [rows, cols] = shape.tensor(self.options.batch);
        let mask = ReluGrad {
            y: act,
            dtype: grad,
            rows,
            cols,
            y_ld: ld(act, cols),
            dy_ld: ld(grad, cols),
            dx_ld: ld(grad, cols),
            in_place: true,
        };
        self.program.call(mask, &[y, dy])?;
        Ok(())
    }

    /// Which of the layers with weights a stage is, from 0.
    pub(super) fn layer_of(&self, number: usize) -> usize {
        with_weights(&self.stages[..number])
    }

    /// The matrix and the bias of a stage with weights: which parameters they are.
    pub(super) fn parameters_of(&self, number: usize) -> [usize; 2] {
        let layer = self.layer_of(number);
        [2 * layer, 2 * layer + 1]
    }

    /// The updates of a stage's weights and bias by these gradients.
    pub(super) fn update(&mut self, number: usize, gradients: [TensorId; 2]) -> Result<()> {
        for (id, gradient) in self.parameters_of(number).into_iter().zip(gradients) {
            let gradient = match self.options.accumulate {
                0 | 1 => gradient,
                _ => self.accumulate(id, gradient)?,
            };
            match &mut self.held {
                Some(held) => held.push((id, gradient)),
                None => self.update_one(id, gradient)?,
            }
        }
        Ok(())
    }

    /// Adds a parameter's gradient to the sum of those of the step's micro-batches before.
    fn accumulate(&mut self, id: usize, gradient: TensorId) -> Result<TensorId> {
        let Parameter {
            rows, cols, layer, ..
        } = self.parameters[id];
        let places = self.recipe.places_of(layer);
        let sum = tensor(
            &mut self.program,
            &mut self.memory.gradients,
            places.gradient_sum,
            [rows, cols],
        )?;
        let stream = self.claim_id(SUM, id as u32)?;
        let op = Accumulate::new(rows, cols, places.weight_gradients, places.gradient_sum);
        let draw = Draw {
            stream,
            generator: self.options.generator,
            ..Draw::default()
        };
        let op = op.with_rounding(places.gradient_sum_rounding, draw);
        self.program.call(op, &[gradient, sum])?;
        Ok(sum)
    }

    /// The norms of all gradients, and after them all updates, where they are held back till then.
    pub(super) fn held(&mut self) -> Result<Option<Held>> {
        let Some(gradients) = self.held.take() else {
            return Ok(None);
        };
        if held(self.recipe, self.options) {
            return Held::push(self, gradients).map(Some);
        }
        // Sums that are only waited for.
        for (id, gradient) in gradients {
            self.update_one(id, gradient)?;
        }
        Ok(None)
    }

    /// What the next steps go by, chosen by what a step that measures has left behind.
    pub(super) fn choose(&mut self) -> Result<()> {
        let (Some(variable), Some(choices)) = (self.recipe.variable, &mut self.choices) else {
            return Ok(());
        };
        let layers = with_weights(&self.stages);
        let before = self.program.len();
        for measure in &choices.measures {
            let op = Choose {
                lower: variable.lower(measure.layer + 1, layers),
                ..Choose::new(measure.pairs, measure.layer, measure.place as u32)
            };
            self.program.call(op, &[measure.sums, choices.state])?;
        }
        self.measured(before);
        Ok(())
    }

    /// The calls since there were so many are for steps that measure.
    pub(super) fn measured(&mut self, before: usize) {
        let calls = self.program.nth(before).zip(self.program.last());
        if let (Some(choices), Some((first, last))) = (&mut self.choices, calls) {
            choices.measuring.push([first, last]);
        }
    }

    /// The update of one parameter.
    pub(super) fn update_one(&mut self, id: usize, gradient: TensorId) -> Result<()> {
        for purpose in [WEIGHTS, MOMENTUM, SECOND] {
            self.claim_id(purpose, id as u32)?;
        }
        let parameter = &self.parameters[id];
        let places = self.recipe.places_of(parameter.layer);
        let factor = held(self.recipe, self.options);
        let extents = [parameter.rows, parameter.cols];
        let updated = parameter.master.unwrap_or(parameter.values);
        let mut operands = vec![gradient, updated, parameter.momentum];
        operands.extend(parameter.second);
        operands.extend(parameter.master.map(|_| parameter.values));
        operands.extend(parameter.compensation);
        match self.options.optimizer {
            Optimizer::Sgd => {
                let op = sgd(&places, self.options, factor, id as u32, extents);
                self.program.call(op, &operands)?
            }
            Optimizer::AdamW { .. } => {
                let op = adamw(&places, self.options, factor, id as u32, extents);
                self.program.call(op, &operands)?
            }
        };
        Ok(())
    }
}

/// The patches of convolutions, and their gradients where those are needed, which lie in their place.
fn patches(types: &Types, stages: &[Stage], batch: usize) -> Vec<(DType, [usize; 2])> {
    let first = stages.iter().position(|stage| stage.weights().is_some());
    let mut all = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        if let Some(shape) = stage.patches(batch) {
            all.push((types.values[at], shape));
            if Some(at) != first {
                all.push((types.gradients[at], shape));
            }
        }
    }
    all
}

/// Weights and biases, stage by stage, with what their updates keep.
fn parameters(
    program: &mut Program,
    memory: &mut MemoryUse,
    recipe: &Recipe,
    optimizer: Optimizer,
    stages: &[Stage],
) -> Result<Vec<Parameter>> {
    let mut parameters = Vec::new();
    let weights = stages.iter().filter_map(Stage::weights);
    for (layer, [outputs, inputs]) in weights.enumerate() {
        let places = recipe.places_of(layer);
        for (bias, rows, cols) in [(false, outputs, inputs), (true, 1, outputs)] {
            let shape = [rows, cols];
            let master = match places.master {
                Some(dtype) => Some(tensor(program, &mut memory.master, dtype, shape)?),
                None => None,
            };
            let second = match optimizer {
                Optimizer::Sgd => None,
                Optimizer::AdamW { .. } => {
                    // With its compensation beside it, a pair for each element.
                    let pair = if places.second_compensation.is_some() {
                        2
                    } else {
                        1
                    };
                    let shape = [rows, cols.saturating_mul(pair)];
                    Some(tensor(program, &mut memory.optimizer, places.second, shape)?)
                }
            };
            let compensation = match places.compensation {
                Some(dtype) => Some(tensor(program, &mut memory.optimizer, dtype, shape)?),
                None => None,
            };
            parameters.push(Parameter {
                layer,
                bias,
                rows,
                cols,
                dtype: places.weights,
                ld: ld(places.weights, cols),
                values: tensor(program, &mut memory.weights, places.weights, shape)?,
                master,
                momentum: tensor(program, &mut memory.optimizer, places.momentum, shape)?,
                second,
                compensation,
            });
        }
    }
    Ok(parameters)
}
