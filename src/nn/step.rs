//! One step of training, and what it decides for the next ones.

use super::precision::Choices;
use super::scaling::Scaling;
use super::train::Trainer;
use super::updates::Updates;
use crate::error::{Error, Result};
use crate::gpu::StepValues;
use crate::kernels::{Accumulate, Squares};
use crate::tensor::{DType, View};

impl Trainer {
    /// Forward, backward and update of the batch that was uploaded, in step `at` of so many.
    pub(super) async fn step(&mut self, rate: f32, at: [usize; 2]) -> Result<()> {
        let last = self.options.accumulate.saturating_sub(1);
        let mut values = self.values(rate, last)?;
        let measuring = |every: u32| (self.steps - 1).is_multiple_of(every.max(1));
        let measuring = self
            .recipe
            .variable
            .is_some_and(|variable| measuring(variable.every));
        self.network.choices.measuring = measuring;
        let before = match self.watches() {
            true => Some(self.watched().await?),
            false => None,
        };
        self.network.run(&values)?;
        self.count_passes();
        if self.network.held.is_some() {
            match self.factor().await? {
                Some(factor) => {
                    values = values.with("gradient_factor", factor);
                    self.network.run_updates(&values)?;
                }
                None => self.skip()?,
            }
        }
        if let Some(before) = before {
            self.watch(before, rate).await?;
        }
        if measuring {
            self.choose(at).await?;
        }
        Ok(())
    }

    /// Forward and backward of a micro-batch that others of its step follow, the `number`-th from 0.
    pub(super) fn micro_step(&mut self, rate: f32, number: usize) -> Result<()> {
        let values = self.values(rate, number)?;
        self.network.choices.measuring = false;
        self.network.run_micro(&values)?;
        self.count_passes();
        Ok(())
    }

    /// The values of a step's micro-batch. Draws go by the number of micro-steps, so that no two share one.
    fn values(&self, rate: f32, micro: usize) -> Result<StepValues> {
        let before = (self.steps - 1).wrapping_mul(self.options.accumulate as u32);
        let drawn = before.wrapping_add(micro as u32).wrapping_add(1);
        let taken = self.steps - self.scaling.skipped;
        let values = self
            .options
            .optimizer
            .values(&self.options, rate, [drawn, taken])?;
        let keep = if micro == 0 { 0.0 } else { 1.0 };
        Ok(values.with(Accumulate::KEEP, keep))
    }

    fn count_passes(&mut self) {
        let passes = self.network.passes();
        for (sum, passes) in self.passes.iter_mut().zip(passes) {
            *sum = sum.saturating_add(passes);
        }
    }

    /// What gradients that were held are multiplied by; `None` where one of them is not finite and the loss is scaled.
    async fn factor(&mut self) -> Result<Option<f32>> {
        let dtype = self.recipe.gradients;
        let count = Squares::new(1, 1, dtype).count_word();
        let sum = View::vector(if count == 2 { DType::F64 } else { DType::F32 }, 1);
        let (mut squares, mut broken) = (0.0, 0u64);
        let outs: Vec<_> = self
            .network
            .held
            .iter()
            .flat_map(|held| held.squares.clone())
            .collect();
        for out in outs {
            let out = self.read(out).await?;
            squares += sum.load(out.words(), 0, 0);
            broken += u64::from(out.words()[count]);
        }
        let scaled = self.recipe.loss_scale;
        if broken > 0 {
            return match scaled {
                Some(_) => Ok(None),
                None => self.finite("a gradient", f64::NAN).map(|_| None),
            };
        }
        let scale = f64::from(self.scaling.scale());
        let norm = squares.sqrt() / scale;
        let clip = match self.options.clip {
            Some(clip) if norm > f64::from(clip) => f64::from(clip) / norm,
            _ => 1.0,
        };
        if let Some(scaled) = scaled
            && self.scaling.step(scaled.growth)
        {
            self.network.scale_loss(self.scaling.scale())?;
        }
        Ok(Some((clip / scale) as f32))
    }

