//! Trusted shaders run without wgpu's runtime checks: what their authors vouch for, held against every case.
//!
//! - Buffers that hold garbage end no differently than others: every loop ends, and nothing outside is written.
//! - Every index into an array of a shader's own, or of a vector's component, is recorded, and below the length.
//! - Checked and trusted pipelines give the same bits.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "trust/garbage.rs"]
mod garbage;
#[path = "trust/indices.rs"]
mod indices;
#[path = "trust/same.rs"]
mod same;

use fewbit::check::Case;
use fewbit::gpu::{Gpu, GpuOptions, Offsets};
use fewbit::kernels::{ALL, Spmv, permutations};
use fewbit::op::{Effort, Op as _};
use fewbit::tensor::DType;
use fewbit::{Error, wgpu};
use libtest_mimic::{Failed, Trial};

fn main() {
    common::compile_quickly();
    let mut trials = vec![
        Trial::test(
            "every shader of the crate is trusted, and none is handed out",
            || {
                handed_out();
                Ok(())
            },
        ),
        common::on_gpu("protection is where it is known to be, and nowhere else", || {
            protection();
            Ok::<_, Failed>(())
        }),
        common::on_gpu("a plan of what has not been checked is refused", || {
            unchecked_operations_are_refused();
            Ok::<_, Failed>(())
        }),
        common::on_gpu("an index that is planted outside is found", indices::planted),
    ];
    for (part, whole) in [("a part", false), ("all", true)] {
        let garbage = common::on_gpu(format!("garbage in row_ptr and col_idx {part}"), move || {
            garbage::all(whole)
        });
        trials.push(garbage.with_ignored_flag(whole));
        for entry in ALL {
            let name = |what: &str| format!("{what}::{} {part}", entry.name);
            let indices = common::on_gpu(name("indices"), move || indices::inside(entry, whole));
            trials.push(indices.with_ignored_flag(whole));
            let same = common::on_gpu(name("same bits"), move || same::bits(entry, whole));
            trials.push(same.with_ignored_flag(whole));
        }
    }
    common::end(&libtest_mimic::run(&common::arguments(), trials))
}

/// Of an operation's cases all, those of matrix units too where `FEWBIT_EXPERIMENTAL=1` asks for them; or, for every push,
/// a few quick ones of those whose operands are not large.
fn cases(entry: &'static fewbit::op::Entry, whole: bool) -> Vec<Case> {
    const LARGE: u64 = 1 << 16;
    if whole {
        return entry.cases(Effort::Full);
    }
    let words = |case: &Case| {
        case.op
            .operands()
            .iter()
            .map(|operand| operand.words)
            .sum::<u64>()
    };
    let mut cases = entry.cases(Effort::Quick);
    cases.retain(|case| words(case) <= LARGE);
    // Software adapters take half a second for each pipeline of a product, and there are many.
    let few = if entry.name == "matmul" { 2 } else { 4 };
    let every = cases.len().div_ceil(few);
    cases.into_iter().step_by(every.max(1)).collect()
}

/// A device of the test's own; with `weak` its plans are cut into many small dispatches.
fn open(weak: bool) -> fewbit::Result<Gpu> {
    let mut options = GpuOptions::default();
    if std::env::var("FEWBIT_EXPERIMENTAL").is_ok_and(|value| value == "1") {
        // SAFETY: wgpu asks that whoever makes the token accepts this; who sets the variable does.
        options.experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    let gpu = pollster::block_on(Gpu::open_with(common::adapter(), &options))?;
    common::keep(gpu.device());
    if weak {
        gpu.set_work_cap(3000);
        gpu.set_turn_cap(256);
        gpu.set_group_cap(3);
    } else {
        // Without a probe the float variant of FMAC would not run.
        fewbit::kernels::probe_float_fmac_blocking(&gpu)?;
    }
    Ok(gpu)
}

/// The crate's permutations are trusted in its own plans alone: a caller's dispatch may give them any parameters.
fn handed_out() {
    for permutation in permutations() {
        let label = permutation.label();
        assert!(!permutation.is_trusted(), "{label} is handed out trusted");
        let spirv = permutation.spirv_module().is_some();
        assert!(permutation.has_trusted_shader() || spirv, "{label} is checked");
    }
}

/// Mesa's software driver has robustBufferAccess2, so that clamps are off here and what is tested is what runs; OpenGL and
/// the other back ends have nothing of the kind.
fn protection() {
    let gpu = common::gpu();
    let info = gpu.info();
    let vulkan = info.backend == wgpu::Backend::Vulkan;
    assert!(vulkan || !gpu.protects_storage(), "{info:?}");
    if vulkan && info.name.starts_with("llvmpipe") {
        assert!(gpu.protects_storage(), "{info:?}");
    }
}

/// `plan_variant` is there for everybody, and parameters bound loops.
fn unchecked_operations_are_refused() {
    let gpu = common::gpu();
    let (index, float) = (DType::U16, DType::F32);
    let wide = Spmv::new(1, 1 << 20, 1, [index, float, float]);
    for variant in wide.variants(&gpu, Offsets::Any) {
        let outcome = wide.plan_variant(&gpu, variant, Offsets::Any);
        assert!(
            matches!(outcome, Err(Error::Limit { .. })),
            "{variant}: {outcome:?}"
        );
    }
}
