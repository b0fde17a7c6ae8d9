//! The three products of a layer with bf16 accumulators.

use super::super::build::Build;
use super::super::network::{PRODUCT, ld};
use crate::device::{CallId, TensorId};
use crate::error::Result;
use crate::format::Rounding;
use crate::kernels::{FmacMatmul, Matmul, Relu};
use crate::op::Scalar;
use crate::tensor::DType;

/// A chunk and how the accumulator is rounded after it.
type Sums = (usize, Rounding);

/// The operation over tensors' rows with its rounding, drawing from the stream of the stage's product number `which`.
fn rounded(
    net: &mut Build<'_>,
    number: usize,
    which: u32,
    product: FmacMatmul,
    sums: Sums,
) -> Result<FmacMatmul> {
    let (chunk, rounding) = sums;
    let draw = net.draw(rounding, PRODUCT, number, which)?;
    Ok(FmacMatmul {
        // A chunk of no products is refused by the operation.
        chunk: chunk.min(product.k.max(1)),
        a_ld: ld(DType::Bf16, if product.trans_a { product.m } else { product.k }),
        b_ld: ld(DType::Bf16, if product.trans_b { product.k } else { product.n }),
        c_ld: ld(DType::Bf16, product.n),
        ..product
    }
    .with_rounding(rounding, draw))
}

/// `y = b`, to which the sums are added last, in one more rounded step; then the ReLU.
pub(super) fn forward(
    net: &mut Build<'_>,
    number: usize,
    x: TensorId,
    rows: usize,
    sums: Sums,
) -> Result<CallId> {
    let [w, b] = net.parameters_of(number).map(|id| net.parameters[id].values);
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let y = net.values[number + 1];
    let bias = Matmul {
        alpha: Scalar::new(0.0),
        ..Matmul::new(rows, outputs, 1)
            .types(DType::Bf16, DType::Bf16, DType::Bf16)
            .bias(DType::Bf16)
    };
    net.program.call(bias, &[x, w, y, b])?;
    let product = FmacMatmul {
        trans_b: true,
        add_c: true,
        ..FmacMatmul::new(rows, outputs, inputs)
    };
    let product = rounded(net, number, 0, product, sums)?;
    let call = net.program.call(product, &[x, w, y])?;
    if !net.stages[number].relu {
        return Ok(call);
    }
    let relu = Relu {
        in_place: true,
        ..Relu::new(rows, outputs, DType::Bf16)
    };
    net.program.call(relu, &[y])
}

/// `dx = dy W`, given as `[dy, W, dx]`.
pub(super) fn input_gradient(
    net: &mut Build<'_>,
    number: usize,
    operands: [TensorId; 3],
    rows: usize,
    sums: Sums,
) -> Result<()> {
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let product = rounded(net, number, 1, FmacMatmul::new(rows, inputs, outputs), sums)?;
    net.program.call(product, &operands)?;
    Ok(())
}

/// `dW = dy^T x`, given as `[dy, x, dW]`.
pub(super) fn weight_gradient(
    net: &mut Build<'_>,
    number: usize,
    operands: [TensorId; 3],
    rows: usize,
    sums: Sums,
) -> Result<()> {
    let [outputs, inputs] = net.stages[number].weights().unwrap_or_default();
    let product = FmacMatmul {
        trans_a: true,
        ..FmacMatmul::new(outputs, inputs, rows)
    };
    let product = rounded(net, number, 2, product, sums)?;
    net.program.call(product, &operands)?;
    Ok(())
}
