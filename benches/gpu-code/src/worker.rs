//! A child process that compiles: the driver ends its process where it is given a family that it does not know, and may
//! where it meets a shader that it cannot compile. What it did goes to its parent line by line.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fewbit::gpu::Permutation;
use serde::{Deserialize, Serialize};

use crate::driver::Driver;
use crate::row::{self, Row};
use crate::translate::{self, Checks};

/// The variable that makes a process a worker: the first permutation that it compiles, and how far on the next is.
pub const VARIABLE: &str = "FEWBIT_GPU_CODE_WORKER";

/// A line from a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum Line {
    /// The device is open.
    Open { device: String, driver: String },
    /// It could not be opened.
    Closed(String),
    /// The permutation of this number is about to be compiled.
    Begin(usize),
    /// It was.
    Row(usize, Box<Row>),
    /// It was not, in the compiler's words.
    Failed(usize, String),
}

/// A permutation to compile, and the operation that lists it.
pub struct Wanted {
    pub kernel: &'static str,
    pub permutation: Permutation,
}

/// The leading number of a family's instruction set, where the driver's text depends on it.
pub fn generation(family: &str) -> u32 {
    match family {
        "polaris10" => 8,
        "vega20" | "mi100" | "mi200" => 9,
        "navi10" | "navi21" => 10,
        "gfx1200" | "gfx1201" => 12,
        _ => 11,
    }
}

/// Seconds after which a compiler is taken to be without end.
const ENDLESS: u64 = 120;

/// Compiles every `step`-th permutation from `first` on.
pub fn work(wanted: &[Wanted], (first, step): (usize, usize), family: &str, checks: Checks, code: bool) {
    let driver = match Driver::open() {
        Ok(driver) => driver,
        Err(error) => return tell(&Line::Closed(error)),
    };
    tell(&Line::Open {
        device: driver.name.clone(),
        driver: driver.version.clone(),
    });
    let begin = Instant::now();
    let watch = Arc::new((AtomicUsize::new(0), AtomicU64::new(0)));
    let watched = watch.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if begin.elapsed().as_secs() > watched.1.load(Ordering::Relaxed) + ENDLESS {
                let why = format!("still at it after {ENDLESS} s: given up");
                tell(&Line::Failed(watched.0.load(Ordering::Relaxed), why));
                std::process::exit(1);
            }
        }
    });
    for (at, wanted) in wanted.iter().enumerate().skip(first).step_by(step) {
        tell(&Line::Begin(at));
        watch.0.store(at, Ordering::Relaxed);
        watch.1.store(begin.elapsed().as_secs(), Ordering::Relaxed);
        match compile(&driver, wanted, family, checks, code) {
            Ok(row) => tell(&Line::Row(at, Box::new(row))),
            Err(error) => tell(&Line::Failed(at, error)),
        }
    }
}

fn compile(
    driver: &Driver,
    wanted: &Wanted,
    family: &str,
    checks: Checks,
    code: bool,
) -> Result<Row, String> {
    let permutation = &wanted.permutation;
    let interface = permutation.interface()?;
    let module = translate::spirv(permutation, &interface, driver.facts, checks)?;
    let clock = Clock::now();
    let compiled = driver.compile(&module.words, permutation.entry, &interface)?;
    let seconds = clock.seconds();
    let name = row::name(permutation);
    let mut row = row::row(
        wanted.kernel,
        &name,
        module.group,
        generation(family),
        &compiled,
        seconds,
    );
    if code {
        row.code = Some(compiled.assembly);
    }
    Ok(row)
}

/// A parent that went away is no concern of the worker's: it ends at the next line.
fn tell(line: &Line) {
    let text = serde_json::to_string(line).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Time that this thread has had a processor: what else runs on the machine does not count.
struct Clock {
    wall: Instant,
    processor: Option<f64>,
}

impl Clock {
    fn now() -> Self {
        Self {
            wall: Instant::now(),
            processor: processor_seconds(),
        }
    }

    fn seconds(&self) -> f64 {
        match (self.processor, processor_seconds()) {
            (Some(begin), Some(end)) => end - begin,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds * 1e-9)
}
