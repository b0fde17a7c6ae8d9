//! `fewbit train`: the survey's perceptron in several number formats.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use fewbit::nn::data::Dataset;
use fewbit::nn::train::{Augment, TrainOptions, Trainer};
use fewbit::nn::{MemoryUse, Model, Optimizer, Recipe, Schedule, digits, mnist};
use fewbit::{Device, Error};

use super::output::{Output, Row};
use super::seeds::{self, Mean};
use super::{Common, Stop, device, interrupted};

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// A directory with MNIST as IDX or IDX.gz files. Without it, digits drawn by the program itself.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Formats to train in: f64, f32, bf16-mixed, bf16-sr, bf16-nearest, bf16-kahan, bf16-sr-kahan. The first four by
    /// default (without f64 on a GPU, whose shading language has none).
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    formats: Vec<String>,
    /// Passes over the training images.
    #[arg(long, default_value_t = 2, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    epochs: u32,
    /// Images of one step.
    #[arg(long, default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// The learning rate of the first epoch.
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true, value_parser = super::options::rate)]
    learning_rate: f32,
    /// How the learning rate goes on from there.
    #[arg(long, value_enum, default_value_t = ScheduleName::Step)]
    schedule: ScheduleName,
    /// What --schedule step multiplies the learning rate by after each epoch.
    #[arg(long, default_value_t = 0.2, allow_hyphen_values = true, value_parser = super::options::rate)]
    rate_decay: f32,
    /// Steps in which the rate first rises from next to nothing.
    #[arg(
        long,
        default_value_t = 0,
        allow_negative_numbers = true,
        value_name = "STEPS"
    )]
    warm_up: usize,
    /// How weights are updated: sgd with momentum, or adamw (beta1 0.9, beta2 0.999, epsilon 1e-8), for which a learning
    /// rate of about 0.001 is usual.
    #[arg(long, value_enum, default_value_t = OptimizerName::Sgd)]
    optimizer: OptimizerName,
    /// The weight decay, of biases too; under adamw apart from the moments.
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true, value_parser = super::options::rate)]
    weight_decay: f32,
    /// The momentum of sgd.
    #[arg(long, default_value_t = 0.9, allow_hyphen_values = true, value_parser = super::options::rate)]
    momentum: f32,
    /// The network: mlp (784-2800-2670-10, or the widths of --layers), mlp-small (784-512-512-10), lenet-300-100 or
    /// lenet-5 (two convolutions).
    #[arg(long, value_name = "NAME", default_value = "mlp")]
    model: String,
    /// Widths from pixels to classes, of linear layers with ReLUs between them; for --model mlp.
    #[arg(
        long,
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_name = "LIST"
    )]
    layers: Vec<u32>,
    /// Vary the images to train on: shift1 moves each by at most a pixel to each side, anew in each epoch.
    #[arg(long, value_enum, default_value_t = AugmentName::None)]
    augment: AugmentName,
    /// Move the last so many images to train on behind those to test on.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    holdout: usize,
    /// Test on the last so many of the remaining images to train on, and on no test image: to choose learning rates.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    validation: usize,
    /// Seed of the weights, the shuffles, the roundings, and the drawn digits.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    seed: u64,
    /// Train with each of these seeds (the drawn digits stay those of seed 1): the mean, its spread, and the difference
    /// to f32, seed by seed, with its 95 % interval; f32 is trained too.
    #[arg(
        long,
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_name = "LIST",
        conflicts_with = "seed"
    )]
    seeds: Vec<u64>,
    /// Digits drawn to train on, without --data.
    #[arg(long, default_value_t = 60_000, allow_negative_numbers = true)]
    train_images: usize,
    /// Digits drawn to test on, without --data.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true)]
    test_images: usize,
}

/// A schedule's name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum ScheduleName {
    /// The same rate in all steps
    Constant,
    /// Multiplied by --rate-decay after each epoch
    Step,
    /// Half a cosine, to 0 at the end of the last epoch
    Cosine,
}

/// An optimizer's name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum OptimizerName {
    Sgd,
    Adamw,
}

/// An augmentation's name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum AugmentName {
    None,
    Shift1,
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

fn load(args: &TrainArgs) -> Result<(Dataset, String), Stop> {
    let input = |error: &dyn std::fmt::Display| Stop::Input(error.to_string());
    let (data, name) = match &args.data {
        Some(dir) => (
            mnist::load(dir).map_err(|error| input(&error))?,
            format!("IDX files in {}", dir.display()),
        ),
        None => {
            let go_on = || interrupted().is_ok();
            let drawn = digits::dataset_while(args.seed, args.train_images, args.test_images, go_on);
            (
                drawn.map_err(|error| input(&error))?.ok_or(Stop::Interrupted)?,
                "digits drawn by fewbit itself".to_string(),
            )
        }
    };
    let mut data = data;
    if args.holdout > 0 {
        data = data.hold_out(args.holdout).map_err(|error| input(&error))?;
    }
    if args.validation > 0 {
        data = data.validation(args.validation).map_err(|error| input(&error))?;
    }
    let name = format!(
        "{name}: {} to train on, {} to {} on",
        data.train().len(),
        data.test().len(),
        if args.validation > 0 { "validate" } else { "test" }
    );
    Ok((data, name))
}

