//! `fewbit bench [KERNEL]`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use fewbit::Device;
use fewbit::check::{BenchCase, Case, awkward_bench_cases, bench_cases};
use fewbit::gpu::Offsets;

use super::ceiling::{self, Measured, Resource};
use super::check::chosen;
use super::measure::Rounds;
use super::output::{Output, Row, giga, seconds};
use super::plot::{Plots, Point};
use super::saved::{self, Change, Earlier, Now, Target};
use super::{Common, Stop, device, interrupted};

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Time only these kernels; where none is called that, those whose names contain this text.
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Sizes N: matrices of N x N, runs of N * N elements, and odd, single-row and tiny shapes beside them
    /// [default: 512,1024; with --quick 64].
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    sizes: Vec<u32>,
    /// Samples of each kernel, taken turn by turn with its ceilings [default: 15, or as many as ten seconds
    /// allow but at least 5; with --quick 5].
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repetitions: Option<u32>,
    /// Rounds before the first sample counts.
    #[arg(long, default_value_t = 2, allow_negative_numbers = true)]
    warm_up: u32,
    /// Time every variant, not only the one that is chosen here.
    #[arg(long)]
    all_variants: bool,
    /// Small shapes and few samples: to see whether it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Write the results to this file, whole or not at all.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Show each kernel's change against the results that --save wrote. A change counts as one when it exceeds
    /// the noise of both runs (half the distance between the quartiles of each).
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Draw charts into this folder: the roofline of the kernels timed; and, measured for it, matmul against
    /// size, spmv against density, and the time per element against the working set.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

impl BenchArgs {
    fn rounds(&self) -> Rounds {
        Rounds {
            warm_up: self.warm_up,
            counted: self.repetitions.unwrap_or(if self.quick { 5 } else { 15 }),
            budget: self.repetitions.is_none().then_some(BUDGET),
        }
    }

    /// The cases asked for, by kernel; within one, those of more work first.
    fn cases(&self) -> Result<Vec<BenchCase>, Stop> {
        let sizes = match (self.sizes.as_slice(), self.quick) {
            ([], true) => &[64][..],
            ([], false) => &[512, 1024],
            (sizes, _) => sizes,
        };
        let sizes = || sizes.iter().map(|&size| size as usize);
        let mut cases: Vec<_> = sizes()
            .flat_map(bench_cases)
            .chain(sizes().flat_map(awkward_bench_cases))
            .collect();
        if !self.kernels.is_empty() {
            retain_kernels(&mut cases, &self.kernels)?;
        }
        cases.sort_by_key(BenchCase::kernel);
        Ok(cases)
    }
}

/// Cases of the kernels called by these texts; where there is none, of those whose names contain it.
pub(super) fn retain_kernels(cases: &mut Vec<BenchCase>, texts: &[String]) -> Result<(), Stop> {
    let mut names = BTreeSet::new();
    for text in texts {
        names.extend(
            chosen(cases.iter().map(BenchCase::kernel), text)?
                .into_iter()
                .map(str::to_string),
        );
    }
    cases.retain(|case| names.contains(case.kernel()));
    Ok(())
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
            let variants = case.op.variants(gpu, Offsets::Vec4);
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
    // Whatever is wrong with the files or the name is said before anything is timed.
    let earlier = args.compare.as_deref().map(Earlier::read).transpose()?;
    let save = args.save.as_deref().map(Target::new).transpose()?;
    let plots = args
        .plot
        .as_deref()
        .map(|folder| Plots::new(folder, args.quick))
        .transpose()?;
    let cases = args.cases()?;
    let device = device::open(common, output)?;
    for warning in earlier
        .iter()
        .flat_map(|file| file.warnings(output.device_value()))
    {
        output.complain(&format!("warning: {warning}"));
    }
    super::check::float_fmac(&device, output)?;

    let bar = output.bar(cases.len() as u64, "bench");
    let mut table = Timed::default();
    // Every size has the same tiny shapes.
    let mut seen = BTreeSet::new();
    for case in cases {
        interrupted()?;
        bar.set_message(case.kernel());
        let case = case.make();
        if seen.insert((case.op.name(), case.op.describe())) {
            bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
            for variant in variants(&device, &case, args.all_variants) {
                interrupted()?;
                let measured = ceiling::measure(&device, &case, variant, args.rounds())?;
                let name = variant_name(&device, variant);
                output.row(table.add(&case, &name, measured, earlier.as_ref()));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let compared: &[&str] = if earlier.is_some() { &saved::HEADER } else { &[] };
    let header = [&["kernel", "variant", "case"][..], &HEADER, compared].concat();
    output.table(&header, &[&HEADER[..], compared].concat(), &table.lines);
    if let Some(target) = save {
        target.write(&saved::document(output.device_value(), &table.rows)?)?;
    }
    if let Some(plots) = plots {
        plots.draw(&device, &table.points, args.rounds(), output)?;
    }
    if table.above.is_empty() {
        return Ok(());
    }
    let message = format!(
        "above its ceiling, each time the two were measured side by side: {}; a ceiling is wrong, believe no figure \
         of this run",
        table.above.join("; ")
    );
    output.complain(&message);
    output.fail(&message);
    Err(Stop::Failed)
}

/// What was timed so far.
#[derive(Default)]
struct Timed {
    lines: Vec<Vec<String>>,
    rows: Vec<Row>,
    points: Vec<Point>,
    /// What ran above its ceiling.
    above: Vec<String>,
}

impl Timed {
    /// Adds a measured variant; its row for the results.
    fn add(&mut self, case: &Case, variant: &str, measured: Measured, earlier: Option<&Earlier>) -> Row {
        let (kernel, describe) = (case.op.name(), case.op.describe());
        let good = measured.believable();
        let row = figures(Row::new(kernel, variant, &describe, good), case, &measured);
        self.rows.push(row.clone());
        let mut line = vec![kernel.to_string(), variant.to_string(), describe.clone()];
        line.extend(cells(case, &measured));
        let row = match earlier {
            None => row,
            Some(earlier) => {
                let change = earlier.change(&Now {
                    kernel,
                    variant,
                    case: &describe,
                    seconds: measured.stats.median,
                    spread: measured.stats.spread,
                    believed: good,
                });
                line.extend(Change::cells(change.as_ref()));
                Change::figures(change.as_ref(), row)
            }
        };
        if !good {
            line.push("above its ceiling".into());
            self.above.push(format!("{kernel} [{variant}] {describe}"));
        }
        self.lines.push(line);
        self.points.push(Point::new(case, measured));
        row
    }
}
