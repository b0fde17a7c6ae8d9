//! BFP against its worked example and f64 arithmetic, in every width and block size.

use super::{ROUNDINGS, pow2, round_f64, value, words};
use fewbit::format::random::Draw;
use fewbit::format::signed::{sign_magnitude_decode, sign_magnitude_encode, sign_magnitude_integer};
use fewbit::format::{Format, FormatError, Rounding, UNIT_SCALE};
use proptest::prelude::*;

/// The scale's byte and the codes of one block.
fn encode_block(
    format: Format,
    values: &[u32],
    rounding: Rounding,
    draw: impl Fn(usize) -> u32,
) -> (u8, Vec<u16>) {
    let mut words = vec![0; format.codes_words_per_row(values.len())];
    let mut scales = [0];
    format.encode_row(values, UNIT_SCALE, rounding, draw, &mut words, &mut scales);
    let codes = (0..values.len()).map(|i| format.get(&words, i)).collect();
    (scales[0] as u8, codes)
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// numerics.md g: 1 -2.5 .3 5.75 -.07 0 3.5 -6.9, then zeros.
fn example() -> Vec<u32> {
    let mut row = bits_of(&[1.0, -2.5, 0.3, 5.75, -0.07, 0.0, 3.5, -6.9]);
    row.resize(32, 0);
    row
}

#[test]
fn bfp_worked_example() {
    let encode = |m: u32| {
        let format = Format::bfp(32, m).unwrap();
        let (mut codes, mut exponents) = (vec![9; m as usize], [9]);
        format.encode_row(
            &example(),
            UNIT_SCALE,
            Rounding::Nearest,
            |_| 0,
            &mut codes,
            &mut exponents,
        );
        assert_eq!(exponents, [129]);
        let mut values = vec![1; 32];
        format.decode_row(&codes, &exponents, UNIT_SCALE, &mut values);
        (codes, values)
    };
    let (codes, values) = encode(4);
    assert_eq!(codes, [0xf408_60a1, 0, 0, 0]);
    assert_eq!(
        values[..9],
        bits_of(&[1.0, -2.0, 0.0, 6.0, -0.0, 0.0, 4.0, -7.0, 0.0])[..]
    );
    let (codes, values) = encode(8);
    assert_eq!(
        bytemuck::cast_slice::<u32, u8>(&codes)[..8],
        [0x10, 0xa8, 0x05, 0x5c, 0x81, 0, 0x38, 0xee]
    );
    assert_eq!(
        values[..8],
        bits_of(&[1.0, -2.5, 0.3125, 5.75, -0.0625, 0.0, 3.5, -6.875])[..]
    );
    let signed: Vec<i32> = [1, 0xa, 0, 6, 8, 0, 4, 0xf]
        .iter()
        .map(|&c| sign_magnitude_integer(c, 4))
        .collect();
    assert_eq!(signed, [1, -2, 0, 6, 0, 0, 4, -7]);
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn bfp_agrees_with_f64_arithmetic() {
    let mut next = words(3);
    for size in [8, 16, 32, 64, 128] {
        for m in 2..=8 {
            let format = Format::bfp(size, m).unwrap();
            for round in 0..60 {
                // The block's top binade: subnormal, around the border, ordinary, or the last; then a spread.
                let top = [0, 1, 3, 24, 127, 254][round % 6];
                let spread = [1, 3, 30][round % 3];
                let len = if round % 5 == 0 { size - 3 } else { size } as usize;
                let values: Vec<u32> = (0..len)
                    .map(|_| {
                        let field = 254.min(top - (next() % spread) as i32).max(0) as u32;
                        let mantissa = next() & [0x7f_ffff, 0x7f_0000, 0x60_0000][next() as usize % 3];
                        (next() & 0x8000_0000) | field << 23 | mantissa
                    })
                    .collect();
                let r: Vec<u32> = (0..len).map(|_| next() & 0xffff).collect();
                let amax = values.iter().map(|&u| value(u).abs()).fold(0.0, f64::max);
                // floor(log2 amax) by comparison, clamped at -127.
                let e = (-127..128).rev().find(|&e| pow2(e) <= amax).unwrap_or(-127);
                let step = pow2(e - (m as i32 - 2));
                for rounding in ROUNDINGS {
                    let (byte, codes) = encode_block(format, &values, rounding, |i| r[i]);
                    assert_eq!(i32::from(byte), e + 127);
                    for i in 0..len {
                        let x = value(values[i]);
                        let top_code = f64::from((1 << (m - 1)) - 1);
                        let q = round_f64(x.abs() / step, rounding, r[i]).min(top_code);
                        let expected = (values[i] >> 31) << (m - 1) | q as u32;
                        let code = u32::from(codes[i]);
                        assert_eq!(code, expected, "{x:e} e {e} m {m} {rounding} r {}", r[i]);
                        assert_eq!(f64::from(sign_magnitude_integer(code, m)), q * x.signum());
                        let decoded = value(format.decode_one(code as u16, byte));
                        assert_eq!(decoded.to_bits(), (q * step).copysign(x).to_bits());
                    }
                }
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn bfp_every_code_decodes_exactly_and_encodes_back() {
    for m in 2..=8 {
        for byte in 0..=255_u8 {
            for code in 0..1 << m {
                let format = Format::bfp(16, m).unwrap();
                let u = format.decode_one(code as u16, byte);
                if byte == 255 {
                    assert_eq!(u, 0x7fc0_0000);
                    continue;
                }
                assert_eq!(u, sign_magnitude_decode(code, byte, m));
                let magnitude = f64::from(code & ((1 << (m - 1)) - 1));
                let exact = magnitude * pow2(i32::from(byte) - 127 - (m as i32 - 2));
                assert_eq!(value(u).abs(), exact);
                assert_eq!(u >> 31, code >> (m - 1));
                for rounding in ROUNDINGS {
                    assert_eq!(
                        u32::from(sign_magnitude_encode(u, byte, m, rounding, 0xffff)),
                        code
                    );
                }
            }
        }
    }
}

#[test]
fn bfp_nan_and_inf_spoil_their_block_only() {
    let format = Format::bfp(8, 3).unwrap();
    for bad in [0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0xffff_ffff] {
        let mut row = vec![1.0_f32.to_bits(); 21];
        row[9] = bad;
        let mut codes = vec![0; format.codes_words_per_row(21)];
        let mut exponents = vec![0; format.scale_words_per_row(21)];
        for rounding in ROUNDINGS {
            format.encode_row(&row, UNIT_SCALE, rounding, |_| 0xffff, &mut codes, &mut exponents);
            assert_eq!((codes.len(), &exponents[..]), (2, &[0x007f_ff7f][..]));
            let mut decoded = vec![0; 21];
            format.decode_row(&codes, &exponents, UNIT_SCALE, &mut decoded);
            for (i, &u) in decoded.iter().enumerate() {
                assert_eq!(
                    u,
                    if (8..16).contains(&i) {
                        0x7fc0_0000
                    } else {
                        0x3f80_0000
                    }
                );
                assert!(!(8..16).contains(&i) || format.get(&codes, i) == 0);
            }
        }
    }
}

#[test]
fn bfp_sizes_and_errors() {
    let bad_block = Format::bfp(24, 4).unwrap_err();
    assert_eq!(bad_block, FormatError::BlockSize { got: 24 });
    assert_eq!(
        bad_block.to_string(),
        "block size 24 is not one of 8, 16, 32, 64, 128"
    );
    assert_eq!(Format::bfp(16, 9), Err(FormatError::CodeBits { got: 9 }));
    assert_eq!(Format::bfp(16, 1), Err(FormatError::CodeBits { got: 1 }));
    let format = Format::bfp(16, 5).unwrap();
    let sizes = |cols| {
        (
            format.codes_words_per_row(cols),
            format.blocks_per_row(cols),
            format.scale_words_per_row(cols),
        )
    };
    assert_eq!(sizes(0), (0, 0, 0));
    assert_eq!(sizes(1), (1, 1, 1));
    assert_eq!(sizes(33), (6, 3, 1));
    assert_eq!(sizes(65), (11, 5, 2));
    assert_eq!(
        [Rounding::Nearest, Rounding::Stochastic].map(Rounding::code),
        [0, 1]
    );
    assert_eq!(
        ROUNDINGS.map(|r| r.to_string()),
        ["nearest", "stochastic", "toward-zero"]
    );
}

proptest! {
    #[test]
    fn bfp_rows_pack_and_unpack(
        values in prop::collection::vec(any::<u32>(), 0..300), m in 2_u32..=8, size in 0_usize..5
    ) {
        let format = Format::bfp([8, 16, 32, 64, 128][size], m).unwrap();
        let cols = values.len();
        let draw = Draw { seed: 5, ..Draw::default() };
        let mut codes = vec![u32::MAX; format.codes_words_per_row(cols)];
        let mut exponents = vec![u32::MAX; format.scale_words_per_row(cols)];
        format.encode_row(&values, UNIT_SCALE, Rounding::Stochastic, |c| draw.bits(c as u64), &mut codes, &mut exponents);
        // Bit by bit, block by block.
        let bytes: &[u8] = bytemuck::cast_slice(&exponents);
        for (b, chunk) in values.chunks(format.block_size().unwrap() as usize).enumerate() {
            let start = b * format.block_size().unwrap() as usize;
            let (byte, alone) = encode_block(format, chunk, Rounding::Stochastic, |i| draw.bits((start + i) as u64));
            prop_assert_eq!(byte, bytes[b]);
            for (i, &code) in alone.iter().enumerate() {
                for bit in 0..m as usize {
                    let at = (start + i) * m as usize + bit;
                    prop_assert_eq!((codes[at / 32] >> (at % 32)) & 1, u32::from(code >> bit) & 1);
                }
                prop_assert_eq!(format.get(&codes, start + i), code);
            }
        }
        for at in cols * m as usize..codes.len() * 32 {
            prop_assert_eq!((codes[at / 32] >> (at % 32)) & 1, 0);
        }
        prop_assert!(bytes[format.blocks_per_row(cols)..].iter().all(|&b| b == 0));
    }
}
