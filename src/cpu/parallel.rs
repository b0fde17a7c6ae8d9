//! Parallel loops over chunks of data.
//!
//! The caller fixes the chunks; the number of threads only decides who runs which. A loop whose
//! chunks do not depend on the thread count therefore gives the same bits on one thread and on
//! sixty-four. Without the `cpu` feature the same loops run in order on the calling thread.

use super::Cpu;
#[cfg(feature = "cpu")]
use super::crew;
use crate::format::Rounding;
use std::ops::Range;
#[cfg(feature = "cpu")]
use std::sync::{Mutex, PoisonError};

/// Where a [`Cpu`]'s loops run.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    /// On the calling thread.
    Sequential,
    /// On the calling thread and its helpers, as many as rayon's global pool has threads; on that pool where they
    /// help somebody else; or on the pool the caller is already inside.
    #[cfg(feature = "cpu")]
    Global,
    /// On a pool of our own with a fixed number of threads.
    #[cfg(feature = "cpu")]
    Own(std::sync::Arc<rayon::ThreadPool>),
}

/// The most threads that one pool is given: more than any machine has cores to run them. `RAYON_NUM_THREADS` may ask
/// for billions, whose start would not end; where there are more cores, rayon's default stands.
#[cfg(feature = "cpu")]
const MAX_THREADS: usize = 1024;

#[cfg(feature = "cpu")]
pub(super) fn capped(threads: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    threads.min(cores.max(MAX_THREADS))
}

/// Whether loops can run on rayon's current pool: the one this thread is inside, or the global one, which is started
/// here if nobody has yet. Where its threads cannot be started the calling thread does all the work: rayon would panic.
#[cfg(feature = "cpu")]
fn has_pool() -> bool {
    static GLOBAL: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    rayon::current_thread_index().is_some() || *GLOBAL.get_or_init(start_global)
}

#[cfg(feature = "cpu")]
fn start_global() -> bool {
    let mut builder = rayon::ThreadPoolBuilder::new();
    // rayon reads the variable itself; only what passes the cap is overruled.
    let asked = std::env::var("RAYON_NUM_THREADS").ok();
    let asked = asked.and_then(|text| text.trim().parse::<usize>().ok());
    if let Some(asked) = asked.filter(|&asked| capped(asked) < asked) {
        log::warn!(
            "RAYON_NUM_THREADS = {asked}: {} threads are started",
            capped(asked)
        );
        builder = builder.num_threads(capped(asked));
    }
    match builder.build_global() {
        Ok(()) => true,
        // Somebody else has started it; only threads that do not start have a cause.
        Err(error) if std::error::Error::source(&error).is_none() => true,
        Err(error) => {
            log::warn!("the CPU device runs on the calling thread alone: {error}");
            false
        }
    }
}

/// The threads that work on a loop of the calling one, itself among them; none if it is one of a rayon pool, or if
/// helpers cannot be started. rayon's global pool has been started.
#[cfg(feature = "cpu")]
fn helped() -> Option<usize> {
    let threads = rayon::current_num_threads();
    (rayon::current_thread_index().is_none() && crew::is_there(threads)).then_some(threads)
}

impl Cpu {
    /// Number of threads that loops of this device may use.
    pub fn threads(&self) -> usize {
        match &self.pool {
            Pool::Sequential => 1,
            #[cfg(feature = "cpu")]
            Pool::Global if !has_pool() => 1,
            #[cfg(feature = "cpu")]
            Pool::Global => rayon::current_num_threads(),
            #[cfg(feature = "cpu")]
            Pool::Own(pool) => pool.current_num_threads(),
        }
    }

    /// The same instructions on the calling thread alone.
    pub(crate) fn on_this_thread(&self) -> Cpu {
        Cpu {
            isa: self.isa,
            pool: Pool::Sequential,
        }
    }

    /// This device; or the calling thread alone where an elementwise kernel has so few elements that waking
    /// other threads would take longer than the work.
    pub(crate) fn for_elements(&self, elements: usize, rounding: Rounding) -> Cpu {
        let few = match rounding {
            Rounding::Stochastic => TASK,
            _ => 4 * TASK,
        };
        if elements <= few {
            self.on_this_thread()
        } else {
            self.clone()
        }
    }

