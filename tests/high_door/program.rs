//! Programs: the same calls on every device, and what they share with tensors outside.

use fewbit::device::Program;
use fewbit::format::{Rounding, random::Draw};
use fewbit::gpu::StepValues;
#[cfg(feature = "sparse")]
use fewbit::kernels::Spmv;
use fewbit::kernels::{Convert, Copy};
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error};

fn floats(len: usize) -> Layout {
    Layout::dense(DType::F32, &[len])
}

pub(crate) fn a_program_gives_the_same_bits_on_every_device_and_with_work_cut_small(devices: &[Device]) {
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
            let x = program.zeros(floats(1000)).expect("a tensor");
            let layout = Layout::dense(DType::Bf16, &[1000]);
            let half = program.zeros(layout.clone()).expect("a tensor");
            assert_eq!(program.bytes(), 6000);
            assert_eq!(program.layout(half).expect("a layout"), &layout);
            program.call(op, &[x, half]).expect("encode");
            program.call(back, &[half, x]).expect("decode");
            assert!(matches!(
                program.call(Copy::new(500), &[half, half]),
                Err(Error::Aliased { .. })
            ));
            assert!(matches!(
                program.call(Copy::new(501), &[half, x]),
                Err(Error::TooSmall { .. })
            ));
            assert!(matches!(
                program.call(Copy::new(500), &[half]),
                Err(Error::Operands { .. })
            ));
            assert_eq!(program.len(), 2);
            program.write_words(x, &[&values]).expect("a write");
            for number in 0..3 {
                program.run(&StepValues::new(5, number)).expect("a run");
            }
            let words = pollster::block_on(async {
                let half = program.tensor(half).expect("a tensor");
                let read = half.read_part(0);
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

pub(crate) fn tensors_and_calls_of_another_program_are_refused(devices: &[Device]) {
    for device in devices {
        let mut one = Program::new(device);
        let mut other = Program::new(device);
        let a = one.zeros(floats(4)).expect("a tensor");
        let b = one.zeros(floats(4)).expect("a tensor");
        let foreign = [0, 1].map(|_| other.zeros(floats(4)).expect("a tensor"));
        let call = other
            .call(Copy::new(4), &[foreign[0], foreign[1]])
            .expect("a call");
        assert_ne!(a, foreign[0]);
        let step = StepValues::default();
        for refused in [
            one.call(Copy::new(4), &[a, foreign[1]]).map(|_| ()),
            one.write_words(foreign[0], &[&[1; 4]]),
            one.write_codes(foreign[0], &[&[1u32; 4]]),
            one.tensor(foreign[0]).map(|_| ()),
            one.layout(foreign[0]).map(|_| ()),
            one.view(foreign[0], floats(2)).map(|_| ()),
        ] {
            assert!(
                matches!(refused, Err(Error::Value { what: "tensor", .. })),
                "{refused:?}"
            );
        }
        assert!(one.is_empty());
        for refused in [
            one.run_range(..=call, &step),
            one.run_range(..call, &step),
            one.run_range(call.., &step),
        ] {
            assert!(
                matches!(refused, Err(Error::Value { what: "call", .. })),
                "{refused:?}"
            );
        }
        one.call(Copy::new(4), &[a, b]).expect("its own tensors");
        // A tensor of another device, and one of another shape than is written.
        let elsewhere = Device::cpu().zeros(floats(4)).expect("a tensor");
        let refused = one.adopt(elsewhere);
        assert!(matches!(refused, Err(Error::OtherDevice { .. })), "{refused:?}");
        let refused = one.write_words(a, &[&[0; 5]]);
        assert!(matches!(refused, Err(Error::TooSmall { .. })), "{refused:?}");
        let refused = one.write_codes(a, &[&[0u32; 5]]);
        assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
        let refused = one.write_codes::<u32>(a, &[]);
        assert!(matches!(refused, Err(Error::Operands { .. })), "{refused:?}");
    }
}

/// Of a program's tensors, and of tensors that were adopted.
pub(crate) fn a_snapshot_keeps_what_it_held(devices: &[Device]) {
    for device in devices {
        let name = device.describe();
        let given = device.from_f32(&[4], &[1.0, 2.0, 3.0, 4.0]).expect("a tensor");
        let mut program = Program::new(device);
        let x = program.adopt(given.clone()).expect("x");
        let y = program.zeros(floats(4)).expect("y");
        let z = program.zeros(floats(4)).expect("z");
        // Around in a circle: three runs bring x back.
        program.call(Copy::new(4), &[x, y]).expect("a call");
        program.call(Copy::new(4), &[z, x]).expect("a call");
        program.call(Copy::new(4), &[y, z]).expect("a call");
        let values = |program: &Program, id| program.tensor(id)?.read_blocking();
        let before = program.tensor(y).expect("a snapshot");
        program.run(&StepValues::default()).expect("a run");
        let after = program.tensor(y).expect("a snapshot");
        program
            .write_codes(y, &[&[9.0f32.to_bits(); 4]])
            .expect("a write");
        assert_eq!(before.read_blocking().expect("values"), [0.0; 4], "{name}");
        assert_eq!(
            after.read_blocking().expect("values"),
            [1.0, 2.0, 3.0, 4.0],
            "{name}"
        );
        assert_eq!(values(&program, y).expect("values"), [9.0; 4], "{name}");
        assert_eq!(values(&program, x).expect("values"), [0.0; 4], "{name}");
        assert_eq!(
            values(&program, z).expect("values"),
            [1.0, 2.0, 3.0, 4.0],
            "{name}"
        );
        assert_eq!(
            given.read_blocking().expect("values"),
            [1.0, 2.0, 3.0, 4.0],
            "{name}"
        );
        // The calls follow a memory that has moved.
        program.run(&StepValues::default()).expect("a run");
        assert_eq!(
            values(&program, x).expect("values"),
            [1.0, 2.0, 3.0, 4.0],
            "{name}"
        );
        assert_eq!(values(&program, y).expect("values"), [0.0; 4], "{name}");
    }
}

pub(crate) fn views_share_memory(devices: &[Device]) {
    for device in devices {
        let mut program = Program::new(device);
        let wide = program.zeros(floats(8)).expect("a tensor");
        let bytes = program.bytes();
        let narrow = program
            .view(wide, Layout::dense(DType::Bf16, &[1, 5]))
            .expect("a view");
        assert_eq!(program.bytes(), bytes);
        program
            .write_codes(narrow, &[&[1u16, 2, 3, 4, 5]])
            .expect("a write");
        let codes = program.tensor(wide).expect("wide").read_codes_blocking::<u32>(0);
        assert_eq!(codes.expect("codes"), [0x2_0001, 0x4_0003, 5, 0, 0, 0, 0, 0]);
        let part = program.tensor(narrow).expect("narrow").read_part_blocking(0);
        assert_eq!(part.expect("words").words(), [0x2_0001, 0x4_0003, 5, 0]);
        let refused = program.call(Copy::new(4), &[wide, narrow]);
        assert!(matches!(refused, Err(Error::Aliased { .. })), "{refused:?}");
        let refused = program.view(narrow, floats(8));
        assert!(matches!(refused, Err(Error::TooSmall { .. })), "{refused:?}");
        let csr = Layout::Csr {
            rows: 1,
            cols: 1,
            nnz: 1,
            index: DType::U32,
            values: DType::F32,
            longest_row: None,
        };
        let refused = program.view(wide, csr);
        assert!(matches!(refused, Err(Error::Operands { .. })), "{refused:?}");
    }
}

/// The parts of a sparse matrix are three operands.
#[cfg(feature = "sparse")]
pub(crate) fn a_call_takes_every_part_of_a_tensor(devices: &[Device]) {
    for device in devices {
        let layout = Layout::Csr {
            rows: 2,
            cols: 3,
            nnz: 3,
            index: DType::U32,
            values: DType::F32,
            longest_row: Some(2),
        };
        let values = [2.0f32, 3.0, 4.0].map(f32::to_bits);
        let matrix = device
            .from_codes(layout, &[&[0u32, 2, 3], &[0, 2, 1], &values])
            .expect("a matrix");
        let vector = device.from_f32(&[3], &[1.0, 10.0, 100.0]).expect("a vector");
        let mut program = Program::new(device);
        let a = program.adopt(matrix.clone()).expect("a");
        let x = program.adopt(vector.clone()).expect("x");
        let y = program.zeros(floats(2)).expect("y");
        let op = Spmv::new(2, 3, 3, [DType::U32, DType::F32, DType::F32]);
        program.call(op, &[a, x, y]).expect("a call");
        program.run(&StepValues::default()).expect("a run");
        let got = program.tensor(y).expect("y").read_blocking().expect("values");
        assert_eq!(got, [302.0, 40.0], "{}", device.describe());
        let direct = device.spmv(&matrix, &vector).expect("a product");
        assert_eq!(direct.read_blocking().expect("values"), got);
        let op = Spmv::new(2, 3, 3, [DType::U32, DType::F32, DType::F32]);
        let refused = program.call(op, &[x, y]);
        assert!(
            matches!(
                refused,
                Err(Error::Operands {
                    expected: 5,
                    got: 2,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

pub(crate) fn parts_of_a_program_run_alone(devices: &[Device]) {
    for device in devices {
        let mut program = Program::new(device);
        let ids = [0, 1, 2, 3].map(|_| program.zeros(floats(4)).expect("a tensor"));
        let mut call = |at: usize| {
            program
                .call(Copy::new(4), &[ids[at], ids[at + 1]])
                .expect("a call")
        };
        let calls = [call(0), call(1), call(2)];
        let step = StepValues::default();
        let seen = |program: &mut Program, value: f32, run: &dyn Fn(&mut Program) -> fewbit::Result<()>| {
            program
                .write_codes(ids[0], &[&[value.to_bits(); 4]])
                .expect("a write");
            run(program).expect("a run");
            ids.map(|id| {
                program
                    .tensor(id)
                    .expect("a tensor")
                    .read_blocking()
                    .expect("values")[0]
            })
        };
        let all = seen(&mut program, 1.0, &|program| {
            program.run_range(..=calls[1], &step)
        });
        assert_eq!(all, [1.0, 1.0, 1.0, 0.0], "{}", device.describe());
        let all = seen(&mut program, 2.0, &|program| program.run_range(..calls[1], &step));
        assert_eq!(all, [2.0, 2.0, 1.0, 0.0]);
        let all = seen(&mut program, 3.0, &|program| program.run_range(calls[1].., &step));
        assert_eq!(all, [3.0, 2.0, 2.0, 2.0]);
        // Backwards there is nothing.
        let all = seen(&mut program, 4.0, &|program| {
            program.run_range(calls[2]..calls[0], &step)
        });
        assert_eq!(all, [4.0, 2.0, 2.0, 2.0]);
        let all = seen(&mut program, 5.0, &|program| program.run(&step));
        assert_eq!(all, [5.0; 4]);
    }
}
