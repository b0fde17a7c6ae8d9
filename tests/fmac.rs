//! FMAC beyond single cases: the integer step against f32 arithmetic, worked examples, stochastic rounding as
//! a distribution, and errors.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it ran on"
)]

mod common;

use common::{Suite, open};

use fewbit::format::random::{Draw, Generator, half_word};
use fewbit::format::{Rounding, bf16};
use fewbit::kernels::{Fmac, FmacMatmul};
use fewbit::kernels::{float_fmac_exact, fmac_product_bits, fmac_round, fmac_sum, fmac_sum_bits};
use fewbit::op::{Arg, Args, Op};
use fewbit::{Error, Tensor};

fn main() {
    Suite::new()
        .cpu(
            "integer_product_of_every_pair_of_significands_at_every_exponent",
            integer_product_of_every_pair_of_significands_at_every_exponent,
        )
        .cpu(
            "integer_sum_at_every_gap_of_exponents",
            integer_sum_at_every_gap_of_exponents,
        )
        .cpu("integer_sum_at_ties", integer_sum_at_ties)
        .cpu(
            "integer_step_against_the_reference",
            integer_step_against_the_reference,
        )
        .cpu("the_worked_walk", the_worked_walk)
        .cpu(
            "stochastic_sums_are_unbiased_and_nearest_ones_stuck",
            stochastic_sums_are_unbiased_and_nearest_ones_stuck,
        )
        .cpu(
            "one_stochastic_step_is_a_fair_coin_of_the_fraction",
            one_stochastic_step_is_a_fair_coin_of_the_fraction,
        )
        .cpu("draws_follow_the_counter_layout", draws_follow_the_counter_layout)
        .cpu("zeros_and_nans_have_one_form", zeros_and_nans_have_one_form)
        .cpu("errors_name_the_limit", errors_name_the_limit)
        .cpu("the_high_door_agrees_with_the_reference", || {
            the_high_door_agrees_with_the_reference(fewbit::Device::cpu())
        })
        .gpu("the_high_door_agrees_with_the_reference_on_a_gpu", || {
            the_high_door_agrees_with_the_reference(common::high());
        })
        .gpu(
            "float_variants_serve_only_where_the_probe_found_them_exact",
            float_variants_serve_only_where_the_probe_found_them_exact,
        )
        .run();
}

/// A xorshift generator: the cases need many bits, not good ones.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u32
    }
}

/// Bit-equal, or zeros of either sign, or both NaN and ours the one NaN.
fn same(want: f32, got: u32) -> bool {
    match want {
        _ if want.is_nan() => got == 0x7fc0_0000,
        0.0 => got & 0x7fff_ffff == 0,
        _ => want.to_bits() == got,
    }
}

fn sum_is_right(a: u32, b: u32) {
    let want = f32::from_bits(a) + f32::from_bits(b);
    let got = fmac_sum_bits(a, b);
    assert!(
        same(want, got),
        "{a:#010x} + {b:#010x}: {:#010x}, got {got:#010x}",
        want.to_bits()
    );
}

fn integer_product_of_every_pair_of_significands_at_every_exponent() {
    let mut count = 0u64;
    for mx in 0..128u32 {
        for my in mx..128u32 {
            // Every sum of exponents, through pairs that reach 0 (subnormals), 254 and 255 (NaN, Inf).
            for total in 0..=510u32 {
                let ex = total.min(255) - if total < 256 { total / 2 * (mx & 1) } else { 0 };
                let ey = total - ex;
                let (x, y) = (
                    (ex << 23) | (mx << 16),
                    (ey << 23) | (my << 16) | ((mx & 2) << 30),
                );
                let want = f32::from_bits(x) * f32::from_bits(y);
                let got = fmac_product_bits(x, y);
                assert!(
                    same(want, got),
                    "{x:#010x} * {y:#010x}: {:#010x}, got {got:#010x}",
                    want.to_bits()
                );
                count += 1;
            }
        }
    }
    assert_eq!(count, 8256 * 511);
}

