//! The table of formats against the published constants.

use super::pow2;
use fewbit::format::table::formats;

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