fn recipes(args: &TrainArgs, device: &Device, output: &Output) -> Result<Vec<Recipe>, Stop> {
    if args.formats.is_empty() {
        let mut recipes = vec![
            Recipe::f64(),
            Recipe::f32(),
            Recipe::bf16_mixed(),
            Recipe::bf16_sr(),
        ];
        if device.as_gpu().is_some() {
            recipes.remove(0);
            output.line("f64 is left out: WGSL has none (--device cpu has)");
        }
        return Ok(recipes);
    }
    let find = |name: &String| {
        Recipe::named(name).ok_or_else(|| {
            let known: Vec<_> = Recipe::known().map(|recipe| recipe.name).collect();
            Stop::Input(format!(
                "no format is called {name:?}; there are: {}",
                known.join(", ")
            ))
        })
    };
    let recipes: Vec<_> = args.formats.iter().map(find).collect::<Result<_, _>>()?;
    // Said before the others are trained.
    if let (Some(_), Some(recipe)) = (device.as_gpu(), recipes.iter().find(|recipe| recipe.uses_f64())) {
        return Err(Stop::Input(format!(
            "{} does not run on a GPU: WGSL has no f64 (--device cpu has)",
            recipe.name
        )));
    }
    Ok(recipes)
}

/// The network of --model, or of --layers.
fn model(args: &TrainArgs) -> Result<Model, Stop> {
    let known = || -> Vec<_> { Model::known().map(|model| model.name).collect() };
    let named = Model::named(&args.model).ok_or_else(|| {
        Stop::Input(format!(
            "no model is called {:?}; there are: {}",
            args.model,
            known().join(", ")
        ))
    })?;
    match (args.layers.is_empty(), args.model.as_str()) {
        // The same by its widths.
        (true, "mlp") => Ok(TrainOptions::default().model),
        (true, _) => Ok(named),
        (false, "mlp") => {
            let widths: Vec<_> = args.layers.iter().map(|&width| width as usize).collect();
            Ok(Model::mlp(&widths))
        }
        (false, name) => Err(Stop::Input(format!(
            "--layers are those of --model mlp, and {name} has its own"
        ))),
    }
}

/// What one recipe's training came to.
struct Trained {
    memory: MemoryUse,
    /// While it trained, not while it was tested.
    time: Duration,
    /// Percent of the test images after each epoch.
    curve: Vec<f64>,
    /// Why it was broken off.
    diverged: Option<String>,
}

