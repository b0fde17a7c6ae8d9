//! Timing: what runs is prepared once, then repeated inside one submit, or one call on a host device, so that
//! neither allocation nor the cost of a submit counts.

use std::time::{Duration, Instant};

use fewbit::Device;
use fewbit::check::Case;
use fewbit::gpu::{BoundPlan, Gpu, Offsets, Operand, PlanRequest, ReadBack, StepBuffer};
use fewbit::op::Op;
use fewbit::tensor::HostBuffer;
use fewbit::wgpu;

use super::host::OnHost;
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
        None => Ok(Box::new(OnHost::new(device, &*case.op, operands))),
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
        let mut request = PlanRequest::default().offsets(Offsets::Vec4);
        request.variant = variant;
        let plan = op.plan(gpu, &request)?;
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
