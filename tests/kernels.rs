//! Every kernel on every device present, against its reference. A device that is missing shows as an ignored
//! test with the reason; with `FEWBIT_REQUIRE_GPU=1` a missing GPU fails instead. With `FEWBIT_CHECKED_SHADERS=1` GPUs make
//! their pipelines with all of wgpu's runtime checks, those of trusted shaders too.

#![allow(clippy::print_stderr, reason = "a file that cannot be written is told")]

mod common;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use common::missing;
use fewbit::check::{self, Case, Effort, Expected};
use fewbit::cpu::{Cpu, Level};
use fewbit::gpu::{Gpu, GpuOptions, Offsets};
use fewbit::op::Class;
use fewbit::{Device, wgpu};
use libtest_mimic::{Completion, Failed, Trial};

fn main() {
    if let Some(folder) = std::env::var_os("FEWBIT_SHADERS") {
        match check::replace_shaders(&folder) {
            Ok(changed) => eprintln!("shaders of {}: {changed:?} changed", folder.display()),
            Err(error) => {
                eprintln!("FEWBIT_SHADERS: {error}");
                std::process::exit(2);
            }
        }
    }
    common::compile_quickly();
    let arguments = common::arguments();
    let mut places = Vec::new();
    let mut trials = Vec::new();
    for cpu in Cpu::available() {
        places.push(Place::new(
            cpu.to_string(),
            vec![Device::from_cpu(cpu)],
            Effort::Full,
        ));
    }
    for level in Level::ALL {
        if !Cpu::levels_available().contains(&level) {
            let name = format!("{} (missing)", level.name());
            trials.push(Trial::ignorable_test(name, || {
                Ok(Completion::ignored_with(
                    "this processor has no such instructions",
                ))
            }));
        }
    }
    for adapter in common::adapters() {
        on_adapter(adapter, &mut places, &mut trials);
    }
    if let Some(reason) = common::no_gpu() {
        trials.push(missing("gpu", reason));
    }
    if experimental().is_enabled() {
        let units = places.iter().any(|place| {
            let gpu = place.device().as_gpu();
            gpu.is_some_and(serves_on_matrix_units)
        });
        trials.push(Trial::test("matmul runs on matrix units", move || match units {
            true => Ok(()),
            false => {
                Err("FEWBIT_EXPERIMENTAL=1, but no adapter has a matrix unit that kernels can use".into())
            }
        }));
    }
    let digests = Arc::new(Digests::read());
    let mut titles = Titles::default();
    trials.extend(of_cases(&places, &digests, &mut titles));
    let lost = digests.lost(&titles);
    trials.push(Trial::test(
        "no case of tests/digests.txt is lost",
        move || match lost.len() {
            0 => Ok(()),
            count => Err(format!("{count} cases are gone: {lost:?}").into()),
        },
    ));
    let conclusion = libtest_mimic::run(&arguments, trials);
    digests.write();
    let unlisted = unlisted(&places);
    if !unlisted.is_empty() {
        eprintln!("permutations that plans took and kernels::ALL does not list: {unlisted:#?}");
        std::process::exit(101);
    }
    common::end(&conclusion)
}

