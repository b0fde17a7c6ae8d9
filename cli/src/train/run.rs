//! One recipe's training from one seed: begun, gone on with, or found finished.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use fewbit::nn::Recipe;
use fewbit::nn::train::{TrainOptions, Trainer};
use fewbit::{Device, Error};
use indicatif::ProgressBar;

use super::super::data::Data;
use super::super::distill::Teaching;
use super::super::output::Output;
use super::super::stored::Weights;
use super::super::{Stop, interrupted};
use super::args::Keeping;
use super::checkpoint;
use super::folder::{Folder, Run};
use super::history::History;
use super::table::Trained;

/// What all runs share.
pub(super) struct Job<'a> {
    pub(super) device: &'a Device,
    pub(super) data: &'a Data,
    pub(super) options: TrainOptions,
    pub(super) init: Option<&'a Weights>,
    pub(super) teaching: Option<&'a Teaching>,
    pub(super) keeping: &'a Keeping,
    pub(super) folder: Option<&'a Folder>,
    pub(super) output: &'a Output,
}

impl Job<'_> {
    pub(super) fn train(&self, recipe: &Recipe, seed: u64) -> Result<Trained, Stop> {
        let run = self.folder.map(|folder| folder.run(recipe, seed));
        if let Some(run) = &run
            && let Some(trained) = run.finished()?
        {
            return Ok(trained);
        }
        let mut options = self.options.clone();
        options.seed = seed;
        if self.device.as_gpu().is_none() {
            // There it waits for nothing.
            options.report_every = 1;
        }
        if run.is_some() {
            // Twice an epoch: reading all weights takes time that is none of training's.
            let steps = self.data.set.train().len() / options.step_images().max(1);
            options.watch_every = (steps / 2).max(1);
        }
        let mut trainer = Trainer::new(self.device, recipe, &options)?;
        if let Some(teaching) = self.teaching {
            trainer.learn_from(teaching.teacher.clone())?;
        }
        if let Some(init) = self.init {
            init.apply(&mut trainer)?;
        }
        let mut history = History::default();
        if let Some(run) = &run {
            let resumed = match self.keeping.resume {
                true => checkpoint::resume(run, &mut trainer)?,
                false => None,
            };
            if let Some((old, path)) = resumed {
                history = old;
                self.tell(recipe, "it goes on from", &path);
            }
            // Nothing is removed before what is to be taken up has been.
            run.begin(self.keeping.resume)?;
        }
        let bar = self.bar(recipe, &trainer);
        let outcome = self.epochs(&mut trainer, &mut history, run.as_ref(), &bar);
        bar.finish_and_clear();
        let diverged = match outcome {
            Ok(()) => None,
            Err(Ended::Diverged(why)) => Some(format!("{why} ({})", first_to_go(&trainer)?)),
            Err(Ended::Stop(stop)) => return Err(stop),
        };
        let trained = Trained {
            memory: trainer.memory(),
            history,
            diverged,
            earlier: false,
        };
        if let Some(run) = &run {
            let set = &self.data.set;
            if self.keeping.save_every.is_some() && trained.diverged.is_none() {
                // What more epochs go on from.
                checkpoint::save(run, &trainer, &trained.history, self.keeping.keep as usize)?;
            }
            run.finish(&trained, &trainer, [set.rows(), set.cols()])?;
        }
        Ok(trained)
    }

    fn tell(&self, recipe: &Recipe, what: &str, path: &Path) {
        self.output
            .complain(&format!("{}: {what} {}", recipe.name, path.display()));
    }

    fn bar(&self, recipe: &Recipe, trainer: &Trainer) -> ProgressBar {
        let steps = (self.data.set.train().len() / self.options.step_images()) as u64;
        let bar = self.output.bar(steps * self.options.epochs as u64, &recipe.name);
        bar.set_position(u64::from(trainer.steps()));
        bar.reset_eta();
        bar
    }

    /// Trains and tests until all epochs are done.
    fn epochs(
        &self,
        trainer: &mut Trainer,
        history: &mut History,
        run: Option<&Run>,
        bar: &ProgressBar,
    ) -> Result<(), Ended> {
        let recipe = trainer.recipe().clone();
        while history.epochs.len() < self.options.epochs {
            // A run that was broken off between an epoch and its test goes on with the test.
            if trainer.position()[0] == history.epochs.len() {
                self.steps(trainer, history, bar)?;
                let save = interrupted().is_err() || self.is_due(trainer.steps());
                if let Some(run) = run.filter(|_| save) {
                    let saved = checkpoint::save(run, trainer, history, self.keeping.keep as usize)?;
                    if let (Some(path), Err(_)) = (saved, interrupted()) {
                        self.tell(&recipe, "--resume goes on from", &path);
                    }
                }
                interrupted()?;
            }
            if trainer.position()[0] > history.epochs.len() {
                let accuracy = trainer.accuracy_blocking(&self.data.set)?;
                history.end_epoch(trainer.steps(), 100.0 * accuracy, trainer.updates());
                if let Some(run) = run {
                    run.metrics(history)?;
                }
            }
        }
        Ok(())
    }

    fn is_due(&self, steps: u32) -> bool {
        self.keeping
            .save_every
            .is_some_and(|every| steps.is_multiple_of(every))
    }

    /// Trains to the end of the epoch, or to where a checkpoint is due.
    fn steps(&self, trainer: &mut Trainer, history: &mut History, bar: &ProgressBar) -> Result<(), Error> {
        let start = Instant::now();
        let before = trainer.steps();
        let mut done = before;
        let right = history.epochs.last().map(|epoch| epoch.accuracy);
        let batch = self.options.step_images() as f64;
        let outcome = trainer.epoch_blocking(&self.data.set, |progress| {
            bar.inc(1);
            done += 1;
            if let Some(loss) = progress.loss {
                history.losses += loss;
                history.read += 1;
                let rate = f64::from(done - before) * batch / start.elapsed().as_secs_f64();
                let right = right.map_or(String::new(), |right| format!(", {right:.2} %"));
                bar.set_message(format!(
                    "epoch {}, loss {loss:.4}{right}, {rate:.0} images/s, {:.0?} left",
                    progress.epoch + 1,
                    bar.eta()
                ));
            }
            match interrupted().is_err() || self.is_due(done) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        history.seconds += start.elapsed().as_secs_f64();
        outcome
    }
}

/// Where numbers are not finite any more, in a training that diverged.
fn first_to_go(trainer: &Trainer) -> Result<String, Error> {
    let state = trainer.state_blocking()?;
    let gone = state.tensors.iter().find(|stored| !stored.is_finite());
    Ok(match gone {
        Some(stored) => format!("{} is not finite: the first layer that is not", stored.name),
        None => "all weights are finite still".into(),
    })
}

/// Why a training came to no end.
enum Ended {
    /// By itself.
    Diverged(String),
    /// From outside.
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

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}