    /// Runs `f` where its loops follow one another without this thread being put to sleep and woken by each, some 20 us
    /// a time: on this thread, if it has helpers, else on one of the device's.
    pub(crate) fn inside<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Pool::Sequential => f(),
            #[cfg(feature = "cpu")]
            Pool::Global if !has_pool() => f(),
            #[cfg(feature = "cpu")]
            Pool::Global if helped().is_some() => f(),
            #[cfg(feature = "cpu")]
            Pool::Global => rayon::scope(|_| f()),
            #[cfg(feature = "cpu")]
            Pool::Own(pool) => pool.install(f),
        }
    }

    /// Calls `f` once for every item, in any order and on any thread.
    pub fn for_each<T: Send>(&self, items: Vec<T>, f: impl Fn(T) + Sync) {
        if items.len() < 2 {
            return items.into_iter().for_each(&f);
        }
        match &self.pool {
            Pool::Sequential => items.into_iter().for_each(f),
            #[cfg(feature = "cpu")]
            Pool::Global if !has_pool() => items.into_iter().for_each(f),
            #[cfg(feature = "cpu")]
            Pool::Global => {
                use rayon::prelude::*;
                let parts = items.len();
                let items = Mutex::new(items.into_iter());
                // Helpers begin at the end: from one loop over the same items to the next most of them stay with the
                // core that has what they read in its cache.
                let next = |who| {
                    let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
                    match who {
                        crew::Who::Caller => items.next(),
                        crew::Who::Helper => items.next_back(),
                    }
                };
                let work = |who| {
                    // One item at a time: they are coarse, and the last ones should be spread evenly.
                    while let Some(item) = next(who) {
                        f(item);
                    }
                };
                if !helped().is_some_and(|threads| crew::run(threads, parts, &work)) {
                    let items = items.into_inner().unwrap_or_else(PoisonError::into_inner);
                    let items: Vec<T> = items.collect();
                    items.into_par_iter().with_max_len(1).for_each(&f);
                }
            }
            #[cfg(feature = "cpu")]
            Pool::Own(pool) => pool.install(|| {
                use rayon::prelude::*;
                items.into_par_iter().with_max_len(1).for_each(&f);
            }),
        }
    }

    /// Calls `f(first_row, rows)` for consecutive groups of `rows_per_chunk` rows of `data`, whose
    /// rows start `ld` elements apart (the last row may be shorter).
    ///
    /// With `ld = 1` this is a loop over chunks of a flat slice. Nothing is called if `data` is
    /// empty; an `ld` or a `rows_per_chunk` of 0 counts as 1.
    pub fn rows<T: Send>(
        &self,
        data: &mut [T],
        ld: usize,
        rows_per_chunk: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let rows = rows_per_chunk.max(1);
        let step = rows.saturating_mul(ld.max(1));
        if data.len() <= step {
            if !data.is_empty() {
                f(0, data);
            }
            return;
        }
        let chunks: Vec<_> = data.chunks_mut(step).enumerate().collect();
        self.for_each(chunks, |(chunk, data)| f(chunk * rows, data));
    }

    /// Calls `f(range)` for consecutive ranges of at most `chunk` positions that cover `0..len`.
    pub fn ranges(&self, len: usize, chunk: usize, f: impl Fn(Range<usize>) + Sync) {
        let chunk = chunk.max(1);
        let ranges = (0..len.div_ceil(chunk))
            .map(|i| i * chunk..len.min((i + 1) * chunk))
            .collect();
        self.for_each(ranges, f);
    }

    /// Calls `f(i, chunk)` for the chunks of `chunk` elements of `data`; the last may be shorter.
    pub(crate) fn chunks_mut<T: Send>(
        &self,
        data: &mut [T],
        chunk: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        self.items(data.chunks_mut(chunk.max(1)).collect(), f);
    }

    /// Calls `f(i, item)` for every item and its number.
    pub(crate) fn items<T: Send>(&self, items: Vec<T>, f: impl Fn(usize, T) + Sync) {
        self.for_each(items.into_iter().enumerate().collect(), |(i, item)| f(i, item));
    }
}

/// Elements in one task of an elementwise kernel: small enough that two threads balance, long enough to hide
/// the cost of taking a task.
pub(crate) const TASK: usize = 1 << 15;
