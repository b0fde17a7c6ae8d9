//! The kernel in SPIR-V: its bindings are those written on the host, adapters without bf16 matrices are left as they
//! are, and the kernel compiled for f16 (`Bf16Unit::STAND_IN`) computes products on a software driver's units.
//!
//! The last needs wgpu's experimental features and Mesa 26: `FEWBIT_EXPERIMENTAL=1` asks for it, and fails where there
//! is no unit; without, it shows as ignored. scripts/full.sh runs it.

mod common;

use std::collections::HashMap;

use fewbit::check::{self, Case, Effort, Expected};
use fewbit::gpu::{Bf16Unit, BindingKind, Gpu, GpuOptions, Offsets, Operand, PlanRequest, ReadBack};
use fewbit::op::Arithmetic;
use fewbit::tensor::HostBuffer;
use fewbit::wgpu;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() {
    let trials = vec![
        Trial::test("bindings match the module", bindings_match),
        common::on_gpu("adapters without bf16 matrices open as ever", opens_as_ever),
        Trial::ignorable_test("products on f16 units", || {
            if !std::env::var("FEWBIT_EXPERIMENTAL").is_ok_and(|value| value == "1") {
                return Ok(Completion::ignored_with(
                    "FEWBIT_EXPERIMENTAL=1 asks for it, on a driver with matrix units",
                ));
            }
            let software = |adapter: &wgpu::Adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu;
            if !common::adapters().is_empty() && !common::adapters().iter().any(software) {
                return Ok(Completion::ignored_with(
                    "it stands in for a real unit on a software driver, and there are only real adapters here",
                ));
            }
            products().map(|()| Completion::Completed)
        }),
    ];
    common::end(&libtest_mimic::run(&Arguments::from_args(), trials))
}

fn token() -> wgpu::ExperimentalFeatures {
    // SAFETY: wgpu asks that whoever makes the token accepts features it does not vouch for: here, software
    // drivers' cooperative matrices.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// Set, binding, kind and name of every variable of a module, from its decorations.
fn reflect(module: &[u8]) -> Vec<(u32, BindingKind, String)> {
    let words: Vec<u32> = module
        .as_chunks::<4>()
        .0
        .iter()
        .copied()
        .map(u32::from_le_bytes)
        .collect();
    let (mut names, mut bindings, mut read_only) = (HashMap::new(), HashMap::new(), Vec::new());
    let (mut pointers, mut found) = (HashMap::new(), Vec::new());
    let mut at = 5;
    while at < words.len() {
        let (length, opcode) = ((words[at] >> 16) as usize, words[at] & 0xffff);
        let op = &words[at + 1..at + length];
        match (opcode, op) {
            // OpName, OpDecorate Binding, OpDecorate and OpMemberDecorate NonWritable, OpTypePointer, OpVariable
            (5, [id, text @ ..]) => {
                let bytes: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).collect();
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                names.insert(*id, String::from_utf8_lossy(name).into_owned());
            }
            (71, [id, 33, binding]) => {
                bindings.insert(*id, *binding);
            }
            (71, [id, 24]) | (72, [id, _, 24]) => read_only.push(*id),
            (32, [id, class, pointee]) => {
                pointers.insert(*id, (*class, *pointee));
            }
            (59, [ty, id, class, ..]) if bindings.contains_key(id) => {
                let pointee = pointers[ty].1;
                let kind = match class {
                    2 => BindingKind::Params,
                    _ if read_only.contains(&pointee) || read_only.contains(id) => BindingKind::Read,
                    _ => BindingKind::Write,
                };
                found.push((bindings[id], kind, names[id].clone()));
            }
            _ => {}
        }
        at += length;
    }
    found.sort_by_key(|(binding, ..)| *binding);
    found
}

