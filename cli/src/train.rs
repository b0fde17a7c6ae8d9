//! `fewbit train`: the survey's perceptron in several number formats.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use fewbit::nn::data::Dataset;
use fewbit::nn::train::{TrainOptions, Trainer};
use fewbit::nn::{MemoryUse, Recipe, digits, mnist};
use fewbit::{Device, Error};

use super::output::{Output, Row};
use super::{Common, Stop, device, interrupted};

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// A directory with MNIST as IDX or IDX.gz files. Without it, digits drawn by the program itself.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Formats to train in: f64, f32, bf16-mixed, bf16-sr, bf16-nearest. All but the last by default (without
    /// f64 on a GPU, whose shading language has none).
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
    /// What the learning rate is multiplied by after each epoch.
    #[arg(long, default_value_t = 0.2, allow_hyphen_values = true, value_parser = super::options::rate)]
    rate_decay: f32,
    /// The momentum.
    #[arg(long, default_value_t = 0.9, allow_hyphen_values = true, value_parser = super::options::rate)]
    momentum: f32,
    /// Widths from pixels to classes.
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, default_values_t = [784, 2800, 2670, 10])]
    layers: Vec<u32>,
    /// Seed of the weights, the shuffles, the roundings, and the drawn digits.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    seed: u64,
    /// Digits drawn to train on, without --data.
    #[arg(long, default_value_t = 60_000, allow_negative_numbers = true)]
    train_images: usize,
    /// Digits drawn to test on, without --data.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true)]
    test_images: usize,
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
    let name = format!(
        "{name}: {} to train on, {} to test on",
        data.train().len(),
        data.test().len()
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
    fn row(&self, recipe: &Recipe, data: &str) -> Row {
        let memory = &self.memory;
        let row = Row::new("train", &recipe.name, data, self.diverged.is_none())
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

    fn line(&self, recipe: &Recipe) -> Vec<String> {
        let memory = &self.memory;
        vec![
            recipe.name.clone(),
            megabytes(memory.weights),
            format!("{:.1}", self.time.as_secs_f64()),
            match self.diverged {
                Some(_) => "diverged".into(),
                None => format!("{:.2}", self.accuracy()),
            },
            megabytes(memory.master + memory.optimizer),
            megabytes(memory.total),
        ]
    }
}

/// What is trained, in a line.
fn network(args: &TrainArgs) -> String {
    let widths: Vec<_> = args.layers.iter().map(ToString::to_string).collect();
    let weights: u64 = args
        .layers
        .windows(2)
        .map(|pair| u64::from(pair[0]) * u64::from(pair[1]))
        .fold(0, u64::saturating_add);
    format!(
        "Network: {} ({:.2} M weights), batch {}, {} epochs, learning rate {} times {} an epoch, momentum {}",
        widths.join("-"),
        weights as f64 / 1e6,
        args.batch,
        args.epochs,
        args.learning_rate,
        args.rate_decay,
        args.momentum
    )
}

pub(crate) fn run(common: &Common, args: &TrainArgs, output: &mut Output) -> Result<(), Stop> {
    let device = device::open(common, output)?;
    let recipes = recipes(args, &device, output)?;
    let (data, name) = load(args)?;
    let mut options = TrainOptions::default();
    options.layers = args.layers.iter().map(|&width| width as usize).collect();
    options.batch = args.batch as usize;
    options.learning_rate = args.learning_rate;
    options.rate_decay = args.rate_decay;
    options.momentum = args.momentum;
    options.seed = args.seed;
    output.line(&format!("Data: {name}"));
    output.line(&network(args));
    let mut lines = Vec::new();
    for recipe in recipes {
        let trained = train(&device, &recipe, &options, (&data, args.epochs), output)?;
        output.row(trained.row(&recipe, &name));
        lines.push(trained.line(&recipe));
        // Shown as they come: the whole table takes minutes.
        output.complain(&match &trained.diverged {
            Some(why) => why.clone(),
            None => format!(
                "{}: {:.2} % in {:.1} s",
                recipe.name,
                trained.accuracy(),
                trained.time.as_secs_f64()
            ),
        });
        if let Some(why) = &trained.diverged {
            output.fail(why);
        }
    }
    let header = [
        "Format",
        "Memory (MB)",
        "Train time (s)",
        "Accuracy (%)",
        "Master + optimizer (MB)",
        "Peak (MB)",
    ];
    output.table(&header, &header[1..], &lines);
    output.line(
        "MB are 10^6 bytes. Memory: what the buffers that hold weights and biases hold. Peak: all buffers.",
    );
    Ok(())
}
