//! What recipes say beyond types: encoded operands, bf16 accumulators, variable precision, loss scaling and clipping.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "recipes/places.rs"]
mod places;
#[path = "recipes/source.rs"]
mod source;

use std::ops::ControlFlow;
use std::sync::LazyLock;

use common::{gpu, on_gpu, open};
use fewbit::format::Format;
use fewbit::nn::data::Dataset;
use fewbit::nn::train::{TrainOptions, Trainer};
use fewbit::nn::{Coding, LossScale, Model, Products, Recipe, digits};
use fewbit::{Device, Error};
use libtest_mimic::{Failed, Trial};
use source::Source;

static DIGITS: LazyLock<Dataset> = LazyLock::new(|| digits::dataset(11, 1_200, 100).expect("digits"));

/// Widths that are no multiples of anything.
fn options() -> TrainOptions {
    let mut options = TrainOptions::default();
    options.model = Model::mlp(&[784, 19, 11, 10]);
    options.batch = 9;
    options.learning_rate = 0.05;
    options.seed = 3;
    options
}

fn main() {
    let arguments = common::arguments();
    let mut trials = vec![
        Trial::test("places that no kernel serves are named", places::illegal),
        Trial::test("a layer's products are its own", layers),
        Trial::test("a layer's tensors are its own", places::stored_layers),
        Trial::test("logits and gradients have their own types", places::own_types),
        Trial::test(
            "second moments decay unless a ratchet is asked for",
            places::second_moments,
        ),
        Trial::test("micro-batches are a larger batch", places::micro_batches),
        Trial::test("sums of gradients are stored and rounded as said", places::sums),
        Trial::test("fast chooses by what it measures", fast),
        Trial::test("fast in micro-batches", fast_in_micro_batches),
        Trial::test("steps of f16 are left out and the scale halved", f16),
        Trial::test("gradients are clipped to a norm", clip),
        Trial::test("a gradient that is not finite ends a training", broken),
        on_gpu("steps are one submit and read nothing", submits),
        Trial::test("updates arrive, or are lost to rounding", updates),
        Trial::test("encoded operands take the memory that their formats say", memory),
    ];
    for recipe in ["bf16-pure", "fast"] {
        let own = Recipe::named(recipe).expect("a recipe");
        let device = Device::cpu();
        trials.push(Trial::test(
            format!("cpu::{recipe} draws nothing where it is tested"),
            move || still(&device, &own),
        ));
    }
    for number in 0..RANDOM {
        let name = format!("cpu::random recipe {number}");
        trials.push(Trial::test(name, move || random(&Device::cpu(), number)));
        if number % 8 == 0 {
            let name = format!("gpu::random recipe {number}");
            trials.push(on_gpu(name, move || random(&Device::from_gpu(gpu()), number)));
        }
    }
    common::end(&libtest_mimic::run(&arguments, trials))
}

/// How many recipes are drawn.
const RANDOM: u64 = 30;

fn steps(trainer: &mut Trainer, count: usize) -> fewbit::Result<()> {
    trainer.epoch_blocking(&DIGITS, |progress| match progress.step < count {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    })
}

/// Every operation of three steps, and of an evaluation, inside its class. A drawn recipe may saturate; it may not err.
fn random(device: &Device, number: u64) -> Result<(), Failed> {
    let mut source = Source(number);
    let (recipe, options) = (source.recipe(), source.options());
    let checked = Device::checked(device.clone());
    let run = || -> fewbit::Result<()> {
        let mut trainer = Trainer::new(&checked, &recipe, &options)?;
        steps(&mut trainer, 3)?;
        trainer.accuracy_blocking(&DIGITS).map(drop)
    };
    match run() {
        // Eight bits without a scale overflow.
        Ok(()) | Err(Error::Diverged { .. }) => Ok(()),
        Err(error) => Err(format!("{recipe:?} {options:?}: {error}").into()),
    }
}

