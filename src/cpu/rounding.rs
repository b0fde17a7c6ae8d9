//! Rounding of many elements side by side.

use super::Lanes;
use super::random::for_pieces;
use crate::format::bf16;
use crate::format::random::Draw;

/// Rounds elements stochastically to bf16, the first of them at logical index `first`.
#[inline(always)]
pub(crate) fn stochastic<L: Lanes>(
    lanes: L,
    draw: &Draw,
    first: u64,
    saturate: bool,
    src: &[u32],
    dst: &mut [u16],
) {
    for_pieces(lanes, draw, first, src.len(), |at, halves| {
        let (src, dst) = (&src[at..at + halves.len()], &mut dst[at..at + halves.len()]);
        for ((dst, &u), &r) in dst.iter_mut().zip(src).zip(halves) {
            *dst = bf16::round_stochastic(u, u32::from(r));
        }
        if saturate {
            for (dst, &u) in dst.iter_mut().zip(src) {
                *dst = bf16::saturate(*dst, u);
            }
        }
    });
}