/// An adapter as it is, and made weaker; what does not open is a trial.
fn on_adapter(adapter: &wgpu::Adapter, places: &mut Vec<Place>, trials: &mut Vec<Trial>) {
    let mut options = GpuOptions::default();
    options.experimental = experimental();
    options.native_bf16 = true;
    options.checked_shaders = checked_shaders();
    let info = adapter.get_info();
    let name = format!("{:?}", info.backend).to_lowercase();
    // One adapter per back end is enough; the second of two is the same silicon or the same software.
    if places.iter().any(|place| place.name == name) {
        return;
    }
    let gl = info.backend == wgpu::Backend::Gl;
    match open(adapter, &options, if gl { 1 } else { common::LANES }) {
        Ok(gpus) => {
            for gpu in &gpus {
                // Without a probe the float variant of FMAC would not run.
                let _ = fewbit::kernels::probe_float_fmac_blocking(gpu);
            }
            // The OpenGL path of a software adapter is a second back end, slow: small shapes only.
            let effort = if gl { Effort::Quick } else { Effort::Full };
            places.push(Place::on(name.clone(), gpus, effort));
        }
        Err(error) => trials.push(missing(&name, &error.to_string())),
    }
    if gl {
        return;
    }
    // Operands past one binding, without gigabytes of them.
    let small = format!("{name}-small-bindings");
    let mut options = GpuOptions::default();
    options.max_binding_bytes = Some(SMALL_BINDING);
    options.checked_shaders = checked_shaders();
    match open(adapter, &options, common::LANES) {
        Ok(gpus) => {
            let flags = format!(" --max-binding {SMALL_BINDING}");
            places.push(Place::on(small, gpus, Effort::Quick).opened_with(flags));
        }
        Err(error) => trials.push(missing(&small, &error.to_string())),
    }
    // The weakest conforming device, and work cut into many small dispatches: so little of it, and so few turns
    // of an invocation's loops.
    let name = format!("{name}-core-tiny-cap");
    let mut core = GpuOptions::default();
    core.core_only = true;
    core.checked_shaders = checked_shaders();
    match open(adapter, &core, common::LANES) {
        Ok(gpus) => {
            for gpu in &gpus {
                gpu.set_work_cap(3000);
                gpu.set_turn_cap(256);
                gpu.set_group_cap(3);
            }
            let flags = " --core --work-cap 3000 --turn-cap 256 --group-cap 3".to_string();
            places.push(Place::on(name, gpus, Effort::Quick).opened_with(flags));
        }
        Err(error) => trials.push(missing(&name, &error.to_string())),
    }
}

/// So many devices of one adapter.
fn open(adapter: &wgpu::Adapter, options: &GpuOptions, lanes: usize) -> fewbit::Result<Vec<Gpu>> {
    (0..lanes)
        .map(|_| pollster::block_on(Gpu::open_with(adapter.clone(), options)))
        .collect()
}

/// The trials of every case at every place. Those of one case stand side by side: they share what the reference made, and
/// drop it together.
fn of_cases(places: &[Place], digests: &Arc<Digests>, titles: &mut Titles) -> Vec<Trial> {
    let mut trials = Vec::new();
    // Places of the same pipelines come some cases later: what the driver kept of them need not be compiled again.
    let mut later = VecDeque::new();
    for case in check::cases(Effort::Full) {
        let title = titles.next(&case);
        let case = Arc::new((case, title, OnceLock::new()));
        let here = places.iter().filter(|place| place.effort >= case.0.effort);
        let here = here.map(|place| (place.weak(), trial(place.clone(), case.clone(), digests.clone())));
        let (weak, strong): (Vec<_>, Vec<_>) = here.partition(|(weak, _)| *weak);
        trials.extend(strong.into_iter().map(|(_, trial)| trial));
        later.push_back(weak);
        if later.len() > LATER {
            trials.extend(later.pop_front().into_iter().flatten().map(|(_, trial)| trial));
        }
    }
    trials.extend(later.into_iter().flatten().map(|(_, trial)| trial));
    trials
}

/// What plans have compiled here and no row of `kernels::ALL` lists: nothing else would have checked its bindings.
fn unlisted(places: &[Place]) -> Vec<String> {
    let listed: HashSet<_> = fewbit::kernels::permutations().into_iter().collect();
    let devices = places.iter().flat_map(|place| &place.lanes);
    let gpus = devices.filter_map(Device::as_gpu);
    let used = gpus.flat_map(Gpu::permutations);
    let unlisted = used.filter(|used| !listed.contains(used));
    unlisted.map(|permutation| permutation.label()).collect()
}

/// Numbers the cases of one description, which differ in their data alone.
#[derive(Default)]
struct Titles(HashMap<String, usize>);

impl Titles {
    fn next(&mut self, case: &Case) -> String {
        let title = format!("{}::{}", case.op.name(), case.op.describe());
        let number = self.0.entry(title.clone()).or_default();
        *number += 1;
        match *number {
            1 => title,
            number => format!("{title} #{number}"),
        }
    }
}

/// What the reference makes of every case, and the CPU device of those in the bounded class, by instruction set: lines
/// of digest, place and title. Results stay what they are unless CHANGELOG.md says otherwise; cases that are not listed
/// are new. `FEWBIT_DIGESTS=FILE` writes the digests of a run to a file of the same form, and compares none.
struct Digests {
    known: HashMap<String, u64>,
    seen: Mutex<BTreeMap<String, u64>>,
}

const REFERENCE: &str = "reference";

