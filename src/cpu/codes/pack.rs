//! Codes one by one, and packed into one stream a row.

use super::PIECE;
use crate::cpu::Lanes;

/// The width that most formats have: two codes to a byte.
#[inline(always)]
pub(super) fn pack_pairs(codes: &[u8; PIECE], out: &mut [u8]) {
    for (out, codes) in out.iter_mut().zip(codes.as_chunks::<2>().0) {
        *out = codes[0] | codes[1] << 4;
    }
}

/// Codes of `bits` bits, one per byte, to one stream: pairs of neighbours are joined three times over, and eight
/// codes are then the low bytes of a word. Each word is stored over the zeros past the one before.
#[inline(always)]
pub(super) fn pack(codes: &[u8; PIECE], bits: u32, out: &mut [u8; PIECE + 8]) {
    const LOW: [u64; 3] = [
        0x00ff_00ff_00ff_00ff,
        0x0000_ffff_0000_ffff,
        0x0000_0000_ffff_ffff,
    ];
    let mut words = [0u64; PIECE / 8];
    for (word, codes) in words.iter_mut().zip(codes.as_chunks::<8>().0) {
        let mut x = u64::from_le_bytes(*codes);
        for (i, low) in LOW.into_iter().enumerate() {
            x = (x & low) | (x & !low) >> ((8 - bits) << i);
        }
        *word = x;
    }
    for (i, word) in words.iter().enumerate() {
        let at = i * bits as usize;
        if let Some(out) = out.get_mut(at..at + 8) {
            out.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Codes of 9 to 16 bits to one stream that starts on a byte, as much of it as `out` takes.
pub(super) fn pack_wide(codes: &[u32; PIECE], bits: u32, out: &mut [u8]) {
    if bits == 16 {
        for (out, code) in out.chunks_exact_mut(2).zip(codes) {
            out.copy_from_slice(&(*code as u16).to_le_bytes());
        }
        return;
    }
    let (mut stream, mut filled) = (0u64, 0);
    let mut out = out.iter_mut();
    for &code in codes {
        stream |= u64::from(code) << filled;
        filled += bits;
        while filled >= 8 {
            if let Some(out) = out.next() {
                *out = stream as u8;
            }
            stream >>= 8;
            filled -= 8;
        }
    }
    if let (Some(out), true) = (out.next(), filled > 0) {
        *out = stream as u8;
    }
}

/// Codes of any width from one stream that starts on a byte; what is past the last byte is 0.
#[inline(always)]
pub(super) fn unpack<L: Lanes>(lanes: L, packed: &[u8], bits: u32, codes: &mut [u32; PIECE]) {
    if bits == 8 {
        // Where there is none the code is left as it is: it is not looked at.
        for (code, byte) in codes.iter_mut().zip(packed) {
            *code = (*byte).into();
        }
        return;
    }
    for (i, codes) in codes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let rest = packed.get(i * 2 * bits as usize..).unwrap_or_default();
        let mut tail = [0; 32];
        let bytes = rest.first_chunk().unwrap_or_else(|| {
            tail[..rest.len()].copy_from_slice(rest);
            &tail
        });
        lanes.unpack(bytes, bits, codes);
    }
}
