//! Exact codes up and down.

use fewbit::format::{Format, NAMED};
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error};

/// Scattered bits; the last ones of every width are all ones.
fn scattered(len: usize, bits: u32) -> Vec<u64> {
    let mask = u64::MAX >> (64 - bits);
    let code = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7 & mask;
    (0..len)
        .map(|i| if i % 5 == 4 { mask } else { code(i) })
        .collect()
}

/// A layout, and for every part how many codes of how many bits it has.
fn layouts() -> Vec<(Layout, Vec<(usize, u32)>)> {
    let dense = |dtype: DType, shape: &[usize], ld: Option<usize>| {
        let layout = match ld {
            None => Layout::dense(dtype, shape),
            Some(ld) => Layout::Dense {
                dtype,
                shape: shape.to_vec(),
                ld,
            },
        };
        (layout, vec![(shape.iter().product(), dtype.bits())])
    };
    let csr = |index: DType, values: DType| Layout::Csr {
        rows: 3,
        cols: 9,
        nnz: 5,
        index,
        values,
        longest_row: None,
    };
    let mut all = vec![
        dense(DType::F32, &[3, 5], None),
        dense(DType::F32, &[3, 5], Some(5)),
        dense(DType::Bf16, &[3, 5], None),
        dense(DType::Bf16, &[2, 3, 5], Some(6)),
        dense(DType::Bf16, &[], None),
        dense(DType::U16, &[7], None),
        dense(DType::U32, &[2, 9], None),
        dense(DType::F64, &[3, 5], None),
        dense(DType::F32, &[0, 5], None),
        dense(DType::Bf16, &[5, 0], None),
        (csr(DType::U32, DType::F32), vec![(4, 32), (5, 32), (5, 32)]),
        (csr(DType::U16, DType::Bf16), vec![(4, 32), (5, 16), (5, 16)]),
    ];
    // Every format in use, and some without a name of their own.
    let unnamed = ["bfp2-16", "bfp3-8", "bfp7-32", "q5.6"].map(|name| name.parse().expect("a format"));
    for format in NAMED.iter().map(|named| named.format).chain(unnamed) {
        let (rows, cols) = (3, 37);
        let mut parts = vec![(rows * cols, format.bits())];
        match (format.head_words(), format.block_size()) {
            (0, None) => {}
            (0, Some(_)) => parts.push((rows * format.blocks_per_row(cols), 8)),
            // The tensor's scale is an f32.
            (1, None) => parts.push((1, 32)),
            other => assert_eq!(other, (0, None), "{format}: codes of two widths in one part"),
        }
        all.push((Layout::Coded { format, rows, cols }, parts));
    }
    all
}

pub(crate) fn codes_of_every_layout_come_back_bit_for_bit(devices: &[Device]) {
    for device in devices {
        for (layout, parts) in layouts() {
            let name = format!("{layout:?} on {}", device.describe());
            let codes: Vec<Vec<u64>> = parts.iter().map(|&(len, bits)| scattered(len, bits)).collect();
            let lent: Vec<&[u64]> = codes.iter().map(Vec::as_slice).collect();
            let x = device.from_codes(layout.clone(), &lent).expect("codes");
            for (part, want) in codes.iter().enumerate() {
                let got = x.read_codes_blocking::<u64>(part).expect("codes");
                assert_eq!(&got, want, "{name}, part {part}");
                // The narrowest type that holds them gives the same.
                let bits = parts[part].1;
                let narrow: Vec<u64> = match bits {
                    0..=8 => x.read_codes_blocking::<u8>(part).map(widened),
                    9..=16 => x.read_codes_blocking::<u16>(part).map(widened),
                    17..=32 => x.read_codes_blocking::<u32>(part).map(widened),
                    _ => x.read_codes_blocking::<u64>(part),
                }
                .expect("codes");
                assert_eq!(&narrow, want, "{name}, part {part}");
                // What is stored beside the codes is zero: as many ones are there as went up.
                let ones = |words: &[u32]| words.iter().map(|word| word.count_ones()).sum::<u32>();
                let stored = x.read_part_blocking(part).expect("words");
                let sent: u32 = want.iter().map(|code| code.count_ones()).sum();
                assert_eq!(ones(stored.words()), sent, "{name}, part {part}");
                if bits > 8 {
                    let refused = x.read_codes_blocking::<u8>(part);
                    assert!(matches!(refused, Err(Error::Value { .. })), "{name}: {refused:?}");
                }
            }
            // The same words as by hand, and through words the same codes.
            let words: Vec<Vec<u32>> = (0..parts.len())
                .map(|part| x.read_part_blocking(part).expect("words").words().to_vec())
                .collect();
            let lent: Vec<&[u32]> = words.iter().map(Vec::as_slice).collect();
            let y = device.from_words(layout.clone(), &lent).expect("words");
            for (part, want) in codes.iter().enumerate() {
                assert_eq!(
                    &y.read_codes_blocking::<u64>(part).expect("codes"),
                    want,
                    "{name}"
                );
            }
        }
        // Against the doors that were there before: values, padding and all.
        let values: Vec<f32> = (0..15).map(|i| i as f32 - 7.5).collect();
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        let x = device.from_f32(&[3, 5], &values).expect("values");
        let y = device.from_codes(x.layout().clone(), &[&bits]).expect("codes");
        let words = |tensor: &fewbit::Tensor| tensor.read_part_blocking(0).expect("words").words().to_vec();
        assert_eq!(words(&x), words(&y));
        let half = device.convert(&x, DType::Bf16).expect("bf16");
        let codes = half.read_codes_blocking::<u16>(0).expect("codes");
        let y = device
            .from_codes(half.layout().clone(), &[&codes])
            .expect("codes");
        assert_eq!(words(&half), words(&y));
        assert_eq!(y.read_blocking().expect("values"), values);
    }
}

