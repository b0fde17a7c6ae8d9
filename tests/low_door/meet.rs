//! Where the two doors meet: tensors over a caller's buffers, tensors lent as buffers, programs over both.

use fewbit::device::{Program, Slot};
use fewbit::gpu::{Gpu, Offsets, Operand, PlanRequest, ReadBack, StepValues};
use fewbit::kernels::{Convert, Copy, MatmulOptions, Spmm};
use fewbit::op::{Effort, Op as _};
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error, Tensor, wgpu};

use super::common::{foreign, gpu};

pub(crate) const ALL: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);
/// What no kernel may touch.
const GUARD: u32 = 0xfee1_dead;

/// A caller: its device and queue, and fewbit over them.
pub(crate) struct Caller {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pub(crate) gpu: Gpu,
    pub(crate) fewbit: Device,
}

impl Caller {
    pub(crate) fn new() -> Self {
        let (device, queue) = foreign();
        let gpu = Gpu::from_wgpu(&device, &queue);
        Self {
            fewbit: Device::from_gpu(gpu.clone()),
            device,
            queue,
            gpu,
        }
    }

    pub(crate) fn buffer(&self, words: &[u32], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        use wgpu::util::DeviceExt as _;
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("the caller's"),
            contents: bytemuck::cast_slice(words),
            usage,
        })
    }

    /// What the buffer holds, by the caller's own commands.
    fn words(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let words = buffer.size() / 4;
        let back = ReadBack::record(&self.gpu, &mut encoder, buffer, 0, words).expect("a read-back");
        self.queue.submit([encoder.finish()]);
        back.read_blocking().expect("words").words().to_vec()
    }
}

