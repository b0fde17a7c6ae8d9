//! The CPU device where threads are many or none: the environment decides, so each case is a process of its own.

#![allow(clippy::print_stderr, reason = "a child tells its parent what failed")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fewbit::cpu::{Cpu, GemmParams, Sink, Source, gemm};
use libtest_mimic::{Arguments, Failed, Trial};

/// Set in the processes that do the work.
const CHILD: &str = "FEWBIT_TEST_THREADS_CHILD";

fn main() {
    if std::env::var_os(CHILD).is_some() {
        if let Err(error) = work() {
            eprintln!("{error}");
            std::process::exit(1);
        }
        return;
    }
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("threads that do not start leave the calling one", || {
            // No system maps a stack of 32 TiB.
            child("RUST_MIN_STACK", "35184372088832")
        }),
        Trial::test("billions of threads are capped", || {
            child("RAYON_NUM_THREADS", "99999999999")
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A product large enough for many threads, and digits, which are drawn by many too.
fn work() -> Result<(), String> {
    let cpu = Cpu::detect();
    let (m, n, k) = (300, 500, 200);
    let (a, b) = (vec![1.0; m * k], vec![2.0; k * n]);
    let mut c = vec![0.0; m * n];
    let (a, b) = (Source::f32(&a, k), Source::f32(&b, n));
    gemm(&cpu, &GemmParams::new(m, n, k), a, b, Sink::f32(&mut c, n), None)
        .map_err(|error| error.to_string())?;
    if c.iter().any(|&value| value != 400.0) {
        return Err("a wrong product".into());
    }
    #[cfg(feature = "nn")]
    fewbit::nn::digits::dataset(1, 500, 10).map_err(|error| error.to_string())?;
    match cpu.threads() {
        1..=100_000 => Ok(()),
        threads => Err(format!("{threads} threads")),
    }
}

/// Runs the work with a variable set; a minute is far more than it takes.
fn child(variable: &str, value: &str) -> Result<(), Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD, "1")
        .env(variable, value)
        .stdin(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(status.to_string().into()),
            None if start.elapsed() > Duration::from_secs(60) => {
                child.kill()?;
                child.wait()?;
                return Err("it does not end".into());
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
