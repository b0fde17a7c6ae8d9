//! What all claims share: trainings with a bar, tables, charts, and what is concluded of the figures.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use fewbit::nn::data::{Dataset, Split};
use fewbit::nn::train::{Augment, TrainOptions, Trainer};
use fewbit::nn::{Layer, MemoryUse, Model, Recipe, Schedule, Teacher};
use fewbit::{Device, Error};

use super::super::data::{Data, DataArgs, Wanted};
use super::super::output::{Output, Row};
use super::super::plot::chart::{Axis, Chart, Series, Style, Ticks};
use super::super::saved::Target;
use super::super::seeds::Mean;
use super::super::{Stop, interrupted};
use super::rates::Rate;

/// Images with --quick, to train and to test on.
const FEW: [usize; 2] = [256, 64];

/// Where a claim is measured, and what it is told to.
pub(super) struct Lab<'a> {
    pub(super) name: &'static str,
    pub(super) device: &'a Device,
    pub(super) data: Data,
    pub(super) seeds: Vec<u64>,
    pub(super) quick: bool,
    pub(super) charts: Charts,
    pub(super) output: &'a mut Output,
}

/// A training that is to be.
pub(super) struct Job<'a> {
    /// What it is called: the recipe's name, where nothing else differs.
    pub(super) what: &'a str,
    pub(super) recipe: &'a Recipe,
    pub(super) options: TrainOptions,
    pub(super) data: &'a Dataset,
    pub(super) teacher: Option<Teacher>,
}

/// What a training came to.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The mean of the losses that were read in each epoch (on CPU devices of all steps), and percent of the test images right after it.
    pub(super) epochs: Vec<(f64, f64)>,
    /// Without the tests.
    pub(super) seconds: f64,
    pub(super) memory: MemoryUse,
    /// Why it was broken off.
    pub(super) diverged: Option<String>,
}

/// One kind of training, a run for each seed.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) name: String,
    pub(super) runs: Vec<Run>,
}

