//! Learning from the logits of other networks (Hinton, Vinyals and Dean, 2015).

use super::build::tensor;
use super::data::Split;
use super::images::{self, Augment};
use super::network::{self, MemoryUse};
use super::recipe::Recipe;
use super::train::{TrainOptions, Trainer};
use crate::device::{Program, TensorId};
use crate::error::{Error, Result};
use crate::kernels;
use crate::tensor::{DType, View, alloc};

const OP: &str = "distill";

/// How much of the loss is the teacher's, and how soft its answers are: the loss of an image is
/// `alpha CE(label) + (1 - alpha) T^2 KL(teacher / T || student / T)`, see [`kernels::Distillation`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// T, from 0.01 to 10,000.
    pub temperature: f32,
    /// The weight of the labels, from 0 to 1.
    pub alpha: f32,
}

/// The logits that a network gives images, a row for each.
///
/// ```
/// use fewbit::nn::Logits;
///
/// let one = Logits::new(3, vec![2.0, 0.0, 1.0])?;
/// let other = Logits::new(3, vec![0.0, 2.0, 1.0])?;
/// // Their probabilities' mean, at temperature 1.
/// let mean = Logits::mixed(&[one, other], None, 1.0)?;
/// assert_eq!((mean.images(), mean.classes()), (1, 3));
/// assert_eq!(mean.row(0)[0], mean.row(0)[1]);
/// # Ok::<(), fewbit::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    classes: usize,
    values: Vec<f32>,
}

impl Logits {
    /// Rows of `classes` logits, image after image.
    ///
    /// # Errors
    /// No class, no image, values that are no whole rows, or one that is not finite.
    pub fn new(classes: usize, values: Vec<f32>) -> Result<Self> {
        if classes == 0 || values.is_empty() || !values.len().is_multiple_of(classes) {
            return Err(Error::Shape {
                op: OP,
                operand: "logits",
                expected: "a row of one number for each class, for each image".into(),
                got: vec![values.len(), classes],
            });
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(refuse("a logit", value.to_string(), "a finite number")),
            None => Ok(Self { classes, values }),
        }
    }

    /// How many images they are of.
    #[must_use]
    pub fn images(&self) -> usize {
        self.values.len() / self.classes
    }

    /// How many there are of an image.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// All of them, image after image.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Those of an image; none past the last.
    #[must_use]
    pub fn row(&self, image: usize) -> &[f32] {
        let first = image.saturating_mul(self.classes);
        let rest = self.values.get(first..).unwrap_or_default();
        &rest[..rest.len().min(self.classes)]
    }

    /// The logits of an ensemble at a temperature: those whose softmax over T is the weighted mean of the softmaxes of
    /// `teachers` over T, which is summed among their logarithms, in f64. Without weights all count the same; a single
    /// one stays as it is.
    ///
    /// # Errors
    /// No teacher; teachers of other images or classes than the first; another number of weights, one that is negative
    /// or not finite, or nothing but zeros; a temperature that is not a number from 0.01 to 10,000; out of memory.
    pub fn mixed(teachers: &[Self], weights: Option<&[f64]>, temperature: f32) -> Result<Self> {
        check_temperature(temperature)?;
        let Some(first) = teachers.first() else {
            return Err(refuse("teachers", "none".into(), "one or more"));
        };
        for teacher in teachers {
            let same = (teacher.images(), teacher.classes) == (first.images(), first.classes);
            if !same {
                return Err(Error::Shape {
                    op: OP,
                    operand: "a teacher's logits",
                    expected: format!("{} images of {} classes", first.images(), first.classes),
                    got: vec![teacher.images(), teacher.classes],
                });
            }
        }
        let weights = weights.map_or_else(|| vec![1.0; teachers.len()], <[f64]>::to_vec);
        let all: f64 = weights.iter().sum();
        let right = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        if weights.len() != teachers.len() || !right || !(all.is_finite() && all > 0.0) {
            return Err(refuse(
                "weights of teachers",
                format!("{weights:?}"),
                "one for each, 0 or more, not all 0",
            ));
        }
        if teachers.len() == 1 {
            return Ok(first.clone());
        }
        let temperature = f64::from(temperature);
        let logs: Vec<_> = weights.iter().map(|weight| (weight / all).ln()).collect();
        let mut values = alloc::reserved(OP, first.values.len())?;
        for image in 0..first.images() {
            let rows: Vec<_> = teachers
                .iter()
                .map(|teacher| log_softmax(teacher.row(image), temperature))
                .collect();
            for class in 0..first.classes {
                let terms = logs.iter().zip(&rows).map(|(log, row)| log + row[class]);
                values.push((log_sum(terms) * temperature) as f32);
            }
        }
        Self::new(first.classes, values)
    }
}

