//! Networks in safetensors files: the weights, and in the metadata all that is needed to run them.
//!
//! The library reads and writes the format (`io::safetensors`, on the crate of that name); this is what is in it.

use std::path::{Path, PathBuf};

use fewbit::io::safetensors::{self, Dtype, NamedTensor};
use fewbit::nn::data::fingerprint;
use fewbit::nn::train::Trainer;
use fewbit::nn::{Model, Parameter, Recipe, Stored};
use fewbit::tensor::DType;
use serde_json::{Value, json};

use super::{Stop, models, recipes};

/// The one key of the metadata; its text is JSON.
pub(crate) const KEY: &str = "fewbit";
const FORMAT: &str = "fewbit model";
const VERSION: u64 = 1;

/// A network in a file.
pub(crate) struct StoredModel {
    pub(crate) model: Model,
    pub(crate) recipe: Recipe,
    /// Rows and columns of the images that it was trained on.
    pub(crate) image: [usize; 2],
    pub(crate) weights: Weights,
}

/// Tensors of a file.
pub(crate) struct Weights {
    path: PathBuf,
    tensors: Vec<NamedTensor>,
    /// What tells the file from others.
    pub(crate) fingerprint: u64,
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Stop {
    Stop::Input(format!("{}: {why}", path.display()))
}

/// Writes a network that was trained on images of so many rows and columns.
pub(crate) fn write(path: &Path, trainer: &Trainer, [rows, cols]: [usize; 2]) -> Result<(), Stop> {
    let options = trainer.options();
    let model = models::tree(&options.model).map_err(|why| failed(path, &why))?;
    let metadata = json!({
        "format": FORMAT,
        "version": VERSION,
        "fewbit": env!("CARGO_PKG_VERSION"),
        "model": model,
        "recipe": recipes::tree(trainer.recipe()),
        "classes": options.model.classes()?,
        "image": {"rows": rows, "columns": cols},
        // A byte over this is a number of the input.
        "input_scaling": {"divide_by": 255},
        "seed": options.seed,
        "epochs": trainer.position()[0],
    });
    let weights = trainer.weights_blocking()?;
    let tensors: Vec<_> = weights
        .iter()
        .map(named)
        .collect::<Result<_, _>>()
        .map_err(|why| failed(path, &why))?;
    let bytes = safetensors::serialize_with(&tensors, Some((KEY, &metadata.to_string())))
        .map_err(|error| failed(path, &error))?;
    fewbit::file::write(path, &bytes)
        .map_err(|error| failed(path, &format_args!("it cannot be written: {error}")))
}

/// A tensor without padding. A bias is a vector.
fn named(stored: &Stored) -> Result<NamedTensor, String> {
    let view = stored.view();
    let (dtype, size) = match stored.dtype {
        DType::F64 => (Dtype::F64, 8),
        DType::F32 => (Dtype::F32, 4),
        DType::Bf16 => (Dtype::Bf16, 2),
        other => return Err(format!("weights of type {other} have no type in files")),
    };
    let words: Vec<_> = stored.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let rows = (0..stored.rows).map(|row| &words[row * view.ld * size..][..stored.cols * size]);
    let bytes = rows.flatten().copied().collect();
    Ok(NamedTensor {
        name: stored.name.clone(),
        dtype,
        shape: match stored.name.ends_with("bias") {
            true => vec![stored.cols],
            false => vec![stored.rows, stored.cols],
        },
        bytes,
    })
}

/// A file's bytes.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Stop> {
    fewbit::file::read_regular(path)
        .map_err(|error| failed(path, &format_args!("it cannot be read: {error}")))
}

/// What the metadata says, of this format.
pub(crate) fn metadata(bytes: &[u8], format: &str, version: u64) -> Result<Value, String> {
    let all = safetensors::parse_metadata(bytes).map_err(|error| error.to_string())?;
    let text = all
        .get(KEY)
        .ok_or_else(|| format!("its metadata has no {KEY:?}: this is no {format}"))?;
    let value: Value = serde_json::from_str(text).map_err(|error| format!("its metadata: {error}"))?;
    if value["format"] != format {
        return Err(format!("this is no {format}, but {}", value["format"]));
    }
    match value["version"] == version {
        true => Ok(value),
        false => Err(format!(
            "its version is {}, and this fewbit reads {version}",
            value["version"]
        )),
    }
}

