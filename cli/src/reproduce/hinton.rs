//! `hinton` (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015): a large regularized network
//! teaches a smaller one without regularization; and one that never sees a three.

use fewbit::nn::data::{Dataset, Split};
use fewbit::nn::train::{Augment, TrainOptions, Trainer};
use fewbit::nn::{Distillation, Layer, Logits, Model, Recipe, Teacher};

use super::super::Stop;
use super::super::output::Row;
use super::claims::Claim;
use super::lab::{self, Job, Lab, Of, Run};
use super::rates;

const TEMPERATURE: f32 = 20.0;
/// The weight of labels beside the teacher.
const ALPHA: f32 = 0.1;
/// The digit that the transfer set lacks.
const DIGIT: u8 = 3;
/// The share of the gap between student and teacher that is closed, in the paper, and at least to count.
const CLOSED: [f64; 2] = [0.91, 0.5];
/// The share of threes that are right, in the paper, and at least to count.
const THREES: [f64; 2] = [0.986, 0.9];

/// What one seed came to.
struct Seed {
    /// Mistakes on the test images, of teacher, student alone and student of the teacher.
    errors: [f64; 3],
    unseen: Unseen,
}

/// A student that never saw the digit.
#[derive(Clone, Copy, Debug)]
struct Unseen {
    /// What was added to the digit's logit.
    bias: f64,
    /// Images of the digit in the test set, and how many are right before and after the bias.
    images: usize,
    right: [usize; 2],
    /// Mistakes on all test images, before and after.
    errors: [usize; 2],
}

/// How its teacher and its student are trained.
pub(super) fn options(lab: &Lab<'_>) -> [TrainOptions; 2] {
    let dropout = || Layer::Dropout { p: 0.5 };
    let teacher = [
        Layer::Linear { outputs: 1200 },
        Layer::Relu,
        dropout(),
        Layer::Linear { outputs: 1200 },
        Layer::Relu,
        dropout(),
        Layer::Linear { outputs: 10 },
    ];
    let named = Model::new("784-1200-1200-10 with dropout", [1, 1, 784]);
    let teacher = lab.model(teacher.into_iter().fold(named, Model::with));
    let student = lab.model(Model::mlp(&[784, 800, 800, 10]));
    [
        lab.options(teacher, rates::HINTON_TEACHER, Augment::Shift1),
        lab.options(student, rates::HINTON_STUDENT, Augment::None),
    ]
}

pub(super) fn run(lab: &mut Lab<'_>) -> Result<(), Stop> {
    let [teacher, student] = options(lab);
    lab.network(&teacher)?;
    lab.network(&student)?;
    let mut all = Vec::new();
    let names = ["teacher", "student alone", "student of the teacher"];
    let mut curves = names.map(|name| Of {
        name: name.into(),
        runs: Vec::new(),
    });
    for seed in lab.seeds.clone() {
        let f32 = Recipe::f32();
        let job = |what, options: &fewbit::nn::train::TrainOptions| {
            let mut options = options.clone();
            options.seed = seed;
            Job {
                what,
                recipe: &f32,
                options,
                data: &lab.data.set,
                teacher: None,
            }
        };
        let (taught, mut trainer) = lab.train(job(names[0], &teacher))?;
        let logits = trainer.logits_of_blocking(lab.data.set.train())?;
        drop(trainer);
        let (alone, _) = lab.train(job(names[1], &student))?;
        let mut distilled = job(names[2], &student);
        distilled.options.distillation = Some(Distillation {
            temperature: TEMPERATURE,
            alpha: ALPHA,
        });
        distilled.teacher = Some(Teacher::new(logits.clone()));
        let (of, _) = lab.train(distilled)?;
        let (set, some) = without(&lab.data.set, &logits)?;
        let mut job = job("student that saw no three", &student);
        // Of the teacher alone.
        job.options.distillation = Some(Distillation {
            temperature: TEMPERATURE,
            alpha: 0.0,
        });
        job.teacher = Some(Teacher::new(some));
        job.data = &set;
        let (_, trainer) = lab.train(job)?;
        let unseen = unseen(lab, trainer)?;
        let runs = [taught, alone, of];
        let errors = errors(lab, &runs)?;
        rows(lab, seed, &runs, &unseen);
        for (curve, run) in curves.iter_mut().zip(runs) {
            curve.runs.push(run);
        }
        all.push(Seed { errors, unseen });
    }
    table(lab, &all);
    lab.curves(
        "hinton.svg",
        "A teacher and its students",
        &curves.iter().collect::<Vec<_>>(),
    )?;
    let claims = claims(&all);
    lab.conclude(&claims);
    Ok(())
}

