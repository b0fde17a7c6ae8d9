//! WGSL to SPIR-V as wgpu-hal's Vulkan back end does it when a pipeline is made: `compile_stage` in its `device.rs`,
//! with the options of `device_from_raw` in its `adapter.rs`.

use std::collections::BTreeMap;

use clap::ValueEnum;
use fewbit::gpu::{Interface, Permutation};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// Which of wgpu's runtime checks stand in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Checks {
    /// All: every loop is bounded by a counter, every index that is not into a storage buffer is clamped.
    On,
    /// No counters in loops; clamps stay.
    NoLoops,
    /// Neither. Divisors are looked at all the same.
    Off,
}

impl Checks {
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::NoLoops => "no-loops",
            Self::Off => "off",
        }
    }
}

/// What of the device decides about the translation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub version: (u32, u32),
    pub robust_buffer_access2: bool,
    pub robust_image_access: bool,
    pub integer_dot_product: bool,
    pub int8: bool,
    pub float16: bool,
    pub storage_input_output_16: bool,
}

/// A module for the driver.
pub struct Module {
    pub words: Vec<u32>,
    /// Invocations of a workgroup.
    pub group: u32,
}

/// The module of a permutation.
pub fn spirv(
    permutation: &Permutation,
    interface: &Interface,
    facts: Facts,
    checks: Checks,
) -> Result<Module, String> {
    let source = permutation.source()?;
    let capabilities = capabilities(facts);
    let mut options = naga::front::wgsl::Options::new();
    options.capabilities = capabilities;
    let module = naga::front::wgsl::Frontend::new_with_options(options).parse(&source);
    let module = module.map_err(|error| error.emit_to_string(&source))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.subgroup_stages(ShaderStages::COMPUTE | ShaderStages::FRAGMENT);
    validator.subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module);
    let info = info.map_err(|error| error.emit_to_string(&source))?;
    let entry = (naga::ShaderStage::Compute, permutation.entry);
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, Some(entry), &Default::default())
            .map_err(|error| error.to_string())?;
    let pipeline = spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: permutation.entry.to_string(),
    };
    let point = module
        .entry_points
        .iter()
        .find(|point| point.name == permutation.entry);
    let group = point.map_or(0, |point| point.workgroup_size.iter().product());
    let words = spv::write_vec(&module, &info, &writer(interface, facts, checks), Some(&pipeline));
    Ok(Module {
        words: words.map_err(|error| error.to_string())?,
        group,
    })
}

fn capabilities(facts: Facts) -> Capabilities {
    let mut capabilities = Capabilities::default() | Capabilities::SUBGROUP;
    capabilities.set(Capabilities::SHADER_FLOAT16, facts.float16);
    capabilities
}

/// The options of a device with `SUBGROUP`, `SHADER_F16` and wgpu's default flags of a release build.
fn writer(interface: &Interface, facts: Facts, checks: Checks) -> spv::Options<'static> {
    use spv::Capability as C;
    let mut known = vec![
        C::Shader,
        C::Matrix,
        C::Sampled1D,
        C::Image1D,
        C::ImageQuery,
        C::DerivativeControl,
        C::StorageImageExtendedFormats,
        C::SampledCubeArray,
        C::SampleRateShading,
        C::GroupNonUniform,
        C::GroupNonUniformVote,
        C::GroupNonUniformArithmetic,
        C::GroupNonUniformBallot,
        C::GroupNonUniformShuffle,
        C::GroupNonUniformShuffleRelative,
        C::GroupNonUniformQuad,
    ];
    if facts.float16 {
        known.push(C::Float16);
    }
    if facts.integer_dot_product {
        known.extend([
            C::DotProductInputAllKHR,
            C::DotProductInput4x8BitKHR,
            C::DotProductInput4x8BitPackedKHR,
            C::DotProductKHR,
        ]);
    }
    if facts.int8 {
        known.push(C::Int8);
    }
    let bindings = (0u32..).zip(&interface.bindings).map(|(binding, _)| {
        let place = spv::BindingInfo {
            descriptor_set: 0,
            binding,
            binding_array_size: None,
        };
        (naga::ResourceBinding { group: 0, binding }, place)
    });
    let unless = |robust| match robust {
        true => BoundsCheckPolicy::Unchecked,
        false => BoundsCheckPolicy::Restrict,
    };
    let bounds_check_policies = match checks {
        Checks::On | Checks::NoLoops => BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer: unless(facts.robust_buffer_access2),
            image_load: unless(facts.robust_image_access),
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        Checks::Off => BoundsCheckPolicies {
            index: BoundsCheckPolicy::Unchecked,
            buffer: BoundsCheckPolicy::Unchecked,
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
    };
    spv::Options {
        lang_version: match facts.version {
            (1, 0) => (1, 0),
            (1, 1) => (1, 3),
            (1, 2) => (1, 5),
            _ => (1, 6),
        },
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        fake_missing_bindings: false,
        binding_map: bindings.collect::<BTreeMap<_, _>>(),
        capabilities: Some(known.into_iter().collect()),
        bounds_check_policies,
        // The library's pipelines ask for no zeros in workgroup memory.
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checks == Checks::On,
        ray_query_initialization_tracking: true,
        trace_ray_argument_validation: true,
        use_storage_input_output_16: facts.float16 && facts.storage_input_output_16,
        debug_info: None,
        task_dispatch_limits: None,
        mesh_shader_primitive_indices_clamp: true,
        emit_int_div_checks: true,
    }
}
