//! The native CPU device: threads, and vector instructions chosen at run time.
//!
//! [`Cpu`] says which instruction set ([`Level`]) and how many threads to use. The kernels work on
//! plain slices:
//!
//! - [`gemm()`] and [`gemm_f64`]: dense products in f32, bf16 (f32 accumulation) and f64; [`gemm_packed`] with
//!   weights packed once;
//! - [`Cpu::run`], [`Cpu::for_each`], [`Cpu::rows`], [`Cpu::ranges`]: what other operations build
//!   their CPU twin from (see [`dispatch`] and [`parallel`]).
//!
//! **Reproducible**: the order of every sum depends on the shape and the level alone, never on the
//! number of threads. **Bounded**: different levels may differ within the bound of the numerics
//! contract; `u` is 2^-24, and 2^-23 with subnormals flushed where `dpbf16` is used (both operands
//! bf16 at [`Level::Avx512Bf16`]).
//!
//! `unsafe` lives in one module per instruction set (`avx2`, `avx512`, `avx512bf16`, `neon`), in one line of `crew`,
//! which lends a caller's loop to other threads, and nowhere else in this room.

pub(crate) mod chunks;
pub(crate) mod codes;
#[cfg(feature = "cpu")]
mod crew;
pub mod dispatch;
pub(crate) mod gemm;
pub mod parallel;
mod portable;
pub(crate) mod random;
pub(crate) mod rounding;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512bf16;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use dispatch::{Index, Kernel, Lanes, Value};
pub use gemm::{
    CodedRows, Data, GemmParams, Left, Narrow, PackedB, Sink, Source, Source64, StoreRow, gemm, gemm_f64,
    gemm_packed,
};

pub use crate::error::CpuError;
use parallel::Pool;
use std::fmt;

/// An instruction set that the kernels of this room are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What the compilation target guarantees (SSE2 on x86-64); plain Rust, no `unsafe`.
    Portable,
    /// Arm's 128-bit vectors, on every aarch64.
    Neon,
    /// x86-64 with AVX2 and FMA: 256-bit vectors.
    Avx2,
    /// x86-64 with AVX-512 F, BW, CD, DQ and VL: 512-bit vectors.
    Avx512,
    /// [`Level::Avx512`] and AVX512_BF16: products of two bf16 matrices use `vdpbf16ps`, which
    /// flushes subnormals and rounds once per pair of products.
    Avx512Bf16,
}

impl Level {
    /// Every level, the slowest first.
    pub const ALL: [Level; 5] = [
        Level::Portable,
        Level::Neon,
        Level::Avx2,
        Level::Avx512,
        Level::Avx512Bf16,
    ];
}

impl Level {
    /// Its name: `avx512-bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Neon => "neon",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Bf16 => "avx512-bf16",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The detected instruction set; each variant carries the proof that it was detected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isa {
    Portable(portable::Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(avx512bf16::Avx512Bf16),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

impl Isa {
    fn new(level: Level) -> Option<Isa> {
        match level {
            Level::Portable => Some(Isa::Portable(portable::Portable)),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Avx2::detect().map(Isa::Avx2),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::Avx512::detect().map(Isa::Avx512),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => avx512bf16::Avx512Bf16::detect().map(Isa::Avx512Bf16),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::Neon::detect().map(Isa::Neon),
            _ => None,
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level().fmt(f)
    }
}

/// A native CPU device: an instruction set and a pool of threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cpu {
    pub(crate) isa: Isa,
    pub(crate) pool: Pool,
}

impl Cpu {
    /// The best level this machine has, on every thread of rayon's global pool (or of the rayon
    /// pool the caller is inside); on the calling thread alone without the `cpu` feature, or where the pool's
    /// threads cannot be started. At most 1024 threads are, whatever `RAYON_NUM_THREADS` says, or as many as there
    /// are cores.
    pub fn detect() -> Cpu {
        let isa = Level::ALL.iter().rev().find_map(|&level| Isa::new(level));
        Cpu {
            isa: isa.unwrap_or(Isa::Portable(portable::Portable)),
            #[cfg(feature = "cpu")]
            pool: Pool::Global,
            #[cfg(not(feature = "cpu"))]
            pool: Pool::Sequential,
        }
    }

    /// As [`Cpu::detect`], at the given level.
    ///
    /// # Errors
    /// [`CpuError::LevelUnavailable`] if the machine lacks it.
    pub fn with_level(level: Level) -> Result<Cpu, CpuError> {
        let isa = Isa::new(level).ok_or(CpuError::LevelUnavailable(level.name()))?;
        Ok(Cpu { isa, ..Cpu::detect() })
    }

    /// The same device on `threads` threads of its own (0 or 1: on the calling thread; at most 1024, or as many as
    /// the machine has cores if that is more).
    ///
    /// No result depends on this number. Without the `cpu` feature there is one thread, whatever
    /// is asked for.
    ///
    /// # Errors
    /// [`CpuError::Threads`] if the threads cannot be started.
    pub fn with_threads(&self, threads: usize) -> Result<Cpu, CpuError> {
        let pool = match threads {
            0 | 1 => Pool::Sequential,
            #[cfg(feature = "cpu")]
            _ => Pool::Own(std::sync::Arc::new(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(parallel::capped(threads))
                    .build()
                    .map_err(|e| CpuError::Threads {
                        threads,
                        reason: e.to_string(),
                    })?,
            )),
            #[cfg(not(feature = "cpu"))]
            _ => Pool::Sequential,
        };
        Ok(Cpu { isa: self.isa, pool })
    }

    /// The instruction set in use.
    pub fn level(&self) -> Level {
        match self.isa {
            Isa::Portable(_) => Level::Portable,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => Level::Avx2,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => Level::Avx512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16(_) => Level::Avx512Bf16,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => Level::Neon,
        }
    }

    /// A device for each level of this machine, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Cpu> {
        Level::ALL
            .iter()
            .rev()
            .filter_map(|&level| Cpu::with_level(level).ok())
            .collect()
    }

    /// Whether products of two bf16 matrices go through `dpbf16`, whose arithmetic is that of a GPU: either
    /// neighbour may be returned, and subnormals flush.
    #[must_use]
    pub fn uses_dpbf16(&self) -> bool {
        self.level() == Level::Avx512Bf16
    }

    /// The levels this machine can run, the slowest first.
    pub fn levels_available() -> Vec<Level> {
        let mut levels = Level::ALL.to_vec();
        levels.retain(|&level| Isa::new(level).is_some());
        levels
    }
}

/// Checks that `len` elements hold `rows` rows of `columns` that start `ld` apart.
pub(crate) fn check_matrix(
    operand: &'static str,
    len: usize,
    rows: usize,
    columns: usize,
    ld: usize,
) -> Result<(), CpuError> {
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    if ld < columns && rows > 1 {
        return Err(CpuError::LeadingDimension { operand, ld, columns });
    }
    let needed = (rows - 1)
        .checked_mul(ld)
        .and_then(|n| n.checked_add(columns))
        .unwrap_or(usize::MAX);
    if len < needed {
        return Err(CpuError::TooShort {
            operand,
            rows,
            columns,
            needed,
            len,
        });
    }
    Ok(())
}
