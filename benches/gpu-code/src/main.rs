//! What a real GPU's compiler makes of fewbit's kernels, on a machine without a GPU: Mesa's driver for AMD compiles
//! every permutation on its null device, and this program reads registers, waves, and the code of the hot loops.
//!
//! `scripts/gpu-code.sh` builds and runs it. Nothing here is a measurement of time on a GPU.

mod code;
mod compare;
mod driver;
mod isa;
mod loops;
mod row;
mod run;
mod table;
mod translate;
mod worker;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use translate::Checks;

/// What Mesa's compiler for AMD makes of fewbit's kernels, on its null device: registers, waves, hot loops.
#[derive(Parser)]
struct Cli {
    /// The GPU's family, or several with commas between them: see the names that an unknown one is answered with.
    #[arg(default_value = "gfx1100")]
    family: String,
    /// Only this operation; where there is none of that name, those whose name or shader contains it.
    kernel: Option<String>,
    /// Only permutations whose name contains this text; given again, all of the texts.
    #[arg(long, value_name = "TEXT")]
    permutation: Vec<String>,
    /// wgpu's runtime checks.
    #[arg(long, value_enum, default_value_t = Checks::On)]
    checks: Checks,
    /// WGSL files below this folder take the place of those of the same path that are compiled in.
    #[arg(long, value_name = "DIR")]
    shaders: Option<PathBuf>,
    /// Print JSON, and nothing else, to standard output.
    #[arg(long)]
    json: bool,
    /// Compare with what --json wrote before; what got worse is a failure.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Print the machine code, with its loops marked, of permutations whose name contains the text.
    #[arg(long, value_name = "PERMUTATION", num_args = 0..=1, default_missing_value = "")]
    code: Option<String>,
    /// Print the names of the permutations, and compile nothing.
    #[arg(long)]
    list: bool,
    /// Processes that compile [default: as many as there are processors].
    #[arg(long)]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run::run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}
