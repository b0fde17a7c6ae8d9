//! Training by every recipe on every device present: it learns, the same seed gives the same bits, every
//! operation of a step is inside its class, and memory holds what the recipe says and no more.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;
use std::sync::LazyLock;

use common::{gpu, on_gpu};
use fewbit::Device;
use fewbit::nn::data::Dataset;
use fewbit::nn::train::{TrainOptions, Trainer};
use fewbit::nn::{Layer, MemoryUse, Model, Optimizer, Recipe, Schedule, digits};
use fewbit::tensor::DType;
use libtest_mimic::{Failed, Trial};

static DIGITS: LazyLock<Dataset> = LazyLock::new(|| digits::dataset(11, 12_000, 1000).expect("digits"));

fn options() -> TrainOptions {
    let mut options = TrainOptions::default();
    options.model = Model::mlp(&[784, 64, 32, 10]);
    options.batch = 50;
    options.learning_rate = 0.05;
    options.momentum = 0.9;
    options.weight_decay = 1e-5;
    options.seed = 3;
    options.report_every = 10;
    options
}

fn main() {
    let arguments = common::arguments();
    let mut trials = vec![Trial::test("memory", memory), Trial::test("errors", errors)];
    let cpu = Device::cpu();
    for recipe in Recipe::known() {
        for (what, test, on_cpu_of, on_gpu_of) in TESTS {
            let among = |list: &[&str]| list.is_empty() || list.contains(&recipe.name.as_str());
            let (cpu, own) = (cpu.clone(), recipe.clone());
            if among(on_cpu_of) {
                let name = format!("cpu::{}::{what}", recipe.name);
                trials.push(Trial::test(name, move || test(&cpu, &own)));
            }
            if recipe.weights != DType::F64 && among(on_gpu_of) {
                let name = format!("gpu::{}::{what}", recipe.name);
                let own = recipe.clone();
                trials.push(on_gpu(name, move || test(&Device::from_gpu(gpu()), &own)));
            }
        }
    }
    trials.push(on_gpu("gpu::a step is one or two submits", submits));
    trials.push(on_gpu("gpu::f64 is a typed error", || {
        match Trainer::new(&Device::from_gpu(gpu()), &Recipe::f64(), &options()) {
            Err(fewbit::Error::Unsupported { .. }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }));
    common::end(&libtest_mimic::run(&arguments, trials))
}

type Test = fn(&Device, &Recipe) -> Result<(), Failed>;

/// What is tested, and of which recipes on the CPU and on a GPU: all where none is named. Convolutions and optimizers
/// are the same operations whatever the recipe but for types, and how updates are rounded has nothing to do with layers.
const TESTS: [(&str, Test, &[&str], &[&str]); 6] = [
    (
        "learns",
        learns,
        &[],
        // Each operation of the others is compared below, and what they learn by is the same on every device.
        &["f32", "bf16-sr", "bf16-sr-kahan"],
    ),
    (
        "repeats to the bit",
        repeats,
        &[],
        &["f32", "bf16-sr", "bf16-sr-kahan", "bf16-pure", "fast"],
    ),
    ("every operation in its class", in_class, &[], &[]),
    (
        "AdamW learns, every operation in its class",
        adamw,
        &["f64", "f32", "bf16-mixed", "bf16-sr", "bf16-sr-kahan"],
        &["bf16-mixed", "bf16-sr-kahan"],
    ),
    (
        "convolutions learn",
        convolutions_learn,
        &["f64", "f32", "bf16-mixed", "bf16-sr"],
        &["bf16-sr"],
    ),
    (
        "every operation of convolutions in its class",
        convolutions_in_class,
        &[
            "f64",
            "f32",
            "bf16-mixed",
            "bf16-sr",
            "bf16-pure",
            "mxfp8",
            "fast",
        ],
        &["f32", "bf16-sr"],
    ),
];

fn learns(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    // With two mantissa bits in most of so short a training.
    let least = if recipe.variable.is_some() { 0.85 } else { 0.9 };
    learns_in(Trainer::new(device, recipe, &options())?, [3, usize::MAX], least)
}

fn adamw(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let mut options = options();
    options.optimizer = Optimizer::adamw();
    options.learning_rate = 0.002;
    options.weight_decay = 0.01;
    learns_in(Trainer::new(device, recipe, &options)?, [1, usize::MAX], 0.8)?;
    options.model = Model::mlp(&[784, 24, 17, 10]);
    options.batch = 16;
    steps(
        Trainer::new(&Device::checked(device.clone()), recipe, &options)?,
        4,
    )
}

/// Two small convolutions: as a product over patches of rows of images, and of pixels.
fn convolutions() -> TrainOptions {
    let mut options = options();
    options.model = [
        Layer::conv(4, 5),
        Layer::Relu,
        Layer::max_pool(2),
        Layer::conv(7, 3),
        Layer::Relu,
        Layer::max_pool(2),
        Layer::Linear { outputs: 10 },
    ]
    .into_iter()
    .fold(Model::new("small", [28, 28, 1]), Model::with);
    options.batch = 20;
    // So small batches, so small a rate.
    options.learning_rate = 0.02;
    options
}

fn convolutions_learn(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    // Half of the images, once.
    learns_in(Trainer::new(device, recipe, &convolutions())?, [1, 300], 0.8)
}

/// In so many epochs of so many steps it comes to this accuracy at least, from nearly none.
fn learns_in(mut trainer: Trainer, [epochs, steps]: [usize; 2], least: f64) -> Result<(), Failed> {
    let before = trainer.accuracy_blocking(&DIGITS)?;
    let mut losses = Vec::new();
    for _ in 0..epochs {
        trainer.epoch_blocking(&DIGITS, |progress| {
            losses.extend(progress.loss);
            match progress.step < steps {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
    }
    let after = trainer.accuracy_blocking(&DIGITS)?;
    if before > 0.35 || after < least {
        return Err(format!("accuracy {before} before, {after} after; losses {losses:?}").into());
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    if last.is_nan() || last >= 0.5 * first {
        return Err(format!("loss from {first} to {last}").into());
    }
    Ok(())
}

/// Submits of the device while a network of this many layers takes twenty steps, loss unread.
fn submits_of(device: &Device, layers: usize) -> Result<u64, Failed> {
    let mut sizes = vec![784];
    sizes.extend(std::iter::repeat_n(32, layers - 1));
    sizes.push(10);
    let mut options = options();
    options.model = Model::mlp(&sizes);
    options.report_every = 1000;
    let gpu = device.as_gpu().ok_or("no GPU")?;
    // What passes the cap is cut on purpose.
    gpu.set_work_cap(u64::MAX);
    let mut trainer = Trainer::new(device, &Recipe::bf16_mixed(), &options)?;
    let before = gpu.submits();
    trainer.epoch_blocking(&DIGITS, |progress| match progress.step {
        20 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;
    Ok(gpu.submits() - before)
}

/// However many layers there are; on a device of its own, for other tests submit too.
fn submits() -> Result<(), Failed> {
    let device = common::high();
    let (shallow, deep) = (submits_of(&device, 2)?, submits_of(&device, 6)?);
    if shallow != deep || deep > 2 * 20 + 2 {
        return Err(format!("20 steps: {shallow} submits of 2 layers, {deep} of 6").into());
    }
    Ok(())
}

/// All parameters after some steps.
fn trained(device: &Device, recipe: &Recipe, options: &TrainOptions) -> Result<Vec<Vec<u32>>, Failed> {
    let mut trainer = Trainer::new(device, recipe, options)?;
    trainer.epoch_blocking(&DIGITS, |progress| match progress.step {
        12 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;
    let read = |parameter| pollster::block_on(trainer.read_parameter(parameter));
    let mut all = Vec::new();
    for parameter in trainer.parameters() {
        all.push(read(parameter)?.words().to_vec());
    }
    Ok(all)
}

fn repeats(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let first = trained(device, recipe, &options())?;
    if first != trained(device, recipe, &options())? {
        return Err("the same seed gave other weights".into());
    }
    let mut other = options();
    other.seed = 4;
    if first == trained(device, recipe, &other)? {
        return Err("another seed gave the same weights".into());
    }
    Ok(())
}

fn in_class(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let checked = Device::checked(device.clone());
    let mut options = options();
    options.model = Model::mlp(&[784, 24, 17, 10]);
    options.batch = 16;
    steps(Trainer::new(&checked, recipe, &options)?, 4)
}

fn convolutions_in_class(device: &Device, recipe: &Recipe) -> Result<(), Failed> {
    let checked = Device::checked(device.clone());
    let mut options = convolutions();
    options.batch = 5;
    // Filters at every second place of padded images, and images that change how they lie.
    let other = Layer::Conv2d {
        filters: 3,
        window: [4, 3],
        stride: [2, 2],
        padding: [1, 2],
    };
    options.model.layers[3] = other;
    options.model.layers.remove(5);
    steps(Trainer::new(&checked, recipe, &options)?, 3)
}

fn steps(mut trainer: Trainer, count: usize) -> Result<(), Failed> {
    trainer.epoch_blocking(&DIGITS, |progress| match progress.step < count {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    })?;
    Ok(())
}

/// What the buffers of a recipe hold, from the widths alone.
fn memory() -> Result<(), Failed> {
    let mut options = options();
    options.model = Model::mlp(&[784, 64, 32, 16]);
    options.batch = 8;
    // Every width is a multiple of the row padding, so bytes are elements times their size.
    let parameters = (784 * 64 + 64 + 64 * 32 + 32 + 32 * 16 + 16) as u64;
    let gradients = (784 * 64 + 64 + 2 * 8 * 64) as u64;
    let activations = (8 * (784 + 64 + 32 + 16)) as u64;
    for (recipe, bytes, master, momentum, loss) in [
        (Recipe::f64(), 8, 0, 8, 8),
        (Recipe::f32(), 4, 0, 4, 4),
        (Recipe::bf16_mixed(), 2, 4, 4, 4),
        (Recipe::bf16_sr(), 2, 0, 2, 4),
        // Momentum and compensation.
        (Recipe::bf16_kahan(), 2, 0, 4, 4),
        // No buffer is wider for a bf16 accumulator.
        (Recipe::bf16_pure(32), 2, 0, 2, 4),
    ] {
        let memory = Trainer::new(&Device::cpu(), &recipe, &options)?.memory();
        let expected = MemoryUse {
            weights: bytes * parameters,
            master: master * parameters,
            optimizer: momentum * parameters,
            gradients: bytes * gradients,
            activations: bytes * activations + 8 * 4 + 8 * loss,
            operands: 0,
            total: 0,
        };
        let sum = expected.weights
            + expected.master
            + expected.optimizer
            + expected.gradients
            + expected.activations;
        // On the CPU device there is no scratch: nothing hides beside these buffers.
        if memory
            != (MemoryUse {
                total: sum,
                ..expected
            })
        {
            return Err(format!("{}: {memory:?}, expected {expected:?}", recipe.name).into());
        }
    }
    Ok(())
}

fn errors() -> Result<(), Failed> {
    let cpu = Device::cpu();
    let bad: [fn(&mut TrainOptions); 8] = [
        |options| options.model = Model::mlp(&[784]),
        |options| options.model = Model::mlp(&[784, 0, 10]),
        |options| options.batch = 0,
        |options| options.epochs = 0,
        |options| options.schedule = Schedule::Step { factor: f32::NAN },
        |options| {
            options.optimizer = Optimizer::AdamW {
                beta1: 0.9,
                beta2: 1.0,
                epsilon: 1e-8,
            };
        },
        |options| {
            options.optimizer = Optimizer::AdamW {
                beta1: 0.9,
                beta2: 0.9,
                epsilon: 0.0,
            };
        },
        |options| options.learning_rate = f32::NAN,
    ];
    for spoil in bad {
        let mut options = options();
        spoil(&mut options);
        if Trainer::new(&cpu, &Recipe::f32(), &options).is_ok() {
            return Err(format!("{options:?} made a trainer").into());
        }
    }
    // A compensation of what is not rounded, and momentum rounded apart from the weights.
    let mut mixed = Recipe::bf16_mixed();
    mixed.compensation = Some(DType::Bf16);
    let mut apart = Recipe::bf16_sr();
    apart.momentum_rounding = fewbit::format::Rounding::Nearest;
    for recipe in [mixed, apart] {
        let made = Trainer::new(&cpu, &recipe, &options());
        if !matches!(made, Err(fewbit::Error::Unsupported { .. })) {
            return Err(format!("{recipe:?}: {made:?}").into());
        }
    }
    let mut other = options();
    other.model = Model::mlp(&[783, 10]);
    let mut trainer = Trainer::new(&cpu, &Recipe::f32(), &other)?;
    let never = |_: &_| ControlFlow::Continue(());
    if trainer.epoch_blocking(&DIGITS, never).is_ok() || trainer.accuracy_blocking(&DIGITS).is_ok() {
        return Err("images of other extents were taken".into());
    }
    let mut other = options();
    other.batch = 12_001;
    if Trainer::new(&cpu, &Recipe::f32(), &other)?
        .epoch_blocking(&DIGITS, never)
        .is_ok()
    {
        return Err("a batch larger than the data set was taken".into());
    }
    Ok(())
}
