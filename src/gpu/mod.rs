//! A GPU through wgpu, owned or borrowed: limits, pipelines, plans, buffers, errors, read-back.
//!
//! The low door for embedders: [`Gpu::from_wgpu`] borrows a device and a queue; an operation's
//! [`plan`](crate::op::Op::plan) is bound to buffers the caller owns and records into a pass the caller owns.
//! Nothing here submits, blocks or sets callbacks on a borrowed device.

mod bf16_unit;
mod bound;
#[cfg(feature = "tune")]
mod cache;
mod dispatch;
mod errors;
mod foreign;
mod gate;
mod library;
mod open;
mod operand;
mod permutation;
mod pieces;
mod pipeline;
mod plan;
mod readback;
mod replaced;
mod request;
mod shader;
mod spirv;
mod step;
mod trust;
mod tuning;
mod turns;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use bf16_unit::Bf16Unit;
pub use bound::BoundPlan;
#[cfg(feature = "tune")]
pub use cache::Cache;
pub use dispatch::{Dispatch, Parameter, Words};
pub(crate) use gate::{Gate, Test};
pub use library::{File, LIBRARY, generator};
pub use open::{AdapterChoice, GpuOptions, adapters};
pub use operand::{Access, Operand, OperandSpec};
pub use permutation::{Binding, BindingKind, CORE_WORKGROUP_MEMORY, Constant, Permutation};
pub use pieces::{Piece, pieces};
pub use pipeline::Pipeline;
pub use plan::Plan;
pub use readback::ReadBack;
#[cfg(feature = "check")]
pub(crate) use replaced::REPLACED;
pub use request::{Offsets, PlanRequest, split_rows, spread_groups};
pub use shader::{Interface, Shader};
pub use step::{StepBuffer, StepValues};
pub use tuning::Tuning;
pub use turns::{Turns, looped};

use crate::error::Result;
use errors::Lost;
use pipeline::Pipelines;

/// Elementary operations (multiply-adds, or words moved) that one dispatch or submit may hold unless the
/// caller sets another cap: some 20 ms on a fast GPU, well under every watchdog on a slow one.
pub const DEFAULT_WORK_CAP: u64 = 1 << 34;

/// Turns of one invocation's loops on a software adapter. Mesa's software drivers (Vulkan and OpenGL) leave a loop
/// after 65,535 turns, counted over all loops of an invocation together, without a word.
pub const SOFTWARE_TURN_CAP: u64 = 60_000;

/// The same elsewhere, where a watchdog ends what takes too long: some 0.1 s of dependent loads on a slow GPU.
pub const DEFAULT_TURN_CAP: u64 = 1 << 20;

/// The most bytes of one binding, whatever the device allows (Metal: all of its memory): shaders count words, halves and
/// columns in 32 bits, and in strides.
pub const MOST_BINDING_BYTES: u64 = 1 << 31;

/// A GPU: a `wgpu::Device` and its `Queue`, what they can do, and the pipelines made so far. Cheap to clone;
/// clones share everything.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter: Option<wgpu::Adapter>,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    features: wgpu::Features,
    owned: bool,
    lost: Arc<Lost>,
    pipelines: Pipelines,
    placeholders: OnceLock<[wgpu::Buffer; 2]>,
    work_cap: AtomicU64,
    turn_cap: AtomicU64,
    group_cap: AtomicU64,
    checked: AtomicBool,
    protects_storage: bool,
    findings: Mutex<BTreeMap<&'static str, bool>>,
    tuned: tuning::Tuned,
    submits: std::sync::atomic::AtomicU64,
    pipeline_cache: Option<wgpu::PipelineCache>,
    matrix_units: Vec<wgpu::CooperativeMatrixProperties>,
    bf16_unit: Option<Bf16Unit>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({}, {:?})", self.0.info.name, self.0.info.backend)
    }
}

