//! The `fewbit` program: cross-check every kernel, measure it, and try the formats on real training.
//!
//! It uses the public API of the library alone.

mod bench;
mod cases;
mod ceiling;
mod check;
mod data;
mod device;
mod distill;
mod eval;
mod formats;
mod host;
mod info;
mod job;
mod measure;
mod models;
mod options;
mod output;
mod plot;
mod recipes;
mod reproduce;
mod saved;
mod seeds;
mod stored;
mod train;
mod tune;
mod yardsticks;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;

pub(crate) use options::{Choice, Common};
use options::{Cli, Command};
use output::Output;

/// Why a command ended without passing.
pub(crate) enum Stop {
    /// A check failed: the rows say which.
    Failed,
    /// The user's input or machine does not allow it.
    Input(String),
    /// Ctrl-C, or SIGTERM.
    Interrupted,
}

impl Stop {
    fn code(&self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Input(_) => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<fewbit::Error> for Stop {
    fn from(error: fewbit::Error) -> Self {
        Self::Input(error.to_string())
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Returns [`Stop::Interrupted`] once Ctrl-C was pressed, or SIGTERM came. Long loops call it between pieces of work.
pub(crate) fn interrupted() -> Result<(), Stop> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        Err(Stop::Interrupted)
    } else {
        Ok(())
    }
}

/// Keeps a layer of Mesa's from looking for a display on each start, and complaining that there is none.
fn quiet_mesa() {
    const NAME: &str = "NODEVICE_SELECT";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: `main` calls this first, before any thread is there that could read the environment meanwhile.
        unsafe { std::env::set_var(NAME, "1") };
    }
}

fn main() -> ExitCode {
    quiet_mesa();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    // wgpu and drivers are talkative at warning level; RUST_LOG opens them.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    let handler = ctrlc::set_handler(|| {
        // A second Ctrl-C does not wait for the piece of work in progress.
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler {
        log::warn!("Ctrl-C will end the program at once: {error}");
    }

    let mut output = Output::new(cli.common.json);
    let outcome = match &cli.command {
        None => job::run(&cli.common, &mut output),
        Some(Command::Info) => info::run(&cli.common, &mut output),
        Some(Command::Check(args)) => check::run(&cli.common, args, &mut output),
        Some(Command::Bench(args)) => bench::run(&cli.common, args, &mut output),
        Some(Command::Tune(args)) => tune::run(&cli.common, args, &mut output),
        Some(Command::Formats(args)) => formats::run(args, &mut output),
        Some(Command::Train(args)) => train::run(&cli.common, args, None, &mut output),
        Some(Command::Distill(args)) => train::run(&cli.common, &args.train, Some(args), &mut output),
        Some(Command::Eval(args)) => eval::eval(&cli.common, args, &mut output),
        Some(Command::Reproduce(args)) => reproduce::run(&cli.common, args, &mut output),
    };
    device::save_pipelines();
    end(output, outcome)
}

/// The end of a command line that was not understood, or that asked for help.
fn refused(error: &clap::Error) -> ExitCode {
    // Whoever reads JSON finds an object also where the options could not be read.
    let asked = std::env::args_os().take_while(|arg| arg != "--");
    let json = asked.skip(1).any(|arg| arg == "--json");
    let output = Output::new(json && error.use_stderr());
    if error.use_stderr() {
        let text = error.render().to_string();
        output.complain(text.trim_end());
        let message = text.lines().next().unwrap_or_default();
        output.fail(message.trim_start_matches("error: "));
        return finish(output, 2);
    }
    // Help, or the version.
    if let Err(error) = error.print() {
        output.not_written(error);
    }
    finish(output, 0)
}

fn end(output: Output, outcome: Result<(), Stop>) -> ExitCode {
    output.clear_bars();
    // Nothing passes with a row that did not.
    let outcome = match outcome {
        Ok(()) if output.any_failed() => Err(Stop::Failed),
        outcome => outcome,
    };
    match &outcome {
        Err(Stop::Input(message)) => {
            output.complain(&format!("error: {message}"));
            output.fail(message);
        }
        Err(Stop::Interrupted) => {
            output.complain("interrupted");
            output.fail("interrupted");
        }
        Err(Stop::Failed) => output.fail("a check failed: the results say which"),
        Ok(()) => {}
    }
    finish(output, outcome.map_or_else(|stop| stop.code(), |()| 0))
}

/// Prints what is left to print. With --json there is one object on stdout even when something failed, so that a
/// reader always finds it.
fn finish(output: Output, code: u8) -> ExitCode {
    match output.finish(code == 0) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            Output::new(false).complain(&format!("error: the output cannot be written: {error}"));
            ExitCode::from(2)
        }
    }
}
