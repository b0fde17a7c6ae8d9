//! The native CPU device against f64 loops, at every level this machine has.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking and the benchmark prints"
)]

mod bench;
mod case;
mod gemm;
mod packed;
mod sparse;

use fewbit::cpu::{Cpu, CpuError, GemmParams, Level, Sink, Source, gemm};

/// A small generator, good enough to fill matrices.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [-1, 1), all 24 bits in use.
    fn unit(&mut self) -> f64 {
        (self.next() >> 40) as f64 / f64::from(1 << 23) - 1.0
    }

    /// An integer in [-8, 8].
    fn small(&mut self) -> f64 {
        (self.next() % 17) as f64 - 8.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn widen(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

fn nearest(value: f32) -> u16 {
    half::bf16::from_f32(value).to_bits()
}

fn gamma(u: f64, k: usize) -> f64 {
    ((k + 4) as f64 * u.ln_1p()).exp_m1()
}

fn levels() -> Vec<Cpu> {
    let levels = Cpu::levels_available();
    assert_eq!(levels[0], Level::Portable);
    levels
        .into_iter()
        .map(|level| Cpu::with_level(level).unwrap())
        .collect()
}

#[test]
fn errors_are_typed() {
    let cpu = Cpu::detect();
    let p = GemmParams::new(3, 4, 5);
    let data = [0.0; 64];
    let run = |a, b, ldc| gemm(&cpu, &p, a, b, Sink::f32(&mut [0.0; 12], ldc), None);
    let (a, b) = (Source::f32(&data[..15], 5), Source::f32(&data[..20], 4));
    assert_eq!(run(a, b, 4), Ok(()));
    assert!(matches!(
        run(a, b, 3),
        Err(CpuError::LeadingDimension {
            operand: "C",
            ld: 3,
            columns: 4
        })
    ));
    assert!(matches!(
        run(a, b, 5),
        Err(CpuError::TooShort {
            operand: "C",
            needed: 14,
            len: 12,
            ..
        })
    ));
    assert!(matches!(
        run(b, b, 4),
        Err(CpuError::LeadingDimension { operand: "A", .. })
    ));
    assert!(matches!(
        run(a, Source::f32(&data[..19], 4), 4),
        Err(CpuError::TooShort { operand: "B", .. })
    ));
    for level in Level::ALL {
        let available = Cpu::levels_available().contains(&level);
        match Cpu::with_level(level) {
            Ok(cpu) => assert!(available && cpu.level() == level),
            Err(e) => assert!(!available && e == CpuError::LevelUnavailable(level.name())),
        }
    }
}
