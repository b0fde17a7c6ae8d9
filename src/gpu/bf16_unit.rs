//! bf16 matrix units (`VK_KHR_shader_bfloat16`), which neither wgpu nor WGSL know: found and switched on through
//! wgpu-hal, used through a kernel compiled beforehand.

/// A bf16 matrix unit, and the kernel compiled for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bf16Unit {
    /// Rows, columns and depth of its matrices.
    pub(crate) size: u32,
    /// Lanes of every subgroup.
    pub(crate) subgroup: u32,
    pub(crate) spirv: &'static [u8],
}

#[cfg(feature = "native-bf16")]
impl Bf16Unit {
    /// Matrices of 16 x 16 bf16, depth 16, f32 sums, held by subgroups of 32 lanes.
    pub const NATIVE: Self = Self {
        size: 16,
        subgroup: 32,
        spirv: include_bytes!("../../shaders/matmul/bf16.spv"),
    };

    /// The same kernel compiled for f16 operands and units of 8 x 8 in subgroups of 8, which Mesa's software driver
    /// has. With it every bf16 product on the variant `bf16` takes its operands for f16: for tests of everything in
    /// the kernel but the name of a type.
    #[doc(hidden)]
    pub const STAND_IN: Self = Self {
        size: 8,
        subgroup: 8,
        spirv: include_bytes!("../../shaders/matmul/f16.spv"),
    };

    /// Every unit that the kernel is compiled for.
    pub(crate) const ALL: &[Self] = &[Self::NATIVE, Self::STAND_IN];

    /// The unit of this adapter that the kernel is compiled for, if Vulkan reports one.
    #[must_use]
    pub fn of(adapter: &wgpu::Adapter) -> Option<Self> {
        let unit = Self::NATIVE;
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let serves = info.backend == wgpu::Backend::Vulkan
            && adapter.features().contains(Self::features())
            && [info.subgroup_min_size, info.subgroup_max_size] == [unit.subgroup; 2]
            && limits.max_compute_workgroup_storage_size >= unit.workgroup_bytes()
            && limits.max_compute_invocations_per_workgroup >= 8 * unit.subgroup
            && vulkan::reports(adapter, unit.size);
        serves.then_some(unit)
    }

    /// The kernel, a SPIR-V module: see shaders/matmul/bf16.comp.
    #[must_use]
    pub fn module(&self) -> &'static [u8] {
        self.spirv
    }

    /// What wgpu must enable: Vulkan's cooperative matrices with its memory model, and SPIR-V as it is.
    pub(super) fn features() -> wgpu::Features {
        wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::PASSTHROUGH_SHADERS
    }

    /// [`wgpu::Adapter::request_device`] with bf16 switched on as well, on an adapter that has a unit.
    pub(super) fn request_device(
        adapter: &wgpu::Adapter,
        descriptor: &wgpu::DeviceDescriptor<'_>,
    ) -> Result<(wgpu::Device, wgpu::Queue), String> {
        vulkan::request_device(adapter, descriptor)
    }
}

impl Bf16Unit {
    /// Every unit that the kernel is compiled for: none.
    #[cfg(not(feature = "native-bf16"))]
    pub(crate) const ALL: &[Self] = &[];

    /// What the kernel's variables take: two slabs of operands and the sums.
    pub(crate) fn workgroup_bytes(&self) -> u32 {
        let slab = 8 * self.size * 5 * 16;
        2 * slab + 8 * self.size * self.size * 4
    }
}

/// Where wgpu has a Vulkan back end.
#[cfg(all(
    feature = "native-bf16",
    any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")
))]
mod vulkan {
    use std::ffi::{CStr, c_void};

    use ash::vk;
    use wgpu::hal::api::Vulkan;

    const EXTENSION: &CStr = c"VK_KHR_shader_bfloat16";
    /// `VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR`; ash 0.38 is older than the extension.
    const FEATURES: vk::StructureType = vk::StructureType::from_raw(1_000_141_000);
    /// `VK_COMPONENT_TYPE_BFLOAT16_KHR`.
    const BFLOAT16: vk::ComponentTypeKHR = vk::ComponentTypeKHR::from_raw(1_000_141_000);

