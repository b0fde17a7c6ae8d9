//! The rectifier and its gradient: whole words, two bf16 at a time.

use super::Cpu;
use super::chunks::Cut;
use crate::ops::{Relu, ReluGrad, rows};
use crate::reference;
use crate::tensor::DType;

/// One word of f32: the number unless it is negative (or -0).
fn relu_f32(u: u32) -> u32 {
    if (0x8000_0000..=0xff80_0000).contains(&u) {
        0
    } else {
        u
    }
}

/// One word of two bf16.
fn relu_halves(u: u32) -> u32 {
    let keep = |half: u32| {
        if (0x8000..=0xff80).contains(&half) {
            0
        } else {
            half
        }
    };
    keep(u & 0xffff) | (keep(u >> 16) << 16)
}

fn positive_f32(u: u32) -> u32 {
    if u > 0 && u <= 0x7f80_0000 { u32::MAX } else { 0 }
}

fn positive_halves(u: u32) -> u32 {
    let mask = |half: u32| if half > 0 && half <= 0x7f80 { 0xffff } else { 0 };
    mask(u & 0xffff) | (mask(u >> 16) << 16)
}

/// Stores whole words; the high half beside the last of an odd count of bf16 becomes zero.
fn store(dtype: DType, cols: usize, dst: &mut [u32], word: impl Fn(usize, u32) -> u32) {
    let words = dtype.words(cols as u64) as usize;
    for (i, dst) in dst[..words].iter_mut().enumerate() {
        *dst = word(i, *dst);
    }
    if dtype == DType::Bf16 && cols % 2 == 1 {
        dst[words - 1] &= 0xffff;
    }
}

pub(crate) fn relu(cpu: &Cpu, op: &Relu, x: Option<&[u32]>, y: &mut [u32]) {
    if op.dtype == DType::F64 {
        return reference::relu(op, x, y);
    }
    let x_ld = if op.in_place { op.y_ld } else { op.x_ld };
    let contiguous = rows::contiguous(op.rows, op.cols, &[(op.dtype, x_ld), (op.dtype, op.y_ld)]);
    let cut = Cut::new(contiguous, op.rows, op.cols);
    let sources = cut.read(x.unwrap_or(&[]), op.dtype, x_ld);
    let items: Vec<_> = sources.zip(cut.write(y, op.dtype, op.y_ld)).collect();
    cpu.items(items, |i, (x, y)| {
        let (_, cols) = cut.range(i);
        let source = |i: usize, own: u32| if op.in_place { own } else { x[i] };
        match op.dtype {
            DType::Bf16 => store(op.dtype, cols, y, |i, own| relu_halves(source(i, own))),
            _ => store(op.dtype, cols, y, |i, own| relu_f32(source(i, own))),
        }
    });
}

pub(crate) fn relu_grad(cpu: &Cpu, op: &ReluGrad, y: &[u32], dy: Option<&[u32]>, dx: &mut [u32]) {
    if op.dtype == DType::F64 {
        return reference::relu_grad(op, y, dy, dx);
    }
    let dy_ld = if op.in_place { op.dx_ld } else { op.dy_ld };
    let lds = [op.y_ld, dy_ld, op.dx_ld].map(|ld| (op.dtype, ld));
    let cut = Cut::new(rows::contiguous(op.rows, op.cols, &lds), op.rows, op.cols);
    let masks = cut.read(y, op.dtype, op.y_ld);
    let sources = cut.read(dy.unwrap_or(&[]), op.dtype, dy_ld);
    let outputs = cut.write(dx, op.dtype, op.dx_ld);
    let items: Vec<_> = masks.zip(sources).zip(outputs).collect();
    cpu.items(items, |i, ((y, dy), dx)| {
        let (_, cols) = cut.range(i);
        let source = |i: usize, own: u32| if op.in_place { own } else { dy[i] };
        match op.dtype {
            DType::Bf16 => store(op.dtype, cols, dx, |i, own| {
                source(i, own) & positive_halves(y[i])
            }),
            _ => store(op.dtype, cols, dx, |i, own| source(i, own) & positive_f32(y[i])),
        }
    });
}
