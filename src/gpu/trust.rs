//! Shaders that run without some of wgpu's runtime checks.
//!
//! wgpu makes any shader safe: it counts the turns of every loop and ends one that has made 2^64 of them, and it clamps
//! every index. That is a share of every hot loop, and a counter in it keeps compilers from unrolling. A shader whose
//! author vouches for both ([`Shader::trusted`](super::Shader::trusted)) goes without: loops are not counted, and indices
//! into its own arrays and vectors are not clamped where the platform itself keeps storage buffers apart (wgpu switches
//! both kinds of clamps off together, so elsewhere they stay).
//!
//! A permutation that the crate hands out (by [`kernels::permutations`](crate::kernels::permutations), say) is checked
//! whatever its shader is trusted with: parameters of a caller's own would be outside of what the author has argued.

use std::sync::atomic::Ordering;

use super::{Gpu, Permutation};

impl Gpu {
    /// Whether pipelines are made with all of wgpu's runtime checks, whatever their shaders are trusted with.
    #[must_use]
    pub fn checks_shaders(&self) -> bool {
        self.0.checked.load(Ordering::Relaxed)
    }

    /// Makes pipelines with all of wgpu's runtime checks from now on, or no longer: plans made later take them. To find
    /// out whether a wrong result, or a device that is lost, comes of a fault in a trusted shader.
    pub fn set_checked_shaders(&self, checked: bool) {
        self.0.checked.store(checked, Ordering::Relaxed);
    }

    /// Whether reads and writes past a storage binding are the platform's to stop, as wgpu then leaves them to it.
    #[must_use]
    pub fn protects_storage(&self) -> bool {
        self.0.protects_storage
    }

    /// The checks that this permutation's pipeline is made with.
    fn runtime_checks(&self, permutation: &Permutation) -> wgpu::ShaderRuntimeChecks {
        let mut checks = wgpu::ShaderRuntimeChecks::checked();
        if permutation.is_trusted() {
            checks.force_loop_bounding = false;
            checks.bounds_checks = !self.protects_storage();
        }
        checks
    }

    /// A shader module of WGSL, with the checks that its permutation asks for.
    pub(super) fn shader_module(
        &self,
        permutation: &Permutation,
        label: &str,
        source: String,
    ) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let checks = self.runtime_checks(permutation);
        // SAFETY: wgpu asks that, without these checks, no loop be endless and no index outside of what it indexes. All
        // checks are made unless the shader is trusted, whose author has promised just that for every dispatch that its
        // own plans make (`Shader::trusted`). Of the shaders of this crate it holds whatever the buffers hold:
        //
        // - Parameters are the plan's. They come from operations that have passed `Op::check`, which `Table::plan` asks
        //   of every caller, through `Dispatch::set`, and stand in a uniform buffer that `Plan::bind_loosely` makes and
        //   nobody else can name. Permutations that are handed out are checked ones, so that no caller's dispatch gives
        //   parameters of its own to a trusted pipeline.
        // - What is read from storage, scratch memory and step values too, bounds no loop and indexes no array of the
        //   shader's own before it is clamped to the plan's sizes: row_ptr and col_idx (lib/csr.wgsl, spmm/common.wgsl,
        //   spmv/merge_path.wgsl, spmv/merge.wgsl), the count of outliers (matmul/coop.wgsl). Labels, codes and scales are
        //   values, or indices into storage, which the platform or wgpu's clamps keep inside.
        // - A loop goes up by a step of at least 1 to a bound that stands still, or halves a number to 0, or halves an
        //   interval. No counter wraps: bounds are constants, or count words, halves or columns of one binding, which has
        //   2 GiB at most (`MOST_BINDING_BYTES`) and so at most 2^30 of them, or are extents that `Op::check` keeps below
        //   2^31 (`Matmul`), or are reached in steps of 1; steps are constants, or strides below 2^28 (`squares`).
        // - `Plan::new` refuses dispatches whose loops make more turns than `Gpu::turn_cap`: those ends are near.
        // - Indices into workgroup memory, local arrays and vectors are argued where these are declared. tests/trust.rs
        //   records the largest of each over the cases, and compares it with the length.
        unsafe { self.device().create_shader_module_trusted(descriptor, checks) }
    }
}

/// Where wgpu has a Vulkan back end.
#[cfg(all(
    feature = "native",
    any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")
))]
mod platform {
    use ash::vk;
    use wgpu::hal::api::Vulkan;

    /// Whether robustBufferAccess2 is enabled on the device. wgpu-hal enables the extension wherever it is, and with it
    /// the feature where it is supported; it then leaves buffers to the driver, and tells nobody.
    pub(in crate::gpu) fn protects_storage(device: &wgpu::Device) -> bool {
        // SAFETY: the guard is only read from and dropped; nothing behind it is destroyed.
        let Some(hal) = (unsafe { device.as_hal::<Vulkan>() }) else {
            return false;
        };
        let name = ash::ext::robustness2::NAME;
        let raw = hal.shared_instance().raw_instance();
        let physical = hal.raw_physical_device();
        // SAFETY: the physical device is of this instance.
        let version = unsafe { raw.get_physical_device_properties(physical) }.api_version;
        if !hal.enabled_device_extensions().contains(&name) || version < vk::API_VERSION_1_1 {
            return false;
        }
        let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut all = vk::PhysicalDeviceFeatures2::default().push_next(&mut robustness);
        // SAFETY: the physical device is of this instance, and of Vulkan 1.1, which has the call; the extension that
        // the structure in the chain belongs to is one that the device supports, for it is enabled.
        unsafe { raw.get_physical_device_features2(physical, &mut all) };
        robustness.robust_buffer_access2 == vk::TRUE
    }
}

#[cfg(not(all(
    feature = "native",
    any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")
)))]
mod platform {
    /// Other back ends have nothing that wgpu could leave buffers to.
    pub(in crate::gpu) fn protects_storage(_: &wgpu::Device) -> bool {
        false
    }
}

pub(super) use platform::protects_storage;
