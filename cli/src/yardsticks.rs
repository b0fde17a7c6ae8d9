//! Yardsticks: what is run beside a kernel to see how fast a resource is.

use fewbit::Device;
use fewbit::check::{Case, Effort};
use fewbit::cpu::Cpu;
use fewbit::gpu::Offsets;
use fewbit::kernels::{Ceiling, CeilingKind, Copy, Relu};
use fewbit::op::{Op, Work};
use fewbit::tensor::DType;

use super::Stop;
use super::ceiling::Resource;
use super::host::{HostCopy, HostUpdate, ParallelCall};
use super::measure::{BufferCopy, Timed, prepare};

/// Something that shows how fast a resource is.
pub(crate) struct Yardstick {
    pub(crate) resource: Resource,
    pub(crate) amount: f64,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Case(Case, Option<&'static str>),
    BufferCopy,
    /// In so many pieces.
    HostCopy(usize),
    /// In place, in so many pieces.
    HostUpdate(usize),
    ParallelCall,
}

/// Small pieces that each thread gets of a host yardstick.
const SMALL: usize = 4;

/// The smallest operation there is.
const SMALLEST: Copy = Copy::new(16);

/// What may bind `work`; `updates` says that some operand is rewritten in place.
pub(crate) fn yardsticks(device: &Device, work: &Work, parallel: bool, updates: bool) -> Vec<Yardstick> {
    let mut list = vec![Yardstick {
        resource: Resource::Dispatch,
        amount: 1.0,
        kind: match parallel {
            true => Kind::ParallelCall,
            false => Kind::Case(
                Case::new(Effort::Quick, SMALLEST, || vec![vec![1; 16], Vec::new()]),
                None,
            ),
        },
    }];
    if device.as_gpu().is_some() {
        // One invocation that does nothing but write a word.
        let nothing = Ceiling::new(CeilingKind::Integer, 1, 0);
        list.push(Yardstick {
            resource: Resource::Dispatch,
            amount: 1.0,
            kind: Kind::Case(
                Case::new(Effort::Quick, nothing, || vec![Vec::new(), Vec::new()]),
                None,
            ),
        });
    }
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
        if resource.amount(work, 1) > 0.0 {
            let op = Ceiling::new(kind, count, 1024);
            // Both count floating-point operations or integer operations, never both.
            let amount = op.work().flops + op.work().int_ops;
            let case = Case::new(Effort::Quick, op, || vec![Vec::new(), Vec::new()]);
            list.push(Yardstick {
                resource,
                amount,
                kind: Kind::Case(case, None),
            });
        }
    }
    if work.bytes > 0.0 {
        list.extend(of_memory(device, work, count, updates));
    }
    list
}

/// What shows how fast memory is over as many bytes as `work` must move; reads by so many invocations.
fn of_memory(device: &Device, work: &Work, count: u32, updates: bool) -> Vec<Yardstick> {
    let mut list = Vec::new();
    // At least 4 KiB: below, only the cost of a call is measured.
    let bytes = (work.bytes as u64).max(4096);
    let half = (bytes / 8).next_multiple_of(16);
    let copy = Copy::new(half);
    let variants = match device.as_gpu() {
        Some(gpu) => copy.variants(gpu, Offsets::Vec4).into_iter().map(Some).collect(),
        None => vec![None],
    };
    for variant in variants {
        let case = Case::new(Effort::Quick, copy, move || {
            vec![vec![1; half as usize], Vec::new()]
        });
        list.push(Yardstick {
            resource: Resource::Memory,
            amount: half as f64 * 8.0,
            kind: Kind::Case(case, variant),
        });
    }
    let words = (bytes / 4).next_multiple_of(16).min(1 << 30);
    // So many that none of them makes more turns than it may.
    let turns = device.as_gpu().map_or(u64::MAX, |gpu| gpu.turn_cap() - 1);
    let readers = count.max((words / 4).div_ceil(turns) as u32);
    let read = Ceiling::reading(readers.min(words as u32 / 4), words);
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
            kind: Kind::Case(case, None),
        });
    }
    let others = match (device.as_gpu(), device.as_cpu()) {
        (Some(_), _) => vec![Kind::BufferCopy],
        // Pieces of a thread each wait for the slower thread, where others have taken one from it; small ones, as
        // kernels have, even that out, and cost more to share out.
        (None, Some(cpu)) if cpu.threads() > 1 => [1, cpu.threads(), SMALL * cpu.threads()]
            .map(Kind::HostCopy)
            .into(),
        (None, Some(_)) => vec![Kind::HostCopy(1)],
        (None, None) => Vec::new(),
    };
    // Lines that were read to be written are not fetched once more, as those of a copy's target are: what
    // updates in place may pass a copy by a half.
    let updates = match (updates, device.as_gpu(), device.as_cpu()) {
        (true, Some(_), _) => vec![Kind::Case(in_place(half), None)],
        (true, None, Some(cpu)) => [1, cpu.threads(), SMALL * cpu.threads()]
            .map(Kind::HostUpdate)
            .into(),
        _ => Vec::new(),
    };
    list.extend(others.into_iter().chain(updates).map(|kind| Yardstick {
        resource: Resource::Memory,
        amount: half as f64 * 8.0,
        kind,
    }));
    list
}

/// The simplest update of so many words.
fn in_place(words: u64) -> Case {
    let mut relu = Relu::new(1, words as usize, DType::F32);
    (relu.x_ld, relu.y_ld) = (words as usize, words as usize);
    relu.in_place = true;
    Case::new(Effort::Quick, relu, move || vec![vec![1; words as usize]])
}

impl Yardstick {
    pub(crate) fn prepare(&self, device: &Device) -> Result<Box<dyn Timed + '_>, Stop> {
        Ok(match (&self.kind, device.as_gpu(), device.as_cpu()) {
            (Kind::Case(case, variant), ..) => prepare(device, case, *variant)?,
            (Kind::BufferCopy, Some(gpu), _) => Box::new(BufferCopy::new(gpu, self.amount as u64)?),
            (Kind::HostCopy(pieces), _, Some(cpu)) => {
                Box::new(HostCopy::new(cpu, self.amount as u64, *pieces))
            }
            (Kind::HostUpdate(pieces), _, Some(cpu)) => {
                Box::new(HostUpdate::new(cpu, self.amount as u64, *pieces))
            }
            (Kind::ParallelCall, _, Some(cpu)) => Box::new(ParallelCall(cpu.clone())),
            (Kind::BufferCopy | Kind::HostCopy(_) | Kind::HostUpdate(_) | Kind::ParallelCall, ..) => {
                return Err(Stop::Input("a ceiling of another device".into()));
            }
        })
    }
}
