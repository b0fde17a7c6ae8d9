//! The places of recipes: which are refused, and that each is stored, rounded and counted as it says.

use std::ops::ControlFlow;

use fewbit::Device;
use fewbit::format::Rounding;
use fewbit::nn::train::{TrainOptions, Trainer};
use fewbit::nn::{Coding, Layer, Optimizer, Products, Recipe};
use fewbit::tensor::{DType, Layout};
use libtest_mimic::Failed;

use super::{DIGITS, options, steps};

/// Recipes that no kernel serves, and what the error names.
fn refused() -> Result<Vec<(Recipe, &'static [&'static str])>, Failed> {
    let coding = Coding::nearest("mxfp8-e4m3".parse()?);
    let mut coded_fmac = Products::fmac(8, Rounding::Nearest);
    coded_fmac.gradients = Some(coding);
    let coded = Products::coded(coding, coding, coding);
    let mut variable = Recipe::fast().ok_or("fast")?;
    variable.products = coded;
    let fmac = Products::fmac(8, Rounding::Nearest);
    let of = |recipe: Recipe, change: &dyn Fn(&mut Recipe)| {
        let mut recipe = recipe;
        change(&mut recipe);
        recipe
    };
    let mut second_layer = Recipe::bf16_sr().places();
    second_layer.momentum = DType::F64;
    let mut wide_layer = Recipe::bf16_pure(8).places();
    wide_layer.activations = DType::F32;
    wide_layer.gradients = DType::F32;
    wide_layer.products = Products::default();
    Ok(vec![
        (Recipe::f64().with_products(coded), &["weights"]),
        (Recipe::bf16_sr().with_products(coded_fmac), &["gradients"]),
        (Recipe::bf16_sr().with_layer(1, coded_fmac), &["gradients"]),
        (Recipe::f32().with_products(fmac), &["weights"]),
        (Recipe::bf16_sr().with_layer(9, Products::default()), &["layer 9"]),
        (variable, &["mxfp8-e4m3"]),
        (
            Recipe::bf16_pure(8).with_logits(DType::F32),
            &["logits", "f32", "accumulators"],
        ),
        (
            Recipe::bf16_pure(8).with_weight_gradients(DType::F32),
            &["weight gradients", "f32", "accumulators"],
        ),
        // The layer after it reads f32.
        (
            Recipe::bf16_pure(8).with_places(0, wide_layer),
            &["activations", "f32", "accumulators"],
        ),
        (Recipe::f32().with_logits(DType::F64), &["logits", "f64"]),
        (
            Recipe::f64().with_gradient_sum(DType::F32, Rounding::Nearest),
            &["gradient sum", "f32"],
        ),
        (
            Recipe::bf16_sr().with_places(1, second_layer),
            &["momentum", "f64"],
        ),
        (Recipe::f32().with_activations(DType::U32), &["activations"]),
        (Recipe::f32().with_master(DType::F32), &["master"]),
        (Recipe::bf16_sr().with_master(DType::Bf16), &["master"]),
        (
            Recipe::f32().with_compensation(DType::Bf16, Rounding::Nearest),
            &["compensation", "bf16 weights"],
        ),
        (
            Recipe::bf16_sr().with_compensation(DType::F32, Rounding::Nearest),
            &["compensation", "bf16"],
        ),
        (
            of(Recipe::f32(), &|recipe| {
                recipe.second_compensation = Some(DType::Bf16);
            }),
            &["second compensation"],
        ),
        (
            of(Recipe::bf16_sr(), &|recipe| {
                recipe.momentum_rounding = Rounding::Nearest;
            }),
            &["momentum", "plain SGD"],
        ),
        (
            Recipe::bf16_sr().with_rounding(Rounding::TowardZero),
            &["weights", "toward"],
        ),
        (
            Recipe::bf16_sr().with_gradient_sum(DType::Bf16, Rounding::TowardZero),
            &["gradient sum", "toward"],
        ),
        (
            Recipe::bf16_sr().with_second(DType::Bf16, Rounding::TowardZero),
            &["second moment", "toward"],
        ),
        (
            of(Recipe::bf16_sr(), &|recipe| {
                recipe.momentum_rounding = Rounding::TowardZero;
            }),
            &["momentum", "toward"],
        ),
    ])
}

