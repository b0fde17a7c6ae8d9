//! Timing: what runs is prepared once, then repeated inside one submit, or one call on a host device, so that
//! neither allocation nor the cost of a submit counts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fewbit::Device;
use fewbit::check::Case;
use fewbit::cpu::Cpu;
use fewbit::gpu::{BoundPlan, Gpu, Offsets, Operand, PlanRequest, ReadBack, StepBuffer};
use fewbit::ops::{Arg, Args, Op};
use fewbit::tensor::HostBuffer;
use fewbit::wgpu;

use super::{Stop, interrupted};

/// A run shorter than this is repeated until it is not: the clock, the submit and the wake-up all cost.
const SHORTEST: f64 = 4e-3;
const MOST_REPEATS: u32 = 4096;
/// Fewer samples than this say nothing about their spread, so a budget never cuts below it.
const FEWEST_SAMPLES: u32 = 5;

/// Seconds of one run of something, repeated `repeats` times back to back.
pub(crate) trait Timed {
    /// One sample: seconds per run, by the wall clock and, where the adapter has them, by its timestamps.
    fn sample(&mut self, repeats: u32) -> Result<Sample, Stop>;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) wall: f64,
    pub(crate) gpu: Option<f64>,
}

impl Sample {
    /// GPU time where there is one, else wall time.
    pub(crate) fn best(&self) -> f64 {
        self.gpu.unwrap_or(self.wall)
    }
}

/// Median, smallest, and half the distance between the quartiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats {
    pub(crate) median: f64,
    pub(crate) best: f64,
    pub(crate) spread: f64,
    pub(crate) wall_median: f64,
    pub(crate) samples: usize,
}

impl Stats {
    /// The spread as a share of the median.
    pub(crate) fn relative_spread(&self) -> f64 {
        if self.median > 0.0 {
            self.spread / self.median
        } else {
            0.0
        }
    }
}

pub(crate) fn stats(samples: &[Sample]) -> Stats {
    let sorted = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (values, wall) = (sorted(Sample::best), sorted(|sample| sample.wall));
    let at = |values: &[f64], fraction: f64| {
        values
            .get(((values.len().max(1) - 1) as f64 * fraction).round() as usize)
            .copied()
            .unwrap_or(0.0)
    };
    Stats {
        median: at(&values, 0.5),
        best: at(&values, 0.0),
        spread: (at(&values, 0.75) - at(&values, 0.25)) / 2.0,
        wall_median: at(&wall, 0.5),
        samples: samples.len(),
    }
}

/// How many back-to-back runs make one sample long enough.
pub(crate) fn calibrate(timed: &mut dyn Timed) -> Result<u32, Stop> {
    let mut repeats = 1;
    loop {
        let total = timed.sample(repeats)?.wall * f64::from(repeats);
        if total >= SHORTEST || repeats >= MOST_REPEATS {
            return Ok(repeats);
        }
        let factor = (SHORTEST / total.max(1e-7) * 1.2).clamp(2.0, 64.0);
        repeats = ((f64::from(repeats) * factor) as u32).min(MOST_REPEATS);
    }
}

/// How many samples to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Rounds that do not count.
    pub(crate) warm_up: u32,
    /// Rounds that do.
    pub(crate) counted: u32,
    /// Once a set of things has taken so long it gets no more than [`FEWEST_SAMPLES`] rounds.
    pub(crate) budget: Option<Duration>,
}

