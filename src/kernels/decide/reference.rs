use super::Decide;
use crate::tensor::DType;

/// Word by word as the operation says; norm, factor and corrections in f64.
pub(crate) fn decide(op: &Decide, number: u32, squares: &[u32], state: &mut [u32], values: &mut [u32]) {
    // The state: takes, exponent, clean, skipped, taken, failed, two powers of two words, a word for each layer.
    if state[5] != 0 {
        state[0] = 0;
        return;
    }
    let (mut total, mut is_broken) = (0.0, false);
    for parameter in 0..op.parameters {
        let (sum, count) = match op.sums {
            DType::F64 => {
                let slot = &squares[3 * parameter..];
                (
                    f64::from_bits(u64::from(slot[0]) + (u64::from(slot[1]) << 32)),
                    slot[2],
                )
            }
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                let slot = &squares[2 * parameter..];
                (f64::from(f32::from_bits(slot[0])), slot[1])
            }
        };
        total += sum;
        if count > 0 {
            is_broken = true;
            let first = &mut state[10 + parameter / op.per_layer];
            if *first == 0 {
                *first = number;
            }
        }
    }
    let exponent = state[1].cast_signed();
    if is_broken {
        state[0] = 0;
        if op.growth.is_none() {
            state[5] = number;
            return;
        }
        state[3] = state[3].wrapping_add(1);
        state[2] = 0;
        if exponent - 1 < -14 {
            state[5] = number;
            return;
        }
        state[1] = (exponent - 1).cast_unsigned();
        values[1] = 2f32.powi(exponent - 1).to_bits();
        return;
    }
    state[0] = 1;
    let scale = 2f64.powi(exponent);
    let norm = total.sqrt() / scale;
    let factor = match op.clip {
        Some(clip) if norm > f64::from(clip) => f64::from(clip) / norm,
        _ => 1.0,
    };
    values[0] = ((factor / scale) as f32).to_bits();
    for (at, beta) in op.betas.into_iter().flatten().enumerate() {
        let fixed = u128::from(Decide::fixed(beta));
        let mut power = fixed;
        if state[4] > 0 {
            let before = u128::from(state[6 + 2 * at]) + (u128::from(state[7 + 2 * at]) << 32);
            power = (before * fixed) >> 64;
        }
        state[6 + 2 * at] = power as u32;
        state[7 + 2 * at] = (power >> 32) as u32;
        let rest = ((1u128 << 64) - power) as f64 / 2f64.powi(64);
        values[2 + at] = ((1.0 / rest) as f32).to_bits();
    }
    state[4] = state[4].wrapping_add(1);
    if let Some(growth) = op.growth {
        state[2] = state[2].wrapping_add(1);
        if state[2] >= growth && exponent < 126 {
            state[2] = 0;
            state[1] = (exponent + 1).cast_unsigned();
            values[1] = 2f32.powi(exponent + 1).to_bits();
        }
    }
}