fn bindings_match() -> Result<(), Failed> {
    // Those of matmul, of which the kernel takes four.
    let permutations = fewbit::kernels::permutations();
    let matmul = permutations
        .iter()
        .find(|permutation| permutation.name() == "matmul/bf16_interface")
        .ok_or("matmul's bindings are not to be found")?;
    for unit in [Bf16Unit::NATIVE, Bf16Unit::STAND_IN] {
        let found = reflect(unit.module());
        let numbers: Vec<_> = found.iter().map(|(binding, ..)| *binding).collect();
        if numbers != [0, 2, 3, 6] {
            return Err(format!("bindings {numbers:?}").into());
        }
        for (binding, kind, name) in found {
            let desc = matmul.interface().unwrap_or_default().bindings[binding as usize];
            if (desc.kind, desc.name) != (kind, name.as_str()) {
                return Err(format!("binding {binding} is {kind:?} {name}, on the host {desc:?}").into());
            }
        }
    }
    Ok(())
}

/// Asked for native bf16, an adapter without it opens without, and computes.
fn opens_as_ever() -> Result<(), Failed> {
    let cases = cases();
    for adapter in common::adapters() {
        let mut options = GpuOptions::default();
        options.experimental = token();
        options.native_bf16 = true;
        let reported = Bf16Unit::of(adapter);
        let gpu = match pollster::block_on(Gpu::open_with(adapter.clone(), &options)) {
            Ok(gpu) => gpu,
            // One that opens in no way is no matter of bf16.
            Err(_) if pollster::block_on(Gpu::open_adapter(adapter.clone())).is_err() => continue,
            Err(error) => return Err(error.into()),
        };
        common::keep(gpu.device());
        if gpu.bf16_unit() != reported {
            return Err(format!("{gpu:?} has {:?}, reports {reported:?}", gpu.bf16_unit()).into());
        }
        let served = |case: &&Case| case.op.variants(&gpu, Offsets::Vec4).contains(&"bf16");
        let served = cases.iter().find(served);
        if served.is_some() != reported.is_some() {
            return Err(format!(
                "{gpu:?} reports {reported:?}, variant bf16 serves {}",
                served.is_some()
            )
            .into());
        }
        let case = served.or(cases.first()).ok_or("no case")?;
        for report in check::run(&fewbit::Device::from_gpu(gpu), case)? {
            if let Some(failure) = report.verdict.failure {
                return Err(format!("{}: {failure}", report.variant).into());
            }
        }
    }
    Ok(())
}

fn cases() -> Vec<Case> {
    let mut cases = check::cases(Effort::Full);
    cases.retain(|case| case.op.name() == "matmul");
    cases
}

/// The f16 of the same value, NaN and infinities included; `None` where f16 has no normal number for it.
fn f16_of_bf16(code: u16) -> Option<u16> {
    let value = half::bf16::from_bits(code).to_f32();
    let f16 = half::f16::from_f32(value);
    let same = f16.to_f32().to_bits() == value.to_bits();
    let normal = f16.is_normal() || value == 0.0;
    (value.is_nan() || value.is_infinite() || (same && normal)).then(|| f16.to_bits())
}

fn in_f16(buffer: &HostBuffer, words: usize) -> Option<Vec<u32>> {
    let mut all = buffer.words().to_vec();
    for word in &mut all[..words] {
        let (lo, hi) = (f16_of_bf16(*word as u16)?, f16_of_bf16((*word >> 16) as u16)?);
        *word = u32::from(lo) | u32::from(hi) << 16;
    }
    Some(all)
}

