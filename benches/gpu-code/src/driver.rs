//! Mesa's driver for AMD on its null device: it compiles, and answers what came out; nothing runs.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use ash::{ext, khr, vk};
use fewbit::gpu::{BindingKind, Interface};

use crate::translate::Facts;

/// The device.
pub struct Driver {
    // Dropped before what they were made of; the process ends with them.
    executables: khr::pipeline_executable_properties::Device,
    device: ash::Device,
    instance: ash::Instance,
    _entry: ash::Entry,
    pub facts: Facts,
    /// The device's name.
    pub name: String,
    /// The driver and its version.
    pub version: String,
}

/// What the driver made of a pipeline.
#[derive(Debug, Default)]
pub struct Compiled {
    pub statistics: Vec<(String, u64)>,
    /// Lanes of a wave.
    pub lanes: u32,
    pub assembly: String,
}

fn text(chars: &[c_char]) -> String {
    let bytes = chars.iter().take_while(|c| **c != 0).map(|c| *c as u8);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// The features that wgpu-hal enables and that shaders feel, where the device has them.
#[derive(Default)]
struct Features {
    core: vk::PhysicalDeviceFeatures,
    robustness2: vk::PhysicalDeviceRobustness2FeaturesEXT<'static>,
    image_robustness: vk::PhysicalDeviceImageRobustnessFeatures<'static>,
    float16_int8: vk::PhysicalDeviceShaderFloat16Int8Features<'static>,
    storage_16: vk::PhysicalDevice16BitStorageFeatures<'static>,
    subgroup_size: vk::PhysicalDeviceSubgroupSizeControlFeatures<'static>,
    maintenance4: vk::PhysicalDeviceMaintenance4Features<'static>,
    dot_product: vk::PhysicalDeviceShaderIntegerDotProductFeatures<'static>,
    zero_workgroup: vk::PhysicalDeviceZeroInitializeWorkgroupMemoryFeatures<'static>,
    executables: vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR<'static>,
}

/// The device's extensions that are taken where they are there; all others of wgpu-hal's leave shaders as they are.
const EXTENSIONS: [&CStr; 8] = [
    khr::pipeline_executable_properties::NAME,
    ext::robustness2::NAME,
    ext::image_robustness::NAME,
    ext::subgroup_size_control::NAME,
    khr::shader_float16_int8::NAME,
    khr::shader_integer_dot_product::NAME,
    khr::maintenance4::NAME,
    khr::zero_initialize_workgroup_memory::NAME,
];

impl Driver {
    /// Opens the first device, which the environment must have made the only one.
    pub fn open() -> Result<Self, String> {
        let say = |what: &'static str| move |error: vk::Result| format!("{what}: {error}");
        // SAFETY: the loader's library is the platform's, and its functions are called as Vulkan says.
        let entry = unsafe { ash::Entry::load() };
        let entry = entry.map_err(|error| format!("no Vulkan loader: {error}"))?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the structures live until the call has returned; no allocator is given.
        let instance = unsafe { entry.create_instance(&info, None) }.map_err(say("vkCreateInstance"))?;
        // SAFETY: the instance is alive.
        let devices = unsafe { instance.enumerate_physical_devices() };
        let devices = devices.map_err(say("vkEnumeratePhysicalDevices"))?;
        let physical = *devices.first().ok_or("the driver lists no device")?;
        let (name, version, api) = identity(&instance, physical);
        // SAFETY: the device is one of the instance.
        let known = unsafe { instance.enumerate_device_extension_properties(physical) };
        let known = known.map_err(say("vkEnumerateDeviceExtensionProperties"))?;
        let has = |name: &&CStr| {
            known
                .iter()
                .any(|known| known.extension_name_as_c_str() == Ok(*name))
        };
        let enabled: Vec<&CStr> = EXTENSIONS.into_iter().filter(has).collect();
        if enabled.first() != Some(&EXTENSIONS[0]) {
            return Err(format!(
                "{name} ({version}) has no VK_KHR_pipeline_executable_properties"
            ));
        }
        let mut features = Features::default();
        let mut all = features.chain(&enabled);
        // SAFETY: the device is one of the instance, and the chain's structures outlive the call.
        unsafe { instance.get_physical_device_features2(physical, &mut all) };
        let core = all.features;
        features.core = core;
        features.restrict();
        let facts = features.facts(api);
        let mut all = features.chain(&enabled);
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let names: Vec<*const c_char> = enabled.iter().map(|name| name.as_ptr()).collect();
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&names);
        let info = info.push_next(&mut all);
        // SAFETY: queue family 0 exists on every device; extensions and features are those that it reported.
        let device =
            unsafe { instance.create_device(physical, &info, None) }.map_err(say("vkCreateDevice"))?;
        Ok(Self {
            executables: khr::pipeline_executable_properties::Device::new(&instance, &device),
            device,
            instance,
            _entry: entry,
            facts,
            name,
            version,
        })
    }

    /// Compiles a module as the pipeline of a permutation with these bindings.
    pub fn compile(&self, spirv: &[u32], entry: &str, interface: &Interface) -> Result<Compiled, String> {
        let say = |what: &'static str| move |error: vk::Result| format!("{what}: {error}");
        let bindings: Vec<_> = (0u32..)
            .zip(&interface.bindings)
            .map(|(at, binding)| {
                let kind = match binding.kind {
                    BindingKind::Params | BindingKind::Step => vk::DescriptorType::UNIFORM_BUFFER,
                    BindingKind::Read | BindingKind::Write => vk::DescriptorType::STORAGE_BUFFER,
                };
                vk::DescriptorSetLayoutBinding::default()
                    .binding(at)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let entry = CString::new(entry).map_err(|error| error.to_string())?;
        let device = &self.device;
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: this and the calls below are given structures that live until they return and handles that this
        // function made, and destroys behind their last use; the module is naga's, validated.
        let set = unsafe { device.create_descriptor_set_layout(&info, None) };
        let sets = [set.map_err(say("vkCreateDescriptorSetLayout"))?];
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        // SAFETY: as above.
        let layout = unsafe { device.create_pipeline_layout(&info, None) };
        let layout = layout.map_err(say("vkCreatePipelineLayout"))?;
        let info = vk::ShaderModuleCreateInfo::default().code(spirv);
        // SAFETY: as above.
        let module = unsafe { device.create_shader_module(&info, None) };
        let module = module.map_err(say("vkCreateShaderModule"))?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(&entry);
        let capture = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
            | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
        let info = vk::ComputePipelineCreateInfo::default()
            .flags(capture)
            .layout(layout)
            .stage(stage);
        // SAFETY: as above.
        let pipelines = unsafe { device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) };
        let compiled = match pipelines {
            Ok(pipelines) => pipelines
                .first()
                .ok_or_else(|| "vkCreateComputePipelines made none".to_string())
                .and_then(|pipeline| {
                    let compiled = self.ask(*pipeline);
                    // SAFETY: as above.
                    unsafe { device.destroy_pipeline(*pipeline, None) };
                    compiled
                }),
            Err((_, error)) => Err(format!("vkCreateComputePipelines: {error}")),
        };
        // SAFETY: as above.
        unsafe {
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
        }
        compiled
    }

    fn ask(&self, pipeline: vk::Pipeline) -> Result<Compiled, String> {
        let say = |what: &'static str| move |error: vk::Result| format!("{what}: {error}");
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline is alive and was made with both capture flags, here and below.
        let executables = unsafe { self.executables.get_pipeline_executable_properties(&info) };
        let executables = executables.map_err(say("vkGetPipelineExecutablePropertiesKHR"))?;
        let lanes = executables
            .first()
            .ok_or("the pipeline has no executable")?
            .subgroup_size;
        let info = vk::PipelineExecutableInfoKHR::default()
            .pipeline(pipeline)
            .executable_index(0);
        // SAFETY: as above; there is an executable 0.
        let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&info) };
        let statistics = statistics.map_err(say("vkGetPipelineExecutableStatisticsKHR"))?;
        let value = |statistic: &vk::PipelineExecutableStatisticKHR<'_>| {
            use vk::PipelineExecutableStatisticFormatKHR as Format;
            // SAFETY: the driver wrote the field that the format names.
            unsafe {
                match statistic.format {
                    Format::BOOL32 => u64::from(statistic.value.b32),
                    Format::INT64 => statistic.value.i64.max(0) as u64,
                    Format::FLOAT64 => statistic.value.f64 as u64,
                    _ => statistic.value.u64,
                }
            }
        };
        let statistics = statistics
            .iter()
            .map(|statistic| (text(&statistic.name), value(statistic)));
        Ok(Compiled {
            statistics: statistics.collect(),
            lanes,
            assembly: self.assembly(&info)?,
        })
    }

    /// The text "Assembly" among the internal representations.
    fn assembly(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> Result<String, String> {
        let say = |error: vk::Result| format!("vkGetPipelineExecutableInternalRepresentationsKHR: {error}");
        // SAFETY: the pipeline was made with the capture flag; without memory to write to, sizes are answered.
        let sizes = unsafe {
            self.executables
                .get_pipeline_executable_internal_representations(info)
        };
        let mut found = sizes.map_err(say)?;
        let mut texts: Vec<Vec<u8>> = found.iter().map(|found| vec![0; found.data_size]).collect();
        for (found, text) in found.iter_mut().zip(&mut texts) {
            found.p_data = text.as_mut_ptr().cast();
        }
        let mut count = found.len() as u32;
        let ask = self
            .executables
            .fp()
            .get_pipeline_executable_internal_representations_khr;
        // SAFETY: `count` structures stand at the pointer, each with memory of the size that it names.
        let outcome = unsafe {
            ask(
                self.device.handle(),
                ptr::from_ref(info),
                &mut count,
                found.as_mut_ptr(),
            )
        };
        if outcome != vk::Result::SUCCESS {
            return Err(say(outcome));
        }
        let wanted = found
            .iter()
            .zip(&texts)
            .find(|(found, _)| text(&found.name) == "Assembly");
        let bytes = wanted
            .map(|(_, bytes)| bytes)
            .ok_or("the driver gives no assembly")?;
        let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: every pipeline was destroyed when it had been asked; nothing else was made of the device, and
        // nothing but it of the instance.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// The device's name, the driver with its version, and the version of Vulkan.
fn identity(instance: &ash::Instance, physical: vk::PhysicalDevice) -> (String, String, (u32, u32)) {
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
    // SAFETY: the device is one of the instance, and both structures outlive the call.
    unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
    let api = properties.properties.api_version;
    let name = text(&properties.properties.device_name);
    let version = format!("{} {}", text(&driver.driver_name), text(&driver.driver_info));
    (
        name,
        version,
        (vk::api_version_major(api), vk::api_version_minor(api)),
    )
}

impl Features {
    /// All of them behind one another, without those whose extension is not there.
    fn chain<'a>(&'a mut self, enabled: &[&CStr]) -> vk::PhysicalDeviceFeatures2<'a> {
        // A chain made before would be taken along.
        self.robustness2.p_next = ptr::null_mut();
        self.image_robustness.p_next = ptr::null_mut();
        self.float16_int8.p_next = ptr::null_mut();
        self.storage_16.p_next = ptr::null_mut();
        self.subgroup_size.p_next = ptr::null_mut();
        self.maintenance4.p_next = ptr::null_mut();
        self.dot_product.p_next = ptr::null_mut();
        self.zero_workgroup.p_next = ptr::null_mut();
        self.executables.p_next = ptr::null_mut();
        let mut all = vk::PhysicalDeviceFeatures2::default().features(self.core);
        all = all
            .push_next(&mut self.executables)
            .push_next(&mut self.storage_16);
        if enabled.contains(&ext::robustness2::NAME) {
            all = all.push_next(&mut self.robustness2);
        }
        if enabled.contains(&ext::image_robustness::NAME) {
            all = all.push_next(&mut self.image_robustness);
        }
        if enabled.contains(&khr::shader_float16_int8::NAME) {
            all = all.push_next(&mut self.float16_int8);
        }
        if enabled.contains(&ext::subgroup_size_control::NAME) {
            all = all.push_next(&mut self.subgroup_size);
        }
        if enabled.contains(&khr::maintenance4::NAME) {
            all = all.push_next(&mut self.maintenance4);
        }
        if enabled.contains(&khr::shader_integer_dot_product::NAME) {
            all = all.push_next(&mut self.dot_product);
        }
        if enabled.contains(&khr::zero_initialize_workgroup_memory::NAME) {
            all = all.push_next(&mut self.zero_workgroup);
        }
        all
    }

    /// Leaves on what wgpu-hal turns on.
    fn restrict(&mut self) {
        let has = self.core;
        self.core = vk::PhysicalDeviceFeatures {
            robust_buffer_access: has.robust_buffer_access,
            ..Default::default()
        };
        self.robustness2.null_descriptor = vk::FALSE;
        self.storage_16.storage_push_constant16 = vk::FALSE;
    }

    fn facts(&self, version: (u32, u32)) -> Facts {
        Facts {
            version,
            robust_buffer_access2: self.robustness2.robust_buffer_access2 != 0,
            robust_image_access: self.robustness2.robust_image_access2 != 0
                || self.image_robustness.robust_image_access != 0,
            integer_dot_product: self.dot_product.shader_integer_dot_product != 0,
            int8: self.float16_int8.shader_int8 != 0,
            float16: self.float16_int8.shader_float16 != 0
                && self.storage_16.storage_buffer16_bit_access != 0,
            storage_input_output_16: self.storage_16.storage_input_output16 != 0,
        }
    }
}
