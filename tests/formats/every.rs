//! Every code of every format decoded, and every encoding that could go wrong, against exact arithmetic: all of bf16,
//! every code and every midpoint with their f32 neighbours under every scale, and largest magnitudes at and beside the
//! powers of two (and the codes' largest values) at which scales change.

use super::exact::{Exact, INF, NAN, Row, Scale, e8m0, pack, unpack};
use super::{pow2, through, words};
use fewbit::format::Rounding;

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn every_code_decodes_under_every_scale() {
    for exact in Exact::all() {
        let (bits, name) = (exact.element.bits, &exact.name);
        let codes: Vec<u32> = (0..1 << bits).collect();
        // Two blocks at least, under one scale each.
        let codes = codes.repeat((2 * exact.run(1)).div_ceil(codes.len()));
        let cols = codes.len();
        let bytes = if exact.scale == Scale::None {
            127..128
        } else {
            0..256
        };
        for byte in bytes {
            // Every block has another scale.
            let run = exact.run(cols);
            let at = |col: usize| (byte + (col / run) as u32) % 256;
            let scales = match exact.scale {
                Scale::None => vec![],
                Scale::Block { .. } => pack(&(0..cols).step_by(run).map(at).collect::<Vec<_>>(), 8),
                Scale::Tensor => vec![e8m0(byte)],
            };
            let row = Row {
                scales,
                codes: pack(&codes, bits),
            };
            let decoded = through::decode(name, &row, cols);
            for (col, (&code, got)) in codes.iter().zip(decoded).enumerate() {
                let wanted = match at(col) {
                    255 => NAN,
                    scale => exact.element.decode(code, scale as i32 - 127),
                };
                assert_eq!(got, wanted, "{name} code {code:x} scale {}", at(col));
            }
        }
    }
}

/// The reference's row against the exact one in every rounding: stochastic with the least and the largest draw, with
/// the least that moves each value and the largest that does not.
fn hold(exact: &Exact, values: &[u32]) {
    let least = exact.thresholds(values);
    let below: Vec<u32> = least.iter().map(|&r| r.saturating_sub(1)).collect();
    let draws = [vec![0; values.len()], vec![0xffff; values.len()], below, least];
    for rounding in [Rounding::Nearest, Rounding::TowardZero] {
        hold_one(exact, values, rounding, &draws[1]);
    }
    for r16 in &draws {
        hold_one(exact, values, Rounding::Stochastic, r16);
    }
}

fn hold_one(exact: &Exact, values: &[u32], rounding: Rounding, r16: &[u32]) {
    let (name, bits) = (&exact.name, exact.element.bits);
    let wanted = exact.encode(values, rounding, r16);
    let got = through::encode(name, values, rounding, r16);
    if got == wanted {
        return;
    }
    assert_eq!(got.scales, wanted.scales, "{name}: scales of {values:08x?}");
    let codes = [&got, &wanted].map(|row| unpack(&row.codes, bits, values.len()));
    for (col, u) in values.iter().enumerate() {
        let (r, scales) = (r16[col], &got.scales);
        assert_eq!(
            codes[0][col], codes[1][col],
            "{name} {rounding} {u:08x} draw {r:04x}, scales {scales:x?}"
        );
    }
    panic!("{name}: bits after the last code");
}

