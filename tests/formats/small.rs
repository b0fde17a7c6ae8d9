//! Minifloats and fixed point: every code, every edge, and f64 arithmetic.

use super::{ROUNDINGS, pow2, round_f64, value};
use fewbit::format::fixed::{self, Fixed};
use fewbit::format::minifloat::{E2M1, E2M3, E3M2, E4M3, E5M2, Minifloat, e8m0_decode, e8m0_encode};
use fewbit::format::{FormatError, Rounding};
use proptest::prelude::*;

#[test]
fn minifloat_codes_round_trip_and_increase() {
    for format in Minifloat::ALL {
        let sign = 1 << (format.bits() - 1);
        let mut last = -1.0;
        for code in 0..=format.max_code() {
            let u = format.decode(code, 127);
            assert!(value(u) > last, "{} {code:02x}", format.name());
            last = value(u);
            assert_eq!(format.decode(code | sign, 127), u | 0x8000_0000);
            for rounding in ROUNDINGS {
                assert_eq!(format.encode(u, 127, rounding, 0xffff), code);
                assert_eq!(format.encode(u | 0x8000_0000, 127, rounding, 0xffff), code | sign);
            }
            if code < format.max_code() {
                // Half-way to the next: to the even code. Just below and above: to the nearer.
                let middle = ((value(u) + value(format.decode(code + 1, 127))) / 2.0) as f32;
                let to = |u: u32| format.encode(u, 127, Rounding::Nearest, 0);
                assert_eq!(to(middle.to_bits()), code + (code & 1));
                assert_eq!(
                    (to(middle.to_bits() - 1), to(middle.to_bits() + 1)),
                    (code, code + 1)
                );
                let toward_zero = format.encode(middle.to_bits() + 1, 127, Rounding::TowardZero, 0);
                assert_eq!(toward_zero, code);
            }
        }
    }
    let fours = |f: Minifloat| (0..8).map(|c| value(f.decode(c, 127))).collect::<Vec<_>>();
    assert_eq!(fours(E2M1), [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
    assert_eq!([E2M3, E3M2].map(|f| value(f.decode(1, 127))), [0.125, 0.0625]);
}

#[test]
fn minifloat_edges() {
    let nearest = |f: Minifloat, x: f32| f.encode(x.to_bits(), 127, Rounding::Nearest, 0);
    for (format, top, code, nan) in [
        (E5M2, 57344.0, 0x7b, 0x7e),
        (E4M3, 448.0, 0x7e, 0x7f),
        (E3M2, 28.0, 0x1f, 0x1f),
        (E2M3, 7.5, 0x1f, 0x1f),
        (E2M1, 6.0, 0x07, 0x07),
    ] {
        let sign = 1 << (format.bits() - 1);
        assert_eq!(value(format.decode(code, 127)), f64::from(top));
        for x in [top, top * 1.1, 1e30, f32::MAX, f32::INFINITY] {
            assert_eq!(
                (nearest(format, x), nearest(format, -x)),
                (code, code | sign),
                "{x}"
            );
            assert_eq!(
                format.encode(x.to_bits(), 127, Rounding::Stochastic, 0xffff),
                code
            );
            assert_eq!(format.encode(x.to_bits(), 127, Rounding::TowardZero, 0), code);
        }
        assert_eq!(format.encode(0x7f80_0001, 127, Rounding::Nearest, 0), nan);
        assert_eq!(
            format.encode(0xffc0_0000, 127, Rounding::Stochastic, 0xffff),
            nan | sign
        );
        assert_eq!(
            (
                nearest(format, 0.0),
                nearest(format, -0.0),
                nearest(format, -1e-40)
            ),
            (0, sign, sign)
        );
    }
    assert_eq!(
        [0x7c, 0xfc].map(|c| E5M2.decode(c, 127)),
        [0x7f80_0000, 0xff80_0000]
    );
    assert_eq!(
        [0x7d, 0x7f, 0xfe].map(|c| E5M2.decode(c, 127)),
        [0x7fc0_0000, 0x7fc0_0000, 0xffc0_0000]
    );
    assert_eq!(
        [0x7f, 0xff].map(|c| E4M3.decode(c, 127)),
        [0x7fc0_0000, 0xffc0_0000]
    );
    assert_eq!(
        [0, 1, 127, 254].map(|b| value(e8m0_decode(b))),
        [pow2(-127), pow2(-126), 1.0, pow2(127)]
    );
    assert_eq!(e8m0_decode(255), 0x7fc0_0000);
    assert_eq!(
        [0, 0x0040_0000, 0x3fff_ffff, 0x7f80_0000, 0xbf80_0000].map(e8m0_encode),
        [0, 0, 127, 255, 255]
    );
}

#[test]
fn fixed_point_rounds_saturates_and_errs() {
    let q = fixed::Q8_8;
    let nearest = |f: Fixed, x: f32| f.encode(x.to_bits(), 127, Rounding::Nearest, 0);
    assert_eq!(
        [1.5, -1.5, 0.001, -0.002, 2.5 / 256.0, 3.5 / 256.0].map(|x| nearest(q, x)),
        [384, -384, 0, -1, 2, 4]
    );
    assert_eq!(
        [127.999, 1e30, f32::INFINITY, -200.0].map(|x| nearest(q, x)),
        [32767, 32767, 32767, -32768]
    );
    assert_eq!((nearest(q, f32::NAN), nearest(q, -0.0)), (0, 0));
    assert_eq!(
        [-0.001_f32, -1.0, 0.999, -1e30].map(|x| q.encode_floor(x.to_bits())),
        [-1, -256, 255, -32768]
    );
    assert_eq!(q.encode((-0.001_f32).to_bits(), 127, Rounding::TowardZero, 0), 0);
    assert_eq!(
        (nearest(fixed::INT8, -3.0), fixed::INT8.decode(127)),
        (-127, 127.0 / 64.0)
    );
    let wide = Fixed::new(32, 0).unwrap();
    assert_eq!(
        [1610612736.0, -1610612736.0].map(|x| nearest(wide, x)),
        [1610612736, -1610612736]
    );
    assert_eq!(
        [2147483648.0, -2147483648.0, 16777217.0].map(|x| nearest(wide, x)),
        [i32::MAX, i32::MIN, 16777216]
    );
    assert_eq!(
        Fixed::new(0, 8),
        Err(FormatError::FixedPoint {
            integer: 0,
            fraction: 8
        })
    );
    assert!(Fixed::new(20, 13).is_err() && Fixed::new(u32::MAX, 2).is_err() && Fixed::new(1, 0).is_err());
}

proptest! {
    #[test]
    fn minifloats_agree_with_f64_arithmetic(u in any::<u32>(), near in 100_u32..145, r in 0_u32..0x1_0000) {
        for u in [u, (u & 0x807f_ffff) | near << 23] {
            if f32::from_bits(u).is_nan() { continue; }
            for format in Minifloat::ALL {
                let x = value(u).abs();
                let (bias, mb) = (format.bias() as i32, format.mantissa_bits() as i32);
                let e = (1 - bias..128).rev().find(|&e| pow2(e) <= x).unwrap_or(1 - bias);
                let step = pow2(e - mb);
                for rounding in ROUNDINGS {
                    // Past the largest: infinite where the format has it (but not toward zero), else the largest.
                    let largest = value(format.decode(format.max_code(), 127));
                    let rounded = round_f64(x / step, rounding, r) * step;
                    let infinite = format.overflows() && (x.is_infinite() || rounding != Rounding::TowardZero);
                    let expected = match rounded > largest {
                        true if infinite => f64::INFINITY,
                        true => largest,
                        false => rounded,
                    };
                    let got = value(format.decode(format.encode(u, 127, rounding, r), 127));
                    prop_assert_eq!(got.to_bits(), expected.copysign(value(u)).to_bits(), "{} {:e}", format.name(), x);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn fixed_agrees_with_f64_arithmetic(
        u in any::<u32>(), near in 100_u32..160, r in 0_u32..0x1_0000, m in 1_u32..=32, n in 0_u32..32
    ) {
        // Fewer fraction bits where both together are too many; one more where there are too few.
        let format = Fixed::new(m, n.clamp(2u32.saturating_sub(m), 32 - m)).unwrap();
        let n = format.fraction();
        for u in [u, (u & 0x807f_ffff) | near << 23] {
            if f32::from_bits(u).is_nan() { continue; }
            let x = value(u) * pow2(n as i32);
            let clamp = |q: f64| q.clamp(f64::from(format.min_code()), f64::from(format.max_code()));
            for rounding in ROUNDINGS {
                let q = if x.is_infinite() { x } else { round_f64(x.abs(), rounding, r).copysign(x) };
                prop_assert_eq!(f64::from(format.encode(u, 127, rounding, r)), clamp(q), "{} {}", x, rounding);
            }
            prop_assert_eq!(f64::from(format.encode_floor(u)), clamp(x.floor()), "{} floor", x);
        }
    }
}
