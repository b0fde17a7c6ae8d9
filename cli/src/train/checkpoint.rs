//! Checkpoints: all that a run's next step depends on, in a safetensors file.
//!
//! Tensors are kept as their words, for they are to be the same bits. The metadata says what they are, where the run is,
//! and what it is a run of; a run that differs in any of that does not go on from it.

use std::fs;
use std::path::{Path, PathBuf};

use fewbit::io::safetensors::{self, Dtype, NamedTensor};
use fewbit::nn::train::Trainer;
use fewbit::nn::{State, Stored};
use fewbit::tensor::DType;
use serde_json::{Value, json};

use super::super::{Stop, stored};
use super::folder::{Run, failed, names, same, write};
use super::history::History;

const FORMAT: &str = "fewbit checkpoint";
const VERSION: u64 = 2;

/// The checkpoints of a run, the oldest first.
fn all(run: &Run) -> Result<Vec<PathBuf>, Stop> {
    let folder = run.checkpoints();
    let mut names = names(&folder)?;
    names.retain(|name| name.starts_with("step-") && name.ends_with(".safetensors"));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Writes one, and then removes all but the newest. `None` where some number is not finite any more: a run does not go on
/// from there, and the loss will tell of it.
pub(super) fn save(
    run: &Run,
    trainer: &Trainer,
    history: &History,
    keep: usize,
) -> Result<Option<PathBuf>, Stop> {
    let state = trainer.state_blocking()?;
    if !state.tensors.iter().all(Stored::is_finite) {
        return Ok(None);
    }
    // Names are in the order of steps.
    let path = run
        .checkpoints()
        .join(format!("step-{:010}.safetensors", state.steps));
    write(&path, &bytes(&path, run, &state, history)?)?;
    let all = all(run)?;
    for old in &all[..all.len().saturating_sub(keep)] {
        fs::remove_file(old).map_err(|error| failed(old, "cannot be removed", &error))?;
    }
    Ok(Some(path))
}

fn bytes(path: &Path, run: &Run, state: &State, history: &History) -> Result<Vec<u8>, Stop> {
    let shapes: Vec<_> = state
        .tensors
        .iter()
        .map(|stored| json!([stored.name, stored.dtype.to_string(), stored.rows, stored.cols]))
        .collect();
    let metadata = json!({
        "format": FORMAT,
        "version": VERSION,
        "run": run.config,
        "epoch": state.epoch,
        "position": state.position,
        "steps": state.steps,
        "decided": state.decided,
        "variants": state.variants,
        "tensors": shapes,
        "history": history.tree(),
    });
    let words = |stored: &Stored| NamedTensor {
        name: stored.name.clone(),
        dtype: Dtype::U32,
        shape: vec![stored.words.len()],
        bytes: stored.words.iter().flat_map(|word| word.to_le_bytes()).collect(),
    };
    let tensors: Vec<_> = state.tensors.iter().map(words).collect();
    safetensors::serialize_with(&tensors, Some((stored::KEY, &metadata.to_string())))
        .map_err(|error| failed(path, "cannot be written", &error))
}

/// Takes up the newest one, if there is one: its history, and its path.
///
/// # Errors
/// It is damaged, or of another configuration; a trainer that it does not fit.
pub(super) fn resume(run: &Run, trainer: &mut Trainer) -> Result<Option<(History, PathBuf)>, Stop> {
    let Some(path) = all(run)?.pop() else {
        return Ok(None);
    };
    let bytes = stored::bytes(&path)?;
    let damaged = |why: &str| failed(&path, "is no sound checkpoint", &why);
    let metadata = stored::metadata(&bytes, FORMAT, VERSION).map_err(|why| damaged(&why))?;
    let tensors = safetensors::parse(&bytes).map_err(|error| damaged(&error.to_string()))?;
    // Only half a cosine depends on where it ends.
    let skip: &[&str] = match run.config["training"]["schedule"] == "cosine" {
        true => &["source"],
        false => &["source", "training.epochs"],
    };
    same(&path, "is of", [&metadata["run"], &run.config], skip)?;
    let state = state(&metadata, &tensors).ok_or_else(|| damaged("it does not say all it should"))?;
    let history =
        History::parse(&metadata["history"]).ok_or_else(|| damaged("it does not say its history"))?;
    let asked = run.config["training"]["epochs"].as_u64().unwrap_or(0);
    if state.epoch as u64 > asked || history.epochs.len() > state.epoch {
        return Err(damaged("it is past the end of the run"));
    }
    trainer
        .restore(&state)
        .map_err(|error| damaged(&error.to_string()))?;
    Ok(Some((history, path)))
}

fn state(metadata: &Value, tensors: &[NamedTensor]) -> Option<State> {
    let count = |key: &str| usize::try_from(metadata[key].as_u64()?).ok();
    let mut state = State::default();
    state.epoch = count("epoch")?;
    state.position = count("position")?;
    state.steps = count("steps")?.try_into().ok()?;
    let decided = metadata["decided"].as_array()?.iter();
    state.decided = decided
        .map(|number| number.as_u64()?.try_into().ok())
        .collect::<Option<_>>()?;
    let variants = metadata["variants"].as_array()?.iter();
    state.variants = variants
        .map(|variant| Some(variant.as_str()?.to_string()))
        .collect::<Option<_>>()?;
    for shape in metadata["tensors"].as_array()? {
        let name = shape[0].as_str()?;
        let dtypes = [DType::F64, DType::F32, DType::Bf16, DType::U32, DType::U16];
        let dtype = dtypes.into_iter().find(|dtype| shape[1] == dtype.to_string())?;
        let side = |at: usize| usize::try_from(shape[at].as_u64()?).ok();
        let tensor = tensors.iter().find(|tensor| tensor.name == name)?;
        let (words, rest) = tensor.bytes.as_chunks();
        if tensor.dtype != Dtype::U32 || !rest.is_empty() {
            return None;
        }
        let words = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let extents = [side(2)?, side(3)?];
        state.tensors.push(Stored::new(name, dtype, extents, words));
    }
    Some(state)
}
