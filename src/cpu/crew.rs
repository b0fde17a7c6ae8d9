//! Threads that help the calling one, and wait awake for a moment for its next loop.
//!
//! Why beside rayon's pool: a loop started there from outside puts the caller to sleep, wakes as many workers as there
//! are cores, and is itself woken by the last of them. On a virtual machine that takes 30 to 100 us, as long as a
//! product of 256 x 256 x 256, and the small loops of inference follow one another within less. Here the caller works
//! from the start, a helper that has just finished looks for more during [`AWAKE`] before it sleeps, and nobody waits
//! for a helper that was woken too late: the door is closed when the work is all taken. It costs up to [`AWAKE`] of
//! every helper's core after a loop; where there are more threads than cores they sleep at once. One caller at a time
//! has the crew: others, and those inside a rayon pool, where the caller asked to be, take rayon's.
//!
//! Who works on what never matters for a result, as in all of this room.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a helper looks for more work before it sleeps.
const AWAKE: Duration = Duration::from_micros(100);

/// What all take part in until it returns.
#[derive(Clone, Copy)]
struct Work<'a>(&'a (dyn Fn(Who) + Sync));

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Caller,
    Helper,
}

/// The door's bit that lets helpers in. Above it, the number of the work, so that each helper goes in once; below, how
/// many are inside.
const OPEN: u64 = 1 << 31;

struct Crew {
    door: AtomicU64,
    /// Where the work of an open door stands: on its caller's stack.
    work: AtomicPtr<Work<'static>>,
    /// Held by the caller that has the crew.
    caller: Mutex<()>,
    asleep: AtomicUsize,
    /// Held by helpers that fall asleep and by callers that wake them.
    bed: Mutex<()>,
    bell: Condvar,
    /// What a helper's part ended with, if not well.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

static CREW: Crew = Crew {
    door: AtomicU64::new(0),
    work: AtomicPtr::new(std::ptr::null_mut()),
    caller: Mutex::new(()),
    asleep: AtomicUsize::new(0),
    bed: Mutex::new(()),
    bell: Condvar::new(),
    panic: Mutex::new(None),
};

/// Helpers beside the caller, of `threads` threads: started by the first call.
fn helpers(threads: usize) -> usize {
    static HELPERS: OnceLock<usize> = OnceLock::new();
    *HELPERS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let awake = if threads > cores { Duration::ZERO } else { AWAKE };
        let start = |_: &usize| {
            let builder = std::thread::Builder::new().name("fewbit".into());
            builder.spawn(move || CREW.help(awake)).is_ok()
        };
        // Where one does not start, neither would the next.
        (1..threads).take_while(start).count()
    })
}

/// Whether the calling thread would have help.
pub(super) fn is_there(threads: usize) -> bool {
    helpers(threads) > 0
}

/// Runs `work` on the calling thread and, at the same time, on as many helpers as come in time, at most one less than
/// `parts`; `work` returns when nothing is left to take. False, and nothing is run, if there is no help to be had.
///
/// # Panics
/// With what `work` panics with, on whatever thread, after all have left it.
pub(super) fn run(threads: usize, parts: usize, work: &(dyn Fn(Who) + Sync)) -> bool {
    if helpers(threads) == 0 {
        return false;
    }
    match CREW.caller.try_lock() {
        Ok(caller) => CREW.lead(&caller, parts, work),
        Err(TryLockError::Poisoned(caller)) => CREW.lead(&caller.into_inner(), parts, work),
        Err(TryLockError::WouldBlock) => return false,
    }
    true
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    fn lead(&self, _: &MutexGuard<'_, ()>, parts: usize, work: &(dyn Fn(Who) + Sync)) {
        let work = Work(work);
        self.work
            .store(std::ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        let number = (self.door.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.door.store((number << 32) | OPEN, Ordering::SeqCst);
        // A helper counts itself before it looks at the door for the last time: one of both sees the other.
        let asleep = self.asleep.load(Ordering::SeqCst);
        if asleep > 0 {
            let bed = locked(&self.bed);
            for _ in 0..asleep.min(parts.saturating_sub(1)) {
                self.bell.notify_one();
            }
            drop(bed);
        }
        let own = catch_unwind(AssertUnwindSafe(|| work.0(Who::Caller)));
        self.door.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0;
        while self.door.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            // A part may take milliseconds; and on a busy machine its thread may wait for this core.
            looks += 1;
            if looks < 1 << 12 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let theirs = locked(&self.panic).take();
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }

    /// The life of a helper.
    fn help(&self, awake: Duration) {
        let mut last = 0;
        loop {
            let number = self.enter(last, awake);
            let work = self.work.load(Ordering::Relaxed);
            // SAFETY: `lead` stored it before it opened the door, and this thread counted itself in through the open
            // door; `lead` returns, and with it what `work` points to and borrows ends, only after the door was
            // closed and everybody counted in has counted itself out, below.
            let work = unsafe { *work };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work.0(Who::Helper))) {
                *locked(&self.panic) = Some(panic);
            }
            self.door.fetch_sub(1, Ordering::Release);
            last = number;
        }
    }

    /// Waits for work other than the `last`, and counts this thread in. Its number.
    fn enter(&self, last: u64, awake: Duration) -> u64 {
        let since = Instant::now();
        loop {
            for _ in 0..64 {
                if let Some(number) = self.try_enter(last) {
                    return number;
                }
                std::hint::spin_loop();
            }
            if since.elapsed() >= awake {
                break;
            }
        }
        let mut bed = locked(&self.bed);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        let number = loop {
            if let Some(number) = self.try_enter(last) {
                break number;
            }
            bed = self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner);
        };
        self.asleep.fetch_sub(1, Ordering::SeqCst);
        number
    }

    fn try_enter(&self, last: u64) -> Option<u64> {
        let door = self.door.load(Ordering::SeqCst);
        if door & OPEN == 0 || door >> 32 == last {
            return None;
        }
        let entered = self
            .door
            .compare_exchange(door, door + 1, Ordering::AcqRel, Ordering::Relaxed);
        entered.is_ok().then_some(door >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of `count` parts, with the crew if it is free.
    fn each(count: usize, f: impl Fn(usize) + Sync) {
        let next = AtomicUsize::new(0);
        let work = |_| {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return;
                }
                f(i);
            }
        };
        if !run(3, count, &work) {
            work(Who::Caller);
        }
    }

    #[test]
    fn every_part_once_however_long_between() {
        for round in 0..2000 {
            let parts: Vec<_> = (0..round % 7).map(|_| AtomicUsize::new(0)).collect();
            each(parts.len(), |i| {
                parts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(parts.iter().all(|part| part.load(Ordering::Relaxed) == 1));
            if round % 500 == 0 {
                // Long enough that all sleep.
                std::thread::sleep(2 * AWAKE);
            }
        }
    }

    #[test]
    fn callers_at_the_same_time_and_inside_each_other() {
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        each(5, |_| {
                            each(3, |i| {
                                sum.fetch_add(i, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 200 * 5 * 3);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_crew() {
        for part in 0..8 {
            let result = catch_unwind(|| each(8, |i| assert_ne!(i, part)));
            assert!(result.is_err());
            let done = AtomicUsize::new(0);
            each(8, |_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 8);
        }
    }
}
