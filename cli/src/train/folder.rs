//! The folder of --out: what is in it, what belongs into it, and what it refuses.
//!
//! `config.json` says what all runs share; every run has a folder of its own, `RECIPE/seed-N`. Each file is written whole
//! or not at all, and `result.json` last: a run that has it is finished.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fewbit::file;
use fewbit::nn::train::Trainer;
use fewbit::nn::{MemoryUse, Recipe};
use serde_json::{Value, json};

use super::super::plot::training::{Run as Curve, charts};
use super::super::{Stop, recipes, stored};
use super::history::History;
use super::lock::{self, Lock};
use super::table::Trained;

const FORMAT: &str = "fewbit training";
const RESULT: &str = "fewbit run";
const VERSION: u64 = 1;
const CONFIG: &str = "config.json";

/// The folder of a `fewbit train --out`.
pub(super) struct Folder {
    path: PathBuf,
    /// What all runs share.
    shared: Value,
}

pub(super) fn failed(path: &Path, what: &str, error: &dyn std::fmt::Display) -> Stop {
    Stop::Input(format!("{} {what}: {error}", path.display()))
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    file::write(path, bytes).map_err(|error| failed(path, "cannot be written", &error))
}

fn make(folder: &Path) -> Result<(), Stop> {
    fs::create_dir_all(folder).map_err(|error| failed(folder, "cannot be made", &error))
}

fn remove(path: &Path) -> Result<(), Stop> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, "cannot be removed", &error)),
        _ => Ok(()),
    }
}

/// Names in a folder, in order; none where there is no folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, Stop> {
    let unread = |error: std::io::Error| failed(folder, "cannot be read", &error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unread)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(unread)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Whether it is what a killed process left of a file that it was writing.
fn is_rest(name: &str) -> bool {
    name.starts_with(".fewbit-") && name.ends_with(".tmp")
}

/// A JSON file; `None` where there is none.
fn read(path: &Path, format: &str) -> Result<Option<Value>, Stop> {
    let bytes = match file::read_regular(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|error| failed(path, "cannot be read", &error))?,
    };
    let tree: Value = serde_json::from_slice(&bytes).map_err(|error| failed(path, "is damaged", &error))?;
    match tree["format"] == format && tree["version"] == VERSION {
        true => Ok(Some(tree)),
        false => Err(Stop::Input(format!(
            "{} is no {format:?} of version {VERSION}",
            path.display()
        ))),
    }
}

/// Where two trees differ, as a path and both values. What `skip` names does not count.
fn differences(at: &str, [old, new]: [&Value; 2], skip: &[&str], found: &mut Vec<String>) {
    if skip.contains(&at) || old == new {
        return;
    }
    if let (Value::Object(a), Value::Object(b)) = (old, new) {
        let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let at = if at.is_empty() {
                key.clone()
            } else {
                format!("{at}.{key}")
            };
            differences(&at, [&old[key.as_str()], &new[key.as_str()]], skip, found);
        }
        return;
    }
    found.push(format!("{at} is {old} there and {new} here"));
}

/// Refuses another configuration than `new`, by the names of what differs.
pub(super) fn same(path: &Path, what: &str, [old, new]: [&Value; 2], skip: &[&str]) -> Result<(), Stop> {
    let mut found = Vec::new();
    differences("", [old, new], skip, &mut found);
    if found.is_empty() {
        return Ok(());
    }
    Err(Stop::Input(format!(
        "{} {what} another configuration: {}",
        path.display(),
        found.join("; ")
    )))
}

impl Folder {
    /// Finds out, before anything is read or drawn, that files can be written there, and by no other process meanwhile.
    pub(super) fn probe(path: &Path) -> Result<Lock, Stop> {
        make(path)?;
        let config = path.join(CONFIG);
        let names = names(path)?;
        if !names.contains(&CONFIG.to_string())
            && !names.iter().all(|name| is_rest(name) || name == lock::NAME)
        {
            return Err(Stop::Input(format!(
                "{} is not empty, and holds no {CONFIG} of fewbit train",
                path.display()
            )));
        }
        file::probe(&config).map_err(|error| failed(&config, "cannot be written", &error))?;
        Lock::take(path)
    }