pub(crate) fn illegal() -> Result<(), Failed> {
    for (recipe, words) in refused()? {
        match Trainer::new(&Device::cpu(), &recipe, &options()) {
            Err(error) if words.iter().all(|word| error.to_string().contains(word)) => {}
            other => return Err(format!("{words:?}: {:?}", other.map(drop)).into()),
        }
    }
    // What no product makes is of the type that it is read in.
    let mut dropping = options();
    dropping.model = dropping.model.with(Layer::Dropout { p: 0.5 });
    let logits = Recipe::bf16_mixed().with_logits(DType::F32);
    match Trainer::new(&Device::cpu(), &logits, &dropping) {
        Err(error) if error.to_string().contains("logits") => {}
        other => return Err(format!("logits of dropout: {:?}", other.map(drop)).into()),
    }
    let zero = Recipe::bf16_sr().with_products(Products::fmac(0, Rounding::Nearest));
    match Trainer::new(&Device::cpu(), &zero, &options()) {
        Err(_) => Ok(()),
        Ok(_) => Err("a chunk of no products was taken".into()),
    }
}

/// Nearest is refused where a second moment would never decay, and taken where it is asked for by name; a compensation
/// lies beside it.
pub(crate) fn second_moments() -> Result<(), Failed> {
    let mut options = options();
    options.optimizer = Optimizer::adamw();
    options.learning_rate = 0.002;
    let nearest = Recipe::bf16_sr().with_second(DType::Bf16, Rounding::Nearest);
    match Trainer::new(&Device::cpu(), &nearest, &options) {
        Err(error) if error.to_string().contains("second moment") => {}
        other => return Err(format!("to nearest: {:?}", other.map(drop)).into()),
    }
    let mut low = options.clone();
    low.optimizer = match Optimizer::adamw() {
        Optimizer::AdamW { beta1, epsilon, .. } => Optimizer::AdamW {
            beta1,
            beta2: 1.0 - 1.0 / 512.0,
            epsilon,
        },
        other => other,
    };
    Trainer::new(&Device::cpu(), &nearest, &low)?;
    let mut ratchet = nearest;
    ratchet.allow_ratchet = true;
    let seconds = |recipe: &Recipe| -> Result<(usize, Vec<f64>), Failed> {
        let mut trainer = Trainer::new(&Device::cpu(), recipe, &options)?;
        let mut found = (0, Vec::new());
        for count in [4, 5] {
            steps(&mut trainer, count)?;
            let state = trainer.state_blocking()?;
            let second = state
                .tensors
                .iter()
                .find(|stored| stored.name == "layers.1.weight.second");
            let second = second.ok_or("no second moment")?;
            let values: Vec<_> = second.values().collect();
            // How many went down from the fourth step to the fifth.
            let down = found.1.iter().zip(&values).filter(|(before, now)| now < before);
            found = (down.count(), values);
        }
        Ok(found)
    };
    let (down, moments) = seconds(&ratchet)?;
    if down > 0 || moments.iter().all(|moment| *moment == 0.0) {
        return Err(format!("to nearest {down} went down").into());
    }
    let stochastic = ratchet.clone().with_second(DType::Bf16, Rounding::Stochastic);
    if seconds(&stochastic)?.0 == 0 {
        return Err("stochastically none went down".into());
    }
    let (_, pairs) = seconds(&ratchet.with_second_compensation(Rounding::Nearest))?;
    match pairs.len() == 2 * moments.len() && pairs.iter().skip(1).step_by(2).any(|lost| *lost != 0.0) {
        true => Ok(()),
        false => Err("no compensations beside the moments".into()),
    }
}

