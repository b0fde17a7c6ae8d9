//! The formats against tests/golden/, which has its own README.

use super::exact::{Exact, Row, pack, unpack};
use super::through;
use fewbit::format::Rounding;

const DECODE: &[u8] = include_bytes!("../golden/decode.bin");
const ENCODE: &[u8] = include_bytes!("../golden/encode.bin");
const ROWS: &[u8] = include_bytes!("../golden/rows.bin");
const MX: &[u8] = include_bytes!("../golden/mx.bin");
const BFP: &[u8] = include_bytes!("../golden/bfp.bin");
const TENSOR: &[u8] = include_bytes!("../golden/tensor.bin");

struct Section {
    name: String,
    numbers: Vec<usize>,
    records: Vec<Vec<u32>>,
}

/// A file's sections: `name records words-per-record numbers..`, a line, and the words.
fn sections(file: &[u8]) -> Vec<Section> {
    let line = |from: usize| {
        let length = file[from..].iter().position(|&byte| byte == b'\n').unwrap();
        (
            std::str::from_utf8(&file[from..from + length]).unwrap(),
            from + length + 1,
        )
    };
    let (magic, mut at) = line(0);
    assert_eq!(magic, "fewbit golden file 1");
    let mut all = Vec::new();
    while at < file.len() {
        let (head, start) = line(at);
        let mut parts = head.split(' ');
        let name = parts.next().unwrap().to_owned();
        let mut numbers: Vec<usize> = parts.map(|part| part.parse().unwrap()).collect();
        let (records, width) = (numbers.remove(0), numbers.remove(0));
        at = start + records * width * 4;
        let words: Vec<u32> = file[start..at]
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| u32::from_le_bytes(bytes))
            .collect();
        let records = words.chunks(width).map(<[u32]>::to_vec).collect();
        all.push(Section {
            name,
            numbers,
            records,
        });
    }
    all
}

fn halves(word: u32) -> [u32; 2] {
    [word & 0xffff, word >> 16]
}

