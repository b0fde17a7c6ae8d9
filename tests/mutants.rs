//! The tests tested: faults planted in every shader, each of which its kernel's quick cases must find.
//!
//! A mutant is a shader file with one piece of its text replaced (tests/mutants/ has them). It runs in a process of
//! its own, on the software adapter, over every case, variant and kind of device whose pipelines are made of that file,
//! and stops at the first result outside the contract. A mutant that does not compile, that no case runs, or that
//! passes all cases fails the test; so does one that is not done in time: a machine that does much else is not to be taken
//! for a fault that was found.
//!
//! `cargo test --release --test mutants` runs the first mutant of every file, `-- --ignored` the others,
//! `-- --include-ignored` all.

#![allow(clippy::print_stdout, reason = "the table, and what a mutant's process finds")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/hints.rs"]
mod hints;
#[path = "mutants/mod.rs"]
mod mutants;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::without;
use fewbit::check::{self, Effort, Using};
use fewbit::gpu::{Gpu, GpuOptions, ReadBack, StepBuffer, StepValues};
use fewbit::{Device, wgpu};
use libtest_mimic::{Completion, Failed, Trial};
use mutants::{EXEMPT, FEW, Mutant, Needs, Shader, gate, shaders};

/// The first argument of a mutant's process; the file, the mutant's number and the probe's answer follow.
const CHILD: &str = "one-mutant";
/// In the place of the number: the text as it is, which must pass.
const UNCHANGED: &str = "unchanged";
/// A mutant takes a second or two, those of products up to twenty, some ten times that on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(600);
/// The least mutants of a shader.
const LEAST: usize = 3;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, child, file, number, exact] = &words[..]
        && child == CHILD
    {
        let outcome = in_child(file, number, exact == "true");
        println!("{}", outcome.unwrap_or_else(|error| format!("broken: {error}")));
        return;
    }
    let table = Arc::new(Mutex::new(Vec::new()));
    let mut trials = vec![
        Trial::test("every shader has mutants, and every substitution matches", || {
            complete().map_err(Failed::from)
        }),
        unchanged("copy/word.wgsl"),
        unchanged(SET_STEP),
        unchanged(GATE),
    ];
    for shader in shaders() {
        for (number, mutant) in shader.mutants.iter().enumerate() {
            let table = table.clone();
            let trial = Trial::ignorable_test(format!("{} #{number}: {mutant}", shader.file), move || {
                trial(&shader, number, mutant, &table)
            });
            trials.push(trial.with_ignored_flag(number > 0));
        }
    }
    let conclusion = libtest_mimic::run(&common::arguments(), trials);
    print_table(&table);
    common::end(&conclusion)
}

/// A row of the table: shader, kind, what, how it was found, and after how many seconds.
struct Row {
    file: &'static str,
    number: usize,
    what: String,
    found: String,
    seconds: f64,
}

fn print_table(table: &Mutex<Vec<Row>>) {
    let mut rows = table.lock().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row| (row.file, row.number));
    for row in rows.iter() {
        println!(
            "{:<34} {:5.1} s  {}\n{:43}{}",
            row.file, row.seconds, row.what, "", row.found
        );
    }
    println!("{} mutants", rows.len());
}

