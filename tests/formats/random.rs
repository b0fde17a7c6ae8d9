//! Random bits: known answers, a second Philox, the counter layout.

use super::words;
use fewbit::format::random::{self, Draw, Generator, half_word, half_words, philox4x32_10, threefry4x32_20};

#[test]
fn known_answers_of_random123() {
    let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
    let key = [0xa409_3822, 0x299f_31d0, 0x082e_fa98, 0xec4e_6c89];
    let ff = u32::MAX;
    assert_eq!(
        philox4x32_10([0; 4], [0; 2]),
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
    );
    assert_eq!(
        philox4x32_10([ff; 4], [ff; 2]),
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
    );
    assert_eq!(
        philox4x32_10(pi, [key[0], key[1]]),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
    assert_eq!(
        threefry4x32_20([0; 4], [0; 4]),
        [0x9c6c_a96a, 0xe17e_ae66, 0xfc10_ecd4, 0x5256_a7d8]
    );
    assert_eq!(
        threefry4x32_20([ff; 4], [ff; 4]),
        [0x2a88_1696, 0x5701_2287, 0xf6c7_446e, 0xa16a_6732]
    );
    assert_eq!(
        threefry4x32_20(pi, key),
        [0x59cd_1dbb, 0xb887_9579, 0x86b5_d00c, 0xac8b_6d84]
    );
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn philox_agrees_with_rand_philox() {
    let mut next = words(1);
    for _ in 0..10_000 {
        let (ctr, key) = ([next(), next(), next(), next()], [next(), next()]);
        assert_eq!(philox4x32_10(ctr, key), rand_philox::philox4x32_10(ctr, key));
    }
}

#[test]
fn draws_follow_the_layout() {
    let check = |draw: Draw, expected: [u32; 16]| {
        let mut cached = draw.cached();
        for (i, e) in (0..).zip(expected) {
            assert_eq!((draw.bits(i), cached.bits(i)), (e, e), "{draw:?} index {i}");
        }
        assert_eq!(half_words(draw.block(1))[..], expected[8..]);
    };
    let generator = Generator::Philox;
    check(
        Draw {
            generator,
            seed: 42,
            stream: 0,
            step: 0,
            first_block: 0,
        },
        [
            0xf053, 0x9cea, 0x493b, 0x77f5, 0x50ad, 0x12bf, 0xb3d7, 0x5742, 0x2127, 0xfcdb, 0x6cfd, 0x53ba,
            0x5a6e, 0x838f, 0x06fb, 0x744e,
        ],
    );
    check(
        Draw {
            generator,
            seed: 42,
            stream: 7,
            step: 3,
            first_block: 0,
        },
        [
            0x76c7, 0x083a, 0x842c, 0xd43b, 0x0ace, 0x9fa0, 0x517a, 0xc239, 0xfea9, 0x15ec, 0x9019, 0xdfb2,
            0x2072, 0xcc70, 0x1e9b, 0xb19d,
        ],
    );
    check(
        Draw {
            seed: 42,
            ..Draw::default()
        },
        [
            0x0d06, 0xb072, 0x7f0d, 0xaa89, 0x5d66, 0xb4ca, 0x2fd2, 0x1f19, 0x64d4, 0xf536, 0x1f64, 0x391b,
            0x778c, 0xfedd, 0xc6da, 0x1ed8,
        ],
    );
    let far = Draw {
        generator,
        seed: 0x0123_4567_89ab_cdef,
        stream: 7,
        step: 3,
        first_block: 0,
    };
    assert_eq!(far.bits(12_345_678_901), 0x270d);
    // Beyond 2^35 the block number has a high word.
    let index = (5 << 35) | 11;
    let counter = [1, 5, 7, 3];
    assert_eq!(
        far.bits(index),
        half_word(philox4x32_10(counter, [0x89ab_cdef, 0x0123_4567]), 3)
    );
}

#[test]
fn pieces_draw_as_within_the_whole() {
    for generator in [Generator::Threefry, Generator::Philox] {
        let whole = Draw {
            generator,
            seed: 5,
            ..Draw::default()
        };
        for first_block in [1, (1 << 29) - 1, (1 << 32) - 1, (1 << 35) - 1] {
            let piece = Draw { first_block, ..whole };
            for index in [0, 7, 8, 19] {
                assert_eq!(piece.index(index), 8 * first_block + index);
                assert_eq!(piece.bits(index), whole.bits(8 * first_block + index));
                assert_eq!(
                    piece.fmac_block(index, 3),
                    whole.fmac_block(8 * first_block + index, 3)
                );
            }
            assert_eq!(piece.cached().bits(9), piece.bits(9));
        }
        // Block numbers have 61 bits.
        let last = Draw {
            first_block: u64::MAX,
            ..whole
        };
        assert_eq!(last.bits(8 + 3), whole.bits(3));
        assert_eq!(last.index(8 + 3), 3);
    }
}

#[test]
fn fmac_draws_and_streams() {
    let draw = Draw {
        seed: 9 << 32 | 4,
        stream: random::stream(2, 5),
        step: 0xab_cdef,
        ..Draw::default()
    };
    assert_eq!(draw.stream, 0x0200_0005);
    assert_eq!(random::stream(0xff, u32::MAX), u32::MAX);
    let counter = [0x89ab_cdef, 0xabcd_ef67, 0x0200_0005, 21];
    assert_eq!(
        draw.fmac_block(0x67_89ab_cdef, 21),
        threefry4x32_20(counter, [4, 9, 0, 0])
    );
}
