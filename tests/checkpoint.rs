//! What a trainer has come to, taken up by another one: the same bits as without a break, and refused where it does not
//! fit.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;
use std::sync::LazyLock;

use common::{gpu, on_gpu};
use fewbit::nn::data::Dataset;
use fewbit::nn::train::{Augment, TrainOptions, Trainer};
use fewbit::nn::{Model, Optimizer, Recipe, Schedule, State, digits};
use fewbit::tensor::DType;
use fewbit::{Device, Error};
use libtest_mimic::{Failed, Trial};

static DIGITS: LazyLock<Dataset> = LazyLock::new(|| digits::dataset(11, 330, 40).expect("digits"));

/// Eleven steps an epoch.
fn options(optimizer: Optimizer) -> TrainOptions {
    let mut options = TrainOptions::default();
    options.model = Model::mlp(&[784, 21, 10]);
    options.batch = 30;
    options.epochs = 3;
    options.schedule = Schedule::Cosine;
    options.warm_up = 4;
    options.augment = Augment::Shift1;
    options.learning_rate = 0.01;
    options.optimizer = optimizer;
    options.seed = 5;
    options
}

fn main() {
    let arguments = common::arguments();
    let mut trials = vec![
        Trial::test("what does not fit is refused", refused),
        Trial::test("parameters are set in every copy", set),
        Trial::test("fingerprints differ", fingerprints),
        Trial::test("logits are those that accuracy is made of", logits),
    ];
    for recipe in Recipe::known() {
        let own = recipe.clone();
        let name = format!("cpu::{}", recipe.name);
        trials.push(Trial::test(name, move || goes_on(&Device::cpu(), &own)));
        if !recipe.uses_f64() {
            let name = format!("gpu::{}", recipe.name);
            trials.push(on_gpu(name, move || goes_on(&Device::from_gpu(gpu()), &recipe)));
        }
    }
    common::end(&libtest_mimic::run(&arguments, trials))
}