impl Digests {
    fn read() -> Self {
        let line = |line: &str| {
            let (digest, title) = line.split_once(' ')?;
            Some((title.to_string(), u64::from_str_radix(digest, 16).ok()?))
        };
        let text = match std::env::var_os("FEWBIT_DIGESTS") {
            Some(_) => "",
            None => include_str!("digests.txt"),
        };
        Self {
            known: text.lines().filter_map(line).collect(),
            seen: Mutex::default(),
        }
    }

    fn check(&self, place: &str, title: &str, digest: u64) -> Result<(), Failed> {
        let key = format!("{place}::{title}");
        let known = self.known.get(&key).copied();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(key, digest);
        match known {
            Some(known) if known != digest => Err(format!(
                "{place}: other bits than before: {digest:016x}, in tests/digests.txt {known:016x}"
            )
            .into()),
            _ => Ok(()),
        }
    }

    /// Titles of the reference's lines that no case has.
    fn lost(&self, titles: &Titles) -> Vec<String> {
        let has = |title: &str| match title
            .rsplit_once(" #")
            .map(|(title, number)| (title, number.parse()))
        {
            Some((title, Ok(number))) => titles.0.get(title).is_some_and(|count| *count >= number),
            _ => titles.0.contains_key(title),
        };
        let titles = self
            .known
            .keys()
            .filter_map(|key| key.strip_prefix("reference::"));
        titles.filter(|title| !has(title)).map(str::to_string).collect()
    }