fn trial(
    shader: &Shader,
    number: usize,
    mutant: &Mutant,
    table: &Mutex<Vec<Row>>,
) -> Result<Completion, Failed> {
    let adapter = match software() {
        Ok(adapter) => adapter,
        Err(reason) => return without(reason),
    };
    let units = || experimental().is_enabled();
    let subgroups = || adapter.features().contains(wgpu::Features::SUBGROUP);
    match shader.needs {
        Needs::Units if !units() => {
            let reason = "it needs matrix units: FEWBIT_EXPERIMENTAL=1 and a driver that has them, see scripts/full.sh";
            return Ok(Completion::ignored_with(reason));
        }
        Needs::Subgroups if !subgroups() => {
            return Ok(Completion::ignored_with("the software adapter has no subgroups"));
        }
        Needs::Units | Needs::Subgroups | Needs::Nothing => {}
    }
    if let Some(why) = mutant.unreached {
        return Ok(Completion::ignored_with(why));
    }
    let start = Instant::now();
    let outcome = child(shader.file, &number.to_string())?;
    let seconds = start.elapsed().as_secs_f64();
    let found = outcome
        .strip_prefix("found: ")
        .ok_or_else(|| format!("{} mutant, {outcome}", mutant.kind))?;
    let row = Row {
        file: shader.file,
        number,
        what: format!("{:<9} {mutant}", mutant.kind),
        found: found.chars().take(150).collect(),
        seconds,
    };
    table.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    Ok(Completion::Completed)
}

/// A test that the cases do not find faults where there are none.
fn unchanged(file: &'static str) -> Trial {
    Trial::ignorable_test(format!("{file} unchanged passes"), move || {
        if let Err(reason) = software() {
            return without(reason);
        }
        let outcome = child(file, UNCHANGED)?;
        match outcome.starts_with("survives ") {
            true => Ok(Completion::Completed),
            false => Err(outcome.into()),
        }
    })
}

/// The adapter that mutants run on. A mutant's loops may run on for ever, and its process is then killed: no real GPU
/// is treated like that.
fn software() -> Result<&'static wgpu::Adapter, &'static str> {
    let fits = |adapter: &&wgpu::Adapter| {
        let info = adapter.get_info();
        info.device_type == wgpu::DeviceType::Cpu && info.backend != wgpu::Backend::Gl
    };
    let found = common::adapters().iter().find(fits);
    found.ok_or("mutants run on a software adapter, and there is none (scripts/test.sh installs one)")
}

/// Matrix units are behind a feature that wgpu does not vouch for: `FEWBIT_EXPERIMENTAL=1` asks for them.
fn experimental() -> wgpu::ExperimentalFeatures {
    if std::env::var("FEWBIT_EXPERIMENTAL").is_ok_and(|value| value == "1") {
        // SAFETY: wgpu asks that whoever makes the token accepts this; who sets the variable does.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

/// Whether the float variant of FMAC is exact on the software adapter, found out once, without a fault. A mutant's
/// process takes it as given: the cases must find the fault, not the probe.
fn float_is_exact() -> Result<bool, String> {
    static EXACT: Mutex<Option<bool>> = Mutex::new(None);
    let mut exact = EXACT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(exact) = *exact {
        return Ok(exact);
    }
    let gpu =
        pollster::block_on(Gpu::open_adapter(software()?.clone())).map_err(|error| error.to_string())?;
    let found = fewbit::kernels::probe_float_fmac_blocking(&gpu).map_err(|error| error.to_string())?;
    *exact = Some(found);
    Ok(found)
}

/// Runs one mutant in a process of its own: what it printed last. Its threads end with it.
fn child(file: &str, number: &str) -> Result<String, String> {
    let exact = float_is_exact()?;
    // A program that was started by hand by another libc's loader is started by it again.
    let runner = std::env::var("FEWBIT_MUTANT_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let own = match words.clone().next() {
        Some(_) => std::env::args_os().next().map(Into::into),
        None => std::env::current_exe().ok(),
    };
    let own = own.ok_or("the path of this program is not known")?;
    let mut command = match words.next() {
        Some(first) => Command::new(first),
        None => Command::new(&own),
    };
    if !runner.is_empty() {
        command.args(words).arg(&own);
    }
    command.args([CHILD, file, number, if exact { "true" } else { "false" }]);
    // Several run at once: one thread each.
    command
        .env("LP_NUM_THREADS", "1")
        .env("GALLIVM_PERF", "nopt")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start it: {error}"))?;
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("it has no output".to_string());
    };
    let mut text = String::new();
    let (status, errors) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text)
        });
        let errors = scope.spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).map(|_| text)
        });
        let start = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(None) if start.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(10)),
                Ok(None) => {
                    let killed = child.kill().and_then(|()| child.wait());
                    break killed.map(|_| None);
                }
                Ok(Some(status)) => break Ok(Some(status)),
                Err(error) => break Err(error),
            }
        };
        if let Ok(Ok(read)) = reader.join() {
            text = read;
        }
        (
            status,
            errors.join().ok().and_then(Result::ok).unwrap_or_default(),
        )
    });
    match status.map_err(|error| format!("waiting for it: {error}"))? {
        None => Err(format!("not done after {LIMIT:?}")),
        Some(status) if !status.success() => {
            let last: Vec<_> = errors.lines().rev().take(3).collect();
            Err(format!("it ended with {status}: {last:?}"))
        }
        Some(_) => Ok(text.lines().last().unwrap_or("it said nothing").to_string()),
    }
}

