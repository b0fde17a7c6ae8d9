//! Training a network by a [`Recipe`].

use std::ops::ControlFlow;

use super::data::{Dataset, Split};
use super::distill::{Distillation, Teacher};
pub use super::images::Augment;
use super::images::{batch, shift};
use super::model::Model;
use super::network::{self, MemoryUse, Network, Parameter};
use super::optimizer::Optimizer;
use super::probe::{fits, steps};
use super::recipe::Recipe;
use super::schedule::Schedule;
use super::step::Seen;
use super::updates::Updates;
use crate::device::{Device, TensorId};
use crate::error::{Error, Result};
use crate::format::random::{Draw, Generator, stream};
use crate::tensor::{DType, HostBuffer, View, alloc};

/// What is trained, and how; the formats are the [`Recipe`]'s.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TrainOptions {
    /// The network.
    pub model: Model,
    /// Images of one micro-batch: of one step, unless it accumulates. The images left over at the end of an epoch, fewer than a step's, sit it out; the
    /// shuffle leaves out others in the next.
    pub batch: usize,
    /// Micro-batches of one step: their gradients are summed in the recipe's
    /// [`gradient_sum`](Recipe::gradient_sum), and the weights updated once after the last. The loss is the mean over all
    /// of them, so that a step is in effect one of a batch as many times the size.
    pub accumulate: usize,
    /// Epochs of the whole training, which some schedules end with. More may be run: the rate stays where it ended.
    pub epochs: usize,
    /// The learning rate that the schedule starts from.
    pub learning_rate: f32,
    /// How the rate changes from there.
    pub schedule: Schedule,
    /// Steps before the rate is the schedule's: from next to nothing up in a straight line. At most all steps of the
    /// training.
    pub warm_up: usize,
    /// How training images are varied.
    pub augment: Augment,
    /// Whether a teacher is learned from ([`Trainer::learn_from`]) beside the labels.
    pub distillation: Option<Distillation>,
    /// How weights are updated.
    pub optimizer: Optimizer,
    /// The momentum, of SGD.
    pub momentum: f32,
    /// The most that the gradients' norm, of all weights and biases together, may be: longer ones are made as long.
    pub clip: Option<f32>,
    /// The weight decay (of biases too).
    pub weight_decay: f32,
    /// Seed of the initial weights, the shuffles and the stochastic roundings.
    pub seed: u64,
    /// The generator of stochastic rounding.
    pub generator: Generator,
    /// Steps from one reading of the loss, and of what the device decides, to the next; each waits for the device.
    pub report_every: usize,
    /// Steps from one look at what rounding does to updates to the next ([`Trainer::updates`]); 0: none. Each reads all
    /// weights twice.
    pub watch_every: usize,
}

impl Default for TrainOptions {
    /// The network 784-2800-2670-10 with batches of 128.
    fn default() -> Self {
        Self {
            model: Model::mlp(&[784, 2800, 2670, 10]),
            batch: 128,
            accumulate: 1,
            epochs: 2,
            learning_rate: 0.05,
            schedule: Schedule::Constant,
            warm_up: 0,
            augment: Augment::None,
            distillation: None,
            optimizer: Optimizer::Sgd,
            momentum: 0.9,
            clip: None,
            weight_decay: 0.0,
            seed: 0,
            generator: Generator::Threefry,
            report_every: 50,
            watch_every: 0,
        }
    }
}

impl TrainOptions {
    /// Images of one step: those of all its micro-batches.
    #[must_use]
    pub fn step_images(&self) -> usize {
        self.batch.saturating_mul(self.accumulate)
    }
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Steps done in it.
    pub step: usize,
    /// Steps it has.
    pub steps: usize,
    /// The mean loss of the last step's images, where it was read (see [`TrainOptions::report_every`]).
    pub loss: Option<f64>,
}

/// A network in training on a device.
#[derive(Debug)]
pub struct Trainer {
    pub(super) network: Network,
    pub(super) recipe: Recipe,
    pub(super) options: TrainOptions,
    pub(super) teacher: Option<Teacher>,
    pub(super) epochs: usize,
    /// Steps done of the epoch after those.
    pub(super) position: usize,
    pub(super) steps: u32,
    /// What was read last of what the device decides.
    pub(super) seen: Seen,
    /// What rounding did to updates in this epoch, layer by layer.
    pub(super) updates: Vec<Updates>,
    /// The epoch and the step in it that were run last, from 1.
    pub(super) last: [usize; 2],
}

const OP: &str = "train";

impl Trainer {
    /// Allocates every tensor, makes every operation ready, and draws the initial weights.
    ///
    /// # Errors
    /// Options or recipes that make no network; f64 on a GPU; out of memory, or device lost.
    pub fn new(device: &Device, recipe: &Recipe, options: &TrainOptions) -> Result<Self> {
        network::check(recipe, options)?;
        let network = Network::new(device, recipe, options)?;
        let updates = vec![Updates::default(); network.layers];
        let seen = network.seen(&network.start(), 0);
        Ok(Self {
            network,
            updates,
            seen,
            recipe: recipe.clone(),
            options: options.clone(),
            teacher: None,
            epochs: 0,
            position: 0,
            steps: 0,
            last: [1, 0],
        })
    }

