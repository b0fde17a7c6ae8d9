//! `fewbit bench [KERNEL]`.

use std::time::Duration;

use clap::Args;

use fewbit::Device;
use fewbit::check::{Case, bench_cases};

use super::ceiling::{self, Measured, Resource};
use super::measure::Rounds;
use super::output::{Output, Row, giga, seconds};
use super::{Common, Stop, device, interrupted};

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Time only kernels whose name contains this text.
    kernel: Option<String>,
    /// Sizes N: matrices of N x N, runs of N * N elements.
    #[arg(long, value_delimiter = ',', default_values_t = [512, 1024], value_parser = clap::value_parser!(u32).range(1..=32_768))]
    sizes: Vec<u32>,
    /// Samples of each kernel, taken turn by turn with its ceilings [default: 15, or as many as ten seconds
    /// allow but at least 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repetitions: Option<u32>,
    /// Rounds before the first sample counts.
    #[arg(long, default_value_t = 2)]
    warm_up: u32,
    /// Time every variant, not only the one that is chosen here.
    #[arg(long)]
    all_variants: bool,
}

impl BenchArgs {
    fn rounds(&self) -> Rounds {
        Rounds {
            warm_up: self.warm_up,
            counted: self.repetitions.unwrap_or(15),
            budget: self.repetitions.is_none().then_some(BUDGET),
        }
    }
}

/// Where a run takes seconds (a large product on a software adapter), fewer samples must do.
const BUDGET: Duration = Duration::from_secs(10);

pub(crate) const HEADER: [&str; 5] = ["time", "+-", "GFLOP/s", "GB/s", "share of ceiling"];

/// A measured kernel's cells, in the order of [`HEADER`].
pub(crate) fn cells(case: &Case, measured: &Measured) -> Vec<String> {
    let work = case.op.work();
    let median = measured.stats.median;
    let rate = |amount: f64| {
        if amount > 0.0 {
            giga(amount / median)
        } else {
            "-".into()
        }
    };
    vec![
        seconds(median),
        format!("{:.0}%", 100.0 * measured.stats.spread / median),
        rate(work.flops),
        rate(work.bytes),
        share(measured),
    ]
}

/// The share of its ceiling that a kernel reaches, and the ceiling.
fn share(measured: &Measured) -> String {
    let bound = &measured.bound;
    let unit = match bound.resource {
        Resource::Memory => "GB/s",
        Resource::MultiplyAdd | Resource::Bf16Dot => "GFLOP/s",
        Resource::Integer => "Gop/s",
        Resource::Dispatch => {
            return format!(
                "{:.0}% of dispatch ({})",
                100.0 * measured.share,
                seconds(bound.seconds)
            );
        }
    };
    format!(
        "{:.0}% of {} {unit} ({})",
        100.0 * measured.share,
        giga(bound.rate),
        bound.resource.name()
    )
}

/// A measured kernel's figures with their units in the keys.
pub(crate) fn figures(row: Row, case: &Case, measured: &Measured) -> Row {
    let work = case.op.work();
    let median = measured.stats.median;
    let row = row
        .with("seconds", median)
        .with("seconds_best", measured.stats.best)
        .with("seconds_spread", measured.stats.spread)
        .with("seconds_wall", measured.stats.wall_median)
        .with(
            "timed_by",
            if measured.by_timestamps {
                "gpu timestamps"
            } else {
                "wall clock"
            },
        )
        .with("samples", measured.stats.samples)
        .with("ceiling", measured.bound.resource.name())
        .with("ceiling_per_second", measured.bound.rate)
        .with("ceiling_spread", measured.bound.noise)
        .with("share_of_ceiling", measured.share);
    let row = if work.flops > 0.0 {
        row.with("gflops", work.flops / median / 1e9)
    } else {
        row
    };
    if work.bytes > 0.0 {
        row.with("gbytes_per_s", work.bytes / median / 1e9)
    } else {
        row
    }
}

/// The variants to time on a device.
pub(crate) fn variants(device: &Device, case: &Case, all: bool) -> Vec<Option<&'static str>> {
    match device.as_gpu() {
        None => vec![None],
        Some(gpu) => {
            let variants = case.op.variants(gpu, false);
            let count = if all { variants.len() } else { 1 };
            variants.into_iter().take(count).map(Some).collect()
        }
    }
}

pub(crate) fn variant_name(device: &Device, variant: Option<&'static str>) -> String {
    variant.map_or_else(
        || device.as_cpu().map_or("sequential".into(), ToString::to_string),
        str::to_string,
    )
}

pub(crate) fn run(common: &Common, args: &BenchArgs, output: &mut Output) -> Result<(), Stop> {
    let device = device::open(common, output)?;
    super::check::float_fmac(&device, output)?;
    let mut cases: Vec<_> = args
        .sizes
        .iter()
        .flat_map(|&size| bench_cases(size as usize))
        .collect();
    if let Some(kernel) = &args.kernel {
        let mut names: Vec<_> = cases.iter().map(|case| case.op.name()).collect();
        names.dedup();
        cases.retain(|case| case.op.name().contains(kernel.as_str()));
        if cases.is_empty() {
            names.sort_unstable();
            names.dedup();
            return Err(Stop::Input(format!(
                "no kernel is called {kernel:?}; there are: {}",
                names.join(", ")
            )));
        }
    }
    cases.sort_by_key(|case| case.op.name());
    let bar = output.bar(cases.len() as u64, "bench");
    let mut lines = Vec::new();
    let mut passed = true;
    for case in &cases {
        for variant in variants(&device, case, args.all_variants) {
            interrupted()?;
            bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
            let name = variant_name(&device, variant);
            let measured = ceiling::measure(&device, case, variant, args.rounds())?;
            let good = measured.believable();
            passed &= good;
            let row = Row::new(case.op.name(), &name, &case.op.describe(), good);
            output.row(figures(row, case, &measured));
            let mut line = vec![case.op.name().to_string(), name, case.op.describe()];
            line.extend(cells(case, &measured));
            if !good {
                line.push("above its ceiling".into());
            }
            lines.push(line);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let header = [&["kernel", "variant", "case"][..], &HEADER].concat();
    output.table(&header, &HEADER, &lines);
    if passed {
        Ok(())
    } else {
        output
            .complain("a kernel ran above its ceiling: the ceiling is wrong, believe no figure of this run");
        Err(Stop::Failed)
    }
}
