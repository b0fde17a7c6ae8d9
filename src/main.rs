//! The `fewbit` program: cross-check every kernel, measure it, and try the formats on real training.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
