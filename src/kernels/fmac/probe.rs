//! Does this GPU add in f32 as the reference does? A run on operands chosen to tell.

use super::gpu::Adder;
use super::{Fmac, FmacMatmul, product, reference};
use crate::error::Result;
use crate::format::bf16;
use crate::format::random::Draw;
use crate::gpu::{Dispatch, Gpu, Offsets, Operand, Plan, ReadBack};
use crate::op::Op;

/// What the GPU remembers the answer by.
const FINDING: &str = "float fmac is exact";

/// Whether the float variants of [`Fmac`] and [`FmacMatmul`] were found to give the reference's bits on this GPU;
/// `None` until [`probe_float_fmac`] has looked.
#[must_use]
pub fn float_fmac_exact(gpu: &Gpu) -> Option<bool> {
    gpu.memo(FINDING)
}

/// Finds out whether the float variants of [`Fmac`] and [`FmacMatmul`] give the reference's bits on this GPU,
/// and remembers the answer in it (clones share it): plans made afterwards prefer the float variant where
/// they do. Submits a few small dispatches and reads back; on a borrowed device the caller polls.
///
/// The operands are those where the direction in which one f32 addition rounds reaches the bf16 result (a
/// product half-way between two bf16, and an accumulator far below it), ordinary ones with every gap between
/// the exponents, and chunks whose result depends on the order of the sum. It is evidence, not proof.
///
/// # Errors
/// Device lost, out of memory, or a kernel that does not compile.
pub async fn probe_float_fmac(gpu: &Gpu) -> Result<bool> {
    if let Some(known) = float_fmac_exact(gpu) {
        return Ok(known);
    }
    let mut exact = true;
    for trial in trials(gpu)? {
        exact &= trial.submit(gpu)?.read().await?.words() == trial.want;
    }
    Ok(gpu.remember(FINDING, exact))
}

/// [`probe_float_fmac`] for threads that may block; polls on borrowed devices too.
///
/// # Errors
/// See [`probe_float_fmac`].
#[cfg(not(target_arch = "wasm32"))]
pub fn probe_float_fmac_blocking(gpu: &Gpu) -> Result<bool> {
    if let Some(known) = float_fmac_exact(gpu) {
        return Ok(known);
    }
    let mut exact = true;
    for trial in trials(gpu)? {
        exact &= trial.submit(gpu)?.read_blocking()?.words() == trial.want;
    }
    Ok(gpu.remember(FINDING, exact))
}

/// A float plan, its operands (the last one is written), and what the reference makes of that one.
struct Trial {
    plan: Plan,
    operands: [Vec<u32>; 3],
    want: Vec<u32>,
}

impl Trial {
    fn submit(&self, gpu: &Gpu) -> Result<ReadBack> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let mut buffers = Vec::with_capacity(3);
        for words in &self.operands {
            buffers.push(gpu.buffer_with("float FMAC probe", words, usage)?);
        }
        let operands: Vec<_> = buffers.iter().map(Operand::whole).collect();
        let bound = self.plan.bind(&operands)?;
        let mut encoder = gpu.encoder("float FMAC probe");
        bound.encode(&mut encoder);
        let back = ReadBack::record(gpu, &mut encoder, &buffers[2], 0, self.want.len() as u64)?;
        gpu.submit("float FMAC probe", encoder)?;
        Ok(back)
    }
}

/// The plan of a float variant, which serves nothing before the probe has looked.
fn plan(gpu: &Gpu, op: &dyn Op, dispatches: Vec<Dispatch>) -> Result<Plan> {
    let variant = Adder::Float.variant();
    Plan::new(
        gpu,
        op.name(),
        variant,
        op.operands(),
        dispatches,
        op.step_values(),
    )
}

fn trials(gpu: &Gpu) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let [a, x, y] = triples();
    let op = Fmac::contiguous(a.len() * 2);
    op.check()?;
    let mut want = a.clone();
    reference::fmac(&op, &x, &y, &mut want);
    trials.push(Trial {
        plan: plan(
            gpu,
            &op,
            super::gpu::dispatches(&op, gpu, Offsets::Vec4, Adder::Float)?,
        )?,
        operands: [x, y, a],
        want,
    });
    for (k, chunk) in [(64, 1), (520, 16), (257, 1000), (96, 3)] {
        let (m, n) = (24, 40);
        let op = FmacMatmul {
            chunk,
            ..FmacMatmul::new(m, n, k)
        };
        op.check()?;
        let words = op.operands().iter().map(|spec| spec.words).collect::<Vec<_>>();
        // Magnitudes over eight binades, so that other orders of a sum round otherwise.
        let fill = |seed: u64, words: u64| {
            let mut source = Source::new(seed);
            let mut code = || source.code(-4, 8);
            (0..words)
                .map(|_| bf16::pack(code(), code()))
                .collect::<Vec<u32>>()
        };
        let (a, b) = (fill(1, words[0]), fill(2, words[1]));
        let mut want = vec![0; words[2] as usize];
        reference::fmac_matmul(&op, &a, &b, &mut want);
        trials.push(Trial {
            plan: plan(gpu, &op, product::gpu::dispatches(&op, gpu, Adder::Float)?)?,
            operands: [a, b, vec![0; want.len()]],
            want,
        });
    }
    Ok(trials)
}

/// Seeded bits.
struct Source {
    draw: Draw,
    next: u64,
}

impl Source {
    fn new(seed: u64) -> Self {
        let draw = Draw {
            seed,
            ..Draw::default()
        };
        Self { draw, next: 0 }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.next += 1;
        self.draw.bits(self.next) % bound
    }

    /// A bf16 of either sign and any significand, its exponent among `count` from `first` on.
    fn code(&mut self, first: i32, count: u32) -> u16 {
        let exponent = first + self.below(count) as i32;
        let mantissa = self.below(128);
        code(self.below(2), exponent, mantissa)
    }
}

fn code(sign: u32, exponent: i32, mantissa: u32) -> u16 {
    ((sign << 15) | (((exponent + 127) as u32) << 7) | mantissa) as u16
}

/// Packed `a`, `x` and `y`.
fn triples() -> [Vec<u32>; 3] {
    let mut source = Source::new(3);
    let mut all: Vec<[u16; 3]> = Vec::new();
    for mx in 128..256u32 {
        for my in mx..256u32 {
            let product = mx * my;
            let dropped = if product >= 1 << 15 { 8 } else { 7 };
            if product & ((1 << dropped) - 1) != 1 << (dropped - 1) {
                continue;
            }
            // A tie between two bf16: the accumulator, further and further below, decides, unless the f32 sum
            // loses it; and where that is rounded up or down decides too.
            for gap in 14..44 {
                let exponent = source.below(24) as i32 - 12;
                let x = code(source.below(2), exponent, mx - 128);
                let y = code(source.below(2), -exponent, my - 128);
                for sign in 0..2 {
                    all.push([code(sign, -gap, source.below(128)), x, y]);
                }
            }
        }
    }
    while all.len() < 1 << 16 {
        let exponent = source.below(60) as i32 - 30;
        let (x, y) = (source.code(exponent, 1), source.code(-exponent / 2, 1));
        let a = source.code(exponent / 2 - 30, 61);
        all.push([a, x, y]);
    }
    [0, 1, 2].map(|which| {
        let pairs = all.as_chunks::<2>().0;
        pairs
            .iter()
            .map(|[low, high]| bf16::pack(low[which], high[which]))
            .collect()
    })
}