/// The logarithm of a sum of exponentials.
fn log_sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    top + terms.map(|term| (term - top).exp()).sum::<f64>().ln()
}

fn log_softmax(row: &[f32], temperature: f64) -> Vec<f64> {
    let softened = row.iter().map(|logit| f64::from(*logit) / temperature);
    let sum = log_sum(softened.clone());
    softened.map(|logit| logit - sum).collect()
}

/// What a student learns from: logits of every image to train on, and which of these have labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Teacher {
    logits: Logits,
    /// `None`: all.
    labelled: Option<Vec<bool>>,
}

impl Teacher {
    /// Logits of the images to train on, in their order; all images have labels.
    #[must_use]
    pub const fn new(logits: Logits) -> Self {
        Self {
            logits,
            labelled: None,
        }
    }

    /// The same where only some images have labels; those of the others are never looked at.
    #[must_use]
    pub fn with_labels(self, labelled: Vec<bool>) -> Self {
        Self {
            labelled: Some(labelled),
            ..self
        }
    }

    /// The logits.
    #[must_use]
    pub const fn logits(&self) -> &Logits {
        &self.logits
    }
}

fn refuse(what: &'static str, value: String, expected: &'static str) -> Error {
    Error::Value {
        op: OP,
        what,
        value,
        expected,
    }
}

fn check_temperature(temperature: f32) -> Result<()> {
    // A NaN is in no range.
    match (0.01..=10_000.0).contains(&temperature) {
        true => Ok(()),
        false => Err(refuse(
            "temperature",
            temperature.to_string(),
            "a number from 0.01 to 10,000",
        )),
    }
}

/// Checks the options of distillation, if there are any.
pub(super) fn check(options: &TrainOptions) -> Result<()> {
    let Some(Distillation { temperature, alpha }) = options.distillation else {
        return Ok(());
    };
    check_temperature(temperature)?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(refuse("alpha", alpha.to_string(), "a number from 0 to 1"));
    }
    match options.augment {
        Augment::None => Ok(()),
        Augment::Shift1 => Err(refuse(
            "augment",
            format!("{:?}", options.augment),
            "none: a teacher's logits are those of images as they are",
        )),
    }
}

/// The teacher's logits of a batch, where there is one: as wide as the loss.
pub(super) fn logits(
    program: &mut Program,
    memory: &mut MemoryUse,
    recipe: &Recipe,
    options: &TrainOptions,
    classes: usize,
) -> Result<Option<TensorId>> {
    if options.distillation.is_none() {
        return Ok(None);
    }
    let shape = [options.batch, classes];
    tensor(
        program,
        &mut memory.activations,
        network::loss_type(recipe),
        shape,
    )
    .map(Some)
}

impl Trainer {
    /// Sets what the epochs to come learn from.
    ///
    /// # Errors
    /// Options without a [`TrainOptions::distillation`]; logits of other classes than the network's; another number of
    /// labelled or unlabelled images than there are rows.
    pub fn learn_from(&mut self, teacher: Teacher) -> Result<()> {
        if self.options.distillation.is_none() {
            return Err(refuse(
                "teacher",
                "one".into(),
                "none, without a distillation among the options",
            ));
        }
        let (classes, images) = (self.options.model.classes()?, teacher.logits.images());
        if teacher.logits.classes != classes {
            return Err(Error::Shape {
                op: OP,
                operand: "the teacher's logits",
                expected: format!("{classes} classes, as the student has"),
                got: vec![images, teacher.logits.classes],
            });
        }
        if let Some(labelled) = teacher.labelled.as_ref().filter(|all| all.len() != images) {
            return Err(refuse(
                "images said to have a label or none",
                labelled.len().to_string(),
                "as many as the teacher has logits of",
            ));
        }
        self.teacher = Some(teacher);
        Ok(())
    }

