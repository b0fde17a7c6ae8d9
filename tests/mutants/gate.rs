//! The case of lib/gate.wgsl, which is no kernel's: calls of a program on conditions.

use fewbit::device::{Condition, Program};
use fewbit::gpu::{Gpu, StepValues};
use fewbit::kernels::Copy;
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Result};

/// Sixteen workgroups.
const LEN: usize = 1 << 14;
/// More than a workgroup opens, the last one among those that run.
const CALLS: usize = 70;

/// What a run does wrong.
pub(crate) fn gate(gpu: &Gpu) -> Result<Option<String>> {
    // Workgroups in several rows.
    gpu.set_group_cap(3);
    let device = Device::from_gpu(gpu.clone());
    let mut program = Program::new(&device);
    let mut words = |values: &[u32]| {
        let tensor = device.from_codes(Layout::dense(DType::U32, &[values.len()]), &[values])?;
        program.adopt(tensor)
    };
    let flags = [0xf4, 3, 5];
    let (source, tests) = (words(&[9; LEN])?, words(&flags)?);
    let mut targets = Vec::new();
    for _ in 0..CALLS {
        targets.push(words(&[0; LEN])?);
    }
    let wanted = |call: usize| (call % 3, 3 + (call % 4) as u32);
    for (call, target) in targets.iter().enumerate() {
        let (word, value) = wanted(call);
        program.when(Some(Condition::equal(tests, word as u64, value).masked(7)))?;
        program.call(Copy::new(LEN as u64), &[source, *target])?;
    }
    program.run(&StepValues::default())?;
    for (call, target) in targets.iter().enumerate() {
        let (word, value) = wanted(call);
        let want = if flags[word] & 7 == value { 9 } else { 0 };
        let read = program.tensor(*target)?.read_part_blocking(0)?;
        if read.words()[..LEN] != [want; LEN] {
            return Ok(Some(format!("call {call}: not {want} throughout")));
        }
    }
    Ok(None)
}