    /// `VkPhysicalDeviceShaderBfloat16FeaturesKHR`.
    #[repr(C)]
    struct Features {
        s_type: vk::StructureType,
        next: *mut c_void,
        scalar_type: vk::Bool32,
        dot_product: vk::Bool32,
        cooperative_matrix: vk::Bool32,
    }

    impl Features {
        fn new(on: bool) -> Self {
            Self {
                s_type: FEATURES,
                next: std::ptr::null_mut(),
                scalar_type: on.into(),
                dot_product: vk::FALSE,
                cooperative_matrix: on.into(),
            }
        }
    }

    /// Whether Vulkan reports bf16 matrices of `size` x `size`, depth `size`, with f32 sums, for subgroups.
    pub(super) fn reports(adapter: &wgpu::Adapter, size: u32) -> bool {
        // SAFETY: the guard is only read from and dropped; nothing behind it is destroyed.
        let Some(hal) = (unsafe { adapter.as_hal::<Vulkan>() }) else {
            return false;
        };
        let capabilities = hal.physical_device_capabilities();
        if !capabilities.supports_extension(EXTENSION)
            || !capabilities.supports_extension(ash::khr::cooperative_matrix::NAME)
            || capabilities.properties().api_version < vk::API_VERSION_1_2
        {
            return false;
        }
        let instance = hal.shared_instance();
        let (raw, physical) = (instance.raw_instance(), hal.raw_physical_device());
        let mut bf16 = Features::new(false);
        let mut all = vk::PhysicalDeviceFeatures2 {
            p_next: (&raw mut bf16).cast(),
            ..Default::default()
        };
        // SAFETY: the physical device is of this instance, and of Vulkan 1.2, which has the call; `bf16`, which
        // outlives it, has the layout that its s_type announces, of an extension that the device supports.
        unsafe { raw.get_physical_device_features2(physical, &mut all) };
        if bf16.scalar_type == vk::FALSE || bf16.cooperative_matrix == vk::FALSE {
            return false;
        }
        let matrices = ash::khr::cooperative_matrix::Instance::new(instance.entry(), raw);
        // SAFETY: the physical device is of this instance and supports the extension.
        let found = unsafe { matrices.get_physical_device_cooperative_matrix_properties(physical) };
        found.unwrap_or_default().iter().any(|unit| {
            [unit.m_size, unit.n_size, unit.k_size] == [size; 3]
                && [unit.a_type, unit.b_type] == [BFLOAT16; 2]
                && [unit.c_type, unit.result_type] == [vk::ComponentTypeKHR::FLOAT32; 2]
                && unit.scope == vk::ScopeKHR::SUBGROUP
        })
    }

    pub(super) fn request_device(
        adapter: &wgpu::Adapter,
        descriptor: &wgpu::DeviceDescriptor<'_>,
    ) -> Result<(wgpu::Device, wgpu::Queue), String> {
        // SAFETY: as above.
        let hal = unsafe { adapter.as_hal::<Vulkan>() }.ok_or("this is no Vulkan adapter")?;
        let mut bf16 = Features::new(true);
        // SAFETY: features and limits are the adapter's own (see `Gpu::open_with`), which is what wgpu would have
        // checked. The callback adds an extension and features that `reports` found; `bf16` outlives the call, and
        // what was in the chain before follows it.
        let opened = unsafe {
            hal.open_with_callback(
                descriptor.required_features,
                &descriptor.required_limits,
                &descriptor.memory_hints,
                Some(Box::new(|args| {
                    args.extensions.push(EXTENSION);
                    bf16.next = args.create_info.p_next.cast_mut();
                    args.create_info.p_next = (&raw const bf16).cast();
                })),
            )
        };
        drop(hal);
        let opened = opened.map_err(|error| error.to_string())?;
        // SAFETY: the device was just made from this adapter, with the descriptor's features.
        unsafe { adapter.create_device_from_hal::<Vulkan>(opened, descriptor) }
            .map_err(|error| error.to_string())
    }
}

#[cfg(all(
    feature = "native-bf16",
    not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))
))]
mod vulkan {
    pub(super) fn reports(_: &wgpu::Adapter, _: u32) -> bool {
        false
    }

    pub(super) fn request_device(
        _: &wgpu::Adapter,
        _: &wgpu::DeviceDescriptor<'_>,
    ) -> Result<(wgpu::Device, wgpu::Queue), String> {
        Err("wgpu has no Vulkan here".into())
    }
}
