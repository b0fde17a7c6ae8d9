//! One pass over the parameters, and then a few numbers.

use super::Decide;
use crate::tensor::DType;

/// 2^64, as a number.
const WHOLE: f64 = 18_446_744_073_709_551_616.0;

/// 2^exponent: -14 to 126.
fn power_of_two(exponent: i32) -> u32 {
    (127 + exponent).cast_unsigned() << 23
}

pub(crate) fn decide(op: &Decide, number: u32, squares: &[u32], state: &mut [u32], values: &mut [u32]) {
    let Some((own, layers)) = state.split_first_chunk_mut::<{ Decide::STATE }>() else {
        return;
    };
    let [takes, exponent, clean, skipped, taken, failed, powers @ ..] = own;
    *takes = 0;
    if *failed > 0 {
        return;
    }
    let slot = op.slot();
    let mut total = 0.0;
    let mut broken = false;
    let of_layers = squares[..slot * op.parameters].chunks(slot * op.per_layer);
    for (slots, first) in of_layers.zip(layers) {
        let mut bad = 0;
        for slot in slots.chunks_exact(slot) {
            bad |= slot[slot.len() - 1];
            total += match op.sums {
                DType::F64 => f64::from_bits(u64::from(slot[0]) | u64::from(slot[1]) << 32),
                DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => f32::from_bits(slot[0]).into(),
            };
        }
        if bad > 0 && *first == 0 {
            *first = number;
        }
        broken |= bad > 0;
    }
    let was = exponent.cast_signed();
    if broken {
        if op.growth.is_some() {
            *skipped = skipped.wrapping_add(1);
            *clean = 0;
        }
        if op.growth.is_none() || was <= Decide::LEAST {
            *failed = number;
            return;
        }
        *exponent = (was - 1).cast_unsigned();
        values[1] = power_of_two(was - 1);
        return;
    }
    *takes = 1;
    let scale = f64::from(f32::from_bits(power_of_two(was)));
    let norm = total.sqrt() / scale;
    let clip = op.clip.map_or(f64::INFINITY, f64::from);
    let share = if norm > clip { clip / norm } else { 1.0 };
    values[0] = ((share / scale) as f32).to_bits();
    for ((beta, power), value) in op
        .betas
        .iter()
        .flatten()
        .zip(powers.as_chunks_mut::<2>().0)
        .zip(&mut values[2..])
    {
        let beta = Decide::fixed(*beta);
        let before = u64::from(power[0]) | u64::from(power[1]) << 32;
        let raised = match *taken {
            0 => beta,
            _ => ((u128::from(before) * u128::from(beta)) >> 64) as u64,
        };
        *power = [raised as u32, (raised >> 32) as u32];
        let rest = match raised.wrapping_neg() {
            0 => WHOLE,
            rest => rest as f64,
        };
        *value = ((WHOLE / rest) as f32).to_bits();
    }
    *taken = taken.wrapping_add(1);
    let Some(growth) = op.growth else {
        return;
    };
    *clean = clean.wrapping_add(1);
    if *clean >= growth && was < Decide::MOST {
        *clean = 0;
        *exponent = (was + 1).cast_unsigned();
        values[1] = power_of_two(was + 1);
    }
}
