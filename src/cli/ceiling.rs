//! Ceilings: measured beside each kernel, turn by turn with it, over the same number of bytes.

use fewbit::Device;
use fewbit::check::{Case, Effort};
use fewbit::cpu::Cpu;
use fewbit::gpu::PlanRequest;
use fewbit::ops::{Ceiling, CeilingKind, Copy, Op, Work};

use super::Stop;
use super::measure::{
    BufferCopy, HostCopy, ParallelCall, Rounds, Sample, Stats, Timed, forks, interleave, prepare, stats,
};

/// The resource that a ceiling is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    MultiplyAdd,
    Bf16Dot,
    Integer,
    /// Starting work at all: an empty dispatch on a GPU; on the CPU device the smallest parallel call, or for
    /// what runs on one thread the smallest call.
    Dispatch,
}

impl Resource {
    const ALL: [Self; 5] = [
        Self::Memory,
        Self::MultiplyAdd,
        Self::Bf16Dot,
        Self::Integer,
        Self::Dispatch,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::MultiplyAdd => "multiply-add",
            Self::Bf16Dot => "bf16 dot",
            Self::Integer => "integer",
            Self::Dispatch => "dispatch",
        }
    }

    /// How much of it some work takes, started in so many dispatches.
    fn amount(self, work: &Work, dispatches: usize) -> f64 {
        match self {
            Self::Memory => work.bytes,
            Self::MultiplyAdd | Self::Bf16Dot => work.flops,
            Self::Integer => work.int_ops,
            Self::Dispatch => dispatches as f64,
        }
    }
}

/// A kernel's time beside the ceiling that binds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) stats: Stats,
    /// What allows the least speed for this kernel's work.
    pub(crate) bound: Bound,
    /// The time the ceiling allows divided by the kernel's median time.
    pub(crate) share: f64,
    /// GPU timestamps, or the wall clock.
    pub(crate) by_timestamps: bool,
}

impl Measured {
    /// Whether the ceiling may be true. A kernel above its ceiling means a wrong ceiling, and then nothing
    /// measured beside it can be believed.
    ///
    /// The share sets the kernel's median against the ceiling's best sample, so noise that hits both alike (they
    /// take turns) lowers it. What is left is allowed for as it was measured: by how much half of each one's
    /// samples differ from their median, as shares, added up. On a quiet machine that is next to nothing.
    pub(crate) fn believable(&self) -> bool {
        self.share <= 1.0 + self.stats.relative_spread() + self.bound.noise
    }
}

/// A ceiling and what it allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) resource: Resource,
    /// Its rate, per second.
    pub(crate) rate: f64,
    /// The time in which it allows the kernel's work.
    pub(crate) seconds: f64,
    /// Its samples' spread as a share of their median.
    pub(crate) noise: f64,
}

/// Something that shows how fast a resource is.
struct Yardstick {
    resource: Resource,
    amount: f64,
    kind: Kind,
}

enum Kind {
    Case(Case, Option<&'static str>),
    BufferCopy,
    HostCopy,
    ParallelCall,
}

/// The smallest operation there is.
const SMALLEST: Copy = Copy { words: 16 };

fn yardsticks(device: &Device, work: &Work, parallel: bool) -> Vec<Yardstick> {
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
                kind: Kind::Case(case, None),
            });
        }
    }
    if work.bytes > 0.0 {
        // At least 4 KiB: below, only the cost of a call is measured.
        let bytes = (work.bytes as u64).max(4096);
        let half = (bytes / 8).next_multiple_of(16);
        let copy = Copy { words: half };
        let variants = match device.as_gpu() {
            Some(gpu) => copy.variants(gpu, false).into_iter().map(Some).collect(),
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
                kind: Kind::Case(case, None),
            });
        }
        let other = match (device.as_gpu(), device.as_cpu()) {
            (Some(_), _) => Some(Kind::BufferCopy),
            (None, Some(cpu)) if cpu.threads() > 1 => Some(Kind::HostCopy),
            (None, _) => None,
        };
        list.extend(other.map(|kind| Yardstick {
            resource: Resource::Memory,
            amount: half as f64 * 8.0,
            kind,
        }));
    }
    list
}

/// Times a case turn by turn with every ceiling that might bind it.
pub(crate) fn measure(
    device: &Device,
    case: &Case,
    variant: Option<&'static str>,
    rounds: Rounds,
) -> Result<Measured, Stop> {
    let work = case.op.work();
    let dispatches = match device.as_gpu() {
        Some(gpu) => {
            let request = PlanRequest {
                variant,
                any_offset: false,
            };
            case.op.plan(gpu, &request)?.steps()
        }
        None => 1,
    };
    let sticks = yardsticks(device, &work, forks(device, case)?);
    let mut timed: Vec<Box<dyn Timed + '_>> = vec![prepare(device, case, variant)?];
    for stick in &sticks {
        timed.push(match (&stick.kind, device.as_gpu(), device.as_cpu()) {
            (Kind::Case(case, variant), ..) => prepare(device, case, *variant)?,
            (Kind::BufferCopy, Some(gpu), _) => Box::new(BufferCopy::new(gpu, stick.amount as u64)?),
            (Kind::HostCopy, _, Some(cpu)) => Box::new(HostCopy::new(cpu, stick.amount as u64)),
            (Kind::ParallelCall, _, Some(cpu)) => Box::new(ParallelCall(cpu.clone())),
            (Kind::BufferCopy | Kind::HostCopy | Kind::ParallelCall, ..) => {
                return Err(Stop::Input("a ceiling of another device".into()));
            }
        });
    }
    let samples = interleave(&mut timed, rounds)?;
    let (own, others) = samples.split_first().ok_or(Stop::Failed)?;
    let stats = stats(own);
    let bound = bind(&work, dispatches, &sticks, others);
    Ok(Measured {
        stats,
        bound,
        share: bound.seconds / stats.median,
        by_timestamps: own.iter().any(|sample| sample.gpu.is_some()),
    })
}

