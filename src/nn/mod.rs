//! Layers, losses, optimizers and training recipes.

pub mod data;
pub mod digits;
mod gradients;
mod mlp;
#[cfg(feature = "io")]
pub mod mnist;
mod recipe;
pub mod train;

pub use mlp::{MemoryUse, Parameter};
pub use recipe::Recipe;