/// Formats with scales; of BFP the usual block of 16 in every width and every other block in some.
fn formats() -> impl Iterator<Item = Exact> {
    Exact::all().into_iter().filter(|exact| match exact.scale {
        Scale::Block { size } => matches!(size, 16 | 32) || exact.name.starts_with("bfp5"),
        Scale::None | Scale::Tensor => true,
    })
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn every_bf16_encodes() {
    let every: Vec<u32> = (0..1 << 16).map(|half| half << 16).collect();
    for exact in formats() {
        if exact.scale == Scale::None {
            hold(&exact, &every);
            continue;
        }
        // Neighbours share a scale, whose largest is one of them or one so many binades above, in turn at a power of
        // two, just above, just below the next and at the element's largest value.
        let size = match exact.scale {
            Scale::Block { size } => size,
            Scale::None | Scale::Tensor => 64,
        };
        let largest = (exact.element.largest() as f32).to_bits() & 0x007f_ffff;
        for binades in [0, 1, 2, 4, 9] {
            let leads = every.chunks(size - 1).enumerate().map(|(i, run)| {
                let top = run
                    .iter()
                    .map(|u| u & 0x7fff_ffff)
                    .filter(|&u| u < INF)
                    .max()
                    .unwrap_or(0);
                let field = ((top >> 23) + binades).min(254);
                let mantissa = [0, 1, 0x007f_ffff, largest, largest + 1][i % 5];
                let lead = if binades == 0 { top } else { field << 23 | mantissa };
                [run, &[lead]].concat()
            });
            if exact.scale == Scale::Tensor {
                leads.for_each(|run| hold(&exact, &run));
            } else {
                // Thirty-odd blocks a row.
                let rows: Vec<Vec<u32>> = leads.collect();
                rows.chunks(33).for_each(|rows| hold(&exact, &rows.concat()));
            }
        }
    }
}

/// The magnitudes around every code and every midpoint, times 2^`s`: the f32 there, or nearest there, and its
/// neighbours.
fn boundaries(exact: &Exact, s: i32) -> Vec<u32> {
    let codes = &exact.element.magnitudes;
    let last = codes[codes.len() - 1] + (codes[codes.len() - 1] - codes[codes.len() - 2]);
    let upper = codes.iter().skip(1).chain([&last]);
    let points = codes
        .iter()
        .zip(upper)
        .flat_map(|(low, high)| [*low, (low + high) / 2.0])
        .chain([last]);
    let mut around: Vec<u32> = points
        .map(|point| ((point * pow2(s)) as f32).to_bits())
        .flat_map(|u| [u.saturating_sub(1), u, u + 1])
        .filter(|&u| u < INF)
        .collect();
    around.sort_unstable();
    around.dedup();
    around
}

/// Largest magnitudes that take the scale 2^`s`, and those beside that take another: at and beside the powers of two,
/// and the element's largest value.
fn leads(exact: &Exact, s: i32) -> Vec<u32> {
    let (largest, emax) = (exact.element.largest(), exact.element.emax());
    let points = [pow2(emax), pow2(emax + 1), largest, largest / 2.0, largest * 2.0];
    let bits = points.map(|point| ((point * pow2(s)) as f32).to_bits());
    let mut leads: Vec<u32> = bits
        .into_iter()
        .flat_map(|u| [u.saturating_sub(1), u, u + 1])
        .filter(|&u| u < INF)
        .collect();
    leads.sort_unstable();
    leads.dedup();
    leads
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn every_boundary_encodes() {
    let mut next = words(77);
    for exact in formats() {
        let specials = [
            INF,
            INF + 1,
            0x7fc0_0000,
            0x7fff_ffff,
            0x7f7f_ffff,
            1,
            0x007f_ffff,
            0x0080_0000,
        ];
        if exact.scale == Scale::None {
            let around = [&boundaries(&exact, 0)[..], &specials].concat();
            let negative: Vec<u32> = around.iter().map(|u| u | 0x8000_0000).collect();
            hold(&exact, &around);
            hold(&exact, &negative);
            continue;
        }
        let run = match exact.scale {
            Scale::Block { size } => size,
            Scale::None | Scale::Tensor => 128,
        };
        for s in -127..=127 {
            let around = boundaries(&exact, s);
            // All of them near the ends of f32, else every third.
            let third = if (-118..118).contains(&s) { 3 } else { 1 };
            for lead in leads(&exact, s)
                .into_iter()
                .skip(s.unsigned_abs() as usize % third)
                .step_by(third)
            {
                // With signs as they come, what does not exceed the largest, and the largest in every block.
                let below = around
                    .iter()
                    .filter(|&&u| u <= lead)
                    .map(|u| u | next() & 0x8000_0000);
                let below: Vec<u32> = below.collect();
                let rows = below
                    .chunks(run - 1)
                    .map(|part| [part, &[lead | next() & 0x8000_0000]].concat());
                if exact.scale == Scale::Tensor {
                    rows.for_each(|row| hold(&exact, &row));
                } else {
                    hold(&exact, &rows.collect::<Vec<_>>().concat());
                }
            }
        }
        // NaN and Inf spoil their block, or their tensor; subnormals and the ends do not.
        for special in specials {
            let mut row: Vec<u32> = (0..3 * run).map(|_| 0x3f00_0000 + (next() >> 7)).collect();
            row[run + run / 2] = special | next() & 0x8000_0000;
            hold(&exact, &row);
        }
        for zero in [[0, 0], [0x8000_0000; 2], [0, 0x8000_0000]] {
            hold(&exact, &zero.repeat(run));
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn rows_follow_one_another_and_share_the_tensor_scale() {
    let mut next = words(78);
    let (rows, cols) = (3, 41);
    let values: Vec<u32> = (0..rows * cols)
        .map(|_| next() & 0x8fff_ffff | 0x3000_0000)
        .collect();
    let r16: Vec<u32> = (0..rows * cols).map(|_| next() >> 16).collect();
    for exact in formats() {
        // A tensor's rows are one run of values that share a scale, each packed from a word on.
        let wanted = if exact.scale == Scale::Tensor {
            let all = exact.encode(&values, Rounding::Stochastic, &r16);
            let codes = unpack(&all.codes, exact.element.bits, values.len());
            let codes = codes
                .chunks(cols)
                .flat_map(|row| pack(row, exact.element.bits))
                .collect();
            Row {
                scales: all.scales,
                codes,
            }
        } else {
            let each = values.chunks(cols).zip(r16.chunks(cols));
            let each: Vec<Row> = each
                .map(|(row, r16)| exact.encode(row, Rounding::Stochastic, r16))
                .collect();
            Row {
                scales: each.iter().flat_map(|row| row.scales.clone()).collect(),
                codes: each.iter().flat_map(|row| row.codes.clone()).collect(),
            }
        };
        let got = through::encode_rows(&exact.name, &values, cols, Rounding::Stochastic, &r16);
        assert_eq!(got, wanted, "{}", exact.name);
        let decoded = through::decode_rows(&exact.name, &got, cols, values.len());
        let alone = through::encode(
            &exact.name,
            &values[cols..2 * cols],
            Rounding::Stochastic,
            &r16[cols..2 * cols],
        );
        if exact.scale != Scale::Tensor {
            assert_eq!(
                decoded[cols..2 * cols],
                through::decode(&exact.name, &alone, cols),
                "{}",
                exact.name
            );
        }
    }
}
