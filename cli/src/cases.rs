//! Many cases at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use fewbit::Device;
use fewbit::check::{Case, Report};

use super::{Stop, interrupted};

/// The reports of every case, in the cases' order, and how it ended: what stops early leaves what is done. On a GPU as many cases run at a time as the machine has threads: most
/// of the time goes into compiling pipelines, and the driver compiles each on the thread that asks. The CPU device's
/// kernels have all cores already.
pub(crate) fn reports(
    device: &Device,
    cases: &[Case],
    bar: &ProgressBar,
    run: impl Fn(&Case) -> fewbit::Result<Vec<Report>> + Sync,
) -> (Vec<Vec<Report>>, Result<(), Stop>) {
    let threads = match device.as_gpu() {
        Some(_) => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        None => 1,
    };
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done: Mutex<Vec<Option<Vec<Report>>>> = Mutex::new(cases.iter().map(|_| None).collect());
    let work = || -> Result<(), Stop> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number).filter(|_| !over.load(Ordering::Relaxed)) else {
                return Ok(());
            };
            let made = interrupted().and_then(|()| {
                bar.set_message(format!("{} {}", case.op.name(), case.op.describe()));
                run(case).map_err(Stop::from)
            });
            match made {
                Ok(reports) => {
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done[number] = Some(reports);
                }
                Err(stop) => {
                    over.store(true, Ordering::Relaxed);
                    return Err(stop);
                }
            }
            bar.inc(1);
        }
    };
    let ended = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(cases.len())).map(|_| scope.spawn(work)).collect();
        let own = work();
        let mut all = vec![own];
        for other in others {
            all.push(other.join().unwrap_or(Err(Stop::Failed)));
        }
        all.into_iter().collect()
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    (done.into_iter().map(Option::unwrap_or_default).collect(), ended)
}
