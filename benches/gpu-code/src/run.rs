//! From arguments to output.

use std::collections::HashSet;
use std::io::{IsTerminal, Write};

use fewbit::kernels;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::row::{self, Row, Without};
use crate::worker::{self, Wanted};
use crate::{Cli, code, compare, table, workers};

/// Families that drivers are known to have: the first five Mesa 22.3 on Debian, the others newer ones.
pub const FAMILIES: [&str; 9] = [
    "polaris10",
    "vega20",
    "navi10",
    "navi21",
    "gfx1100",
    "navi31",
    "mi200",
    "gfx1150",
    "gfx1200",
];

/// Seconds that a pipeline may take to compile.
const MOST_SECONDS: f64 = 5.0;

/// What `--json` prints.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The driver and its version: what another made is not compared.
    pub driver: String,
    /// Which of wgpu's runtime checks stood in the code.
    pub checks: String,
    pub families: Vec<Family>,
}

/// One family of a report.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Family {
    pub family: String,
    pub device: String,
    pub pipelines: Vec<Row>,
    pub left_out: Vec<Without>,
    pub failed: Vec<Without>,
}

/// What the arguments choose.
struct Chosen {
    wanted: Vec<Wanted>,
    left_out: Vec<Without>,
}

pub fn run(cli: &Cli) -> Result<bool, String> {
    if let Some(folder) = &cli.shaders {
        let replaced = fewbit::check::replace_shaders(folder).map_err(|error| error.to_string())?;
        if std::env::var_os(worker::VARIABLE).is_none() {
            let files = if replaced.len() == 1 { "file" } else { "files" };
            eprintln!(
                "{} shader {files} changed: {}",
                replaced.len(),
                replaced.join(", ")
            );
        }
    }
    let families = families(&cli.family)?;
    let chosen = choose(cli)?;
    if let Ok(text) = std::env::var(worker::VARIABLE) {
        let parts: Vec<_> = text.splitn(3, '/').collect();
        let number = |at: usize| parts.get(at).and_then(|text| text.parse().ok());
        let (Some(first), Some(step), Some(family)) = (number(0), number(1), parts.get(2)) else {
            return Err(format!(
                "{} is {text:?}, which this program sets itself",
                worker::VARIABLE
            ));
        };
        worker::work(
            &chosen.wanted,
            (first, step),
            family,
            cli.checks,
            cli.code.is_some(),
        );
        return Ok(true);
    }
    if cli.list {
        for wanted in &chosen.wanted {
            say(&format!(
                "{}  {}\n",
                wanted.kernel,
                row::name(&wanted.permutation)
            ));
        }
        return Ok(true);
    }
    let before = cli.compare.as_deref().map(compare::read).transpose()?;
    let report = compile(cli, &families, &chosen)?;
    let mut good = true;
    if cli.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        say(&format!("{text}\n"));
    } else if cli.code.is_some() {
        for family in &report.families {
            for row in &family.pipelines {
                say(&code::annotated(&family.family, row));
            }
        }
    } else if before.is_none() {
        say(&table::of(&report));
    }
    for family in &report.families {
        for failed in &family.failed {
            good = false;
            eprintln!(
                "{}: {}: {}: {}",
                family.family, failed.kernel, failed.permutation, failed.why
            );
        }
    }
    if let Some(before) = &before {
        let compared = compare::compare(before, &report);
        match cli.json {
            true => eprint!("{}", compared.text),
            false => say(&compared.text),
        }
        good &= !compared.worse;
    }
    if !cli.json {
        eprint!("{}", table::summary(&report));
    }
    Ok(good)
}

/// To standard output; a reader that went away has what it wanted.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn families(text: &str) -> Result<Vec<String>, String> {
    let known = |family: &str| match FAMILIES.contains(&family) {
        true => Ok(family.to_string()),
        false => Err(format!(
            "unknown family {family:?}; there are {}",
            FAMILIES.join(", ")
        )),
    };
    text.split(',').map(known).collect()
}

/// The permutations that were asked for, each once.
fn choose(cli: &Cli) -> Result<Chosen, String> {
    let mut chosen = Chosen {
        wanted: Vec::new(),
        left_out: Vec::new(),
    };
    let kernel = cli.kernel.as_deref();
    let exact = kernels::ALL.iter().any(|entry| Some(entry.name) == kernel);
    let mut seen = HashSet::new();
    for entry in kernels::ALL {
        for permutation in entry.table.permutations() {
            let name = row::name(&permutation);
            let this = match kernel {
                None => true,
                Some(kernel) if exact => entry.name == kernel,
                Some(kernel) => entry.name.contains(kernel) || permutation.name().contains(kernel),
            };
            let texts = cli.permutation.iter().chain(cli.code.as_ref());
            if !this
                || !texts.clone().all(|text| name.contains(text.as_str()))
                || !seen.insert(permutation.clone())
            {
                continue;
            }
            if permutation.on_matrix_unit() {
                chosen.left_out.push(Without {
                    kernel: entry.name.to_string(),
                    permutation: name,
                    why: "needs matrix units, which this driver lacks".to_string(),
                });
                continue;
            }
            chosen.wanted.push(Wanted {
                kernel: entry.name,
                permutation,
            });
        }
    }
    if chosen.wanted.is_empty() && chosen.left_out.is_empty() {
        let names: Vec<_> = kernels::ALL.iter().map(|entry| entry.name).collect();
        return Err(match (kernel, cli.permutation.as_slice(), cli.code.as_deref()) {
            (Some(kernel), [], None | Some("")) => {
                format!("unknown kernel {kernel:?}; there are {}", names.join(", "))
            }
            (_, texts, code) => {
                let texts: Vec<_> = texts.iter().map(String::as_str).chain(code).collect();
                let texts = texts.join(" and ");
                format!(
                    "no permutation of {} has {texts} in its name: see --list",
                    kernel.unwrap_or("any kernel")
                )
            }
        });
    }
    Ok(chosen)
}

fn compile(cli: &Cli, families: &[String], chosen: &Chosen) -> Result<Report, String> {
    let manifest = workers::manifest()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = cli.jobs.unwrap_or(processors.min(8)).clamp(1, 64);
    let mut report = Report {
        checks: cli.checks.name().to_string(),
        ..Report::default()
    };
    for family in families {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(chosen.wanted.len() as u64),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.set_prefix(family.clone());
        let outcome = workers::run(family, &manifest, chosen.wanted.len(), jobs, &bar)?;
        bar.finish_and_clear();
        let mut result = Family {
            family: family.clone(),
            device: outcome.device,
            left_out: chosen.left_out.clone(),
            ..Family::default()
        };
        report.driver = outcome.driver;
        let without = |at: usize, why: String| Without {
            kernel: chosen.wanted[at].kernel.to_string(),
            permutation: row::name(&chosen.wanted[at].permutation),
            why,
        };
        for (at, row) in outcome.rows {
            if row.seconds > MOST_SECONDS {
                let why = format!("compiled for {:.1} s, more than {MOST_SECONDS} s", row.seconds);
                result.failed.push(without(at, why));
            }
            result.pipelines.push(row);
        }
        for (at, why) in outcome.failed {
            result.failed.push(without(at, why));
        }
        report.families.push(result);
    }
    Ok(report)
}
