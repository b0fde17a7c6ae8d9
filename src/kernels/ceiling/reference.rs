use super::{Ceiling, CeilingKind};

/// What the ceiling kernels compute: see [`Ceiling`].
pub(crate) fn ceiling(op: &Ceiling, src: &[u32], dst: &mut [u32]) {
    for i in 0..op.count {
        dst[i as usize] = match op.kind {
            CeilingKind::MultiplyAdd | CeilingKind::Bf16Dot => {
                let mut sum = 0.0;
                for chain in 0..16 {
                    let mut x = ((i & 255) + chain) as f32;
                    for _ in 0..op.steps {
                        x = x * Ceiling::FACTOR + Ceiling::SUMMAND;
                    }
                    sum += x;
                }
                f32::to_bits(sum)
            }
            CeilingKind::Integer => {
                let mut sum = 0u32;
                for chain in 0..16 {
                    let mut x = i + chain;
                    for _ in 0..op.steps {
                        x = (x ^ Ceiling::MASK).wrapping_add(Ceiling::ODD);
                    }
                    sum = sum.wrapping_add(x);
                }
                sum
            }
            CeilingKind::Read => {
                let mut sum = 0u32;
                for vector in (i as usize..op.src_words as usize / 4).step_by(op.count as usize) {
                    for word in &src[4 * vector..4 * vector + 4] {
                        sum = sum.wrapping_add(*word);
                    }
                }
                sum
            }
        };
    }
}