/// The images that are no threes, and their logits.
fn without(set: &Dataset, logits: &Logits) -> Result<(Dataset, Logits), Stop> {
    let (train, pixels) = (set.train(), set.pixels());
    let (mut some, mut values) = (Split::default(), Vec::new());
    for (image, label) in train.labels.iter().enumerate() {
        if *label != DIGIT {
            some.labels.push(*label);
            some.images.extend(&train.images[image * pixels..][..pixels]);
            values.extend(logits.row(image));
        }
    }
    Ok((
        lab::with(set, some, set.test().clone())?,
        Logits::new(logits.classes(), values)?,
    ))
}

/// How far the digit's logit is below the largest other of every image: what must be added for the digit to be the answer.
fn margins(logits: &Logits) -> Vec<f64> {
    let digit = usize::from(DIGIT);
    let rows = (0..logits.images()).map(|image| logits.row(image));
    rows.map(|row| {
        let others = row.iter().enumerate().filter(|(class, _)| *class != digit);
        let best = others.map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max);
        f64::from(best) - f64::from(row[digit])
    })
    .collect()
}

/// The bias with which `count` images have the digit as their answer, halfway to one more.
fn bias(mut margins: Vec<f64>, count: usize) -> f64 {
    margins.sort_by(f64::total_cmp);
    let count = count.min(margins.len());
    match (count.checked_sub(1).map(|last| margins[last]), margins.get(count)) {
        (Some(last), Some(next)) => 0.5 * (last + next),
        (Some(last), None) => last + 1.0,
        (None, Some(next)) => next - 1.0,
        (None, None) => 0.0,
    }
}

/// The class of every image, with the bias on the digit's logit; of equal ones the first.
fn classes(logits: &Logits, bias: f64) -> Vec<u8> {
    let rows = (0..logits.images()).map(|image| logits.row(image));
    rows.map(|row| {
        let own = |class: usize| {
            let more = if class == usize::from(DIGIT) { bias } else { 0.0 };
            f64::from(row[class]) + more
        };
        let best = (1..row.len()).fold(0, |best, class| match own(class) > own(best) {
            true => class,
            false => best,
        });
        best as u8
    })
    .collect()
}

/// Tests a student that never saw the digit, as it is and with the bias. That is set on the images to train on: as many
/// are to be predicted threes as there are.
fn unseen(lab: &Lab<'_>, mut trainer: Trainer) -> Result<Unseen, Stop> {
    let (train, test) = (lab.data.set.train(), lab.data.set.test());
    let threes = |labels: &[u8]| labels.iter().filter(|label| **label == DIGIT).count();
    let bias = bias(
        margins(&trainer.logits_of_blocking(train)?),
        threes(&train.labels),
    );
    let logits = trainer.logits_of_blocking(test)?;
    let judged = [0.0, bias].map(|bias| {
        let said = classes(&logits, bias);
        let pairs = || said.iter().zip(&test.labels);
        let right = pairs().filter(|(said, label)| said == label && **label == DIGIT);
        (
            right.count(),
            pairs().filter(|(said, label)| said != label).count(),
        )
    });
    Ok(Unseen {
        bias,
        images: threes(&test.labels),
        right: judged.map(|(right, _)| right),
        errors: judged.map(|(_, errors)| errors),
    })
}

/// Mistakes on the test images.
fn errors(lab: &Lab<'_>, runs: &[Run; 3]) -> Result<[f64; 3], Stop> {
    let images = lab.data.set.test().len() as f64;
    let mut errors = [0.0; 3];
    for (errors, run) in errors.iter_mut().zip(runs) {
        let right = run
            .accuracy()
            .ok_or_else(|| Stop::Input("a network diverged: there are no errors to count".into()))?;
        *errors = (images * (1.0 - right / 100.0)).round();
    }
    Ok(errors)
}

