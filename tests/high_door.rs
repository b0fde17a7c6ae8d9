//! The high door: the same tensors and calls on every device.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Suite, foreign};

use fewbit::device::Program;
use fewbit::format::{Rounding, random::Draw};
use fewbit::gpu::{Gpu, StepValues};
use fewbit::kernels::{Convert, Copy};
use fewbit::op::Op as _;
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error};

fn main() {
    let mut suite = Suite::new();
    for (name, test) in TESTS {
        suite = suite
            .cpu(&format!("{name}::host"), move || test(&host()))
            .gpu(&format!("{name}::gpu"), move || test(&gpus()));
    }
    suite.run();
}

type Test = fn(&[Device]);

const TESTS: &[(&str, Test)] = &[
    ("conversion_there_and_back", conversion_there_and_back),
    (
        "clones_share_until_one_is_written",
        clones_share_until_one_is_written,
    ),
    (
        "foreign_tensors_and_bad_shapes_are_typed_errors",
        foreign_tensors_and_bad_shapes_are_typed_errors,
    ),
    (
        "a_program_gives_the_same_bits_on_every_device_and_with_work_cut_small",
        a_program_gives_the_same_bits_on_every_device_and_with_work_cut_small,
    ),
    (
        "codes_and_integers_go_up_and_come_back_bit_for_bit",
        codes_and_integers_go_up_and_come_back_bit_for_bit,
    ),
    (
        "an_operation_runs_over_words_on_every_device_and_in_every_variant",
        an_operation_runs_over_words_on_every_device_and_in_every_variant,
    ),
    (
        "a_buffer_of_another_program_is_refused",
        a_buffer_of_another_program_is_refused,
    ),
];

fn host() -> Vec<Device> {
    vec![Device::reference(), Device::cpu(), Device::checked(Device::cpu())]
}

/// With the reference, to compare with.
fn gpus() -> Vec<Device> {
    let gpu = Device::gpu_blocking().expect("a GPU");
    // A borrowed device: reads poll only because the blocking twin was asked for.
    let (device, queue) = foreign();
    vec![
        Device::reference(),
        Device::checked(gpu.clone()),
        gpu,
        Device::from_gpu(Gpu::from_wgpu(&device, &queue)),
    ]
}

fn conversion_there_and_back(devices: &[Device]) {
    let values: Vec<f32> = (0..7 * 13).map(|i| i as f32 * 0.25 - 9.0).collect();
    for device in devices {
        let x = device.from_f32(&[7, 13], &values).expect("a tensor");
        assert_eq!(x.bytes(), 7 * 16 * 4, "rows are padded to four words");
        let half = device.convert(&x, DType::Bf16).expect("bf16");
        assert_eq!(half.bytes(), 7 * 16 * 2, "rows are padded to eight halves");
        let back = device.convert(&half, DType::F32).expect("f32");
        assert_eq!(
            back.read_blocking().expect("values"),
            values,
            "{}",
            device.describe()
        );
        assert_eq!(
            half.read_blocking().expect("values"),
            values,
            "{}",
            device.describe()
        );
        let words = half.read_part_blocking(0).expect("words");
        for row in words.words().chunks(8) {
            assert_eq!(row[7], 0, "padding stays zero on {}", device.describe());
            assert_eq!(row[6] >> 16, 0, "padding stays zero on {}", device.describe());
        }
    }
}

fn clones_share_until_one_is_written(devices: &[Device]) {
    for device in devices {
        let x = device.from_f32(&[4], &[1.0, 2.0, 3.0, 4.0]).expect("a tensor");
        let source = device.from_f32(&[4], &[9.0; 4]).expect("a tensor");
        let mut copy = x.clone();
        device
            .run(&Copy::new(4), &mut [(&source).into(), (&mut copy).into()])
            .expect("a copy");
        assert_eq!(
            x.read_blocking().expect("values"),
            [1.0, 2.0, 3.0, 4.0],
            "{}",
            device.describe()
        );
        assert_eq!(
            copy.read_blocking().expect("values"),
            [9.0; 4],
            "{}",
            device.describe()
        );
    }
}

