//! The low door: plans record into a caller's encoder over caller-owned buffers, and a kernel written outside
//! the crate works like a built-in one.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "low_door/meet.rs"]
mod meet;
#[path = "low_door/outside.rs"]
mod outside;
#[path = "low_door/refused.rs"]
mod refused;

use common::{Suite, foreign, open, open_adapter, opengl_adapter};

use fewbit::gpu::{
    AdapterChoice, Gpu, GpuOptions, Offsets, Operand, PlanRequest, ReadBack, StepBuffer, StepValues,
};
use fewbit::kernels::{Ceiling, CeilingKind, Convert, Copy, Spmv};
use fewbit::op::{Args, Op};
use fewbit::tensor::DType;
use fewbit::{Device, Error, wgpu};
use outside::a_kernel_from_outside_the_crate_runs;

fn main() {
    common::compile_quickly();
    let mut suite = Suite::new();
    for (name, test) in MEET {
        suite = suite.gpu(name, *test);
    }
    suite
        .cpu(
            "devices_that_are_no_gpu_lend_and_borrow_nothing",
            refused::devices_that_are_no_gpu_lend_and_borrow_nothing,
        )
        .gpu_and_opengl(
            "buffers_of_opengl_make_no_tensor_elsewhere",
            refused::buffers_of_opengl_make_no_tensor_elsewhere,
        )
        .gpu(
            "records_into_a_foreign_encoder_at_odd_offsets_with_foreign_leading_dimensions",
            records_into_a_foreign_encoder_at_odd_offsets_with_foreign_leading_dimensions,
        )
        .gpu(
            "step_values_change_between_two_records_of_one_submit",
            step_values_change_between_two_records_of_one_submit,
        )
        .gpu(
            "every_bad_operand_is_a_typed_error",
            every_bad_operand_is_a_typed_error,
        )
        .gpu(
            "more_turns_than_a_loop_may_make_are_refused",
            more_turns_than_a_loop_may_make_are_refused,
        )
        .gpu("a_lost_device_is_an_error", a_lost_device_is_an_error)
        .gpu(
            "buffers_and_step_values_of_another_gpu_are_refused",
            buffers_and_step_values_of_another_gpu_are_refused,
        )
        .gpu_and_opengl(
            "buffers_of_opengl_and_of_others_do_not_mix",
            buffers_of_opengl_and_of_others_do_not_mix,
        )
        .gpu(
            "a_destroyed_device_is_lost_at_the_next_call",
            a_destroyed_device_is_lost_at_the_next_call,
        )
        .cpu("a_kernel_from_outside_the_crate_runs_on_the_host", || {
            a_kernel_from_outside_the_crate_runs(vec![Device::reference(), Device::cpu()]);
        })
        .gpu(
            "a_kernel_from_outside_the_crate_runs_on_a_gpu_and_checked_finds_a_wrong_one",
            || {
                a_kernel_from_outside_the_crate_runs(vec![common::high()]);
            },
        )
        .run();
}

const MEET: &[(&str, fn())] = &[
    (
        "a_buffer_that_ends_inside_a_vector_is_refused_or_read_word_for_word",
        meet::a_buffer_that_ends_inside_a_vector_is_refused_or_read_word_for_word,
    ),
    (
        "a_tensor_lies_in_a_callers_buffer_at_any_offset",
        meet::a_tensor_lies_in_a_callers_buffer_at_any_offset,
    ),
    (
        "every_kernel_keeps_to_its_pieces",
        meet::every_kernel_keeps_to_its_pieces,
    ),
    (
        "a_clone_never_writes_to_the_callers_buffer",
        meet::a_clone_never_writes_to_the_callers_buffer,
    ),
    (
        "a_callers_buffer_is_never_pooled_nor_destroyed",
        meet::a_callers_buffer_is_never_pooled_nor_destroyed,
    ),
    (
        "missing_usages_are_typed_errors_and_lose_nothing",
        refused::missing_usages_are_typed_errors_and_lose_nothing,
    ),
    (
        "every_bad_piece_is_a_typed_error",
        refused::every_bad_piece_is_a_typed_error,
    ),
    (
        "buffers_of_another_device_make_no_tensor",
        refused::buffers_of_another_device_make_no_tensor,
    ),
    (
        "a_lost_device_lends_and_borrows_nothing",
        refused::a_lost_device_lends_and_borrows_nothing,
    ),
    (
        "a_tensor_is_lent_to_the_low_door",
        meet::a_tensor_is_lent_to_the_low_door,
    ),
    (
        "a_program_runs_over_a_callers_buffers",
        meet::a_program_runs_over_a_callers_buffers,
    ),
];

