//! What trainings came to, as rows and as a table.

use fewbit::nn::{MemoryUse, Recipe};

use super::super::output::{Output, Row};
use super::super::seeds::Mean;
use super::history::History;

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// What one recipe's training came to.
pub(super) struct Trained {
    pub(super) memory: MemoryUse,
    pub(super) history: History,
    /// Why it was broken off.
    pub(super) diverged: Option<String>,
    /// An earlier call trained it: it was found in --out.
    pub(super) earlier: bool,
}

impl Trained {
    pub(super) fn row(&self, recipe: &Recipe, data: &str, seed: u64) -> Row {
        let memory = &self.memory;
        let row = Row::new("train", &recipe.name, data, self.diverged.is_none())
            .with("seed", seed)
            .with("weights_bytes", memory.weights)
            .with("master_bytes", memory.master)
            .with("optimizer_bytes", memory.optimizer)
            .with("gradients_bytes", memory.gradients)
            .with("activations_bytes", memory.activations)
            .with("operands_bytes", memory.operands)
            .with("peak_bytes", memory.total)
            .with("seconds", self.history.time())
            .with("trained_earlier", self.earlier);
        match &self.diverged {
            Some(failure) => row.with("failure", failure.clone()),
            None => row.with("accuracy_percent", self.accuracy()),
        }
        .with("accuracy_percent_by_epoch", self.history.curve())
    }

    fn accuracy(&self) -> f64 {
        self.history.epochs.last().map_or(0.0, |epoch| epoch.accuracy)
    }

    /// What it came to, in a line; `of` says which of several seeds.
    pub(super) fn line(&self, recipe: &Recipe, of: &str) -> String {
        let earlier = match self.earlier {
            true => " (earlier: it is not repeated)",
            false => "",
        };
        match &self.diverged {
            Some(why) => format!("{why}{earlier}"),
            None => format!(
                "{}{of}: {:.2} % in {:.1} s{earlier}",
                recipe.name,
                self.accuracy(),
                self.history.time()
            ),
        }
    }
}

/// A recipe's trainings, one for each seed.
pub(super) struct Of {
    pub(super) recipe: Recipe,
    pub(super) runs: Vec<Trained>,
}

impl Of {
    /// The accuracies, unless a run was broken off.
    fn accuracies(&self) -> Option<Vec<f64>> {
        let of = |run: &Trained| run.diverged.is_none().then(|| run.accuracy());
        self.runs.iter().map(of).collect()
    }

    /// The table's line; `base` are the accuracies of f32, if there are several seeds.
    fn line(&self, base: Option<&[f64]>) -> Vec<String> {
        let seconds: Vec<_> = self.runs.iter().map(|run| run.history.time()).collect();
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

pub(super) fn table(all: &[Of], several: bool, output: &mut Output) {
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