impl Gpu {
    /// Borrows a device and its queue. Nothing is created on them until a plan is made, nothing is submitted,
    /// no callback is set, nothing is polled: tell us of a lost device with [`Gpu::notify_lost`].
    ///
    /// Give its plans buffers of this device only. wgpu refuses those of other devices of the same
    /// [`wgpu::Instance`], but takes a buffer of another instance (such as one that fewbit opened itself) for
    /// the buffer of the same number here, and neither wgpu nor fewbit can notice. Where a program also opens GPUs
    /// through fewbit, make its own devices from the adapters of [`adapters`].
    #[must_use]
    pub fn from_wgpu(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::borrowed(None, device, queue, None)
    }

    /// The same with the adapter, which matrix-unit variants need to know their shapes.
    #[must_use]
    pub fn from_wgpu_with_adapter(
        adapter: &wgpu::Adapter,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Self {
        Self::borrowed(Some(adapter), device, queue, None)
    }

    /// The same for a device whose owner has switched on bf16 matrices, which wgpu cannot tell.
    ///
    /// # Safety
    /// The device is a Vulkan one, made from this adapter with the features `EXPERIMENTAL_COOPERATIVE_MATRIX` and
    /// `PASSTHROUGH_SHADERS`, with `VK_KHR_shader_bfloat16` and its cooperative matrices enabled, and has the
    /// matrices and the subgroups of `unit`.
    #[cfg(feature = "native-bf16")]
    #[must_use]
    pub unsafe fn from_wgpu_with_bf16_unit(
        adapter: &wgpu::Adapter,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        unit: Bf16Unit,
    ) -> Self {
        Self::borrowed(Some(adapter), device, queue, Some(unit))
    }

    fn borrowed(
        adapter: Option<&wgpu::Adapter>,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        bf16_unit: Option<Bf16Unit>,
    ) -> Self {
        let (device, queue) = (device.clone(), queue.clone());
        Self::new(
            device,
            queue,
            adapter.cloned(),
            false,
            Arc::default(),
            None,
            bf16_unit,
        )
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        adapter: Option<wgpu::Adapter>,
        owned: bool,
        lost: Arc<Lost>,
        pipeline_cache: Option<wgpu::PipelineCache>,
        bf16_unit: Option<Bf16Unit>,
    ) -> Self {
        let units = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let matrix_units = match &adapter {
            Some(adapter) if device.features().contains(units) => adapter.cooperative_matrix_properties(),
            _ => Vec::new(),
        };
        let info = device.adapter_info();
        let turn_cap = match info.device_type {
            wgpu::DeviceType::Cpu => SOFTWARE_TURN_CAP,
            _ => DEFAULT_TURN_CAP,
        };
        let mut limits = device.limits();
        let binding = &mut limits.max_storage_buffer_binding_size;
        *binding = MOST_BINDING_BYTES.min(*binding);
        Self(Arc::new(Inner {
            info,
            limits,
            protects_storage: trust::protects_storage(&device),
            features: device.features(),
            device,
            queue,
            adapter,
            owned,
            lost,
            pipelines: Pipelines::default(),
            placeholders: OnceLock::new(),
            work_cap: AtomicU64::new(DEFAULT_WORK_CAP),
            turn_cap: AtomicU64::new(turn_cap),
            group_cap: AtomicU64::new(u64::MAX),
            checked: AtomicBool::new(false),
            findings: Mutex::default(),
            tuned: tuning::Tuned::default(),
            submits: std::sync::atomic::AtomicU64::new(0),
            pipeline_cache,
            matrix_units,
            bf16_unit,
        }))
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// The adapter, where it is known.
    #[must_use]
    pub fn adapter(&self) -> Option<&wgpu::Adapter> {
        self.0.adapter.as_ref()
    }

    /// Name, driver and kind of the adapter behind the device.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.0.info
    }

    /// The device's limits, bindings cut to [`MOST_BINDING_BYTES`].
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.0.limits
    }

    /// The device's features.
    #[must_use]
    pub fn features(&self) -> wgpu::Features {
        self.0.features
    }

    /// The matrix units that kernels may use: none unless the device was opened with
    /// `EXPERIMENTAL_COOPERATIVE_MATRIX` (see [`GpuOptions::experimental`]) and its adapter is known.
    #[must_use]
    pub fn matrix_units(&self) -> &[wgpu::CooperativeMatrixProperties] {
        &self.0.matrix_units
    }