fn widened<T: Into<u64>>(codes: Vec<T>) -> Vec<u64> {
    codes.into_iter().map(Into::into).collect()
}

pub(crate) fn codes_that_do_not_fit_are_typed_errors(devices: &[Device]) {
    let format: Format = "bfp5-16".parse().expect("a format");
    let block = || Layout::Coded {
        format,
        rows: 1,
        cols: 17,
    };
    for device in devices {
        let layout = || Layout::dense(DType::Bf16, &[2, 3]);
        let wide = device.from_codes(layout(), &[&[0x1_0000u32, 0, 0, 0, 0, 0]]);
        assert!(
            matches!(wide, Err(Error::Value { what: "values", .. })),
            "{wide:?}"
        );
        for len in [0, 5, 7] {
            let other = device.from_codes(layout(), &[&vec![0u16; len]]);
            assert!(
                matches!(&other, Err(Error::Shape { operand: "values", got, .. }) if *got == [len]),
                "{other:?}"
            );
        }
        let none = device.from_codes::<u16>(layout(), &[]);
        assert!(
            matches!(
                none,
                Err(Error::Operands {
                    expected: 1,
                    got: 0,
                    ..
                })
            ),
            "{none:?}"
        );
        let wide = device.from_codes(block(), &[&[32u8; 17], &[0; 2]]);
        assert!(
            matches!(wide, Err(Error::Value { what: "codes", .. })),
            "{wide:?}"
        );
        let short = device.from_codes(block(), &[&[31u8; 17], &[0; 1]]);
        assert!(
            matches!(
                short,
                Err(Error::Shape {
                    operand: "scales",
                    ..
                })
            ),
            "{short:?}"
        );
        let x = device
            .from_codes(block(), &[&[31u8; 17], &[255; 2]])
            .expect("codes");
        let missing = x.read_codes_blocking::<u8>(2);
        assert!(matches!(missing, Err(Error::Operands { .. })), "{missing:?}");
        let huge = device.from_codes(Layout::dense(DType::F32, &[usize::MAX, 2]), &[&[0u32; 1]]);
        assert!(matches!(huge, Err(Error::Limit { .. })), "{huge:?}");
    }
}

pub(crate) fn writes_replace_contents_and_spare_clones(devices: &[Device]) {
    for device in devices {
        let layout = Layout::dense(DType::Bf16, &[2, 3]);
        let mut x = device
            .from_codes(layout, &[&[1u16, 2, 3, 4, 5, 6]])
            .expect("codes");
        let (clone, apart) = (x.clone(), x.copy().expect("a copy"));
        x.write_codes(&[&[0x7f81u16, 7, 7, 7, 7, 0xff81]])
            .expect("a write");
        let codes = |tensor: &fewbit::Tensor| tensor.read_codes_blocking::<u16>(0).expect("codes");
        assert_eq!(codes(&x), [0x7f81, 7, 7, 7, 7, 0xff81], "{}", device.describe());
        for other in [&clone, &apart] {
            assert_eq!(codes(other), [1, 2, 3, 4, 5, 6], "{}", device.describe());
        }
        let refused = x.write_codes(&[&[1u16; 5]]);
        assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
        let refused = x.write_words(&[&[0; 7]]);
        assert!(matches!(refused, Err(Error::TooSmall { .. })), "{refused:?}");
        assert_eq!(codes(&x), [0x7f81, 7, 7, 7, 7, 0xff81], "nothing is lost");
        x.write_words(&[&[0x8000_0001, 2, 0, 0, 3, 4, 0, 0]])
            .expect("a write");
        assert_eq!(codes(&x), [1, 0x8000, 2, 3, 0, 4]);
    }
}
