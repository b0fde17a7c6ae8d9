//! `fewbit distill`: a network that learns from what others say of the images.

use std::path::{Path, PathBuf};

use clap::Args;
use fewbit::io::safetensors::{self, Dtype, NamedTensor};
use fewbit::nn::data::Split;
use fewbit::nn::{Distillation, Logits, Model, Teacher};
use fewbit::{Device, file};
use serde_json::{Value, json};

use super::data::Data;
use super::output::Output;
use super::stored::{self, StoredModel};
use super::train::TrainArgs;
use super::{Stop, eval, interrupted};

#[derive(Args, Debug)]
pub(crate) struct DistillArgs {
    /// A network to learn from, as `fewbit train --out` leaves it. Of several the probabilities are mixed.
    #[arg(long = "teacher", required = true, value_name = "FILE.safetensors")]
    teachers: Vec<PathBuf>,
    /// Weights of the teachers in their mixture, in their order; all the same without it.
    #[arg(
        long,
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_name = "LIST"
    )]
    weights: Vec<f64>,
    /// What logits are divided by before student and teacher are compared.
    #[arg(long, default_value_t = 4.0, allow_hyphen_values = true, value_name = "T", value_parser = temperature)]
    temperature: f32,
    /// The weight of the labels; the teacher has the rest.
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true, value_parser = alpha)]
    alpha: f32,
    /// Only the first so many images to train on have labels; from the others the teacher alone is learned.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    labelled: Option<usize>,
    /// Keep the teachers' logits in this folder, by teacher and images, and take them from there.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) train: TrainArgs,
}

/// What students learn from.
pub(crate) struct Teaching {
    pub(crate) teacher: Teacher,
    /// What tells it from others.
    pub(crate) identity: Value,
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(temperature) if (0.01..=10_000.0).contains(&temperature) => Ok(temperature),
        _ => Err("a temperature is a number from 0.01 to 10,000".into()),
    }
}

fn alpha(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(alpha) if (0.0..=1.0).contains(&alpha) => Ok(alpha),
        _ => Err("a weight of labels is a number from 0 to 1".into()),
    }
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Stop {
    Stop::Input(format!("{}: {why}", path.display()))
}

impl DistillArgs {
    /// How much is learned from the teachers, and how soft.
    ///
    /// # Errors
    /// Images that are varied.
    pub(crate) fn distillation(&self) -> Result<Distillation, Stop> {
        if self.train.varies() {
            let why = "--augment does not go with teachers: their logits are those of images as they are";
            return Err(Stop::Input(why.into()));
        }
        Ok(Distillation {
            temperature: self.temperature,
            alpha: self.alpha,
        })
    }

    /// What the students of this shape learn from on these images.
    ///
    /// # Errors
    /// A teacher that cannot be read, or of other images or classes; weights that are not one
    /// for each; more labels than images; interrupted.
    pub(crate) fn teaching(
        &self,
        device: &Device,
        model: &Model,
        data: &Data,
        output: &Output,
    ) -> Result<Teaching, Stop> {
        let (split, classes) = (data.set.train(), model.classes()?);
        let images = split.len();
        let labelled = self.labelled.unwrap_or(images);
        if labelled > images {
            return Err(Stop::Input(format!(
                "--labelled {labelled}: there are {images} images to train on"
            )));
        }
        let mut all = Vec::new();
        let mut fingerprints = Vec::new();
        for path in &self.teachers {
            interrupted()?;
            let stored = StoredModel::read(path)?;
            if stored.model.classes()? != classes {
                let of = stored.model.classes()?;
                return Err(failed(
                    path,
                    &format_args!("a teacher of {of} classes, and the student has {classes}"),
                ));
            }
            fingerprints.push(format!("{:016x}", stored.weights.fingerprint));
            all.push(self.logits(device, &stored, split)?);
        }
        let weights = Some(&self.weights[..]).filter(|weights| !weights.is_empty());
        let logits = Logits::mixed(&all, weights, self.temperature)?;
        let has_label = (0..images).map(|image| image < labelled).collect();
        output.line(&format!(
            "Teachers: {}, at temperature {}, labels weighted {} ({labelled} of {images} images have one)",
            self.teachers.len(),
            self.temperature,
            self.alpha
        ));
        // As it was asked for: not the f64 that the f32 is.
        let number = |value: f32| value.to_string().parse::<f64>().map_or(Value::Null, Value::from);
        Ok(Teaching {
            teacher: Teacher::new(logits).with_labels(has_label),
            identity: json!({
                "teachers": fingerprints,
                "weights": self.weights,
                "temperature": number(self.temperature),
                "alpha": number(self.alpha),
                "labelled": labelled,
            }),
        })
    }

    /// One teacher's logits: those that were kept, or new ones.
    fn logits(&self, device: &Device, stored: &StoredModel, split: &Split) -> Result<Logits, Stop> {
        let (images, classes) = (split.len(), stored.model.classes()?);
        let name = format!(
            "logits-{:016x}-{:016x}.safetensors",
            stored.weights.fingerprint,
            split.fingerprint()
        );
        let path = self.cache.as_ref().map(|folder| folder.join(name));
        if let Some(path) = path.as_ref().filter(|path| path.exists()) {
            return kept(path, [images, classes]);
        }
        let batch = self.train.batch().min(images);
        let logits = eval::network(device, stored, batch)?.logits_of_blocking(split)?;
        if let Some(path) = &path {
            keep(path, &logits)?;
        }
        Ok(logits)
    }
}

/// The logits of a file that an earlier call left.
fn kept(path: &Path, [images, classes]: [usize; 2]) -> Result<Logits, Stop> {
    let tensors = safetensors::parse(&stored::bytes(path)?).map_err(|error| failed(path, &error))?;
    match &tensors[..] {
        [one] if one.shape == [images, classes] && one.dtype == Dtype::F32 => {
            let values = one.to_f32().map_err(|error| failed(path, &error))?;
            Ok(Logits::new(classes, values)?)
        }
        _ => Err(failed(path, &"it does not hold these images' logits")),
    }
}

fn keep(path: &Path, logits: &Logits) -> Result<(), Stop> {
    let why = |error: &dyn std::fmt::Display| failed(path, &format_args!("it cannot be written: {error}"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| why(&error))?;
    }
    let tensor = NamedTensor {
        name: "logits".into(),
        dtype: Dtype::F32,
        shape: vec![logits.images(), logits.classes()],
        bytes: logits
            .values()
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
    };
    let bytes = safetensors::serialize(&[tensor]).map_err(|error| why(&error))?;
    file::write(path, &bytes).map_err(|error| why(&error))
}