    /// The bf16 matrix unit that kernels may use: none unless the device was opened with
    /// `GpuOptions::native_bf16` (feature `native-bf16`) on an adapter that has one.
    #[must_use]
    pub fn bf16_unit(&self) -> Option<Bf16Unit> {
        self.0.bf16_unit
    }

    /// Whether the adapter is software running on the CPU, where variants without barriers win.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.0.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Whether fewbit opened this device itself (and so may poll it and set its callbacks).
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.0.owned
    }

    /// Elementary operations that one dispatch, and one submit of the high door, may hold.
    #[must_use]
    pub fn work_cap(&self) -> u64 {
        self.0.work_cap.load(Ordering::Relaxed)
    }

    /// Sets the cap on work per dispatch and submit (at least 1); plans made later are split by it.
    pub fn set_work_cap(&self, cap: u64) {
        self.0.work_cap.store(cap.max(1), Ordering::Relaxed);
    }

    /// The most turns that one invocation's loops may make in one dispatch, all together. Operations split what
    /// would take more, or refuse it with [`Error::Limit`](crate::Error::Limit).
    #[must_use]
    pub fn turn_cap(&self) -> u64 {
        self.0.turn_cap.load(Ordering::Relaxed)
    }

    /// Sets the cap on turns (at least 64); plans made later are split by it.
    pub fn set_turn_cap(&self, cap: u64) {
        self.0.turn_cap.store(cap.max(64), Ordering::Relaxed);
    }

    /// The most workgroups that stand in one row of those that [`spread_groups`] spreads: the device's limit, or less.
    #[must_use]
    pub fn group_cap(&self) -> u64 {
        let limit = self.limits().max_compute_workgroups_per_dimension.into();
        self.0.group_cap.load(Ordering::Relaxed).min(limit)
    }

    /// Sets the cap on workgroups in a row (at least 1); plans made later are spread by it. For tests: few workgroups
    /// then lie in several rows, as millions do without it.
    pub fn set_group_cap(&self, cap: u64) {
        self.0.group_cap.store(cap.max(1), Ordering::Relaxed);
    }

    /// What was found out about this device under this name: by a kernel's probe, say. Clones of the handle share it.
    #[must_use]
    pub fn memo(&self, key: &'static str) -> Option<bool> {
        let findings = self.0.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.get(key).copied()
    }

    /// Remembers what was found; of two findings the first one stays, and is returned.
    pub fn remember(&self, key: &'static str, found: bool) -> bool {
        let mut findings = self.0.findings.lock().unwrap_or_else(PoisonError::into_inner);
        *findings.entry(key).or_insert(found)
    }

    /// A storage buffer of `bytes` bytes (rounded up to a multiple of 16, at least 16), zeroed, that can be
    /// copied from and to.
    ///
    /// # Errors
    /// Past the device's limit, out of memory, or device lost.
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.create_buffer(label, bytes, usage, false)
    }

    /// A buffer with contents, written through a mapping: nothing goes through the queue.
    ///
    /// # Errors
    /// Past the device's limit, out of memory, or device lost.
    pub fn buffer_with(&self, label: &str, words: &[u32], usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.create_buffer(label, words.len() as u64 * 4, usage, true)?;
        let bytes: &[u8] = bytemuck::cast_slice(words);
        if !bytes.is_empty() {
            let mut view = buffer
                .get_mapped_range_mut(..bytes.len() as u64)
                .map_err(|error| errors::gpu_error("buffer upload", &error))?;
            view.copy_from_slice(bytes);
        }
        buffer.unmap();
        Ok(buffer)
    }

    /// A read-only stand-in for operands that are absent: zero-size buffers cannot be bound.
    pub(crate) fn placeholder(&self) -> &wgpu::Buffer {
        &self.placeholders()[0]
    }

    /// The same for writable bindings: one buffer may not be bound read-only and writable at once.
    pub(crate) fn placeholder_writable(&self) -> &wgpu::Buffer {
        &self.placeholders()[1]
    }

    fn placeholders(&self) -> &[wgpu::Buffer; 2] {
        self.0.placeholders.get_or_init(|| {
            [0, 1].map(|_| {
                self.0.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("placeholder"),
                    size: 256,
                    usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM,
                    mapped_at_creation: false,
                })
            })
        })
    }
}
