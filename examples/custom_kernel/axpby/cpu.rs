use super::Axpby;

/// A plain loop, which the compiler vectorises for the baseline; `fewbit::cpu::Kernel` compiles one for every
/// instruction set, and `Cpu::ranges` shares it among threads.
pub(super) fn axpby(op: &Axpby, x: &[u32], y: &mut [u32]) {
    let (alpha, beta) = (op.alpha.get(), op.beta.get());
    for (y, x) in y.iter_mut().zip(x).take(op.len) {
        *y = (alpha * f32::from_bits(*x) + beta * f32::from_bits(*y)).to_bits();
    }
}
