//! `--tune`: the stored rates of a claim beside the others of the grid, all on validation images.

use fewbit::nn::Recipe;
use fewbit::nn::train::TrainOptions;

use super::super::Stop;
use super::super::output::Row;
use super::super::seeds::Mean;
use super::lab::{Job, Lab};
use super::rates::GRID;

/// Images to choose on: the last of those to train on.
const VALIDATION: usize = 5000;
const FEW: usize = 64;

/// A training of a claim, and what it is of.
pub(super) type Training = (&'static str, TrainOptions);

pub(super) fn run(lab: &mut Lab<'_>, trainings: Vec<Training>) -> Result<(), Stop> {
    let count = if lab.quick { FEW } else { VALIDATION };
    let chosen = lab.data.set.clone().validation(count);
    lab.data.set = chosen.map_err(|error| Stop::Input(error.to_string()))?;
    lab.output.line(&format!(
        "Rates are tried in f32, on {count} images to validate on; no test image is looked at"
    ));
    for (what, options) in trainings {
        lab.network(&options)?;
        grid(lab, what, &options)?;
    }
    Ok(())
}

fn grid(lab: &mut Lab<'_>, what: &'static str, options: &TrainOptions) -> Result<(), Stop> {
    let stored = options.learning_rate;
    let mut all = Vec::new();
    for rate in GRID {
        let mut right = Vec::new();
        for seed in lab.seeds.clone() {
            let mut options = options.clone();
            (options.learning_rate, options.seed) = (rate, seed);
            let job = Job {
                what: &format!("{what}, rate {rate}"),
                recipe: &Recipe::f32(),
                options,
                data: &lab.data.set,
                teacher: None,
            };
            right.push(lab.train(job)?.0.accuracy());
        }
        // A rate at which some seed diverges is none.
        let right: Option<Vec<_>> = right.into_iter().collect();
        all.push((rate, right.map(|right| Mean::of(&right))));
    }
    let best = best(&all);
    let lines: Vec<_> = all
        .iter()
        .map(|(rate, right)| {
            let notes = [(*rate == stored, "stored"), (Some(*rate) == best, "best")];
            let notes: Vec<_> = notes
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, note)| *note)
                .collect();
            let right = right.map_or("diverged".into(), |right| right.spread());
            vec![rate.to_string(), right, notes.join(", ")]
        })
        .collect();
    let header = ["Learning rate", "Right of validation images (%)", "What it is"];
    lab.output.table(&header, &header[..2], &lines);
    let of = |wanted: Option<f32>| {
        let mut found = all.iter().filter(|(rate, _)| Some(*rate) == wanted);
        found.next().and_then(|(_, right)| *right)
    };
    lab.output.line(&match (best, of(best), of(Some(stored))) {
        (Some(best), _, _) if best == stored => {
            format!("{what}: the stored rate, {stored}, is the best of the grid.")
        }
        (Some(best), Some(most), Some(own)) => format!(
            "{what}: the stored rate is {stored}; {best} is {:.2} points better here.",
            most.mean - own.mean
        ),
        (Some(best), ..) => format!("{what}: the stored rate, {stored}, diverges here; the best is {best}."),
        (None, ..) => format!("{what}: every rate of the grid diverges; stored is {stored}."),
    });
    for (rate, right) in &all {
        let row = Row::new("reproduce", what, lab.name, true)
            .with("learning_rate", number(*rate))
            .with("validation_accuracy_percent", right.map(|right| right.mean))
            .with("stored", *rate == stored)
            .with("best", Some(*rate) == best);
        lab.output.row(row);
    }
    Ok(())
}

/// The rate that is best on average; of equal ones the first, which is the least.
fn best(all: &[(f32, Option<Mean>)]) -> Option<f32> {
    let mut best: Option<(f32, f64)> = None;
    for (rate, right) in all {
        if let Some(right) = right
            && best.is_none_or(|(_, most)| right.mean > most)
        {
            best = Some((*rate, right.mean));
        }
    }
    best.map(|(rate, _)| rate)
}

/// As it is written: not the f64 that the f32 is.
fn number(value: f32) -> Option<f64> {
    value.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::rates::{FMAC, HINTON_STUDENT, HINTON_TEACHER, LENET, SMALL, TABLE1, TEACHER};
    use super::*;

    #[test]
    fn stored_rates_lie_within_the_grid() {
        assert!(GRID.is_sorted() && GRID.len() >= 5);
        for stored in [
            TABLE1,
            SMALL,
            FMAC,
            LENET,
            TEACHER,
            HINTON_TEACHER,
            HINTON_STUDENT,
        ] {
            // Not at its ends: a better rate might lie beyond.
            assert!(GRID[1..GRID.len() - 1].contains(&stored.rate), "{stored:?}");
        }
    }

    #[test]
    fn the_best_is_the_first_of_equals_and_never_one_that_diverges() {
        let mean = |value| Some(Mean::of(&[value]));
        assert_eq!(
            best(&[(0.1, mean(97.0)), (0.2, mean(98.0)), (0.5, mean(98.0))]),
            Some(0.2)
        );
        assert_eq!(best(&[(0.1, None), (0.2, mean(9.0))]), Some(0.2));
        assert_eq!(best(&[(0.1, None)]), None);
    }
}
