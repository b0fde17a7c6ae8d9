//! `fewbit tune [KERNEL]`.

use clap::Args;
use fewbit::Device;
use fewbit::check::{BenchCase, Case, bench_cases};
use fewbit::gpu::{Cache, Gpu, Offsets, Tuning};

use super::measure::{Rounds, Stats, Timed, interleave, prepare, stats};
use super::output::{Output, Row, seconds};
use super::{Common, Stop, device, interrupted};

#[derive(Args, Debug)]
pub(crate) struct TuneArgs {
    /// Tune only this kernel, or, if none is called that, those whose name contains this text; what was found for others stays.
    kernel: Option<String>,
    /// Sizes N: matrices of N x N, runs of N * N elements. A case stands for all within the same powers of two.
    /// [default: 512,1024,2048,4096; on software adapters 256,512]
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    sizes: Vec<u32>,
    /// Samples of each variant, taken turn by turn.
    #[arg(long, default_value_t = 15, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repetitions: u32,
    /// Print what would be kept, and keep nothing.
    #[arg(long)]
    dry_run: bool,
    /// Forget what was found on this adapter: the default variants serve again.
    #[arg(long, conflicts_with_all = ["kernel", "sizes", "dry_run"])]
    forget: bool,
}

/// A variant this much slower than the best in its first sample is not timed on.
const HOPELESS: f64 = 3.0;

pub(crate) fn run(common: &Common, args: &TuneArgs, output: &mut Output) -> Result<(), Stop> {
    let device = device::open(common, output)?;
    let Some(gpu) = device.as_gpu() else {
        return Err(Stop::Input(format!(
            "there is nothing to tune on {}: its variants are its instruction sets (--device gpu takes a software \
             adapter too)",
            device.describe()
        )));
    };
    let Some(cache) = Cache::platform() else {
        return Err(Stop::Input(
            "there is no folder to keep the result in: set FEWBIT_CACHE_DIR, or a home".into(),
        ));
    };
    let failed = |error: std::io::Error| {
        let path = cache.tuning_path(gpu.info());
        Stop::Input(format!("{}: {error}", path.display()))
    };
    if args.forget {
        let path = cache
            .save_tuning(gpu.info(), &Tuning::default())
            .map_err(failed)?;
        output.line(&format!("Forgotten: {}", path.display()));
        return Ok(());
    }
    let cases = args.cases(gpu)?;
    // Found before anything is timed: a folder that cannot be written.
    if !args.dry_run {
        cache.probe_tuning(gpu.info()).map_err(failed)?;
    }
    super::check::float_fmac(&device, output)?;

    let mut found = Tuning::default();
    let bar = output.bar(cases.len() as u64, "tune");
    let mut lines = Vec::new();
    for case in cases {
        interrupted()?;
        bar.set_message(case.kernel());
        let case = case.make();
        // The defaults are what is compared with, whatever an earlier run found.
        let variants = case.op.variants(gpu, Offsets::Vec4);
        if variants.len() > 1 {
            bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
            let timed = time(&device, &case, &variants, args.repetitions)?;
            if let Some((line, row)) = fastest(&case, &timed, &mut found) {
                lines.push(line);
                output.row(row);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if lines.is_empty() {
        return Err(Stop::Input(
            "no such kernel has more than one variant here".into(),
        ));
    }
    let header = ["kernel", "case", "default", "fastest", "time", "gain"];
    output.table(&header, &["time", "gain"], &lines);
    if args.dry_run {
        output.line("Nothing was kept (--dry-run).");
        return Ok(());
    }
    let path = cache.add_tuning(gpu.info(), &found).map_err(failed)?;
    output.line(&format!("Kept for this adapter in {}", path.display()));
    Ok(())
}

impl TuneArgs {
    /// The cases to time: not yet made, so that of a kernel without variants none is made in vain.
    fn cases(&self, gpu: &Gpu) -> Result<Vec<BenchCase>, Stop> {
        let sizes = match (self.sizes.as_slice(), gpu.is_software()) {
            ([], true) => &[256, 512][..],
            ([], false) => &[512, 1024, 2048, 4096],
            (sizes, _) => sizes,
        };
        let mut cases: Vec<_> = sizes
            .iter()
            .flat_map(|&size| bench_cases(size as usize))
            .collect();
        if let Some(kernel) = &self.kernel {
            super::bench::retain_kernels(&mut cases, std::slice::from_ref(kernel))?;
        }
        Ok(cases)
    }
}

/// Notes the fastest variant of a case, and says so; the first is the default.
fn fastest(case: &Case, timed: &[(&'static str, Stats)], found: &mut Tuning) -> Option<(Vec<String>, Row)> {
    let [(default, own), others @ ..] = timed else {
        return None;
    };
    // Another variant must win by more than the noise of both.
    let best = others
        .iter()
        .filter(|(_, stats)| stats.median + stats.spread + own.spread < own.median)
        .min_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let (chosen, stats) = best.map_or((*default, own), |(variant, stats)| (*variant, stats));
    found.set(case.op.name(), &case.op.family(), chosen);
    let gain = own.median / stats.median;
    let row = Row::new(case.op.name(), chosen, &case.op.describe(), true)
        .with("family", case.op.family())
        .with("default", *default)
        .with("seconds", stats.median)
        .with("seconds_default", own.median)
        .with("gain", gain);
    let line = vec![
        case.op.name().to_string(),
        case.op.describe(),
        (*default).to_string(),
        chosen.to_string(),
        seconds(stats.median),
        format!("{gain:.2}x"),
    ];
    Some((line, row))
}

/// Times the variants turn by turn, the default one first; those that do not compile, or are hopeless, are left
/// out.
fn time(
    device: &Device,
    case: &Case,
    variants: &[&'static str],
    repetitions: u32,
) -> Result<Vec<(&'static str, Stats)>, Stop> {
    let mut ready: Vec<(&'static str, Box<dyn Timed + '_>, f64)> = Vec::new();
    for &variant in variants {
        interrupted()?;
        match prepare(device, case, Some(variant)) {
            Ok(mut timed) => {
                // The first run may compile.
                timed.sample(1)?;
                let first = timed.sample(1)?.best();
                ready.push((variant, timed, first));
            }
            Err(Stop::Input(message)) => {
                log::warn!("{} [{variant}] is not timed: {message}", case.op.name());
                // A lost device is no reason to prefer another variant.
                if let Some(gpu) = device.as_gpu() {
                    gpu.check_lost("tune")?;
                }
            }
            Err(other) => return Err(other),
        }
    }
    let best = ready
        .iter()
        .map(|(_, _, first)| *first)
        .fold(f64::INFINITY, f64::min);
    let mut at = 0;
    ready.retain(|(_, _, first)| {
        at += 1;
        at == 1 || *first <= HOPELESS * best
    });
    let names: Vec<_> = ready.iter().map(|(variant, ..)| *variant).collect();
    let mut timed: Vec<_> = ready.into_iter().map(|(_, timed, _)| timed).collect();
    let rounds = Rounds {
        warm_up: 1,
        counted: repetitions,
        budget: None,
    };
    let samples = interleave(&mut timed, rounds)?;
    Ok(names
        .into_iter()
        .zip(samples.iter().map(|samples| stats(samples)))
        .collect())
}