    /// The recipe.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// Bytes of its buffers by their use.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.network.memory()
    }

    /// Steps done.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// Weights and biases, layer by layer.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.network.parameters
    }

    /// The words of a parameter as products see it, `rows` rows of `ld` elements of its type.
    ///
    /// # Errors
    /// Device lost, or out of memory.
    pub async fn read_parameter(&self, parameter: &Parameter) -> Result<HostBuffer> {
        self.read(parameter.values).await
    }

    /// Replaces a parameter's words, as [`Trainer::read_parameter`] reads them. Where the recipe has a master copy, that
    /// takes the same values.
    ///
    /// # Errors
    /// Words of another length, device lost, or out of memory.
    pub fn write_parameter(&mut self, parameter: &Parameter, words: &[u32]) -> Result<()> {
        let (rows, cols) = (parameter.rows, parameter.cols);
        let from = View::new(parameter.dtype, rows, cols, parameter.ld);
        if (words.len() as u64) < from.words() {
            return Err(Error::TooSmall {
                op: OP,
                operand: "a parameter",
                needed: 4 * from.words(),
                got: 4 * words.len() as u64,
            });
        }
        if let (Some(id), Some(dtype)) = (parameter.master, self.recipe.places_of(parameter.layer).master) {
            let wide = network::pack(dtype, rows, cols, |i| from.load(words, i / cols, i % cols))?;
            self.network.program.write_words(id, &[&wide])?;
        }
        self.network.program.write_words(parameter.values, &[words])
    }

    /// Trains on every full batch of the training split once, in an order that depends on the seed and the
    /// epoch's number only. `progress` is called after every step and may break off the epoch, with which the next call
    /// goes on.
    ///
    /// # Errors
    /// A data set of other extents than the network's; fewer images than a batch; a teacher that is missing, or of other
    /// images, with [`TrainOptions::distillation`]; [`Error::Diverged`] where a loss that was read is not finite, or a
    /// gradient of the steps before that ended the training; whatever a step finds.
    pub async fn epoch(
        &mut self,
        data: &Dataset,
        mut progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        fits(&self.options, data)?;
        let (split, micro) = (data.train(), self.options.batch);
        let batch = self.options.step_images();
        let [steps, all] = steps(&self.options, split)?;
        self.check_teacher(split)?;
        let order = shuffled(split.len(), self.options.seed, self.epochs as u32)?;
        if self.position >= steps {
            return Err(Error::Value {
                op: OP,
                what: "position in the epoch",
                value: format!("{} steps (of {steps})", self.position),
                expected: "less than an epoch of these images",
            });
        }
        if self.position == 0 {
            self.updates.fill(Updates::default());
        }
        for (step, images) in order.chunks_exact(batch).enumerate().skip(self.position) {
            let at = [(self.epochs * steps + step).min(all), all];
            let factor = self
                .options
                .schedule
                .factor(at, self.epochs, self.options.warm_up);
            let rate = (f64::from(self.options.learning_rate) * factor) as f32;
            self.steps += 1;
            let step = step + 1;
            let read = step % self.options.report_every.max(1) == 0 || step == steps;
            let mut sum = 0.0;
            for (number, images) in images.chunks_exact(micro).enumerate() {
                self.upload(split, data, images, self.options.augment)?;
                self.upload_teacher(split, images)?;
                match number + 1 < self.options.accumulate {
                    true => self.micro_step(rate, number)?,
                    false => {
                        self.step(rate, at).await?;
                        self.position = step;
                        self.last = [self.epochs + 1, step];
                    }
                }
                if read {
                    sum += self.loss().await?;
                }
            }
            let loss = match read {
                true => {
                    self.look().await?;
                    Some(self.finite("the loss", sum / self.options.accumulate as f64)?)
                }
                false => None,
            };
            let done = Progress {
                epoch: self.epochs,
                step,
                steps,
                loss,
            };
            if progress(&done).is_break() && step < steps {
                return self.look().await;
            }
        }
        self.epochs += 1;
        self.position = 0;
        Ok(())
    }

    /// The share of images of the test split whose largest logit is that of their label (the first of equal
    /// ones), in 0..=1. The last batch is filled up with blank images that are not counted.
    ///
    /// # Errors
    /// A data set of other extents than the network's, [`Error::Diverged`] where a logit is not finite, device lost,
    /// or out of memory.
    pub async fn accuracy(&mut self, data: &Dataset) -> Result<f64> {
        fits(&self.options, data)?;
        let split = data.test();
        let classes = data.classes();
        let dtype = self.recipe.logits;
        let order = numbers(split.len())?;
        let mut right = 0usize;
        for images in order.chunks(self.options.batch) {
            self.upload(split, data, images, Augment::None)?;
            self.network.evaluate()?;
            let logits = self.read(self.network.logits).await?;
            for (row, &image) in images.iter().enumerate() {
                let start = row * network::ld(dtype, classes);
                let logit =
                    |class: usize| View::vector(dtype, logits.len()).load(logits.words(), 0, start + class);
                for class in 0..classes {
                    self.finite("a logit", logit(class))?;
                }
                let best = (1..classes).fold(0, |best, class| match logit(class) > logit(best) {
                    true => class,
                    false => best,
                });
                right += usize::from(best == usize::from(split.labels[image as usize]));
            }
        }
        Ok(right as f64 / split.len() as f64)
    }

    /// [`Trainer::epoch`] for threads that may block.
    ///
    /// # Errors
    /// See [`Trainer::epoch`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn epoch_blocking(
        &mut self,
        data: &Dataset,
        progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        pollster::block_on(self.epoch(data, progress))
    }

    /// [`Trainer::accuracy`] for threads that may block.
    ///
    /// # Errors
    /// See [`Trainer::accuracy`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn accuracy_blocking(&mut self, data: &Dataset) -> Result<f64> {
        pollster::block_on(self.accuracy(data))
    }

    /// A value that training goes on with, or the error that ends it: comparisons with NaN are all false, and an
    /// accuracy would be made of them in silence.
    pub(super) fn finite(&self, what: &'static str, value: f64) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        let [epoch, step] = self.last;
        Err(Error::Diverged {
            op: OP,
            recipe: self.recipe.name.clone(),
            what,
            value: value.to_string(),
            epoch,
            step,
        })
    }

    pub(super) async fn read(&self, id: TensorId) -> Result<HostBuffer> {
        self.network.program.tensor(id)?.read_part(0).await
    }

    /// The mean loss of the micro-batch that was run last.
    async fn loss(&self) -> Result<f64> {
        let losses = self.read(self.network.loss).await?;
        let dtype = network::loss_type(&self.recipe);
        let batch = self.options.batch;
        let sum: f64 = (0..batch)
            .map(|row| View::vector(dtype, batch).load(losses.words(), 0, row))
            .sum();
        Ok(sum / batch as f64)
    }

    /// Writes the named images as the batch: pixels scaled to 0..=1; rows past them are blank and count for
    /// nothing.
    fn upload(&mut self, split: &Split, data: &Dataset, images: &[u32], augment: Augment) -> Result<()> {
        let dtype = self.recipe.activations;
        let pixels = data.pixels();
        let packed = match augment {
            Augment::None => batch(dtype, &split.images, pixels, images, self.options.batch)?,
            Augment::Shift1 => {
                let mut moved = alloc::filled(OP, images.len() * pixels, 0u8)?;
                for (to, &image) in moved.chunks_exact_mut(pixels).zip(images) {
                    let by = augment.shift(self.options.seed, self.epochs, image);
                    shift(
                        &split.images[image as usize * pixels..][..pixels],
                        data.cols(),
                        by,
                        to,
                    );
                }
                let order = numbers(images.len())?;
                batch(dtype, &moved, pixels, &order, self.options.batch)?
            }
        };
        self.network.program.write_words(self.network.input, &[&packed])?;
        let ld = network::ld(DType::U32, self.options.batch);
        let mut labels = alloc::filled(OP, ld, u32::MAX)?;
        for (label, &image) in labels.iter_mut().zip(images) {
            *label = u32::from(split.labels[image as usize]);
        }
        self.network.program.write_words(self.network.labels, &[&labels])
    }
}