/// A layer that is told to differ makes other weights, and those alone where only it is told.
fn layers() -> Result<(), Failed> {
    let logits = |recipe: &Recipe| -> Result<Vec<f64>, Failed> {
        let mut trainer = Trainer::new(&Device::cpu(), recipe, &options())?;
        steps(&mut trainer, 2)?;
        Ok(trainer.logits_blocking(&DIGITS.test().images[..784])?)
    };
    let plain = Recipe::f32();
    let two_bits = Coding::nearest("bfp2-16".parse()?);
    let other = plain
        .clone()
        .with_layer(1, Products::coded(two_bits, two_bits, two_bits));
    let same = plain.clone().with_layer(1, Products::default());
    let of_plain = logits(&plain)?;
    if of_plain == logits(&other)? || of_plain != logits(&same)? {
        return Err("a layer's products are not its own".into());
    }
    Ok(())
}

/// Evaluation gives the same twice, and after it training goes on as without it.
fn still(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let image = &DIGITS.test().images[..9 * 784];
    let mut trainer = Trainer::new(device, recipe, &options())?;
    steps(&mut trainer, 3)?;
    let first = trainer.logits_blocking(image)?;
    if first != trainer.logits_blocking(image)? {
        return Err("two evaluations differ".into());
    }
    steps(&mut trainer, 6)?;
    let mut straight = Trainer::new(device, recipe, &options())?;
    steps(&mut straight, 6)?;
    match trainer.state_blocking()? == straight.state_blocking()? {
        true => Ok(()),
        false => Err("an evaluation changed the training".into()),
    }
}

fn fast() -> Result<(), Failed> {
    let run = |alpha: f32, beta: f32| -> Result<(Vec<[bool; 3]>, f64), Failed> {
        let mut recipe = Recipe::fast().ok_or("fast")?;
        let variable = recipe.variable.as_mut().ok_or("fast is variable")?;
        (variable.alpha, variable.beta, variable.every) = (alpha.into(), beta.into(), 2);
        let mut trainer = Trainer::new(&Device::cpu(), &recipe, &options())?;
        steps(&mut trainer, 4)?;
        let share = trainer.work_share().ok_or("no share")?;
        Ok((trainer.fine().to_vec(), share))
    };
    // Nothing improves by more than all of what there is; everything by more than a negative share. The first step,
    // which measures, runs before anything is chosen.
    let (never, quarter) = run(10.0, 0.0)?;
    let (always, most) = run(-1.0, 0.0)?;
    if never != vec![[false; 3]; 3] || quarter != 0.25 {
        return Err(format!("above every improvement: {never:?}, {quarter}").into());
    }
    if always != vec![[true; 3]; 3] || (most - (0.25 + 3.0) / 4.0).abs() > 1e-12 {
        return Err(format!("below every improvement: {always:?}, {most}").into());
    }
    // Between them some are and some are not.
    let (some, share) = run(0.6, 0.3)?;
    let fine = some.iter().flatten().filter(|fine| **fine).count();
    if fine == 0 || fine == 9 || !(0.25..1.0).contains(&share) {
        return Err(format!("the paper's thresholds: {some:?}, {share}").into());
    }
    Ok(())
}

/// Where nothing is ever fine, micro-batches under variable precision are those of the coarse codes themselves.
fn fast_in_micro_batches() -> Result<(), Failed> {
    let run = |recipe: &Recipe| -> Result<_, Failed> {
        let mut options = options();
        options.accumulate = 2;
        let mut trainer = Trainer::new(&Device::cpu(), recipe, &options)?;
        steps(&mut trainer, 3)?;
        Ok(trainer.weights_blocking()?)
    };
    let mut never = Recipe::fast().ok_or("fast")?;
    never.variable.as_mut().ok_or("fast is variable")?.alpha = 10.0.into();
    let own = Coding::nearest("bfp3-16".parse()?);
    let gradients = Coding::stochastic("bfp3-16-up".parse()?);
    let mut coarse = never.clone().with_products(Products::coded(own, own, gradients));
    coarse.variable = None;
    match run(&never)? == run(&coarse)? {
        true => Ok(()),
        false => Err("other weights than with coarse codes".into()),
    }
}

