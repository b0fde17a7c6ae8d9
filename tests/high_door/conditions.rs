//! Calls that run where a word of a tensor says so, and step values that are words of tensors.

use fewbit::device::{Condition, Program, TensorId};
use fewbit::gpu::StepValues;
use fewbit::kernels::Copy;
#[cfg(feature = "nn")]
use fewbit::kernels::Sgd;
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error};

/// Words of a call: several dispatches where work is cut small.
const LEN: usize = 1000;

fn words(program: &mut Program, count: usize) -> TensorId {
    program
        .zeros(Layout::dense(DType::U32, &[count]))
        .expect("a tensor")
}

/// A source, flags, and three targets with their copies: on word 1 being 3, on two bits of it, and on word 0.
struct Conditional {
    program: Program,
    flags: TensorId,
    next: TensorId,
    targets: [TensorId; 3],
}

impl Conditional {
    /// With the last copy after a call that takes flags from `next`.
    fn new(device: &Device) -> Self {
        let mut program = Program::new(device);
        let source = words(&mut program, LEN);
        let (flags, next) = (words(&mut program, 2), words(&mut program, 2));
        let targets = [0, 1, 2].map(|_| words(&mut program, LEN));
        let filled: Vec<u32> = (1..=LEN as u32).collect();
        program.write_words(source, &[&filled]).expect("a write");
        let copy = Copy::new(LEN as u64);
        let conditions = [
            Condition::equal(flags, 1, 3),
            Condition::equal(flags, 1, 4).masked(6),
            Condition::equal(flags, 0, 1),
        ];
        for (at, condition) in conditions.into_iter().enumerate() {
            if at == 2 {
                program.when(None).expect("no condition");
                program.call(Copy::new(2), &[next, flags]).expect("a call");
            }
            program.when(Some(condition)).expect("a condition");
            // Something else first, to be exchanged.
            let call = program.call(Copy::new(1), &[source, targets[at]]);
            program
                .exchange(call.expect("a call"), copy, &[source, targets[at]])
                .expect("an exchange");
        }
        Self {
            program,
            flags,
            next,
            targets,
        }
    }

    /// Which copies a run makes with these flags, and with those after them.
    fn copied(&mut self, flags: [u32; 2], next: [u32; 2]) -> [bool; 3] {
        let program = &mut self.program;
        program.write_codes(self.flags, &[&flags]).expect("a write");
        program.write_codes(self.next, &[&next]).expect("a write");
        for target in self.targets {
            program.write_words(target, &[&[0; LEN]]).expect("a write");
        }
        program.run(&StepValues::default()).expect("a run");
        self.targets.map(|target| {
            let read = program.tensor(target).expect("a tensor").read_part_blocking(0);
            let read = read.expect("words").words()[..LEN].to_vec();
            let all = (1..=LEN as u32).collect::<Vec<_>>();
            assert!(read == all || read == [0; LEN], "a part of a copy");
            read == all
        })
    }
}

pub(crate) fn calls_run_where_a_word_says_so(devices: &[Device]) {
    for device in devices {
        for cap in [None, Some(300)] {
            let usual = device.as_gpu().map(fewbit::gpu::Gpu::work_cap);
            if let (Some(gpu), Some(cap)) = (device.as_gpu(), cap) {
                gpu.set_work_cap(cap);
            }
            let mut conditional = Conditional::new(device);
            let name = device.describe();
            let mut holds = |flags, next, want| {
                assert_eq!(conditional.copied(flags, next), want, "{name} {flags:?} {next:?}");
            };
            holds([0, 0], [0, 0], [false, false, false]);
            holds([0, 3], [1, 3], [true, false, true]);
            // Flags that the run itself changes hold from there on.
            holds([1, 3], [0, 4], [true, false, false]);
            holds([0, 0xff0c], [1, 0], [false, true, true]);
            holds([1, 6], [2, 0], [false, false, false]);
            // What is recorded for flags that have moved goes by where they are now.
            let before = conditional.program.tensor(conditional.flags).expect("a snapshot");
            assert_eq!(conditional.copied([0, 3], [1, 1]), [true, false, true], "{name}");
            drop(before);
            assert_eq!(conditional.copied([0, 1], [0, 1]), [false; 3], "{name}");
            if let (Some(gpu), Some(usual)) = (device.as_gpu(), usual) {
                gpu.set_work_cap(usual);
            }
        }
    }
}

