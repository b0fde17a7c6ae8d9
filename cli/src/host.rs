//! What is timed on host devices: operations, and the copies, updates and calls that are their ceilings.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fewbit::Device;
use fewbit::check::Case;
use fewbit::cpu::Cpu;
use fewbit::op::{Arg, Args, Op};
use fewbit::tensor::HostBuffer;

use super::Stop;
use super::measure::{Sample, Timed};

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

/// An operation on a host device, over buffers of its own.
pub(crate) struct OnHost<'a> {
    device: Device,
    op: &'a dyn Op,
    operands: Vec<HostBuffer>,
}

impl<'a> OnHost<'a> {
    pub(crate) fn new(device: &Device, op: &'a dyn Op, operands: Vec<HostBuffer>) -> Self {
        Self {
            device: device.clone(),
            op,
            operands,
        }
    }
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
