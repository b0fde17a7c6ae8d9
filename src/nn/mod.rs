//! Layers, losses, optimizers and training recipes.

mod build;
mod checkpoint;
pub mod data;
pub mod digits;
mod distill;
mod gradients;
mod held;
mod images;
mod layer;
mod loss;
#[cfg(feature = "io")]
pub mod mnist;
mod model;
mod network;
mod optimizer;
mod places;
mod precision;
mod predict;
mod probe;
mod products;
mod recipe;
mod scaling;
mod schedule;
mod step;
pub mod train;
mod updates;

pub use checkpoint::{State, Stored};
pub use distill::{Distillation, Logits, Teacher};
pub use model::{Layer, Model};
pub use network::{MemoryUse, Parameter};
pub use optimizer::Optimizer;
pub use places::Places;
pub use precision::Variable;
pub use products::{Accumulator, Accumulators, Coding, Products};
pub use recipe::Recipe;
pub use scaling::LossScale;
pub use schedule::Schedule;
pub use updates::Updates;
