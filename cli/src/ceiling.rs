//! Ceilings: measured beside each kernel, turn by turn with it, over the same number of bytes.

use fewbit::Device;
use fewbit::check::Case;
use fewbit::gpu::{Access, Offsets, PlanRequest};
use fewbit::op::Work;

use super::Stop;
use super::host::forks;
use super::measure::{Rounds, Sample, Stats, Timed, interleave, prepare, stats};
use super::yardsticks::{Yardstick, yardsticks};

/// The resource that a ceiling is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    MultiplyAdd,
    Bf16Dot,
    Integer,
    /// Starting work at all: the smallest dispatch on a GPU; on the CPU device the smallest parallel call, or for
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
    pub(crate) fn amount(self, work: &Work, dispatches: usize) -> f64 {
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
    /// Every ceiling that was measured beside it.
    pub(crate) bounds: Bounds,
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

impl Bound {
    /// A kernel that is little more than its dispatches shows what a dispatch costs as well as any yardstick does:
    /// where its best sample is the faster one it is the ceiling. Of other resources this is no evidence.
    fn unless_faster(self, own: &Stats, dispatches: usize) -> Self {
        if self.resource == Resource::Dispatch && own.best > 0.0 && own.best < self.seconds {
            return Self {
                rate: dispatches as f64 / own.best,
                seconds: own.best,
                noise: own.relative_spread(),
                ..self
            };
        }
        self
    }
}

/// Times a case turn by turn with every ceiling that might bind it.
pub(crate) fn measure(
    device: &Device,
    case: &Case,
    variant: Option<&'static str>,
    rounds: Rounds,
) -> Result<Measured, Stop> {
    let work = case.op.work();
    let (dispatches, matrix_unit) = match device.as_gpu() {
        Some(gpu) => {
            let mut request = PlanRequest::default().offsets(Offsets::Vec4);
            request.variant = variant;
            let plan = case.op.plan(gpu, &request)?;
            (plan.steps(), plan.on_matrix_unit())
        }
        None => (1, false),
    };
    let specs = case.op.operands();
    let updates = specs.iter().any(|spec| spec.access == Access::Update);
    let mut sticks = yardsticks(device, &work, forks(device, case)?, updates);
    if matrix_unit {
        // They multiply beside the units that this is the rate of, and no kernel here is a measure of theirs.
        sticks.retain(|stick| stick.resource != Resource::MultiplyAdd);
    }
    let prepare = || {
        let mut timed: Vec<Box<dyn Timed + '_>> = vec![prepare(device, case, variant)?];
        for stick in &sticks {
            timed.push(stick.prepare(device)?);
        }
        Ok(timed)
    };
    until_believed(rounds, prepare, |samples, seen| {
        let (own, others) = samples.split_first()?;
        let stats = stats(own);
        let bounds = higher(bounds(&work, dispatches, &sticks, others), seen);
        let bound = binding(&bounds).unless_faster(&stats, dispatches);
        Some(Measured {
            stats,
            bound,
            bounds,
            share: bound.seconds / stats.median,
            by_timestamps: own.iter().any(|sample| sample.gpu.is_some()),
        })
    })
}

/// How often a kernel above its ceiling is measured with it, side by side, before the ceiling counts as wrong.
const ATTEMPTS: u32 = 5;

/// Measures what `prepare` made ready, in which the first is the kernel, until `judge` is believed.
///
/// Who shares the machine may have slowed all yardsticks of one measurement: each attempt takes twice the last
/// one's samples, so that a burst of a second is outlived. And where buffers happened to lie may have: in a cache
/// as large as the working set, whose pages collide in it is settled when they are allocated. So each attempt has
/// new ones, made while the last ones still hold their pages.
fn until_believed<'a>(
    rounds: Rounds,
    prepare: impl Fn() -> Result<Vec<Box<dyn Timed + 'a>>, Stop>,
    judge: impl Fn(&[Vec<Sample>], Option<&Bounds>) -> Option<Measured>,
) -> Result<Measured, Stop> {
    let mut timed = prepare()?;
    let mut seen: Option<Bounds> = None;
    for attempt in 0.. {
        let counted = rounds.counted << attempt;
        let samples = interleave(&mut timed, Rounds { counted, ..rounds })?;
        let measured = judge(&samples, seen.as_ref()).ok_or(Stop::Failed)?;
        if measured.believable() || attempt + 1 == ATTEMPTS {
            return Ok(measured);
        }
        seen = Some(measured.bounds);
        timed = prepare()?;
    }
    Err(Stop::Failed)
}

/// What each resource allows, in the order of [`Resource::ALL`].
type Bounds = [Bound; Resource::ALL.len()];

/// A rate that was once reached can be reached: of two measurements, the higher rate of each resource.
fn higher(mut bounds: Bounds, seen: Option<&Bounds>) -> Bounds {
    for (bound, seen) in bounds.iter_mut().zip(seen.into_iter().flatten()) {
        if seen.rate > bound.rate {
            *bound = *seen;
        }
    }
    bounds
}

/// What each resource allows, in the order of [`Resource::ALL`]; a rate of 0 where it was not measured.
fn bounds(work: &Work, dispatches: usize, sticks: &[Yardstick], samples: &[Vec<Sample>]) -> Bounds {
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
    bounds
}

