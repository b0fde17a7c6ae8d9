//! Students that learn from other networks' logits, and dropout, which evaluation never sees.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;
use std::sync::LazyLock;

use common::{gpu, on_gpu};
use fewbit::nn::data::{Dataset, Split};
use fewbit::nn::train::{Augment, TrainOptions, Trainer};
use fewbit::nn::{Distillation, Layer, Logits, Model, Recipe, Teacher, digits};
use fewbit::{Device, Error};
use libtest_mimic::{Failed, Trial};

const IMAGES: usize = 3000;

static DIGITS: LazyLock<Dataset> = LazyLock::new(|| digits::dataset(12, IMAGES, 500).expect("digits"));

/// The same images, all labelled 0.
static MISLABELLED: LazyLock<Dataset> = LazyLock::new(|| {
    let train = Split {
        images: DIGITS.train().images.clone(),
        labels: vec![0; IMAGES],
    };
    let (rows, cols) = (DIGITS.rows(), DIGITS.cols());
    Dataset::new(train, DIGITS.test().clone(), rows, cols, 10).expect("a data set")
});

fn main() {
    let arguments = common::arguments();
    let mut trials = vec![
        Trial::test("alpha 1 is the loss on labels", labels_alone),
        Trial::test("images without labels have the teacher's part", unlabelled),
        Trial::test("the loss scale scales this loss too", loss_scale),
        Trial::test("mixed logits are mixed probabilities", mixtures),
        Trial::test("what does not fit is refused", errors),
    ];
    for recipe in Recipe::known() {
        let name = recipe.name.clone();
        let own = recipe.clone();
        trials.push(Trial::test(
            format!("cpu::{name}::every operation in its class"),
            move || in_class(&Device::cpu(), &own),
        ));
        if ["f64", "f32", "bf16-sr"].contains(&name.as_str()) {
            let own = recipe.clone();
            trials.push(Trial::test(
                format!("cpu::{name}::a student follows its teacher"),
                move || follows(&Device::cpu(), &own),
            ));
            let own = recipe.clone();
            trials.push(Trial::test(
                format!("cpu::{name}::evaluation draws nothing"),
                move || evaluation(&Device::cpu(), &own),
            ));
        }
        if ["f32", "bf16-sr"].contains(&name.as_str()) {
            let own = recipe.clone();
            trials.push(on_gpu(
                format!("gpu::{name}::every operation in its class"),
                move || in_class(&Device::from_gpu(gpu()), &own),
            ));
            let own = recipe.clone();
            trials.push(on_gpu(
                format!("gpu::{name}::evaluation draws nothing"),
                move || evaluation(&Device::from_gpu(gpu()), &own),
            ));
        }
    }
    trials.push(on_gpu("gpu::a student follows its teacher", || {
        follows(&Device::from_gpu(gpu()), &Recipe::f32())
    }));
    common::end(&libtest_mimic::run(&arguments, trials))
}

fn options() -> TrainOptions {
    let mut options = TrainOptions::default();
    options.model = Model::mlp(&[784, 32, 10]);
    options.batch = 50;
    options.learning_rate = 0.05;
    options.seed = 3;
    options.report_every = 1;
    options
}

fn distilled(temperature: f32, alpha: f32) -> TrainOptions {
    let mut options = options();
    options.distillation = Some(Distillation { temperature, alpha });
    options
}

