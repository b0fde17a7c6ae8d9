//! Compression of whole tensors: pruning to sparse matrices.

mod prune;

pub use prune::{Amount, Magnitude, Mask, PruningMethod, prune};