/// Samples several things turn by turn (A-B-A-B).
pub(crate) fn interleave(
    timed: &mut [Box<dyn Timed + '_>],
    rounds: Rounds,
) -> Result<Vec<Vec<Sample>>, Stop> {
    let start = Instant::now();
    let repeats = timed
        .iter_mut()
        .map(|timed| calibrate(&mut **timed))
        .collect::<Result<Vec<_>, _>>()?;
    let mut samples = vec![Vec::new(); timed.len()];
    for round in 0..rounds.warm_up.saturating_add(rounds.counted) {
        let spent = rounds.budget.is_some_and(|budget| start.elapsed() > budget);
        if spent && round >= rounds.warm_up.saturating_add(FEWEST_SAMPLES) {
            break;
        }
        for ((timed, &repeats), samples) in timed.iter_mut().zip(&repeats).zip(&mut samples) {
            interrupted()?;
            let sample = timed.sample(repeats)?;
            if round >= rounds.warm_up {
                samples.push(sample);
            }
        }
    }
    Ok(samples)
}

/// A case made ready to be timed on a device.
pub(crate) fn prepare<'a>(
    device: &Device,
    case: &'a Case,
    variant: Option<&'static str>,
) -> Result<Box<dyn Timed + 'a>, Stop> {
    let operands = case.operands()?;
    match device.as_gpu() {
        Some(gpu) => Ok(Box::new(OnGpu::new(gpu, &*case.op, &operands, variant)?)),
        None => Ok(Box::new(OnHost {
            device: device.clone(),
            op: &*case.op,
            operands,
        })),
    }
}

/// Whether a case makes parallel calls on a CPU device, so that the cost of one bounds it: a short one runs on
/// the calling thread alone, and waking others would be no bound of its time.
///
/// Found by running it in a pool of two threads, the second of which does nothing but look for work: if it ever
/// finds some, the case shares its work out. Devices with a pool of their own would not be seen; the program
/// makes none.
pub(crate) fn forks(device: &Device, case: &Case) -> Result<bool, Stop> {
    if device.as_cpu().is_none_or(|cpu| cpu.threads() < 2) {
        return Ok(false);
    }
    let mut timed = OnHost {
        device: device.clone(),
        op: &*case.op,
        operands: case.operands()?,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .map_err(|error| Stop::Input(format!("cannot start two threads: {error}")))?;
    let [watching, done, found] = [const { AtomicBool::new(false) }; 3];
    let looks = AtomicU32::new(0);
    let run = || {
        while !watching.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let start = Instant::now();
        let outcome = loop {
            let outcome = timed.sample(1).map(drop);
            // Short pieces may be gone before they are seen, and other work may keep the other thread from
            // looking: try again until it has looked often.
            let often = looks.load(Ordering::Acquire) > 2000 && start.elapsed() > Duration::from_millis(20);
            let enough =
                found.load(Ordering::Acquire) || often || start.elapsed() > Duration::from_millis(100);
            if enough || outcome.is_err() {
                break outcome;
            }
        };
        done.store(true, Ordering::Release);
        outcome
    };
    let watch = || {
        watching.store(true, Ordering::Release);
        while !done.load(Ordering::Acquire) {
            looks.fetch_add(1, Ordering::AcqRel);
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                found.store(true, Ordering::Release);
            }
        }
    };
    pool.join(run, watch).0?;
    Ok(found.into_inner())
}

/// The smallest parallel call: two pieces of nothing.
pub(crate) struct ParallelCall(pub(crate) Cpu);

impl Timed for ParallelCall {
    fn sample(&mut self, repeats: u32) -> Result<Sample, Stop> {
        host_sample(repeats, || {
            self.0.for_each(vec![0u8, 1], |piece| {
                std::hint::black_box(piece);
            });
        })
    }
}

/// A copy between two host buffers in so many pieces: the `copy` operation's pieces of 1 MiB leave threads idle
/// where they do not come out even.
///
/// The target lies half a page off the source: a load whose address agrees with an earlier store's in the low
/// twelve bits waits for it on x86, and where the allocator happens to put buffers must not decide the ceiling.
pub(crate) struct HostCopy {
    cpu: Cpu,
    pieces: usize,
    words: usize,
    source: Vec<u32>,
    target: Vec<u32>,
    from: usize,
    to: usize,
}

impl HostCopy {
    const PAGE: usize = 4096;

    /// Over so many bytes, read and written together.
    pub(crate) fn new(cpu: &Cpu, bytes: u64, pieces: usize) -> Self {
        let words = bytes as usize / 8;
        let source = vec![1; words + Self::PAGE / 4];
        let target = vec![2; words + Self::PAGE / 4];
        // Words from the buffer's start to an address that is so many bytes past a page's.
        let at = |buffer: &[u32], past: usize| {
            let misplaced = (buffer.as_ptr() as usize).wrapping_sub(past) % Self::PAGE;
            (Self::PAGE - misplaced) % Self::PAGE / 4
        };
        let (from, to) = (at(&source, 0), at(&target, Self::PAGE / 2));
        Self {
            cpu: cpu.clone(),
            pieces,
            words,
            source,
            target,
            from,
            to,
        }
    }
}

