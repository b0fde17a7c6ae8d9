//! Results of `fewbit bench` in a file, and what changed since.

use std::path::{Path, PathBuf};

use fewbit::file;
use serde_json::{Value, json};

use super::Stop;
use super::output::{Row, seconds};

const FORMAT: &str = "fewbit bench";
const VERSION: u64 = 1;

/// A file that is to be written when the work is done, found to be writable before it begins.
pub(crate) struct Target {
    path: PathBuf,
}

impl Target {
    /// # Errors
    /// Nothing can be written there, or it is a folder.
    pub(crate) fn new(path: &Path) -> Result<Self, Stop> {
        let target = Self {
            path: path.to_path_buf(),
        };
        file::probe(path).map_err(|error| target.failed(&error))?;
        Ok(target)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Stop> {
        file::write(&self.path, bytes).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Stop {
        Stop::Input(format!("{} cannot be written: {error}", self.path.display()))
    }
}

/// The text of a file of results.
pub(crate) fn document(device: &Value, rows: &[Row]) -> Result<Vec<u8>, Stop> {
    let document = json!({
        "format": FORMAT,
        "version": VERSION,
        "fewbit": env!("CARGO_PKG_VERSION"),
        "device": device,
        "results": rows.iter().map(Row::value).collect::<Vec<_>>(),
    });
    serde_json::to_vec_pretty(&document).map_err(|error| Stop::Input(format!("results: {error}")))
}

/// The results of an earlier run.
#[derive(Debug)]
pub(crate) struct Earlier {
    path: PathBuf,
    fewbit: String,
    device: [String; 2],
    results: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    kernel: String,
    variant: String,
    case: String,
    seconds: f64,
    spread: f64,
    believed: bool,
}

/// What became of one kernel's time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// The earlier median.
    pub(crate) seconds: f64,
    /// Half the distance between the earlier quartiles.
    pub(crate) spread: f64,
    /// The earlier variant, where it was another.
    pub(crate) variant: Option<String>,
    /// The new median over the old one, less 1.
    pub(crate) change: f64,
    /// What to make of it.
    pub(crate) verdict: Verdict,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Faster,
    Slower,
    /// The medians are no farther apart than the spreads of both runs together.
    WithinNoise,
    /// The earlier run, or this one, measured it above its ceiling.
    NotBelieved,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::WithinNoise => "within noise",
            Self::NotBelieved => "not believed",
        }
    }
}

impl Earlier {
    /// # Errors
    /// There is no such file, or it holds no results of `fewbit bench --save`.
    pub(crate) fn read(path: &Path) -> Result<Self, Stop> {
        let bytes = std::fs::read(path)
            .map_err(|error| Stop::Input(format!("{} cannot be read: {error}", path.display())))?;
        parse(path, &bytes).map_err(|why| {
            Stop::Input(format!(
                "{} holds no results of fewbit bench --save: {why}",
                path.display()
            ))
        })
    }

    /// Why its figures may differ from this run's for another reason than a change of fewbit's code.
    pub(crate) fn warnings(&self, device: &Value) -> Vec<String> {
        let path = self.path.display();
        let mut warnings = Vec::new();
        let here = identity(device);
        if self.device != here {
            let [kind, name] = &self.device;
            warnings.push(format!(
                "{path} was measured on another device, {name} ({kind}), and this is {} ({}): changes are not \
                 fewbit's alone",
                here[1], here[0]
            ));
        }
        if self.fewbit != env!("CARGO_PKG_VERSION") {
            warnings.push(format!(
                "{path} was measured by fewbit {}, and this is {}",
                self.fewbit,
                env!("CARGO_PKG_VERSION")
            ));
        }
        warnings
    }

    /// What changed for one kernel: the same variant's time if there is one, else the only one of that case.
    pub(crate) fn change(&self, now: &Now<'_>) -> Option<Change> {
        let same = |entry: &&Entry| entry.kernel == now.kernel && entry.case == now.case;
        let of_case: Vec<_> = self.results.iter().filter(same).collect();
        let found = match of_case.iter().find(|entry| entry.variant == now.variant) {
            Some(entry) => entry,
            None if of_case.len() == 1 => of_case.first()?,
            None => return None,
        };
        let verdict = match now.seconds - found.seconds {
            _ if !(found.believed && now.believed) => Verdict::NotBelieved,
            difference if difference.abs() <= now.spread + found.spread => Verdict::WithinNoise,
            difference if difference < 0.0 => Verdict::Faster,
            _ => Verdict::Slower,
        };
        Some(Change {
            seconds: found.seconds,
            spread: found.spread,
            variant: (found.variant != now.variant).then(|| found.variant.clone()),
            change: now.seconds / found.seconds - 1.0,
            verdict,
        })
    }
}

/// A kernel's time in this run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now<'a> {
    pub(crate) kernel: &'a str,
    pub(crate) variant: &'a str,
    pub(crate) case: &'a str,
    pub(crate) seconds: f64,
    pub(crate) spread: f64,
    pub(crate) believed: bool,
}

/// The columns that a comparison adds.
pub(crate) const HEADER: [&str; 2] = ["earlier", "change"];

impl Change {
    /// Its cells, in the order of [`HEADER`].
    pub(crate) fn cells(change: Option<&Self>) -> [String; 2] {
        let Some(change) = change else {
            return ["-".into(), "new".into()];
        };
        let variant = match &change.variant {
            Some(variant) => format!(" [{variant}]"),
            None => String::new(),
        };
        let noise = 100.0 * change.spread / change.seconds;
        [
            format!("{} +- {noise:.0}%{variant}", seconds(change.seconds)),
            format!("{:+.1}% {}", 100.0 * change.change, change.verdict.name()),
        ]
    }