fn integer_sum_at_every_gap_of_exponents() {
    let mut bits = Bits(0x1234_5678_9abc_def1);
    // Every pair of exponents and signs, subnormals, NaN and Inf included, with random and edge significands.
    let edge = |bits: u32| match bits & 7 {
        0 => 0,
        1 => 1,
        2 => 0x7f_ffff,
        3 => 0x7f_fffe,
        4 => 1 << ((bits >> 3) % 23),
        5 => 0x80_0000 - (1 << ((bits >> 3) % 23)),
        _ => bits >> 9,
    };
    for ea in 0..256u32 {
        for eb in 0..256u32 {
            for _ in 0..128 {
                let (a, b) = (bits.next(), bits.next());
                let a = (a & 0x8000_0000) | (ea << 23) | edge(bits.next());
                let b = (b & 0x8000_0000) | (eb << 23) | edge(bits.next());
                sum_is_right(a, b);
            }
        }
    }
    // Close exponents in depth: cancellation, ties, carries.
    for _ in 0..16_000_000 {
        let (a, b) = (bits.next(), bits.next());
        let exponent = ((a >> 23) & 0xff).wrapping_add((b >> 23) % 57).wrapping_sub(28) & 0xff;
        sum_is_right(a, (b & 0x807f_ffff) | (exponent << 23));
    }
}

fn integer_sum_at_ties() {
    // A significand of 24 bits plus one whose bits lie below it: exactly half, and one unit to either side.
    for low in [0u32, 1, 2, 0x7f_fffe, 0x7f_ffff, 0x2a_aaaa, 0x55_5555] {
        for gap in 1..=30u32 {
            for mantissa in [
                0u32, 1, 2, 3, 0x40_0000, 0x3f_ffff, 0x40_0001, 0x7f_fffe, 0x7f_ffff,
            ] {
                for ebig in [31, 32, 100, 200, 253, 254u32] {
                    let big = (ebig << 23) | low;
                    let small = ((ebig - gap) << 23) | mantissa;
                    for signs in 0..4u32 {
                        let (big, small) = (big | (signs & 1) << 31, small | (signs >> 1) << 31);
                        sum_is_right(big, small);
                        sum_is_right(small, big);
                    }
                }
            }
        }
    }
}

fn integer_step_against_the_reference() {
    let mut bits = Bits(0x0fed_cba9_8765_4321);
    for _ in 0..16_000_000 {
        let [a, x, y] = [bits.next() >> 16, bits.next() >> 16, bits.next() >> 16];
        // Half of them with the accumulator near the product.
        let a = if bits.next() & 1 == 0 {
            a
        } else {
            let near = ((x >> 7) & 0xff) as i32 + ((y >> 7) & 0xff) as i32 - 127;
            let gap = (bits.next() % 61) as i32 - 30;
            (a & 0x807f) | ((near + gap).clamp(0, 255) as u32) << 7
        };
        let want = fmac_round(
            fmac_sum(bf16::widen(a as u16), x as u16, y as u16),
            Rounding::Nearest,
            0,
        );
        let total = fmac_sum_bits(a << 16, fmac_product_bits(x << 16, y << 16));
        let code = bf16::round_nearest(total);
        let code = if code & 0x7fff == 0 { 0 } else { code };
        assert_eq!(want, code, "{a:#06x} + {x:#06x} * {y:#06x}");
    }
}

/// numerics.md, d: start at 1.0, add bf16(1e-3) 4096 times.
fn the_worked_walk() {
    let step = bf16::from_f32(1e-3);
    assert_eq!(step, 0x3a83);
    let one = bf16::from_f32(1.0);
    let walk = |rounding: Rounding, draw: Draw| {
        (0..4096u64).fold(one, |acc, i| {
            fmac_round(fmac_sum(bf16::widen(acc), step, one), rounding, draw.bits(i))
        })
    };
    assert_eq!(walk(Rounding::Nearest, Draw::default()), one);
    let philox = |seed| Draw {
        generator: Generator::Philox,
        seed,
        ..Draw::default()
    };
    let found: Vec<f32> = (0..16)
        .map(|seed| bf16::widen(walk(Rounding::Stochastic, philox(seed))))
        .collect();
    let want = [
        5.03125, 4.5, 4.90625, 5.3125, 5.0, 4.8125, 5.0625, 5.03125, 5.0, 4.875, 4.96875, 5.375, 5.03125,
        4.71875, 5.5, 5.125,
    ];
    assert_eq!(found, want);
}

