//! Which device a command runs on, and why.

use fewbit::Device;
use fewbit::gpu::{AdapterChoice, Gpu, GpuOptions};

use super::output::Output;
use super::{Choice, Common, Stop};

/// Opens the device that the options ask for and names it in the output.
pub(crate) fn open(common: &Common, output: &mut Output) -> Result<Device, Stop> {
    let (device, why) = choose(common)?;
    output.device(device.kind_name(), &device.describe(), &why);
    Ok(device)
}

fn choose(common: &Common) -> Result<(Device, String), Stop> {
    if let Some(name) = &common.adapter {
        if matches!(common.device, Choice::Cpu | Choice::Reference) {
            return Err(Stop::Input(
                "--adapter names a GPU: it goes with --device gpu or auto".into(),
            ));
        }
        let options = GpuOptions {
            adapter: AdapterChoice::Named(name.clone()),
            ..GpuOptions::default()
        };
        return Ok((
            Device::from_gpu(Gpu::open_blocking(&options)?),
            "named by --adapter".into(),
        ));
    }
    let asked = |device| Ok((device, "asked for by --device".to_string()));
    match common.device {
        Choice::Gpu => asked(Device::gpu_blocking()?),
        Choice::Cpu => asked(Device::cpu()),
        Choice::Reference => asked(Device::reference()),
        Choice::Auto => {
            let overridden = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
            if overridden("FEWBIT_DEVICE") || overridden("WGPU_ADAPTER_NAME") {
                return Ok((Device::auto_blocking()?, "chosen by the environment".into()));
            }
            match Gpu::open_blocking(&GpuOptions::default()) {
                Ok(gpu) => Ok((Device::from_gpu(gpu), "the best real GPU found".into())),
                Err(error) => Ok((Device::cpu(), error.to_string())),
            }
        }
    }
}
