//! The native CPU device: threads across rows and tiles, instructions chosen at run time, no GPU needed.
//!
//! `unsafe` is confined to one module per instruction set ([`avx2`](self), `avx512`): everything else is safe
//! code that [`Cpu::dispatch`] compiles once per instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod ceiling;
mod chunks;
mod column_sums;
mod convert;
mod copy;
mod fmac;
mod gemm;
mod matmul;
mod parallel;
mod portable;
mod relu;
mod sgd;
mod simd;
mod skinny;
mod softmax_cross_entropy;

use std::fmt;
#[cfg(feature = "cpu")]
use std::sync::Arc;

pub(crate) use ceiling::ceiling;
pub(crate) use column_sums::column_sums;
pub(crate) use convert::convert;
pub(crate) use copy::copy;
pub(crate) use fmac::{fmac, fmac_matmul};
pub(crate) use matmul::matmul;
pub(crate) use relu::{relu, relu_grad};
pub(crate) use sgd::sgd;
pub(crate) use simd::{Kernel, Simd};
pub(crate) use softmax_cross_entropy::softmax_cross_entropy;

/// An instruction set that the CPU device has kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What the build targets, in safe code: SSE2 on x86-64, NEON on AArch64, 128-bit or scalar elsewhere.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// The same with `dpbf16`: two bf16 products added to an f32 in one instruction, which flushes subnormals
    /// and orders its sums its own way.
    Avx512Bf16,
}

impl Level {
    const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Portable];

    fn detected(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match self {
                Self::Portable => true,
                Self::Avx2 => avx2,
                Self::Avx512 => avx2 && avx512,
                Self::Avx512Bf16 => avx2 && avx512 && is_x86_feature_detected!("avx512bf16"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable if cfg!(target_arch = "aarch64") => "neon",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
        })
    }
}

/// What can go wrong when a CPU device is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// The machine lacks the instruction set asked for.
    #[error("this machine lacks the instruction set {asked}, its best is {best}")]
    Level {
        /// The level asked for.
        asked: Level,
        /// The best one there is.
        best: Level,
    },
    /// The thread pool could not be started.
    #[error("{threads} threads could not be started: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's words.
        reason: String,
    },
}

/// The native CPU device: an instruction set and its threads. Results do not depend on the number of threads.
#[derive(Clone)]
pub struct Cpu {
    level: Level,
    #[cfg(feature = "cpu")]
    pool: Option<Arc<rayon::ThreadPool>>,
}

impl Cpu {
    /// The widest instructions this machine has, on the global rayon pool (one thread without feature `cpu`).
    #[must_use]
    pub fn detect() -> Self {
        let level = Level::ALL
            .into_iter()
            .find(|level| level.detected())
            .unwrap_or(Level::Portable);
        Self::new(level)
    }

    fn new(level: Level) -> Self {
        Self {
            level,
            #[cfg(feature = "cpu")]
            pool: None,
        }
    }

    /// A device with these instructions, for tests and comparisons.
    ///
    /// # Errors
    /// [`CpuError::Level`] when the machine lacks them.
    pub fn with_level(level: Level) -> Result<Self, CpuError> {
        if level.detected() {
            Ok(Self::new(level))
        } else {
            Err(CpuError::Level {
                asked: level,
                best: Self::detect().level,
            })
        }
    }

    /// The same device on `threads` threads of its own (at least one).
    ///
    /// # Errors
    /// [`CpuError::Threads`] when they cannot be started.
    #[cfg(feature = "cpu")]
    pub fn with_threads(mut self, threads: usize) -> Result<Self, CpuError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build()
            .map_err(|error| CpuError::Threads {
                threads,
                reason: error.to_string(),
            })?;
        self.pool = Some(Arc::new(pool));
        Ok(self)
    }

    /// A device for each instruction set of this machine, the widest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Level::ALL
            .into_iter()
            .filter(|level| level.detected())
            .map(Self::new)
            .collect()
    }

    /// Its instruction set.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// How many threads its work is spread over.
    #[must_use]
    pub fn threads(&self) -> usize {
        #[cfg(feature = "cpu")]
        {
            self.pool
                .as_ref()
                .map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
        }
        #[cfg(not(feature = "cpu"))]
        {
            1
        }
    }

    /// Whether products of two bf16 matrices go through `dpbf16`, whose arithmetic is that of a GPU: either
    /// neighbour may be returned, and subnormals flush.
    #[must_use]
    pub fn uses_dpbf16(&self) -> bool {
        self.level == Level::Avx512Bf16
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level.fmt(f)
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cpu({}, {} threads)", self.level, self.threads())
    }
}