/// The one that allows the least speed.
fn binding(bounds: &Bounds) -> Bound {
    let [rates @ .., dispatch] = *bounds;
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
    use fewbit::check::Effort;
    use fewbit::kernels::Copy;

    use super::super::yardsticks::Kind;
    use super::*;

    fn samples(seconds: &[f64]) -> Vec<Sample> {
        let sample = |&wall| Sample { wall, gpu: None };
        seconds.iter().map(sample).collect()
    }

    fn stick(resource: Resource, amount: f64) -> Yardstick {
        Yardstick {
            resource,
            amount,
            kind: Kind::HostCopy(1),
        }
    }

    const WORK: Work = Work::new(1e6, 1e6);

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
            binding(&bounds(&WORK, 3, &sticks, &samples))
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
            let bounds = bounds(&WORK, 1, &sticks, &[samples(&[1e-9]), samples(ceiling)]);
            let bound = binding(&bounds);
            let stats = stats(&samples(own));
            Measured {
                stats,
                bound,
                bounds,
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

    /// Takes as long as it says.
    struct Fixed(f64);

    impl Timed for Fixed {
        fn sample(&mut self, _: u32) -> Result<Sample, Stop> {
            Ok(Sample {
                wall: self.0,
                gpu: None,
            })
        }
    }

    #[test]
    fn a_yardstick_whose_buffers_lie_badly_is_prepared_again() {
        let sticks = [stick(Resource::Dispatch, 1.0), stick(Resource::Memory, 1e6)];
        let rounds = Rounds {
            warm_up: 0,
            counted: 1,
            budget: None,
        };
        let measured = |memory: [f64; ATTEMPTS as usize]| {
            let made = std::cell::Cell::new(0);
            let prepare = || {
                let attempt = made.replace(made.get() + 1);
                let fixed = [1.0, 1e-9, memory[attempt]];
                Ok(fixed
                    .map(|seconds| Box::new(Fixed(seconds)) as Box<dyn Timed>)
                    .into())
            };
            let measured = until_believed(rounds, prepare, |samples, seen| {
                let (own, others) = samples.split_first()?;
                let bounds = higher(bounds(&WORK, 1, &sticks, others), seen);
                let bound = binding(&bounds);
                let stats = stats(own);
                Some(Measured {
                    stats,
                    bound,
                    bounds,
                    share: bound.seconds / stats.median,
                    by_timestamps: false,
                })
            });
            (measured.map(|measured| measured.believable()).ok(), made.get())
        };
        assert_eq!(measured([0.9; 5]), (Some(true), 1));
        assert_eq!(measured([1.3, 1.3, 1.3, 1.3, 0.9]), (Some(true), 5));
        assert_eq!(measured([1.3; 5]), (Some(false), 5), "a wrong ceiling stays one");
    }

    #[test]
    fn a_rate_once_reached_counts() {
        let at = |memory: f64| {
            let sticks = [stick(Resource::Dispatch, 1.0), stick(Resource::Memory, 1e6)];
            bounds(&WORK, 1, &sticks, &[samples(&[1e-9]), samples(&[memory])])
        };
        for (first, second) in [(1.0, 2.0), (2.0, 1.0)] {
            let bound = binding(&higher(at(second), Some(&at(first))));
            assert_eq!((bound.resource, bound.seconds), (Resource::Memory, 1.0));
        }
        assert_eq!(binding(&higher(at(2.0), None)).seconds, 2.0);
    }

    #[test]
    fn a_kernel_faster_than_the_smallest_dispatch_is_its_own_ceiling() {
        let own = stats(&samples(&[0.9, 1.0, 1.1]));
        let bound = |resource, seconds| Bound {
            resource,
            rate: 3.0 / seconds,
            seconds,
            noise: 0.0,
        };
        let dispatch = bound(Resource::Dispatch, 1.2).unless_faster(&own, 3);
        assert_eq!((dispatch.seconds, dispatch.rate), (0.9, 3.0 / 0.9));
        let slower = bound(Resource::Dispatch, 0.5).unless_faster(&own, 3);
        assert_eq!(slower.seconds, 0.5);
        let memory = bound(Resource::Memory, 1.2).unless_faster(&own, 3);
        assert_eq!(memory.seconds, 1.2, "a wrong memory ceiling is not excused");
    }

    /// Runs a test again, in a process that has two threads whatever the machine has.
    fn with_two_threads(test: &str) {
        const THREADS: &str = "RAYON_NUM_THREADS";
        assert!(std::env::var_os(THREADS).is_none_or(|threads| threads != "2"));
        let again = std::env::current_exe().and_then(|own| {
            let mut again = std::process::Command::new(own);
            again.args(["--exact", test]).env(THREADS, "2").output()
        });
        let passed = |output: std::process::Output| {
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed")
        };
        assert!(again.is_ok_and(passed), "{test} with two threads");
    }

    #[test]
    fn parallel_calls_are_seen_and_serial_ones_are_not() {
        let device = Device::cpu();
        if device.as_cpu().is_some_and(|cpu| cpu.threads() < 2) {
            return with_two_threads("ceiling::tests::parallel_calls_are_seen_and_serial_ones_are_not");
        }
        let copy = |words: u64| {
            Case::new(Effort::Quick, Copy::new(words), move || {
                vec![vec![1; words as usize], Vec::new()]
            })
        };
        assert!(matches!(forks(&device, &copy(16)), Ok(false)));
        // Whoever shares the machine may keep the second thread from looking, but hardly three times.
        assert!((0..3).any(|_| matches!(forks(&device, &copy(1 << 20)), Ok(true))));
    }
}
