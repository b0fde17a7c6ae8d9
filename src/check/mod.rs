//! The correctness run: every kernel on a device against its reference, in its class. `fewbit check`, the
//! main job and the test suite all run these cases, and so can a program that embeds fewbit.

mod bench;
mod bfp;
mod ceiling;
mod column_sums;
mod convert;
mod copy;
pub mod data;
mod fmac;
mod matmul;
mod relu;
mod sgd;
mod softmax_cross_entropy;
mod spmm;
mod spmv;

pub use bench::{awkward_bench_cases, bench_cases, matmul_case, relu_case, spmv_case};

use crate::cpu::Cpu;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{Access, Gpu, Operand, OperandSpec, PlanRequest, ReadBack, StepBuffer};
use crate::ops::{Arg, Args, Arithmetic, Comparison, Op, Verdict};
use crate::tensor::{HostBuffer, alloc};

/// Words of sentinel past the end of every operand: a kernel that writes there fails.
const GUARD: usize = 16;
const SENTINEL: u32 = 0xfee1_dead;

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Representative and awkward shapes, seconds.
    Quick,
    /// With at least one shape of 512 or more in each dimension, or 1 M elements, per kernel.
    Full,
}

/// Makes the words of every operand.
type Fill = Box<dyn Fn() -> Vec<Vec<u32>> + Send + Sync>;

/// One operation with its inputs.
pub struct Case {
    /// The operation.
    pub op: Box<dyn Op>,
    /// The least effort that includes it.
    pub effort: Effort,
    fill: Fill,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Case({} {})", self.op.name(), self.op.describe())
    }
}

impl Case {
    /// A case whose operands' words `fill` makes, in the operation's order; an operand that is only written
    /// may be left empty and starts as sentinels, so that words a kernel fails to write are found.
    pub fn new<O: Op + 'static>(
        effort: Effort,
        op: O,
        fill: impl Fn() -> Vec<Vec<u32>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            op: Box::new(op),
            effort,
            fill: Box::new(fill),
        }
    }

    /// The operands before the run, each followed by guard words.
    ///
    /// # Errors
    /// Another number of operands than the operation has, one that is read and too short, or out of memory.
    pub fn operands(&self) -> Result<Vec<HostBuffer>> {
        let specs = self.op.operands();
        let mut buffers = Vec::with_capacity(specs.len());
        for spec in &specs {
            buffers.push(HostBuffer::zeroed(spec.words.saturating_add(GUARD as u64))?);
        }
        // The lists that `fill` makes cannot fail softly: as much again is asked for, and given back, beforehand.
        for spec in &specs {
            alloc::reserved::<u32>("check", spec.words as usize)?;
        }
        let given = (self.fill)();
        if given.len() != specs.len() {
            return Err(Error::Operands {
                op: self.op.name(),
                expected: specs.len(),
                got: given.len(),
            });
        }
        for ((spec, words), buffer) in specs.iter().zip(&given).zip(&mut buffers) {
            // Sentinels in place of operands would be checked as if they were meant.
            if spec.access != Access::Write && (words.len() as u64) < spec.words {
                return Err(Error::TooSmall {
                    op: self.op.name(),
                    operand: spec.name,
                    needed: spec.words * 4,
                    got: words.len() as u64 * 4,
                });
            }
            buffer.words_mut().fill(SENTINEL);
            let len = words.len().min(spec.words as usize);
            buffer.words_mut()[..len].copy_from_slice(&words[..len]);
        }
        Ok(buffers)
    }
}

/// The outcome of one case on one variant of one device.
#[derive(Clone, Debug)]
pub struct Report {
    /// The variant, or the CPU's instruction set.
    pub variant: String,
    /// What was found.
    pub verdict: Verdict,
}

/// Every built-in case up to an effort.
#[must_use]
pub fn cases(effort: Effort) -> Vec<Case> {
    let all = [
        bfp::cases(),
        ceiling::cases(),
        column_sums::cases(),
        convert::cases(),
        copy::cases(),
        fmac::cases(),
        matmul::cases(),
        relu::cases(),
        sgd::cases(),
        softmax_cross_entropy::cases(),
        spmm::cases(effort),
        spmv::cases(effort),
    ];
    all.into_iter()
        .flatten()
        .filter(|case| case.effort <= effort)
        .collect()
}

/// A case's operands, and what the reference makes of them: the same for every device.
#[derive(Debug)]
pub struct Expected {
    before: Vec<HostBuffer>,
    want: Vec<HostBuffer>,
}

