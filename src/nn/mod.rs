//! Layers, losses, optimizers and training recipes.