/// Trains on until so many steps are done.
fn until(trainer: &mut Trainer, steps: u32) -> Result<(), Failed> {
    while trainer.steps() < steps {
        let before = trainer.steps() - trainer.position()[1] as u32;
        trainer.epoch_blocking(&DIGITS, |progress| {
            match before + (progress.step as u32) < steps {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
    }
    Ok(())
}

fn goes_on(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    for optimizer in [Optimizer::Sgd, Optimizer::adamw()] {
        let options = options(optimizer);
        let mut whole = Trainer::new(device, recipe, &options)?;
        until(&mut whole, 29)?;
        let want = whole.state_blocking()?;
        // In the middle of an epoch, and between two.
        for at in [7, 22, 25] {
            let mut first = Trainer::new(device, recipe, &options)?;
            until(&mut first, at)?;
            let state = first.state_blocking()?;
            if [state.epoch, state.position] != [at as usize / 11, at as usize % 11] {
                return Err(format!("step {at}: {} {}", state.epoch, state.position).into());
            }
            // Weights drawn by another seed are overwritten; the seed of the shuffles is the options'.
            let mut second = Trainer::new(device, recipe, &options)?;
            until(&mut second, 1)?;
            second.restore(&state)?;
            if second.state_blocking()? != state {
                return Err("what was restored is not what was read".into());
            }
            until(&mut second, 29)?;
            if second.state_blocking()? != want {
                return Err(format!("{optimizer:?}: other bits after a break at step {at}").into());
            }
        }
    }
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let made = |recipe: &Recipe, options: &TrainOptions| Trainer::new(&Device::cpu(), recipe, options);
    let sgd = options(Optimizer::Sgd);
    let mut trainer = made(&Recipe::bf16_sr(), &sgd)?;
    until(&mut trainer, 3)?;
    let own = trainer.state_blocking()?;
    let mut wider = sgd.clone();
    wider.model = Model::mlp(&[784, 22, 10]);
    let others = [
        ("recipe", made(&Recipe::f32(), &sgd)?),
        ("compensation", made(&Recipe::bf16_kahan(), &sgd)?),
        (
            "optimizer",
            made(&Recipe::bf16_sr(), &options(Optimizer::adamw()))?,
        ),
        ("model", made(&Recipe::bf16_sr(), &wider)?),
    ];
    let changed = |change: fn(&mut State)| {
        let mut state = own.clone();
        change(&mut state);
        state
    };
    let mut states = Vec::new();
    for (what, other) in others {
        states.push((what, other.state_blocking()?));
    }
    states.push(("words", changed(|state| state.tensors[0].words.truncate(5))));
    states.push(("name", changed(|state| state.tensors[0].name = "x".into())));
    states.push(("type", changed(|state| state.tensors[0].dtype = DType::U16)));
    states.push((
        "device",
        changed(|state| state.variants[0] = "another CPU".into()),
    ));
    states.push((
        "variants",
        changed(|state| state.variants.push("relu [x]".into())),
    ));
    for (what, state) in states {
        match trainer.restore(&state) {
            Err(Error::Value { .. }) => {}
            other => return Err(format!("{what}: {other:?}").into()),
        }
        if trainer.state_blocking()? != own {
            return Err(format!("{what}: something was changed").into());
        }
    }
    // More steps than an epoch of these images has.
    trainer.restore(&changed(|state| state.position = 11))?;
    match trainer.epoch_blocking(&DIGITS, |_| ControlFlow::Continue(())) {
        Err(Error::Value { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn set() -> Result<(), Failed> {
    let mut trainer = Trainer::new(&Device::cpu(), &Recipe::bf16_mixed(), &options(Optimizer::Sgd))?;
    let parameter = trainer.parameters()[0].clone();
    // No bf16: the master keeps it, what products read has its nearest.
    let values = vec![1.001; parameter.rows * parameter.cols];
    trainer.set_parameter(&parameter, &values)?;
    let state = trainer.state_blocking()?;
    let all = |name: &str, value: f64| {
        let stored = state.tensors.iter().find(|stored| stored.name == name);
        stored.is_some_and(|stored| stored.values().all(|own| own == value))
    };
    if !all("layers.0.weight", 1.0) || !all("layers.0.weight.master", f64::from(1.001f32)) {
        return Err("a copy has other values".into());
    }
    if trainer.weights_blocking()?[0].values().any(|value| value == 1.0) {
        return Err("the weights are not the master".into());
    }
    match trainer.set_parameter(&parameter, &values[1..]) {
        Err(Error::Shape { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn fingerprints() -> Result<(), Failed> {
    let split = DIGITS.train();
    let own = split.fingerprint();
    let mut image = split.clone();
    image.images[7] ^= 1;
    let mut label = split.clone();
    label.labels.swap(0, 1);
    let mut moved = split.clone();
    let first = moved.labels.remove(0);
    moved.images.push(first);
    let others = [image, label, moved].map(|split| split.fingerprint());
    if own != split.clone().fingerprint() || others.contains(&own) {
        return Err(format!("{own} {others:?}").into());
    }
    Ok(())
}

fn logits() -> Result<(), Failed> {
    let mut faster = options(Optimizer::Sgd);
    faster.learning_rate = 0.1;
    let mut trainer = Trainer::new(&Device::cpu(), &Recipe::bf16_sr(), &faster)?;
    until(&mut trainer, 33)?;
    let (test, pixels) = (DIGITS.test(), DIGITS.pixels());
    let mut right = 0;
    // The second part is less than a batch.
    for (images, labels) in test.images.chunks(30 * pixels).zip(test.labels.chunks(30)) {
        let logits = trainer.logits_blocking(images)?;
        if logits.len() != 10 * labels.len() {
            return Err(format!("{} logits of {} images", logits.len(), labels.len()).into());
        }
        for (row, label) in logits.chunks(10).zip(labels) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            right += usize::from(row.iter().position(|own| *own == largest) == Some(usize::from(*label)));
        }
    }
    let accuracy = trainer.accuracy_blocking(&DIGITS)?;
    if right as f64 / test.len() as f64 != accuracy || accuracy < 0.3 {
        return Err(format!("{right} right, {accuracy}").into());
    }
    for bad in [&test.images[..pixels - 1], &test.images[..31 * pixels]] {
        match trainer.logits_blocking(bad) {
            Err(Error::Shape { .. }) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}