fn foreign_tensors_and_bad_shapes_are_typed_errors(devices: &[Device]) {
    let (one, other) = (Device::cpu(), Device::cpu());
    let x = one.from_f32(&[4], &[1.0; 4]).expect("a tensor");
    assert!(matches!(
        other.convert(&x, DType::Bf16),
        Err(Error::OtherDevice { .. })
    ));
    assert!(matches!(one.from_f32(&[3], &[1.0; 4]), Err(Error::Shape { .. })));
    assert!(matches!(one.convert(&x, DType::U32), Err(Error::DType { .. })));
    let layout = Layout::dense(DType::F32, &[4]);
    assert!(matches!(
        one.from_words(layout.clone(), &[]),
        Err(Error::Operands { .. })
    ));
    assert!(matches!(
        one.from_words(layout, &[&[0; 3]]),
        Err(Error::TooSmall { .. })
    ));
    let mut y = x.clone();
    assert!(matches!(
        one.run(&Copy::new(9), &mut [(&x).into(), (&mut y).into()]),
        Err(Error::TooSmall { .. })
    ));
    assert!(matches!(
        one.run(&Copy::new(4), &mut [(&x).into()]),
        Err(Error::Operands { .. })
    ));
    assert!(matches!(
        one.run(&Copy::new(4), &mut [(&x).into(), (&x).into()]),
        Err(Error::Usage { .. })
    ));
    for device in devices.iter().filter(|device| device.as_gpu().is_some()) {
        assert!(matches!(
            device.from_f64(&[1], &[1.0]),
            Err(Error::Unsupported { .. })
        ));
        let huge = Layout::dense(DType::F32, &[1 << 20, 1 << 20]);
        let error = device.zeros(huge).expect_err("4 TiB");
        assert!(
            matches!(error, Error::Limit { .. } | Error::OutOfMemory { .. }),
            "{error}"
        );
    }
}

fn a_program_gives_the_same_bits_on_every_device_and_with_work_cut_small(devices: &[Device]) {
    let draw = Draw::default();
    let op = Convert::contiguous(DType::F32, DType::Bf16, 1000).with_rounding(Rounding::Stochastic, draw);
    let back = Convert::contiguous(DType::Bf16, DType::F32, 1000);
    let values: Vec<u32> = (0..1000u32)
        .map(|i| (1.0 + i as f32 / 1000.0).to_bits())
        .collect();
    let mut expected: Option<Vec<u32>> = None;
    for device in devices {
        for cap in [None, Some(100)] {
            if let (Some(gpu), Some(cap)) = (device.as_gpu(), cap) {
                gpu.set_work_cap(cap);
            }
            let mut program = Program::new(device);
            let x = program.buffer(1000).expect("a buffer");
            let half = program.buffer(500).expect("a buffer");
            assert_eq!(program.bytes(), 6000);
            program.push(op, &[x, half]).expect("encode");
            program.push(back, &[half, x]).expect("decode");
            assert!(matches!(
                program.push(Copy::new(500), &[half, half]),
                Err(Error::Aliased { .. })
            ));
            assert!(matches!(
                program.push(Copy::new(501), &[half, x]),
                Err(Error::TooSmall { .. })
            ));
            program.write(x, &values).expect("a write");
            for number in 0..3 {
                program.run(&StepValues::new(5, number)).expect("a run");
            }
            let words = pollster::block_on(async {
                let read = program.read(half);
                if let Some(gpu) = device.as_gpu().filter(|gpu| !gpu.is_owned()) {
                    // Borrowed: somebody must poll while the read waits.
                    let gpu = gpu.clone();
                    std::thread::spawn(move || {
                        for _ in 0..50 {
                            gpu.wait().expect("a wait");
                            std::thread::sleep(std::time::Duration::from_millis(20));
                        }
                    });
                }
                read.await
            })
            .expect("words");
            let words = words.words().to_vec();
            match &expected {
                None => expected = Some(words),
                Some(expected) => assert_eq!(&words, expected, "{} with cap {cap:?}", device.describe()),
            }
        }
    }
}

