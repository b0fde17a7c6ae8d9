use super::Axpby;

/// The specification: in f64, rounded once.
pub(super) fn axpby(op: &Axpby, x: &[u32], y: &mut [u32]) {
    let view = op.view();
    for i in 0..op.len {
        let left = f64::from(op.alpha) * view.load(x, 0, i);
        let value = left + f64::from(op.beta) * view.load(y, 0, i);
        view.store_bits(y, 0, i, (value as f32).to_bits());
    }
}
