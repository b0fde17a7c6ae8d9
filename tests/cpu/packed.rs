//! Products with packed weights.

use super::levels;
use fewbit::cpu::{Cpu, CpuError, Data, GemmParams, Left, PackedB, Sink, Source, gemm, gemm_packed};

/// Multiples of 1/8 in [-2, 2): exact in bf16, and their sums in f32 are exact in any order.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state % 32) as f32 / 8.0 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// Any f32 around 1, whose sums depend on their order.
fn rough(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| x * 1.013_671_9 + 1e-3).collect()
}

fn bf16(values: &[f32]) -> Vec<u16> {
    values.iter().map(|x| (x.to_bits() >> 16) as u16).collect()
}

/// The product both ways, in bits.
fn both(
    cpu: &Cpu,
    (m, n, k): (usize, usize, usize),
    a: Data<'_>,
    b: Data<'_>,
    [ta, tb]: [bool; 2],
) -> [Vec<u32>; 2] {
    let a = Source {
        data: a,
        ld: if ta { m } else { k },
        transposed: ta,
    };
    let b = Source {
        data: b,
        ld: if tb { k } else { n },
        transposed: tb,
    };
    let params = GemmParams {
        alpha: 0.5,
        beta: 2.0,
        ..GemmParams::new(m, n, k)
    };
    let bias = values(n, 77);
    let bias = Some(Source::f32(&bias, n));
    let left = match a.data {
        Data::Bf16(_) => Left::Bf16,
        Data::Coded(_) => unreachable!("no codes here"),
        Data::F32(_) => Left::F32,
    };
    let packed = PackedB::new(cpu, b, k, n, left).unwrap();
    let mut results = [values(m * n, 5), values(m * n, 5)];
    let [plain, kept] = &mut results;
    gemm(cpu, &params, a, b, Sink::f32(plain, n), bias).unwrap();
    gemm_packed(cpu, &params, a, &packed, Sink::f32(kept, n), bias).unwrap();
    results.map(|c| c.iter().map(|x| x.to_bits()).collect())
}

#[test]
fn packed_products_are_the_plain_ones() {
    let shapes = [
        (1, 1, 1),
        (1, 300, 70),
        (7, 49, 513),
        (8, 1000, 1025),
        (9, 9, 9),
        (128, 97, 600),
        (300, 17, 1030),
        (257, 401, 530),
        (530, 800, 40),
    ];
    for cpu in levels() {
        for (case, &(m, n, k)) in shapes.iter().enumerate() {
            for flags in 0..16 {
                let bit = |i: u32| flags >> i & 1 == 1;
                let (a, b) = (values(m * k, case as u32 + 1), values(k * n, case as u32 + 100));
                // The order of summation is the same from nine rows and columns on.
                let ordered = m > 8 && n > 8;
                let (a, b) = if ordered { (rough(&a), rough(&b)) } else { (a, b) };
                let (a16, b16) = (bf16(&a), bf16(&b));
                let a = if bit(0) { Data::Bf16(&a16) } else { Data::F32(&a) };
                let b = if bit(1) { Data::Bf16(&b16) } else { Data::F32(&b) };
                let [plain, packed] = both(&cpu, (m, n, k), a, b, [bit(2), bit(3)]);
                assert!(plain == packed, "{cpu}: {m} x {n} x {k}, case {flags:04b}");
            }
        }
    }
}

#[test]
fn packed_for_something_else() {
    let cpu = Cpu::detect();
    let ones = [0x3f80_u16; 64];
    let packed = PackedB::new(&cpu, Source::bf16(&ones, 8), 8, 8, Left::Bf16).unwrap();
    assert!(packed.bytes() >= 128);
    let mut c = [0.0; 64];
    let run = |cpu: &Cpu, k: usize, a: Source<'_>, c: &mut [f32]| {
        gemm_packed(cpu, &GemmParams::new(8, 8, k), a, &packed, Sink::f32(c, 8), None)
    };
    assert_eq!(run(&cpu, 8, Source::bf16(&ones, 8), &mut c), Ok(()));
    assert_eq!(c, [8.0; 64]);
    let refused = |result| matches!(result, Err(CpuError::Packed { k: 8, n: 8, .. }));
    assert!(refused(run(&cpu, 7, Source::bf16(&ones, 8), &mut c)));
    for other in levels() {
        if other.level() != cpu.level() {
            assert!(refused(run(&other, 8, Source::bf16(&ones, 8), &mut c)));
        }
    }
    if cpu.uses_dpbf16() {
        assert!(refused(run(&cpu, 8, Source::f32(&[1.0; 64], 8), &mut c)));
    }
    let short = PackedB::new(&cpu, Source::bf16(&ones, 8), 9, 8, Left::Bf16);
    assert!(matches!(short, Err(CpuError::TooShort { .. })));
}