fn buffer(device: &wgpu::Device, words: &[u32]) -> wgpu::Buffer {
    use wgpu::util::DeviceExt as _;
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(words),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    })
}

fn records_into_a_foreign_encoder_at_odd_offsets_with_foreign_leading_dimensions() {
    let (device, queue) = foreign();
    let gpu = Gpu::from_wgpu(&device, &queue);
    // 3 rows of 5, f32 with ld 7, to bf16 with ld 6; operands start 12 and 20 bytes into their buffers.
    let mut op = Convert::new(3, 5, DType::F32, DType::Bf16);
    (op.src_ld, op.dst_ld) = (7, 6);
    let mut source = vec![0xdead_beefu32; 3 + 3 * 7];
    for row in 0..3 {
        for col in 0..5 {
            source[3 + row * 7 + col] = ((row * 5 + col) as f32 + 0.5).to_bits();
        }
    }
    let source = buffer(&device, &source);
    let target = buffer(&device, &[0xffff_ffff; 5 + 9 + 2]);
    let plan = op
        .plan(&gpu, &PlanRequest::default().offsets(Offsets::Any))
        .expect("a plan");
    let bound = plan
        .bind(&[
            Operand::new(&source, 12, 21 * 4),
            Operand::new(&target, 20, 9 * 4),
        ])
        .expect("bound operands");
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        // The caller's own pass, with the caller's own work around ours.
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        bound.record(&mut pass);
        bound.record(&mut pass);
    }
    let back = ReadBack::record(&gpu, &mut encoder, &target, 0, 16).expect("a read-back");
    queue.submit([encoder.finish()]);
    let words = back.read_blocking().expect("words");
    let words = words.words();
    assert_eq!(&words[..5], &[0xffff_ffff; 5], "words before the operand");
    assert_eq!(&words[14..], &[0xffff_ffff; 2], "words after the operand");
    for row in 0..3 {
        for col in 0..5 {
            let word = words[5 + row * 3 + col / 2];
            let half = (word >> (16 * (col % 2))) & 0xffff;
            assert_eq!(
                f32::from_bits(half << 16),
                (row * 5 + col) as f32 + 0.5,
                "row {row}, column {col}"
            );
        }
        assert_eq!(
            words[5 + row * 3 + 2] >> 16,
            0,
            "the half beside the last column of row {row}"
        );
    }
}

fn step_values_change_between_two_records_of_one_submit() {
    let (device, queue) = foreign();
    let gpu = Gpu::from_wgpu(&device, &queue);
    use fewbit::format::{Rounding, random::Draw};
    let op =
        Convert::contiguous(DType::F32, DType::Bf16, 64).with_rounding(Rounding::Stochastic, Draw::default());
    let source = buffer(&device, &[0x3f80_8000; 64]);
    let targets = [
        buffer(&device, &[0; 32]),
        buffer(&device, &[0; 32]),
        buffer(&device, &[0; 32]),
    ];
    let plan = op.plan(&gpu, &PlanRequest::default()).expect("a plan");
    let step = fewbit::gpu::StepBuffer::new(&gpu, &[], &StepValues::default()).expect("a step buffer");
    let bounds: Vec<_> = targets
        .iter()
        .map(|target| {
            let operands = [Operand::whole(&source), Operand::whole(target)];
            plan.bind_with(&operands, None, Some(&step))
                .expect("bound operands")
        })
        .collect();
    let at = |number| StepValues::new(9, number);
    let mut encoder = gpu.encoder("one submit");
    step.update(&mut encoder, &at(1)).expect("an update");
    bounds[0].encode(&mut encoder);
    step.update(&mut encoder, &at(2)).expect("an update");
    bounds[1].encode(&mut encoder);
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        step.update_in_pass(&mut pass, &at(3))
            .expect("an update inside a pass");
        bounds[2].record(&mut pass);
    }
    let backs: Vec<_> = targets
        .iter()
        .map(|target| ReadBack::record(&gpu, &mut encoder, target, 0, 32).expect("a read-back"))
        .collect();
    queue.submit([encoder.finish()]);
    for (number, back) in (1..).zip(backs) {
        let got = back.read_blocking().expect("words");
        let mut want = vec![0u32; 32];
        let operands = vec![
            fewbit::op::Arg::Read(&[0x3f80_8000; 64]),
            fewbit::op::Arg::Write(&mut want),
        ];
        op.reference(Args::new(operands, at(number)))
            .expect("the reference");
        assert_eq!(got.words(), want, "step {number}");
    }
}

