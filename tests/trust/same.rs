//! Checked and trusted pipelines give the same bits.

use fewbit::check::Case;
use fewbit::gpu::{Gpu, Offsets, PlanRequest};
use fewbit::op::Entry;
use fewbit::op::run::on_gpu_blocking;
use libtest_mimic::Failed;

pub(crate) fn bits(entry: &'static Entry, whole: bool) -> Result<(), Failed> {
    let gpu = super::open(false)?;
    for case in super::cases(entry, whole) {
        same(&gpu, &case)?;
    }
    Ok(())
}

fn same(gpu: &Gpu, case: &Case) -> Result<(), Failed> {
    let operands = case.operands()?;
    for variant in case.op.variants(gpu, Offsets::Vec4) {
        let request = PlanRequest::default().variant(variant);
        let run = |checked| {
            gpu.set_checked_shaders(checked);
            on_gpu_blocking(gpu, &*case.op, &request, &operands, 4)
        };
        let (trusted, checked) = (run(false)?, run(true)?);
        for (at, (trusted, checked)) in trusted.operands.iter().zip(&checked.operands).enumerate() {
            if trusted.words() != checked.words() {
                let (op, what) = (case.op.name(), case.op.describe());
                return Err(format!("{op} {what} {variant}: operand {at} differs").into());
            }
        }
    }
    Ok(())
}
