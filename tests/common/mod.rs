//! What tests that need a GPU share. Where there is none such a test shows as ignored, with the reason; with
//! `FEWBIT_REQUIRE_GPU=1` it fails. What is required is an adapter of Vulkan, Metal or Direct3D: wgpu's OpenGL back end
//! has one context for the whole process and panics when two tests want it, so that tests which run side by side do
//! without it. A test that needs OpenGL beside the others is ignored where it is missing, required or not.

#![allow(dead_code, reason = "every test takes its part of it")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use fewbit::gpu::Gpu;
use fewbit::wgpu;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Every adapter present, best first; looked for once, by the first test that asks.
pub(crate) fn adapters() -> &'static [wgpu::Adapter] {
    static ADAPTERS: LazyLock<Vec<wgpu::Adapter>> =
        LazyLock::new(|| pollster::block_on(fewbit::gpu::adapters()));
    &ADAPTERS
}

/// The best adapter of OpenGL, or of the others, that can be opened: some servers' OpenGL has no compute shaders.
fn first(opengl: bool) -> Option<&'static wgpu::Adapter> {
    static FIRST: [OnceLock<Option<&'static wgpu::Adapter>>; 2] = [const { OnceLock::new() }; 2];
    let of = |adapter: &wgpu::Adapter| adapter.get_info().backend == wgpu::Backend::Gl;
    let opens = |adapter: &wgpu::Adapter| {
        let opened = pollster::block_on(Gpu::open_adapter(adapter.clone()));
        if let Ok(gpu) = &opened {
            keep(gpu.device());
        }
        opened.is_ok()
    };
    let found = || {
        let mut all = adapters().iter();
        all.find(|adapter| of(adapter) == opengl && (!opengl || opens(adapter)))
    };
    *FIRST[usize::from(opengl)].get_or_init(found)
}

/// The best adapter that is not OpenGL's. For tests that [`Suite::gpu`] runs: there is one.
pub(crate) fn adapter() -> wgpu::Adapter {
    first(false)
        .cloned()
        .unwrap_or_else(|| missing_adapter("OpenGL's"))
}

/// The best adapter of OpenGL. For tests that [`Suite::gpu_and_opengl`] runs: there is one.
pub(crate) fn opengl_adapter() -> wgpu::Adapter {
    first(true).cloned().unwrap_or_else(|| missing_adapter("others"))
}

fn missing_adapter(but: &str) -> ! {
    panic!("no adapter but {but}, if any")
}

/// A device of the test's own, to change or destroy.
pub(crate) fn open() -> Gpu {
    open_adapter(adapter())
}

pub(crate) fn open_adapter(adapter: wgpu::Adapter) -> Gpu {
    let gpu = pollster::block_on(Gpu::open_adapter(adapter)).unwrap_or_else(|error| panic!("{error}"));
    keep(gpu.device());
    gpu
}

/// Keeps a device to the end of the process. A driver (NVIDIA's 580) comes to a standstill where one thread destroys a
/// device while others submit to theirs, as tests that run side by side would.
pub(crate) fn keep(device: &wgpu::Device) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push(device.clone());
}

static KEPT: Mutex<Vec<wgpu::Device>> = Mutex::new(Vec::new());

/// The arguments of a test whose trials wait for a GPU: one more of them at a time than there are processors, since
/// drivers work in threads of their own and OpenGL's trials wait for each other.
pub(crate) fn arguments() -> Arguments {
    let mut arguments = Arguments::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(cores + 1);
    arguments
}

/// Has Mesa's software drivers compile without LLVM's optimizer, unless the caller says otherwise: where most pipelines run
/// once, over little, that costs more than it saves. For the first line of a `main`.
pub(crate) fn compile_quickly() {
    const NAME: &str = "GALLIVM_PERF";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: no thread has been started, so that none reads the environment.
        unsafe { std::env::set_var(NAME, "nopt") };
    }
}

/// Ends the process after a run, without the devices, whose driver's threads may outlive what they use at its exit, and
/// without a driver's exit handlers: Mesa's free what belongs to threads of tests that are still ending, which is a double
/// free once in some hundred runs.
pub(crate) fn end(conclusion: &libtest_mimic::Conclusion) -> ! {
    let kept = std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner));
    drop(kept);
    let code = if conclusion.has_failed() { 101 } else { 0 };
    let _ = std::io::stdout().flush();
    #[cfg(unix)]
    // SAFETY: it ends the process, and nothing is left to run.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}