/// The resource that allows the least speed.
fn bind(work: &Work, dispatches: usize, sticks: &[Yardstick], samples: &[Vec<Sample>]) -> Bound {
    let mut bounds = Resource::ALL.map(|resource| Bound {
        resource,
        rate: 0.0,
        seconds: 0.0,
        noise: 0.0,
    });
    for (stick, samples) in sticks.iter().zip(samples) {
        let stats = stats(samples);
        for bound in bounds.iter_mut().filter(|bound| bound.resource == stick.resource) {
            let rate = stick.amount / stats.best;
            if rate > bound.rate {
                bound.rate = rate;
                bound.seconds = bound.resource.amount(work, dispatches) / rate;
                bound.noise = stats.relative_spread();
            }
        }
    }
    let [rates @ .., dispatch] = bounds;
    let rate = rates
        .into_iter()
        .max_by(|a, b| a.seconds.total_cmp(&b.seconds))
        .unwrap_or(dispatch);
    // A yardstick of a tiny piece of work is itself mostly the cost of starting it, and says nothing of the
    // resource it was to show: below twice that cost, the cost is what binds.
    if rate.seconds < 2.0 * dispatch.seconds {
        dispatch
    } else {
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(seconds: &[f64]) -> Vec<Sample> {
        let sample = |&wall| Sample { wall, gpu: None };
        seconds.iter().map(sample).collect()
    }

    fn stick(resource: Resource, amount: f64) -> Yardstick {
        Yardstick {
            resource,
            amount,
            kind: Kind::HostCopy,
        }
    }

    const WORK: Work = Work {
        flops: 1e6,
        int_ops: 0.0,
        bf16: false,
        bytes: 1e6,
    };

    #[test]
    fn the_slowest_allowed_time_binds_and_a_tiny_one_is_dispatch() {
        let sticks = [
            stick(Resource::Dispatch, 1.0),
            stick(Resource::MultiplyAdd, 1e9),
            stick(Resource::Memory, 1e6),
            stick(Resource::Memory, 1e6),
        ];
        let at = |dispatch, memory: f64| {
            let samples = [
                samples(&[dispatch]),
                samples(&[0.01]),
                samples(&[1.5 * memory]),
                samples(&[memory]),
            ];
            bind(&WORK, 3, &sticks, &samples)
        };
        let bound = at(1e-6, 1e-3);
        assert_eq!(bound.resource, Resource::Memory);
        assert!(
            (bound.seconds - 1e-3).abs() < 1e-12,
            "the faster copy is the ceiling: {bound:?}"
        );
        // Three dispatches of 0.2 ms: more than half of what the copy takes.
        let bound = at(2e-4, 1e-3);
        assert_eq!(bound.resource, Resource::Dispatch);
        assert!((bound.seconds - 6e-4).abs() < 1e-12, "{bound:?}");
        let bound = at(1e-6, 1e-7);
        assert_eq!(bound.resource, Resource::MultiplyAdd, "{bound:?}");
    }

    #[test]
    fn only_the_measured_noise_excuses_a_share_above_one() {
        let measured = |own: &[f64], ceiling: &[f64]| {
            let sticks = [stick(Resource::Dispatch, 1.0), stick(Resource::Memory, 1e6)];
            let bound = bind(&WORK, 1, &sticks, &[samples(&[1e-9]), samples(ceiling)]);
            let stats = stats(&samples(own));
            Measured {
                stats,
                bound,
                share: bound.seconds / stats.median,
                by_timestamps: false,
            }
        };
        let quiet = measured(&[1.0, 1.0, 1.0, 1.0, 1.0], &[1.1, 1.1, 1.1, 1.1, 1.1]);
        assert!(!quiet.believable(), "{quiet:?}");
        let noisy = measured(&[0.9, 0.9, 1.0, 1.1, 1.1], &[1.05, 1.05, 1.1, 1.15, 1.2]);
        assert!(noisy.share > 1.0 && noisy.believable(), "{noisy:?}");
        let below = measured(&[1.0, 1.0, 1.0], &[0.9, 0.9, 0.9]);
        assert!(below.believable());
    }

    #[test]
    fn parallel_calls_are_seen_and_serial_ones_are_not() {
        let device = Device::cpu();
        if device.as_cpu().is_none_or(|cpu| cpu.threads() < 2) {
            return;
        }
        let copy = |words: u64| {
            Case::new(Effort::Quick, Copy { words }, move || {
                vec![vec![1; words as usize], Vec::new()]
            })
        };
        assert!(matches!(forks(&device, &copy(16)), Ok(false)));
        assert!(matches!(forks(&device, &copy(1 << 20)), Ok(true)));
    }
}
