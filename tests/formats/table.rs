//! The table of formats against the published constants.

use super::pow2;
use fewbit::format::table::formats;
use fewbit::format::{Format, FormatError, NAMED, ParseFormatError};

#[test]
fn table_holds_the_published_constants() {
    let rows = formats();
    let row = |name: &str| rows.iter().find(|r| r.name == name).unwrap();
    for (name, widths, largest, normal, subnormal) in [
        (
            "f64",
            (64, 11, 52),
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
        ),
        ("f32", (32, 8, 23), f64::from(f32::MAX), pow2(-126), pow2(-149)),
        ("f16", (16, 5, 10), 65504.0, pow2(-14), pow2(-24)),
        ("bf16", (16, 8, 7), 255.0 * pow2(120), pow2(-126), pow2(-133)),
        ("fp8-e5m2", (8, 5, 2), 57344.0, pow2(-14), pow2(-16)),
        ("fp8-e4m3", (8, 4, 3), 448.0, pow2(-6), pow2(-9)),
    ] {
        let r = row(name);
        assert_eq!(
            (r.bits, r.exponent_bits, r.mantissa_bits as i32),
            widths,
            "{name}"
        );
        assert_eq!(
            (r.largest, r.smallest_normal, r.smallest_subnormal),
            (largest, Some(normal), Some(subnormal))
        );
        assert_eq!(r.epsilon, pow2(-widths.2));
    }
    let e8m0 = row("e8m0");
    assert_eq!(
        (e8m0.bits, e8m0.largest, e8m0.smallest_normal),
        (8, pow2(127), Some(pow2(-127)))
    );
    assert_eq!(
        (row("mxint8").largest, row("mxint8").smallest_subnormal),
        (127.0 * pow2(121), Some(pow2(-133)))
    );
    assert_eq!((row("q8.8").largest, row("q8.8").bits), (32767.0 / 256.0, 16));
    assert_eq!(
        (row("bfp4-16").largest, row("bfp4-16").epsilon),
        (7.0 * pow2(125), 0.25)
    );
    for r in &rows {
        // What a format says it can hold, it holds; 1 + epsilon is the next value after 1.
        let extremes = [
            Some(r.largest),
            r.smallest_normal,
            r.smallest_subnormal,
            Some(1.0),
        ];
        for x in extremes.into_iter().flatten() {
            assert_eq!(r.encode(x).value, x, "{} {x:e}", r.name);
        }
        assert_eq!(r.encode(1.0 + r.epsilon).value, 1.0 + r.epsilon, "{}", r.name);
        assert!(
            [1.0, 1.0 + r.epsilon].contains(&r.encode(1.0 + r.epsilon * 0.6).value),
            "{}",
            r.name
        );
    }
    assert_eq!(row("bf16").encode(-2.5).bits, 0xc020);
    assert_eq!(row("bfp4-16").encode(-2.5).bits, 128 << 4 | 0xd);
    // One rounding, not two: just above the middle between two bf16, far below f32's precision.
    let above = 1.0 + pow2(-8) + pow2(-50);
    assert_eq!(row("bf16").encode(above).value, 1.0 + pow2(-7));
    assert_eq!(row("bf16").encode(1.0 + pow2(-8)).value, 1.0);
    assert_eq!(row("bf16").encode(1e300).value, f64::INFINITY);
    assert_eq!(row("fp8-e4m3").encode(1e300).value, 448.0);
    assert_eq!(row("fp8-e4m3").encode(-1e-300).bits, 0x80);
}

#[test]
#[cfg_attr(miri, ignore = "it reads a file")]
fn the_readme_has_the_table() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    for row in formats() {
        let sqnr = row.sqnr().map_or("-".to_string(), |sqnr| format!("{sqnr:.1}"));
        let line = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` | ", row.name)));
        let cells: Vec<_> = line
            .unwrap_or_else(|| panic!("no row {}", row.name))
            .split(" | ")
            .collect();
        assert_eq!(cells[1], row.bits_per_value.to_string(), "{}", row.name);
        assert_eq!(cells[4..], [sqnr, format!("{} |", row.what_for)], "{}", row.name);
    }
}

#[test]
fn names_and_formats_agree() {
    for named in NAMED {
        assert_eq!(named.name.parse::<Format>(), Ok(named.format));
        assert_eq!(named.format.to_string(), named.name);
    }
    for name in [
        "fp6-e2m3-16",
        "mxfp8-e4m3-up",
        "q4.4",
        "int8-8-up",
        "bfp6-tensor",
        "fp4-e2m1-tensor-floor",
        "bfp2-128",
    ] {
        let format: Format = name.parse().unwrap();
        assert_eq!(format.to_string().parse(), Ok(format), "{name}");
    }
    assert_eq!("MXFP4".parse::<Format>(), "fp4-e2m1-32".parse());
    for (name, near) in [("mxfp5", "mxfp4"), ("bpf5-16", "bfp5-16"), ("", "f16")] {
        let Err(ParseFormatError::Unknown { nearest, .. }) = name.parse::<Format>() else {
            panic!("{name}");
        };
        assert!(nearest.contains(near), "{name}: {nearest}");
    }
    for (name, error) in [
        ("bfp5-24", FormatError::BlockSize { got: 24 }),
        ("bfp5-0", FormatError::BlockSize { got: 0 }),
        ("bfp9-16", FormatError::CodeBits { got: 9 }),
        ("bfp1-16", FormatError::CodeBits { got: 1 }),
        ("f16-32", FormatError::Unscalable { bits: 16 }),
        ("q16.8", FormatError::CodeWidth { got: 24 }),
    ] {
        assert_eq!(name.parse::<Format>(), Err(ParseFormatError::Format(error)));
    }
}
