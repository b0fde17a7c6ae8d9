//! Checked and trusted pipelines give the same bits; of a NaN in the bounded class, a NaN.

use fewbit::check::Case;
use fewbit::gpu::{Gpu, Offsets, PlanRequest};
use fewbit::op::run::on_gpu_blocking;
use fewbit::op::{Class, Entry};
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
            let mut pairs = trusted.words().iter().zip(checked.words()).enumerate();
            if let Some((word, (trusted, checked))) =
                pairs.find(|(_, (trusted, checked))| !alike(case, **trusted, **checked))
            {
                let (op, what) = (case.op.name(), case.op.describe());
                return Err(format!(
                    "{op} {what} {variant}: operand {at}, word {word}: {trusted:08x} trusted, {checked:08x} checked"
                )
                .into());
            }
        }
    }
    Ok(())
}

/// Whether two words are equal. Which of two NaNs a sum of floats hands on, and with which sign, is the compiler's choice
/// (it may exchange the summands), and another one where other code stands around them: so there, and only there, a NaN is
/// a NaN, as f32 or as either half of packed bf16. The exact class makes its NaNs itself.
fn alike(case: &Case, trusted: u32, checked: u32) -> bool {
    let wide = |word: u32| word & 0x7fff_ffff > 0x7f80_0000;
    let same_half = |shift: u32| {
        let [a, b] = [trusted, checked].map(|word| word >> shift & 0xffff);
        let narrow = |half: u32| half & 0x7fff > 0x7f80;
        a == b || narrow(a) && narrow(b)
    };
    let both_nan = wide(trusted) && wide(checked) || same_half(0) && same_half(16);
    trusted == checked || case.op.class() == Class::Bounded && both_nan
}
