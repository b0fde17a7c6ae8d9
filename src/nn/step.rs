//! One step of training, and what the device has decided in the steps so far.

use super::held::Held;
use super::network::Network;
use super::train::Trainer;
use super::updates::Updates;
use crate::device::TensorId;
use crate::error::{Error, Result};
use crate::gpu::StepValues;
use crate::kernels::{Accumulate, Choose};

/// What was read last of what the device decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Of every layer's weights, activations and gradients, whether they are fine.
    fine: Vec<[bool; 3]>,
    /// Chunk passes of all steps, and of as many with fine operands throughout.
    passes: [u64; 2],
    /// The loss scale and how many steps were left out.
    scale: Option<(f32, u32)>,
    /// The step that ended the training, and its layer.
    failed: Option<(u32, usize)>,
}

impl Network {
    /// The tensors that the device decides in, and how many words of each count.
    fn deciding(&self) -> Vec<(TensorId, usize)> {
        let held = self.held.iter().flat_map(|held| held.tensors());
        let choices = self.choices.iter();
        held.chain(choices.map(|choices| (choices.state, Choose::STATE * self.layers)))
            .collect()
    }

    /// The words of those before any step.
    pub(super) fn start(&self) -> Vec<u32> {
        let mut words = self.held.as_ref().map_or_else(Vec::new, Held::start);
        if self.choices.is_some() {
            words.resize(words.len() + Choose::STATE * self.layers, 0);
        }
        words
    }

    /// What such words say after so many steps.
    pub(super) fn seen(&self, words: &[u32], steps: u32) -> Seen {
        let mut seen = Seen::default();
        let (of_held, chosen) = words.split_at(words.len().min(self.held.as_ref().map_or(0, Held::words)));
        if let Some(held) = &self.held {
            let decided = held.decided(of_held);
            seen.scale = held.is_scaled().then_some((decided.scale, decided.skipped));
            seen.failed = decided.failed;
        }
        if let Some(choices) = &self.choices {
            let layers = chosen.as_chunks::<{ Choose::STATE }>().0.iter();
            seen.fine = layers
                .map(|layer| [1, 2, 4].map(|bit| layer[0] & bit > 0))
                .collect();
            seen.passes = choices.passes(chosen, steps);
        }
        seen
    }
}

impl Trainer {
    /// Forward, backward and update of the batch that was uploaded, in step `at` of so many: nothing is read.
    pub(super) async fn step(&mut self, rate: f32, at: [usize; 2]) -> Result<()> {
        let last = self.options.accumulate.saturating_sub(1);
        let mut values = self.values(rate, last)?;
        let mut measuring = false;
        if let Some(variable) = self.recipe.variable {
            measuring = (self.steps - 1).is_multiple_of(variable.every.max(1));
            values.set(Choose::THRESHOLD, variable.threshold(at[0], at[1]));
        }
        let before = match self.watches() {
            true => Some(self.watched().await?),
            false => None,
        };
        self.network.run(&values, measuring)?;
        match before {
            Some(before) => self.watch(before, rate).await,
            None => Ok(()),
        }
    }

    /// Forward and backward of a micro-batch that others of its step follow, the `number`-th from 0.
    pub(super) fn micro_step(&mut self, rate: f32, number: usize) -> Result<()> {
        let values = self.values(rate, number)?;
        self.network.run_micro(&values)
    }

    /// The values of a step's micro-batch. Draws go by the number of micro-steps, so that no two share one.
    fn values(&self, rate: f32, micro: usize) -> Result<StepValues> {
        let before = (self.steps - 1).wrapping_mul(self.options.accumulate as u32);
        let drawn = before.wrapping_add(micro as u32).wrapping_add(1);
        let values = self
            .options
            .optimizer
            .values(&self.options, rate, [drawn, self.steps])?;
        let keep = if micro == 0 { 0.0 } else { 1.0 };
        Ok(values.with(Accumulate::KEEP, keep))
    }

    /// What the device has decided, word for word.
    async fn words(&self) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        for (id, count) in self.network.deciding() {
            all.extend_from_slice(self.read(id).await?.words().get(..count).unwrap_or_default());
        }
        Ok(all)
    }

    /// Reads what the device has decided.
    ///
    /// # Errors
    /// [`Error::Diverged`] where that ended the training.
    pub(super) async fn look(&mut self) -> Result<()> {
        let words = self.words().await?;
        self.seen = self.network.seen(&words, self.steps);
        let Some((number, layer)) = self.seen.failed else {
            return Ok(());
        };
        let [epoch, step] = self.last;
        Err(Error::Diverged {
            op: "train",
            recipe: self.recipe.name.clone(),
            what: match self.recipe.loss_scale {
                Some(_) => "a gradient under the least loss scale",
                None => "a gradient",
            },
            value: format!("not finite (layer {layer})"),
            epoch,
            step: step.saturating_sub((self.steps - number) as usize),
        })
    }

    /// The share of multiply-adds that variable precision does, counted as the 2-bit chunks of mantissas that are
    /// multiplied: 1 where every operand is fine, 0.25 where all are coarse. `None` without it. As it was when the loss was
    /// read last, or an epoch broken off.
    #[must_use]
    pub fn work_share(&self) -> Option<f64> {
        let [done, all] = self.seen.passes;
        (all > 0).then(|| done as f64 / all as f64)
    }

    /// Of every layer with weights, whether weights, activations and gradients were fine when the loss was read last, or an
    /// epoch broken off; empty without variable precision.
    #[must_use]
    pub fn fine(&self) -> &[[bool; 3]] {
        &self.seen.fine
    }

    /// The loss scale and how many steps were left out, when the loss was read last, or an epoch broken off.
    #[must_use]
    pub fn loss_scale(&self) -> Option<(f32, u32)> {
        self.seen.scale
    }

    /// What steps have decided, as numbers for a [`State`](super::State).
    pub(super) async fn decided(&self) -> Result<Vec<u32>> {
        let mut all = self.words().await?;
        all.extend(self.updates.iter().flat_map(Updates::bits));
        Ok(all)
    }

    /// Takes up what [`Trainer::decided`] gave after so many steps.
    pub(super) fn decide(&mut self, decided: &[u32], steps: u32) -> Result<()> {
        let deciding = self.network.deciding();
        let count: usize = deciding.iter().map(|(_, count)| count).sum();
        let Some((words, updates)) = decided
            .split_at_checked(count)
            .filter(|(_, updates)| updates.len() == 8 * self.network.layers)
        else {
            return Err(Error::Value {
                op: "restore",
                what: "decisions",
                value: format!("{} numbers", decided.len()),
                expected: "as many as this recipe and model have",
            });
        };
        let mut rest = words;
        for (id, count) in deciding {
            let (own, after) = rest.split_at(count);
            self.network.program.write_codes(id, &[own])?;
            rest = after;
        }
        self.updates = updates
            .as_chunks::<8>()
            .0
            .iter()
            .map(Updates::from_bits)
            .collect();
        self.seen = self.network.seen(words, steps);
        Ok(())
    }
}
