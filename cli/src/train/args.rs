//! What can be asked of `fewbit train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fewbit::nn::train::{Augment, TrainOptions};
use fewbit::nn::{Model, Optimizer, Schedule};
use serde_json::{Value, json};

use super::super::data::{DataArgs, Wanted};
use super::super::options::{norm, rate};
use super::super::{Stop, models, recipes};

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[arg(long, value_delimiter = ',', value_name = "LIST", help = recipes::help())]
    pub(super) formats: Vec<String>,
    /// Passes over the training images.
    #[arg(long, default_value_t = 2, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) epochs: u32,
    /// Images of one step, or of each micro-batch of it.
    #[arg(long, default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) batch: u32,
    /// Micro-batches of one step, whose gradients are summed before the weights are updated.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) accumulate: u32,
    /// The learning rate of the first epoch.
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true, value_parser = rate)]
    pub(super) learning_rate: f32,
    /// How the learning rate goes on from there.
    #[arg(long, value_enum, default_value_t = ScheduleName::Step)]
    pub(super) schedule: ScheduleName,
    /// What --schedule step multiplies the learning rate by after each epoch.
    #[arg(long, default_value_t = 0.2, allow_hyphen_values = true, value_parser = rate)]
    pub(super) rate_decay: f32,
    /// Steps in which the rate first rises from next to nothing.
    #[arg(
        long,
        default_value_t = 0,
        allow_negative_numbers = true,
        value_name = "STEPS"
    )]
    pub(super) warm_up: usize,
    /// How weights are updated: sgd with momentum, or adamw (beta1 0.9, beta2 0.999, epsilon 1e-8), for which a learning
    /// rate of about 0.001 is usual.
    #[arg(long, value_enum, default_value_t = OptimizerName::Sgd)]
    pub(super) optimizer: OptimizerName,
    /// The weight decay, of biases too; under adamw apart from the moments.
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true, value_parser = rate)]
    pub(super) weight_decay: f32,
    /// Make gradients whose norm, of all weights and biases together, is larger as long as this.
    #[arg(long, value_name = "NORM", allow_hyphen_values = true, value_parser = norm)]
    pub(super) clip: Option<f32>,
    /// The momentum of sgd.
    #[arg(long, default_value_t = 0.9, allow_hyphen_values = true, value_parser = rate)]
    pub(super) momentum: f32,
    /// The network: mlp (784-2800-2670-10, or the widths of --layers), mlp-small (784-512-512-10), lenet-300-100 or
    /// lenet-5 (two convolutions); or a TOML file (examples/model.toml).
    #[arg(long, alias = "student", value_name = "NAME|FILE.toml", default_value = "mlp")]
    pub(super) model: String,
    /// Widths from pixels to classes, of linear layers with ReLUs between them; for --model mlp.
    #[arg(
        long,
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_name = "LIST"
    )]
    pub(super) layers: Vec<u32>,
    /// Vary the images to train on: shift1 moves each by at most a pixel to each side, anew in each epoch.
    #[arg(long, value_enum, default_value_t = AugmentName::None)]
    pub(super) augment: AugmentName,
    /// Move the last so many images to train on behind those to test on.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    pub(super) holdout: usize,
    /// Test on the last so many of the remaining images to train on, and on no test image: to choose learning rates.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    pub(super) validation: usize,
    /// Seed of the weights, the shuffles, the roundings, and the drawn digits.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    pub(super) seed: u64,
    /// Train with each of these seeds (the drawn digits stay those of seed 1): the mean, its spread, and the difference
    /// to f32, seed by seed, with its 95 % interval; f32 is trained too.
    #[arg(
        long,
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_name = "LIST",
        conflicts_with = "seed"
    )]
    pub(super) seeds: Vec<u64>,
    /// Digits drawn to train on, without --data.
    #[arg(long, default_value_t = 60_000, allow_negative_numbers = true)]
    pub(super) train_images: usize,
    /// Digits drawn to test on, without --data.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true)]
    pub(super) test_images: usize,
    /// Start from the weights in this safetensors file, such as --out leaves, and not from drawn ones.
    #[arg(long, value_name = "FILE")]
    pub(super) init: Option<PathBuf>,
    #[command(flatten)]
    pub(super) keeping: Keeping,
}

