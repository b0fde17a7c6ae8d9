//! The parent's side: worker processes with the driver's variables set, and what they answered.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use indicatif::ProgressBar;

use crate::row::Row;
use crate::worker::{Line, VARIABLE};

/// What came of a family.
#[derive(Debug, Default)]
pub struct Outcome {
    pub device: String,
    pub driver: String,
    /// By the permutation's number.
    pub rows: Vec<(usize, Row)>,
    pub failed: Vec<(usize, String)>,
}

/// The manifest of RADV.
pub fn manifest() -> Result<PathBuf, String> {
    let ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("radeon_icd") && name.ends_with(".json")
    };
    let mut found = Vec::new();
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        let named = std::env::var_os(variable).unwrap_or_default();
        found.extend(std::env::split_paths(&named).filter(|path| ours(path) && path.exists()));
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(|folder| PathBuf::from(folder).join("vulkan/icd.d"));
    let folders = [
        "/usr/share/vulkan/icd.d",
        "/usr/local/share/vulkan/icd.d",
        "/etc/vulkan/icd.d",
    ];
    for folder in folders.into_iter().map(PathBuf::from).chain(data) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| ours(path))
            .collect();
        paths.sort();
        found.extend(paths);
    }
    // A 32-bit driver may stand beside the other.
    let wide = found
        .iter()
        .find(|path| path.to_string_lossy().contains(std::env::consts::ARCH));
    wide.or(found.first()).cloned().ok_or_else(|| {
        "there is no RADV, Mesa's Vulkan driver for AMD (radeon_icd*.json): on Debian, apt-get install \
         mesa-vulkan-drivers libvulkan1"
            .to_string()
    })
}

/// Compiles permutations 0 to `count` - 1 in `jobs` processes of this program, with the arguments that it was given.
pub fn run(
    family: &str,
    manifest: &Path,
    count: usize,
    jobs: usize,
    bar: &ProgressBar,
) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for index in 0..jobs.min(count) {
            let sender = sender.clone();
            scope.spawn(move || follow(family, manifest, (index, jobs), count, &sender));
        }
        drop(sender);
        let mut closed = None;
        for line in receiver {
            match line {
                Line::Open { device, driver } => (outcome.device, outcome.driver) = (device, driver),
                Line::Closed(error) => closed = Some(error),
                Line::Begin(_) => {}
                Line::Row(at, row) => {
                    bar.inc(1);
                    outcome.rows.push((at, *row));
                }
                Line::Failed(at, error) => {
                    bar.inc(1);
                    outcome.failed.push((at, error));
                }
            }
        }
        closed.map_or(Ok(()), Err)
    })?;
    outcome.rows.sort_by_key(|(at, _)| *at);
    outcome.failed.sort_by_key(|(at, _)| *at);
    Ok(outcome)
}

/// One worker after another, where the driver ends them, until every permutation of this share was tried.
fn follow(family: &str, manifest: &Path, (index, step): (usize, usize), count: usize, sender: &Sender<Line>) {
    let mut first = index;
    while first < count {
        let died = match worker(family, manifest, (first, step), sender) {
            Ok(None) => return,
            Ok(Some(died)) => died,
            Err(error) => {
                // The receiver is there until all senders are gone.
                let _ = sender.send(Line::Closed(error));
                return;
            }
        };
        let (at, words) = died;
        let _ = sender.send(Line::Failed(at, words));
        first = at + step;
    }
}

/// One worker: nothing, or where it died and with what words.
fn worker(
    family: &str,
    manifest: &Path,
    (first, step): (usize, usize),
    sender: &Sender<Line>,
) -> Result<Option<(usize, String)>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, format!("{first}/{step}/{family}"))
        .env("RADV_FORCE_FAMILY", family)
        .env("VK_DRIVER_FILES", manifest)
        .env("VK_ICD_FILENAMES", manifest)
        // Layers see nothing that they could help with, and a cache would hide what the compiler takes.
        .env("VK_LOADER_LAYERS_DISABLE", "~all~")
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("no worker process: {error}"))?;
    let mut errors = child.stderr.take().ok_or("no worker's errors")?;
    let words = std::thread::spawn(move || {
        let mut words = Vec::new();
        // What was read before an error is shown all the same.
        let _ = errors.read_to_end(&mut words);
        String::from_utf8_lossy(&words).into_owned()
    });
    let lines = BufReader::new(child.stdout.take().ok_or("no worker's output")?).lines();
    let (mut open, mut current) = (false, None);
    for line in lines {
        let line = line.map_err(|error| format!("a worker's output: {error}"))?;
        let line =
            serde_json::from_str(&line).map_err(|error| format!("a worker's line {line:?}: {error}"))?;
        match &line {
            Line::Open { .. } => open = true,
            Line::Begin(at) => current = Some(*at),
            Line::Row(..) => current = None,
            Line::Failed(at, words) if words.ends_with("given up") => {
                let died = (*at, words.clone());
                let _ = child.wait();
                return Ok(Some(died));
            }
            Line::Failed(..) => current = None,
            Line::Closed(_) => open = true,
        }
        let _ = sender.send(line);
    }
    let status = child.wait().map_err(|error| format!("a worker: {error}"))?;
    let words = words.join().unwrap_or_default();
    let words = words.trim();
    match current {
        Some(at) => Ok(Some((
            at,
            format!("the compiler ended its process ({status}): {words}"),
        ))),
        None if !open => Err(format!(
            "the driver ended its process where it was opened as {family} ({status}): {words}"
        )),
        None if !status.success() => Err(format!("a worker ended ({status}): {words}")),
        None => Ok(None),
    }
}