fn every_bad_operand_is_a_typed_error() {
    let (device, queue) = foreign();
    let gpu = Gpu::from_wgpu(&device, &queue);
    let plan = Copy::new(16).plan(&gpu, &PlanRequest::default()).expect("a plan");
    let a = buffer(&device, &[1; 64]);
    let b = buffer(&device, &[1; 64]);
    let plain = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 256,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let whole = Operand::whole;
    assert!(matches!(
        plan.bind(&[whole(&a)]),
        Err(Error::Operands {
            expected: 2,
            got: 1,
            ..
        })
    ));
    assert!(matches!(
        plan.bind(&[whole(&a), whole(&a)]),
        Err(Error::Aliased { .. })
    ));
    let short = Operand::new(&b, 200, 56);
    assert!(matches!(
        plan.bind(&[whole(&a), short]),
        Err(Error::TooSmall {
            needed: 64,
            got: 56,
            ..
        })
    ));
    let past = Operand::new(&b, 1000, 64);
    assert!(matches!(
        plan.bind(&[whole(&a), past]),
        Err(Error::TooSmall { got: 0, .. })
    ));
    let odd = Operand::new(&b, 2, 64);
    assert!(matches!(
        plan.bind(&[whole(&a), odd]),
        Err(Error::Alignment { multiple: 4, .. })
    ));
    let off = Operand::new(&b, 4, 64);
    assert!(matches!(
        plan.bind(&[whole(&a), off]),
        Err(Error::Alignment { multiple: 16, .. })
    ));
    let usage = plan.bind(&[whole(&a), whole(&plain)]);
    assert!(
        matches!(usage, Err(Error::Usage { usage: "STORAGE", .. })),
        "{usage:?}"
    );
    let request = PlanRequest::default().variant("nonesuch");
    assert!(matches!(
        Copy::new(16).plan(&gpu, &request),
        Err(Error::Value { what: "variant", .. })
    ));
    let f64 = Convert::contiguous(DType::F64, DType::F32, 4).plan(&gpu, &PlanRequest::default());
    assert!(matches!(f64, Err(Error::Unsupported { .. })));
}

fn more_turns_than_a_loop_may_make_are_refused() {
    let (device, queue) = foreign();
    let gpu = Gpu::from_wgpu(&device, &queue);
    gpu.set_turn_cap(100);
    let refused = |op: &dyn Op, variant, turns| {
        let mut request = PlanRequest::default();
        request.variant = variant;
        let plan = op.plan(&gpu, &request);
        let expected = matches!(plan, Err(Error::Limit { value, limit: 100, .. }) if value == turns);
        assert!(expected, "{}: {plan:?}", op.describe());
    };
    // Chains are what is measured: they cannot be cut.
    let chains = Ceiling::new(CeilingKind::Integer, 1, 100);
    refused(&chains, None, 101);
    // One row that no variant can walk in so few turns; where it is not known to be short, nothing else can be said.
    let row = Spmv::new(1, 9, 1 << 20, [DType::U32, DType::F32, DType::F32]);
    refused(&row, Some("scalar"), (1 << 20) + 1);
}

fn a_lost_device_is_an_error() {
    let (device, queue) = foreign();
    let gpu = Gpu::from_wgpu(&device, &queue);
    gpu.notify_lost("the cable was pulled");
    let error = Copy::new(4)
        .plan(&gpu, &PlanRequest::default())
        .expect_err("a lost device plans nothing");
    assert!(
        matches!(&error, Error::DeviceLost { reason, .. } if reason.contains("cable")),
        "{error}"
    );

    let mut options = GpuOptions::default();
    options.adapter = AdapterChoice::Any;
    let owned = common::open_with(&options);
    owned.device().destroy();
    let device = Device::from_gpu(owned);
    let error = device
        .from_f32(&[4], &[1.0; 4])
        .and_then(|tensor| tensor.read_blocking())
        .expect_err("a destroyed device reads nothing");
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
}

