//! Ceilings: measured beside each kernel, turn by turn with it, over the same number of bytes.

use fewbit::Device;
use fewbit::check::{Case, Effort};
use fewbit::cpu::Cpu;
use fewbit::ops::{Ceiling, CeilingKind, Copy, Op, Work};

use super::Stop;
use super::measure::{BufferCopy, Sample, Stats, Timed, interleave, prepare, stats};

/// The resource that a ceiling is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    MultiplyAdd,
    Bf16Dot,
    Integer,
}

impl Resource {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::MultiplyAdd => "multiply-add",
            Self::Bf16Dot => "bf16 dot",
            Self::Integer => "integer",
        }
    }

    fn amount(self, work: &Work) -> f64 {
        match self {
            Self::Memory => work.bytes,
            Self::MultiplyAdd | Self::Bf16Dot => work.flops,
            Self::Integer => work.int_ops,
        }
    }
}

/// A kernel's time beside the ceiling that binds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) stats: Stats,
    /// The ceiling that allows the least speed for this kernel's work.
    pub(crate) binding: Resource,
    /// Its rate, per second.
    pub(crate) ceiling: f64,
    /// The time the ceiling allows divided by the kernel's median time.
    pub(crate) share: f64,
    /// GPU timestamps, or the wall clock.
    pub(crate) by_timestamps: bool,
}

struct Yardstick {
    resource: Resource,
    amount: f64,
    case: Option<Case>,
}

fn yardsticks(device: &Device, work: &Work) -> Vec<Yardstick> {
    let mut list = Vec::new();
    // A GPU needs tens of thousands of invocations to be full; on the CPU device they are lanes of a few threads.
    let count = if device.as_gpu().is_some_and(|gpu| !gpu.is_software()) {
        1 << 18
    } else {
        1 << 12
    };
    let dot = work.bf16 && device.as_cpu().is_some_and(Cpu::uses_dpbf16);
    let products = match dot {
        true => (Resource::Bf16Dot, CeilingKind::Bf16Dot),
        false => (Resource::MultiplyAdd, CeilingKind::MultiplyAdd),
    };
    for (resource, kind) in [products, (Resource::Integer, CeilingKind::Integer)] {
        if resource.amount(work) > 0.0 {
            let op = Ceiling {
                kind,
                count,
                steps: 1024,
                src_words: 0,
            };
            // Both count floating-point operations or integer operations, never both.
            let amount = op.work().flops + op.work().int_ops;
            let case = Case::new(Effort::Quick, op, || vec![Vec::new(), Vec::new()]);
            list.push(Yardstick {
                resource,
                amount,
                case: Some(case),
            });
        }
    }
    if work.bytes > 0.0 {
        // At least 4 KiB: below, only the cost of a call is measured.
        let bytes = (work.bytes as u64).max(4096);
        let half = (bytes / 8).next_multiple_of(16);
        let copy = Copy { words: half };
        let variants = device.as_gpu().map_or(vec![""], |gpu| copy.variants(gpu, false));
        for _ in variants {
            let case = Case::new(Effort::Quick, copy, move || {
                vec![vec![1; half as usize], Vec::new()]
            });
            list.push(Yardstick {
                resource: Resource::Memory,
                amount: half as f64 * 8.0,
                case: Some(case),
            });
        }
        let words = (bytes / 4).next_multiple_of(16).min(1 << 30);
        let read = Ceiling {
            kind: CeilingKind::Read,
            count: count.min(words as u32 / 4),
            steps: 0,
            src_words: words,
        };
        let fits = device
            .as_gpu()
            .is_none_or(|gpu| words * 4 <= gpu.limits().max_storage_buffer_binding_size);
        if fits {
            let case = Case::new(Effort::Quick, read, move || {
                vec![vec![1; words as usize], Vec::new()]
            });
            list.push(Yardstick {
                resource: Resource::Memory,
                amount: words as f64 * 4.0,
                case: Some(case),
            });
        }
        if device.as_gpu().is_some() {
            list.push(Yardstick {
                resource: Resource::Memory,
                amount: half as f64 * 8.0,
                case: None,
            });
        }
    }
    list
}

/// Times a case turn by turn with every ceiling that might bind it.
pub(crate) fn measure(
    device: &Device,
    case: &Case,
    variant: Option<&'static str>,
    warm_up: u32,
    rounds: u32,
) -> Result<Measured, Stop> {
    let work = case.op.work();
    let sticks = yardsticks(device, &work);
    let mut timed: Vec<Box<dyn Timed + '_>> = vec![prepare(device, case, variant)?];
    let mut copies = device
        .as_gpu()
        .map_or(Vec::new(), |gpu| Copy { words: 16 }.variants(gpu, false))
        .into_iter();
    for stick in &sticks {
        timed.push(match (&stick.case, device.as_gpu()) {
            (Some(case), _) => {
                let variant = if case.op.name() == "copy" {
                    copies.next()
                } else {
                    None
                };
                prepare(device, case, variant)?
            }
            (None, Some(gpu)) => Box::new(BufferCopy::new(gpu, stick.amount as u64)?),
            (None, None) => continue,
        });
    }
    let samples = interleave(&mut timed, warm_up, rounds)?;
    let (own, others) = samples.split_first().ok_or(Stop::Failed)?;
    let stats = stats(own);
    let (binding, ceiling, allowed) = bind(&work, &sticks, others);
    let by_timestamps = own.iter().any(|sample| sample.gpu.is_some());
    Ok(Measured {
        stats,
        binding,
        ceiling,
        share: allowed / stats.median,
        by_timestamps,
    })
}

/// The resource that allows the least speed, its best rate, and the time it allows.
fn bind(work: &Work, sticks: &[Yardstick], samples: &[Vec<Sample>]) -> (Resource, f64, f64) {
    let mut bound = (Resource::Memory, 0.0, 0.0);
    for resource in [
        Resource::Memory,
        Resource::MultiplyAdd,
        Resource::Bf16Dot,
        Resource::Integer,
    ] {
        let rates = sticks
            .iter()
            .zip(samples)
            .filter(|(stick, _)| stick.resource == resource);
        let best = rates
            .map(|(stick, samples)| stick.amount / stats(samples).best)
            .fold(0.0, f64::max);
        let allowed = if best > 0.0 {
            resource.amount(work) / best
        } else {
            0.0
        };
        if allowed > bound.2 {
            bound = (resource, best, allowed);
        }
    }
    bound
}