fn train(
    device: &Device,
    recipe: &Recipe,
    options: &TrainOptions,
    (data, epochs): (&Dataset, u32),
    output: &Output,
) -> Result<Trained, Stop> {
    let mut trainer = Trainer::new(device, recipe, options)?;
    let steps = (data.train().len() / options.batch) as u64;
    let bar = output.bar(steps * u64::from(epochs), &recipe.name);
    let mut trained = Trained {
        memory: trainer.memory(),
        time: Duration::ZERO,
        curve: Vec::new(),
        diverged: None,
    };
    for _ in 0..epochs {
        let start = Instant::now();
        let outcome = trainer.epoch_blocking(data, |progress| {
            bar.inc(1);
            if let Some(loss) = progress.loss {
                bar.set_message(format!("epoch {}, loss {loss:.4}", progress.epoch + 1));
            }
            if interrupted().is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        interrupted()?;
        trained.time += start.elapsed();
        match outcome.and_then(|()| trainer.accuracy_blocking(data)) {
            Ok(accuracy) => trained.curve.push(100.0 * accuracy),
            Err(error @ Error::Diverged { .. }) => {
                trained.diverged = Some(error.to_string());
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    Ok(trained)
}

impl Trained {
    fn row(&self, recipe: &Recipe, data: &str, seed: u64) -> Row {
        let memory = &self.memory;
        let row = Row::new("train", &recipe.name, data, self.diverged.is_none())
            .with("seed", seed)
            .with("weights_bytes", memory.weights)
            .with("master_bytes", memory.master)
            .with("optimizer_bytes", memory.optimizer)
            .with("gradients_bytes", memory.gradients)
            .with("activations_bytes", memory.activations)
            .with("peak_bytes", memory.total)
            .with("seconds", self.time.as_secs_f64());
        match &self.diverged {
            Some(failure) => row.with("failure", failure.clone()),
            None => row.with("accuracy_percent", self.accuracy()),
        }
        .with("accuracy_percent_by_epoch", self.curve.clone())
    }

    fn accuracy(&self) -> f64 {
        self.curve.last().copied().unwrap_or(0.0)
    }
}

/// A recipe's trainings, one for each seed.
struct Of {
    recipe: Recipe,
    runs: Vec<Trained>,
}

impl Of {
    /// The accuracies, unless a run was broken off.
    fn accuracies(&self) -> Option<Vec<f64>> {
        let of = |run: &Trained| run.diverged.is_none().then(|| run.accuracy());
        self.runs.iter().map(of).collect()
    }

    /// The table's line; `base` are the accuracies of f32, if there are several seeds.
    fn line(&self, base: Option<&[f64]>) -> Vec<String> {
        let seconds: Vec<_> = self.runs.iter().map(|run| run.time.as_secs_f64()).collect();
        let memory = self.runs.first().map(|run| run.memory).unwrap_or_default();
        let accuracies = self.accuracies();
        let accuracy = match &accuracies {
            Some(accuracies) => Mean::of(accuracies).spread(),
            None => "diverged".into(),
        };
        let mut line = vec![
            self.recipe.name.clone(),
            megabytes(memory.weights),
            format!("{:.1}", Mean::of(&seconds).mean),
            accuracy,
        ];
        if let Some(base) = base {
            line.push(match accuracies {
                Some(_) if self.recipe.name == "f32" => "-".into(),
                Some(accuracies) => Mean::of_differences(&accuracies, base).interval(),
                None => "diverged".into(),
            });
        }
        line.extend([
            megabytes(memory.master + memory.optimizer),
            megabytes(memory.total),
        ]);
        line
    }
}

/// What is trained, in a line.
fn network(args: &TrainArgs, model: &Model, weights: usize) -> String {
    format!(
        "Network: {} ({:.2} M weights), batch {}, {} epochs, learning rate {}{}, {}",
        model.name,
        weights as f64 / 1e6,
        args.batch,
        args.epochs,
        args.learning_rate,
        match args.schedule {
            ScheduleName::Constant => String::new(),
            ScheduleName::Step => format!(" times {} an epoch", args.rate_decay),
            ScheduleName::Cosine => ", half a cosine".into(),
        },
        match args.optimizer {
            OptimizerName::Sgd => format!("momentum {}", args.momentum),
            OptimizerName::Adamw => "AdamW".into(),
        }
    )
}

pub(crate) fn run(common: &Common, args: &TrainArgs, output: &mut Output) -> Result<(), Stop> {
    let seeds = seeds::of(&args.seeds, args.seed)?;
    let device = device::open(common, output)?;
    let mut recipes = recipes(args, &device, output)?;
    if seeds.len() > 1 && !recipes.iter().any(|recipe| recipe.name == "f32") {
        recipes.insert(0, Recipe::f32());
    }
    let (data, name) = load(args)?;
    let mut options = TrainOptions::default();
    options.model = model(args)?;
    options.batch = args.batch as usize;
    options.learning_rate = args.learning_rate;
    options.epochs = args.epochs as usize;
    options.schedule = match args.schedule {
        ScheduleName::Constant => Schedule::Constant,
        ScheduleName::Step => Schedule::Step {
            factor: args.rate_decay,
        },
        ScheduleName::Cosine => Schedule::Cosine,
    };
    options.warm_up = args.warm_up;
    options.augment = match args.augment {
        AugmentName::None => Augment::None,
        AugmentName::Shift1 => Augment::Shift1,
    };
    options.optimizer = match args.optimizer {
        OptimizerName::Sgd => Optimizer::Sgd,
        OptimizerName::Adamw => Optimizer::adamw(),
    };
    options.momentum = args.momentum;
    options.weight_decay = args.weight_decay;
    output.line(&format!("Data: {name}"));
    output.line(&network(args, &options.model, options.model.weights()?));
    let several = seeds.len() > 1;
    let mut all = Vec::new();
    for recipe in recipes {
        let mut runs = Vec::new();
        for &seed in &seeds {
            options.seed = seed;
            let trained = train(&device, &recipe, &options, (&data, args.epochs), output)?;
            output.row(trained.row(&recipe, &name, seed));
            // Shown as they come: the whole table takes minutes.
            let of = if several {
                format!(", seed {seed}")
            } else {
                String::new()
            };
            output.complain(&match &trained.diverged {
                Some(why) => why.clone(),
                None => format!(
                    "{}{of}: {:.2} % in {:.1} s",
                    recipe.name,
                    trained.accuracy(),
                    trained.time.as_secs_f64()
                ),
            });
            if let Some(why) = &trained.diverged {
                output.fail(why);
            }
            runs.push(trained);
        }
        all.push(Of { recipe, runs });
    }
    table(&all, several, output);
    Ok(())
}

fn table(all: &[Of], several: bool, output: &mut Output) {
    let base = all.iter().find(|of| of.recipe.name == "f32").filter(|_| several);
    let base = base.and_then(Of::accuracies);
    let mut header = vec![
        "Format",
        "Memory (MB)",
        "Train time (s)",
        "Accuracy (%)",
        "Master + optimizer (MB)",
        "Peak (MB)",
    ];
    if base.is_some() {
        header.insert(4, "Less f32 (points, 95 %)");
    }
    let lines: Vec<_> = all.iter().map(|of| of.line(base.as_deref())).collect();
    output.table(&header, &header[1..], &lines);
    output.line(
        "MB are 10^6 bytes. Memory: what the buffers that hold weights and biases hold. Peak: all buffers.",
    );
    if several {
        output
            .line("Accuracy: mean and standard deviation of the seeds. Less f32: seed by seed, Student's t.");
    }
}
