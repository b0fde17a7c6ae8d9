//! The call that makes the loss and its gradient: on labels, or on a teacher's logits too.

use super::build::Build;
use crate::device::TensorId;
use crate::error::Result;
use crate::kernels::{Distillation, SoftmaxCrossEntropy};

/// Pushes it onto the program, with the gradient for so many classes to go to `dy`.
pub(super) fn push(net: &mut Build<'_>, classes: usize, dy: TensorId) -> Result<()> {
    let batch = net.options.batch;
    // The mean over all images of a step.
    let scale = (1.0 / net.options.step_images().max(1) as f32).into();
    let [logits, grad] = net.types.last();
    match (net.options.distillation, net.teacher) {
        (Some(distillation), Some(teacher)) => {
            let op = Distillation {
                scale,
                ..Distillation::new(batch, classes, logits, grad)
                    .with(distillation.temperature, distillation.alpha)
            };
            net.program
                .call(op, &[net.logits, teacher, net.labels, net.loss, dy])?
        }
        _ => {
            let op = SoftmaxCrossEntropy {
                scale,
                ..SoftmaxCrossEntropy::new(batch, classes, logits, grad)
            };
            net.program.call(op, &[net.logits, net.labels, net.loss, dy])?
        }
    };
    Ok(())
}
