//! Layers, losses, optimizers and training recipes.

pub mod data;
pub mod digits;