/// Every code of `bits` bits in one row, decoded under one scale byte (where the format has scales).
fn decode_all(name: &str, bits: u32, scale: Option<u32>) -> Vec<u32> {
    let codes: Vec<u32> = (0..1 << bits).collect();
    let scales = scale.map_or(vec![], |byte| pack(&vec![byte; codes.len().div_ceil(8)], 8));
    through::decode(
        name,
        &Row {
            scales,
            codes: pack(&codes, bits),
        },
        codes.len(),
    )
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn golden_codes_decode() {
    let fnv1a = |words: &[u32]| {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let mut seen = Vec::new();
    for section in sections(DECODE) {
        let bits = section.records.len().ilog2();
        let wanted: Vec<u32> = section.records.concat();
        match section.name.as_str() {
            "e8m0" => {
                // A block's scale is what its ones decode to: 2 is the code of 1.0 in E2M1.
                for (byte, &wanted) in wanted.iter().enumerate() {
                    let row = Row {
                        scales: vec![byte as u32],
                        codes: vec![2],
                    };
                    assert_eq!(through::decode("mxfp4", &row, 1), [wanted], "e8m0 {byte}");
                }
            }
            "int8" => assert_eq!(decode_all("mxint8", 8, Some(127)), wanted),
            "f16" => {
                let decoded = decode_all("f16", 16, None);
                let hashes = decoded
                    .chunks(256)
                    .map(fnv1a)
                    .map(|hash| vec![hash as u32, (hash >> 32) as u32]);
                assert_eq!(hashes.collect::<Vec<_>>(), section.records);
            }
            name => assert_eq!(decode_all(name, bits, None), wanted, "{name}"),
        }
        seen.push(section.name);
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn golden_values_encode() {
    let mut cases = 0;
    for section in sections(ENCODE) {
        let name = section.name;
        let bits = through::bits(&name);
        let values: Vec<u32> = section.records.iter().map(|record| record[0]).collect();
        let encode = |rounding, r16: &[u32]| {
            unpack(
                &through::encode(&name, &values, rounding, r16).codes,
                bits,
                values.len(),
            )
        };
        let none = vec![0xffff; values.len()];
        let nearest = encode(Rounding::Nearest, &none);
        let toward_zero = encode(Rounding::TowardZero, &none);
        // The least r16 that moves a value away from zero, and the largest that does not.
        let at = |f: fn(u32) -> u32| {
            section
                .records
                .iter()
                .map(|r| f(halves(r[2])[1]))
                .collect::<Vec<_>>()
        };
        let draws = [
            at(|_| 0),
            at(|t| t.wrapping_sub(1) & 0xffff),
            at(|t| t),
            at(|_| 0xffff),
        ];
        let stochastic = draws.each_ref().map(|r16| encode(Rounding::Stochastic, r16));
        for (i, record) in section.records.iter().enumerate() {
            let [wanted, cut] = halves(record[1]);
            let [up, threshold] = halves(record[2]);
            assert_eq!(nearest[i], wanted, "{name} {:08x} nearest", values[i]);
            assert_eq!(toward_zero[i], cut, "{name} {:08x} toward zero", values[i]);
            for (codes, r16) in stochastic.iter().zip(&draws) {
                let wanted = if r16[i] >= threshold { up } else { cut };
                assert_eq!(
                    codes[i], wanted,
                    "{name} {:08x} stochastic, {:04x}",
                    values[i], r16[i]
                );
            }
            cases += 1;
        }
    }
    assert!(cases > 4000, "{cases}");
}

/// Rows in formats with scales: what is coded, in each rounding, and what that decodes to; of fewbit, and of the exact
/// arithmetic that the other tests trust.
fn hold_rows(file: &[u8]) -> usize {
    let rows = sections(ROWS);
    let all_values: Vec<u32> = rows[0].records.concat();
    let all_r16: Vec<u32> = rows[1].records.concat().into_iter().flat_map(halves).collect();
    assert_eq!(all_values.len(), all_r16.len());
    let exact = Exact::all();
    let mut cases = 0;
    for section in sections(file) {
        let (name, columns, stride) = (&section.name, section.numbers[0], section.numbers[1]);
        let exact = exact.iter().find(|exact| exact.name == *name).unwrap();
        let words = (columns * exact.element.bits as usize).div_ceil(32);
        for (i, record) in section.records.iter().enumerate() {
            let at = i * stride * columns..(i * stride + 1) * columns;
            let (values, r16) = (&all_values[at.clone()], &all_r16[at]);
            let (coded, decoded) = record.split_at(record.len() - columns);
            let (scales, codes) = coded.split_at(coded.len() - 3 * words);
            let order = [Rounding::Nearest, Rounding::TowardZero, Rounding::Stochastic];
            for (rounding, codes) in order.into_iter().zip(codes.chunks(words)) {
                let wanted = Row {
                    scales: scales.to_vec(),
                    codes: codes.to_vec(),
                };
                let message = format!("{name} row {i} {rounding}: {values:08x?}");
                assert_eq!(
                    exact.encode(values, rounding, r16),
                    wanted,
                    "exact arithmetic, {message}"
                );
                assert_eq!(through::encode(name, values, rounding, r16), wanted, "{message}");
                if rounding == Rounding::Nearest {
                    assert_eq!(
                        through::decode(name, &wanted, columns),
                        decoded,
                        "decoded, {message}"
                    );
                }
            }
            cases += 1;
        }
    }
    cases
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn golden_mx_rows() {
    assert_eq!(hold_rows(MX), 6 * 62);
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn golden_bfp_rows() {
    assert_eq!(hold_rows(BFP), 338);
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn golden_tensors() {
    assert_eq!(hold_rows(TENSOR), 5 * 21);
}