/// A step of three micro-batches is one of a batch three times the size: the same sums of f64 in another order.
pub(crate) fn micro_batches() -> Result<(), Failed> {
    let trained =
        |accumulate: usize, change: &dyn Fn(&mut TrainOptions)| -> Result<(Vec<f64>, f64), Failed> {
            let mut options = options();
            (options.batch, options.accumulate) = (27 / accumulate, accumulate);
            options.report_every = 1;
            change(&mut options);
            let mut trainer = Trainer::new(&Device::cpu(), &Recipe::f64(), &options)?;
            let mut loss = 0.0;
            trainer.epoch_blocking(&DIGITS, |progress| {
                loss = progress.loss.unwrap_or(f64::NAN);
                match progress.step < 5 {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            if trainer.steps() != 5 {
                return Err(format!("{} steps, not 5", trainer.steps()).into());
            }
            let weights = trainer.weights_blocking()?;
            Ok((
                weights
                    .iter()
                    .flat_map(|stored| stored.values().collect::<Vec<_>>())
                    .collect(),
                loss,
            ))
        };
    let adamw = |options: &mut TrainOptions| {
        options.optimizer = Optimizer::adamw();
        options.learning_rate = 0.002;
    };
    let clipped = |options: &mut TrainOptions| options.clip = Some(0.125);
    for change in [
        &(|_: &mut TrainOptions| {}) as &dyn Fn(&mut TrainOptions),
        &adamw,
        &clipped,
    ] {
        let (whole, loss) = trained(1, change)?;
        let (parts, mean) = trained(3, change)?;
        // Of sums of 784 products at most, below 1, and what five steps make of it.
        let apart = |a: f64, b: f64| (a - b).abs() > 1e-12;
        let other = whole.iter().zip(&parts).filter(|(a, b)| apart(**a, **b)).count();
        if other > 0 || apart(loss, mean) || whole.len() != parts.len() {
            return Err(format!("{other} weights differ; losses {loss} and {mean}").into());
        }
        if whole == trained(1, &|options| (change(options), options.seed = 4).0)?.0 {
            return Err("another seed gives the same weights".into());
        }
    }
    let mut none = options();
    none.accumulate = 0;
    match Trainer::new(&Device::cpu(), &Recipe::f32(), &none) {
        Err(error) if error.to_string().contains("micro-batches") => Ok(()),
        other => Err(format!("no micro-batches: {:?}", other.map(drop)).into()),
    }
}

/// Sums of gradients take the memory of their format, and a bf16 sum draws: anew in each micro-step.
pub(crate) fn sums() -> Result<(), Failed> {
    let run = |accumulate: usize, sum: DType, rounding: Rounding| -> Result<_, Failed> {
        let mut options = options();
        options.accumulate = accumulate;
        let recipe = Recipe::bf16_mixed().with_gradient_sum(sum, rounding);
        let mut trainer = Trainer::new(&Device::cpu(), &recipe, &options)?;
        steps(&mut trainer, 3)?;
        Ok((trainer.weights_blocking()?, trainer.memory().gradients))
    };
    let (plain, one) = run(1, DType::F32, Rounding::Nearest)?;
    let (wide, with_f32) = run(2, DType::F32, Rounding::Nearest)?;
    let (nearest, with_bf16) = run(2, DType::Bf16, Rounding::Nearest)?;
    let (drawn, _) = run(2, DType::Bf16, Rounding::Stochastic)?;
    let rows = [(19, 784), (1, 19), (11, 19), (1, 11), (10, 11), (1, 10)];
    let bytes = |dtype: DType| -> u64 {
        rows.iter()
            .map(|&(rows, cols)| Layout::dense(dtype, &[rows, cols]).bytes())
            .sum()
    };
    if (with_f32 - one, with_bf16 - one) != (bytes(DType::F32), bytes(DType::Bf16)) {
        return Err(format!("{one}, {with_f32}, {with_bf16} bytes").into());
    }
    if drawn != run(2, DType::Bf16, Rounding::Stochastic)?.0 {
        return Err("the same draws give other weights".into());
    }
    match plain == wide || wide == nearest || nearest == drawn {
        true => Err("a sum's format or rounding changes nothing".into()),
        false => Ok(()),
    }
}

/// Logits in f32 under bf16 recipes, and gradients of weights in f32, are stored as such.
pub(crate) fn own_types() -> Result<(), Failed> {
    let image = &DIGITS.test().images[..784];
    for name in ["bf16-sr", "bf16-mixed", "mxfp8"] {
        let recipe = Recipe::named(name).ok_or("no such recipe")?;
        let logits = |recipe: &Recipe| -> Result<(Vec<f64>, u64), Failed> {
            let mut trainer = Trainer::new(&Device::cpu(), recipe, &options())?;
            steps(&mut trainer, 3)?;
            let memory = trainer.memory();
            Ok((
                trainer.logits_blocking(image)?,
                memory.activations + memory.gradients,
            ))
        };
        let weights = |recipe: &Recipe| -> Result<_, Failed> {
            let mut trainer = Trainer::new(&Device::cpu(), recipe, &options())?;
            steps(&mut trainer, 3)?;
            Ok((trainer.weights_blocking()?, trainer.memory().gradients))
        };
        let fine = |logits: &[f64]| logits.iter().any(|logit| (*logit as f32).to_bits() & 0xffff != 0);
        let (narrow, least) = logits(&recipe)?;
        let (wide, more) = logits(&recipe.clone().with_logits(DType::F32))?;
        // Nine rows of ten logits, which take 12 elements of f32 and 16 of bf16.
        let rows = |dtype| Layout::dense(dtype, &[9, 10]).bytes();
        if fine(&narrow) || !fine(&wide) || more - least != rows(DType::F32) - rows(DType::Bf16) {
            return Err(format!("{name}: {narrow:?}, {wide:?}, {least} and {more} bytes").into());
        }
        let (same, least) = weights(&recipe)?;
        let (other, more) = weights(&recipe.with_weight_gradients(DType::F32))?;
        if other == same || more <= least {
            return Err(format!("{name}: gradients of weights are not in f32").into());
        }
    }
    Ok(())
}

/// What one layer stores otherwise is counted, and changes what it learns.
pub(crate) fn stored_layers() -> Result<(), Failed> {
    let recipe = Recipe::bf16_mixed();
    let mut first = recipe.places();
    (first.weights, first.master) = (DType::F32, None);
    (first.activations, first.gradients, first.momentum) = (DType::F32, DType::F32, DType::Bf16);
    let memory = |recipe: &Recipe| -> Result<_, Failed> {
        let mut trainer = Trainer::new(&Device::cpu(), recipe, &options())?;
        steps(&mut trainer, 2)?;
        Ok((trainer.memory(), trainer.weights_blocking()?))
    };
    let (before, weights) = memory(&recipe)?;
    let (after, others) = memory(&recipe.with_places(0, first))?;
    let bytes = |dtype: DType, shapes: &[[usize; 2]]| -> u64 {
        shapes
            .iter()
            .map(|shape| Layout::dense(dtype, shape).bytes())
            .sum()
    };
    let own = [[19, 784], [1, 19]];
    let (f32, bf16) = (bytes(DType::F32, &own), bytes(DType::Bf16, &own));
    let made = [[9, 19]];
    let right = after.weights == before.weights - bf16 + f32
        && after.master == before.master - f32
        && after.optimizer == before.optimizer - f32 + bf16
        && after.activations == before.activations - bytes(DType::Bf16, &made) + bytes(DType::F32, &made);
    match right && weights != others {
        true => Ok(()),
        false => Err(format!("{before:?} and {after:?}").into()),
    }
}
