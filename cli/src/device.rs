//! Which device a command runs on, and why.

use std::sync::OnceLock;

use fewbit::gpu::{AdapterChoice, Cache, Gpu, GpuOptions};
use fewbit::{Device, wgpu};

use super::output::Output;
use super::{Choice, Common, Stop};

/// Opens the device that the options ask for and names it in the output.
pub(crate) fn open(common: &Common, output: &mut Output) -> Result<Device, Stop> {
    let (device, why) = choose(common)?;
    output.device(device.kind_name(), &device.describe(), &why);
    if let Some(gpu) = device.as_gpu() {
        OPENED.get_or_init(|| gpu.clone());
        if let Some(work) = common.weak.work_cap {
            gpu.set_work_cap(work);
        }
        if let Some(turns) = common.weak.turn_cap {
            gpu.set_turn_cap(turns);
        }
        if let Some(groups) = common.weak.group_cap {
            gpu.set_group_cap(groups);
        }
        if common.experimental {
            output.line(&matrix_units(gpu));
        }
        let tuned = gpu.tuning().len();
        if tuned > 0 {
            output.line(&format!(
                "Tuned: {tuned} kinds of cases (fewbit tune --forget undoes it)"
            ));
        }
    }
    Ok(device)
}

/// The matrix units that kernels may use, as a line.
pub(crate) fn matrix_units(gpu: &Gpu) -> String {
    let units: Vec<_> = gpu
        .matrix_units()
        .iter()
        .map(|unit| {
            let wgpu::CooperativeMatrixProperties {
                m_size,
                n_size,
                k_size,
                ab_type,
                cr_type,
                ..
            } = unit;
            format!("{m_size} x {n_size} x {k_size} {ab_type:?} to {cr_type:?}")
        })
        .collect();
    let native = match gpu.bf16_unit() {
        Some(_) => ", native bf16",
        None => "",
    };
    match units.is_empty() {
        true => format!("Matrix units: none{native}"),
        false => format!("Matrix units: {}{native}", units.join(", ")),
    }
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

/// wgpu's experimental features, where `--experimental` asks for them.
pub(crate) fn experimental(common: &Common) -> wgpu::ExperimentalFeatures {
    if common.experimental {
        // SAFETY: wgpu asks that whoever makes the token accepts features it does not vouch for. The option, whose
        // help says so, is that acceptance.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

/// With what earlier runs left for the adapter.
fn options(common: &Common, adapter: AdapterChoice) -> GpuOptions {
    let mut options = GpuOptions::default();
    options.adapter = adapter;
    options.cache = Cache::platform();
    options.experimental = experimental(common);
    options.native_bf16 = common.native_bf16;
    options.core_only = common.weak.core;
    options.max_binding_bytes = common.weak.max_binding;
    options.checked_shaders = common.weak.checked_shaders;
    options
}

fn open_gpu(common: &Common, adapter: AdapterChoice) -> fewbit::Result<Gpu> {
    Gpu::open_blocking(&options(common, adapter))
}

/// What an adapter is called: its back end, then its name, in small letters.
fn full_name(info: &wgpu::AdapterInfo) -> String {
    format!("{:?} {}", info.backend, info.name).to_lowercase()
}

/// The adapter of that number, or whose name contains that text.
fn open_named(common: &Common, asked: &str) -> Result<Gpu, Stop> {
    let adapters = pollster::block_on(fewbit::gpu::adapters());
    let names: Vec<_> = adapters
        .iter()
        .map(|adapter| full_name(&adapter.get_info()))
        .collect();
    let numbered = asked.parse().ok().filter(|&number: &usize| number < names.len());
    let text = asked.to_lowercase();
    let Some(index) = numbered.or_else(|| names.iter().position(|name| name.contains(&text))) else {
        let list = names.iter().enumerate();
        let list: Vec<_> = list.map(|(index, name)| format!("{index}: {name}")).collect();
        return Err(Stop::Input(match list.is_empty() {
            true => "no GPU adapter was found (is a Vulkan driver installed?)".into(),
            false => format!("no adapter is {asked:?}; there are {}", list.join(", ")),
        }));
    };
    let Some(adapter) = adapters.into_iter().nth(index) else {
        return Err(Stop::Input(format!("there is no adapter {index}")));
    };
    let options = options(common, AdapterChoice::Any);
    Ok(pollster::block_on(Gpu::open_with(adapter, &options))?)
}

fn choose(common: &Common) -> Result<(Device, String), Stop> {
    if common.native_bf16 && !common.experimental {
        return Err(Stop::Input("--native-bf16 goes with --experimental".into()));
    }
    if common.experimental && matches!(common.device, Choice::Cpu | Choice::Reference) {
        return Err(Stop::Input(
            "--experimental opens a GPU: it goes with --device gpu or auto".into(),
        ));
    }
    if let Some(name) = &common.adapter {
        if matches!(common.device, Choice::Cpu | Choice::Reference) {
            return Err(Stop::Input(
                "--adapter names a GPU: it goes with --device gpu or auto".into(),
            ));
        }
        let gpu = open_named(common, name)?;
        return Ok((Device::from_gpu(gpu), "named by --adapter".into()));
    }
    let asked = |device| Ok((device, "asked for by --device".to_string()));
    match common.device {
        Choice::Gpu => asked(Device::from_gpu(open_gpu(common, AdapterChoice::Any)?)),
        Choice::Cpu => asked(Device::cpu()),
        Choice::Reference => asked(Device::reference()),
        Choice::Auto => {
            let overridden = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            if overridden("FEWBIT_DEVICE") || overridden("WGPU_ADAPTER_NAME") {
                if common.experimental {
                    return Err(Stop::Input(
                        "--experimental goes with --device gpu or --adapter, not with a device chosen by the \
                         environment"
                            .into(),
                    ));
                }
                return Ok((Device::auto_blocking()?, "chosen by the environment".into()));
            }
            match open_gpu(common, AdapterChoice::RealGpu) {
                Ok(gpu) => Ok((Device::from_gpu(gpu), "the best real GPU found".into())),
                Err(error) => Ok((Device::cpu(), error.to_string())),
            }
        }
    }
}
