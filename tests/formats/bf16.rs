//! bf16 against `half`, carries, saturation, packing.

use super::ROUNDINGS;
use fewbit::format::{Rounding, bf16};

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn bf16_nearest_agrees_with_half() {
    let check = |u: u32| {
        let got = bf16::round_nearest(u);
        if f32::from_bits(u).is_nan() {
            assert_eq!(u32::from(got), ((u >> 16) & 0x8000) | 0x7fc0, "{u:08x}");
        } else {
            assert_eq!(got, half::bf16::from_f32(f32::from_bits(u)).to_bits(), "{u:08x}");
        }
        assert_eq!(bf16::encode(u, Rounding::Nearest, 0x1234), got);
    };
    for u in (0..=u32::MAX).step_by(251) {
        check(u);
    }
    for upper in 0..=0xffff_u32 {
        for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
            check(upper << 16 | low);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn bf16_stochastic_takes_one_of_two_neighbours_at_the_carry() {
    for upper in 0..=0xffff_u32 {
        for low in [0, 1, 2, 0x7fff, 0x8000, 0xabcd, 0xffff_u32] {
            let u = upper << 16 | low;
            for r in [0, 0xffff, 0xffff - low, (0x1_0000 - low) & 0xffff] {
                let expected = if f32::from_bits(u).is_nan() {
                    (upper & 0x8000) | 0x7fc0
                } else {
                    // The neighbour away from zero is the next bit pattern.
                    upper + u32::from(low + r >= 0x1_0000)
                };
                assert_eq!(
                    u32::from(bf16::round_stochastic(u, r)),
                    expected,
                    "{u:08x} {r:04x}"
                );
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn bf16_stochastic_probability_is_the_fraction() {
    for u in [
        0x3f80_0000_u32,
        0x3f80_0001,
        0x3f81_5555,
        0xbf8f_8000,
        0x007f_ffff,
        0x0000_0003,
        0x7f7f_c000,
    ] {
        let up = (0..=0xffff)
            .filter(|&r| u32::from(bf16::round_stochastic(u, r)) != u >> 16)
            .count();
        assert_eq!(up as u32, u & 0xffff, "{u:08x}");
    }
}

#[test]
fn bf16_saturation_and_truncation() {
    let saturated = |u, rounding, r| bf16::saturate(bf16::encode(u, rounding, r), u);
    for sign in [0, 0x8000_0000_u32] {
        let s = (sign >> 16) as u16;
        for u in [0x7f7f_8000, 0x7f7f_ffff] {
            assert_eq!(bf16::encode(sign | u, Rounding::Nearest, 0), s | 0x7f80);
            assert_eq!(saturated(sign | u, Rounding::Nearest, 0), s | 0x7f7f);
            assert_eq!(bf16::encode(sign | u, Rounding::Stochastic, 0x8000), s | 0x7f80);
            assert_eq!(saturated(sign | u, Rounding::Stochastic, 0x8000), s | 0x7f7f);
            assert_eq!(bf16::encode(sign | u, Rounding::TowardZero, 0), s | 0x7f7f);
        }
        for rounding in ROUNDINGS {
            for r in [0, 0xffff] {
                let infinity = saturated(sign | 0x7f80_0000, rounding, r);
                let nan = saturated(sign | 0x7f80_0001, rounding, r);
                let zero = saturated(sign, rounding, r);
                assert_eq!((infinity, nan, zero), (s | 0x7f80, s | 0x7fc0, s), "{rounding}");
            }
        }
        assert_eq!(
            bf16::encode(sign | 0x3f80_ffff, Rounding::TowardZero, 0xffff),
            s | 0x3f80
        );
    }
}

#[test]
fn bf16_packing_puts_the_low_half_first() {
    let words = [bf16::pack(0x3f80, 0xc000), 0xffff_0001];
    assert_eq!(words[0], 0xc000_3f80);
    assert_eq!((bf16::low(words[0]), bf16::high(words[0])), (1.0, -2.0));
    assert_eq!(
        (bf16::half(words[0], 0), bf16::half(words[0], 1)),
        (0x3f80, 0xc000)
    );
    assert_eq!(bf16::halves(&words), [0x3f80, 0xc000, 0x0001, 0xffff]);
    let mut out = [0; 2];
    bf16::halves_mut(&mut out).copy_from_slice(bf16::halves(&words));
    assert_eq!(out, words);
    for bits in 0..=0xffff {
        assert_eq!(bf16::widen(bits).to_bits(), u32::from(bits) << 16);
        if !bf16::widen(bits).is_nan() {
            assert_eq!(bf16::from_f32(bf16::widen(bits)), bits);
        }
    }
}