/// What a mutant's process does: the fault into the shader's text, then every kind of device until a case fails. Where a
/// text was replaced no shader is trusted: a mutant's loop may have no end.
fn in_child(file: &str, number: &str, float_exact: bool) -> Result<String, String> {
    let all = shaders();
    let shader = all.iter().find(|shader| shader.file == file);
    let text = text_of(file)?;
    let text = match number.parse::<usize>() {
        Err(_) => text,
        Ok(number) => {
            let mutant = shader
                .and_then(|shader| shader.mutants.get(number))
                .ok_or("there is no such mutant")?;
            mutant.apply(&text)?
        }
    };
    check::replace_shader(file, &text).map_err(|error| error.to_string())?;
    let (mut runs, mut using) = (0, Using::new(file));
    for weak in [Weak::None, Weak::Caps, Weak::Bindings] {
        let gpu = weak.open(float_exact)?;
        let own = match file {
            SET_STEP => Some(set_step(&gpu)?),
            GATE => Some(gate(&gpu).map_err(|error| error.to_string())?),
            _ => None,
        };
        if let Some(found) = own {
            runs += 1;
            if let Some(found) = found {
                return Ok(format!("found: {weak:?}: {found}"));
            }
            continue;
        }
        let device = Device::from_gpu(gpu.clone());
        // Products last: they have the most to compile.
        let mut cases = check::cases(Effort::Quick);
        cases.sort_by_key(|case| case.op.name() == "matmul");
        for case in cases {
            for report in using.run(&device, &case).map_err(|error| error.to_string())? {
                runs += 1;
                if let Some(failure) = report.verdict.failure {
                    let (op, case, variant) = (case.op.name(), case.op.describe(), report.variant);
                    let failure = failure.to_string().replace('\n', " ");
                    return Ok(format!("found: {weak:?}::{op} {case} {variant}: {failure}"));
                }
            }
        }
        if matches!(weak, Weak::None)
            && HINTS.contains(&file)
            && let Some(found) = hints::lost(&gpu).map_err(|error| error.to_string())?
        {
            return Ok(format!("found: {weak:?}: {found}"));
        }
    }
    match runs {
        0 => Err("no case uses the file".to_string()),
        runs => Ok(format!("survives {runs} runs")),
    }
}

/// The kinds of devices that tests/kernels.rs has on the adapter.
#[derive(Clone, Copy, Debug)]
enum Weak {
    None,
    Bindings,
    Caps,
}

impl Weak {
    fn open(self, float_exact: bool) -> Result<Gpu, String> {
        let mut options = GpuOptions::default();
        match self {
            Self::None => options.experimental = experimental(),
            Self::Bindings => options.max_binding_bytes = Some(16 << 10),
            Self::Caps => options.core_only = true,
        }
        let gpu = pollster::block_on(Gpu::open_with(software()?.clone(), &options));
        let gpu = gpu.map_err(|error| error.to_string())?;
        match self {
            // As in tests/kernels.rs, the float variant of FMAC runs on the adapter as it is.
            Self::None => {
                gpu.remember("float fmac is exact", float_exact);
            }
            Self::Bindings => {}
            Self::Caps => {
                gpu.set_work_cap(3000);
                gpu.set_turn_cap(256);
                gpu.set_group_cap(3);
            }
        }
        Ok(gpu)
    }
}