/// Buffers of one device and a plan of another: refused, and nothing is written to the buffers of the same number.
fn buffers_and_step_values_of_another_gpu_are_refused() {
    let mut options = GpuOptions::default();
    options.adapter = AdapterChoice::Any;
    let open = || common::open_with(&options);
    let (one, other) = (open(), open());
    let make = |gpu: &Gpu, first: u32| -> [wgpu::Buffer; 2] {
        [first, first + 1].map(|word| {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
            gpu.buffer_with("words", &[word; 8], usage).expect("a buffer")
        })
    };
    let (mine, foreign) = (make(&one, 1), make(&other, 11));
    let plan = Copy::new(8).plan(&one, &PlanRequest::default()).expect("a plan");
    let bound = plan.bind(&[Operand::whole(&foreign[0]), Operand::whole(&foreign[1])]);
    assert!(
        matches!(bound, Err(Error::Gpu { .. } | Error::OtherDevice { .. })),
        "{bound:?}"
    );
    let step = StepBuffer::new(&other, &[], &StepValues::default()).expect("step values");
    let bound = plan.bind_with(
        &[Operand::whole(&mine[0]), Operand::whole(&mine[1])],
        None,
        Some(&step),
    );
    assert!(matches!(bound, Err(Error::OtherDevice { .. })), "{bound:?}");
    // A read-back of a foreign buffer fails where its encoder is submitted.
    let mut encoder = one.encoder("read back");
    let back = ReadBack::record(&one, &mut encoder, &foreign[0], 0, 8);
    let sent = back.and_then(|_| one.submit("read back", encoder));
    assert!(
        matches!(sent, Err(Error::Gpu { .. } | Error::OtherDevice { .. })),
        "{sent:?}"
    );
    for (gpu, buffers, first) in [(&one, &mine, 1), (&other, &foreign, 11)] {
        for (buffer, word) in buffers.iter().zip(first..) {
            let mut encoder = gpu.encoder("read back");
            let back = ReadBack::record(gpu, &mut encoder, buffer, 0, 8).expect("a read-back");
            gpu.submit("read back", encoder).expect("a submit");
            assert_eq!(back.read_blocking().expect("words").words(), [word; 8]);
        }
    }
}

/// OpenGL has an instance of its own beside that of the others, and its buffers count from the same number.
fn buffers_of_opengl_and_of_others_do_not_mix() {
    let (native, gl) = (open(), open_adapter(opengl_adapter()));
    let plan = Copy::new(8)
        .plan(&native, &PlanRequest::default())
        .expect("a plan");
    let buffers = [0, 1].map(|_| gl.buffer("words", 32).expect("a buffer"));
    let bound = plan.bind(&[Operand::whole(&buffers[0]), Operand::whole(&buffers[1])]);
    assert!(matches!(bound, Err(Error::OtherDevice { .. })), "{bound:?}");
    let buffers = [0, 1].map(|_| native.buffer("words", 32).expect("a buffer"));
    let plan = Copy::new(8).plan(&gl, &PlanRequest::default()).expect("a plan");
    let bound = plan.bind(&[Operand::whole(&buffers[0]), Operand::whole(&buffers[1])]);
    assert!(matches!(bound, Err(Error::OtherDevice { .. })), "{bound:?}");
}

fn a_destroyed_device_is_lost_at_the_next_call() {
    let mut options = GpuOptions::default();
    options.adapter = AdapterChoice::Any;
    let open = || {
        let gpu = common::open_with(&options);
        let buffer = gpu.buffer("words", 32).expect("a buffer");
        let plan = Copy::new(4).plan(&gpu, &PlanRequest::default()).expect("a plan");
        (gpu, buffer, plan)
    };
    let (gpu, ..) = open();
    gpu.device().destroy();
    let made = gpu.buffer("words", 32);
    assert!(matches!(made, Err(Error::DeviceLost { .. })), "{made:?}");
    let (gpu, buffer, plan) = open();
    gpu.device().destroy();
    let bound = plan.bind(&[Operand::new(&buffer, 0, 16), Operand::whole(&buffer)]);
    assert!(bound.is_err());
    let (gpu, ..) = open();
    let encoder = gpu.encoder("nothing");
    gpu.device().destroy();
    let sent = gpu.submit("nothing", encoder);
    assert!(matches!(sent, Err(Error::DeviceLost { .. })), "{sent:?}");
    let (gpu, ..) = open();
    gpu.device().destroy();
    let waited = gpu.wait();
    assert!(matches!(waited, Err(Error::DeviceLost { .. })), "{waited:?}");
}
