//! `fewbit info`: adapters, limits, features, and the variants each enables.

use std::collections::BTreeMap;

use fewbit::check::{self, Case};
use fewbit::cpu::Cpu;
use fewbit::gpu::{Gpu, GpuOptions, Offsets};

use super::output::{Output, Row};
use super::{Common, Stop, device};

pub(crate) fn run(common: &Common, output: &mut Output) -> Result<(), Stop> {
    let chosen = device::open(common, output)?;
    for cpu in Cpu::available() {
        let best = if chosen.as_cpu().is_some_and(|c| c.to_string() == cpu.to_string()) {
            " (chosen)"
        } else {
            ""
        };
        output.line(&format!("\nCPU device: {cpu}{best}"));
        output.row(Row::new("device", "cpu", &cpu.to_string(), true));
    }
    let mut options = GpuOptions::default();
    options.experimental = device::experimental(common);
    options.native_bf16 = common.native_bf16;
    let adapters = pollster::block_on(fewbit::gpu::adapters());
    if adapters.is_empty() {
        output.line("\nNo GPU adapter found.");
    }
    let cases = check::cases(check::Effort::Quick);
    for (number, adapter) in adapters.into_iter().enumerate() {
        let info = adapter.get_info();
        output.line(&format!(
            "\n{number}: {} ({:?}, {:?})",
            info.name, info.device_type, info.backend
        ));
        output.line(&format!("  driver    {} {}", info.driver, info.driver_info));
        let gpu = match pollster::block_on(Gpu::open_with(adapter, &options)) {
            Ok(gpu) => gpu,
            Err(error) => {
                output.line(&format!("  cannot be opened: {error}"));
                let row = Row::new("device", "gpu", &info.name, false)
                    .with("adapter", number)
                    .with("error", error.to_string());
                output.row(row);
                continue;
            }
        };
        let features: Vec<_> = gpu.features().iter_names().map(|(name, _)| name).collect();
        let limits = gpu.limits();
        output.line(&format!(
            "  limits    binding {} MiB, buffer {} MiB, workgroup memory {} KiB, {} invocations, {} groups \
             per dimension, {} storage buffers, offsets of {} bytes",
            limits.max_storage_buffer_binding_size >> 20,
            limits.max_buffer_size >> 20,
            limits.max_compute_workgroup_storage_size >> 10,
            limits.max_compute_invocations_per_workgroup,
            limits.max_compute_workgroups_per_dimension,
            limits.max_storage_buffers_per_shader_stage,
            limits.min_storage_buffer_offset_alignment,
        ));
        output.line(&format!(
            "  subgroups {} to {}",
            info.subgroup_min_size, info.subgroup_max_size
        ));
        output.line(&format!(
            "  features  {} (optional: they only add variants or timing)",
            features.join(", ")
        ));
        output.line(match gpu.protects_storage() {
            true => "  shaders   trusted ones without clamps: the driver stops what passes a storage binding",
            false => "  shaders   trusted ones with clamps on indices: no driver stops what passes a storage binding",
        });
        if common.experimental {
            output.line(&format!("  {}", device::matrix_units(&gpu)));
        }
        let variants = variants(&gpu, &cases);
        for (kernel, names) in &variants {
            output.line(&format!("  {kernel:<9} {}", names.join(", ")));
        }
        let row = Row::new(
            "device",
            &format!("{:?}", info.backend).to_lowercase(),
            &info.name,
            true,
        )
        .with("adapter", number)
        .with("device_type", format!("{:?}", info.device_type))
        .with("driver", format!("{} {}", info.driver, info.driver_info))
        .with("features", features)
        .with(
            "max_storage_buffer_binding_bytes",
            limits.max_storage_buffer_binding_size,
        )
        .with("max_buffer_bytes", limits.max_buffer_size)
        .with(
            "max_compute_workgroup_storage_bytes",
            limits.max_compute_workgroup_storage_size,
        )
        .with("subgroup_min_size", info.subgroup_min_size)
        .with("subgroup_max_size", info.subgroup_max_size)
        .with("variants", serde_json::json!(variants));
        output.row(row);
    }
    Ok(())
}

/// The variants that any of the cases may take on this GPU, by kernel.
fn variants(gpu: &Gpu, cases: &[Case]) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut variants: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for case in cases {
        let names: &mut Vec<_> = variants.entry(case.op.name()).or_default();
        for name in case.op.variants(gpu, Offsets::Vec4) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    variants
}