/// The files of the charts, found to be writable before anything is measured.
pub(super) struct Charts(Vec<(&'static str, Target)>);

impl Charts {
    /// # Errors
    /// The folder cannot be made or written to.
    pub(super) fn new(folder: Option<&Path>, names: &[&'static str]) -> Result<Self, Stop> {
        let Some(folder) = folder else {
            return Ok(Self(Vec::new()));
        };
        std::fs::create_dir_all(folder)
            .map_err(|error| Stop::Input(format!("{} cannot be made: {error}", folder.display())))?;
        let targets = names
            .iter()
            .map(|name| Ok((*name, Target::new(&folder.join(name))?)));
        targets.collect::<Result<_, Stop>>().map(Self)
    }
}

/// The images of a claim.
pub(super) fn data(args: &DataArgs, holdout: usize, quick: bool) -> Result<Data, Stop> {
    let mut data = args.load(&Wanted {
        seed: 1,
        drawn: if quick { FEW } else { [60_000, 10_000] },
        holdout,
        validation: 0,
        image: [28, 28],
        classes: 10,
        test_alone: false,
    })?;
    if quick {
        let all = &data.set;
        let [train, test] = [(all.train(), FEW[0]), (all.test(), FEW[1])]
            .map(|(split, count)| first(split, count, all.pixels()));
        data.set = with(all, train, test)?;
    }
    Ok(data)
}

/// The first images of a split.
pub(super) fn first(split: &Split, count: usize, pixels: usize) -> Split {
    let count = count.min(split.len());
    Split {
        images: split.images[..count * pixels].to_vec(),
        labels: split.labels[..count].to_vec(),
    }
}

/// Other images of the same kind.
pub(super) fn with(like: &Dataset, train: Split, test: Split) -> Result<Dataset, Stop> {
    Dataset::new(train, test, like.rows(), like.cols(), like.classes())
        .map_err(|error| Stop::Input(error.to_string()))
}

impl Run {
    /// Percent of the test images after the last epoch, if it came to that.
    pub(super) fn accuracy(&self) -> Option<f64> {
        match self.diverged {
            Some(_) => None,
            None => self.epochs.last().map(|(_, right)| *right),
        }
    }
}

impl Of {
    /// All seeds' accuracies, unless a run was broken off.
    pub(super) fn accuracies(&self) -> Option<Vec<f64>> {
        self.runs.iter().map(Run::accuracy).collect()
    }

    /// The accuracy as a table shows it.
    pub(super) fn accuracy(&self) -> String {
        match self.accuracies() {
            Some(all) => Mean::of(&all).spread(),
            None => "diverged".into(),
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        let all: Vec<_> = self.runs.iter().map(|run| run.seconds).collect();
        Mean::of(&all).mean
    }

    pub(super) fn memory(&self) -> MemoryUse {
        self.runs.first().map(|run| run.memory).unwrap_or_default()
    }
}

impl Lab<'_> {
    /// A network, or with --quick what is left of it: few units of every layer.
    pub(super) fn model(&self, mut model: Model) -> Model {
        if !self.quick {
            return model;
        }
        let last = model.layers.len().saturating_sub(1);
        for layer in &mut model.layers[..last] {
            match layer {
                Layer::Linear { outputs } => *outputs = (*outputs).min(16),
                Layer::Conv2d { filters, .. } => *filters = (*filters).min(4),
                _ => {}
            }
        }
        model.name = format!("{}, tiny", model.name);
        model
    }

    /// The network of that name.
    pub(super) fn known(&self, name: &str) -> Result<Model, Stop> {
        Model::named(name)
            .map(|model| self.model(model))
            .ok_or_else(|| Stop::Input(format!("no model is called {name:?}")))
    }

    /// How it is trained, but for the seed.
    pub(super) fn options(&self, model: Model, rate: Rate, augment: Augment) -> TrainOptions {
        let mut options = TrainOptions::default();
        options.model = model;
        options.batch = if self.quick { 32 } else { 128 };
        options.learning_rate = rate.rate;
        options.epochs = if self.quick { 1 } else { rate.epochs };
        options.schedule = Schedule::Cosine;
        if self.device.as_gpu().is_none() {
            // There the loss is read without waiting for anything.
            options.report_every = 1;
        }
        options.augment = augment;
        options
    }

    /// Says what is trained.
    pub(super) fn network(&self, options: &TrainOptions) -> Result<(), Stop> {
        let model = &options.model;
        self.output.line(&format!(
            "Network: {} ({:.2} M weights), batch {}, {} epochs, learning rate {}, half a cosine, momentum {}, {}",
            model.name,
            model.weights()? as f64 / 1e6,
            options.batch,
            options.epochs,
            options.learning_rate,
            options.momentum,
            match options.augment {
                Augment::Shift1 => "images moved by up to a pixel",
                _ => "images as they are",
            }
        ));
        Ok(())
    }

    /// Trains, and tests after each epoch. A loss that is not finite ends it without being an error.
    pub(super) fn train(&self, job: Job<'_>) -> Result<(Run, Trainer), Stop> {
        let mut trainer = Trainer::new(self.device, job.recipe, &job.options)?;
        if let Some(teacher) = job.teacher {
            trainer.learn_from(teacher)?;
        }
        let steps = (job.data.train().len() / job.options.batch * job.options.epochs) as u64;
        let bar = self.output.bar(steps, job.what);
        let mut run = Run {
            epochs: Vec::new(),
            seconds: 0.0,
            memory: trainer.memory(),
            diverged: None,
        };
        let outcome = epochs(&mut trainer, &mut run, job.data, job.options.epochs, &bar);
        bar.finish_and_clear();
        if let Err(error) = outcome {
            match error {
                Ended::Diverged(why) => run.diverged = Some(why),
                Ended::Stop(stop) => return Err(stop),
            }
        }
        let seed = job.options.seed;
        self.output.complain(&match (&run.diverged, run.accuracy()) {
            (None, Some(right)) => {
                format!("{}, seed {seed}: {right:.2} % in {:.1} s", job.what, run.seconds)
            }
            (why, _) => format!(
                "{}, seed {seed}: {}",
                job.what,
                why.as_deref().unwrap_or("no epoch")
            ),
        });
        Ok((run, trainer))
    }

    /// Trains with every seed, on the images of the command line; what is left of each network is for `then`.
    pub(super) fn each(
        &mut self,
        recipe: &Recipe,
        options: &TrainOptions,
        mut then: impl FnMut(&mut Trainer) -> Result<(), Stop>,
    ) -> Result<Of, Stop> {
        let mut runs = Vec::new();
        for seed in self.seeds.clone() {
            let mut options = options.clone();
            options.seed = seed;
            let job = Job {
                what: &recipe.name,
                recipe,
                options,
                data: &self.data.set,
                teacher: None,
            };
            let (run, mut trainer) = self.train(job)?;
            then(&mut trainer)?;
            drop(trainer);
            self.row(&recipe.name, seed, &run);
            runs.push(run);
        }
        Ok(Of {
            name: recipe.name.clone(),
            runs,
        })
    }

    /// A training as a row of the JSON object.
    pub(super) fn row(&mut self, what: &str, seed: u64, run: &Run) {
        let right: Vec<_> = run.epochs.iter().map(|(_, right)| *right).collect();
        let losses: Vec<_> = run.epochs.iter().map(|(loss, _)| *loss).collect();
        // A training that diverges is a result here, and no failure.
        let row = Row::new("reproduce", what, self.name, true)
            .with("seed", seed)
            .with("weights_bytes", run.memory.weights)
            .with("peak_bytes", run.memory.total)
            .with("seconds", run.seconds)
            .with("accuracy_percent", run.accuracy())
            .with("accuracy_percent_by_epoch", right)
            .with("loss_by_epoch", losses)
            .with("diverged", run.diverged.clone());
        self.output.row(row);
    }

    /// Another measured row.
    pub(super) fn measured(&mut self, what: &str, key: &str, value: f64) {
        let row = Row::new("reproduce", what, self.name, true).with(key, value);
        self.output.row(row);
    }

    /// Writes a chart, if they were asked for.
    pub(super) fn chart(&self, name: &str, mut chart: Chart) -> Result<(), Stop> {
        let Some((_, target)) = self.charts.0.iter().find(|(own, _)| *own == name) else {
            return Ok(());
        };
        let quick = if self.quick { ", --quick" } else { "" };
        let about = format!(
            "fewbit {} on {}; {}{quick}",
            env!("CARGO_PKG_VERSION"),
            self.device.describe(),
            self.data.name
        );
        chart.subtitle = match chart.subtitle.as_str() {
            "" => about,
            more => format!("{about}; {more}"),
        };
        let svg = chart
            .svg()
            .map_err(|error| Stop::Input(format!("{name}: {error}")))?;
        match svg {
            Some(svg) => target.write(svg.as_bytes()),
            None => {
                self.output
                    .line(&format!("{name} is not drawn: nothing could be measured for it"));
                Ok(())
            }
        }
    }

    /// Writes a chart of the accuracies after each epoch.
    pub(super) fn curves(&self, name: &str, title: &str, all: &[&Of]) -> Result<(), Stop> {
        let mut series = Vec::new();
        for (colour, of) in all.iter().enumerate() {
            for run in &of.runs {
                let points = (1..).zip(&run.epochs);
                series.push(Series {
                    name: of.name.clone(),
                    points: points
                        .map(|(epoch, (_, right)): (u32, _)| (epoch.into(), *right))
                        .collect(),
                    style: Style::Curve,
                    colour,
                });
            }
        }
        let axis = |label, ticks| Axis { label, ticks };
        let chart = Chart {
            title: title.into(),
            subtitle: String::new(),
            x: axis("epoch", Ticks::Whole),
            y: axis("right (%)", Ticks::Linear),
            series,
            marks: Vec::new(),
        };
        self.chart(name, chart)
    }
}

/// Why a training came to no end.
enum Ended {
    Diverged(String),
    Stop(Stop),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match error {
            Error::Diverged { .. } => Self::Diverged(error.to_string()),
            other => Self::Stop(other.into()),
        }
    }
}

fn epochs(
    trainer: &mut Trainer,
    run: &mut Run,
    data: &Dataset,
    epochs: usize,
    bar: &indicatif::ProgressBar,
) -> Result<(), Ended> {
    let batch = trainer.options().batch as f64;
    for _ in 0..epochs {
        let start = Instant::now();
        let right = run.epochs.last().map(|(_, right)| *right);
        let (mut losses, mut read, mut done) = (0.0, 0.0, 0.0);
        let outcome = trainer.epoch_blocking(data, |progress| {
            bar.inc(1);
            done += 1.0;
            if let Some(loss) = progress.loss {
                losses += loss;
                read += 1.0;
                let rate = done * batch / start.elapsed().as_secs_f64();
                let right = right.map_or(String::new(), |right| format!(", {right:.2} %"));
                bar.set_message(format!(
                    "epoch {}, loss {loss:.4}{right}, {rate:.0} images/s, {:.0?} left",
                    progress.epoch + 1,
                    bar.eta()
                ));
            }
            match interrupted() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        run.seconds += start.elapsed().as_secs_f64();
        outcome?;
        interrupted().map_err(Ended::Stop)?;
        let right = 100.0 * trainer.accuracy_blocking(data)?;
        run.epochs.push((losses / f64::max(read, 1.0), right));
    }
    Ok(())
}
