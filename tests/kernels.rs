//! Every trio on every device present, against its reference. A device that is missing shows as an ignored
//! test with the reason; with `FEWBIT_REQUIRE_GPU=1` a missing GPU fails instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fewbit::check::{self, Effort};
use fewbit::cpu::Cpu;
use fewbit::gpu::Gpu;
use fewbit::{Device, wgpu};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for cpu in Cpu::available() {
        let name = cpu.to_string();
        add(&mut trials, &name, Device::from_cpu(cpu), Effort::Full);
    }
    let adapters = pollster::block_on(fewbit::gpu::adapters());
    let mut vulkan = false;
    for adapter in adapters {
        let info = adapter.get_info();
        let name = format!("{:?}", info.backend).to_lowercase();
        // One adapter per back end is enough; the second of two is the same silicon or the same software.
        if trials
            .iter()
            .any(|trial: &Trial| trial.name().starts_with(&format!("{name}::")))
        {
            continue;
        }
        let gl = info.backend == wgpu::Backend::Gl;
        vulkan |= !gl;
        match pollster::block_on(Gpu::open_adapter(adapter.clone(), false)) {
            Ok(gpu) => {
                // The OpenGL path of a software adapter is a second back end, slow: small shapes only.
                let effort = if gl { Effort::Quick } else { Effort::Full };
                add(&mut trials, &name, Device::from_gpu(gpu), effort);
            }
            Err(error) => trials.push(missing(&name, &error.to_string())),
        }
        if gl {
            continue;
        }
        // The weakest conforming device, and work cut into many small dispatches.
        match pollster::block_on(Gpu::open_adapter(adapter, true)) {
            Ok(gpu) => {
                gpu.set_work_cap(3000);
                add(
                    &mut trials,
                    &format!("{name}-core-tiny-cap"),
                    Device::from_gpu(gpu),
                    Effort::Quick,
                );
            }
            Err(error) => trials.push(missing(&format!("{name}-core-tiny-cap"), &error.to_string())),
        }
    }
    if !vulkan {
        trials.push(missing(
            "gpu",
            "no adapter but OpenGL ones, if any; scripts/test.sh installs one",
        ));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn missing(name: &str, reason: &str) -> Trial {
    let required = std::env::var("FEWBIT_REQUIRE_GPU").is_ok_and(|value| value == "1");
    let message = format!("{name} cannot be opened: {reason}");
    let trial = Trial::test(format!("{name} (missing: {reason})"), move || {
        Err(Failed::from(message))
    });
    trial.with_ignored_flag(!required)
}

fn add(trials: &mut Vec<Trial>, name: &str, device: Device, effort: Effort) {
    // wgpu's OpenGL back end waits for its one context a second at most, then panics: one test at a time.
    let alone = device
        .as_gpu()
        .is_some_and(|gpu| gpu.info().backend == wgpu::Backend::Gl);
    let device = Arc::new((device, alone.then(Mutex::default)));
    for case in check::cases(effort) {
        let device = device.clone();
        let title = format!("{name}::{}::{}", case.op.name(), case.op.describe());
        trials.push(Trial::test(title, move || {
            let (device, turn) = &*device;
            let _turn: Option<MutexGuard<'_, ()>> = turn
                .as_ref()
                .map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(gpu) = device.as_gpu().filter(|_| case.op.name().starts_with("fmac")) {
                // The float variants are listed, and so run here, only where this finds them exact.
                fewbit::ops::probe_float_fmac_blocking(gpu).map_err(|error| error.to_string())?;
            }
            for report in check::run(device, &case).map_err(|error| error.to_string())? {
                if let Some(failure) = report.verdict.failure {
                    return Err(format!("{}: {failure}", report.variant).into());
                }
            }
            Ok(())
        }));
    }
}
