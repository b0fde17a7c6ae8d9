//! Finding adapters and opening devices of our own.

use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::OnceLock;

use super::Gpu;
use super::errors::Lost;
use crate::error::{Error, Result};

/// Which adapter to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdapterChoice {
    /// The best real GPU; adapters whose device type is `Cpu` count as none.
    #[default]
    RealGpu,
    /// The best adapter of any kind, software included.
    Any,
    /// The first whose name contains this text, in any case.
    Named(String),
}

/// How to open a GPU of our own.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// Ask for the default limits of core WebGPU and no optional feature, as the weakest conforming device
    /// would have: for tests.
    pub core_only: bool,
    /// Ask for at most this many bytes in one binding: operations cut what is larger. For tests of that, mostly.
    pub max_binding_bytes: Option<u64>,
    /// Make pipelines with all of wgpu's runtime checks, those of the crate's own kernels too: see
    /// [`Gpu::set_checked_shaders`].
    pub checked_shaders: bool,
    /// wgpu's token for experimental features, which only `unsafe` code makes: wgpu does not vouch for their
    /// soundness. With it the device gets cooperative matrices, where the adapter has them, and bf16 products run
    /// on matrix units. Ignored with `core_only`.
    pub experimental: wgpu::ExperimentalFeatures,
    /// With `experimental`: use native bf16 matrix units (`VK_KHR_shader_bfloat16`) where the adapter reports them.
    /// wgpu knows nothing of them: the device is opened through wgpu-hal, and SPIR-V compiled beforehand goes to the
    /// driver without wgpu's checks. Elsewhere, and where the driver then refuses, the device opens as without it.
    #[cfg(feature = "native-bf16")]
    pub native_bf16: bool,
    /// Where tuned variants and compiled pipelines of earlier runs lie; `None` uses none. What is compiled now is
    /// saved with [`Cache::save_pipelines`](super::Cache::save_pipelines).
    #[cfg(feature = "tune")]
    pub cache: Option<super::Cache>,
}

/// Optional features that add variants or timing. None is required.
fn useful_features() -> wgpu::Features {
    wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::PIPELINE_CACHE
}

/// Every adapter that the compiled-in back ends find, best first: real GPUs before software, discrete before
/// integrated, Vulkan, Metal and Direct3D before OpenGL. Empty, never a panic, when no back end is compiled in.
///
/// All of one process belong to one wgpu instance (those of OpenGL to another), and so do the devices that they open:
/// a buffer of one device that is given to another is an error.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    let mut found = adapters_of(Family::Native).await;
    found.extend(adapters_of(Family::OpenGl).await);
    found.sort_by_key(|adapter| rank(&adapter.get_info()));
    found
}

/// Back ends that share one instance.
#[derive(Clone, Copy)]
enum Family {
    /// Vulkan, Metal, Direct3D, and a browser's WebGPU.
    Native,
    /// OpenGL, apart from the others and opened only where it is wanted: its loader searches for a display, and
    /// complains without one.
    OpenGl,
}

impl Family {
    fn backends(self) -> wgpu::Backends {
        match self {
            Self::Native => wgpu::Backends::all() - wgpu::Backends::GL,
            Self::OpenGl => wgpu::Backends::GL,
        }
    }
}

async fn adapters_of(family: Family) -> Vec<wgpu::Adapter> {
    let Some(instance) = instance(family) else {
        return Vec::new();
    };
    #[cfg(target_arch = "wasm32")]
    let mut found: Vec<_> = instance
        .request_adapter(&wgpu::RequestAdapterOptions::default())
        .await
        .into_iter()
        .collect();
    #[cfg(not(target_arch = "wasm32"))]
    let mut found = instance.enumerate_adapters(family.backends()).await;
    found.sort_by_key(|adapter| rank(&adapter.get_info()));
    found
}

