//! Two reports side by side: what got worse, and what better.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::loops::Loop;
use crate::row::Row;
use crate::run::Report;

/// How much a hot loop may grow.
const MOST_GROWTH: f64 = 1.03;

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    pub text: String,
    pub worse: bool,
}

/// A report that was written before.
pub fn read(path: &Path) -> Result<Report, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What a turn of a loop costs for what it does: instructions a multiply-add where it makes some, else a byte that it
/// moves, else as they are; the second says which.
fn cost(each: &Loop, other: &Loop) -> (f64, &'static str) {
    let instructions = f64::from(each.cost.instructions);
    let bytes = |each: &Loop| each.cost.loaded + each.cost.stored;
    if each.cost.multiply_adds > 0 && other.cost.multiply_adds > 0 {
        (
            instructions / f64::from(each.cost.multiply_adds),
            "instructions a multiply-add",
        )
    } else if bytes(each) > 0 && bytes(other) > 0 {
        (instructions / f64::from(bytes(each)), "instructions a byte moved")
    } else {
        (instructions, "instructions")
    }
}

/// What of `now` is worse than `before`, and what is better; nothing where another driver made it.
pub fn compare(before: &Report, now: &Report) -> Compared {
    let mut compared = Compared::default();
    if before.driver != now.driver {
        compared.text = format!(
            "nothing is compared: the file was made with {}, this driver is {}\n",
            before.driver, now.driver
        );
        return compared;
    }
    if before.checks != now.checks {
        compared.text = format!(
            "the file's checks are {}, these are {}\n",
            before.checks, now.checks
        );
    }
    for family in &now.families {
        let Some(old) = before.families.iter().find(|old| old.family == family.family) else {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                compared.text,
                "{}: not in the file, nothing is compared",
                family.family
            );
            continue;
        };
        let known: HashMap<&str, &Row> = old
            .pipelines
            .iter()
            .map(|row| (row.permutation.as_str(), row))
            .collect();
        let (mut same, mut new, mut better, mut worse) = (0, 0, 0, 0);
        for row in &family.pipelines {
            let Some(old) = known.get(row.permutation.as_str()) else {
                new += 1;
                continue;
            };
            let changes = changes(old, row);
            if changes.is_empty() {
                same += 1;
            }
            for (is_worse, change) in changes {
                let word = if is_worse { "WORSE" } else { "better" };
                *if is_worse { &mut worse } else { &mut better } += 1;
                let _ = writeln!(
                    compared.text,
                    "{word}: {}: {}: {change}",
                    family.family, row.permutation
                );
            }
        }
        compared.worse |= worse > 0;
        let _ = writeln!(
            compared.text,
            "{}: {} compared: {same} with nothing to tell, {better} better and {worse} worse figures; {new} not in the file",
            family.family,
            family.pipelines.len() - new,
        );
    }
    compared
}

/// What changed by enough to tell, and whether for the worse.
fn changes(old: &Row, new: &Row) -> Vec<(bool, String)> {
    let mut changes = Vec::new();
    let mut figure = |what: &str, old: u32, new: u32, more_is_worse: bool| {
        if old != new {
            changes.push(((new > old) == more_is_worse, format!("{what} {old} -> {new}")));
        }
    };
    figure("spilled registers", old.spills, new.spills, true);
    figure("bytes of scratch", old.scratch, new.scratch, true);
    figure("waves", old.waves, new.waves, false);
    let hot = |row: &Row| row.hot().cloned().collect::<Vec<_>>();
    let (mut olds, mut news) = (hot(old), hot(new));
    if olds.len() != news.len() {
        // Loops came or went: those that do most are held against each other.
        (olds, news) = (
            old.hottest().cloned().into_iter().collect(),
            new.hottest().cloned().into_iter().collect(),
        );
    }
    for (old, new) in olds.iter().zip(&news) {
        let ((before, unit), (now, _)) = (cost(old, new), cost(new, old));
        let change = || {
            let counts = format!(
                "{} -> {} instructions",
                old.cost.instructions, new.cost.instructions
            );
            format!("loop {}: {before:.2} -> {now:.2} {unit} ({counts})", new.label)
        };
        if now > before * MOST_GROWTH {
            changes.push((true, change()));
        } else if now < before / MOST_GROWTH {
            changes.push((false, change()));
        }
        if old.in_flight != new.in_flight {
            let flight = |each: &Loop| format!("{} loads ({} bytes)", each.in_flight, each.bytes_in_flight);
            let text = format!("loop {}: in flight {} -> {}", new.label, flight(old), flight(new));
            // Fewer may be right where fewer are needed: told, and no failure.
            if new.in_flight > old.in_flight {
                changes.push((false, text));
            }
        }
    }
    changes
}
