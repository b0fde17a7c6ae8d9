//! `fewbit bench --plot DIR`: the roofline of what was measured, and three curves that are measured for it. And the curves
//! of trainings and claims.

pub(crate) mod chart;
mod curve;
mod ticks;
pub(crate) mod training;

use std::path::Path;
use std::time::Duration;

use fewbit::Device;
use fewbit::check::{Case, matmul_case, relu_case, spmv_case};
use fewbit::tensor::DType;

use self::chart::{Axis, Chart, Series, Style, Ticks};
use self::curve::{crossing, knees};
use super::ceiling::{self, Measured, Resource};
use super::measure::{Rounds, Stats, interleave, prepare, stats};
use super::output::{Output, Row};
use super::saved::Target;
use super::{Stop, interrupted};

const NAMES: [&str; 4] = ["roofline.svg", "matmul.svg", "spmv.svg", "elements.svg"];

/// The folder of the charts, found to be writable before anything is measured.
pub(crate) struct Plots {
    targets: [Target; NAMES.len()],
    quick: bool,
}

/// A kernel's place under the roofline.
pub(crate) struct Point {
    kernel: &'static str,
    bf16: bool,
    bytes: f64,
    flops: f64,
    measured: Measured,
}

impl Point {
    pub(crate) fn new(case: &Case, measured: Measured) -> Self {
        let work = case.op.work();
        Self {
            kernel: case.op.name(),
            bf16: work.bf16,
            bytes: work.bytes,
            flops: work.flops,
            measured,
        }
    }
}

/// What the sizes of the curves depend on.
#[derive(Clone, Copy)]
enum Scale {
    Quick,
    Software,
    Cpu,
    Gpu,
}

impl Scale {
    fn new(device: &Device, quick: bool) -> Self {
        match device.as_gpu() {
            _ if quick => Self::Quick,
            Some(gpu) if gpu.is_software() => Self::Software,
            Some(_) => Self::Gpu,
            None if device.as_cpu().is_some() => Self::Cpu,
            None => Self::Quick,
        }
    }

    /// Sizes of square products.
    fn products(self) -> Vec<usize> {
        let largest = match self {
            Self::Quick => 64,
            Self::Software => 512,
            Self::Cpu => 1024,
            Self::Gpu => 4096,
        };
        let sizes = (4..).flat_map(|power| [1usize << power, 3 << (power - 1)]);
        sizes.take_while(|&size| size <= largest).collect()
    }

    /// The size of the sparse matrices, and how many in a million of their elements are there.
    fn sparse(self) -> (usize, &'static [u32]) {
        const SHARES: &[u32] = &[
            1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
        ];
        match self {
            Self::Quick => (128, &[10_000, 100_000, 1_000_000]),
            Self::Software => (1024, SHARES),
            Self::Cpu => (2048, SHARES),
            Self::Gpu => (8192, SHARES),
        }
    }

    /// Lengths of runs of elements.
    fn runs(self) -> Vec<usize> {
        let powers = match self {
            Self::Quick => 8..=13,
            Self::Software => 10..=23,
            Self::Cpu => 9..=25,
            Self::Gpu => 12..=27,
        };
        powers.map(|power| 1usize << power).collect()
    }
}

