//! Which device a command runs on, and why.

use std::sync::OnceLock;

use fewbit::Device;
use fewbit::gpu::{AdapterChoice, Cache, Gpu, GpuOptions};

use super::output::Output;
use super::{Choice, Common, Stop};

/// Opens the device that the options ask for and names it in the output.
pub(crate) fn open(common: &Common, output: &mut Output) -> Result<Device, Stop> {
    let (device, why) = choose(common)?;
    output.device(device.kind_name(), &device.describe(), &why);
    if let Some(gpu) = device.as_gpu() {
        OPENED.get_or_init(|| gpu.clone());
        let tuned = gpu.tuning().len();
        if tuned > 0 {
            output.line(&format!(
                "Tuned: {tuned} kinds of cases (fewbit tune --forget undoes it)"
            ));
        }
    }
    Ok(device)
}

/// The GPU of this run.
static OPENED: OnceLock<Gpu> = OnceLock::new();

/// Keeps what was compiled for the next run. That it cannot be kept is no failure of the command.
pub(crate) fn save_pipelines() {
    if let (Some(gpu), Some(cache)) = (OPENED.get(), Cache::platform())
        && let Err(error) = cache.save_pipelines(gpu)
    {
        log::info!("compiled pipelines are not kept: {error}");
    }
}

/// An adapter with what earlier runs left for it.
fn open_gpu(adapter: AdapterChoice) -> fewbit::Result<Gpu> {
    Gpu::open_blocking(&GpuOptions {
        adapter,
        cache: Cache::platform(),
        ..GpuOptions::default()
    })
}

fn choose(common: &Common) -> Result<(Device, String), Stop> {
    if let Some(name) = &common.adapter {
        if matches!(common.device, Choice::Cpu | Choice::Reference) {
            return Err(Stop::Input(
                "--adapter names a GPU: it goes with --device gpu or auto".into(),
            ));
        }
        let gpu = open_gpu(AdapterChoice::Named(name.clone()))?;
        return Ok((Device::from_gpu(gpu), "named by --adapter".into()));
    }
    let asked = |device| Ok((device, "asked for by --device".to_string()));
    match common.device {
        Choice::Gpu => asked(Device::from_gpu(open_gpu(AdapterChoice::Any)?)),
        Choice::Cpu => asked(Device::cpu()),
        Choice::Reference => asked(Device::reference()),
        Choice::Auto => {
            let overridden = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
            if overridden("FEWBIT_DEVICE") || overridden("WGPU_ADAPTER_NAME") {
                return Ok((Device::auto_blocking()?, "chosen by the environment".into()));
            }
            match open_gpu(AdapterChoice::RealGpu) {
                Ok(gpu) => Ok((Device::from_gpu(gpu), "the best real GPU found".into())),
                Err(error) => Ok((Device::cpu(), error.to_string())),
            }
        }
    }
}