    pub(crate) fn figures(change: Option<&Self>, row: Row) -> Row {
        let Some(change) = change else {
            return row.with("compared", "new");
        };
        row.with("compared", change.verdict.name())
            .with("earlier_seconds", change.seconds)
            .with("earlier_seconds_spread", change.spread)
            .with("earlier_variant", change.variant.clone())
            .with("change", change.change)
    }
}

fn identity(device: &Value) -> [String; 2] {
    ["kind", "name"].map(|key| device[key].as_str().unwrap_or("unknown").to_string())
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Earlier, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| format!("no JSON ({error})"))?;
    if document["format"] != FORMAT {
        return Err(format!("its \"format\" is not {FORMAT:?}"));
    }
    if document["version"] != VERSION {
        return Err(format!(
            "its \"version\" is {}, and this fewbit reads {VERSION}",
            document["version"]
        ));
    }
    let results = document["results"]
        .as_array()
        .ok_or("it has no \"results\"")?
        .iter()
        .enumerate()
        .map(|(index, row)| entry(row).ok_or(format!("result {index} is incomplete")))
        .collect::<Result<Vec<_>, _>>()?;
    if results.is_empty() {
        return Err("it has no results".into());
    }
    Ok(Earlier {
        path: path.to_path_buf(),
        fewbit: document["fewbit"].as_str().unwrap_or("unknown").to_string(),
        device: identity(&document["device"]),
        results,
    })
}

fn entry(row: &Value) -> Option<Entry> {
    let text = |key: &str| Some(row[key].as_str()?.to_string());
    let number = |key: &str| {
        row[key]
            .as_f64()
            .filter(|value| value.is_finite() && *value >= 0.0)
    };
    Some(Entry {
        kernel: text("kernel")?,
        variant: text("variant")?,
        case: text("case")?,
        seconds: number("seconds").filter(|&seconds| seconds > 0.0)?,
        spread: number("seconds_spread")?,
        believed: row["passed"].as_bool()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn earlier(entries: &[(&str, f64, f64, bool)]) -> Earlier {
        let rows: Vec<_> = entries
            .iter()
            .map(|&(variant, seconds, spread, passed)| {
                Row::new("copy", variant, "1 word", passed)
                    .with("seconds", seconds)
                    .with("seconds_spread", spread)
            })
            .collect();
        let device = json!({"kind": "cpu", "name": "a CPU"});
        let bytes = document(&device, &rows).map_err(|_| "no document").unwrap();
        parse(Path::new("old.json"), &bytes).unwrap()
    }

    fn now(variant: &str, seconds: f64) -> Now<'_> {
        Now {
            kernel: "copy",
            variant,
            case: "1 word",
            seconds,
            spread: 0.05,
            believed: true,
        }
    }

    #[test]
    fn a_change_must_exceed_the_noise_of_both_runs() {
        let old = earlier(&[("a", 1.0, 0.05, true)]);
        let verdict = |seconds| old.change(&now("a", seconds)).unwrap().verdict;
        assert_eq!(verdict(0.91), Verdict::WithinNoise);
        assert_eq!(verdict(1.09), Verdict::WithinNoise);
        assert_eq!(verdict(0.89), Verdict::Faster);
        assert_eq!(verdict(1.11), Verdict::Slower);
        let wrong = earlier(&[("a", 1.0, 0.05, false)]);
        assert_eq!(
            wrong.change(&now("a", 9.0)).unwrap().verdict,
            Verdict::NotBelieved
        );
    }

    #[test]
    fn the_same_variant_is_preferred_and_the_only_other_serves() {
        let two = earlier(&[("a", 1.0, 0.0, true), ("b", 2.0, 0.0, true)]);
        let change = two.change(&now("b", 2.0)).unwrap();
        assert_eq!((change.seconds, change.variant), (2.0, None));
        assert_eq!(two.change(&now("c", 2.0)), None);
        let one = earlier(&[("a", 1.0, 0.0, true)]);
        let change = one.change(&now("c", 2.0)).unwrap();
        assert_eq!((change.change, change.variant.as_deref()), (1.0, Some("a")));
        assert_eq!(
            one.change(&Now {
                case: "2 words",
                ..now("a", 1.0)
            }),
            None
        );
    }

    #[test]
    fn another_device_or_version_is_warned_of() {
        let mut old = earlier(&[("a", 1.0, 0.0, true)]);
        assert!(old.warnings(&json!({"kind": "cpu", "name": "a CPU"})).is_empty());
        assert_eq!(old.warnings(&json!({"kind": "gpu", "name": "a CPU"})).len(), 1);
        old.fewbit = "0.0.0".into();
        assert_eq!(old.warnings(&json!({"kind": "cpu", "name": "a CPU"})).len(), 1);
    }

    #[test]
    fn damaged_results_are_refused() {
        let damaged = |change: fn(&mut Value)| {
            let row = Row::new("copy", "a", "1 word", true)
                .with("seconds", 1.0)
                .with("seconds_spread", 0.1);
            let bytes = document(&Value::Null, &[row]).map_err(|_| "no document").unwrap();
            let mut value: Value = serde_json::from_slice(&bytes).unwrap();
            change(&mut value);
            parse(Path::new("x"), value.to_string().as_bytes()).map(|_| ())
        };
        assert_eq!(damaged(|_| ()), Ok(()));
        assert!(damaged(|value| value["format"] = json!("fewbit tuning")).is_err());
        assert!(damaged(|value| value["version"] = json!(2)).is_err());
        assert!(damaged(|value| value["results"] = json!([])).is_err());
        assert!(damaged(|value| value["results"][0]["seconds"] = json!(0)).is_err());
        assert!(damaged(|value| value["results"][0]["seconds_spread"] = json!("1")).is_err());
    }
}
