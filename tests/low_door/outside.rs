//! A kernel from outside the crate.

use fewbit::cpu::Cpu;
use fewbit::gpu::{Dispatch, OperandSpec, Permutation, Shader, Words};
use fewbit::op::{Args, Op, Table, Variant, Variants};
use fewbit::{Device, Error, Result};

/// y = x ^ mask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Xor {
    words: u64,
    mask: u32,
    broken: bool,
}

static XOR: Shader = Shader::new(
    "xor/xor.wgsl",
    "
struct Params {
    count: u32,
    mask: u32,
    x_offset: u32,
    y_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.count {
        y[params.y_offset + id.x] = x[params.x_offset + id.x] ^ params.mask;
    }
}",
);

static VARIANTS: Variants<Xor> = Variants(&[Variant {
    name: "only",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| {
        let dispatch = Dispatch::new(&gpu.pipeline(&Permutation::new(&XOR))?)
            .set("count", op.words)
            .set("mask", op.mask ^ u32::from(op.broken))
            .bind("x", Words::of("x", 0..op.words))
            .bind("y", Words::of("y", 0..op.words))
            .linear_groups(gpu, op.words.div_ceil(64))
            .work(op.words);
        Ok(vec![dispatch])
    },
    permutations: || vec![Permutation::new(&XOR)],
}]);

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
    fn table(&self) -> &'static dyn Table {
        &VARIANTS
    }
    fn cpu(&self, _: &Cpu, args: Args<'_>) -> Result<()> {
        self.reference(args)
    }
    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        for (x, y) in x.read().iter().zip(y.write()?) {
            *y = x ^ self.mask;
        }
        Ok(())
    }
}

/// And `checked` finds a wrong one.
pub(crate) fn a_kernel_from_outside_the_crate_runs(devices: Vec<Device>) {
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
