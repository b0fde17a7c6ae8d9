//! `fewbit eval`: a stored network on images.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use fewbit::nn::data::Split;
use fewbit::nn::train::{TrainOptions, Trainer};
use fewbit::{Device, Result};

use super::data::{DataArgs, Wanted};
use super::output::{Output, Row, seconds};
use super::stored::StoredModel;
use super::{Common, Stop, device, interrupted};

#[derive(Args, Debug)]
pub(crate) struct EvalArgs {
    /// A network that `fewbit train --out` left.
    #[arg(value_name = "MODEL.safetensors")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Test on the last so many images to train on too, as `fewbit train --holdout` does. A CSV file is tested on whole.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    holdout: usize,
    /// Images of a batch.
    #[arg(long, default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Seed of the drawn digits, without --data.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    seed: u64,
    /// Digits drawn to test on, without --data.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true)]
    test_images: usize,
}

/// How long a figure is measured, and how often at least.
const LONG: Duration = Duration::from_millis(500);
const OFTEN: usize = 5;

/// Batches through the network, after some that warm it up: the median of their times in seconds.
pub(crate) fn time(trainer: &mut Trainer, split: &Split, pixels: usize) -> std::result::Result<f64, Stop> {
    let size = trainer.options().batch * pixels;
    let mut times = Vec::new();
    let mut batches = split.images.chunks(size).cycle();
    for _ in 0..OFTEN {
        run(trainer, batches.next())?;
    }
    let start = Instant::now();
    while times.len() < OFTEN || start.elapsed() < LONG {
        interrupted()?;
        let images = batches.next();
        let start = Instant::now();
        run(trainer, images)?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn run(trainer: &mut Trainer, images: Option<&[u8]>) -> Result<()> {
    trainer.logits_blocking(images.unwrap_or_default()).map(drop)
}

/// The network on the device, for batches of so many images.
pub(crate) fn network(
    device: &Device,
    stored: &StoredModel,
    batch: usize,
) -> std::result::Result<Trainer, Stop> {
    let mut options = TrainOptions::default();
    options.model = stored.model.clone();
    options.batch = batch;
    let mut trainer = Trainer::new(device, &stored.recipe, &options)?;
    stored.weights.apply(&mut trainer)?;
    Ok(trainer)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

pub(crate) fn eval(common: &Common, args: &EvalArgs, output: &mut Output) -> std::result::Result<(), Stop> {
    let stored = StoredModel::read(&args.model)?;
    let device = device::open(common, output)?;
    let data = args.data.load(&Wanted {
        seed: args.seed,
        drawn: [1, args.test_images],
        holdout: args.holdout,
        validation: 0,
        image: stored.image,
        classes: stored.model.classes()?,
        test_alone: true,
    })?;
    let (test, pixels) = (data.set.test(), data.set.pixels());
    output.line(&format!("Data: {}: {} to test on", data.name, test.len()));
    // A batch of more images than there are would be filled up with blanks.
    let batch = (args.batch as usize).min(test.len());
    let mut many = network(&device, &stored, batch)?;
    let accuracy = 100.0 * many.accuracy_blocking(&data.set)?;
    let throughput = batch as f64 / time(&mut many, test, pixels)?;
    let bytes = many.memory().weights;
    let held = many.forward_bytes();
    drop(many);
    let mut one = network(&device, &stored, 1)?;
    let latency = time(&mut one, test, pixels)?;
    let held_by_one = one.forward_bytes();
    let name = args.model.display().to_string();
    let row = Row::new("eval", &stored.recipe.name, &name, true)
        .with("model", stored.model.name.clone())
        .with("images", test.len())
        .with("accuracy_percent", accuracy)
        .with("weights_bytes", bytes)
        .with("forward_bytes_batch_1", held_by_one)
        .with("latency_seconds", latency)
        .with("batch", batch)
        .with("forward_bytes", held)
        .with("images_per_second", throughput);
    output.row(row);
    let line = vec![
        stored.model.name.clone(),
        stored.recipe.name.clone(),
        format!("{accuracy:.2}"),
        megabytes(bytes),
        megabytes(held_by_one),
        seconds(latency),
        megabytes(held),
        format!("{throughput:.0}"),
    ];
    let all = format!("All, batch {batch} (MB)");
    let header = [
        "Model",
        "Format",
        "Accuracy (%)",
        "Weights (MB)",
        "All, batch 1 (MB)",
        "Latency, batch 1",
        &all,
        "Images/s",
    ];
    output.table(&header, &header[2..], &[line]);
    output.line(&format!(
        "MB are 10^6 bytes. All: every buffer that a forward pass reads or writes, weights among them. Images/s: in batches of {batch}. Times are medians, from bytes of pixels to logits on the host."
    ));
    Ok(())
}