/// Shaders that look whether a row is longer than was said; no case has one, because its result may be NaN or right.
const HINTS: [&str; 3] = ["spmm/common.wgsl", "spmv/scalar.wgsl", "spmv/vector.wgsl"];

/// The shaders that are no kernels'.
const SET_STEP: &str = "lib/set_step.wgsl";
const GATE: &str = "lib/gate.wgsl";

/// The case of the first: step values and scalars written inside a pass, over others.
fn set_step(gpu: &Gpu) -> Result<Option<String>, String> {
    const NAMES: [&str; 28] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
        "u", "v", "w", "x", "y", "z", "aa", "bb",
    ];
    let said = |error: fewbit::Error| error.to_string();
    for count in [0, 1, 2, 25, NAMES.len()] {
        let names = &NAMES[..count];
        let values = |seed: u64, number, first: f32| {
            let all = (0u16..).zip(names);
            all.fold(StepValues::new(seed, number), |values, (at, name)| {
                values.with(name, first + f32::from(at))
            })
        };
        let step = StepBuffer::new(gpu, names, &values(1, 2, 100.0)).map_err(said)?;
        let mut encoder = gpu.encoder("mutant");
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            step.update_in_pass(&mut pass, &values(0x0123_4567_89ab_cdef, 77, 1.5))
                .map_err(said)?;
        }
        let mut want = vec![0x89ab_cdef, 0x0123_4567, 77];
        want.extend((0u16..).take(count).map(|at| (1.5 + f32::from(at)).to_bits()));
        let back = ReadBack::record(gpu, &mut encoder, step.raw(), 0, want.len() as u64);
        let back = back.map_err(said)?;
        gpu.submit("mutant", encoder).map_err(said)?;
        let got = back.read_blocking().map_err(said)?;
        if got.words() != want {
            return Ok(Some(format!(
                "{count} scalars: {:x?}, expected {want:x?}",
                got.words()
            )));
        }
    }
    Ok(None)
}

fn text_of(file: &str) -> Result<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(file);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The files of shaders/ against the tables, and every substitution against its text.
fn complete() -> Result<(), String> {
    let mut files = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let names = |path: &Path| -> Result<Vec<String>, String> {
        let said = |error: std::io::Error| format!("{}: {error}", path.display());
        let entries: Vec<_> = fs::read_dir(path)
            .map_err(said)?
            .collect::<Result<_, _>>()
            .map_err(said)?;
        Ok(entries
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    };
    for folder in names(&root)? {
        let inside = names(&root.join(&folder))?;
        files.extend(inside.into_iter().map(|name| format!("{folder}/{name}")));
    }
    let all = shaders();
    let mut listed: BTreeSet<_> = EXEMPT.iter().map(|(file, _)| file.to_string()).collect();
    for shader in &all {
        if !listed.insert(shader.file.to_string()) {
            return Err(format!("{} is listed twice", shader.file));
        }
        let few = FEW.iter().any(|(file, _)| *file == shader.file);
        if shader.mutants.len() < LEAST && !few {
            return Err(format!("{} has fewer than {LEAST} mutants", shader.file));
        }
        let text = text_of(shader.file)?;
        for mutant in shader.mutants {
            mutant
                .apply(&text)
                .map_err(|error| format!("{}: {error}", shader.file))?;
        }
    }
    let (none, gone): (Vec<_>, Vec<_>) = files
        .symmetric_difference(&listed)
        .partition(|file| files.contains(*file));
    match none.is_empty() && gone.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "no mutants of {none:?}; mutants of files that are gone: {gone:?}"
        )),
    }
}