/// The same sum as a product with ones, whose C is the 1.0: unbiased over outputs, stuck to nearest.
fn walk_matmul(rounding: Rounding, seed: u64, outputs: usize) -> Vec<f32> {
    let k = 4097;
    let draw = Draw {
        seed,
        ..Draw::default()
    };
    let op = FmacMatmul::new(1, outputs, k).with_rounding(rounding, draw);
    let (one, step) = (bf16::from_f32(1.0), bf16::from_f32(1e-3));
    // The 1.0 comes first, then the steps.
    let mut a = vec![bf16::pack(step, step); k.div_ceil(2)];
    a[0] = bf16::pack(one, step);
    let b = vec![bf16::pack(one, one); k * outputs / 2];
    let mut c = vec![0; outputs / 2];
    let operands = vec![Arg::Read(&a), Arg::Read(&b), Arg::Write(&mut c)];
    op.reference(Args::new(operands, op.step_values())).unwrap();
    bf16::halves(&c).iter().map(|&code| bf16::widen(code)).collect()
}

fn stochastic_sums_are_unbiased_and_nearest_ones_stuck() {
    assert_eq!(walk_matmul(Rounding::Nearest, 0, 4), [1.0; 4]);
    let mut all = Vec::new();
    for seed in 0..10 {
        all.extend(walk_matmul(Rounding::Stochastic, seed, 200));
    }
    let mean = all.iter().map(|&v| f64::from(v)).sum::<f64>() / all.len() as f64;
    let variance = all.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / (all.len() - 1) as f64;
    // Exact 5.09375 (here by steps that are each unbiased); the spread is 0.261, so 2000 walks give 0.0058.
    assert!(
        (mean - 5.09375).abs() < 5.0 * 0.261 / (all.len() as f64).sqrt(),
        "mean {mean}"
    );
    assert!(
        (variance.sqrt() - 0.261).abs() < 0.025,
        "spread {}",
        variance.sqrt()
    );
}

/// Only the two neighbours, the upper one as often as the fraction says.
fn one_stochastic_step_is_a_fair_coin_of_the_fraction() {
    // 1 + 1.0078125 * 0.001953125: 0x3f800000 + 1/4 of a bf16 unit and a little more.
    let (acc, x, y) = (0x3f80u16, 0x3f81u16, 0x3b00u16);
    let sum = fmac_sum(bf16::widen(acc), x, y);
    let fraction = f64::from(sum.to_bits() & 0xffff) / 65536.0;
    assert!(fraction > 0.2 && fraction < 0.3, "{fraction}");
    let (mut up, count) = (0u32, 200_000u64);
    for index in 0..count {
        let draw = Draw {
            seed: index / 1000,
            ..Draw::default()
        };
        match fmac_round(sum, Rounding::Stochastic, draw.bits(index)) {
            0x3f80 => {}
            0x3f81 => up += 1,
            other => panic!("{other:#06x} is no neighbour of {sum}"),
        }
    }
    let deviation = (fraction * (1.0 - fraction) / count as f64).sqrt();
    let found = f64::from(up) / count as f64;
    assert!(
        (found - fraction).abs() < 5.0 * deviation,
        "{found} for {fraction}"
    );
}

