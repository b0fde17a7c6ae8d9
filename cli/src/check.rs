//! `fewbit check`: the full correctness run on one device.

use std::collections::BTreeSet;

use clap::Args;

use fewbit::Device;
use fewbit::check::{self, Case, Effort, Report};
use fewbit::cpu::Cpu;
use fewbit::op::{Class, Verdict};

use super::cases::reports;
use super::options::Weak;
use super::output::{Output, Row};
use super::{Common, Stop, device};

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Check only this kernel; or, if none is called that, those whose name contains this text.
    kernel: Option<String>,
    /// Run only cases whose description is, or else contains, this text.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Run only this variant; on the CPU device, this instruction set.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Run only cases whose "kernel: description" contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Leave out the large cases.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    weak: Weak,
}

impl CheckArgs {
    fn cases(&self) -> Result<Vec<Case>, Stop> {
        let mut cases = check::cases(if self.quick { Effort::Quick } else { Effort::Full });
        if let Some(kernel) = &self.kernel {
            let names = cases.iter().map(|case| case.op.name());
            let names = chosen(names, kernel)?;
            cases.retain(|case| names.contains(case.op.name()));
        }
        if let Some(text) = &self.case {
            let exact = cases.iter().any(|case| case.op.describe() == *text);
            cases.retain(|case| match exact {
                true => case.op.describe() == *text,
                false => case.op.describe().contains(text),
            });
            if cases.is_empty() {
                return Err(Stop::Input(format!("no case matches --case {text:?}")));
            }
        }
        if let Some(filter) = &self.filter {
            cases.retain(|case| format!("{}: {}", case.op.name(), case.op.describe()).contains(filter));
            if cases.is_empty() {
                return Err(Stop::Input(format!("no case matches --filter {filter:?}")));
            }
        }
        Ok(cases)
    }

    /// The device to check: of the CPU device, the instruction set that is the variant asked for.
    fn device(&self, opened: Device) -> Device {
        let level = |cpu: &Cpu| self.variant.as_ref().is_some_and(|name| *name == cpu.to_string());
        match opened.as_cpu().and(Cpu::available().into_iter().find(level)) {
            Some(cpu) => Device::from_cpu(cpu),
            None => opened,
        }
    }
}

/// The name `text` among these; or, if it is none of them, those that contain it.
pub(crate) fn chosen<'a>(
    names: impl Iterator<Item = &'a str>,
    text: &str,
) -> Result<BTreeSet<&'a str>, Stop> {
    let all: BTreeSet<_> = names.collect();
    if let Some(name) = all.get(text) {
        return Ok([*name].into());
    }
    let chosen: BTreeSet<_> = all.iter().copied().filter(|name| name.contains(text)).collect();
    if chosen.is_empty() {
        let all: Vec<_> = all.into_iter().collect();
        return Err(Stop::Input(format!(
            "no kernel is called {text:?}; there are: {}",
            all.join(", ")
        )));
    }
    Ok(chosen)
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

/// What a failed run of a case is told with: its row's fields, and the lines for people, the last of which
/// repeats it.
pub(crate) fn failed(
    device: &Device,
    case: &Case,
    variant: &str,
    verdict: &Verdict,
    row: Row,
) -> (Row, Option<String>) {
    let Some(failure) = &verdict.failure else {
        return (row, None);
    };
    let repeat = check::repeat_command(device, case, variant);
    let message = format!(
        "{} [{variant}] {}: {failure}\n  repeat: {repeat}",
        case.op.name(),
        case.op.describe()
    );
    let row = row
        .with("failure", failure.to_string())
        .with("operand", failure.operand)
        .with("worst_index", failure.index)
        .with("expected", failure.expected.clone())
        .with("got", failure.got.clone())
        .with("bound", failure.bound.clone())
        .with("wrong_elements", failure.count)
        .with("repeat", repeat);
    (row, Some(message))
}

