//! The `fewbit` program: cross-check every kernel, measure it, and try the formats on real training.
//!
//! It uses the public API of the library alone.

mod bench;
mod ceiling;
mod check;
mod device;
mod formats;
mod info;
mod job;
mod measure;
mod output;
mod plot;
mod saved;
mod train;
mod tune;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand, ValueEnum};

use output::Output;

const EXIT_CODES: &str = "Exit codes: 0 everything passed; 1 a check failed; 2 usage or input error; \
130 interrupted (Ctrl-C).\nWithout a command: cross-check every kernel against its reference, measure it, \
and print one table.";

/// Low-precision and sparse kernels on any GPU, each checked against its CPU specification.
#[derive(Parser, Debug)]
#[command(version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every command.
#[derive(Args, Debug, Clone)]
pub(crate) struct Common {
    /// Where to run. `auto` takes a real GPU if there is one, else the native CPU device.
    #[arg(long, value_enum, default_value_t = Choice::Auto, global = true)]
    device: Choice,
    /// Open the GPU adapter whose name contains this text, in any case (software adapters too).
    #[arg(long, value_name = "NAME", global = true)]
    adapter: Option<String>,
    /// Open GPUs with wgpu's experimental features, which may be unsound: bf16 products run on matrix units where
    /// the driver has them.
    #[arg(long, global = true)]
    experimental: bool,
    /// With --experimental: use native bf16 matrix units where a Vulkan driver reports them
    /// (VK_KHR_shader_bfloat16), through SPIR-V that wgpu does not check.
    #[arg(long, global = true)]
    native_bf16: bool,
    /// Print one JSON object {"device", "results", "passed"} instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

/// The devices by name.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A real GPU if there is one, else the native CPU device.
    Auto,
    /// The best GPU adapter, software included.
    Gpu,
    /// The native CPU device.
    Cpu,
    /// The sequential reference.
    Reference,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List adapters with their limits and features, and the kernel variants each enables.
    Info,
    /// Run every kernel's correctness cases on one device.
    Check(check::CheckArgs),
    /// Time kernels, each beside the ceiling that binds it.
    Bench(bench::BenchArgs),
    /// Time the variants of each kernel on this adapter, and keep the fastest for later runs.
    Tune(tune::TuneArgs),
    /// Show the number formats, and a value in each.
    Formats(formats::FormatsArgs),
    /// Train the survey's perceptron in several number formats.
    Train(train::TrainArgs),
}

/// Why a command ended without passing.
pub(crate) enum Stop {
    /// A check failed: the rows say which.
    Failed,
    /// The user's input or machine does not allow it.
    Input(String),
    /// Ctrl-C.
    Interrupted,
}

impl From<fewbit::Error> for Stop {
    fn from(error: fewbit::Error) -> Self {
        Self::Input(error.to_string())
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Returns [`Stop::Interrupted`] once Ctrl-C was pressed. Long loops call it between pieces of work.
pub(crate) fn interrupted() -> Result<(), Stop> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        Err(Stop::Interrupted)
    } else {
        Ok(())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
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
        Some(Command::Train(args)) => train::run(&cli.common, args, &mut output),
    };
    output.clear_bars();
    device::save_pipelines();
    let code = match &outcome {
        Ok(()) => 0,
        Err(Stop::Failed) => 1,
        Err(Stop::Input(_)) => 2,
        Err(Stop::Interrupted) => 130,
    };
    match outcome {
        Err(Stop::Input(message)) => output.complain(&format!("error: {message}")),
        Err(Stop::Interrupted) => output.complain("interrupted"),
        Ok(()) | Err(Stop::Failed) => {}
    }
    // With --json there is one object on stdout even when something failed, so that a reader always finds it.
    output.finish(code == 0);
    ExitCode::from(code)
}
