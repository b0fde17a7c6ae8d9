//! `fewbit formats [NAME] [VALUE]`: the table of formats, or one of them in full.

use clap::Args;

use fewbit::format::table::{Encoded, FormatInfo, Kind, formats, info};
use fewbit::format::{Element, Format, Scale, ScaleRule, TensorScale};

use super::Stop;
use super::output::{Output, Row};

#[derive(Args, Debug)]
pub(crate) struct FormatsArgs {
    /// A format's name, to see it in full, or a number, to see it in every format.
    #[arg(allow_hyphen_values = true)]
    name: Option<String>,
    /// A number to encode and decode.
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

fn decibels(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.1}"))
}

pub(crate) fn run(args: &FormatsArgs, output: &mut Output) -> Result<(), Stop> {
    match (&args.name, args.value) {
        (None, value) => table(value, output),
        // A single argument that is a number is a value.
        (Some(name), None) => match super::options::number(name) {
            Ok(value) => table(Some(value), output),
            Err(_) => one(name, None, output)?,
        },
        (Some(name), value) => one(name, value, output)?,
    }
    Ok(())
}

fn row(format: &FormatInfo, sqnr: Option<f64>) -> Row {
    Row::new("formats", "", &format.name, true)
        .with("total_bits", format.bits)
        .with("bits_per_value", format.bits_per_value)
        .with("shared_bits", format.shared_bits)
        .with("exponent_bits", format.exponent_bits)
        .with("mantissa_bits", format.mantissa_bits)
        .with("epsilon", format.epsilon)
        .with("largest", format.largest)
        .with("smallest_normal", format.smallest_normal)
        .with("smallest_subnormal", format.smallest_subnormal)
        .with("sqnr_db", sqnr)
        .with("layout", format.layout())
        .with("what_for", format.what_for)
}

/// A value's code, and what it decodes to.
fn encoded(format: &FormatInfo, value: f64, row: Row) -> (Row, [String; 3]) {
    let Encoded { bits, value: decoded } = format.encode(value);
    let shared = if format.has_scale() { 8 } else { 0 };
    let width = ((format.bits + shared) as usize).div_ceil(4) + 2;
    let code = format!("{bits:#0width$x}");
    let error = decoded - value;
    let row = row
        .with("bits", code.clone())
        .with("decoded", decoded)
        .with("rounding_error", error);
    (row, [code, format!("{decoded}"), format!("{error:.3e}")])
}

fn table(value: Option<f64>, output: &mut Output) {
    let mut lines = Vec::new();
    for format in formats() {
        let sqnr = format.sqnr();
        let mut row = row(&format, sqnr);
        let mut line = vec![
            format.name.clone(),
            format.bits.to_string(),
            number(Some(format.bits_per_value)),
            format.exponent_bits.to_string(),
            format.mantissa_bits.to_string(),
            number(Some(format.epsilon)),
            number(Some(format.largest)),
            number(format.smallest_normal),
            number(format.smallest_subnormal),
            decibels(sqnr),
            format.what_for.to_string(),
        ];
        if let Some(value) = value {
            let shown;
            (row, shown) = encoded(&format, value, row);
            // What is for whom gives way to the value.
            line.pop();
            line.extend(shown);
        }
        output.row(row);
        lines.push(line);
    }
    let mut header = vec![
        "format",
        "bits",
        "per value",
        "exp",
        "man",
        "epsilon",
        "largest",
        "smallest normal",
        "smallest subnormal",
        "SQNR dB",
    ];
    match value {
        Some(_) => header.extend(["code", "decoded", "error"]),
        None => header.push("what for"),
    }
    let numbers = match value {
        Some(_) => &header[1..],
        None => &header[1..header.len() - 1],
    };
    output.table(&header, numbers, &lines);
}

