use super::Matmul;
use crate::format::bf16;
use crate::tensor::DType;

/// `C = round(relu(alpha op(A) op(B) + beta C + bias))` in f64, k ascending, rounded once: to f32, and from
/// there to bf16 as `op` says, drawing for the output's logical index. Padding keeps what it held, except that
/// the high half beside the last of an odd count of bf16 columns is written as zero.
#[expect(
    clippy::needless_range_loop,
    reason = "keeps the code comparable to the shader"
)]
pub(crate) fn matmul(op: &Matmul, a: &[u32], b: &[u32], c: &mut [u32], bias: &[u32]) {
    if op.m == 0 || op.n == 0 {
        return;
    }
    let products = if op.alpha == 0.0 { 0 } else { op.k };
    let mut sums = vec![0f64; op.n];
    for batch in 0..op.batch {
        // op(B) of this batch, decoded once.
        let mut right = vec![0f64; products * op.n];
        for k in 0..products {
            for j in 0..op.n {
                let (row, col) = if op.b.transposed { (j, k) } else { (k, j) };
                right[k * op.n + j] = load(op.b.dtype, b, batch * op.b.batch_stride + row * op.b.ld + col);
            }
        }
        for i in 0..op.m {
            sums.fill(0.0);
            for k in 0..products {
                let (row, col) = if op.a.transposed { (k, i) } else { (i, k) };
                let left = load(op.a.dtype, a, batch * op.a.batch_stride + row * op.a.ld + col);
                for j in 0..op.n {
                    sums[j] += left * right[k * op.n + j];
                }
            }
            for j in 0..op.n {
                let element = batch * op.c.batch_stride + i * op.c.ld + j;
                let mut value = f64::from(op.alpha) * sums[j];
                if op.beta != 0.0 {
                    value += f64::from(op.beta) * load(op.c.dtype, c, element);
                }
                if let Some(dtype) = op.bias {
                    value += load(dtype, bias, j);
                }
                if op.relu && value < 0.0 {
                    value = 0.0;
                }
                let index = ((batch * op.m + i) * op.n + j) as u64;
                store(op, c, element, j, value, index);
            }
        }
    }
}

fn store(op: &Matmul, c: &mut [u32], element: usize, col: usize, value: f64, index: u64) {
    match op.c.dtype {
        DType::F64 => {
            let bits = value.to_bits();
            c[2 * element] = bits as u32;
            c[2 * element + 1] = (bits >> 32) as u32;
        }
        DType::Bf16 => {
            let random = if op.is_stochastic() {
                op.draw.bits(index)
            } else {
                0
            };
            let code = u32::from(bf16::encode((value as f32).to_bits(), op.rounding, random, false));
            let word = &mut c[element / 2];
            *word = match element % 2 {
                0 if col + 1 == op.n => code,
                0 => (*word & 0xffff_0000) | code,
                _ => (*word & 0x0000_ffff) | (code << 16),
            };
        }
        _ => c[element] = (value as f32).to_bits(),
    }
}

/// Element number `element` of an f64, f32 or bf16 operand.
pub(crate) fn load(dtype: DType, words: &[u32], element: usize) -> f64 {
    let bits = match dtype {
        DType::F64 => {
            let (low, high) = (words[2 * element], words[2 * element + 1]);
            return f64::from_bits(u64::from(low) | (u64::from(high) << 32));
        }
        DType::Bf16 => ((words[element / 2] >> (16 * (element % 2))) & 0xffff) << 16,
        _ => words[element],
    };
    f64::from(f32::from_bits(bits))
}