impl Expected {
    /// Runs the reference.
    ///
    /// # Errors
    /// Out of memory, or whatever the operation's check finds.
    pub fn new(case: &Case) -> Result<Self> {
        let before = case.operands()?;
        let want = reference(case, &before)?;
        Ok(Self { before, want })
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
    let Some(gpu) = device.as_gpu() else {
        return on_host_device(device, case, expected);
    };
    let mut reports = Vec::new();
    for any_offset in [false, true] {
        // Offsets off 16 bytes are worth trying on small cases only: the kernels are the same.
        if any_offset && case.effort == Effort::Full {
            continue;
        }
        for variant in case.op.variants(gpu, any_offset) {
            let request = PlanRequest {
                variant: Some(variant),
                any_offset,
            };
            // Five words: off 16 bytes, and off every binding alignment.
            let offset = if any_offset { 5 } else { 0 };
            let suffix = if any_offset { " (any offset)" } else { "" };
            let (ran, got) = on_gpu(gpu, case, &expected.before, &request, offset)?;
            let verdict = judge(case, expected, &got, case.op.arithmetic(ran));
            reports.push(Report {
                variant: format!("{variant}{suffix}"),
                verdict,
            });
        }
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
            any_offset: false,
        };
        let (ran, got) = on_gpu(gpu, case, &expected.before, &request, 0)?;
        let verdict = judge(case, &expected, &got, case.op.arithmetic(ran));
        Ok(Report {
            variant: variant.unwrap_or("preferred").to_string(),
            verdict,
        })
    };
    variants.iter().map(report).collect()
}

fn on_host_device(device: &Device, case: &Case, expected: &Expected) -> Result<Vec<Report>> {
    let got = match device.as_cpu() {
        Some(cpu) => on_host(case, &expected.before, |op, args| op.cpu(cpu, args))?,
        None => reference(case, &expected.before)?,
    };
    let variant = device.as_cpu().map_or("sequential".to_string(), Cpu::to_string);
    let verdict = judge(case, expected, &got, device.arithmetic());
    Ok(vec![Report { variant, verdict }])
}

/// What the reference makes of the operands.
///
/// # Errors
/// Whatever the operation's check finds.
pub fn reference(case: &Case, before: &[HostBuffer]) -> Result<Vec<HostBuffer>> {
    on_host(case, before, |op, args| op.reference(args))
}

fn on_host(
    case: &Case,
    before: &[HostBuffer],
    run: impl FnOnce(&dyn Op, Args<'_>) -> Result<()>,
) -> Result<Vec<HostBuffer>> {
    let mut buffers = before
        .iter()
        .map(HostBuffer::try_clone)
        .collect::<Result<Vec<_>>>()?;
    let specs = case.op.operands();
    let args = buffers
        .iter_mut()
        .zip(&specs)
        .map(|(buffer, spec)| match spec.is_written() {
            true => Arg::Write(buffer.words_mut()),
            false => Arg::Read(buffer.words()),
        })
        .collect();
    run(&*case.op, Args::new(args, case.op.step_values()))?;
    Ok(buffers)
}

/// Runs a case through the low door with every operand `offset` words into its buffer: the variant that ran, and
/// the operands after it.
fn on_gpu(
    gpu: &Gpu,
    case: &Case,
    before: &[HostBuffer],
    request: &PlanRequest,
    offset: usize,
) -> Result<(&'static str, Vec<HostBuffer>)> {
    let op = &*case.op;
    let plan = op.plan(gpu, request)?;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let mut buffers = Vec::with_capacity(before.len());
    for operand in before {
        let mut words = alloc::reserved("check", offset + operand.len())?;
        words.resize(offset, SENTINEL);
        words.extend_from_slice(operand.words());
        buffers.push(gpu.buffer_with("operand", &words, usage)?);
    }
    let operands: Vec<_> = buffers
        .iter()
        .zip(before)
        .map(|(buffer, words)| Operand::new(buffer, offset as u64 * 4, words.len() as u64 * 4))
        .collect();
    let scratch = gpu.buffer("scratch", plan.scratch_bytes())?;
    let step = StepBuffer::new(gpu, &op.step_values())?;
    let bound = plan.bind_with(&operands, Some(Operand::whole(&scratch)), Some(&step))?;
    let mut encoder = gpu.encoder("check");
    let mut work = 0u64;
    for index in 0..plan.steps() {
        work = work.saturating_add(plan.work(index));
        if work > gpu.work_cap() && index > 0 {
            gpu.submit("check", std::mem::replace(&mut encoder, gpu.encoder("check")))?;
            work = plan.work(index);
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        bound.record_range(&mut pass, index..index + 1);
    }
    let mut backs = Vec::with_capacity(buffers.len());
    for (buffer, words) in buffers.iter().zip(before) {
        backs.push(ReadBack::record(
            gpu,
            &mut encoder,
            buffer,
            offset as u64 * 4,
            words.len() as u64,
        )?);
    }
    gpu.submit("check", encoder)?;
    let after = backs.into_iter().map(read).collect::<Result<_>>()?;
    Ok((plan.variant(), after))
}

#[cfg(not(target_arch = "wasm32"))]
fn read(back: ReadBack) -> Result<HostBuffer> {
    back.read_blocking()
}

#[cfg(target_arch = "wasm32")]
fn read(_: ReadBack) -> Result<HostBuffer> {
    let (op, what) = ("check", "reading back synchronously".to_string());
    Err(Error::Unsupported {
        op,
        what,
        device: "wasm32 (it needs threads that may block)",
    })
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
