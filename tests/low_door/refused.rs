//! Buffers that make no tensor, and devices that lend none.

use fewbit::device::Program;
use fewbit::gpu::{Operand, StepValues};
use fewbit::kernels::Copy;
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error, wgpu};

use super::common::{open, open_adapter, opengl_adapter};
use super::meet::{ALL, Caller, copy, layout};

pub(crate) fn every_bad_piece_is_a_typed_error() {
    let caller = Caller::new();
    let device = &caller.fewbit;
    let buffer = caller.buffer(&[1; 8], ALL);
    let make = |layout: Layout, pieces: &[Operand<'_>]| device.from_buffers(layout, pieces);
    for offset in [1, 2, 3, 6] {
        let odd = make(layout(4), &[Operand::new(&buffer, offset, 16)]);
        assert!(matches!(odd, Err(Error::Alignment { value, multiple: 4, .. }) if value == offset));
    }
    for (offset, bytes, left) in [(0, 12, 12), (20, 16, 12), (32, 16, 0), (u64::MAX - 3, 16, 0)] {
        let short = make(layout(4), &[Operand::new(&buffer, offset, bytes)]);
        let expected =
            matches!(short, Err(Error::TooSmall { needed: 16, got, operand: "values", .. }) if got == left);
        assert!(expected, "{offset} {bytes}: {short:?}");
    }
    let count = make(layout(4), &[Operand::whole(&buffer); 2]);
    assert!(matches!(
        count,
        Err(Error::Operands {
            expected: 1,
            got: 2,
            ..
        })
    ));
    let bad = Layout::Dense {
        dtype: DType::F32,
        shape: vec![2, 4],
        ld: 3,
    };
    assert!(matches!(
        make(bad, &[Operand::whole(&buffer)]),
        Err(Error::Value { .. })
    ));
    let plain = caller.buffer(
        &[1; 8],
        wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
    );
    let refused = make(layout(4), &[Operand::whole(&plain)]);
    assert!(
        matches!(refused, Err(Error::Usage { usage: "STORAGE", .. })),
        "{refused:?}"
    );
    // Two pieces of one buffer, one of them written.
    let one = make(layout(4), &[Operand::whole(&buffer)]).expect("a tensor");
    let mut other = make(layout(4), &[Operand::new(&buffer, 16, 16)]).expect("a tensor");
    let aliased = copy(device, &one, &mut other);
    assert!(matches!(aliased, Err(Error::Aliased { .. })), "{aliased:?}");
    let none = one.as_buffer(1);
    assert!(matches!(none, Err(Error::Operands { .. })), "{none:?}");
    buffer.destroy();
    let gone = make(layout(4), &[Operand::whole(&buffer)]);
    assert!(matches!(gone, Err(Error::Gpu { .. })), "{gone:?}");
}

/// A buffer for kernels alone: they read and write it, the host does neither.
pub(crate) fn missing_usages_are_typed_errors_and_lose_nothing() {
    let caller = Caller::new();
    let device = &caller.fewbit;
    let alone = caller.buffer(&[1; 8], wgpu::BufferUsages::STORAGE);
    let piece = Operand::new(&alone, 4, 16);
    let mut tensor = device.from_buffers(layout(4), &[piece]).expect("a tensor");
    let words = device.from_codes(layout(4), &[&[5u32; 4]]).expect("codes");
    copy(device, &words, &mut tensor).expect("a kernel writes it");
    let read = tensor.read_blocking();
    assert!(
        matches!(
            read,
            Err(Error::Usage {
                usage: "COPY_SRC",
                ..
            })
        ),
        "{read:?}"
    );
    let copied = tensor.copy();
    assert!(
        matches!(
            copied,
            Err(Error::Usage {
                usage: "COPY_SRC",
                ..
            })
        ),
        "{copied:?}"
    );
    let mut clone = tensor.clone();
    let cloned = copy(device, &words, &mut clone);
    assert!(
        matches!(
            cloned,
            Err(Error::Usage {
                usage: "COPY_SRC",
                ..
            })
        ),
        "{cloned:?}"
    );
    drop(clone);
    let written = tensor.write_codes(&[&[1u32; 4]]);
    assert!(
        matches!(
            written,
            Err(Error::Usage {
                usage: "COPY_DST",
                ..
            })
        ),
        "{written:?}"
    );
    // Nothing of all this was lost on the way.
    let mut sum = device.zeros(layout(4)).expect("zeros");
    copy(device, &tensor, &mut sum).expect("a kernel reads it");
    assert_eq!(sum.read_codes_blocking::<u32>(0).expect("codes"), [5; 4]);
}

pub(crate) fn buffers_of_another_device_make_no_tensor() {
    let (one, other) = (open(), open());
    let buffer = other.buffer("words", 64).expect("a buffer");
    let refused = Device::from_gpu(one).from_buffers(layout(4), &[Operand::whole(&buffer)]);
    assert!(matches!(refused, Err(Error::OtherDevice { .. })), "{refused:?}");
}

pub(crate) fn buffers_of_opengl_make_no_tensor_elsewhere() {
    let (native, gl) = (open(), open_adapter(opengl_adapter()));
    for (mine, theirs) in [(&native, &gl), (&gl, &native)] {
        let buffer = theirs.buffer("words", 64).expect("a buffer");
        let device = Device::from_gpu(mine.clone());
        let refused = device.from_buffers(layout(4), &[Operand::whole(&buffer)]);
        assert!(matches!(refused, Err(Error::OtherDevice { .. })), "{refused:?}");
    }
}

pub(crate) fn a_lost_device_lends_and_borrows_nothing() {
    let caller = Caller::new();
    let device = &caller.fewbit;
    let buffer = caller.buffer(&[1; 8], ALL);
    let piece = [Operand::whole(&buffer)];
    let mut tensor = device.from_buffers(layout(4), &piece).expect("a tensor");
    let own = device.zeros(layout(4)).expect("zeros");
    let mut program = Program::new(device);
    let ids = [0, 1].map(|_| program.zeros(layout(4)).expect("a tensor"));
    program.call(Copy::new(4), &ids).expect("a call");
    caller.gpu.notify_lost("the cable was pulled");
    for refused in [
        device.from_buffers(layout(4), &piece).map(|_| ()),
        tensor.read_blocking().map(|_| ()),
        tensor.copy().map(|_| ()),
        tensor.as_buffer(0).map(|_| ()),
        tensor.as_buffer_mut(0).map(|_| ()),
        tensor.write_codes(&[&[1u32; 4]]),
        copy(device, &own, &mut tensor),
        own.as_buffer(0).map(|_| ()),
        own.read_codes_blocking::<u32>(0).map(|_| ()),
        device.from_codes(layout(4), &[&[1u32; 4]]).map(|_| ()),
        program.run(&StepValues::default()),
        program.zeros(layout(4)).map(|_| ()),
        program.call(Copy::new(4), &ids).map(|_| ()),
        program.write_codes(ids[0], &[&[1u32; 4]]),
        program
            .tensor(ids[1])
            .and_then(|tensor| tensor.read_blocking())
            .map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::DeviceLost { .. })), "{refused:?}");
    }
}

pub(crate) fn devices_that_are_no_gpu_lend_and_borrow_nothing() {
    for device in [Device::cpu(), Device::reference(), Device::checked(Device::cpu())] {
        let mut tensor = device.zeros(layout(4)).expect("zeros");
        for refused in [
            device.from_buffers(layout(4), &[]).map(|_| ()),
            tensor.as_buffer(0).map(|_| ()),
            tensor.as_buffer_mut(0).map(|_| ()),
        ] {
            assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        }
    }
}