fn one(name: &str, value: Option<f64>, output: &mut Output) -> Result<(), Stop> {
    let plain = formats()
        .into_iter()
        .find(|format| format.name == name.to_lowercase());
    let format = match plain {
        Some(format) => format,
        None => info(name, name.parse().map_err(fewbit::Error::from)?),
    };
    let sqnr = format.sqnr();
    let mut row = row(&format, sqnr)
        .with("element", element(&format))
        .with("scale", scale(&format))
        .with("specials", specials(&format));
    let mut lines = vec![
        ["format".to_string(), name.to_lowercase()],
        ["element".to_string(), element(&format)],
        ["scale".to_string(), scale(&format)],
        ["specials".to_string(), specials(&format)],
        ["layout".to_string(), format.layout()],
        ["bits of a code".to_string(), format.bits.to_string()],
        ["bits per value".to_string(), number(Some(format.bits_per_value))],
        ["largest".to_string(), number(Some(format.largest))],
        ["smallest normal".to_string(), number(format.smallest_normal)],
        [
            "smallest subnormal".to_string(),
            number(format.smallest_subnormal),
        ],
        ["epsilon".to_string(), number(Some(format.epsilon))],
        ["SQNR on normals, dB".to_string(), decibels(sqnr)],
        ["what for".to_string(), format.what_for.to_string()],
    ];
    if let Kind::Coded(coded) = format.kind
        && coded.bits() <= 6
    {
        lines.push(["values".to_string(), values(coded)]);
    }
    if let Some(value) = value {
        let [code, decoded, error];
        (row, [code, decoded, error]) = encoded(&format, value, row);
        let what = if format.has_scale() {
            "code, its scale above it"
        } else {
            "code"
        };
        lines.push([format!("{what}, of {value}"), code]);
        lines.push(["decoded".to_string(), decoded]);
        lines.push(["error".to_string(), error]);
    }
    output.row(row);
    let lines: Vec<_> = lines.into_iter().map(Vec::from).collect();
    output.table(&["what", "is"], &[], &lines);
    Ok(())
}

/// The values of all codes without a sign, at scale 1.
fn values(format: Format) -> String {
    let element = format.element();
    let codes = 0..=element.max_code();
    let value = |code| f32::from_bits(element.decode(code, 127)).to_string();
    let values: Vec<_> = codes.map(value).collect();
    format!("{}, and their negatives", values.join(" "))
}

fn element(format: &FormatInfo) -> String {
    let (e, m) = (format.exponent_bits, format.mantissa_bits);
    match format.kind {
        Kind::Coded(coded) => match coded.element() {
            Element::Minifloat(float) => {
                format!(
                    "sign, {e} exponent bits (bias {}), {m} mantissa bits",
                    float.bias()
                )
            }
            Element::SignMagnitude(_) => format!("sign and {m} magnitude bits, in units of 2^-{}", m - 1),
            Element::Fixed(fixed) => format!(
                "two's complement of {} bits, {} of them fraction{}",
                fixed.bits(),
                fixed.fraction(),
                if fixed.symmetric() {
                    "; the smallest code is never made"
                } else {
                    ""
                }
            ),
            other => format!("{other:?}"),
        },
        Kind::E8m0 => "8 exponent bits (bias 127), no sign, no mantissa".to_string(),
        Kind::F64 | Kind::F32 | Kind::Bf16 => {
            format!(
                "sign, {e} exponent bits (bias {}), {m} mantissa bits",
                (1 << (e - 1)) - 1
            )
        }
    }
}

fn scale(format: &FormatInfo) -> String {
    let Kind::Coded(coded) = format.kind else {
        return "none".to_string();
    };
    let rule = |rule| match rule {
        ScaleRule::Floor => "by the largest magnitude's exponent (what is above saturates)".to_string(),
        ScaleRule::Up => "the least under which nothing saturates".to_string(),
        other => format!("{other:?}"),
    };
    match (coded.scale(), coded.tensor_scale()) {
        (Scale::Block { size, rule: r }, _) => {
            format!(
                "E8M0, a power of two for every {size} values along a row, {}",
                rule(r)
            )
        }
        (_, TensorScale::PowerOfTwo(r)) => format!("a power of two for the whole tensor, {}", rule(r)),
        _ => "none".to_string(),
    }
}

fn specials(format: &FormatInfo) -> String {
    let Kind::Coded(coded) = format.kind else {
        return match format.kind {
            Kind::E8m0 => "NaN 0xff; no zero".to_string(),
            _ => "Inf, NaN, subnormals, -0".to_string(),
        };
    };
    if format.has_scale() {
        return "a NaN or Inf makes all that shares its scale NaN (scale byte 0xff); finite values saturate"
            .to_string();
    }
    match coded.element() {
        Element::Minifloat(float) => {
            let named = |what: &str, code: Option<u16>| code.map(|code| format!("{what} {code:#x}"));
            let parts = [named("Inf", float.infinity()), named("NaN", float.nan())];
            let parts: Vec<_> = parts.into_iter().flatten().collect();
            let past = if float.overflows() {
                "overflow to Inf"
            } else {
                "saturating"
            };
            match parts.is_empty() {
                true => format!("none: NaN becomes the largest value; {past}"),
                false => format!("{}; {past}", parts.join(", ")),
            }
        }
        _ => "none: NaN becomes 0; saturating".to_string(),
    }
}