/// What is kept of a training.
#[derive(Args, Clone, Debug)]
pub(crate) struct Keeping {
    /// Keep there, for every recipe and seed, the configuration, metrics of each epoch (CSV and JSONL) and the weights
    /// (safetensors), and curves of all (SVG). Runs that the folder holds already are not repeated. One process at a time
    /// has the folder.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Write a checkpoint into --out after every so many steps. One is written on Ctrl-C and SIGTERM too.
    #[arg(
        long,
        value_name = "STEPS",
        requires = "out",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) save_every: Option<u32>,
    /// Keep so many checkpoints of a run, the newest.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        requires = "out",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) keep: u32,
    /// Go on with unfinished runs of --out from their newest checkpoints, to the same bits. Without it they start anew.
    #[arg(long, requires = "out")]
    pub(super) resume: bool,
}

/// A schedule's name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScheduleName {
    /// The same rate in all steps
    Constant,
    /// Multiplied by --rate-decay after each epoch
    Step,
    /// Half a cosine, to 0 at the end of the last epoch
    Cosine,
}

/// An optimizer's name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptimizerName {
    Sgd,
    Adamw,
}

/// An augmentation's name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AugmentName {
    None,
    Shift1,
}

impl TrainArgs {
    /// The network of --model, or of --layers.
    pub(super) fn network(&self) -> Result<Model, Stop> {
        let named = models::find(&self.model)?;
        match (self.layers.is_empty(), self.model.as_str()) {
            // The same by its widths.
            (true, "mlp") => Ok(TrainOptions::default().model),
            (true, _) => Ok(named),
            (false, "mlp") => {
                let widths: Vec<_> = self.layers.iter().map(|&width| width as usize).collect();
                Ok(Model::mlp(&widths))
            }
            (false, name) => Err(Stop::Input(format!(
                "--layers are those of --model mlp, and {name} has its own"
            ))),
        }
    }

    /// Whether images are varied from epoch to epoch.
    pub(crate) fn varies(&self) -> bool {
        self.augment != AugmentName::None
    }

    /// Images that the network takes at once.
    pub(crate) fn batch(&self) -> usize {
        self.batch as usize
    }

    /// How this network is trained; the seed is each run's own.
    pub(super) fn options(&self, model: Model) -> TrainOptions {
        let mut options = TrainOptions::default();
        options.model = model;
        options.batch = self.batch as usize;
        options.accumulate = self.accumulate as usize;
        options.learning_rate = self.learning_rate;
        options.epochs = self.epochs as usize;
        options.schedule = match self.schedule {
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Step => Schedule::Step {
                factor: self.rate_decay,
            },
            ScheduleName::Cosine => Schedule::Cosine,
        };
        options.warm_up = self.warm_up;
        options.augment = match self.augment {
            AugmentName::None => Augment::None,
            AugmentName::Shift1 => Augment::Shift1,
        };
        options.optimizer = match self.optimizer {
            OptimizerName::Sgd => Optimizer::Sgd,
            OptimizerName::Adamw => Optimizer::adamw(),
        };
        options.momentum = self.momentum;
        options.weight_decay = self.weight_decay;
        options.clip = self.clip;
        options
    }

    /// What of the images is wanted for this network.
    pub(super) fn wanted(&self, model: &Model) -> Result<Wanted, Stop> {
        let [rows, cols, _] = model.input;
        Ok(Wanted {
            seed: self.seed,
            drawn: [self.train_images, self.test_images],
            holdout: self.holdout,
            validation: self.validation,
            image: [rows, cols],
            classes: model.classes()?,
            test_alone: false,
        })
    }

    /// What the steps of a training depend on, the recipe, the seed, the network and the images apart.
    pub(super) fn training(&self) -> Value {
        // As it was asked for: not the f64 that the f32 is.
        let number = |value: f32| value.to_string().parse::<f64>().map_or(Value::Null, Value::from);
        json!({
            "batch": self.batch,
            "accumulate": self.accumulate,
            "epochs": self.epochs,
            "learning_rate": number(self.learning_rate),
            "schedule": format!("{:?}", self.schedule).to_lowercase(),
            "rate_decay": number(self.rate_decay),
            "warm_up": self.warm_up,
            "augment": format!("{:?}", self.augment).to_lowercase(),
            "optimizer": format!("{:?}", self.optimizer).to_lowercase(),
            "momentum": number(self.momentum),
            "weight_decay": number(self.weight_decay),
            "clip": self.clip.map(number),
        })
    }
}
