//! The high door: the same tensors and calls on every device.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "high_door/codes.rs"]
mod codes;
mod common;
#[path = "high_door/conditions.rs"]
mod conditions;
#[cfg(feature = "nn")]
#[path = "high_door/images.rs"]
mod images;
#[path = "high_door/program.rs"]
mod program;

use common::{Suite, foreign};

use fewbit::format::{Rounding, random::Draw};
use fewbit::gpu::{Gpu, StepValues};
use fewbit::kernels::{Convert, Copy};
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error};

fn main() {
    let mut suite = Suite::new();
    for (name, test) in TESTS {
        suite = suite
            .cpu(&format!("{name}::host"), move || test(&host()))
            .gpu(&format!("{name}::gpu"), move || test(&gpus()));
    }
    suite
        .gpu_and_opengl("calls_run_where_a_word_says_so::opengl", || {
            let gpu = common::open_adapter(common::opengl_adapter());
            conditions::calls_run_where_a_word_says_so(&[Device::from_gpu(gpu)]);
        })
        .run();
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
        "codes_and_integers_go_up_and_come_back_bit_for_bit",
        codes_and_integers_go_up_and_come_back_bit_for_bit,
    ),
    (
        "an_operation_runs_over_words_on_every_device_and_in_every_variant",
        an_operation_runs_over_words_on_every_device_and_in_every_variant,
    ),
    (
        "a_program_gives_the_same_bits_on_every_device_and_with_work_cut_small",
        program::a_program_gives_the_same_bits_on_every_device_and_with_work_cut_small,
    ),
    (
        "tensors_and_calls_of_another_program_are_refused",
        program::tensors_and_calls_of_another_program_are_refused,
    ),
    (
        "a_snapshot_keeps_what_it_held",
        program::a_snapshot_keeps_what_it_held,
    ),
    #[cfg(feature = "nn")]
    (
        "a_convolution_is_a_product_over_patches",
        images::a_convolution_is_a_product_over_patches,
    ),
    #[cfg(feature = "nn")]
    (
        "patches_that_do_not_fit_are_typed_errors",
        images::patches_that_do_not_fit_are_typed_errors,
    ),
    ("views_share_memory", program::views_share_memory),
    #[cfg(feature = "sparse")]
    (
        "a_call_takes_every_part_of_a_tensor",
        program::a_call_takes_every_part_of_a_tensor,
    ),
    (
        "parts_of_a_program_run_alone",
        program::parts_of_a_program_run_alone,
    ),
    (
        "calls_run_where_a_word_says_so",
        conditions::calls_run_where_a_word_says_so,
    ),
    (
        "conditions_that_no_word_meets_are_refused",
        conditions::conditions_that_no_word_meets_are_refused,
    ),
    #[cfg(feature = "nn")]
    (
        "step_values_are_fed_from_tensors",
        conditions::step_values_are_fed_from_tensors,
    ),
    (
        "codes_of_every_layout_come_back_bit_for_bit",
        codes::codes_of_every_layout_come_back_bit_for_bit,
    ),
    (
        "codes_that_do_not_fit_are_typed_errors",
        codes::codes_that_do_not_fit_are_typed_errors,
    ),
    (
        "writes_replace_contents_and_spare_clones",
        codes::writes_replace_contents_and_spare_clones,
    ),
];

fn host() -> Vec<Device> {
    vec![Device::reference(), Device::cpu(), Device::checked(Device::cpu())]
}

/// With the reference, to compare with.
fn gpus() -> Vec<Device> {
    let gpu = common::high();
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
    let other = StepValues::new(4, 9);
    let later = Device::reference()
        .run_words_step_blocking(&op, &[&x, &y], None, &other)
        .expect("words");
    assert_ne!(later, want, "another seed and step");
    let same = Device::reference()
        .run_words_step_blocking(&op, &[&x, &y], None, &StepValues::new(3, 0))
        .expect("words");
    assert_eq!(same, want, "the step values it was made with");
    for device in devices {
        let names = device.variants(&op).expect("variants");
        match (device.as_gpu(), device.as_cpu()) {
            (Some(_), _) => assert!(names.len() > 1, "{names:?}"),
            (_, Some(cpu)) => assert_eq!(names, [cpu.level().name()]),
            _ => assert_eq!(names, ["reference"]),
        }
        let variants = names.iter().map(|name| Some(name.as_str()));
        for variant in variants.chain([None]) {
            let got = device.run_words_blocking(&op, &[&x, &y], variant).expect("words");
            assert_eq!(got, want, "{} {variant:?}", device.describe());
            let got = device
                .run_words_step_blocking(&op, &[&x, &y], variant, &other)
                .expect("words");
            assert_eq!(got, later, "{} {variant:?}", device.describe());
        }
        let wide = Convert::contiguous(DType::F64, DType::F32, 4);
        match device.as_gpu() {
            Some(_) => assert!(matches!(device.variants(&wide), Err(Error::Unsupported { .. }))),
            None => assert_eq!(device.variants(&wide).expect("variants").len(), 1),
        }
        let bad = Convert::contiguous(DType::F32, DType::F32, 4);
        assert!(matches!(device.variants(&bad), Err(Error::DType { .. })));
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
