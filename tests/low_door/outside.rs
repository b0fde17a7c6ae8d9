//! A trio from outside the crate.

use fewbit::cpu::Cpu;
use fewbit::gpu::{
    Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues, Window, spread_groups,
};
use fewbit::ops::{Args, Class, Op, Work};
use fewbit::{Device, Error, Result};

/// y = x ^ mask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Xor {
    words: u64,
    mask: u32,
    broken: bool,
}

static XOR: Kernel = Kernel {
    name: "xor",
    sources: &["
struct Params { count: u32, mask: u32, x_offset: u32, y_offset: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.count {
        y[params.y_offset + id.x] = x[params.x_offset + id.x] ^ params.mask;
    }
}"],
    bindings: &[Binding::params(4), Binding::read("x"), Binding::write("y")],
};

impl Op for Xor {
    fn name(&self) -> &'static str {
        "xor"
    }
    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.words),
            OperandSpec::write("y", self.words),
        ]
    }
    fn check(&self) -> Result<()> {
        Ok(())
    }
    fn class(&self) -> Class {
        Class::Exact
    }
    fn work(&self) -> Work {
        Work::default()
    }
    fn variants(&self, _: &Gpu, _: Offsets) -> Vec<&'static str> {
        vec!["only"]
    }
    fn plan_variant(&self, gpu: &Gpu, _: &'static str, _: Offsets) -> Result<Plan> {
        let step = Step {
            pipeline: gpu.pipeline(&Permutation::new(&XOR))?,
            params: vec![self.words as u32, self.mask ^ u32::from(self.broken), 0, 0],
            windows: vec![Window::of(0, 0, self.words, 2), Window::of(1, 0, self.words, 3)],
            groups: spread_groups(gpu, self.words.div_ceil(64)),
            work: self.words,
            turns: 1,
        };
        Plan::from_steps(
            gpu,
            "xor",
            "only",
            self.operands(),
            vec![step],
            StepValues::default(),
        )
    }
    fn cpu(&self, _: &Cpu, args: Args<'_>) -> Result<()> {
        self.reference(args)
    }
    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        for (x, y) in x.read().iter().zip(y.write()) {
            *y = x ^ self.mask;
        }
        Ok(())
    }
}

/// And `checked` finds a wrong one.
pub(crate) fn a_trio_from_outside_the_crate_runs(devices: Vec<Device>) {
    let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
    for device in devices {
        let checked = Device::checked(device.clone());
        let x = checked.from_f32(&[100], &values).expect("x");
        let mut y = checked.from_f32(&[100], &values).expect("y");
        let op = Xor {
            words: 100,
            mask: 0x8000_0000,
            broken: false,
        };
        checked
            .run(&op, &mut [(&x).into(), (&mut y).into()])
            .expect("a right kernel passes");
        let got = y.read_blocking().expect("values");
        assert!(
            got.iter().zip(&values).all(|(got, x)| *got == -x),
            "{}",
            device.describe()
        );

        // On a GPU the broken flag makes a wrong kernel; the CPU twin has none to break.
        let broken = Xor { broken: true, ..op };
        let outcome = checked.run(&broken, &mut [(&x).into(), (&mut y).into()]);
        match device.as_gpu() {
            Some(_) => assert!(
                matches!(outcome, Err(Error::Wrong { op: "xor", .. })),
                "{outcome:?}"
            ),
            None => outcome.expect("the CPU twin is right"),
        }
    }
}
