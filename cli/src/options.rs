//! What can be asked of the program, and readers of values that say what is wrong with one.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{bench, check, distill, eval, formats, reproduce, train, tune};

const EXIT_CODES: &str = "Exit codes: 0 everything passed; 1 a check failed; 2 usage, input or output error; \
130 interrupted (Ctrl-C, SIGTERM).\nWithout a command: cross-check every kernel against its reference, measure it, \
and print one table.";

/// Low-precision and sparse kernels on any GPU, each checked against its CPU specification.
#[derive(Parser, Debug)]
#[command(name = "fewbit", version, about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Args, Debug, Clone)]
pub(crate) struct Common {
    /// Where to run. `auto` takes a real GPU if there is one, else the native CPU device.
    #[arg(long, value_enum, default_value_t = Choice::Auto, global = true)]
    pub(crate) device: Choice,
    /// Open the GPU adapter of this number in `fewbit info`; or whose name, with its back end's before it ("gl
    /// llvmpipe"), contains this text, in any case. Software adapters too.
    #[arg(long, value_name = "NUMBER|NAME", global = true, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) adapter: Option<String>,
    /// Open GPUs with wgpu's experimental features, which may be unsound: bf16 products run on matrix units where
    /// the driver has them.
    #[arg(long, global = true)]
    pub(crate) experimental: bool,
    /// With --experimental: use native bf16 matrix units where a Vulkan driver reports them
    /// (VK_KHR_shader_bfloat16), through SPIR-V that wgpu does not check.
    #[arg(long, global = true)]
    pub(crate) native_bf16: bool,
    /// Print one JSON object {"device", "results", "passed"} instead of tables; after an error, with its text as
    /// "error".
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Options of `check` alone.
    #[arg(skip)]
    pub(crate) weak: Weak,
}

/// How to make a GPU weaker than it is, as tests do: kernels take other ways there, or are checked.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Weak {
    /// Open the GPU with WebGPU's default limits and no feature.
    #[arg(long)]
    pub(crate) core: bool,
    /// Let no binding of the GPU span more bytes.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(16..))]
    pub(crate) max_binding: Option<u64>,
    /// Let no submit of the GPU do more work than this.
    #[arg(long, value_name = "WORK", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) work_cap: Option<u64>,
    /// Let no invocation's loops make more turns in one dispatch.
    #[arg(long, value_name = "TURNS", value_parser = clap::value_parser!(u64).range(64..))]
    pub(crate) turn_cap: Option<u64>,
    /// Let no more workgroups stand in a row: more of them make several rows.
    #[arg(long, value_name = "GROUPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) group_cap: Option<u64>,
    /// Make the GPU's pipelines with all of wgpu's runtime checks, which trusted shaders go without: what fails without
    /// the option and passes with it is a fault in a shader.
    #[arg(long)]
    pub(crate) checked_shaders: bool,
}

impl Weak {
    /// Whether it asks for anything that a GPU alone can do.
    pub(crate) fn any(&self) -> bool {
        self.weaker() || self.checked_shaders
    }

    /// Whether it makes a GPU weaker.
    pub(crate) fn weaker(&self) -> bool {
        let caps = [self.max_binding, self.work_cap, self.turn_cap, self.group_cap];
        self.core || caps.iter().any(Option::is_some)
    }
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
pub(crate) enum Command {
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
    /// Train a network in several number formats.
    Train(Box<train::TrainArgs>),
    /// Train a network on what others say of the images (--student is --model).
    Distill(Box<distill::DistillArgs>),
    /// Test a network that train --out left: accuracy, bytes, latency and throughput.
    Eval(eval::EvalArgs),
    /// Measure a claim of the literature: a table, charts, and what of it reproduces.
    Reproduce(reproduce::ReproduceArgs),
}

/// A rate: what training multiplies by.
pub(crate) fn rate(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("a rate is a finite number, 0 or more".into()),
    }
}

/// A norm above 0.
pub(crate) fn norm(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(norm) if norm.is_finite() && norm > 0.0 => Ok(norm),
        _ => Err("a norm is a finite number above 0".into()),
    }
}

/// Any number that an f64 can be, infinities and NaN among them.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| "this is no number (try 0.1, -1e-3, inf, -inf or nan)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_recipe_and_model() {
        use clap::CommandFactory as _;
        let mut cli = Cli::command();
        for name in ["train", "distill"] {
            let command = cli.find_subcommand_mut(name).map(clap::Command::render_help);
            let help = command.map(|help| help.to_string()).unwrap_or_default();
            let words: Vec<_> = help
                .split(|c: char| c.is_whitespace() || ",;:".contains(c))
                .collect();
            let recipes = fewbit::nn::Recipe::known().map(|recipe| recipe.name);
            let models = fewbit::nn::Model::known().map(|model| model.name);
            for known in recipes.chain(models) {
                assert!(words.contains(&known.as_str()), "{name} --help lacks {known}");
            }
        }
    }

    #[test]
    fn values_are_read_or_named() {
        assert_eq!(rate("0"), Ok(0.0));
        for bad in ["-0.1", "nan", "inf", "1e99", "x", ""] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!(number("-inf"), Ok(f64::NEG_INFINITY));
        assert!(number("nan").is_ok_and(f64::is_nan));
        assert!(number("--nosuch").is_err());
    }
}
