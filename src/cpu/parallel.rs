//! Spreading work over threads. What a task computes depends on its number only, never on the thread or on how
//! many there are.

use super::Cpu;

impl Cpu {
    #[cfg(feature = "cpu")]
    fn install<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(body),
            None => body(),
        }
    }

    /// Runs `body` on each run of `chunk` elements of `data` (the last may be shorter), with its number.
    pub(crate) fn chunks_mut<T: Send>(
        &self,
        data: &mut [T],
        chunk: usize,
        body: impl Fn(usize, &mut [T]) + Sync + Send,
    ) {
        let chunk = chunk.max(1);
        #[cfg(feature = "cpu")]
        if data.len() > chunk && self.threads() > 1 {
            use rayon::prelude::*;
            self.install(|| {
                data.par_chunks_mut(chunk)
                    .enumerate()
                    .for_each(|(i, part)| body(i, part))
            });
            return;
        }
        data.chunks_mut(chunk)
            .enumerate()
            .for_each(|(i, part)| body(i, part));
    }

    /// Runs `body` on every item, each with its number.
    pub(crate) fn items<T: Send>(&self, items: Vec<T>, body: impl Fn(usize, T) + Sync + Send) {
        #[cfg(feature = "cpu")]
        if items.len() > 1 && self.threads() > 1 {
            use rayon::prelude::*;
            self.install(|| {
                items
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(i, item)| body(i, item))
            });
            return;
        }
        items.into_iter().enumerate().for_each(|(i, item)| body(i, item));
    }
}

/// Elements in one task of an elementwise kernel: a few L2 caches' worth of tasks balance two threads, and a
/// task is long enough to hide the cost of taking it.
pub(crate) const TASK: usize = 1 << 15;