fn floats(len: usize) -> Vec<f32> {
    (0..len).map(|i| i as f32 * 0.5 - 3.0).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// One arena for the inputs, one for the output; what lies around the pieces stays as it is.
pub(crate) fn a_tensor_lies_in_a_callers_buffer_at_any_offset() {
    let caller = Caller::new();
    let (a, b) = (floats(12), floats(20));
    let device = Device::reference();
    let [x, y] = [(&a, [3, 4]), (&b, [4, 5])].map(|(values, shape)| device.from_f32(&shape, values));
    let want = device.matmul(&x.expect("x"), &y.expect("y")).expect("a product");
    let want = want.read_blocking().expect("values");
    for offset in [0, 4, 8, 12, 16, 252, 256, 260] {
        let at = offset as usize / 4;
        let mut arena = vec![GUARD; 160];
        arena[at..at + 12].copy_from_slice(&bits(&a));
        // B's rows of 5 lie 7 apart.
        for row in 0..4 {
            arena[at + 20 + 7 * row..][..5].copy_from_slice(&bits(&b[5 * row..][..5]));
        }
        let inputs = caller.buffer(&arena, ALL);
        let output = caller.buffer(&[GUARD; 160], ALL);
        let lay = |shape: [usize; 2], ld| Layout::Dense {
            dtype: DType::F32,
            shape: shape.to_vec(),
            ld,
        };
        let from = |layout: Layout, buffer, offset| {
            let piece = Operand::new(buffer, offset, layout.bytes());
            caller.fewbit.from_buffers(layout, &[piece]).expect("a tensor")
        };
        let a = from(lay([3, 4], 4), &inputs, offset);
        let b = from(lay([4, 5], 7), &inputs, offset + 80);
        let mut c = from(lay([3, 5], 6), &output, offset + 4);
        let options = MatmulOptions::default();
        caller
            .fewbit
            .matmul_into(&a, &b, None, &mut c, &options)
            .expect("a product");
        assert_eq!(c.read_blocking().expect("values"), want, "offset {offset}");
        assert_eq!(
            a.read_codes_blocking::<u32>(0).expect("codes"),
            arena[at..at + 12]
        );
        let written = caller.words(&output);
        for (word, got) in written.iter().enumerate() {
            let inside = word.checked_sub(at + 1).filter(|word| *word < 18 && word % 6 < 5);
            match inside {
                Some(word) => assert_eq!(*got, want[word / 6 * 5 + word % 6].to_bits()),
                None => assert_eq!(*got, GUARD, "offset {offset}: word {word}"),
            }
        }
        assert_eq!(caller.words(&inputs), arena, "offset {offset}");
    }
}

/// A buffer that ends inside the last vector of four words: kernels that load vectors would lose what is in it.
pub(crate) fn a_buffer_that_ends_inside_a_vector_is_refused_or_read_word_for_word() {
    let caller = Caller::new();
    // Two rows of 5 that lie 8 apart: B spans 13 words, and the last vector of four has one of them.
    let op = Spmm::new(1, 2, 2, 5, [DType::U32, DType::F32, DType::F32, DType::F32]);
    let [row_ptr, col_idx] = [[0, 2], [0, 1]].map(|words| caller.buffer(&words, ALL));
    let ones = caller.buffer(&bits(&[1.0; 2]), ALL);
    let b = caller.buffer(&bits(&floats(13)), ALL);
    let c = caller.buffer(&[GUARD; 5], ALL);
    let operands = [&row_ptr, &col_idx, &ones, &b, &c].map(Operand::whole);
    let mut refused = 0;
    for variant in op.variants(&caller.gpu, Offsets::Vec4) {
        let plan = op
            .plan(&caller.gpu, &PlanRequest::default().variant(variant))
            .expect("a plan");
        match plan.bind(&operands) {
            Err(Error::TooSmall {
                operand: "b",
                needed: 64,
                got: 52,
                ..
            }) => refused += 1,
            other => assert!(other.is_ok(), "{variant}: {other:?}"),
        }
    }
    assert!(refused > 0, "no variant loads vectors");
    let request = PlanRequest::default().offsets(Offsets::Any);
    let bound = op.plan(&caller.gpu, &request).expect("a plan").bind(&operands);
    let mut encoder = caller.device.create_command_encoder(&Default::default());
    bound.expect("bound").encode(&mut encoder);
    caller.queue.submit([encoder.finish()]);
    let want: Vec<f32> = (0..5).map(|n| floats(13)[n] + floats(13)[8 + n]).collect();
    assert_eq!(caller.words(&c), bits(&want));
}

/// Buffers that end with the operand's last word, whatever its number; and operands off 16 bytes, with words of others
/// on both sides.
pub(crate) fn every_kernel_keeps_to_its_pieces() {
    // Most of the time goes into compiling pipelines, on a thread for each device.
    let shares = [0, 1];
    let run: usize = std::thread::scope(|scope| {
        let threads =
            shares.map(|share| scope.spawn(move || keep_to_their_pieces(&gpu(), share, shares.len())));
        threads
            .into_iter()
            .map(|thread| thread.join().expect("its cases"))
            .sum()
    });
    assert!(run > 100, "{run} cases");
}

/// Runs this share of so many of the cases, and counts its runs.
fn keep_to_their_pieces(gpu: &Gpu, share: usize, shares: usize) -> usize {
    let device = Device::checked(Device::from_gpu(gpu.clone()));
    let mut run = 0;
    let cases = fewbit::kernels::ALL
        .iter()
        .flat_map(|entry| entry.cases(Effort::Quick));
    for (number, case) in cases.enumerate().filter(|(number, _)| number % shares == share) {
        // Software compiles half a second for each of a product's pipelines, and tests/kernels.rs guards them all.
        if gpu.is_software() && case.op.name() == "matmul" && !(number / shares).is_multiple_of(8) {
            continue;
        }
        // f64, and what only matrix units that are not here measure.
        if case.op.check_gpu(gpu).is_err() || case.op.variants(gpu, Offsets::Any).is_empty() {
            continue;
        }
        let specs = case.op.operands();
        let given = case.operands().expect("operands");
        for (before, after) in [(0, 0), (5, 3)] {
            let mut tensors: Vec<(Tensor, wgpu::Buffer)> = Vec::new();
            for (spec, words) in specs.iter().zip(&given) {
                let len = spec.words as usize;
                let mut all = vec![GUARD; before];
                all.extend_from_slice(&words.words()[..len]);
                all.extend(std::iter::repeat_n(GUARD, after));
                let size = all.len() as u64 * 4;
                let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
                    label: Some("exact"),
                    size: size.max(4),
                    usage: ALL,
                    mapped_at_creation: false,
                });
                gpu.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(&all));
                let layout = Layout::Dense {
                    dtype: DType::U32,
                    shape: vec![len],
                    ld: len,
                };
                let piece = Operand::new(&buffer, before as u64 * 4, len as u64 * 4);
                tensors.push((device.from_buffers(layout, &[piece]).expect("a tensor"), buffer));
            }
            let slots = specs
                .iter()
                .zip(&mut tensors)
                .map(|(spec, (tensor, _))| match spec.is_written() {
                    true => Slot::Out(tensor, 0),
                    false => Slot::In(tensor, 0),
                });
            let name = || format!("{} {} at word {before}", case.op.name(), case.op.describe());
            let mut slots: Vec<_> = slots.collect();
            let ran = device.run(&*case.op, &mut slots);
            assert!(ran.is_ok(), "{}: {ran:?}", name());
            for ((tensor, buffer), spec) in tensors.iter().zip(&specs) {
                let mut encoder = gpu.encoder("guards");
                let back =
                    ReadBack::record(gpu, &mut encoder, buffer, 0, buffer.size() / 4).expect("a read-back");
                gpu.submit("guards", encoder).expect("a submit");
                let words = back.read_blocking().expect("words");
                let end = before + spec.words as usize;
                let mut around = words.words()[..before]
                    .iter()
                    .chain(words.words().get(end..end + after).unwrap_or(&[]));
                assert!(
                    around.all(|word| *word == GUARD),
                    "{}: {} outside",
                    name(),
                    spec.name
                );
                assert_eq!(tensor.as_buffer(0).expect("lent").buffer, buffer);
            }
            run += 1;
        }
    }
    run
}

