//! Every trio on every device present, against its reference. A device that is missing shows as an ignored
//! test with the reason; with `FEWBIT_REQUIRE_GPU=1` a missing GPU fails instead.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fewbit::check::{self, Case, Effort, Expected};
use fewbit::cpu::Cpu;
use fewbit::gpu::{Gpu, GpuOptions};
use fewbit::{Device, wgpu};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut places = Vec::new();
    let mut trials = Vec::new();
    for cpu in Cpu::available() {
        places.push(Place::new(cpu.to_string(), Device::from_cpu(cpu), Effort::Full));
    }
    let options = GpuOptions {
        experimental: experimental(),
        ..GpuOptions::default()
    };
    let mut vulkan = false;
    for adapter in pollster::block_on(fewbit::gpu::adapters()) {
        let info = adapter.get_info();
        let name = format!("{:?}", info.backend).to_lowercase();
        // One adapter per back end is enough; the second of two is the same silicon or the same software.
        if places.iter().any(|place| place.name == name) {
            continue;
        }
        let gl = info.backend == wgpu::Backend::Gl;
        vulkan |= !gl;
        match pollster::block_on(Gpu::open_with(adapter.clone(), &options)) {
            Ok(gpu) => {
                // Without a probe the float variant of FMAC would not run.
                let _ = fewbit::ops::probe_float_fmac_blocking(&gpu);
                // The OpenGL path of a software adapter is a second back end, slow: small shapes only.
                let effort = if gl { Effort::Quick } else { Effort::Full };
                places.push(Place::new(name.clone(), Device::from_gpu(gpu), effort));
            }
            Err(error) => trials.push(missing(&name, &error.to_string())),
        }
        if gl {
            continue;
        }
        // Operands past one binding, without gigabytes of them.
        let small = format!("{name}-small-bindings");
        let options = GpuOptions {
            max_binding_bytes: Some(SMALL_BINDING),
            ..GpuOptions::default()
        };
        match pollster::block_on(Gpu::open_with(adapter.clone(), &options)) {
            Ok(gpu) => {
                let flags = format!(" --max-binding {SMALL_BINDING}");
                places.push(Place::new(small, Device::from_gpu(gpu), Effort::Quick).opened_with(flags));
            }
            Err(error) => trials.push(missing(&small, &error.to_string())),
        }
        // The weakest conforming device, and work cut into many small dispatches.
        let name = format!("{name}-core-tiny-cap");
        match pollster::block_on(Gpu::open_adapter(adapter, true)) {
            Ok(gpu) => {
                gpu.set_work_cap(3000);
                let flags = " --core --work-cap 3000".to_string();
                places.push(Place::new(name, Device::from_gpu(gpu), Effort::Quick).opened_with(flags));
            }
            Err(error) => trials.push(missing(&name, &error.to_string())),
        }
    }
    if !vulkan {
        trials.push(missing(
            "gpu",
            "no adapter but OpenGL ones, if any; scripts/test.sh installs one",
        ));
    }
    if experimental().is_enabled() {
        let units = places.iter().any(|place| {
            let gpu = place.device.as_gpu();
            gpu.is_some_and(serves_on_matrix_units)
        });
        trials.push(Trial::test("matmul runs on matrix units", move || match units {
            true => Ok(()),
            false => {
                Err("FEWBIT_EXPERIMENTAL=1, but no adapter has a matrix unit that kernels can use".into())
            }
        }));
    }
    // A case's trials stand side by side: they share what the reference made, and drop it together.
    for case in check::cases(Effort::Full) {
        let case = Arc::new((case, OnceLock::new()));
        for place in places.iter().filter(|place| place.effort >= case.0.effort) {
            trials.push(trial(place.clone(), case.clone()));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Bytes in one binding of the device that has small ones: eight rows of every quick case fit.
const SMALL_BINDING: u64 = 16 << 10;

/// Matrix units are behind a feature that wgpu does not vouch for: `FEWBIT_EXPERIMENTAL=1` asks for them.
fn experimental() -> wgpu::ExperimentalFeatures {
    if std::env::var("FEWBIT_EXPERIMENTAL").is_ok_and(|value| value == "1") {
        // SAFETY: wgpu asks that whoever makes the token accepts this; who sets the variable does.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

fn serves_on_matrix_units(gpu: &Gpu) -> bool {
    let bf16 = fewbit::tensor::DType::Bf16;
    let op = fewbit::ops::Matmul::new(64, 64, 64).types(bf16, bf16, bf16);
    fewbit::ops::Op::variants(&op, gpu, false).contains(&"coop")
}

fn missing(name: &str, reason: &str) -> Trial {
    let required = std::env::var("FEWBIT_REQUIRE_GPU").is_ok_and(|value| value == "1");
    let message = format!("{name} cannot be opened: {reason}");
    let trial = Trial::test(format!("{name} (missing: {reason})"), move || {
        Err(Failed::from(message))
    });
    trial.with_ignored_flag(!required)
}

/// A device under test.
#[derive(Clone)]
struct Place {
    name: String,
    device: Device,
    effort: Effort,
    /// wgpu's OpenGL back end waits for its one context a second at most, then panics: one test at a time.
    turn: Option<Arc<Mutex<()>>>,
    /// What `fewbit check` must be told to open it like this.
    flags: String,
}

impl Place {
    fn new(name: String, device: Device, effort: Effort) -> Self {
        let alone = device
            .as_gpu()
            .is_some_and(|gpu| gpu.info().backend == wgpu::Backend::Gl);
        Self {
            name,
            device,
            effort,
            turn: alone.then(Arc::default),
            flags: String::new(),
        }
    }

    fn opened_with(self, flags: String) -> Self {
        Self { flags, ..self }
    }
}

type Shared = Arc<(Case, OnceLock<fewbit::Result<Expected>>)>;

fn trial(place: Place, shared: Shared) -> Trial {
    let title = format!(
        "{}::{}::{}",
        place.name,
        shared.0.op.name(),
        shared.0.op.describe()
    );
    Trial::test(title, move || {
        let (case, expected) = &*shared;
        let expected = expected
            .get_or_init(|| Expected::new(case))
            .as_ref()
            .map_err(ToString::to_string)?;
        let _turn = place
            .turn
            .as_ref()
            .map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        for report in
            check::run_expecting(&place.device, case, expected).map_err(|error| error.to_string())?
        {
            if let Some(failure) = report.verdict.failure {
                let repeat = check::repeat_command(&place.device, case, &report.variant);
                let flags = &place.flags;
                return Err(format!("{}: {failure}\nrepeat: {repeat}{flags}", report.variant).into());
            }
        }
        Ok(())
    })
}