fn draws_follow_the_counter_layout() {
    // One output whose every step rounds: by hand from Draw::fmac_block.
    let draw = Draw {
        generator: Generator::Philox,
        seed: 99,
        stream: 0x0500_0003,
        step: 70_000,
        first_block: 0,
    };
    let (m, n, k) = (3, 5, 11);
    let mut op = FmacMatmul::new(m, n, k).with_rounding(Rounding::Stochastic, draw);
    (op.batch, op.add_c) = (2, true);
    let value = |i: usize| bf16::from_f32(1.0 + i as f32 * 0.37);
    let fill = |words: u64| {
        (0..words as usize)
            .map(|i| bf16::pack(value(2 * i), value(2 * i + 1)))
            .collect()
    };
    let words: Vec<u64> = op.operands().iter().map(|spec| spec.words).collect();
    let (a, b): (Vec<u32>, Vec<u32>) = (fill(words[0]), fill(words[1]));
    let before: Vec<u32> = fill(words[2]);
    let mut c = before.clone();
    let operands = vec![Arg::Read(&a), Arg::Read(&b), Arg::Write(&mut c)];
    op.reference(Args::new(operands, op.step_values())).unwrap();

    let (batch, i, j) = (1, 2, 3);
    let element = ((batch * m + i) * n + j) as u64;
    let mut acc = 0u16;
    for step in 0..k {
        let x = bf16::halves(&a)[(batch * m + i) * op.a_ld + step];
        let y = bf16::halves(&b)[(batch * k + step) * op.b_ld + j];
        let r16 = half_word(draw.fmac_block(element, (step / 8) as u32), step as u32);
        acc = fmac_round(fmac_sum(bf16::widen(acc), x, y), Rounding::Stochastic, r16);
    }
    let at = (batch * m + i) * op.c_ld + j;
    let r16 = half_word(draw.fmac_block(element, (k / 8) as u32), k as u32);
    let sum = bf16::widen(acc) + bf16::widen(bf16::halves(&before)[at]);
    assert_eq!(bf16::halves(&c)[at], fmac_round(sum, Rounding::Stochastic, r16));
}

fn zeros_and_nans_have_one_form() {
    let zero = |a: u16, x: u16, y: u16| fmac_round(fmac_sum(bf16::widen(a), x, y), Rounding::Nearest, 0);
    assert_eq!(zero(0x8000, 0x8000, 0x3f80), 0, "-0 + -0 * 1");
    assert_eq!(zero(0xbf80, 0x3f80, 0x3f80), 0, "-1 + 1 * 1");
    assert_eq!(zero(0, 0x7f80, 0), 0x7fc0, "Inf * 0");
    assert_eq!(zero(0xff80, 0x7f80, 0x3f80), 0x7fc0, "-Inf + Inf");
    assert_eq!(zero(0xffff, 0, 0), 0x7fc0, "a negative NaN with a payload");
    assert_eq!(zero(0, 0x7f00, 0x7f00), 0x7f80, "overflow");
    // Half of the smallest subnormal ties to zero, more does not.
    assert_eq!(fmac_round(f32::from_bits(0x8000_8000), Rounding::Nearest, 0), 0);
    assert_eq!(
        fmac_round(f32::from_bits(0x8000_8001), Rounding::Nearest, 0),
        0x8001
    );
}

