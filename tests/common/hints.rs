//! Sparse products of rows that are longer than was said: what they make is right, or NaN.

use fewbit::gpu::{Gpu, Offsets, PlanRequest};
use fewbit::kernels::{Spmm, Spmv};
use fewbit::op::Op;
use fewbit::op::run::on_gpu_blocking;
use fewbit::tensor::{DType, HostBuffer};

/// What is wrong with the first variant that loses entries, as the device is and where loops make few turns.
pub(crate) fn lost(gpu: &Gpu) -> fewbit::Result<Option<String>> {
    let usual = gpu.turn_cap();
    for cap in [usual, 256] {
        gpu.set_turn_cap(cap);
        let lost = lost_now(gpu);
        gpu.set_turn_cap(usual);
        if let Some(lost) = lost? {
            return Ok(Some(format!("{cap} turns: {lost}")));
        }
    }
    Ok(None)
}

/// Every variant of both, over more entries than software adapters make turns, then a row that keeps to the hint.
fn lost_now(gpu: &Gpu) -> fewbit::Result<Option<String>> {
    let (index, values) = (DType::U32, DType::F32);
    let (long, cols) = (70_000u32, 5u32);
    let nnz = long as usize + 3;
    let mut spmv = Spmv::new(2, 5, nnz, [index, values, DType::F32]);
    spmv.longest_row = Some(4);
    let mut spmm = Spmm::new(2, 5, nnz, 1, [index, values, DType::F32, DType::F32]);
    (spmm.b_ld, spmm.c_ld, spmm.longest_row) = (1, 1, Some(4));
    let one = 1f32.to_bits();
    let entries = 0..long + 3;
    let operands = [
        vec![0, long, long + 3],
        entries.clone().map(|entry| entry % cols).collect(),
        entries.map(|_| one).collect(),
        vec![one; 5],
        vec![0; 2],
    ];
    let operands = operands
        .iter()
        .map(|words| HostBuffer::from_words(words))
        .collect::<fewbit::Result<Vec<_>>>()?;
    for op in [&spmv as &dyn Op, &spmm] {
        for variant in op.variants(gpu, Offsets::default()) {
            let request = PlanRequest::default().variant(variant);
            let ran = on_gpu_blocking(gpu, op, &request, &operands, 0)?;
            let [all, few] = [0, 1].map(|row| f32::from_bits(ran.operands[4].words()[row]));
            let right = (all.is_nan() || all == long as f32) && few == 3.0;
            if !right {
                let name = op.name();
                return Ok(Some(format!(
                    "{name} {variant}: {all} of {long}, then {few} of 3"
                )));
            }
        }
    }
    Ok(None)
}
