//! `fewbit formats [VALUE]`.

use clap::Args;

use fewbit::format::table::formats;

use super::Stop;
use super::output::{Output, Row};

#[derive(Args, Debug)]
pub(crate) struct FormatsArgs {
    /// A number to show in every format: its bits, what they decode to, and the rounding error.
    #[arg(allow_hyphen_values = true, value_parser = super::options::number)]
    value: Option<f64>,
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| {
        if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
            format!("{value:.4e}")
        } else {
            format!("{value}")
        }
    })
}

pub(crate) fn run(args: &FormatsArgs, output: &mut Output) -> Result<(), Stop> {
    let mut lines = Vec::new();
    for format in formats() {
        let mut row = Row::new("formats", "", format.name, true)
            .with("total_bits", format.bits)
            .with("shared_bits", format.shared_bits)
            .with("exponent_bits", format.exponent_bits)
            .with("mantissa_bits", format.mantissa_bits)
            .with("epsilon", format.epsilon)
            .with("largest", format.largest)
            .with("smallest_normal", format.smallest_normal)
            .with("smallest_subnormal", format.smallest_subnormal);
        let mut line = vec![
            format.name.to_string(),
            format.bits.to_string(),
            format.exponent_bits.to_string(),
            format.mantissa_bits.to_string(),
            number(Some(format.epsilon)),
            number(Some(format.largest)),
            number(format.smallest_normal),
            number(format.smallest_subnormal),
        ];
        if let Some(value) = args.value {
            let fewbit::format::table::Encoded { bits, value: decoded } = (format.encode)(value);
            let digits = ((format.bits + format.shared_bits) as usize).div_ceil(4);
            let error = decoded - value;
            line.extend([
                format!("{bits:#0width$x}", width = digits + 2),
                format!("{decoded}"),
                format!("{error:.3e}"),
            ]);
            row = row
                .with("bits", format!("{bits:#0width$x}", width = digits + 2))
                .with("decoded", decoded)
                .with("rounding_error", error);
        }
        output.row(row);
        lines.push(line);
    }
    let mut header = vec![
        "format",
        "bits",
        "exp",
        "man",
        "epsilon",
        "largest",
        "smallest normal",
        "smallest subnormal",
    ];
    if args.value.is_some() {
        header.extend(["code", "decoded", "error"]);
    }
    output.table(&header, &header[1..], &lines);
    Ok(())
}