fn codes_and_integers_go_up_and_come_back_bit_for_bit(devices: &[Device]) {
    use half::bf16;
    // Signalling NaNs, subnormals and zeros of both signs among them.
    let codes: Vec<bf16> = (0..21u16)
        .map(|i| bf16::from_bits(i.wrapping_mul(0x0c35) ^ 0x7f81))
        .chain([0x7f81, 0xff81, 1, 0x8000, 0].map(bf16::from_bits))
        .collect();
    let bits = |codes: &[bf16]| -> Vec<u16> { codes.iter().map(|code| code.to_bits()).collect() };
    let integers: Vec<u32> = (0..26u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
    for device in devices {
        let x = device.from_bf16(&[2, 13], &codes).expect("codes");
        assert_eq!(x.dtype(), Some(DType::Bf16));
        let back = x.read_bf16_blocking().expect("codes");
        assert_eq!(bits(&back), bits(&codes), "{}", device.describe());
        let wide: Vec<u32> = x
            .read_blocking()
            .expect("values")
            .into_iter()
            .map(f32::to_bits)
            .collect();
        let want: Vec<u32> = codes.iter().map(|code| u32::from(code.to_bits()) << 16).collect();
        assert_eq!(wide, want, "{}", device.describe());
        let y = device.from_u32(&[2, 13], &integers).expect("integers");
        assert_eq!(y.read_u32_blocking().expect("integers"), integers);
        assert!(matches!(y.read_blocking(), Err(Error::DType { .. })));
        assert!(matches!(y.read_bf16_blocking(), Err(Error::DType { .. })));
        assert!(matches!(x.read_u32_blocking(), Err(Error::DType { .. })));
        assert!(matches!(device.from_bf16(&[3], &codes), Err(Error::Shape { .. })));
    }
}

fn an_operation_runs_over_words_on_every_device_and_in_every_variant(devices: &[Device]) {
    let op = Convert::contiguous(DType::F32, DType::Bf16, 37).with_rounding(
        Rounding::Stochastic,
        Draw {
            seed: 3,
            ..Draw::default()
        },
    );
    let x: Vec<u32> = (0..40).map(|i| (1.0 + i as f32 / 300.0).to_bits()).collect();
    let y = [0xdead_beef_u32; 21];
    let want = Device::reference()
        .run_words_blocking(&op, &[&x, &y], Some("reference"))
        .expect("words");
    assert_eq!((want[0].len(), want[1].len()), (40, 21));
    assert_eq!(want[0], x);
    assert_eq!(want[1][20], 0xdead_beef, "past the operand nothing is written");
    for device in devices {
        let mut variants: Vec<Option<&str>> = vec![None];
        if let Some(gpu) = device.as_gpu() {
            variants.extend(op.variants(gpu, fewbit::gpu::Offsets::Vec4).into_iter().map(Some));
            assert!(variants.len() > 1);
        }
        for variant in variants {
            let got = device.run_words_blocking(&op, &[&x, &y], variant).expect("words");
            assert_eq!(got, want, "{} {variant:?}", device.describe());
        }
        let unknown = device.run_words_blocking(&op, &[&x, &y], Some("nosuch"));
        assert!(
            matches!(unknown, Err(Error::Value { what: "variant", .. })),
            "{unknown:?}"
        );
        let short = device.run_words_blocking(&op, &[&x[..36], &y], None);
        assert!(matches!(short, Err(Error::TooSmall { .. })), "{short:?}");
        let few = device.run_words_blocking(&op, &[&x], None);
        assert!(matches!(few, Err(Error::Operands { .. })), "{few:?}");
    }
}

fn a_buffer_of_another_program_is_refused(devices: &[Device]) {
    for device in devices {
        let mut one = Program::new(device);
        let mut other = Program::new(device);
        let a = one.buffer(4).expect("a buffer");
        let b = one.buffer(4).expect("a buffer");
        let foreign = [0, 1].map(|_| other.buffer(4).expect("a buffer"));
        assert_ne!(a, foreign[0]);
        let pushed = one.push(Copy::new(4), &[a, foreign[1]]);
        assert!(
            matches!(pushed, Err(Error::Value { what: "buffer", .. })),
            "{pushed:?}"
        );
        assert!(one.is_empty());
        let written = one.write(foreign[0], &[1; 4]);
        assert!(matches!(written, Err(Error::Value { .. })), "{written:?}");
        let read = pollster::block_on(one.read(foreign[0]));
        assert!(matches!(read, Err(Error::Value { .. })), "{read:?}");
        one.push(Copy::new(4), &[a, b]).expect("its own buffers");
    }
}