fn rows(lab: &mut Lab<'_>, seed: u64, runs: &[Run; 3], unseen: &Unseen) {
    for (what, run) in ["teacher", "student alone", "student of the teacher"]
        .iter()
        .zip(runs)
    {
        lab.row(what, seed, run);
    }
    let row = Row::new("reproduce", "student that saw no three", lab.name, true)
        .with("seed", seed)
        .with("bias", unseen.bias)
        .with("threes", unseen.images)
        .with("threes_right", unseen.right[1])
        .with("threes_right_without_bias", unseen.right[0])
        .with("errors", unseen.errors[1])
        .with("errors_without_bias", unseen.errors[0]);
    lab.output.row(row);
}

fn table(lab: &Lab<'_>, all: &[Seed]) {
    let lines: Vec<_> = lab
        .seeds
        .iter()
        .zip(all)
        .map(|(seed, of)| {
            let [teacher, alone, taught] = of.errors;
            let unseen = &of.unseen;
            vec![
                seed.to_string(),
                teacher.to_string(),
                alone.to_string(),
                taught.to_string(),
                format!("{} and {} of {}", unseen.right[0], unseen.right[1], unseen.images),
                format!("{} and {}", unseen.errors[0], unseen.errors[1]),
                format!("{:.2}", unseen.bias),
            ]
        })
        .collect();
    let header = [
        "Seed",
        "Teacher's errors",
        "Student's, alone",
        "Student's, taught",
        "Never saw a 3: threes right",
        "Its errors",
        "Bias",
    ];
    lab.output.table(&header, &header, &lines);
    lab.output.line(&format!(
        "Errors of {} test images, at temperature {TEMPERATURE}. Of the student that never saw a 3: without and with a bias for threes, set so that as many of the training images are said to be threes as there are.",
        lab.data.set.test().len()
    ));
}

fn claims(all: &[Seed]) -> Vec<Claim> {
    let sum = |i: usize| all.iter().map(|seed| seed.errors[i]).sum::<f64>();
    let [teacher, alone, taught] = [0, 1, 2].map(sum);
    let gap = alone - teacher;
    let [paper, least] = CLOSED.map(|share| 100.0 * share);
    let closed = 100.0 * (alone - taught) / gap;
    let measured = match gap > 0.0 {
        true => format!("{closed:.0} %: {alone} errors alone, {taught} taught, {teacher} of the teacher"),
        false => format!("there is no gap: {alone} errors alone, {teacher} of the teacher"),
    };
    let threes: usize = all.iter().map(|seed| seed.unseen.images).sum();
    let right: usize = all.iter().map(|seed| seed.unseen.right[1]).sum();
    let share = right as f64 / threes.max(1) as f64;
    let [paper_threes, least_threes] = THREES.map(|share| 100.0 * share);
    vec![
        Claim::new(
            format!(
                "soft targets close {least:.0} % of the gap to the teacher, or more ({paper:.0} % in the paper)"
            ),
            measured,
            gap > 0.0 && closed >= least,
        ),
        Claim::new(
            format!(
                "a student that never saw a three gets {least_threes:.0} % of them right, or more ({paper_threes:.1} % in the paper)"
            ),
            format!("{:.1} %", 100.0 * share),
            share >= THREES[1],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_makes_as_many_threes_as_are_wanted() -> fewbit::Result<()> {
        let row = |three: f32, best: f32| [best, 0.0, 0.0, three];
        let logits = Logits::new(
            4,
            [row(1.0, 2.0), row(0.0, 5.0), row(4.0, 3.0), row(-1.0, 2.5)].concat(),
        )?;
        assert_eq!(margins(&logits), [1.0, 5.0, -1.0, 3.5]);
        for count in 0..=4 {
            let bias = bias(margins(&logits), count);
            let said = classes(&logits, bias);
            assert_eq!(
                said.iter().filter(|class| **class == DIGIT).count(),
                count,
                "{bias}"
            );
        }
        assert_eq!(classes(&logits, 0.0), [0, 0, 3, 0]);
        Ok(())
    }
}
