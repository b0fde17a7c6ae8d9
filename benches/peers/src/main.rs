//! fewbit beside other libraries: the same shapes and values, each result checked, times taken turn by turn.
//!
//! `cargo run --release` here, or `scripts/peers.sh` for these and Python's libraries in one table.

#[cfg(feature = "burn")]
mod burn;
mod ours;
mod peers;
mod problem;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use fewbit::Device;
use fewbit::cpu::Cpu;
use serde_json::{Value, json};

use ours::Run;
use peers::{PEERS, Peer, Threads};
use problem::{Data, Effort, Problem};

/// Times fewbit and other libraries on the same shapes, turn by turn.
#[derive(Parser)]
struct Cli {
    /// Pairs of samples.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pairs: u32,
    /// Small shapes: to see whether it works.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Large shapes too: minutes, and gigabytes.
    #[arg(long)]
    full: bool,
    /// Write the results to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where fewbit runs.
    #[arg(long, value_enum, default_value_t = Where::Cpu)]
    device: Where,
    /// The CPU device's instructions: portable, avx2, avx512, avx512-bf16, neon [default: the best].
    #[arg(long)]
    level: Option<String>,
    /// Only cases whose name contains this text.
    #[arg(long)]
    case: Option<String>,
    /// Only this peer.
    #[arg(long)]
    peer: Option<String>,
    /// Print the names of the cases, and measure nothing.
    #[arg(long)]
    list: bool,
    /// Answer commands on standard input, for programs in other languages: `prepare DIR CASE` writes the
    /// operands and fewbit's result there, `sample` times it.
    #[arg(long)]
    serve: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Where {
    Cpu,
    Gpu,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

impl Cli {
    fn effort(&self) -> Effort {
        match (self.quick, self.full) {
            (true, _) => Effort::Quick,
            (_, true) => Effort::Full,
            _ => Effort::Default,
        }
    }

    /// Seconds that a sample takes at least.
    fn shortest(&self) -> f64 {
        if self.quick { 1e-3 } else { 2e-2 }
    }
}

fn run(cli: &Cli) -> Result<bool, String> {
    let mut cases = problem::cases(cli.effort());
    if let Some(text) = &cli.case {
        cases.retain(|case| case.name.contains(text.as_str()));
    }
    if cli.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(true);
    }
    if let Some(name) = &cli.peer
        && !PEERS.iter().any(|peer| peer.name == name)
    {
        return Err(format!("no peer is called {name:?} in this build"));
    }
    let device = match cli.device {
        Where::Cpu => match &cli.level {
            None => Device::cpu(),
            Some(name) => {
                let mut there = Cpu::available().into_iter();
                let cpu = there.find(|cpu| cpu.level().to_string() == *name);
                Device::from_cpu(cpu.ok_or_else(|| format!("this machine has no {name:?}"))?)
            }
        },
        Where::Gpu => Device::gpu_blocking().map_err(|error| error.to_string())?,
    };
    if cli.serve {
        return serve(cli, &device);
    }
    let (mut results, mut good) = (Vec::new(), true);
    for case in cases {
        let problem = Problem::new(case);
        let mut ours = ours::prepare(&device, &problem)?;
        ours.run(1)?;
        let truth = problem.truth(&ours.result()?);
        if truth > 1.0 {
            return Err(format!(
                "{}: fewbit is {truth:.1} times its bound from the truth",
                case.name
            ));
        }
        for peer in PEERS {
            if cli.peer.as_ref().is_some_and(|name| peer.name != name) {
                continue;
            }
            if peer.gpu != (cli.device == Where::Gpu) {
                continue;
            }
            let row = match peer.threads {
                Threads::Environment(most) if cli.peer.is_none() => in_children(cli, peer, case.name, most)?,
                _ => measure(cli, &device, &problem, &mut *ours, peer)?,
            };
            if let Some(row) = row {
                good &= row["verified"] == true;
                eprintln!("{}", line(&row));
                results.push(row);
            }
        }
    }
    let mut missing = Vec::new();
    if !cfg!(feature = "burn") {
        missing.push(json!({"peer": "burn-wgpu", "why": "built without --features burn"}));
    }
    let document = json!({
        "format": "fewbit peers",
        "fewbit": peers::version("fewbit"),
        "device": device.describe(),
        "threads": available(),
        "results": results,
        "missing": missing,
    });
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    match &cli.json {
        Some(path) if path != Path::new("-") => {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        _ => println!("{text}"),
    }
    Ok(good)
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn line(row: &Value) -> String {
    format!(
        "{}: {} {} ({} threads) takes {:.2} times fewbit's time{}",
        row["case"].as_str().unwrap_or_default(),
        row["peer"].as_str().unwrap_or_default(),
        row["version"].as_str().unwrap_or_default(),
        row["threads"],
        row["ratio"].as_f64().unwrap_or_default(),
        if row["verified"] == true {
            ""
        } else {
            ": ITS RESULT IS ANOTHER"
        },
    )
}

/// Seconds of one run.
fn sample(run: &mut dyn Run, repeats: u32) -> Result<f64, String> {
    let start = Instant::now();
    run.run(repeats)?;
    Ok(start.elapsed().as_secs_f64() / f64::from(repeats))
}

/// How many runs make a sample long enough.
fn repeats(run: &mut dyn Run, shortest: f64) -> Result<u32, String> {
    // The first touches memory and starts threads.
    run.run(1)?;
    let mut repeats = 1u32;
    loop {
        let total = sample(run, repeats)? * f64::from(repeats);
        if total >= shortest || repeats >= 1 << 20 {
            return Ok(repeats);
        }
        let factor = (1.2 * shortest / total.max(1e-7)).clamp(2.0, 64.0);
        repeats = (f64::from(repeats) * factor) as u32;
    }
}

fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| values[((values.len() - 1) as f64 * share).round() as usize])
}

/// A peer at its best number of threads, paired with fewbit.
fn measure(
    cli: &Cli,
    device: &Device,
    problem: &Problem,
    ours: &mut dyn Run,
    peer: &Peer,
) -> Result<Option<Value>, String> {
    let counts: Vec<usize> = match peer.threads {
        Threads::Any => (1..=available()).collect(),
        Threads::One => vec![1],
        Threads::Environment(_) => vec![
            std::env::var("MATMUL_NUM_THREADS")
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(1),
        ],
    };
    let mut best: Option<(f64, usize, u32, Box<dyn Run + '_>)> = None;
    for threads in counts {
        let Some(mut run) = (peer.prepare)(problem, threads)? else {
            return Ok(None);
        };
        let repeats = repeats(&mut *run, cli.shortest())?;
        let tries: Result<Vec<_>, _> = (0..5).map(|_| sample(&mut *run, repeats)).collect();
        let [_, median, _] = quartiles(&tries?);
        if best.as_ref().is_none_or(|(least, ..)| median < *least) {
            best = Some((median, threads, repeats, run));
        }
    }
    let Some((_, threads, their_repeats, mut theirs)) = best else {
        return Ok(None);
    };
    let error = problem.worst(&ours.result()?, &theirs.result()?);
    let our_repeats = repeats(ours, cli.shortest())?;
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..cli.pairs {
        let (one, other) = (sample(ours, our_repeats)?, sample(&mut *theirs, their_repeats)?);
        a.push(one);
        b.push(other);
        ratios.push(other / one);
    }
    let ([a1, a, a3], [b1, b, b3]) = (quartiles(&a), quartiles(&b));
    let [low, ratio, high] = quartiles(&ratios);
    Ok(Some(json!({
        "case": problem.case.name,
        "flops": problem.flops(),
        "peer": peer.name,
        "version": peers::version(peer.package),
        "device": device.describe(),
        "peer_type": "f32",
        "threads": threads,
        "pairs": cli.pairs,
        "fewbit_seconds": a,
        "fewbit_spread": (a3 - a1) / 2.0,
        "peer_seconds": b,
        "peer_spread": (b3 - b1) / 2.0,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "error_of_bound": error,
        "verified": error <= 1.0,
    })))
}

/// A peer that reads its number of threads from the environment: a process for each, and the best of them.
fn in_children(cli: &Cli, peer: &Peer, case: &str, most: usize) -> Result<Option<Value>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut best: Option<Value> = None;
    for threads in 1..=available().min(most) {
        let mut command = Command::new(&program);
        command
            .args(["--peer", peer.name, "--case", case, "--json", "-"])
            .args(["--pairs", &cli.pairs.to_string()])
            .args(cli.quick.then_some("--quick"))
            .args(cli.full.then_some("--full"))
            .env("MATMUL_NUM_THREADS", threads.to_string())
            .stderr(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        let document: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{} on {threads} threads: {error}", peer.name))?;
        for row in document["results"].as_array().into_iter().flatten() {
            let seconds = |row: &Value| row["peer_seconds"].as_f64().unwrap_or(f64::INFINITY);
            // A name may be part of another case's name.
            let same = row["case"] == case;
            if same && best.as_ref().is_none_or(|best| seconds(row) < seconds(best)) {
                best = Some(row.clone());
            }
        }
    }
    Ok(best)
}

/// Answers one line per command until the end of the input.
fn serve(cli: &Cli, device: &Device) -> Result<bool, String> {
    let mut ready: Option<(Box<dyn Run>, u32)> = None;
    for command in std::io::stdin().lock().lines() {
        let command = command.map_err(|error| error.to_string())?;
        let answer = match command.split_once(' ') {
            Some(("prepare", rest)) => {
                let (folder, name) = rest.split_once(' ').ok_or("prepare DIR CASE")?;
                let case = problem::find(name).ok_or_else(|| format!("no case is called {name:?}"))?;
                let problem = Problem::new(case);
                let mut run = ours::prepare(device, &problem)?;
                let repeats = repeats(&mut *run, cli.shortest())?;
                let result = run.result()?;
                let truth = problem.truth(&result);
                if truth > 1.0 {
                    return Err(format!(
                        "{name}: fewbit is {truth:.1} times its bound from the truth"
                    ));
                }
                write_operands(Path::new(folder), &problem, &result)?;
                ready = Some((run, repeats));
                json!({
                    "case": name,
                    "bf16": case.bf16,
                    "flops": problem.flops(),
                    "shape": match case.shape {
                        problem::Shape::Matmul { m, n, k } => json!({"m": m, "n": n, "k": k}),
                        problem::Shape::Sparse { rows, cols, n, .. } => json!({"rows": rows, "cols": cols, "n": n}),
                    },
                    "fewbit": peers::version("fewbit"),
                    "device": device.describe(),
                })
            }
            None if command == "sample" => {
                let (run, repeats) = ready.as_mut().ok_or("nothing is prepared")?;
                json!(sample(&mut **run, *repeats)?)
            }
            _ => return Err(format!("there is no command {command:?}")),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")
            .and_then(|()| out.flush())
            .map_err(|error| error.to_string())?;
    }
    Ok(true)
}

/// Each operand in a file of little-endian words.
fn write_operands(folder: &Path, problem: &Problem, result: &[f32]) -> Result<(), String> {
    let write = |name: &str, words: &mut dyn Iterator<Item = u32>| {
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let path = folder.join(format!("{name}.bin"));
        std::fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    let bits = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
            .into_iter()
    };
    match &problem.data {
        Data::Dense { a, b } => {
            write("a", &mut bits(a))?;
            write("b", &mut bits(b))?;
        }
        Data::Sparse {
            row_ptr,
            col_idx,
            values,
            x,
        } => {
            write("row_ptr", &mut row_ptr.iter().copied())?;
            write("col_idx", &mut col_idx.iter().copied())?;
            write("values", &mut bits(values))?;
            write("x", &mut bits(x))?;
        }
    }
    write(
        "bound",
        &mut problem.bounds().map(|bound| (bound as f32).to_bits()),
    )?;
    write("size", &mut problem.sizes().map(|size| (size as f32).to_bits()))?;
    write("result", &mut bits(result))
}