impl Timed for HostCopy {
    fn sample(&mut self, repeats: u32) -> Result<Sample, Stop> {
        let source = &self.source[self.from..][..self.words];
        let target = &mut self.target[self.to..][..self.words];
        let share = self.words.div_ceil(self.pieces).max(1);
        host_sample(repeats, || {
            let mut pieces = source.chunks(share).zip(target.chunks_mut(share));
            if self.pieces > 1 {
                self.cpu.for_each(pieces.collect(), |(source, target)| {
                    target.copy_from_slice(source)
                });
            } else if let Some((source, target)) = pieces.next() {
                std::hint::black_box(target).copy_from_slice(std::hint::black_box(source));
            }
        })
    }
}

/// Words rewritten in place, in so many pieces.
pub(crate) struct HostUpdate {
    cpu: Cpu,
    pieces: usize,
    words: Vec<u32>,
}

impl HostUpdate {
    /// Over so many bytes, read and written together.
    pub(crate) fn new(cpu: &Cpu, bytes: u64, pieces: usize) -> Self {
        Self {
            cpu: cpu.clone(),
            pieces,
            words: vec![1; bytes as usize / 8],
        }
    }
}

impl Timed for HostUpdate {
    fn sample(&mut self, repeats: u32) -> Result<Sample, Stop> {
        let share = self.words.len().div_ceil(self.pieces).max(1);
        let update = |words: &mut [u32]| words.iter_mut().for_each(|word| *word ^= 1);
        host_sample(repeats, || {
            if self.pieces > 1 {
                self.cpu.for_each(self.words.chunks_mut(share).collect(), update);
            } else {
                update(std::hint::black_box(&mut self.words));
            }
        })
    }
}

fn host_sample(repeats: u32, mut run: impl FnMut()) -> Result<Sample, Stop> {
    let start = Instant::now();
    for _ in 0..repeats {
        run();
    }
    Ok(Sample {
        wall: start.elapsed().as_secs_f64() / f64::from(repeats),
        gpu: None,
    })
}

struct OnHost<'a> {
    device: Device,
    op: &'a dyn Op,
    operands: Vec<HostBuffer>,
}

impl Timed for OnHost<'_> {
    fn sample(&mut self, repeats: u32) -> Result<Sample, Stop> {
        let specs = self.op.operands();
        let start = Instant::now();
        for _ in 0..repeats {
            let operands = self.operands.iter_mut().zip(&specs);
            let args = operands.map(|(buffer, spec)| match spec.is_written() {
                true => Arg::Write(buffer.words_mut()),
                false => Arg::Read(buffer.words()),
            });
            let args = Args::new(args.collect(), self.op.step_values());
            match self.device.as_cpu() {
                Some(cpu) => self.op.cpu(cpu, args)?,
                None => self.op.reference(args)?,
            }
        }
        Ok(Sample {
            wall: start.elapsed().as_secs_f64() / f64::from(repeats),
            gpu: None,
        })
    }
}

/// A plan bound to buffers of its own.
struct OnGpu {
    gpu: Gpu,
    bound: BoundPlan,
    clock: Option<Clock>,
    /// Dropping a buffer while its bind group lives is allowed, but keeping it says what is in use.
    _buffers: Vec<wgpu::Buffer>,
}

impl OnGpu {
    fn new(
        gpu: &Gpu,
        op: &dyn Op,
        operands: &[HostBuffer],
        variant: Option<&'static str>,
    ) -> Result<Self, Stop> {
        let plan = op.plan(
            gpu,
            &PlanRequest {
                variant,
                offsets: Offsets::Vec4,
            },
        )?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let mut buffers = Vec::new();
        for operand in operands {
            buffers.push(gpu.buffer_with("bench", operand.words(), usage)?);
        }
        buffers.push(gpu.buffer("bench scratch", plan.scratch_bytes())?);
        let step = StepBuffer::new(gpu, plan.scalars(), &op.step_values())?;
        let mut views: Vec<_> = buffers.iter().map(Operand::whole).collect();
        let scratch = views.pop();
        let bound = plan.bind_with(&views, scratch, Some(&step))?;
        Ok(Self {
            gpu: gpu.clone(),
            bound,
            clock: Clock::new(gpu)?,
            _buffers: buffers,
        })
    }
}

