//! What a network says of images.

use super::images::batch;
use super::network;
use super::train::Trainer;
use crate::error::{Error, Result};
use crate::tensor::View;

const OP: &str = "predict";

impl Trainer {
    /// The logits of at most a batch of images (a byte for every pixel, 0 is paper), image after image.
    ///
    /// # Errors
    /// Bytes that are no whole images, or more images than a batch; device lost, or out of memory.
    pub async fn logits(&mut self, images: &[u8]) -> Result<Vec<f64>> {
        let (pixels, most) = (self.options.model.pixels(), self.options.batch);
        let count = images.len() / pixels;
        if !images.len().is_multiple_of(pixels) || count > most {
            return Err(Error::Shape {
                op: OP,
                operand: "images",
                expected: format!("at most {most} images of {pixels} pixels"),
                got: vec![images.len()],
            });
        }
        let dtype = self.recipe.activations;
        let order: Vec<u32> = (0..count as u32).collect();
        let packed = batch(dtype, images, pixels, &order, most)?;
        self.network.program.write_words(self.network.input, &[&packed])?;
        self.network.evaluate()?;
        let logits = self.read(self.network.logits).await?;
        let classes = self.options.model.classes()?;
        let dtype = self.recipe.logits;
        let view = View::new(dtype, most, classes, network::ld(dtype, classes));
        let places = (0..count).flat_map(|row| (0..classes).map(move |class| (row, class)));
        Ok(places
            .map(|(row, class)| view.load(logits.words(), row, class))
            .collect())
    }

    /// [`Trainer::logits`] for threads that may block.
    ///
    /// # Errors
    /// See [`Trainer::logits`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn logits_blocking(&mut self, images: &[u8]) -> Result<Vec<f64>> {
        pollster::block_on(self.logits(images))
    }
}
