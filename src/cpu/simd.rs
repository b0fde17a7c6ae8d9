//! One safe body, compiled once per instruction set.
//!
//! A [`Kernel`]'s `run` is `#[inline(always)]`: it is inlined into a function that carries
//! `#[target_feature]`, and the compiler vectorises it for that instruction set.
//!
//! ```ignore
//! struct Negate<'a>(&'a mut [f32]);
//! impl Kernel for Negate<'_> {
//!     type Output = ();
//!     #[inline(always)]
//!     fn run<S: Simd>(self) {
//!         for x in self.0 { *x = -*x; }
//!     }
//! }
//! cpu.dispatch(Negate(&mut values));
//! ```

use super::{Cpu, Level};

/// The instruction set that a kernel is being compiled for.
pub(crate) trait Simd {
    /// `a * b + c`: fused where there is an instruction for it, else rounded twice.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;

    /// The same in f64.
    fn mul_add_f64(a: f64, b: f64, c: f64) -> f64;
}

/// Work that is compiled for every instruction set.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;

    /// The work; mark it `#[inline(always)]`.
    fn run<S: Simd>(self) -> Self::Output;
}

/// What the build targets.
pub(crate) struct Baseline;

impl Simd for Baseline {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        // Without an instruction `f32::mul_add` calls a library function.
        if cfg!(target_arch = "aarch64") {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }

    #[inline(always)]
    fn mul_add_f64(a: f64, b: f64, c: f64) -> f64 {
        if cfg!(target_arch = "aarch64") {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }
}

impl Cpu {
    /// Runs a kernel compiled for this device's instruction set.
    pub(crate) fn dispatch<K: Kernel>(&self, kernel: K) -> K::Output {
        match self.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx512Bf16 => super::avx512::dispatch(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => super::avx2::dispatch(kernel),
            _ => kernel.run::<Baseline>(),
        }
    }
}