    /// Opens it for these recipes and seeds. `shared` is what all runs share.
    ///
    /// # Errors
    /// It holds runs of another configuration, or, to resume, none of some recipe or seed.
    pub(super) fn open(
        path: &Path,
        shared: Value,
        (recipes, seeds): (&[Recipe], &[u64]),
        resume: bool,
    ) -> Result<Self, Stop> {
        let folder = Self {
            path: path.to_path_buf(),
            shared,
        };
        for (i, recipe) in recipes.iter().enumerate() {
            if recipes[..i].iter().any(|other| other.name == recipe.name) {
                return Err(Stop::Input(format!(
                    "--formats names {} twice, and --out has one place for it",
                    recipe.name
                )));
            }
        }
        for name in names(path)?.iter().filter(|name| is_rest(name)) {
            remove(&path.join(name))?;
        }
        let mut trees: serde_json::Map<_, _> = recipes
            .iter()
            .map(|recipe| (recipe.name.clone(), recipes::tree(recipe)))
            .collect();
        let mut seeds = seeds.to_vec();
        let config = path.join(CONFIG);
        if let Some(old) = read(&config, FORMAT)? {
            folder.admit(&old, resume)?;
            let known = old["recipes"].as_object().cloned().unwrap_or_default();
            let before: Vec<_> = old["seeds"].as_array().into_iter().flatten().collect();
            for (name, tree) in &trees {
                match known.get(name) {
                    Some(own) => same(&config, &format!("has for the recipe {name}"), [own, tree], &[])?,
                    None if resume => return Err(folder.not_begun(&format!("recipe {name}"))),
                    None => {}
                }
            }
            let unknown = seeds
                .iter()
                .find(|seed| !before.iter().any(|own| **own == **seed));
            if let Some(seed) = unknown.filter(|_| resume) {
                return Err(folder.not_begun(&format!("seed {seed}")));
            }
            trees.extend(known);
            seeds.extend(before.iter().filter_map(|seed| seed.as_u64()));
        }
        seeds.sort_unstable();
        seeds.dedup();
        let mut tree = folder.shared.clone();
        tree["format"] = FORMAT.into();
        tree["version"] = VERSION.into();
        tree["recipes"] = trees.into();
        tree["seeds"] = seeds.into();
        write(&config, pretty(&tree).as_bytes())?;
        Ok(folder)
    }

    /// Whether runs of this configuration belong here.
    fn admit(&self, old: &Value, resume: bool) -> Result<(), Stop> {
        let own = ["format", "version", "fewbit", "recipes", "seeds", "source"];
        let epochs = "training.epochs";
        let count = |tree: &Value| tree["training"]["epochs"].as_u64().unwrap_or(0);
        let [before, now] = [old, &self.shared].map(count);
        let mut skip = own.to_vec();
        if resume && before != now {
            skip.push(epochs);
        }
        same(&self.path, "holds runs of", [old, &self.shared], &skip)?;
        let refuse = |why: &str| {
            Err(Stop::Input(format!(
                "{} holds runs of {before} epochs, and {now} are asked for: {why}",
                self.path.display()
            )))
        };
        match now.cmp(&before) {
            std::cmp::Ordering::Less => refuse("a run cannot go on to an earlier end"),
            std::cmp::Ordering::Greater if self.shared["training"]["schedule"] == "cosine" => {
                refuse("half a cosine ends with its last epoch")
            }
            _ => Ok(()),
        }
    }

    fn not_begun(&self, what: &str) -> Stop {
        Stop::Input(format!(
            "{} has nothing of {what} to resume (without --resume it is begun)",
            self.path.display()
        ))
    }

    /// The place of a run.
    pub(super) fn run(&self, recipe: &Recipe, seed: u64) -> Run {
        let mut config = self.shared.clone();
        config["recipe"] = recipes::tree(recipe);
        config["seed"] = seed.into();
        Run {
            path: self.path.join(&recipe.name).join(format!("seed-{seed}")),
            config,
        }
    }