impl Timed for OnGpu {
    fn sample(&mut self, repeats: u32) -> Result<Sample, Stop> {
        let steps = self.bound.plan().steps();
        let total: u64 = (0..steps).map(|step| self.bound.plan().work(step)).sum();
        // Never more work in one submit than the device's cap allows, unless one run is more.
        let repeats = u64::from(repeats).min((self.gpu.work_cap() / total.max(1)).max(1)) as u32;
        let bound = &self.bound;
        timed_submit(&self.gpu, self.clock.as_ref(), repeats, &mut |encoder, writes| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("bench"),
                timestamp_writes: writes,
            });
            for _ in 0..repeats {
                bound.record(&mut pass);
            }
        })
    }
}

/// `copy_buffer_to_buffer` over so many bytes, read and written together.
pub(crate) struct BufferCopy {
    gpu: Gpu,
    source: wgpu::Buffer,
    target: wgpu::Buffer,
}

impl BufferCopy {
    pub(crate) fn new(gpu: &Gpu, bytes: u64) -> Result<Self, Stop> {
        let half = (bytes / 2).next_multiple_of(16);
        Ok(Self {
            gpu: gpu.clone(),
            source: gpu.buffer("copy", half)?,
            target: gpu.buffer("copy", half)?,
        })
    }
}

impl Timed for BufferCopy {
    fn sample(&mut self, repeats: u32) -> Result<Sample, Stop> {
        timed_submit(&self.gpu, None, repeats, &mut |encoder, _| {
            for _ in 0..repeats {
                encoder.copy_buffer_to_buffer(&self.source, 0, &self.target, 0, self.source.size());
            }
        })
    }
}

type Record<'a> = dyn FnMut(&mut wgpu::CommandEncoder, Option<wgpu::ComputePassTimestampWrites<'_>>) + 'a;

fn timed_submit(
    gpu: &Gpu,
    clock: Option<&Clock>,
    repeats: u32,
    record: &mut Record<'_>,
) -> Result<Sample, Stop> {
    let mut encoder = gpu.encoder("bench");
    record(&mut encoder, clock.map(Clock::writes));
    let ticks = clock.map(|clock| clock.resolve(gpu, &mut encoder)).transpose()?;
    gpu.wait()?;
    let start = Instant::now();
    gpu.submit("bench", encoder)?;
    gpu.wait()?;
    let wall = start.elapsed().as_secs_f64() / f64::from(repeats);
    let gpu_time = match ticks {
        None => None,
        Some(back) => {
            let words = back.read_blocking()?;
            let tick = |i: usize| u64::from(words.words()[i]) | (u64::from(words.words()[i + 1]) << 32);
            let ticks = tick(2).saturating_sub(tick(0));
            let period = f64::from(gpu.queue().get_timestamp_period()) * 1e-9;
            // Some drivers resolve nothing for short passes: then the wall clock is all there is.
            (ticks > 0).then_some(ticks as f64 * period / f64::from(repeats))
        }
    };
    Ok(Sample { wall, gpu: gpu_time })
}

/// Two timestamps around a pass.
struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
}

impl Clock {
    fn new(gpu: &Gpu) -> Result<Option<Self>, Stop> {
        // Software adapters stamp when a command is recorded, not when its work is done.
        if !gpu.features().contains(wgpu::Features::TIMESTAMP_QUERY) || gpu.is_software() {
            return Ok(None);
        }
        let queries = gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("bench"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer_with("timestamps", &[0; 4], usage)?;
        Ok(Some(Self { queries, resolved }))
    }

    fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    fn resolve(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Result<ReadBack, Stop> {
        encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
        Ok(ReadBack::record(gpu, encoder, &self.resolved, 0, 4)?)
    }
}
