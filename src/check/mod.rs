//! The correctness run: every kernel on a device against its reference, in its class. `fewbit check`, the
//! main job and the test suite all run these cases, and so can a program that embeds fewbit.

mod bench;
mod mutants;
mod records;
mod replace;

pub use bench::{awkward_bench_cases, bench_cases, matmul_case, relu_case, spmv_case};
pub use mutants::Using;
pub use records::{record, records};
pub use replace::{replace_shader, replace_shaders};

use crate::device::Device;
use crate::error::Result;
use crate::gpu::{Gpu, Offsets, OperandSpec, PlanRequest};
pub use crate::gpu::{Recording, Rewrite};
use crate::kernels::ALL;
use crate::op::run::{Host, copies, on_gpu_blocking};
use crate::op::{Arithmetic, Comparison, Sums, Verdict};
pub use crate::op::{BenchCase, Case, Effort, data};
use crate::tensor::HostBuffer;

/// The outcome of one case on one variant of one device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The variant, or the CPU's instruction set.
    pub variant: String,
    /// What was found.
    pub verdict: Verdict,
    /// A digest of every operand that the operation writes, as the run left it.
    pub digest: u64,
}

/// FNV-1a over the words of the operands that an operation writes, guard words left out.
fn digest(case: &Case, operands: &[HostBuffer]) -> u64 {
    let specs = case.op.operands();
    let written = specs.iter().zip(operands).filter(|(spec, _)| spec.is_written());
    let words = written.flat_map(|(spec, buffer)| buffer.words().iter().take(spec.words as usize));
    words
        .flat_map(|word| word.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// Every built-in case up to an effort.
#[must_use]
pub fn cases(effort: Effort) -> Vec<Case> {
    ALL.iter().flat_map(|entry| entry.cases(effort)).collect()
}

/// A case's operands, and what the reference makes of them: the same for every device.
#[derive(Debug)]
pub struct Expected {
    before: Vec<HostBuffer>,
    pub(crate) want: Vec<HostBuffer>,
    sums: Sums,
}

impl Expected {
    /// Runs the reference.
    ///
    /// # Errors
    /// Out of memory, or whatever the operation's check finds.
    pub fn new(case: &Case) -> Result<Self> {
        let before = case.operands()?;
        let mut want = copies(&before)?;
        Host::Reference.run(&*case.op, &mut want, &case.op.step_values())?;
        Ok(Self {
            before,
            want,
            sums: Sums::default(),
        })
    }

    /// A digest of every operand that the operation writes, as the reference left it.
    #[must_use]
    pub fn digest(&self, case: &Case) -> u64 {
        digest(case, &self.want)
    }
}

/// Runs a case on every variant that serves it on a device, judged by the operation's class.
///
/// # Errors
/// Whatever the operation's plan or run finds. A result outside its class is no error here: see
/// [`Verdict::failure`].
pub fn run(device: &Device, case: &Case) -> Result<Vec<Report>> {
    run_expecting(device, case, &Expected::new(case)?)
}

/// [`run`] with the reference's results at hand, for runs on several devices.
///
/// # Errors
/// See [`run`].
pub fn run_expecting(device: &Device, case: &Case, expected: &Expected) -> Result<Vec<Report>> {
    run_wanted(device, case, expected, &|_| true)
}

/// [`run`] on the one variant that a [`Report`] called `variant`; none where this device or this case has no such
/// variant. On a CPU device variants are instruction sets, and the device has one.
///
/// # Errors
/// See [`run`].
pub fn run_variant(device: &Device, case: &Case, variant: &str) -> Result<Vec<Report>> {
    let served = match device.as_gpu() {
        Some(gpu) => labels(gpu, case).any(|(label, ..)| label == variant),
        None => host_of(device).1 == variant,
    };
    // The reference takes its time: not for nothing.
    match served {
        true => run_wanted(device, case, &Expected::new(case)?, &|label| label == variant),
        false => Ok(Vec::new()),
    }
}

/// The command of the program `fewbit` that repeats a case on a variant of a device like this one.
#[must_use]
pub fn repeat_command(device: &Device, case: &Case, variant: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let place = match device.as_gpu() {
        Some(gpu) => {
            let info = gpu.info();
            // Other back ends come first where both list an adapter.
            let backend = match info.backend == wgpu::Backend::Gl {
                true => "gl ",
                false => "",
            };
            format!("gpu --adapter {}", quoted(&format!("{backend}{}", info.name)))
        }
        None => device.kind_name().to_string(),
    };
    format!(
        "fewbit check {} --case {} --variant {} --device {place}",
        case.op.name(),
        quoted(&case.op.describe()),
        quoted(variant)
    )
}

/// What a GPU's variants for a case are called in reports, and how to plan them.
fn labels<'a>(gpu: &'a Gpu, case: &'a Case) -> impl Iterator<Item = (String, PlanRequest)> + use<'a> {
    // Offsets off 16 bytes are worth trying on small cases only: the kernels are the same.
    let offsets: &[Offsets] = match case.effort {
        Effort::Full => &[Offsets::Vec4],
        Effort::Quick => &[Offsets::Vec4, Offsets::Any],
    };
    offsets.iter().flat_map(|&offsets| {
        let suffix = if offsets.any() { " (any offset)" } else { "" };
        let variants = case.op.variants(gpu, offsets).into_iter();
        variants.map(move |variant| {
            let request = PlanRequest {
                variant: Some(variant),
                offsets,
            };
            (format!("{variant}{suffix}"), request)
        })
    })
}

fn run_wanted(
    device: &Device,
    case: &Case,
    expected: &Expected,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Report>> {
    let Some(gpu) = device.as_gpu() else {
        return on_host_device(device, case, expected);
    };
    let mut reports = Vec::new();
    for (variant, request) in labels(gpu, case).filter(|(label, _)| wanted(label)) {
        // Off every binding alignment, so that kernels must add what a binding starts too early: five words are off 16
        // bytes too, four are not. The few large cases start where their bindings do.
        let offset = match (request.offsets.any(), case.effort) {
            (true, _) => 5,
            (false, Effort::Quick) => 4,
            (false, Effort::Full) => 0,
        };
        let ran = on_gpu_blocking(gpu, &*case.op, &request, &expected.before, offset)?;
        let verdict = judge(case, expected, &ran.operands, ran.arithmetic);
        let digest = digest(case, &ran.operands);
        reports.push(Report {
            variant,
            verdict,
            digest,
        });
    }
    Ok(reports)
}

/// Runs a case on some of a device's variants (`None`: the preferred one, or the only one).
///
/// # Errors
/// See [`run`].
pub fn run_variants(device: &Device, case: &Case, variants: &[Option<&'static str>]) -> Result<Vec<Report>> {
    let expected = Expected::new(case)?;
    let Some(gpu) = device.as_gpu() else {
        return on_host_device(device, case, &expected);
    };
    let report = |variant: &Option<&'static str>| {
        let request = PlanRequest {
            variant: *variant,
            offsets: Offsets::Vec4,
        };
        let ran = on_gpu_blocking(gpu, &*case.op, &request, &expected.before, 0)?;
        let verdict = judge(case, &expected, &ran.operands, ran.arithmetic);
        Ok(Report {
            variant: variant.unwrap_or("preferred").to_string(),
            verdict,
            digest: digest(case, &ran.operands),
        })
    };
    variants.iter().map(report).collect()
}

/// A device that is no GPU, and what its one variant is called: its instruction set.
fn host_of(device: &Device) -> (Host<'_>, String) {
    match device.as_cpu() {
        Some(cpu) => (Host::Cpu(cpu), cpu.to_string()),
        None => (Host::Reference, "sequential".to_string()),
    }
}

fn on_host_device(device: &Device, case: &Case, expected: &Expected) -> Result<Vec<Report>> {
    let (host, variant) = host_of(device);
    let mut got = copies(&expected.before)?;
    host.run(&*case.op, &mut got, &case.op.step_values())?;
    let verdict = judge(case, expected, &got, device.arithmetic());
    let digest = digest(case, &got);
    Ok(vec![Report {
        variant,
        verdict,
        digest,
    }])
}

/// Judges results by the operation's class, and checks that nothing outside the operands was written.
#[must_use]
pub fn judge(case: &Case, expected: &Expected, got: &[HostBuffer], arithmetic: Arithmetic) -> Verdict {
    let specs = case.op.operands();
    fn cut<'a>(buffers: &'a [HostBuffer], specs: &[OperandSpec]) -> Vec<&'a [u32]> {
        let words = |(buffer, spec): (&'a HostBuffer, &OperandSpec)| &buffer.words()[..spec.words as usize];
        buffers.iter().zip(specs).map(words).collect()
    }
    let verdict = case.op.compare(&Comparison {
        before: &cut(&expected.before, &specs),
        want: &cut(&expected.want, &specs),
        got: &cut(got, &specs),
        arithmetic,
        step: case.op.step_values(),
        sums: Some(&expected.sums),
    });
    let mut guards = Verdict::default();
    for ((spec, before), got) in specs.iter().zip(&expected.before).zip(got) {
        // Operands that are only read must come back unchanged as a whole.
        let from = if spec.is_written() { spec.words as usize } else { 0 };
        for (index, (&want, &got)) in before.words().iter().zip(got.words()).enumerate().skip(from) {
            if want != got {
                guards.element(spec.name, index as u64, f64::INFINITY, || {
                    [
                        format!("{want:#010x}"),
                        format!("{got:#010x}"),
                        "left untouched".into(),
                    ]
                });
            }
        }
    }
    guards.compared = 0;
    verdict.and(guards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Cpu, Level};
    use crate::device::Device;
    use std::collections::BTreeMap;

    /// Few and small enough for Miri, which runs the portable level; tests/kernels.rs runs all on every level.
    #[test]
    fn small_cases_of_every_kernel_on_the_portable_level() -> crate::Result<()> {
        let device = Device::from_cpu(Cpu::with_level(Level::Portable)?);
        let (most_words, most) = if cfg!(miri) { (400, 2) } else { (1000, 5) };
        let mut small: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for case in cases(Effort::Quick) {
            let words: u64 = case.op.operands().iter().map(|operand| operand.words).sum();
            if words <= most_words {
                small.entry(case.op.name()).or_default().push((words, case));
            }
        }
        for cases in small.values_mut() {
            // The largest of them: the smallest are empty, or a single element.
            cases.sort_by_key(|&(words, _)| std::cmp::Reverse(words));
            for (_, case) in cases.iter().take(most) {
                for report in run(&device, case)? {
                    let failure = report.verdict.failure;
                    assert!(failure.is_none(), "{}: {failure:?}", case.op.describe());
                }
            }
        }
        for entry in ALL {
            assert!(small.contains_key(entry.name), "{}", entry.name);
        }
        Ok(())
    }
}
