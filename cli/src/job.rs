//! The main job: cross-check every kernel, measure it, print one table.

use std::collections::BTreeMap;

use indicatif::ProgressBar;

use fewbit::Device;
use fewbit::check::{self, Case, Effort, Report};
use fewbit::op::{Class, Verdict};

use super::bench::{HEADER, cells, figures, variant_name, variants};
use super::cases::reports;
use super::check::{failed, float_fmac, told, words};
use super::measure::Rounds;
use super::output::{Output, Row};
use super::{Common, Stop, ceiling, device, interrupted};

/// Matrices of 512 x 512, runs of 262,144 elements: large enough to mean something, small enough that the
/// reference checks every one of them.
const SIZE: usize = 512;
const ROUNDS: Rounds = Rounds {
    warm_up: 1,
    counted: 5,
    budget: None,
};

pub(crate) fn run(common: &Common, output: &mut Output) -> Result<(), Stop> {
    let device = device::open(common, output)?;
    float_fmac(&device, output)?;
    let awkward = check::cases(Effort::Quick);
    let measured = check::bench_cases(SIZE);
    let bar = output.bar((awkward.len() + measured.len()) as u64, "check and measure");
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for (row, line) in check_awkward(&device, &awkward, &bar, &mut failures)? {
        output.row(row);
        lines.push(line);
    }
    for case in measured {
        interrupted()?;
        let case = case.make();
        bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
        for (row, line) in check_and_measure(&device, &case, &mut failures)? {
            output.row(row);
            lines.push(line);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    lines.sort();
    let header = [&["kernel", "variant", "case", "class", "verdict"][..], &HEADER].concat();
    output.table(&header, &HEADER, &lines);
    told(&failures, output)?;
    output.line("Every kernel agrees with its reference.");
    Ok(())
}

/// A row of results, and its line of the table.
type Told = (Row, Vec<String>);

/// A kernel and its variant.
type Kind = (&'static str, String);
/// Of so many cases: the class, the verdicts taken together, and the fields of failures.
type Sum = (usize, Class, Verdict, Row);

/// Awkward shapes: one line per kernel and variant.
fn check_awkward(
    device: &Device,
    cases: &[Case],
    bar: &ProgressBar,
    failures: &mut Vec<String>,
) -> Result<Vec<Told>, Stop> {
    let mut sums: BTreeMap<Kind, Sum> = BTreeMap::new();
    let (reports, ended) = reports(device, cases, bar, |case| check::run(device, case));
    ended?;
    for (case, reports) in cases.iter().zip(reports) {
        for Report { variant, verdict, .. } in reports {
            let entry = sums.entry((case.op.name(), variant.clone()));
            let (count, _, sum, row) =
                entry.or_insert_with(|| (0, case.op.class(), Verdict::default(), Row::default()));
            *count += 1;
            // Of several failures the row tells the last, stderr all.
            let (with, failure) = failed(device, case, &variant, &verdict, std::mem::take(row));
            *row = with;
            failures.extend(failure);
            *sum = std::mem::take(sum).and(verdict);
        }
    }
    let told = |((kernel, variant), (count, class, verdict, row)): (Kind, Sum)| {
        let case = format!("{count} awkward shapes");
        let words = words(&verdict, class);
        let row = Row::new(kernel, &variant, &case, verdict.passed())
            .and(row)
            .with("class", class.to_string())
            .with("verdict", words.clone())
            .with("compared_elements", verdict.compared);
        let mut line = vec![kernel.to_string(), variant, case, class.to_string(), words];
        line.extend(HEADER.map(|_| "-".to_string()));
        (row, line)
    };
    Ok(sums.into_iter().map(told).collect())
}

/// A case on the variant that is chosen here: judged, and timed beside its ceilings.
fn check_and_measure(device: &Device, case: &Case, failures: &mut Vec<String>) -> Result<Vec<Told>, Stop> {
    let chosen = variants(device, case, false);
    let reports = check::run_variants(device, case, &chosen)?;
    let mut told = Vec::new();
    for (variant, Report { verdict, .. }) in chosen.into_iter().zip(reports) {
        interrupted()?;
        let class = case.op.class();
        let name = variant_name(device, variant);
        let figure = ceiling::measure(device, case, variant, ROUNDS)?;
        if !figure.believable() {
            failures.push(format!(
                "{} [{name}] {}: {:.0} % of its ceiling, each time the two were measured side by side: the ceiling \
                 is wrong",
                case.op.name(),
                case.op.describe(),
                100.0 * figure.share
            ));
        }
        let passed = verdict.passed() && figure.believable();
        let row = Row::new(case.op.name(), &name, &case.op.describe(), passed)
            .with("class", class.to_string())
            .with("verdict", words(&verdict, class))
            .with("compared_elements", verdict.compared);
        let (row, failure) = failed(device, case, &name, &verdict, row);
        failures.extend(failure);
        let mut line = vec![
            case.op.name().to_string(),
            name,
            case.op.describe(),
            class.to_string(),
            words(&verdict, class),
        ];
        line.extend(cells(case, &figure));
        told.push((figures(row, case, &figure), line));
    }
    Ok(told)
}