/// A device whose bf16 unit is the stand-in.
fn stand_in() -> Result<Gpu, Failed> {
    for adapter in common::adapters() {
        let wanted = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
            | wgpu::Features::PASSTHROUGH_SHADERS
            | wgpu::Features::SHADER_F16;
        let info = adapter.get_info();
        if info.backend != wgpu::Backend::Vulkan
            || !adapter.features().contains(wanted)
            || [info.subgroup_min_size, info.subgroup_max_size] != [8, 8]
        {
            continue;
        }
        let descriptor = wgpu::DeviceDescriptor {
            required_features: wanted,
            required_limits: adapter.limits(),
            experimental_features: token(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
        // SAFETY: the module needs f16 instead of bf16 and matrices of 8 x 8, which Mesa's driver has, as its
        // subgroups of 8.
        return Ok(unsafe { Gpu::from_wgpu_with_bf16_unit(adapter, &device, &queue, Bf16Unit::STAND_IN) });
    }
    Err("no adapter has f16 matrices in subgroups of 8 (scripts/mesa26.sh has)".into())
}

/// Every case of matmul whose operands f16 holds exactly, small dispatches and large, short and long.
#[allow(
    clippy::print_stdout,
    reason = "how close to the bound it came, under --nocapture"
)]
fn products() -> Result<(), Failed> {
    let gpu = stand_in()?;
    let mut ran = 0;
    let mut worst: f64 = 0.0;
    let (usual, turns) = (fewbit::gpu::DEFAULT_WORK_CAP, gpu.turn_cap());
    // 4,000 turns: 56 k of one dispatch.
    for (cap, turns) in [(usual, turns), (20_000, turns), (usual, 4000)] {
        gpu.set_work_cap(cap);
        gpu.set_turn_cap(turns);
        for case in cases() {
            if !case.op.variants(&gpu, Offsets::Vec4).contains(&"bf16") {
                continue;
            }
            let expected = Expected::new(&case)?;
            let specs = case.op.operands();
            let mut before = case.operands()?;
            let coded: Option<Vec<_>> = [0, 1]
                .map(|i| in_f16(&before[i], specs[i].words as usize))
                .into_iter()
                .collect();
            let Some(coded) = coded else { continue };
            let plain = before[..2]
                .iter()
                .map(HostBuffer::try_clone)
                .collect::<fewbit::Result<Vec<_>>>()?;
            for (operand, words) in before.iter_mut().zip(&coded) {
                operand.words_mut().copy_from_slice(words);
            }
            let (mut got, arithmetic) = run(&gpu, &case, &before)?;
            // Inputs came back as they went, in f16.
            for ((got, sent), plain) in got.iter_mut().zip(&coded).zip(&plain) {
                if got.words() != sent {
                    return Err(format!("{case:?}: an input was written").into());
                }
                got.words_mut().copy_from_slice(plain.words());
            }
            let verdict = check::judge(&case, &expected, &got, arithmetic);
            if let Some(failure) = verdict.failure {
                return Err(format!("{case:?}, caps {cap} and {turns}: {failure}").into());
            }
            worst = worst.max(verdict.worst_ratio);
            ran += 1;
        }
    }
    println!(
        "{ran} products on {}, worst {worst:.3} of the bound",
        gpu.info().name
    );
    if ran < 40 {
        return Err(format!("only {ran} cases ran").into());
    }
    Ok(())
}

fn run(gpu: &Gpu, case: &Case, before: &[HostBuffer]) -> Result<(Vec<HostBuffer>, Arithmetic), Failed> {
    let request = PlanRequest::default().variant("bf16").offsets(Offsets::Vec4);
    let plan = case.op.plan(gpu, &request)?;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let buffers = before
        .iter()
        .map(|operand| gpu.buffer_with("operand", operand.words(), usage))
        .collect::<Result<Vec<_>, _>>()?;
    let operands: Vec<_> = buffers.iter().map(Operand::whole).collect();
    let scratch = gpu.buffer("scratch", plan.scratch_bytes())?;
    let bound = plan.bind_with(&operands, Some(Operand::whole(&scratch)), None)?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    bound.encode(&mut encoder);
    let backs = buffers
        .iter()
        .zip(before)
        .map(|(buffer, words)| ReadBack::record(gpu, &mut encoder, buffer, 0, words.len() as u64))
        .collect::<Result<Vec<_>, _>>()?;
    gpu.queue().submit([encoder.finish()]);
    gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
    let words = backs.into_iter().map(ReadBack::read_blocking);
    Ok((words.collect::<Result<_, _>>()?, Arithmetic::of(&plan)))
}
