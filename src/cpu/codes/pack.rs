//! Codes one by one, and packed into one stream a row.

use super::PIECE;

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

/// [`pack_pairs`] backwards: eight codes of four bytes at a time, apart by halves, quarters and eighths.
#[inline(always)]
pub(super) fn unpack_pairs(packed: &[u8], codes: &mut [u8; PIECE]) {
    let fours = packed.as_chunks::<4>().0;
    for (four, codes) in fours.iter().zip(codes.as_chunks_mut::<8>().0) {
        let x = u64::from(u32::from_le_bytes(*four));
        let x = (x | x << 16) & 0x0000_ffff_0000_ffff;
        let x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
        let x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        *codes = x.to_le_bytes();
    }
}

/// [`pack`] backwards.
#[inline(always)]
pub(super) fn unpack(packed: &[u8; PIECE + 8], bits: u32, codes: &mut [u8; PIECE]) {
    // The width is a constant in each arm, and with it every place and shift.
    match bits {
        2 => unpack_by::<2>(packed, codes),
        3 => unpack_by::<3>(packed, codes),
        5 => unpack_by::<5>(packed, codes),
        6 => unpack_by::<6>(packed, codes),
        // 7: others go another way.
        _ => unpack_by::<7>(packed, codes),
    }
}

#[inline(always)]
fn unpack_by<const BITS: usize>(packed: &[u8; PIECE + 8], codes: &mut [u8; PIECE]) {
    // The codes that stay in the low half at each of the three splits.
    let stay = const {
        [
            ((1u64 << BITS) - 1) * 0x0001_0001_0001_0001,
            ((1u64 << (2 * BITS)) - 1) * 0x0000_0001_0000_0001,
            (1u64 << (4 * BITS)) - 1,
        ]
    };
    for (i, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&packed[i * BITS..i * BITS + 8]);
        let mut x = u64::from_le_bytes(bytes) & (u64::MAX >> (64 - 8 * BITS));
        x = (x & stay[2]) | (x & !stay[2]) << ((8 - BITS) << 2);
        x = (x & stay[1]) | (x & !stay[1]) << ((8 - BITS) << 1);
        x = (x & stay[0]) | (x & !stay[0]) << (8 - BITS);
        *codes = x.to_le_bytes();
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

/// [`pack_wide`] backwards; what is past the last byte is 0.
pub(super) fn unpack_wide(packed: &[u8], bits: u32, codes: &mut [u32; PIECE]) {
    if bits == 16 {
        for (code, bytes) in codes.iter_mut().zip(packed.as_chunks().0) {
            *code = u16::from_le_bytes(*bytes).into();
        }
        return;
    }
    let (mut stream, mut filled) = (0u64, 0);
    let mut packed = packed.iter();
    for code in codes {
        while filled < bits {
            stream |= u64::from(packed.next().copied().unwrap_or(0)) << filled;
            filled += 8;
        }
        *code = stream as u32 & ((1 << bits) - 1);
        stream >>= bits;
        filled -= bits;
    }
}