/// A GPU behind a device of the high door.
pub(crate) fn high() -> fewbit::Device {
    let device = fewbit::Device::gpu_blocking().unwrap_or_else(|error| panic!("{error}"));
    if let Some(gpu) = device.as_gpu() {
        keep(gpu.device());
    }
    device
}

/// A GPU opened with these options.
pub(crate) fn open_with(options: &fewbit::gpu::GpuOptions) -> Gpu {
    let gpu = Gpu::open_blocking(options).unwrap_or_else(|error| panic!("{error}"));
    keep(gpu.device());
    gpu
}

/// The device that all tests share which leave it as they found it; opened once.
pub(crate) fn gpu() -> Gpu {
    static GPUS: [LazyLock<Gpu>; LANES] = [const { LazyLock::new(open) }; LANES];
    GPUS[lane()].clone()
}

/// Devices of one adapter that tests which run side by side share: a driver may compile pipelines on the one thread of a
/// device's queue.
pub(crate) const LANES: usize = 2;

/// Which of them this thread takes, always the same.
pub(crate) fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LANE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
    }
    LANE.with(|lane| *lane)
}

/// A device and queue as a foreign program would own them: opened without fewbit's callbacks.
pub(crate) fn foreign() -> (wgpu::Device, wgpu::Queue) {
    let descriptor = wgpu::DeviceDescriptor::default();
    let (device, queue) =
        pollster::block_on(adapter().request_device(&descriptor)).unwrap_or_else(|error| panic!("{error}"));
    keep(&device);
    (device, queue)
}

fn required() -> bool {
    std::env::var("FEWBIT_REQUIRE_GPU").is_ok_and(|value| value == "1")
}

/// What becomes of a test whose GPU is missing.
pub(crate) fn without(reason: &str) -> Result<Completion, Failed> {
    match required() {
        true => Err(format!("{reason}; FEWBIT_REQUIRE_GPU=1 makes that a failure").into()),
        false => Ok(Completion::ignored_with(reason)),
    }
}

/// A test in the place of those on an adapter that is not there or does not open.
pub(crate) fn missing(name: &str, reason: &str) -> Trial {
    let reason = format!("{name} cannot be opened: {reason}");
    Trial::ignorable_test(format!("{name} (missing)"), move || without(&reason))
}

/// Why there is no GPU to test on, if there is none.
pub(crate) fn no_gpu() -> Option<&'static str> {
    match (first(false), first(true)) {
        (Some(_), _) => None,
        (None, Some(_)) => Some("no adapter of Vulkan, Metal or Direct3D, only of OpenGL"),
        (None, None) => Some("no GPU adapter, not even a software one; scripts/test.sh installs one"),
    }
}

/// A test on the GPU; ignored, or failed, where there is none.
pub(crate) fn on_gpu<E: Into<Failed>>(
    name: impl Into<String>,
    test: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match no_gpu() {
        Some(reason) => without(reason),
        None => test().map(|()| Completion::Completed).map_err(Into::into),
    })
}

/// The tests of one program, each a function that fails by panicking.
#[derive(Default)]
pub(crate) struct Suite(Vec<Trial>);

impl Suite {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A test that needs no GPU.
    pub(crate) fn cpu(mut self, name: &str, test: impl FnOnce() + Send + 'static) -> Self {
        self.0.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
        self
    }

    /// A test of what a GPU does.
    pub(crate) fn gpu(mut self, name: &str, test: impl FnOnce() + Send + 'static) -> Self {
        self.0.push(on_gpu(name, move || {
            test();
            Ok::<_, Failed>(())
        }));
        self
    }

    /// A test of an adapter of OpenGL beside one that is not.
    pub(crate) fn gpu_and_opengl(mut self, name: &str, test: impl FnOnce() + Send + 'static) -> Self {
        self.0.push(Trial::ignorable_test(name, move || {
            if let Some(reason) = no_gpu() {
                return without(reason);
            }
            if first(true).is_none() {
                return Ok(Completion::ignored_with(
                    "no OpenGL adapter; FEWBIT_REQUIRE_GPU=1 does not ask for one",
                ));
            }
            test();
            Ok(Completion::Completed)
        }));
        self
    }

    /// Runs them as the arguments say, and ends the process.
    pub(crate) fn run(self) -> ! {
        end(&libtest_mimic::run(&arguments(), self.0))
    }
}
