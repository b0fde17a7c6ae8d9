//! `fewbit check`: the full correctness run on one device.

use clap::Args;

use fewbit::check::{self, Effort, Report};
use fewbit::ops::{Class, Verdict};

use super::output::{Output, Row};
use super::{Common, Stop, device, interrupted};

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Run only cases whose "kernel: description" contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Leave out the large cases.
    #[arg(long)]
    quick: bool,
}

/// A verdict in a few words.
pub(crate) fn words(verdict: &Verdict, class: Class) -> String {
    match (&verdict.failure, verdict.bit_equal, class) {
        (Some(_), ..) => "FAILED".into(),
        (None, true, _) => "bit-equal".into(),
        // Equal but for the sign of zeros that arithmetic made.
        (None, false, Class::Exact) => "equal".into(),
        (None, false, _) => format!("{:.3} of bound", verdict.worst_ratio),
    }
}

pub(crate) fn run(common: &Common, args: &CheckArgs, output: &mut Output) -> Result<(), Stop> {
    let device = device::open(common, output)?;
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let mut cases = check::cases(effort);
    if let Some(filter) = &args.filter {
        cases.retain(|case| format!("{}: {}", case.op.name(), case.op.describe()).contains(filter));
        if cases.is_empty() {
            return Err(Stop::Input(format!("no case matches --filter {filter:?}")));
        }
    }
    float_fmac(&device, output)?;
    let bar = output.bar(cases.len() as u64, "check");
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    let mut elements = 0;
    for case in &cases {
        interrupted()?;
        bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
        let reports = check::run(&device, case)?;
        for Report { variant, verdict, .. } in reports {
            let class = case.op.class();
            elements += verdict.compared;
            let text = words(&verdict, class);
            let mut row = Row::new(case.op.name(), &variant, &case.op.describe(), verdict.passed())
                .with("class", class.to_string())
                .with("verdict", text.clone())
                .with("compared_elements", verdict.compared)
                .with("worst_error_per_bound", finite(verdict.worst_ratio));
            if let Some(failure) = &verdict.failure {
                let message = format!("{} [{variant}] {}: {failure}", case.op.name(), case.op.describe());
                row = row.with("failure", failure.to_string());
                failures.push(message);
            }
            output.row(row);
            lines.push(vec![
                case.op.name().to_string(),
                variant,
                case.op.describe(),
                class.to_string(),
                verdict.compared.to_string(),
                text,
            ]);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let header = ["kernel", "variant", "case", "class", "elements", "verdict"];
    output.table(&header, &["elements"], &lines);
    output.line(&format!(
        "{} runs, {elements} elements compared, {} failed",
        lines.len(),
        failures.len()
    ));
    for failure in &failures {
        output.complain(failure);
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Stop::Failed)
    }
}

/// JSON has no infinity.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Says whether f32 additions round as the reference's do, so that the float variant of FMAC is exact.
pub(crate) fn float_fmac(device: &fewbit::Device, output: &mut Output) -> Result<(), Stop> {
    let Some(gpu) = device.as_gpu() else {
        return Ok(());
    };
    output.line(match fewbit::ops::probe_float_fmac_blocking(gpu)? {
        true => "f32 additions were found to round as the reference's: float FMAC is checked and preferred",
        false => "f32 additions were found to round otherwise: only integer FMAC serves here",
    });
    Ok(())
}
