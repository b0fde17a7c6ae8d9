//! The main job: cross-check every kernel, measure it, print one table.

use std::collections::BTreeMap;

use fewbit::check::{self, Effort, Report};
use fewbit::ops::{Class, Verdict};

use super::bench::{HEADER, cells, figures, variant_name, variants};
use super::check::{float_fmac, words};
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

    // Awkward shapes: one line per kernel and variant.
    let mut sums: BTreeMap<(&'static str, String), (usize, Class, Verdict)> = BTreeMap::new();
    for case in &awkward {
        interrupted()?;
        bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
        for Report { variant, verdict, .. } in check::run(&device, case)? {
            if let Some(failure) = &verdict.failure {
                failures.push(format!(
                    "{} [{variant}] {}: {failure}",
                    case.op.name(),
                    case.op.describe()
                ));
            }
            let entry = sums.entry((case.op.name(), variant));
            let (count, _, sum) = entry.or_insert_with(|| (0, case.op.class(), Verdict::default()));
            *count += 1;
            *sum = std::mem::take(sum).and(verdict);
        }
        bar.inc(1);
    }
    for ((kernel, variant), (count, class, verdict)) in sums {
        let case = format!("{count} awkward shapes");
        let row = Row::new(kernel, &variant, &case, verdict.passed())
            .with("class", class.to_string())
            .with("verdict", words(&verdict, class))
            .with("compared_elements", verdict.compared);
        output.row(row);
        let mut line = vec![
            kernel.to_string(),
            variant,
            case,
            class.to_string(),
            words(&verdict, class),
        ];
        line.extend(HEADER.map(|_| "-".to_string()));
        lines.push(line);
    }

    for case in &measured {
        bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
        let chosen = variants(&device, case, false);
        let reports = check::run_variants(&device, case, &chosen)?;
        for (variant, Report { verdict, .. }) in chosen.into_iter().zip(reports) {
            interrupted()?;
            let class = case.op.class();
            let name = variant_name(&device, variant);
            let figure = ceiling::measure(&device, case, variant, ROUNDS)?;
            if let Some(failure) = &verdict.failure {
                failures.push(format!(
                    "{} [{name}] {}: {failure}",
                    case.op.name(),
                    case.op.describe()
                ));
            }
            if !figure.believable() {
                failures.push(format!(
                    "{} [{name}] {}: {:.0} % of its ceiling: the ceiling is wrong",
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
            output.row(figures(row, case, &figure));
            let mut line = vec![
                case.op.name().to_string(),
                name,
                case.op.describe(),
                class.to_string(),
                words(&verdict, class),
            ];
            line.extend(cells(case, &figure));
            lines.push(line);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    lines.sort();
    let header = [&["kernel", "variant", "case", "class", "verdict"][..], &HEADER].concat();
    output.table(&header, &HEADER, &lines);
    for failure in &failures {
        output.complain(failure);
    }
    if failures.is_empty() {
        output.line("Every kernel agrees with its reference.");
        Ok(())
    } else {
        Err(Stop::Failed)
    }
}
