//! The call that makes the loss and its gradient: on labels, or on a teacher's logits too.

use super::build::Build;
use crate::device::{CallId, Program, TensorId};
use crate::error::Result;
use crate::kernels::{Distillation, SoftmaxCrossEntropy};

#[derive(Clone, Copy, Debug)]
enum Op {
    Labels(SoftmaxCrossEntropy),
    Teacher(Distillation),
}

#[derive(Clone, Debug)]
pub(super) struct Loss {
    call: CallId,
    op: Op,
    operands: Vec<TensorId>,
}

impl Loss {
    /// Pushes it onto the program, with the gradient for so many classes to go to `dy`.
    pub(super) fn push(net: &mut Build<'_>, classes: usize, dy: TensorId) -> Result<Self> {
        let batch = net.options.batch;
        // The mean over all images of a step.
        let scale = 1.0 / net.options.step_images().max(1) as f32;
        let [logits, grad] = net.types.last();
        let (call, op, operands) = match (net.options.distillation, net.teacher) {
            (Some(distillation), Some(teacher)) => {
                let op = Distillation {
                    scale: scale.into(),
                    ..Distillation::new(batch, classes, logits, grad)
                        .with(distillation.temperature, distillation.alpha)
                };
                let operands = vec![net.logits, teacher, net.labels, net.loss, dy];
                (net.program.call(op, &operands)?, Op::Teacher(op), operands)
            }
            _ => {
                let op = SoftmaxCrossEntropy {
                    scale: scale.into(),
                    ..SoftmaxCrossEntropy::new(batch, classes, logits, grad)
                };
                let operands = vec![net.logits, net.labels, net.loss, dy];
                (net.program.call(op, &operands)?, Op::Labels(op), operands)
            }
        };
        Ok(Self { call, op, operands })
    }

    /// Scales its gradient, as it was pushed, by a power of two.
    pub(super) fn scale(&self, program: &mut Program, by: f32) -> Result<()> {
        match self.op {
            Op::Labels(op) => {
                let scale = (f32::from(op.scale) * by).into();
                program.exchange(self.call, SoftmaxCrossEntropy { scale, ..op }, &self.operands)
            }
            Op::Teacher(op) => {
                let scale = (f32::from(op.scale) * by).into();
                program.exchange(self.call, Distillation { scale, ..op }, &self.operands)
            }
        }
    }
}