pub(crate) fn conditions_that_no_word_meets_are_refused(devices: &[Device]) {
    for device in devices {
        let mut program = Program::new(device);
        let flags = words(&mut program, 2);
        let floats = program.zeros(Layout::dense(DType::F32, &[2])).expect("a tensor");
        let foreign = words(&mut Program::new(device), 2);
        let past = program
            .layout(flags)
            .map(|layout| layout.parts()[0].words)
            .expect("a layout");
        for (condition, what) in [
            (Condition::equal(foreign, 0, 1), "tensor"),
            (Condition::equal(floats, 0, 1), "tensor"),
            (Condition::equal(flags, past, 1), "word"),
            (Condition::equal(flags, u64::MAX, 1), "word"),
            (Condition::equal(flags, 0, 9).masked(7), "value"),
        ] {
            let refused = program.when(Some(condition));
            assert_eq!(refusal(refused), Some(what), "{condition:?}");
        }
        for (tensor, word, what) in [
            (flags, 0, "tensor"),
            (floats, 1 << 40, "word"),
            (foreign, 0, "tensor"),
        ] {
            let refused = program.feed("learning_rate", tensor, word);
            assert_eq!(refusal(refused), Some(what), "{word}");
        }
    }
}

/// What is refused.
fn refusal(outcome: fewbit::Result<()>) -> Option<&'static str> {
    match outcome {
        Err(Error::Value { what, .. } | Error::Limit { what, .. }) => Some(what),
        _ => None,
    }
}

/// A rate that an earlier call of the run writes, and one that the host has written.
#[cfg(feature = "nn")]
pub(crate) fn step_values_are_fed_from_tensors(devices: &[Device]) {
    for device in devices {
        let mut program = Program::new(device);
        let mut floats = |values: &[f32]| {
            let tensor = device.from_f32(&[values.len()], values).expect("a tensor");
            program.adopt(tensor).expect("a tensor of the program")
        };
        let (rates, later) = (floats(&[9.0, 0.5]), floats(&[7.0, 0.25]));
        let (gradient, velocity) = (floats(&[1.0]), floats(&[0.0]));
        let (first, second) = (floats(&[0.0]), floats(&[0.0]));
        program.feed("learning_rate", rates, 1).expect("a feed");
        let sgd = Sgd::new(1, 1, [DType::F32; 3]);
        program
            .call(sgd.clone(), &[gradient, first, velocity])
            .expect("a call");
        program.call(Copy::new(2), &[later, rates]).expect("a call");
        program.call(sgd, &[gradient, second, velocity]).expect("a call");
        let values = StepValues::new(0, 1)
            .with("momentum", 0.0)
            .with("weight_decay", 0.0)
            .with("learning_rate", 100.0);
        let weights = |program: &mut Program| {
            program.run(&values).expect("a run");
            [first, second].map(|id| {
                let tensor = program.tensor(id).expect("a tensor");
                tensor.read_blocking().expect("values")[0]
            })
        };
        let name = device.describe();
        assert_eq!(weights(&mut program), [-0.5, -0.25], "{name}");
        assert_eq!(weights(&mut program), [-0.75, -0.5], "{name}");
        program
            .write_codes(rates, &[&[0f32.to_bits(), 4f32.to_bits()]])
            .expect("a write");
        assert_eq!(weights(&mut program), [-4.75, -0.75], "{name}");
    }
}