impl StoredModel {
    /// # Errors
    /// There is no such file, or it holds no network.
    pub(crate) fn read(path: &Path) -> Result<Self, Stop> {
        let bytes = bytes(path)?;
        let metadata = metadata(&bytes, FORMAT, VERSION).map_err(|why| failed(path, &why))?;
        let model = models::parse(&metadata["model"], "stored").map_err(|why| failed(path, &why))?;
        let recipe = recipes::parse(&metadata["recipe"], "stored").map_err(|why| failed(path, &why))?;
        let side = |key: &str| metadata["image"][key].as_u64().map(|side| side as usize);
        let (Some(rows), Some(cols)) = (side("rows"), side("columns")) else {
            return Err(failed(path, &"its metadata has no size of images"));
        };
        Ok(Self {
            model,
            recipe,
            image: [rows, cols],
            weights: Weights::parse(path, &bytes)?,
        })
    }
}

impl Weights {
    /// Of any safetensors file, whoever wrote it.
    ///
    /// # Errors
    /// There is no such file, or it is damaged.
    pub(crate) fn read(path: &Path) -> Result<Self, Stop> {
        Self::parse(path, &bytes(path)?)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Stop> {
        Ok(Self {
            path: path.to_path_buf(),
            tensors: safetensors::parse(bytes).map_err(|error| failed(path, &error))?,
            fingerprint: fingerprint(bytes),
        })
    }

    /// Sets a network's weights and biases.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or not of floats, or one that the network has no place for; nothing is
    /// set then.
    pub(crate) fn apply(&self, trainer: &mut Trainer) -> Result<(), Stop> {
        let parameters = trainer.parameters().to_vec();
        for (parameter, values) in parameters.iter().zip(self.values(&parameters)?) {
            trainer.set_parameter(parameter, &values)?;
        }
        Ok(())
    }

    /// Whether they are those of such a network.
    ///
    /// # Errors
    /// See [`Weights::apply`].
    pub(crate) fn check(&self, parameters: &[Parameter]) -> Result<(), Stop> {
        self.values(parameters).map(drop)
    }

    /// The values of each parameter.
    fn values(&self, parameters: &[Parameter]) -> Result<Vec<Vec<f64>>, Stop> {
        let fail = |why: String| failed(&self.path, &why);
        let mut all = Vec::new();
        for parameter in parameters {
            let name = parameter.name();
            let found = self.tensors.iter().find(|tensor| tensor.name == name);
            let tensor =
                found.ok_or_else(|| fail(format!("it has no tensor {name}, which the network has")))?;
            let shape = match parameter.bias {
                true => vec![parameter.cols],
                false => vec![parameter.rows, parameter.cols],
            };
            if tensor.shape != shape {
                return Err(fail(format!(
                    "its {name} is {:?}, and the network's is {shape:?}",
                    tensor.shape
                )));
            }
            let values = values(tensor).map_err(|why| fail(why.to_string()))?;
            if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
                return Err(fail(format!("its {name} holds {bad}")));
            }
            all.push(values);
        }
        let own = |tensor: &&NamedTensor| parameters.iter().any(|own| own.name() == tensor.name);
        if let Some(other) = self.tensors.iter().find(|tensor| !own(tensor)) {
            return Err(fail(format!(
                "it has a tensor {}, and the network has none",
                other.name
            )));
        }
        Ok(all)
    }
}

fn values(tensor: &NamedTensor) -> Result<Vec<f64>, safetensors::SafetensorsError> {
    if tensor.dtype == Dtype::F64 {
        let (words, _) = tensor.bytes.as_chunks();
        return Ok(words.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect());
    }
    Ok(tensor.to_f32()?.into_iter().map(f64::from).collect())
}