impl Plots {
    /// # Errors
    /// The folder cannot be made or written to.
    pub(crate) fn new(folder: &Path, quick: bool) -> Result<Self, Stop> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Stop::Input(format!("{} cannot be made: {error}", folder.display())))?;
        let [a, b, c, d] = NAMES.map(|name| Target::new(&folder.join(name)));
        Ok(Self {
            targets: [a?, b?, c?, d?],
            quick,
        })
    }

    /// Measures what is missing, and writes all charts.
    pub(crate) fn draw(
        &self,
        device: &Device,
        points: &[Point],
        rounds: Rounds,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let scale = Scale::new(device, self.quick);
        let subtitle = format!("fewbit {} on {}", env!("CARGO_PKG_VERSION"), device.describe());
        // A curve has its neighbours to be judged by: fewer samples do.
        let rounds = Rounds {
            counted: rounds.counted.min(9),
            budget: Some(Duration::from_secs(4)),
            ..rounds
        };
        let bar = output.bar(NAMES.len() as u64, "plot");
        for (index, target) in self.targets.iter().enumerate() {
            bar.set_message(NAMES[index]);
            let chart = match index {
                0 => roofline(points),
                1 => products(device, scale, rounds, output)?,
                2 => sparse(device, scale, rounds, output)?,
                _ => elements(device, scale, rounds, output)?,
            };
            let chart = Chart {
                subtitle: match chart.subtitle.as_str() {
                    "" => subtitle.clone(),
                    more => format!("{subtitle}; {more}"),
                },
                ..chart
            };
            let svg = chart
                .svg()
                .map_err(|error| Stop::Input(format!("{}: {error}", NAMES[index])))?;
            match svg {
                Some(svg) => target.write(svg.as_bytes())?,
                None => output.line(&format!(
                    "{} is not drawn: no kernel of this run multiplies and adds",
                    NAMES[index]
                )),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Times the cases turn by turn.
fn time(
    device: &Device,
    cases: &[Case],
    rounds: Rounds,
    plot: &str,
    output: &mut Output,
) -> Result<Vec<Stats>, Stop> {
    interrupted()?;
    let mut timed = cases
        .iter()
        .map(|case| prepare(device, case, None))
        .collect::<Result<Vec<_>, _>>()?;
    let samples = interleave(&mut timed, rounds)?;
    let stats: Vec<_> = samples.iter().map(|samples| stats(samples)).collect();
    for (case, stats) in cases.iter().zip(&stats) {
        output.row(
            Row::new(case.op.name(), "preferred", &case.op.describe(), true)
                .with("plot", plot)
                .with("seconds", stats.median)
                .with("seconds_best", stats.best)
                .with("seconds_spread", stats.spread)
                .with("samples", stats.samples),
        );
    }
    Ok(stats)
}

const TYPES: [(&str, DType); 2] = [("f32", DType::F32), ("bf16", DType::Bf16)];

/// The best rate of a resource anywhere in a run.
fn best(measured: &[&Measured], resource: Resource) -> f64 {
    let bounds = measured.iter().flat_map(|measured| &measured.bounds);
    bounds
        .filter(|bound| bound.resource == resource)
        .map(|bound| bound.rate)
        .fold(0.0, f64::max)
}

fn roofline(points: &[Point]) -> Chart {
    let points: Vec<_> = points
        .iter()
        .filter(|point| point.flops > 0.0 && point.bytes > 0.0)
        .collect();
    let intensity = |point: &Point| point.flops / point.bytes;
    let (low, high) = points.iter().fold((f64::INFINITY, 0.0f64), |(low, high), point| {
        (low.min(intensity(point)), high.max(intensity(point)))
    });
    let (low, high) = (low / 2.0, high * 2.0);
    let all: Vec<_> = points.iter().map(|point| &point.measured).collect();
    let mut series = Vec::new();
    // Level with its fastest units; those of bf16 apart where there are some.
    let units = [
        (Resource::MultiplyAdd, "f32 multiply-add"),
        (Resource::Bf16Dot, "bf16 dot products"),
    ];
    let units = units.map(|(resource, name)| (best(&all, resource), name));
    let top = units.iter().map(|unit| unit.0).fold(0.0, f64::max);
    for (colour, (rate, name)) in units.into_iter().enumerate() {
        if rate > 0.0 {
            series.push(Series {
                name: format!("{name}, {:.0} GFLOP/s", rate / 1e9),
                points: vec![(low, rate / 1e9), (high, rate / 1e9)],
                style: Style::Level,
                colour: 7 + colour,
            });
        }
    }
    // Memory where it is fastest and at the largest working set: caches, and what lies behind them. A copy of
    // next to nothing shows neither.
    let memory = |point: &&&Point| {
        let mut bounds = point.measured.bounds.iter();
        point.bytes >= 16.0 * 1024.0 && bounds.any(|b| b.resource == Resource::Memory && b.rate > 0.0)
    };
    let mut of_memory: Vec<_> = points.iter().filter(memory).collect();
    of_memory.sort_by(|a, b| a.bytes.total_cmp(&b.bytes));
    let fastest = of_memory.iter().max_by(|a, b| {
        best(&[&a.measured], Resource::Memory).total_cmp(&best(&[&b.measured], Resource::Memory))
    });
    let mut levels: Vec<_> = fastest.into_iter().chain(of_memory.last()).collect();
    levels.dedup_by(|a, b| a.bytes == b.bytes);
    for (colour, point) in levels.into_iter().enumerate() {
        let rate = best(&[&point.measured], Resource::Memory);
        let end = high.min(top.max(rate * low) / rate);
        series.push(Series {
            name: format!("memory, {}: {:.0} GB/s", ticks::bytes(point.bytes), rate / 1e9),
            points: vec![(low, low * rate / 1e9), (end, end * rate / 1e9)],
            style: Style::Level,
            colour: 5 + colour,
        });
    }
    let mut kernels: Vec<_> = points.iter().map(|point| (point.kernel, point.bf16)).collect();
    kernels.sort_unstable();
    kernels.dedup();
    for (colour, (kernel, bf16)) in kernels.into_iter().enumerate() {
        let own = points
            .iter()
            .filter(|point| (point.kernel, point.bf16) == (kernel, bf16));
        series.push(Series {
            name: format!("{kernel}{}", if bf16 { " (bf16)" } else { "" }),
            points: own
                .map(|point| (intensity(point), point.flops / point.measured.stats.median / 1e9))
                .collect(),
            style: Style::Points,
            colour,
        });
    }
    Chart {
        title: "Roofline: every kernel that multiplies and adds".into(),
        subtitle: "dashed: measured ceilings".into(),
        x: Axis {
            label: "arithmetic intensity (FLOP per byte that must move)",
            ticks: Ticks::Decimal,
        },
        y: Axis {
            label: "GFLOP/s",
            ticks: Ticks::Decimal,
        },
        // Without a kernel under it a roof says nothing.
        series: if points.is_empty() { Vec::new() } else { series },
        marks: Vec::new(),
    }
}

fn products(device: &Device, scale: Scale, rounds: Rounds, output: &mut Output) -> Result<Chart, Stop> {
    let sizes = scale.products();
    let mut curves = [Vec::new(), Vec::new()];
    for &n in &sizes {
        let cases = TYPES.map(|(_, dtype)| matmul_case(n, n, n, dtype));
        let stats = time(device, &cases, rounds, "matmul", output)?;
        for (curve, stats) in curves.iter_mut().zip(stats) {
            curve.push((n as f64, 2.0 * (n as f64).powi(3) / stats.median / 1e9));
        }
    }
    let mut series: Vec<_> = TYPES
        .iter()
        .zip(curves)
        .enumerate()
        .map(|(colour, ((name, _), points))| Series {
            name: format!("{name} inputs"),
            points,
            style: Style::Curve,
            colour,
        })
        .collect();
    let ends = [sizes.first(), sizes.last()].map(|size| size.copied().unwrap_or(1) as f64);
    // What every core does at once is what another program on one of them disturbs: the best of a few.
    let mut measured = Vec::new();
    for &n in sizes.iter().rev().step_by(2).take(4) {
        for (_, dtype) in TYPES {
            measured.push(ceiling::measure(
                device,
                &matmul_case(n, n, n, dtype),
                None,
                rounds,
            )?);
        }
    }
    let measured: Vec<_> = measured.iter().collect();
    for (colour, resource) in [Resource::MultiplyAdd, Resource::Bf16Dot].into_iter().enumerate() {
        let rate = best(&measured, resource);
        // On a GPU both kinds of products have the same ceiling.
        if rate > 0.0 {
            series.push(Series {
                name: format!("{} ceiling, {:.0} GFLOP/s", resource.name(), rate / 1e9),
                points: ends.map(|end| (end, rate / 1e9)).to_vec(),
                style: Style::Level,
                colour,
            });
        }
    }
    Ok(Chart {
        title: "Products of N x N matrices into f32".into(),
        subtitle: String::new(),
        x: Axis {
            label: "N (rows and columns of every matrix)",
            ticks: Ticks::Size,
        },
        y: Axis {
            label: "GFLOP/s (median)",
            ticks: Ticks::Decimal,
        },
        series,
        marks: Vec::new(),
    })
}

fn sparse(device: &Device, scale: Scale, rounds: Rounds, output: &mut Output) -> Result<Chart, Stop> {
    let (n, shares) = scale.sparse();
    let dense = TYPES.map(|(_, dtype)| matmul_case(1, n, n, dtype));
    let dense = time(device, &dense, rounds, "spmv", output)?;
    let mut curves = [Vec::new(), Vec::new()];
    for &share in shares {
        let cases = TYPES.map(|(_, dtype)| spmv_case(n, share, dtype));
        let stats = time(device, &cases, rounds, "spmv", output)?;
        for (curve, stats) in curves.iter_mut().zip(stats) {
            curve.push((f64::from(share) / 1e6, 1e6 * stats.median));
        }
    }
    let mut series = Vec::new();
    for (colour, (((name, _), curve), dense)) in TYPES.iter().zip(curves).zip(dense).enumerate() {
        let level = 1e6 * dense.median;
        let even = match crossing(&curve, level) {
            Some(share) => format!("even at {}", Ticks::Percent.text(share)),
            None => "not even here".into(),
        };
        let ends = [curve.first(), curve.last()];
        let ends = ends.into_iter().flatten().map(|point| (point.0, level)).collect();
        series.push(Series {
            name: format!("CSR, {name} values ({even})"),
            points: curve,
            style: Style::Curve,
            colour,
        });
        series.push(Series {
            name: format!("dense {name} matrix"),
            points: ends,
            style: Style::Level,
            colour,
        });
    }
    Ok(Chart {
        title: format!("A {n} x {n} matrix times a vector, sparse and dense"),
        subtitle: String::new(),
        x: Axis {
            label: "density (stored elements)",
            ticks: Ticks::Percent,
        },
        y: Axis {
            label: "microseconds (median)",
            ticks: Ticks::Decimal,
        },
        series,
        marks: Vec::new(),
    })
}

/// The data caches that a core sees and what they are called, where the system tells (Linux).
fn caches() -> Vec<(f64, String)> {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let cache = |index: u32| {
        let folder = folder.join(format!("index{index}"));
        let read = |name| std::fs::read_to_string(folder.join(name)).ok();
        let (level, kind, size) = (read("level")?, read("type")?, read("size")?);
        let kibibytes: u32 = size.trim().strip_suffix('K')?.parse().ok()?;
        let size = f64::from(kibibytes) * 1024.0;
        let name = format!("L{} {}", level.trim(), ticks::bytes(size));
        (kind.trim() != "Instruction").then_some((size, name))
    };
    (0..8).filter_map(cache).collect()
}

fn elements(device: &Device, scale: Scale, rounds: Rounds, output: &mut Output) -> Result<Chart, Stop> {
    let mut curves = [Vec::new(), Vec::new()];
    for len in scale.runs() {
        let cases = TYPES.map(|(_, dtype)| relu_case(len, dtype));
        let stats = time(device, &cases, rounds, "elements", output)?;
        for ((curve, case), stats) in curves.iter_mut().zip(&cases).zip(stats) {
            curve.push((case.op.work().bytes, 1e9 * stats.median / len as f64));
        }
    }
    let mut series = Vec::new();
    let mut marks = Vec::new();
    for (colour, ((name, _), curve)) in TYPES.iter().zip(curves).enumerate() {
        for at in knees(&curve) {
            marks.push((at, format!("{name} knee")));
        }
        series.push(Series {
            name: format!("relu, {name}"),
            points: curve,
            style: Style::Curve,
            colour,
        });
    }
    if device.as_cpu().is_some() {
        let seen = |size: f64| {
            series
                .iter()
                .any(|s: &Series| s.points.iter().any(|p| p.0 >= size))
        };
        marks.extend(caches().into_iter().filter(|(size, _)| seen(*size)));
    }
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Both kinds usually outgrow the same cache, and at its size: one line then.
    marks.dedup_by(|later, first| {
        let same = later.0 / first.0 < 1.05;
        if same {
            first.1 = format!("{} = {}", first.1, later.1);
        }
        same
    });
    Ok(Chart {
        title: "Time per element against the working set".into(),
        subtitle: "knee: the last working set before the time per element rises for good".into(),
        x: Axis {
            label: "working set (bytes read and written)",
            ticks: Ticks::Bytes,
        },
        y: Axis {
            label: "nanoseconds per element (median)",
            ticks: Ticks::Decimal,
        },
        series,
        marks,
    })
}
