//! Pipelines: compiled once per device and permutation, then shared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::Shared;

use super::{Binding, BindingKind, Gpu, Interface, Permutation};
use crate::error::{Error, Result};

/// The compiler's message, if there will be one. A browser's futures are not `Send`: a page has one thread.
#[cfg(not(target_arch = "wasm32"))]
type Compiled = Shared<futures::future::BoxFuture<'static, Option<String>>>;
#[cfg(target_arch = "wasm32")]
type Compiled = Shared<futures::future::LocalBoxFuture<'static, Option<String>>>;

/// A compiled permutation of a kernel.
pub struct Pipeline {
    label: String,
    raw: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    interface: Interface,
    files: Vec<&'static str>,
    matrix_unit: bool,
    compiled: Compiled,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipeline({})", self.label)
    }
}

impl Pipeline {
    /// The wgpu pipeline.
    #[must_use]
    pub fn raw(&self) -> &wgpu::ComputePipeline {
        &self.raw
    }

    /// The layout of its one bind group.
    #[must_use]
    pub fn layout(&self) -> &wgpu::BindGroupLayout {
        &self.layout
    }

    /// Its parameters, step values and bindings.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Its bindings.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.interface.bindings
    }

    /// The WGSL files it is made of, by their paths below `shaders/`.
    #[must_use]
    pub fn files(&self) -> &[&'static str] {
        &self.files
    }

    /// Whether its products are those of matrix units.
    #[must_use]
    pub fn on_matrix_unit(&self) -> bool {
        self.matrix_unit
    }

    /// The permutation in a few words.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Waits until it has compiled.
    ///
    /// # Errors
    /// [`Error::Compile`] with the compiler's message.
    pub async fn ready(&self) -> Result<()> {
        match self.compiled.clone().await {
            None => Ok(()),
            Some(message) => Err(Error::Compile {
                kernel: self.label.clone(),
                message,
            }),
        }
    }
}

/// The pipelines of one device. A failure is remembered too: compilers do not change their minds, and take long
/// to say no.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<Permutation, Result<Arc<Pipeline>>>>);

impl Gpu {
    /// The pipeline of a permutation, compiled now if this is its first use on the device.
    ///
    /// # Errors
    /// [`Error::Compile`] with the compiler's message (in a browser: later, from [`Pipeline::ready`]), or device
    /// lost.
    pub fn pipeline(&self, permutation: &Permutation) -> Result<Arc<Pipeline>> {
        let lock = || self.0.pipelines.0.lock().unwrap_or_else(PoisonError::into_inner);
        let permutation = &match self.checks_shaders() {
            true => permutation.clone().checked(),
            false => permutation.clone(),
        };
        if let Some(outcome) = lock().get(permutation) {
            return outcome.clone();
        }
        // Compiled outside the lock: two threads may compile the same kernel once each, none waits.
        let outcome = self.compile(permutation).map(Arc::new);
        match outcome {
            Ok(_) | Err(Error::Compile { .. }) => {
                lock().entry(permutation.clone()).or_insert(outcome).clone()
            }
            Err(error) => Err(error),
        }
    }

    /// Every permutation that was asked for on this device, whether its compiler took it or not; as those of
    /// [`kernels::permutations`](crate::kernels::permutations), they are checked ones.
    #[must_use]
    pub fn permutations(&self) -> Vec<Permutation> {
        let known = self.0.pipelines.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys().cloned().map(Permutation::checked).collect()
    }

    /// How many pipelines have been compiled.
    #[must_use]
    pub fn pipeline_count(&self) -> usize {
        self.0
            .pipelines
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .filter(|outcome| outcome.is_ok())
            .count()
    }

    fn compile(&self, permutation: &Permutation) -> Result<Pipeline> {
        self.check_lost("compile")?;
        let device = self.device();
        let label = permutation.label();
        let refused = |message| Error::Compile {
            kernel: label.clone(),
            message,
        };
        let interface = permutation.interface().map_err(refused)?;
        let files = permutation.paths().map_err(refused)?;
        let (memory, limit) = (
            permutation.workgroup_memory,
            self.limits().max_compute_workgroup_storage_size,
        );
        if memory > limit {
            return Err(Error::Compile {
                kernel: label,
                message: format!("{memory} bytes of workgroup memory; the device has {limit}"),
            });
        }
        let spirv = permutation
            .spirv_module()
            .map(|module| super::spirv::specialized(module, &permutation.constants))
            .transpose()
            .map_err(refused)?;
        let source = permutation.source().map_err(refused)?;
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let entries: Vec<_> = (0u32..)
            .zip(&interface.bindings)
            .map(|(i, binding)| layout_entry(i, *binding))
            .collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = match spirv {
            None => self.shader_module(permutation, &label, source),
            Some(words) => {
                let descriptor = wgpu::ShaderModuleDescriptorPassthrough {
                    label: Some(&label),
                    entry_points: vec![wgpu::PassthroughShaderEntryPoint {
                        name: permutation.entry.into(),
                        // Metal's back end alone looks at it.
                        workgroup_size: (0, 0, 0),
                    }]
                    .into(),
                    spirv: Some(words.into()),
                    ..Default::default()
                };
                // SAFETY: who gave the permutation its module vouched for it (`Permutation::spirv`).
                unsafe { device.create_shader_module_passthrough(descriptor) }
            }
        };
        let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(permutation.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: self.0.pipeline_cache.as_ref(),
        });
        let (validation, internal) = (validation.pop(), internal.pop());
        let outcome = async move {
            let error = match validation.await {
                Some(error) => Some(error),
                None => internal.await,
            };
            error.map(|error| error.to_string())
        };
        #[cfg(not(target_arch = "wasm32"))]
        let compiled = outcome.boxed().shared();
        #[cfg(target_arch = "wasm32")]
        let compiled = outcome.boxed_local().shared();
        let pipeline = Pipeline {
            label,
            raw,
            layout,
            interface,
            files,
            matrix_unit: permutation.on_matrix_unit(),
            compiled,
        };
        // Native back ends have the answer already.
        match pipeline.ready().now_or_never() {
            Some(Err(error)) => Err(error),
            _ => Ok(pipeline),
        }
    }
}

fn layout_entry(binding: u32, desc: Binding) -> wgpu::BindGroupLayoutEntry {
    let ty = match desc.kind {
        BindingKind::Params | BindingKind::Step => wgpu::BufferBindingType::Uniform,
        BindingKind::Read => wgpu::BufferBindingType::Storage { read_only: true },
        BindingKind::Write => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: std::num::NonZeroU64::new(u64::from(desc.words) * 4),
        },
        count: None,
    }
}