fn errors_name_the_limit() {
    let draw = |step| Draw {
        step,
        ..Draw::default()
    };
    let op = FmacMatmul::new(4, 4, 4).with_rounding(Rounding::Stochastic, draw(1 << 24));
    let limit = |error| {
        matches!(
            error,
            Err(Error::Limit {
                what: "step number",
                limit: 0xff_ffff,
                ..
            })
        )
    };
    assert!(limit(op.check()));
    let op = op.with_rounding(Rounding::Stochastic, draw((1 << 24) - 1));
    assert!(op.check().is_ok());
    // Nearest draws nothing.
    assert!(op.with_rounding(Rounding::Nearest, draw(1 << 24)).check().is_ok());
    let many = FmacMatmul::new(1 << 20, 1 << 20, 1).with_rounding(Rounding::Stochastic, draw(0));
    assert!(many.check().is_ok());
    let mut more = many;
    more.batch = 2;
    assert!(matches!(more.check(), Err(Error::Limit { what: "outputs", .. })));
    let mut piece = many;
    piece.draw.first_block = 1;
    assert!(matches!(piece.check(), Err(Error::Limit { what: "outputs", .. })));
    piece.m -= 1;
    assert!(piece.check().is_ok());
    let mut none = op;
    none.chunk = 0;
    assert!(matches!(none.check(), Err(Error::Value { what: "chunk", .. })));
    let mut odd = op;
    odd.b_ld = 5;
    assert!(matches!(odd.check(), Err(Error::Alignment { operand: "b", .. })));
    let mut narrow = Fmac::contiguous(8);
    narrow.y_ld = 6;
    assert!(matches!(
        narrow.check(),
        Err(Error::Value {
            what: "leading dimension",
            ..
        })
    ));
    let toward = Fmac::contiguous(8).with_rounding(Rounding::TowardZero, draw(0));
    assert!(matches!(toward.check(), Err(Error::Unsupported { .. })));
}

fn the_high_door_agrees_with_the_reference(device: fewbit::Device) {
    let reference = fewbit::Device::reference();
    let values: Vec<f32> = (0..21 * 35)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 16.0)
        .collect();
    let run = |device: &fewbit::Device| {
        let tensor = |shape: [usize; 2]| -> fewbit::Result<Tensor> {
            let wide = device.from_f32(&shape, &values[..shape[0] * shape[1]])?;
            device.convert(&wide, fewbit::tensor::DType::Bf16)
        };
        let (a, b) = (tensor([21, 35]).unwrap(), tensor([35, 17]).unwrap());
        let mut c = device.fmac_matmul(&a, &b, 4).unwrap();
        let (x, y) = (tensor([21, 17]).unwrap(), tensor([21, 17]).unwrap());
        device.fmac(&mut c, &x, &y).unwrap();
        assert_eq!(c.shape(), [21, 17]);
        let mismatch = device.fmac_matmul(&a, &a, 1);
        assert!(
            matches!(mismatch, Err(Error::Dimension { .. } | Error::Shape { .. })),
            "{mismatch:?}"
        );
        c.read_blocking().unwrap()
    };
    let want = run(&reference);
    assert!(want.iter().any(|&v| v != 0.0));
    assert_eq!(run(&device), want, "{}", device.describe());
}

fn float_variants_serve_only_where_the_probe_found_them_exact() {
    use fewbit::gpu::{Gpu, Offsets, PlanRequest};
    let owned = open();
    let borrowed = Gpu::from_wgpu(owned.device(), owned.queue());
    let (one, many) = (Fmac::contiguous(8), FmacMatmul::new(8, 8, 8));
    let float = PlanRequest::default().variant("float");
    assert_eq!(float_fmac_exact(&borrowed), None);
    for op in [&one as &dyn Op, &many] {
        assert_eq!(op.variants(&borrowed, Offsets::Vec4), ["integer"]);
        let refused = op.plan(&borrowed, &float);
        assert!(matches!(refused, Err(Error::Value { what: "variant", .. })));
    }
    let exact = fewbit::kernels::probe_float_fmac_blocking(&borrowed).unwrap();
    eprintln!("{}: float FMAC exact: {exact}", owned.info().name);
    assert_eq!(float_fmac_exact(&borrowed.clone()), Some(exact));
    let preferred = if exact { "float" } else { "integer" };
    for op in [&one as &dyn Op, &many] {
        assert_eq!(
            op.plan(&borrowed, &PlanRequest::default()).unwrap().variant(),
            preferred
        );
        assert_eq!(op.variants(&borrowed, Offsets::Any)[0], preferred);
    }
    assert_eq!(
        float_fmac_exact(&owned),
        None,
        "another handle knows nothing of it"
    );
    assert_eq!(
        pollster::block_on(fewbit::kernels::probe_float_fmac(&owned)).unwrap(),
        exact
    );
}
