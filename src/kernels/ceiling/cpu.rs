//! The ceilings of the CPU device: independent chains in registers, and a streaming sum.

#[cfg(target_arch = "x86_64")]
use crate::cpu::Isa;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::kernels::{Ceiling, CeilingKind};

/// Invocations whose chains run side by side: with sixteen chains each, 24 or more registers' worth of
/// independent work at every vector width is more than the latency of any multiply-add hides.
const LANES: usize = 16;
/// Outputs in one task.
const TASK: usize = 256;

pub(crate) fn ceiling(cpu: &Cpu, op: &Ceiling, src: &[u32], dst: &mut [u32]) {
    let count = op.count as usize;
    let dst = &mut dst[..count];
    match op.kind {
        CeilingKind::Read => {
            // Runs of outputs read the same vectors of a row of `count`: contiguous for each task.
            let vectors = op.src_words as usize / 4;
            let task = count.div_ceil(cpu.threads() * 4).max(1);
            cpu.chunks_mut(dst, task, |i, dst| {
                cpu.run(Sum {
                    src: &src[..4 * vectors],
                    first: i * task,
                    count,
                    dst,
                });
            });
        }
        CeilingKind::MultiplyAdd | CeilingKind::Bf16Dot => cpu.chunks_mut(dst, TASK, |i, dst| {
            cpu.run(MultiplyAdd {
                #[cfg(target_arch = "x86_64")]
                dot: match cpu.isa {
                    Isa::Avx512Bf16(dot) if op.kind == CeilingKind::Bf16Dot => Some(dot),
                    _ => None,
                },
                first: (i * TASK) as u32,
                steps: op.steps,
                dst,
            });
        }),
        CeilingKind::Integer => cpu.chunks_mut(dst, TASK, |i, dst| {
            cpu.run(Integer {
                first: (i * TASK) as u32,
                steps: op.steps,
                dst,
            });
        }),
    }
}

struct MultiplyAdd<'a> {
    /// `dpbf16`, where that is what is measured.
    #[cfg(target_arch = "x86_64")]
    dot: Option<crate::cpu::avx512bf16::Avx512Bf16>,
    first: u32,
    steps: u32,
    dst: &'a mut [u32],
}

impl Kernel for MultiplyAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        // The optimizer must not know that both are one.
        let (factor, summand) = std::hint::black_box((Ceiling::FACTOR, Ceiling::SUMMAND));
        for (group, dst) in self.dst.chunks_mut(LANES).enumerate() {
            let first = self.first + (group * LANES) as u32;
            let mut x = [[0.0f32; LANES]; 16];
            for (chain, x) in x.iter_mut().enumerate() {
                for (lane, x) in x.iter_mut().enumerate() {
                    *x = (((first + lane as u32) & 255) + chain as u32) as f32;
                }
            }
            // Two bf16 products of 1 and 0.5 add 1, as the multiply-add does.
            #[cfg(target_arch = "x86_64")]
            if let Some(dot) = self.dot {
                dot.dot_chains(&mut x, self.steps, std::hint::black_box(0x3f80_3f80), 0x3f00_3f00);
            } else {
                lanes.multiply_add_chains(&mut x, self.steps, factor, summand);
            }
            #[cfg(not(target_arch = "x86_64"))]
            lanes.multiply_add_chains(&mut x, self.steps, factor, summand);
            for (lane, dst) in dst.iter_mut().enumerate() {
                *dst = x.iter().map(|x| x[lane]).sum::<f32>().to_bits();
            }
        }
    }
}

struct Integer<'a> {
    first: u32,
    steps: u32,
    dst: &'a mut [u32],
}

impl Kernel for Integer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (mask, odd) = std::hint::black_box((Ceiling::MASK, Ceiling::ODD));
        for (group, dst) in self.dst.chunks_mut(LANES).enumerate() {
            let first = self.first + (group * LANES) as u32;
            let mut x = [[0u32; LANES]; 16];
            for (chain, x) in x.iter_mut().enumerate() {
                for (lane, x) in x.iter_mut().enumerate() {
                    *x = first + lane as u32 + chain as u32;
                }
            }
            lanes.integer_chains(&mut x, self.steps, mask, odd);
            for (lane, dst) in dst.iter_mut().enumerate() {
                *dst = x.iter().fold(0, |sum, x| sum.wrapping_add(x[lane]));
            }
        }
    }
}

struct Sum<'a> {
    src: &'a [u32],
    first: usize,
    count: usize,
    dst: &'a mut [u32],
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        self.dst.fill(0);
        for row in self.src.chunks(4 * self.count) {
            let from = (4 * self.first).min(row.len());
            let to = (4 * (self.first + self.dst.len())).min(row.len());
            for (dst, vector) in self.dst.iter_mut().zip(row[from..to].chunks_exact(4)) {
                let pair = vector[0]
                    .wrapping_add(vector[1])
                    .wrapping_add(vector[2].wrapping_add(vector[3]));
                *dst = dst.wrapping_add(pair);
            }
        }
    }
}