    fn write(&self) {
        let Some(path) = std::env::var_os("FEWBIT_DIGESTS") else {
            return;
        };
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: String = seen
            .iter()
            .map(|(key, digest)| format!("{digest:016x} {key}\n"))
            .collect();
        if let Err(error) = std::fs::write(&path, lines) {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// Bytes in one binding of the device that has small ones: eight rows of every quick case fit, and guard words.
const SMALL_BINDING: u64 = (16 << 10) + 256;

/// Matrix units are behind a feature that wgpu does not vouch for: `FEWBIT_EXPERIMENTAL=1` asks for them.
fn experimental() -> wgpu::ExperimentalFeatures {
    if std::env::var("FEWBIT_EXPERIMENTAL").is_ok_and(|value| value == "1") {
        // SAFETY: wgpu asks that whoever makes the token accepts this; who sets the variable does.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

/// Whether all runtime checks are asked for.
fn checked_shaders() -> bool {
    std::env::var("FEWBIT_CHECKED_SHADERS").is_ok_and(|value| value == "1")
}

fn serves_on_matrix_units(gpu: &Gpu) -> bool {
    let bf16 = fewbit::tensor::DType::Bf16;
    let op = fewbit::kernels::Matmul::new(64, 64, 64).types(bf16, bf16, bf16);
    fewbit::op::Op::variants(&op, gpu, Offsets::Vec4).contains(&"coop")
}

/// A device under test.
#[derive(Clone)]
struct Place {
    name: String,
    /// The same device, opened for each of the threads that use it side by side.
    lanes: Vec<Device>,
    effort: Effort,
    /// wgpu's OpenGL back end waits for its one context a second at most, then panics: one test at a time.
    turn: Option<Arc<Mutex<()>>>,
    /// What `fewbit check` must be told to open it like this.
    flags: String,
}

impl Place {
    fn new(name: String, lanes: Vec<Device>, effort: Effort) -> Self {
        let mut gpus = lanes.iter().filter_map(Device::as_gpu);
        let alone = gpus.any(|gpu| gpu.info().backend == wgpu::Backend::Gl);
        Self {
            name,
            lanes,
            effort,
            turn: alone.then(Arc::default),
            flags: String::new(),
        }
    }

    fn on(name: String, gpus: Vec<Gpu>, effort: Effort) -> Self {
        Self::new(name, gpus.into_iter().map(Device::from_gpu).collect(), effort)
    }

    /// This thread's device.
    fn device(&self) -> &Device {
        &self.lanes[common::lane() % self.lanes.len()]
    }

    fn opened_with(self, flags: String) -> Self {
        Self { flags, ..self }
    }

    /// Whether it is an adapter that another place has already, made weaker.
    fn weak(&self) -> bool {
        !self.flags.is_empty()
    }

    /// Why a case whose operands take these bytes, and so many with its codes decoded, cannot show more here than where
    /// the adapter is as it is.
    fn proves_nothing(&self, title: &str, bytes: u64, decoded: u64) -> Option<&'static str> {
        if self.name.ends_with("tiny-cap") && bytes > TINY {
            return Some("more than its caps on work, turns and groups let any variant do");
        }
        // Sums apart, parts of rows, maxima and decoded codes are no more than the operands of so small a case.
        if self.name.ends_with("small-bindings") && decoded <= SMALL_BINDING / 2 {
            return Some("all of it fits one small binding: planned as without them");
        }
        // Data of special kinds, and of what matrix units cannot hold, which these have not.
        if self.weak() && title.contains(" #") {
            return Some("planned like the first case of its description, which differs in data alone");
        }
        None
    }
}

impl Place {
    /// Why scripts/full.sh alone runs a case here (`--ignored`). A software adapter compiles for a processor: half a second
    /// for each pipeline of a product, and OpenGL's context one after the other. With all of them that would be most of
    /// the time that all tests take. A real GPU runs them all.
    fn leaves_to_full(&self, title: &str) -> Option<&'static str> {
        let info = self.device().as_gpu()?.info();
        if info.device_type != wgpu::DeviceType::Cpu {
            return None;
        }
        let opengl = info.backend == wgpu::Backend::Gl;
        let kernel = title.split("::").next();
        let (every, why) = match kernel {
            Some("matmul") if opengl => (32, "a part of the products on OpenGL in software"),
            Some("matmul") => (16, "a sixteenth of the products on software"),
            // Each choice of types and roundings is a pipeline.
            Some("fmac_matmul" | "spmm" | "sgd" | "adamw") if opengl => {
                (8, "an eighth on OpenGL in software")
            }
            Some("fmac_matmul" | "spmm" | "sgd" | "adamw") => (3, "a third on software"),
            _ if opengl => (4, "a quarter on OpenGL in software"),
            _ => return None,
        };
        // By its title, so that all places leave out the same and find compiled what another has run.
        let sum: usize = title.bytes().map(usize::from).sum();
        (!sum.is_multiple_of(every)).then_some(why)
    }
}

/// How many cases those places are behind.
const LATER: usize = 3;

type Shared = Arc<(Case, String, OnceLock<fewbit::Result<Expected>>)>;

/// Bytes of operands past which a case is none for the device of tiny caps, where no variant of some kernels goes so far.
const TINY: u64 = 4 << 20;

fn trial(place: Place, shared: Shared, digests: Arc<Digests>) -> Trial {
    let title = format!("{}::{}", place.name, shared.1);
    // Of the codes of a product at most eight times their bytes come, in scratch memory.
    let decoded = |name: &str| match name {
        "a_scales" | "b_scales" => 8,
        _ => 1,
    };
    let operands = shared.0.op.operands();
    let most = operands.iter().map(|operand| decoded(operand.name)).max();
    let bytes: u64 = operands.iter().map(|operand| 4 * operand.words).sum();
    if let Some(why) = place.proves_nothing(&shared.1, bytes, bytes * most.unwrap_or(1)) {
        return Trial::test(format!("{title} ({why})"), || Ok(())).with_ignored_flag(true);
    }
    let rest = place.leaves_to_full(&shared.1);
    let shown = match rest {
        Some(why) => format!("{title} ({why} here; scripts/full.sh runs them all)"),
        None => title,
    };
    let trial = Trial::test(shown, move || {
        let (case, title, expected) = &*shared;
        let expected = expected
            .get_or_init(|| Expected::new(case))
            .as_ref()
            .map_err(ToString::to_string)?;
        digests.check(REFERENCE, title, expected.digest(case))?;
        let _turn = place
            .turn
            .as_ref()
            .map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        for report in
            check::run_expecting(place.device(), case, expected).map_err(|error| error.to_string())?
        {
            if let Some(failure) = report.verdict.failure {
                let repeat = check::repeat_command(place.device(), case, &report.variant);
                let flags = &place.flags;
                return Err(format!("{}: {failure}\nrepeat: {repeat}{flags}", report.variant).into());
            }
            if place.device().as_cpu().is_some() && case.op.class() == Class::Bounded {
                digests.check(&place.name, title, report.digest)?;
            }
        }
        Ok(())
    });
    trial.with_ignored_flag(rest.is_some())
}
