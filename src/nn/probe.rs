//! Finding out what a training would refuse, before it or others begin.

use super::data::{Dataset, Split};
use super::network::{self, Network, Parameter};
use super::recipe::Recipe;
use super::train::{TrainOptions, Trainer};
use crate::device::Device;
use crate::error::{Error, Result};

const OP: &str = "train";

impl Trainer {
    /// Finds out what [`Trainer::new`] and [`Trainer::epoch`] would refuse, without drawing weights or running a step:
    /// for a list of trainings, before the first of them. Returns the weights and biases that there would be, for their
    /// names and extents alone.
    ///
    /// # Errors
    /// Whatever [`Trainer::new`] and the checks of [`Trainer::epoch`] find, but for a teacher's logits.
    pub fn probe(
        device: &Device,
        recipe: &Recipe,
        options: &TrainOptions,
        data: &Dataset,
    ) -> Result<Vec<Parameter>> {
        network::check(recipe, options)?;
        fits(options, data)?;
        steps(options, data.train())?;
        Ok(Network::built(device, recipe, options)?.parameters)
    }

    /// Bytes of the buffers that an evaluation of one batch reads and writes, scratch memory included: what is left of
    /// [`MemoryUse::total`](super::MemoryUse) without gradients, optimizer and master.
    #[must_use]
    pub fn forward_bytes(&self) -> u64 {
        self.network.forward_bytes()
    }
}

/// Whether the network is one for such images.
pub(super) fn fits(options: &TrainOptions, data: &Dataset) -> Result<()> {
    let model = &options.model;
    let (pixels, classes) = (model.pixels(), model.classes()?);
    if (pixels, classes) != (data.pixels(), data.classes()) {
        return Err(Error::Shape {
            op: OP,
            operand: "the network",
            expected: format!(
                "{} numbers of an image first, and {} classes last",
                data.pixels(),
                data.classes()
            ),
            got: vec![pixels, classes],
        });
    }
    Ok(())
}

/// Steps of an epoch, and of all.
pub(super) fn steps(options: &TrainOptions, split: &Split) -> Result<[usize; 2]> {
    let batch = options.step_images();
    if split.len() < batch {
        return Err(Error::Value {
            op: OP,
            what: "batch",
            value: format!("{batch} ({} images to train on)", split.len()),
            expected: "at most as many as there are images",
        });
    }
    let steps = split.len() / batch;
    let all = steps.saturating_mul(options.epochs);
    if options.warm_up > all {
        return Err(Error::Value {
            op: OP,
            what: "warm-up",
            value: format!("{} steps (of {all})", options.warm_up),
            expected: "at most all steps of the training",
        });
    }
    Ok([steps, all])
}