    /// Leaves a step out and lowers the scale.
    fn skip(&mut self) -> Result<()> {
        if !self.scaling.skip() {
            self.finite("a gradient under the least loss scale", f64::INFINITY)?;
        }
        self.network.scale_loss(self.scaling.scale())
    }

    /// Chooses what is fine from now on, by what the step measured.
    async fn choose(&mut self, at: [usize; 2]) -> Result<()> {
        let Some(variable) = self.recipe.variable else {
            return Ok(());
        };
        let layers = self.network.choices.fine.len();
        for measure in self.network.measures.clone() {
            let sums = self.read(measure.sums).await?;
            let mut both = [0.0; 2];
            for pair in sums.words().as_chunks::<2>().0 {
                for (sum, word) in both.iter_mut().zip(pair) {
                    *sum += f64::from(f32::from_bits(*word));
                }
            }
            // What is all zeros, or not finite, stays coarse: 0 / 0 is above nothing.
            let improvement = both[0] / both[1];
            let fine = improvement > variable.threshold(at, [measure.layer + 1, layers]);
            self.network.choices.fine[measure.layer][measure.place as usize] = fine;
        }
        Ok(())
    }

    /// The share of multiply-adds that variable precision does, counted as the 2-bit chunks of mantissas that are
    /// multiplied: 1 where every operand is fine, 0.25 where all are coarse. `None` without it.
    #[must_use]
    pub fn work_share(&self) -> Option<f64> {
        let [done, all] = self.passes;
        (all > 0).then(|| done as f64 / all as f64)
    }

    /// Of every layer with weights, whether weights, activations and gradients are fine now; empty without variable
    /// precision.
    #[must_use]
    pub fn fine(&self) -> &[[bool; 3]] {
        match self.recipe.variable {
            Some(_) => &self.network.choices.fine,
            None => &[],
        }
    }

    /// The loss scale now and how many steps were left out.
    #[must_use]
    pub fn loss_scale(&self) -> Option<(f32, u32)> {
        self.recipe
            .loss_scale
            .map(|_| (self.scaling.scale(), self.scaling.skipped))
    }

    /// What steps have decided, as numbers for a [`State`](super::State).
    pub(super) fn decided(&self) -> Vec<u32> {
        let Scaling {
            exponent,
            clean,
            skipped,
        } = self.scaling;
        let fine = self
            .network
            .choices
            .fine
            .iter()
            .flatten()
            .map(|&fine| u32::from(fine));
        let passes = self
            .passes
            .into_iter()
            .flat_map(|passes| [passes as u32, (passes >> 32) as u32]);
        [exponent.cast_unsigned(), clean, skipped]
            .into_iter()
            .chain(passes)
            .chain(fine)
            .chain(self.updates.iter().flat_map(Updates::bits))
            .collect()
    }

    /// Takes up what [`Trainer::decided`] gave.
    pub(super) fn decide(&mut self, decided: &[u32]) -> Result<()> {
        let layers = self.network.choices.fine.len();
        let parts = decided
            .split_first_chunk::<7>()
            .filter(|(_, fine)| fine.len() == (3 + 8) * layers);
        let Some((&[exponent, clean, skipped, a, b, c, d], fine)) = parts else {
            return Err(Error::Value {
                op: "restore",
                what: "decisions",
                value: format!("{} numbers", decided.len()),
                expected: "as many as this recipe and model have",
            });
        };
        self.scaling = Scaling {
            exponent: exponent.cast_signed(),
            clean,
            skipped,
        };
        let long = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        self.passes = [long(a, b), long(c, d)];
        let (fine, updates) = fine.split_at(3 * layers);
        let updates = updates.as_chunks::<8>().0;
        self.updates = updates.iter().map(Updates::from_bits).collect();
        self.network.choices = Choices {
            fine: fine
                .as_chunks::<3>()
                .0
                .iter()
                .map(|fine| fine.map(|fine| fine != 0))
                .collect(),
            measuring: false,
        };
        match self.recipe.loss_scale {
            Some(_) => self.network.scale_loss(self.scaling.scale()),
            None => Ok(()),
        }
    }
}