fn f16() -> Result<(), Failed> {
    let mut recipe = Recipe::f16_mixed().ok_or("f16-mixed")?;
    let mut high = LossScale::default();
    // The gradient of a logit is 1 / 9 at most: times 2^20 it is past 65504.
    (high.exponent, high.growth) = (20, 3);
    recipe.loss_scale = Some(high);
    let mut trainer = Trainer::new(&Device::cpu(), &recipe, &options())?;
    let weights = |trainer: &Trainer| trainer.weights_blocking();
    let before = weights(&trainer)?;
    steps(&mut trainer, 1)?;
    if weights(&trainer)? != before || trainer.loss_scale() != Some((524_288.0, 1)) {
        return Err(format!("a step that overflows: {:?}", trainer.loss_scale()).into());
    }
    steps(&mut trainer, 9)?;
    let (scale, skipped) = trainer.loss_scale().ok_or("no scale")?;
    if weights(&trainer)? == before || !(1..9).contains(&skipped) || scale > 524_288.0 {
        return Err(format!("ten steps: {scale}, {skipped}").into());
    }
    // Of scales that overflow nowhere none changes the weights by more than what falls below f16's least number.
    let of = |exponent: u32| -> Result<Vec<f64>, Failed> {
        let mut recipe = recipe.clone();
        let mut scale = LossScale::default();
        scale.exponent = exponent;
        recipe.loss_scale = Some(scale);
        let mut trainer = Trainer::new(&Device::cpu(), &recipe, &options())?;
        steps(&mut trainer, 5)?;
        Ok(weights(&trainer)?
            .iter()
            .flat_map(|stored| stored.values().collect::<Vec<_>>())
            .collect())
    };
    let (low, middle) = (of(12)?, of(13)?);
    let apart = low
        .iter()
        .zip(&middle)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    match apart < 1e-6 {
        true => Ok(()),
        false => Err(format!("scales of 2^12 and 2^13: {apart} apart").into()),
    }
}

/// With momentum 0 and no decay the weights move by the rate times the clipped gradient, whose norm is the limit's.
fn clip() -> Result<(), Failed> {
    let moved = |clip: Option<f32>| -> Result<f64, Failed> {
        let mut options = options();
        (options.clip, options.momentum, options.learning_rate) = (clip, 0.0, 1.0);
        let mut trainer = Trainer::new(&Device::cpu(), &Recipe::f64(), &options)?;
        let before = trainer.weights_blocking()?;
        steps(&mut trainer, 1)?;
        let after = trainer.weights_blocking()?;
        let pairs = before
            .iter()
            .zip(&after)
            .flat_map(|(a, b)| a.values().zip(b.values().collect::<Vec<_>>()).collect::<Vec<_>>());
        Ok(pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt())
    };
    let (free, clipped, loose) = (moved(None)?, moved(Some(0.125))?, moved(Some(1e6))?);
    if free <= 0.25 || (clipped - 0.125).abs() > 1e-6 || (loose - free).abs() > 1e-12 {
        return Err(format!("{free} without a limit, {clipped} under 0.125, {loose} under 1e6").into());
    }
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut options = options();
        options.clip = Some(bad);
        if Trainer::new(&Device::cpu(), &Recipe::f32(), &options).is_ok() {
            return Err(format!("a clip of {bad} was taken").into());
        }
    }
    Ok(())
}

/// Gradients that are held back: nothing is updated by one that is not finite, and the error says where it was.
fn broken() -> Result<(), Failed> {
    let mut options = options();
    options.clip = Some(1.0);
    let mut trainer = Trainer::new(&Device::cpu(), &Recipe::f32(), &options)?;
    steps(&mut trainer, 2)?;
    let weights = trainer.parameters()[2].clone();
    trainer.set_parameter(&weights, &vec![1e38; weights.rows * weights.cols])?;
    let before = trainer.weights_blocking()?;
    // Steps 3 to 6 are run before anything is read.
    match steps(&mut trainer, 6) {
        Err(Error::Diverged {
            recipe,
            what: "a gradient",
            value,
            epoch: 1,
            step: 3,
            ..
        }) if recipe == "f32" && value.contains("layer ") => {}
        other => return Err(format!("{other:?}").into()),
    }
    match trainer.weights_blocking()? == before {
        true => Ok(()),
        false => Err("weights were updated".into()),
    }
}

