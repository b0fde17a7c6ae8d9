//! Shaders that keep a record of what they do, for tests.

use super::Rewrite;
use crate::gpu::{Gpu, Permutation, ReadBack};

/// Rewrites the text of every WGSL shader whose pipeline this GPU makes from now on, so that it records what a test wants
/// to know in a binding of its own, behind those that it has. The pipelines are made with all runtime checks. For devices
/// that a test opens for itself, before their first plan.
pub fn record(gpu: &Gpu, rewrite: Rewrite) {
    gpu.record(rewrite);
}

/// What the pipelines have recorded by now: each permutation with its words, on their way back.
///
/// # Errors
/// Out of memory, or device lost.
pub fn records(gpu: &Gpu) -> crate::Result<Vec<(Permutation, ReadBack)>> {
    let mut encoder = gpu.encoder("records");
    let mut all = Vec::new();
    for (permutation, buffer) in gpu.records() {
        let words = buffer.size() / 4;
        all.push((
            permutation,
            ReadBack::record(gpu, &mut encoder, &buffer, 0, words)?,
        ));
    }
    gpu.submit("records", encoder)?;
    Ok(all)
}
