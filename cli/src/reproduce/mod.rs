//! `fewbit reproduce NAME`: claims of the literature, measured here. A claim is a file.

mod claims;
mod distillation;
mod fast;
mod fmac;
mod hinton;
mod lab;
mod least_squares;
mod range;
mod rates;
mod revisiting_bf16;
mod table1;
mod tune;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::lab::Lab;
use super::data::DataArgs;
use super::output::Output;
use super::{Common, Stop, device, seeds};

#[derive(Args, Debug)]
pub(crate) struct ReproduceArgs {
    /// What to measure.
    #[arg(value_enum, value_name = "NAME")]
    name: Name,
    #[command(flatten)]
    data: DataArgs,
    /// Move the last so many images to train on behind those to test on.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    holdout: usize,
    /// Seeds of the weights, the shuffles and the roundings; 1 by default, and 1,2,3 for hinton. The drawn digits are
    /// the same for all.
    #[arg(
        long,
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_name = "LIST"
    )]
    seeds: Vec<u64>,
    /// Write the charts there (SVG).
    #[arg(long, value_name = "DIR", conflicts_with = "tune")]
    out: Option<PathBuf>,
    /// A few images, one epoch and tiny networks: shows that it runs, and nothing else.
    #[arg(long)]
    quick: bool,
    /// Not the claim, but its networks in f32 at every learning rate of the grid, on 5,000 of the images to train on: which
    /// rate is best, and which is stored. Least squares has the paper's rate, and students of distillation choose theirs
    /// each time.
    #[arg(long)]
    tune: bool,
}

/// The claims by name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// Memory, time and accuracy of f64, f32 and bf16 (a perceptron of 9.7 M weights, 2 epochs)
    Table1,
    /// What exponents and mantissa bits are for: bf16 beside f16, and accuracy against bits
    Range,
    /// Zamirai et al.: updates of bf16 weights stall to nearest, stochastic and Kahan's do not
    RevisitingBf16,
    /// Accuracy and error against how often an accumulator is rounded to bf16
    Fmac,
    /// Zhang, McDanel and Kung: 2 mantissa bits of block floating point, 4, and as many as are needed
    Fast,
    /// A small student by labels alone, one teacher, three, and itself; with few labels and with all
    Distillation,
    /// Hinton, Vinyals and Dean: soft targets, and a digit that the student never sees
    Hinton,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Table1 => "table1",
            Self::Range => "range",
            Self::RevisitingBf16 => "revisiting-bf16",
            Self::Fmac => "fmac",
            Self::Fast => "fast",
            Self::Distillation => "distillation",
            Self::Hinton => "hinton",
        }
    }

    /// The charts that --out gets.
    fn charts(self) -> &'static [&'static str] {
        match self {
            Self::Table1 => &["table1.svg"],
            Self::Range => &["range.svg"],
            Self::RevisitingBf16 => &["revisiting-bf16-least-squares.svg", "revisiting-bf16-lenet-5.svg"],
            Self::Fmac => &["fmac-accuracy.svg", "fmac-error.svg"],
            Self::Fast => &["fast.svg"],
            Self::Distillation => &["distillation.svg"],
            Self::Hinton => &["hinton.svg"],
        }
    }

    /// What is trained at a stored rate.
    fn trainings(self, lab: &Lab<'_>) -> Result<Vec<tune::Training>, Stop> {
        let (what, options) = match self {
            Self::Table1 => ("the perceptron", table1::options(lab)?),
            Self::Range => ("mlp-small", range::options(lab)?),
            Self::RevisitingBf16 => ("lenet-5", revisiting_bf16::options(lab)?),
            Self::Fmac => ("mlp-small", fmac::options(lab)?),
            Self::Fast => ("mlp-small", fast::options(lab)?),
            Self::Distillation => ("teacher", distillation::options(lab)?),
            Self::Hinton => {
                let [teacher, student] = hinton::options(lab);
                return Ok(vec![("teacher", teacher), ("student", student)]);
            }
        };
        Ok(vec![(what, options)])
    }

    /// The seeds where none are asked for.
    fn seeds(self) -> &'static [u64] {
        match self {
            // Its figures are sums over three.
            Self::Hinton => &[1, 2, 3],
            _ => &[1],
        }
    }
}

pub(crate) fn run(common: &Common, args: &ReproduceArgs, output: &mut Output) -> Result<(), Stop> {
    let given = match args.seeds.is_empty() {
        true => args.name.seeds(),
        false => &args.seeds,
    };
    let seeds = seeds::of(given, 1)?;
    let charts = lab::Charts::new(args.out.as_deref(), args.name.charts())?;
    let device = device::open(common, output)?;
    let data = lab::data(&args.data, args.holdout, args.quick)?;
    output.line(&format!("Data: {}", data.line("test")));
    let mut lab = Lab {
        name: args.name.text(),
        device: &device,
        data,
        seeds,
        quick: args.quick,
        charts,
        output,
    };
    if args.tune {
        let trainings = args.name.trainings(&lab)?;
        return tune::run(&mut lab, trainings);
    }
    match args.name {
        Name::Table1 => table1::run(&mut lab),
        Name::Range => range::run(&mut lab),
        Name::RevisitingBf16 => revisiting_bf16::run(&mut lab),
        Name::Fmac => fmac::run(&mut lab),
        Name::Fast => fast::run(&mut lab),
        Name::Distillation => distillation::run(&mut lab),
        Name::Hinton => hinton::run(&mut lab),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_command_line_says() {
        for name in Name::value_variants() {
            let value = name.to_possible_value().map(|value| value.get_name().to_string());
            assert_eq!(value.as_deref(), Some(name.text()));
            assert!(name.charts().iter().all(|chart| chart.starts_with(name.text())));
        }
    }
}