/// So many steps; the losses of all.
fn steps(trainer: &mut Trainer, data: &Dataset, count: usize) -> Result<Vec<f64>, Failed> {
    let mut losses = Vec::new();
    trainer.epoch_blocking(data, |progress| {
        losses.extend(progress.loss);
        match progress.step < count {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    Ok(losses)
}

fn teacher(device: &Device, recipe: &Recipe) -> Result<(Trainer, Teacher), Failed> {
    let mut trainer = Trainer::new(device, recipe, &options())?;
    for _ in 0..3 {
        trainer.epoch_blocking(&DIGITS, |_| ControlFlow::Continue(()))?;
    }
    let logits = trainer.logits_of_blocking(DIGITS.train())?;
    Ok((trainer, Teacher::new(logits)))
}

/// A student of wrong labels, which it does not look at, becomes as good as its teacher.
fn follows(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let (mut taught, teacher) = teacher(device, recipe)?;
    let of_teacher = taught.accuracy_blocking(&DIGITS)?;
    let blind = teacher.clone().with_labels(vec![false; IMAGES]);
    let mut accuracies = vec![of_teacher];
    // No weight on labels, and no labels.
    for (teacher, alpha) in [(teacher, 0.0), (blind, 0.3)] {
        let mut options = distilled(4.0, alpha);
        // The gradient is T times as large as that of labels where the teacher is not sure.
        options.learning_rate = 0.02;
        let mut student = Trainer::new(device, recipe, &options)?;
        student.learn_from(teacher)?;
        for _ in 0..3 {
            student.epoch_blocking(&MISLABELLED, |_| ControlFlow::Continue(()))?;
        }
        accuracies.push(student.accuracy_blocking(&DIGITS)?);
    }
    if of_teacher < 0.8 || accuracies.iter().any(|accuracy| *accuracy < of_teacher - 0.05) {
        return Err(format!("accuracies of teacher and students: {accuracies:?}").into());
    }
    Ok(())
}

/// Layers with dropout and a loss with a teacher, some images without labels.
fn in_class(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let checked = Device::checked(device.clone());
    let mut options = distilled(3.0, 0.25);
    options.batch = 13;
    options.model = dropping();
    let mut trainer = Trainer::new(&checked, recipe, &options)?;
    let values = (0..IMAGES * 10).map(|i| (i % 23) as f32 * 0.5 - 4.0);
    let teacher = Teacher::new(Logits::new(10, values.collect())?);
    trainer.learn_from(teacher.with_labels((0..IMAGES).map(|i| i % 3 > 0).collect()))?;
    steps(&mut trainer, &DIGITS, 3)?;
    trainer.logits_of_blocking(&Split {
        images: DIGITS.test().images[..20 * 784].to_vec(),
        labels: vec![0; 20],
    })?;
    Ok(())
}

fn dropping() -> Model {
    [
        Layer::Dropout { p: 0.2 },
        Layer::conv(3, 9),
        Layer::Dropout { p: 0.3 },
        Layer::Relu,
        Layer::max_pool(4),
        Layer::Dropout { p: 0.5 },
        Layer::Linear { outputs: 10 },
    ]
    .into_iter()
    .fold(Model::new("dropping", [28, 28, 1]), Model::with)
}

/// The logits are those of the network without dropout, whatever was trained before.
fn evaluation(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let mut with = options();
    with.batch = 7;
    with.model = dropping();
    let mut without = with.clone();
    without
        .model
        .layers
        .retain(|layer| !matches!(layer, Layer::Dropout { .. }));
    let mut dropped = Trainer::new(device, recipe, &with)?;
    steps(&mut dropped, &DIGITS, 2)?;
    let mut plain = Trainer::new(device, recipe, &without)?;
    for (from, to) in dropped.parameters().iter().zip(plain.parameters().to_vec()) {
        let words = pollster::block_on(dropped.read_parameter(from))?;
        plain.write_parameter(&to, words.words())?;
    }
    let logits = dropped.logits_of_blocking(DIGITS.test())?;
    if logits != plain.logits_of_blocking(DIGITS.test())?
        || logits != dropped.logits_of_blocking(DIGITS.test())?
    {
        return Err("logits depend on dropout".into());
    }
    let best = |image: usize| {
        let row = logits.row(image);
        (1..10).fold(0, |best, class| if row[class] > row[best] { class } else { best })
    };
    let labels = DIGITS.test().labels.iter().enumerate();
    let right = labels
        .filter(|(image, label)| best(*image) == usize::from(**label))
        .count();
    let accuracy = dropped.accuracy_blocking(&DIGITS)?;
    if accuracy != right as f64 / 500.0 {
        return Err(format!("{right} of 500 by the logits, and an accuracy of {accuracy}").into());
    }
    Ok(())
}

/// A step of rate 0 by options: the loss, with logits that are the images' numbers somehow.
fn loss_by(options: &TrainOptions, labelled: Option<bool>) -> Result<f64, Failed> {
    let mut options = options.clone();
    options.learning_rate = 0.0;
    let mut trainer = Trainer::new(&Device::reference(), &Recipe::f64(), &options)?;
    if options.distillation.is_some() {
        let values = (0..IMAGES * 10).map(|i| ((i * i) % 17) as f32 * 0.25);
        let mut teacher = Teacher::new(Logits::new(10, values.collect())?);
        if let Some(labelled) = labelled {
            teacher = teacher.with_labels(vec![labelled; IMAGES]);
        }
        trainer.learn_from(teacher)?;
    }
    Ok(steps(&mut trainer, &DIGITS, 1)?[0])
}

fn labels_alone() -> Result<(), Failed> {
    let plain = loss_by(&options(), None)?;
    let weighted = loss_by(&distilled(7.0, 1.0), None)?;
    if (plain - weighted).abs() > 1e-12 * plain {
        return Err(format!("{weighted}, not {plain}").into());
    }
    // In between, as much of each.
    let taught = loss_by(&distilled(7.0, 0.0), None)?;
    let mean = loss_by(&distilled(7.0, 0.5), Some(true))?;
    if (mean - (taught + plain) / 2.0).abs() > 1e-12 * mean || (taught - plain).abs() < 0.01 * plain {
        return Err(format!("{mean} between {taught} and {plain}").into());
    }
    Ok(())
}

/// A step of f16-mixed moves weights as far as one of f32: its gradient was scaled, and was scaled back.
fn loss_scale() -> Result<(), Failed> {
    let moved = |recipe: &Recipe| -> Result<f64, Failed> {
        let mut trainer = Trainer::new(&Device::cpu(), recipe, &distilled(4.0, 0.25))?;
        let values = (0..IMAGES * 10).map(|i| ((i * i) % 17) as f32 * 0.25);
        trainer.learn_from(Teacher::new(Logits::new(10, values.collect())?))?;
        // A bias starts at 0.
        let bias = trainer.parameters()[3].clone();
        steps(&mut trainer, &DIGITS, 1)?;
        let words = pollster::block_on(trainer.read_parameter(&bias))?;
        let view = fewbit::tensor::View::new(bias.dtype, 1, bias.cols, bias.ld);
        Ok((0..10).map(|i| view.load(words.words(), 0, i).powi(2)).sum())
    };
    let mixed = Recipe::f16_mixed().ok_or("no f16")?;
    let (wide, scaled) = (moved(&Recipe::f32())?, moved(&mixed)?);
    if (wide - scaled).abs() > 0.05 * wide {
        return Err(format!("moved by {scaled}, and in f32 by {wide}").into());
    }
    Ok(())
}

fn unlabelled() -> Result<(), Failed> {
    let taught = loss_by(&distilled(7.0, 0.0), None)?;
    let part = loss_by(&distilled(7.0, 0.25), Some(false))?;
    if (part - 0.75 * taught).abs() > 1e-12 * taught {
        return Err(format!("{part}, not three quarters of {taught}").into());
    }
    Ok(())
}

fn shares(row: &[f32], temperature: f64) -> Vec<f64> {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let terms: Vec<_> = row
        .iter()
        .map(|x| (f64::from(x - top) / temperature).exp())
        .collect();
    let sum: f64 = terms.iter().sum();
    terms.iter().map(|term| term / sum).collect()
}

fn mixtures() -> Result<(), Failed> {
    let one = Logits::new(3, vec![1.0, 2.0, -4.0, 0.5, 0.5, 8.0])?;
    let other = Logits::new(3, vec![-3.0, 0.0, 2.0, 900.0, 1.0, 2.0])?;
    let weights = [3.0, 1.0];
    for temperature in [0.5f32, 1.0, 20.0] {
        let mixed = Logits::mixed(&[one.clone(), other.clone()], Some(&weights), temperature)?;
        let t = f64::from(temperature);
        for image in 0..2 {
            let (a, b) = (shares(one.row(image), t), shares(other.row(image), t));
            let got = shares(mixed.row(image), t);
            for class in 0..3 {
                let want = 0.75 * a[class] + 0.25 * b[class];
                if (got[class] - want).abs() > 1e-5 {
                    return Err(format!("{} of class {class}, not {want}", got[class]).into());
                }
            }
        }
    }
    // Far apart: naive exponentials would be infinite, and logits are kept to the last class.
    let row = Logits::mixed(&[other.clone(), other.clone()], None, 1.0)?;
    let kept = (row.row(1)[1] - row.row(1)[0] + 899.0).abs() < 1e-3;
    if !kept || Logits::mixed(std::slice::from_ref(&one), None, 3.0)? != one {
        return Err(format!("{row:?}").into());
    }
    Ok(())
}

fn errors() -> Result<(), Failed> {
    let (cpu, recipe) = (Device::cpu(), Recipe::f32());
    for (temperature, alpha) in [
        (0.0, 0.5),
        (-1.0, 0.5),
        (f32::NAN, 0.5),
        (f32::INFINITY, 0.5),
        (1.0, -0.1),
        (1.0, 1.1),
        (1.0, f32::NAN),
    ] {
        let made = Trainer::new(&cpu, &recipe, &distilled(temperature, alpha));
        if !matches!(made, Err(Error::Value { op: "distill", .. })) {
            return Err(format!("{temperature} {alpha}: {made:?}").into());
        }
    }
    let mut shifted = distilled(1.0, 0.5);
    shifted.augment = Augment::Shift1;
    let mut refused = vec![Trainer::new(&cpu, &recipe, &shifted).is_err()];
    for p in [1.0, -0.5, f32::NAN] {
        let mut dropping = options();
        dropping.model.layers.insert(0, Layer::Dropout { p });
        let made = Trainer::new(&cpu, &recipe, &dropping);
        refused.push(matches!(made, Err(Error::Value { op: "dropout", .. })));
    }
    let zeros = |classes: usize, images: usize| Logits::new(classes, vec![0.0; classes * images]);
    let mut student = Trainer::new(&cpu, &recipe, &distilled(1.0, 0.5))?;
    let never = |_: &_| ControlFlow::Break(());
    // No teacher yet; other classes; another number of images, of logits and of labels.
    refused.push(student.epoch_blocking(&DIGITS, never).is_err());
    let other = student.learn_from(Teacher::new(zeros(9, IMAGES)?));
    refused.push(matches!(other, Err(Error::Shape { .. })));
    let few = Teacher::new(zeros(10, IMAGES)?).with_labels(vec![true]);
    refused.push(student.learn_from(few).is_err());
    student.learn_from(Teacher::new(zeros(10, IMAGES - 1)?))?;
    let short = student.epoch_blocking(&DIGITS, never);
    refused.push(matches!(short, Err(Error::Shape { .. })));
    let mut plain = Trainer::new(&cpu, &recipe, &options())?;
    refused.push(plain.learn_from(Teacher::new(zeros(10, IMAGES)?)).is_err());
    let odd = Split {
        images: vec![0; 783],
        labels: vec![0],
    };
    refused.push(plain.logits_of_blocking(&odd).is_err());
    refused.push(Logits::new(0, vec![]).is_err());
    refused.push(Logits::new(3, vec![0.0; 4]).is_err());
    refused.push(Logits::new(2, vec![0.0, f32::NAN]).is_err());
    let two = [zeros(3, 2)?, zeros(3, 2)?];
    refused.push(Logits::mixed(&[], None, 1.0).is_err());
    refused.push(Logits::mixed(&[zeros(3, 2)?, zeros(2, 3)?], None, 1.0).is_err());
    refused.push(Logits::mixed(&two, None, 0.0).is_err());
    for weights in [
        &[1.0][..],
        &[0.0, 0.0],
        &[1.0, -1.0],
        &[1.0, f64::NAN],
        &[f64::MAX, f64::MAX],
    ] {
        refused.push(Logits::mixed(&two, Some(weights), 1.0).is_err());
    }
    match refused.contains(&false) {
        true => Err(format!("{refused:?}").into()),
        false => Ok(()),
    }
}