/// The one instance of a family in this process, made at its first use. wgpu names buffers by numbers that each
/// instance counts anew: with an instance for every device, a buffer of one device would be taken for the buffer
/// of the same number of another, and overwritten. Within one instance wgpu notices and refuses.
#[cfg(not(target_arch = "wasm32"))]
fn instance(family: Family) -> Option<wgpu::Instance> {
    static INSTANCES: [OnceLock<Option<wgpu::Instance>>; 2] = [const { OnceLock::new() }; 2];
    let [native, gl] = &INSTANCES;
    let place = match family {
        Family::Native => native,
        Family::OpenGl => gl,
    };
    place.get_or_init(|| new_instance(family)).clone()
}

/// The same in a browser, where buffers are objects, not numbers, and an instance stays on its thread.
#[cfg(target_arch = "wasm32")]
fn instance(family: Family) -> Option<wgpu::Instance> {
    new_instance(family)
}

fn new_instance(family: Family) -> Option<wgpu::Instance> {
    let backends = family.backends();
    // `Instance::new` panics when no back end is compiled in.
    if (wgpu::Instance::enabled_backend_features() & backends).is_empty() {
        return None;
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    Some(wgpu::Instance::new(descriptor))
}

/// A device with bf16 matrices, where they are asked for and there.
#[cfg(feature = "native-bf16")]
fn open_with_bf16(
    adapter: &wgpu::Adapter,
    options: &GpuOptions,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<(super::Bf16Unit, (wgpu::Device, wgpu::Queue))> {
    if !options.native_bf16 || !options.experimental.is_enabled() || options.core_only {
        return None;
    }
    let unit = super::Bf16Unit::of(adapter)?;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: descriptor.required_features | super::Bf16Unit::features(),
        ..descriptor.clone()
    };
    match super::Bf16Unit::request_device(adapter, &descriptor) {
        Ok(opened) => Some((unit, opened)),
        Err(error) => {
            log::warn!(
                "{} reports bf16 matrices, but opens without them: {error}",
                adapter.get_info().name
            );
            None
        }
    }
}

/// Whether kernels can run there at all: OpenGL before 4.3 has no compute shaders. Older ones with the extension
/// have, but wgpu, which takes them then, writes shaders of the context's version.
fn computes(adapter: &wgpu::Adapter) -> bool {
    let flags = adapter.get_downlevel_capabilities().flags;
    let info = adapter.get_info();
    flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        && adapter.limits().max_storage_buffers_per_shader_stage > 0
        && (info.backend != wgpu::Backend::Gl || desktop_version(&info.driver_info) >= (4, 3))
}

/// The version at the head of what a driver of OpenGL says of itself; that of OpenGL ES is elsewhere, and its compute
/// shaders are what wgpu reports: as if it were new enough.
fn desktop_version(driver: &str) -> (u32, u32) {
    let version = driver.split_whitespace().next().unwrap_or_default();
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (u32::MAX, 0),
    }
}

fn rank(info: &wgpu::AdapterInfo) -> (u8, u8) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let backend = u8::from(info.backend == wgpu::Backend::Gl);
    (kind, backend)
}

impl Gpu {
    /// Opens the adapter that `options` choose. `WGPU_ADAPTER_NAME` in the environment overrides a choice
    /// that names none.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the reason, or [`Error::NoDevice`] when the adapter refuses.
    pub async fn open(options: &GpuOptions) -> Result<Self> {
        if wgpu::Instance::enabled_backend_features().is_empty() {
            let reason = "no wgpu back end is compiled in (feature `native`)".into();
            return Err(Error::NoAdapter { reason });
        }
        // OpenGL only where nothing better is.
        let mut found = adapters_of(Family::Native).await;
        if found.is_empty() {
            found = adapters_of(Family::OpenGl).await;
        }
        let wanted = match (&options.adapter, std::env::var("WGPU_ADAPTER_NAME")) {
            (AdapterChoice::RealGpu | AdapterChoice::Any, Ok(name)) if !name.is_empty() => {
                AdapterChoice::Named(name)
            }
            (AdapterChoice::RealGpu | AdapterChoice::Any, Err(std::env::VarError::NotUnicode(name))) => {
                let reason = format!("WGPU_ADAPTER_NAME is not UTF-8: {name:?}");
                return Err(Error::NoAdapter { reason });
            }
            (choice, _) => choice.clone(),
        };
        let mut names: Vec<_> = found.iter().map(|adapter| adapter.get_info().name).collect();
        names.dedup();
        let none_computes = !found.iter().any(computes);
        let chosen = found.into_iter().find(|adapter| {
            let info = adapter.get_info();
            match &wanted {
                AdapterChoice::RealGpu => info.device_type != wgpu::DeviceType::Cpu && computes(adapter),
                AdapterChoice::Any => computes(adapter),
                AdapterChoice::Named(name) => info.name.to_lowercase().contains(&name.to_lowercase()),
            }
        });
        let Some(adapter) = chosen else {
            let reason = match &wanted {
                _ if names.is_empty() => "none was found (is a Vulkan driver installed?)".to_string(),
                AdapterChoice::Named(name) => {
                    format!("none has {name:?} in its name; found: {}", names.join(", "))
                }
                _ if none_computes => format!("none has compute shaders; found: {}", names.join(", ")),
                _ => format!("only software adapters were found: {}", names.join(", ")),
            };
            return Err(Error::NoAdapter { reason });
        };
        Self::open_with(adapter, options).await
    }

