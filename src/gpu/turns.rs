//! Turns of shaders' loops: see [`Dispatch::turns`](super::Dispatch::turns).

use super::Gpu;
use crate::error::{Error, Result};

/// Turns of a loop whose body is run `times` times and takes `inside` turns in loops of its own each time. The last
/// look at the condition, which leaves the loop, is a turn too.
#[must_use]
pub const fn looped(times: u64, inside: u64) -> u64 {
    times * (1 + inside) + 1
}

/// The turns of one invocation of a kernel that sums along K.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Whatever K is.
    pub fixed: u64,
    /// For every slab of K.
    pub per_slab: u64,
    /// The k of a slab: a multiple of eight.
    pub slab: u64,
}

impl Turns {
    /// Turns of a dispatch of `depth` k.
    #[must_use]
    pub fn of(self, depth: u64) -> u64 {
        self.fixed + depth.div_ceil(self.slab) * self.per_slab
    }

    /// The most k of a dispatch under the GPU's cap: whole slabs, at least one.
    ///
    /// # Errors
    /// [`Error::Limit`] where a single slab passes it.
    pub fn deepest(self, op: &'static str, gpu: &Gpu) -> Result<u64> {
        let (cap, least) = (gpu.turn_cap(), self.of(1));
        if least > cap {
            return Err(Error::Limit {
                op,
                what: "turns of one invocation's loops",
                value: least,
                limit: cap,
            });
        }
        Ok((cap - self.fixed) / self.per_slab * self.slab)
    }
}
