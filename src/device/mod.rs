//! The high door: one [`Device`] for a GPU, the native CPU device and the reference, and [`Tensor`]s on it.
//!
//! Work on a GPU is batched into few submits and buffers come from a pool; reading back submits what is
//! pending. Opening a GPU and reading are `async`, each with a `_blocking` twin where threads may block.

mod borrowed;
#[cfg(not(target_arch = "wasm32"))]
mod checked;
mod codes;
mod elements;
pub(crate) mod memory;
mod program;
mod run;
pub(crate) mod storage;
mod tensor;
#[cfg(not(target_arch = "wasm32"))]
mod tune;
mod words;

use std::sync::Arc;

pub use codes::Code;
pub use program::{CallId, Condition, Program, TensorId};
pub use run::Slot;
pub use tensor::Tensor;
pub(crate) use tensor::dense;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{AdapterChoice, Gpu, GpuOptions};
use crate::op::Arithmetic;
use storage::GpuState;

/// Where tensors live and operations run. Cheap to clone; clones are the same device.
#[derive(Clone, Debug)]
pub struct Device(Arc<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    Gpu(GpuState),
    Cpu(Cpu),
    Reference,
    Checked(Device),
}

impl Device {
    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }

    /// The best device here: a real GPU if there is one, else the native CPU device. An adapter whose device
    /// type is `Cpu` counts as no GPU: native code beats software Vulkan about tenfold.
    /// `FEWBIT_DEVICE=gpu|cpu|reference` overrides the choice, `WGPU_ADAPTER_NAME` names the adapter.
    ///
    /// # Errors
    /// Only where an override asks for what is not there.
    pub async fn auto() -> Result<Self> {
        match std::env::var("FEWBIT_DEVICE").as_deref() {
            Err(std::env::VarError::NotPresent) | Ok("" | "auto") => {}
            Err(std::env::VarError::NotUnicode(value)) => {
                return Err(Error::Value {
                    op: "Device::auto",
                    what: "FEWBIT_DEVICE",
                    value: format!("{value:?}"),
                    expected: "auto, gpu, cpu or reference",
                });
            }
            Ok("gpu") => return Self::gpu().await,
            Ok("cpu") => return Ok(Self::cpu()),
            Ok("reference") => return Ok(Self::reference()),
            Ok(other) => {
                return Err(Error::Value {
                    op: "Device::auto",
                    what: "FEWBIT_DEVICE",
                    value: other.to_string(),
                    expected: "auto, gpu, cpu or reference",
                });
            }
        }
        let named = std::env::var_os("WGPU_ADAPTER_NAME").is_some_and(|name| !name.is_empty());
        match Gpu::open(&GpuOptions::default()).await {
            Ok(gpu) => Ok(Self::from_gpu(gpu)),
            Err(error) if named => Err(error),
            Err(error) => {
                log::info!("running on the CPU device: {error}");
                Ok(Self::cpu())
            }
        }
    }

    /// The best adapter of any kind, software included, as `--device gpu` asks for it.
    ///
    /// # Errors
    /// No adapter, or it refuses to open.
    pub async fn gpu() -> Result<Self> {
        let options = GpuOptions {
            adapter: AdapterChoice::Any,
            ..GpuOptions::default()
        };
        Ok(Self::from_gpu(Gpu::open(&options).await?))
    }

    /// A GPU that was opened, or borrowed, elsewhere. On a borrowed device the high door submits its batches
    /// to the queue; use the low door where that is not wanted.
    #[must_use]
    pub fn from_gpu(gpu: Gpu) -> Self {
        Self(Arc::new(Kind::Gpu(GpuState::new(gpu))))
    }

    /// The native CPU device with the widest instructions this machine has.
    #[must_use]
    pub fn cpu() -> Self {
        Self::from_cpu(Cpu::detect())
    }

    /// A CPU device made elsewhere (with other instructions, say).
    #[must_use]
    pub fn from_cpu(cpu: Cpu) -> Self {
        Self(Arc::new(Kind::Cpu(cpu)))
    }

    /// The specification itself: sequential, slow, right.
    #[must_use]
    pub fn reference() -> Self {
        Self(Arc::new(Kind::Reference))
    }

    /// `inner`, with every operation also run on the reference from the same inputs: the first result outside
    /// its class is an [`Error::Wrong`]. The way to bisect a wrong kernel. Needs threads that may block.
    #[must_use]
    pub fn checked(inner: Self) -> Self {
        Self(Arc::new(Kind::Checked(inner)))
    }

    /// [`Device::auto`] for threads that may block.
    ///
    /// # Errors
    /// See [`Device::auto`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn auto_blocking() -> Result<Self> {
        pollster::block_on(Self::auto())
    }

    /// [`Device::gpu`] for threads that may block.
    ///
    /// # Errors
    /// See [`Device::gpu`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn gpu_blocking() -> Result<Self> {
        pollster::block_on(Self::gpu())
    }

    /// The GPU behind this device, if one is.
    #[must_use]
    pub fn as_gpu(&self) -> Option<&Gpu> {
        match self.kind() {
            Kind::Gpu(state) => Some(&state.gpu),
            Kind::Checked(inner) => inner.as_gpu(),
            Kind::Cpu(_) | Kind::Reference => None,
        }
    }

    /// The CPU device behind this device, if one is.
    #[must_use]
    pub fn as_cpu(&self) -> Option<&Cpu> {
        match self.kind() {
            Kind::Cpu(cpu) => Some(cpu),
            Kind::Checked(inner) => inner.as_cpu(),
            Kind::Gpu(_) | Kind::Reference => None,
        }
    }

    /// `gpu`, `cpu` or `reference`.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind() {
            Kind::Gpu(_) => "gpu",
            Kind::Cpu(_) => "cpu",
            Kind::Reference => "reference",
            Kind::Checked(inner) => inner.kind_name(),
        }
    }

    /// The device in words: adapter, driver and back end, or the instruction set.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.kind() {
            Kind::Gpu(state) => {
                let info = state.gpu.info();
                let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
                match driver.trim() {
                    "" => format!("{} ({:?})", info.name, info.backend),
                    driver => format!("{} ({:?}, {driver})", info.name, info.backend),
                }
            }
            Kind::Cpu(cpu) => format!("native CPU ({cpu})"),
            Kind::Reference => "reference (sequential)".to_string(),
            Kind::Checked(inner) => format!("{}, checked", inner.describe()),
        }
    }

    /// What may be assumed of its f32 arithmetic, for the bounds of the numerics contract. Variants that run on
    /// matrix units have their own: [`Arithmetic::of`].
    #[must_use]
    pub fn arithmetic(&self) -> Arithmetic {
        match self.kind() {
            Kind::Gpu(_) => Arithmetic::GPU,
            Kind::Cpu(cpu) if cpu.uses_dpbf16() => Arithmetic::DPBF16,
            Kind::Cpu(_) | Kind::Reference => Arithmetic::CPU,
            Kind::Checked(inner) => inner.arithmetic(),
        }
    }

    /// Waits for a future of this device's; polls a borrowed GPU meanwhile, which nobody else may do now.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        use futures::FutureExt as _;
        let mut future = std::pin::pin!(future);
        let Some(gpu) = self.as_gpu().filter(|gpu| !gpu.is_owned()) else {
            return pollster::block_on(future);
        };
        loop {
            match future.as_mut().now_or_never() {
                Some(value) => return value,
                None => gpu.wait()?,
            }
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Submits what is pending on a GPU; nothing elsewhere.
    ///
    /// # Errors
    /// Device lost, or an error that our own checks did not foresee.
    pub fn flush(&self) -> Result<()> {
        match self.kind() {
            Kind::Gpu(state) => state.flush(),
            Kind::Checked(inner) => inner.flush(),
            Kind::Cpu(_) | Kind::Reference => Ok(()),
        }
    }

    /// Bytes of GPU buffers that no tensor uses and that wait for the next one; 0 elsewhere.
    #[must_use]
    pub fn pooled_bytes(&self) -> u64 {
        match self.kind() {
            Kind::Gpu(state) => state.pooled(),
            Kind::Checked(inner) => inner.pooled_bytes(),
            Kind::Cpu(_) | Kind::Reference => 0,
        }
    }

    /// Sets how many bytes of unused GPU buffers are kept (512 MiB unless set), and drops what is past it.
    pub fn set_pool_cap(&self, bytes: u64) {
        match self.kind() {
            Kind::Gpu(state) => state.set_pool_cap(bytes),
            Kind::Checked(inner) => inner.set_pool_cap(bytes),
            Kind::Cpu(_) | Kind::Reference => {}
        }
    }

    /// From now on an operation that has several variants and no tuned one is timed in each at its first run, over
    /// its own operands. That first run then submits and waits; needs threads that may block, and does nothing in a
    /// browser, on the CPU device or on the reference. Off until asked for.
    pub fn start_lazy_tuning(&self) {
        self.lazy_tuning(true);
    }

    /// Ends what [`Device::start_lazy_tuning`] began; what was found stays.
    pub fn stop_lazy_tuning(&self) {
        self.lazy_tuning(false);
    }

    fn lazy_tuning(&self, on: bool) {
        match self.kind() {
            Kind::Gpu(state) => state.lazy_tuning.store(on, std::sync::atomic::Ordering::Relaxed),
            Kind::Checked(inner) => inner.lazy_tuning(on),
            Kind::Cpu(_) | Kind::Reference => {}
        }
    }

    /// Frees the pooled buffers of a GPU that no tensor uses.
    pub fn trim(&self) {
        match self.kind() {
            Kind::Gpu(state) => state.trim(),
            Kind::Checked(inner) => inner.trim(),
            Kind::Cpu(_) | Kind::Reference => {}
        }
    }
}