    /// Opens a device on this adapter, with its own limits and the optional features it has but experimental ones: as
    /// [`GpuOptions::default`] says. See [`Gpu::open_with`] for others.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when the adapter refuses.
    pub async fn open_adapter(adapter: wgpu::Adapter) -> Result<Self> {
        Self::open_with(adapter, &GpuOptions::default()).await
    }

    /// Opens a device on this adapter as `options` say, whatever adapter they choose.
    ///
    /// # Errors
    /// [`Error::NoDevice`] when the adapter refuses.
    pub async fn open_with(adapter: wgpu::Adapter, options: &GpuOptions) -> Result<Self> {
        // wgpu would open it, fail at the first pipeline of its own, and call the device lost.
        if !computes(&adapter) {
            let info = adapter.get_info();
            return Err(Error::NoDevice {
                adapter: info.name,
                reason: format!(
                    "it has no compute shaders ({:?}, {})",
                    info.backend, info.driver_info
                ),
            });
        }
        let (features, mut limits) = if options.core_only {
            (
                wgpu::Features::empty(),
                wgpu::Limits::default().using_alignment(adapter.limits()),
            )
        } else {
            let mut useful = useful_features();
            if options.experimental.is_enabled() {
                useful |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            }
            (adapter.features() & useful, adapter.limits())
        };
        if let Some(bytes) = options.max_binding_bytes {
            let limit = &mut limits.max_storage_buffer_binding_size;
            *limit = bytes.min(*limit);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("fewbit"),
            required_features: features,
            required_limits: limits,
            experimental_features: options.experimental,
            ..Default::default()
        };
        #[cfg(not(feature = "native-bf16"))]
        let native = None;
        #[cfg(feature = "native-bf16")]
        let native = open_with_bf16(&adapter, options, &descriptor);
        let (bf16_unit, (device, queue)) = match native {
            Some((unit, opened)) => (Some(unit), opened),
            None => {
                let opened = adapter.request_device(&descriptor).await;
                let opened = opened.map_err(|error| Error::NoDevice {
                    adapter: adapter.get_info().name,
                    reason: error.to_string(),
                })?;
                (None, opened)
            }
        };
        let lost = Arc::new(Lost::default());
        lost.clone().watch(&device);
        #[cfg(not(feature = "tune"))]
        let pipeline_cache = None;
        #[cfg(feature = "tune")]
        let pipeline_cache =
            super::cache::pipeline_cache(&device, &adapter.get_info(), options.cache.as_ref());
        let gpu = Self::new(
            device,
            queue,
            Some(adapter),
            true,
            lost,
            pipeline_cache,
            bf16_unit,
        );
        gpu.set_checked_shaders(options.checked_shaders);
        #[cfg(feature = "tune")]
        if let Some(cache) = &options.cache {
            gpu.set_tuning(cache.tuning(gpu.info()));
        }
        Ok(gpu)
    }

    /// [`Gpu::open`] for threads that may block.
    ///
    /// # Errors
    /// See [`Gpu::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(options: &GpuOptions) -> Result<Self> {
        pollster::block_on(Self::open(options))
    }
}