    /// Checks that there is a teacher for the split where one is needed.
    pub(super) fn check_teacher(&self, split: &Split) -> Result<()> {
        let Some(teacher) = &self.teacher else {
            return match self.options.distillation {
                None => Ok(()),
                Some(_) => Err(refuse("teacher", "none".into(), "one (Trainer::learn_from)")),
            };
        };
        match teacher.logits.images() == split.len() {
            true => Ok(()),
            false => Err(Error::Shape {
                op: OP,
                operand: "the teacher's logits",
                expected: format!("a row for each of the {} images to train on", split.len()),
                got: vec![teacher.logits.images(), teacher.logits.classes],
            }),
        }
    }

    /// Writes the teacher's logits of the named images beside the batch, and takes the labels off those without.
    pub(super) fn upload_teacher(&mut self, split: &Split, images: &[u32]) -> Result<()> {
        let (Some(teacher), Some(id)) = (&self.teacher, self.network.teacher) else {
            return Ok(());
        };
        let (batch, classes) = (self.options.batch, teacher.logits.classes);
        let logit = |i: usize| match images.get(i / classes) {
            Some(&image) => teacher.logits.values[image as usize * classes + i % classes].into(),
            None => 0.0,
        };
        let packed = network::pack(network::loss_type(&self.recipe), batch, classes, logit)?;
        self.network.program.write_words(id, &[&packed])?;
        let Some(labelled) = &teacher.labelled else {
            return Ok(());
        };
        let mut labels = alloc::filled(OP, network::ld(DType::U32, batch), u32::MAX)?;
        for (label, &image) in labels.iter_mut().zip(images) {
            let image = image as usize;
            *label = match labelled[image] {
                true => split.labels[image].into(),
                false => kernels::Distillation::UNLABELLED,
            };
        }
        self.network.program.write_words(self.network.labels, &[&labels])
    }

    /// The network's logits of every image of a split, as they are stored, in f32. Labels are not looked at.
    ///
    /// # Errors
    /// Images of other extents than the network's; [`Error::Diverged`] where a logit is not finite; device lost, or out
    /// of memory.
    pub async fn logits_of(&mut self, split: &Split) -> Result<Logits> {
        let (pixels, classes) = (self.options.model.pixels(), self.options.model.classes()?);
        let count = split.len();
        if count.checked_mul(pixels) != Some(split.images.len()) {
            return Err(Error::Shape {
                op: OP,
                operand: "images",
                expected: format!("{count} of {pixels} pixels each"),
                got: vec![split.images.len()],
            });
        }
        let (batch, dtype) = (self.options.batch, self.recipe.activations);
        let logits = self.recipe.logits;
        let view = View::new(logits, batch, classes, network::ld(logits, classes));
        let mut values = alloc::reserved(OP, count.saturating_mul(classes))?;
        for first in (0..count).step_by(batch) {
            let numbers: Vec<_> = (first as u32..count.min(first + batch) as u32).collect();
            let packed = images::batch(dtype, &split.images, pixels, &numbers, batch)?;
            self.network.program.write_words(self.network.input, &[&packed])?;
            self.network.evaluate()?;
            let read = self.read(self.network.logits).await?;
            for row in 0..numbers.len() {
                for class in 0..classes {
                    let logit = self.finite("a logit", view.load(read.words(), row, class))?;
                    values.push(logit as f32);
                }
            }
        }
        Logits::new(classes, values)
    }

    /// [`Trainer::logits_of`] for threads that may block.
    ///
    /// # Errors
    /// See [`Trainer::logits_of`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn logits_of_blocking(&mut self, split: &Split) -> Result<Logits> {
        pollster::block_on(self.logits_of(split))
    }
}