pub(crate) fn layout(len: usize) -> Layout {
    Layout::dense(DType::F32, &[len])
}

pub(crate) fn copy(device: &Device, from: &Tensor, to: &mut Tensor) -> fewbit::Result<()> {
    device.run(&Copy::new(4), &mut [from.into(), to.into()])
}

/// The tensor itself writes to the buffer, its clones never do, and neither changes the other.
pub(crate) fn a_clone_never_writes_to_the_callers_buffer() {
    let caller = Caller::new();
    let device = &caller.fewbit;
    let buffer = caller.buffer(&[GUARD, 1, 2, 3, 4, GUARD], ALL);
    let mut own = device
        .from_buffers(layout(4), &[Operand::new(&buffer, 4, 16)])
        .expect("a tensor");
    let [nines, sevens] = [9u32, 7].map(|word| device.from_codes(layout(4), &[&[word; 4]]).expect("codes"));
    let codes = |tensor: &Tensor| tensor.read_codes_blocking::<u32>(0).expect("codes");

    let mut clone = own.clone();
    copy(device, &nines, &mut clone).expect("a clone is written");
    assert_eq!((codes(&own), codes(&clone)), (vec![1, 2, 3, 4], vec![9; 4]));
    assert_eq!(caller.words(&buffer), [GUARD, 1, 2, 3, 4, GUARD]);

    // A clone would change with the tensor.
    let mut clone = own.clone();
    for refused in [
        copy(device, &sevens, &mut own),
        own.write_codes(&[&[7u32; 4]]),
        own.as_buffer_mut(0).map(|_| ()),
    ] {
        assert!(
            matches!(
                refused,
                Err(Error::Aliased {
                    second: "a clone of it",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    let apart = own.copy().expect("a copy");
    // Written by its own codes, the clone moves off the buffer: the tensor is alone again.
    clone.write_codes(&[&[5u32, 6, 7, 8]]).expect("a write");
    copy(device, &sevens, &mut own).expect("the tensor is written");
    device.flush().expect("a flush");
    assert_eq!(caller.words(&buffer), [GUARD, 7, 7, 7, 7, GUARD]);
    assert_eq!(
        (codes(&clone), codes(&apart)),
        (vec![5, 6, 7, 8], vec![1, 2, 3, 4])
    );
    own.write_codes(&[&[4u32, 3, 2, 1]]).expect("a write");
    assert_eq!(caller.words(&buffer), [GUARD, 4, 3, 2, 1, GUARD]);

    // A clone that outlives the tensor is a clone still.
    let mut clone = own.clone();
    drop(own);
    copy(device, &nines, &mut clone).expect("a clone is written");
    assert_eq!(codes(&clone), [9; 4]);
    assert_eq!(caller.words(&buffer), [GUARD, 4, 3, 2, 1, GUARD]);
}

/// What is dropped goes neither to the pool nor away.
pub(crate) fn a_callers_buffer_is_never_pooled_nor_destroyed() {
    let caller = Caller::new();
    let device = &caller.fewbit;
    let buffer = caller.buffer(&[1, 2, 3, 4], ALL);
    let piece = [Operand::whole(&buffer)];
    let pooled = device.pooled_bytes();
    let tensor = device.from_buffers(layout(4), &piece).expect("a tensor");
    drop((tensor.clone(), tensor));
    let mut program = Program::new(device);
    let tensor = device.from_buffers(layout(4), &piece).expect("a tensor");
    program.adopt(tensor).expect("adopted");
    drop(program);
    assert_eq!(device.pooled_bytes(), pooled);
    device.trim();
    // Zeros of the same size come from elsewhere.
    let zeros = device.zeros(layout(4)).expect("zeros");
    assert_ne!(zeros.as_buffer(0).expect("lent").buffer, &buffer);
    assert_eq!(caller.words(&buffer), [1, 2, 3, 4]);
}

/// A tensor of the high door through a plan of the low one, in the caller's encoder, and back.
pub(crate) fn a_tensor_is_lent_to_the_low_door() {
    let caller = Caller::new();
    let device = &caller.fewbit;
    let values = floats(24);
    let wide = device.from_f32(&[3, 8], &values).expect("a tensor");
    // Pending when it is lent: a conversion there and back that nobody has submitted yet.
    let half = device.convert(&wide, DType::Bf16).expect("bf16");
    let before = caller.gpu.submits();
    let source = half.as_buffer(0).expect("lent");
    assert_eq!(caller.gpu.submits(), before + 1, "what was pending is submitted");
    assert_eq!((source.offset, source.bytes), (0, 48));
    let mut target = device.zeros(Layout::dense(DType::F32, &[3, 8])).expect("zeros");
    let kept = target.clone();
    let lent = target.as_buffer_mut(0).expect("lent");
    let plan = Convert::new(3, 8, DType::Bf16, DType::F32)
        .plan(&caller.gpu, &PlanRequest::default())
        .expect("a plan");
    let bound = plan.bind(&[source, lent]).expect("bound");
    let mut encoder = caller.device.create_command_encoder(&Default::default());
    bound.encode(&mut encoder);
    caller.queue.submit([encoder.finish()]);
    assert_eq!(target.read_blocking().expect("values"), values);
    assert_eq!(
        kept.read_blocking().expect("values"),
        [0.0; 24],
        "a clone keeps what it held"
    );
}

pub(crate) fn a_program_runs_over_a_callers_buffers() {
    let caller = Caller::new();
    let device = &caller.fewbit;
    let input = caller.buffer(&bits(&floats(9)), ALL);
    let output = caller.buffer(
        &[GUARD; 8],
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    );
    let borrow = |layout, buffer, offset| {
        let piece = Operand::new(buffer, offset, 1000);
        device.from_buffers(layout, &[piece]).expect("a tensor")
    };
    let mut program = Program::new(device);
    let x = program.adopt(borrow(layout(8), &input, 4)).expect("x");
    let y = borrow(Layout::dense(DType::Bf16, &[8]), &output, 8);
    let y = program.adopt(y).expect("y");
    let call = program
        .call(Convert::contiguous(DType::F32, DType::Bf16, 8), &[x, y])
        .expect("a call");
    let step = StepValues::default();
    program.run(&step).expect("a run");
    device.flush().expect("a flush");
    let packed = |values: &[f32]| -> Vec<u32> {
        let halves: Vec<u32> = values.iter().map(|value| value.to_bits() >> 16).collect();
        halves.chunks(2).map(|pair| pair[0] | pair[1] << 16).collect()
    };
    let around = |inside: Vec<u32>| [vec![GUARD; 2], inside, vec![GUARD; 2]].concat();
    assert_eq!(caller.words(&output), around(packed(&floats(9)[1..])));

    // The caller writes its buffer by its own queue; the next run sees it.
    caller
        .queue
        .write_buffer(&input, 4, bytemuck::cast_slice(&[2.5f32; 8]));
    let snapshot = program.tensor(y).expect("a tensor");
    let refused = program.run_range(call..=call, &step);
    assert!(matches!(refused, Err(Error::Aliased { .. })), "{refused:?}");
    drop(snapshot);
    program.run_range(call..=call, &step).expect("a run");
    let words = program.tensor(y).expect("y").read_codes_blocking::<u16>(0);
    assert_eq!(words.expect("codes"), [0x4020; 8]);
    assert_eq!(caller.words(&output), around(packed(&[2.5; 8])));
    let refused = program.write_codes(y, &[&[0u16; 8]]);
    assert!(
        matches!(
            refused,
            Err(Error::Usage {
                usage: "COPY_DST",
                ..
            })
        ),
        "{refused:?}"
    );
}