    /// Draws the curves of every finished run in the folder.
    pub(super) fn draw(&self) -> Result<(), Stop> {
        let mut curves = Vec::new();
        for recipe in names(&self.path)? {
            let folder = self.path.join(&recipe);
            if !folder.is_dir() {
                continue;
            }
            let mut seeds: Vec<(u64, String)> = Vec::new();
            for name in names(&folder)? {
                let seed = name.strip_prefix("seed-").and_then(|seed| seed.parse().ok());
                seeds.extend(seed.map(|seed| (seed, name)));
            }
            seeds.sort();
            for (_, name) in seeds {
                let Some(result) = read(&folder.join(name).join("result.json"), RESULT)? else {
                    continue;
                };
                let history = History::parse(&result["history"]).unwrap_or_default();
                let epochs = (1..).zip(&history.epochs);
                curves.push(Curve {
                    name: recipe.clone(),
                    epochs: epochs.map(|(i, epoch)| (i, epoch.loss, epoch.accuracy)).collect(),
                    applied: (1..)
                        .zip(&history.epochs)
                        .filter_map(|(i, epoch)| Some((i, epoch.all_updates().applied()?)))
                        .collect(),
                });
            }
        }
        let word = |tree: &Value| tree.as_str().unwrap_or_default().to_string();
        let (title, device) = (word(&self.shared["model"]["name"]), word(&self.shared["device"]));
        let drawn = charts(&title, &device, &curves)
            .map_err(|error| Stop::Input(format!("the curves cannot be drawn: {error}")))?;
        for (name, chart) in ["loss.svg", "accuracy.svg", "updates.svg"].into_iter().zip(drawn) {
            if let Some(text) = chart {
                write(&self.path.join(name), text.as_bytes())?;
            }
        }
        Ok(())
    }
}

fn pretty(tree: &Value) -> String {
    format!("{tree:#}\n")
}

/// The folder of one recipe and seed.
pub(super) struct Run {
    path: PathBuf,
    /// All that its results depend on.
    pub(super) config: Value,
}

impl Run {
    /// What came of it, if it is finished.
    pub(super) fn finished(&self) -> Result<Option<Trained>, Stop> {
        let path = self.path.join("result.json");
        let Some(tree) = read(&path, RESULT)? else {
            return Ok(None);
        };
        if tree["epochs"] != self.config["training"]["epochs"] {
            return Ok(None);
        }
        let history = History::parse(&tree["history"]);
        let bytes = |key: &str| tree["memory"][key].as_u64().unwrap_or(0);
        let trained = history.map(|history| Trained {
            memory: MemoryUse {
                weights: bytes("weights"),
                master: bytes("master"),
                optimizer: bytes("optimizer"),
                gradients: bytes("gradients"),
                activations: bytes("activations"),
                operands: bytes("operands"),
                total: bytes("total"),
            },
            history,
            diverged: tree["diverged"].as_str().map(str::to_string),
            earlier: true,
        });
        match trained {
            Some(trained) => Ok(Some(trained)),
            None => Err(failed(&path, "is damaged", &"it has no history")),
        }
    }

    /// Makes the folder, and writes what is run. Without --resume nothing stays of a run that was not finished.
    pub(super) fn begin(&self, resume: bool) -> Result<(), Stop> {
        for folder in [self.path.clone(), self.checkpoints()] {
            make(&folder)?;
            for name in names(&folder)? {
                let stale = !resume && name.starts_with("step-");
                if is_rest(&name) || stale {
                    remove(&folder.join(name))?;
                }
            }
        }
        remove(&self.path.join("result.json"))?;
        write(&self.path.join(CONFIG), pretty(&self.config).as_bytes())
    }

    /// Where checkpoints lie.
    pub(super) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Writes what is known of every epoch.
    pub(super) fn metrics(&self, history: &History) -> Result<(), Stop> {
        write(&self.path.join("metrics.csv"), history.csv().as_bytes())?;
        write(&self.path.join("metrics.jsonl"), history.jsonl().as_bytes())
    }

    /// Writes the weights, unless it diverged, and then that it is finished.
    pub(super) fn finish(&self, trained: &Trained, trainer: &Trainer, image: [usize; 2]) -> Result<(), Stop> {
        if trained.diverged.is_none() {
            stored::write(&self.path.join("model.safetensors"), trainer, image)?;
        }
        self.metrics(&trained.history)?;
        let memory = &trained.memory;
        let tree = json!({
            "format": RESULT,
            "version": VERSION,
            "epochs": self.config["training"]["epochs"],
            "memory": {
                "weights": memory.weights,
                "master": memory.master,
                "optimizer": memory.optimizer,
                "gradients": memory.gradients,
                "activations": memory.activations,
                "operands": memory.operands,
                "total": memory.total,
            },
            "history": trained.history.tree(),
            "diverged": trained.diverged,
        });
        write(&self.path.join("result.json"), pretty(&tree).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_names() {
        let tree = |batch: u32| json!({"training": {"batch": batch, "epochs": batch}, "x": [1]});
        let mut found = Vec::new();
        differences("", [&tree(1), &tree(2)], &["training.epochs"], &mut found);
        assert_eq!(found, ["training.batch is 1 there and 2 here"]);
        found.clear();
        differences("", [&tree(1), &json!({"training": null})], &[], &mut found);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