/// Whatever a step decides: between two readings of the loss the device is given its work once a step, and a reading would
/// be another submit.
fn submits() -> Result<(), Failed> {
    let mut fast = Recipe::fast().ok_or("fast")?;
    let variable = fast.variable.as_mut().ok_or("fast is variable")?;
    variable.every = 2;
    let mut clipped = options();
    (clipped.clip, clipped.optimizer) = (Some(0.5), fewbit::nn::Optimizer::adamw());
    let mixed = Recipe::f16_mixed().ok_or("f16-mixed")?;
    for (recipe, options) in [(fast, options()), (mixed, clipped)] {
        // A device of its own: other tests submit too.
        let gpu = open();
        let mut trainer = Trainer::new(&Device::from_gpu(gpu.clone()), &recipe, &options)?;
        let mut counts = Vec::new();
        trainer.epoch_blocking(&DIGITS, |_| {
            counts.push(gpu.submits());
            match counts.len() < 8 {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        let of_steps: Vec<_> = counts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if of_steps != [1; 7] {
            return Err(format!("{}: {of_steps:?} submits", recipe.name).into());
        }
    }
    Ok(())
}

/// At so low a rate most updates are below half a unit in the last place of their weights.
fn updates() -> Result<(), Failed> {
    let of = |name: &str| -> Result<(f64, f64), Failed> {
        let mut options = options();
        (options.learning_rate, options.watch_every) = (0.0005, 20);
        let recipe = Recipe::named(name).ok_or("no such recipe")?;
        let mut trainer = Trainer::new(&Device::cpu(), &recipe, &options)?;
        for _ in 0..2 {
            steps(&mut trainer, usize::MAX)?;
        }
        let all = trainer
            .updates()
            .iter()
            .copied()
            .reduce(fewbit::nn::Updates::and)
            .ok_or("no layers")?;
        Ok((
            all.applied().ok_or("no updates")?,
            all.small_share().ok_or("no updates")?,
        ))
    };
    for (name, least, most) in [
        ("f64", 0.999_999, 1.000_001),
        ("f32", 0.999, 1.001),
        ("bf16-sr", 0.95, 1.05),
        ("bf16-kahan", 0.95, 1.05),
        ("bf16-sr-kahan", 0.95, 1.05),
        ("bf16-nearest", 0.0, 0.5),
    ] {
        let (applied, small) = of(name)?;
        let bf16 = name.starts_with("bf16");
        if !(least..=most).contains(&applied) || (small > 0.5) != bf16 {
            return Err(format!("{name}: applied {applied}, too small {small}").into());
        }
    }
    Ok(())
}

/// Two operands at a time, the largest of each side, and the largest that is turned.
fn memory() -> Result<(), Failed> {
    let mut options = options();
    options.model = Model::mlp(&[784, 64, 32]);
    options.batch = 16;
    let format = Format::bfp(16, 5)?;
    let recipe = Recipe::bfp(5).ok_or("bfp-5")?;
    let memory = Trainer::new(&Device::cpu(), &recipe, &options)?.memory();
    let codes = |rows: usize, cols: usize| 4 * (rows * format.codes_words_per_row(cols)) as u64;
    let scales = |rows: usize, cols: usize| 4 * format.scales_words(rows, cols) as u64;
    // The left is X [16, 784]; the right W [64, 784], or X^T [784, 16] from [16, 784] of bf16, or W^T.
    let right = |of: &dyn Fn(usize, usize) -> u64| of(64, 784).max(of(784, 16));
    // X is of 2 bytes, W of 4.
    let turned = [784 * 16 * 2, 64 * 32 * 4].into_iter().max().unwrap_or(0);
    let want = codes(16, 784) + scales(16, 784) + right(&codes) + right(&scales) + turned;
    match memory.operands == want {
        true => Ok(()),
        false => Err(format!("{} bytes, not {want}", memory.operands).into()),
    }
}