pub(crate) fn run(common: &Common, args: &CheckArgs, output: &mut Output) -> Result<(), Stop> {
    let cases = args.cases()?;
    let common = Common {
        weak: args.weak.clone(),
        ..common.clone()
    };
    let device = args.device(device::open(&common, output)?);
    if args.weak.any() && device.as_gpu().is_none() {
        return Err(Stop::Input(
            "--core, --max-binding, --checked-shaders and the caps are for GPUs: they go with --device gpu"
                .into(),
        ));
    }
    // The probe's own products may not fit a weaker device; without it the float variants stay out, as in tests.
    if !args.weak.weaker() {
        float_fmac(&device, output)?;
    }
    if device.kind_name() == "reference" {
        output.line("the reference is compared with itself: that shows that its cases run, and no more");
    }
    let bar = output.bar(cases.len() as u64, "check");
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    let mut elements = 0;
    let (reports, ended) = reports(&device, &cases, &bar, |case| match &args.variant {
        None => check::run(&device, case),
        Some(variant) => check::run_variant(&device, case, variant),
    });
    for (case, reports) in cases.iter().zip(reports) {
        for Report { variant, verdict, .. } in reports {
            let class = case.op.class();
            elements += verdict.compared;
            let text = words(&verdict, class);
            let row = Row::new(case.op.name(), &variant, &case.op.describe(), verdict.passed())
                .with("class", class.to_string())
                .with("verdict", text.clone())
                .with("compared_elements", verdict.compared)
                .with("worst_error_per_bound", finite(verdict.worst_ratio));
            let (row, failure) = failed(&device, case, &variant, &verdict, row);
            failures.extend(failure);
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
    }
    bar.finish_and_clear();
    ended?;
    if let (true, Some(variant)) = (lines.is_empty(), &args.variant) {
        return Err(Stop::Input(format!(
            "none of {} cases has a variant {variant:?} on {}",
            cases.len(),
            device.describe()
        )));
    }
    let header = ["kernel", "variant", "case", "class", "elements", "verdict"];
    output.table(&header, &["elements"], &lines);
    output.line(&format!(
        "{} runs, {elements} elements compared, {} failed",
        lines.len(),
        failures.len()
    ));
    told(&failures, output)
}

/// Complains of what failed.
pub(crate) fn told(failures: &[String], output: &Output) -> Result<(), Stop> {
    for failure in failures {
        output.complain(failure);
        output.fail(failure);
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Stop::Failed),
    }
}

/// JSON has no infinity.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Says whether f32 additions round as the reference's do, so that the float variant of FMAC is exact.
pub(crate) fn float_fmac(device: &Device, output: &mut Output) -> Result<(), Stop> {
    let Some(gpu) = device.as_gpu() else {
        return Ok(());
    };
    output.line(match fewbit::kernels::probe_float_fmac_blocking(gpu)? {
        true => "f32 additions were found to round as the reference's: float FMAC is checked and preferred",
        false => "f32 additions were found to round otherwise: only integer FMAC serves here",
    });
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_worst_element_and_the_command_that_repeats_it() {
        let cases = check::cases(Effort::Quick);
        let case = cases.iter().find(|case| case.op.name() == "copy").unwrap();
        let mut verdict = Verdict::default();
        verdict.element("dst", 3, 2.0, || ["one".into(), "two".into(), "none".into()]);
        verdict.element("dst", 7, 9.0, || ["1".into(), "2".into(), "0.1".into()]);
        let row = Row::new("copy", "portable", "", false);
        let (row, told) = failed(&Device::cpu(), case, "portable", &verdict, row);
        let (row, told) = (row.value(), told.unwrap());
        assert_eq!(
            (&row["worst_index"], &row["wrong_elements"]),
            (&7.into(), &2.into())
        );
        assert_eq!((&row["expected"], &row["got"]), (&"1".into(), &"2".into()));
        assert_eq!((&row["operand"], &row["bound"]), (&"dst".into(), &"0.1".into()));
        let repeat = row["repeat"].as_str().unwrap();
        let end = "--variant 'portable' --device cpu";
        assert!(
            repeat.starts_with("fewbit check copy --case '") && repeat.ends_with(end),
            "{repeat}"
        );
        assert!(
            told.contains("worst at index 7") && told.ends_with(repeat),
            "{told}"
        );
        let (_, none) = failed(
            &Device::cpu(),
            case,
            "portable",
            &Verdict::default(),
            Row::default(),
        );
        assert_eq!(none, None);
    }

    #[test]
    fn a_name_is_preferred_to_what_it_is_part_of() {
        let names = ["relu", "relu_grad", "copy"];
        let of = |text| chosen(names.into_iter(), text).map_err(|_| ());
        assert_eq!(of("relu"), Ok(["relu"].into()));
        assert_eq!(of("rel"), Ok(["relu", "relu_grad"].into()));
        assert_eq!(of("x"), Err(()));
    }
}