/// The numbers 0..len.
fn numbers(len: usize) -> Result<Vec<u32>> {
    let mut numbers = alloc::reserved(OP, len)?;
    numbers.extend(0..len as u32);
    Ok(numbers)
}

/// The numbers 0..len in an order drawn for an epoch (Fisher and Yates).
fn shuffled(len: usize, seed: u64, epoch: u32) -> Result<Vec<u32>> {
    let draw = Draw {
        seed,
        stream: stream(network::SHUFFLE, 0),
        step: epoch,
        ..Draw::default()
    };
    let mut order = numbers(len)?;
    for i in (1..len).rev() {
        let block = draw.block(i as u64);
        let bits = u64::from(block[0]) | (u64::from(block[1]) << 32);
        // The high half of a product with 64 random bits: a bias below 2^-32 for what fits in u32.
        let j = ((u128::from(bits) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_of_its_epoch() -> Result<()> {
        let first = shuffled(1000, 7, 0)?;
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_eq!(first, shuffled(1000, 7, 0)?);
        assert_ne!(first, shuffled(1000, 7, 1)?);
        assert_ne!(first, shuffled(1000, 8, 0)?);
        let stayed = (0u32..).zip(&first).filter(|(i, to)| i == *to).count();
        assert!(stayed < 10, "{stayed} stayed in place");
        Ok(())
    }
}
