//! Memory that is not there: every allocation whose size comes from a caller is an error when it fails, where an
//! ordinary vector would end the process; and sizes that wrap are refused before anything is allocated.
//!
//! The allocator of this program refuses what is larger than a limit that a test sets. Results that must fail are
//! those of the CPU device and the reference: buffers of a GPU are the driver's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout as Request, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fewbit::cpu::{Cpu, CpuError, GemmParams, Left, PackedB, Sink, Source, gemm};
use fewbit::device::Program;
use fewbit::kernels::MatmulOptions;
use fewbit::kernels::{Copy, Matmul};
use fewbit::tensor::{Csr, DType, HostBuffer, Layout, MAX_WORDS};
use fewbit::{Device, Error, Result};

struct Limited;

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every request goes to the system's allocator as it came, or is refused with a null pointer.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, request: Request) -> *mut u8 {
        if request.size() > LIMIT.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is the system's requirement.
        unsafe { System.alloc(request) }
    }

    unsafe fn dealloc(&self, at: *mut u8, request: Request) {
        // SAFETY: as above; what was refused has never been handed out.
        unsafe { System.dealloc(at, request) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// One test at a time: the limit is the whole program's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body` where no allocation may be larger than `bytes`.
fn within<T>(bytes: usize, body: impl FnOnce() -> T) -> T {
    struct Unlimited;
    impl Drop for Unlimited {
        fn drop(&mut self) {
            LIMIT.store(usize::MAX, Ordering::Relaxed);
        }
    }
    let _unlimited = Unlimited;
    LIMIT.store(bytes, Ordering::Relaxed);
    body()
}

const MIB: usize = 1 << 20;

#[track_caller]
fn out_of_memory<T>(what: &str, result: Result<T>) {
    match result {
        Err(Error::OutOfMemory { bytes, .. }) => assert!(bytes > MIB as u64 / 2, "{what}: {bytes} bytes"),
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: it had the memory"),
    }
}

#[test]
fn tensors_without_memory() {
    let _alone = alone();
    let shape = [1024, 1024];
    let values = vec![1.0f32; 1 << 20];
    let words = vec![0u32; 1 << 20];
    let doubles = vec![1.0f64; 1 << 20];
    for device in [Device::cpu(), Device::reference(), Device::checked(Device::cpu())] {
        let full = device.from_f32(&shape, &values).unwrap();
        let row = device.from_f32(&[1, 1024], &values[..1024]).unwrap();
        let mut shared = full.clone();
        let program = {
            let mut program = Program::new(&device);
            let id = program.zeros(Layout::dense(DType::F32, &shape)).unwrap();
            (program, id)
        };
        within(MIB, || {
            out_of_memory("zeros", device.zeros(Layout::dense(DType::F32, &shape)));
            out_of_memory("from_f32", device.from_f32(&shape, &values));
            out_of_memory("from_f64", device.from_f64(&shape, &doubles));
            let layout = Layout::dense(DType::F32, &shape);
            out_of_memory("from_words", device.from_words(layout, &[&words]));
            out_of_memory("read", full.read_blocking());
            out_of_memory("read_part", full.read_part_blocking(0));
            let product = device.matmul_into(&full, &full, None, &mut shared, &MatmulOptions::default());
            out_of_memory("make_unique", product);
            out_of_memory("convert", device.convert(&full, DType::Bf16));
            out_of_memory("copy", full.copy());
            out_of_memory("read_codes", full.read_codes_blocking::<u32>(0));
            let layout = Layout::dense(DType::F32, &shape);
            out_of_memory("from_codes", device.from_codes(layout.clone(), &[&words]));
            out_of_memory("write_codes", full.clone().write_codes(&[&words]));
            let (mut program, id) = (program.0, program.1);
            out_of_memory("Program::zeros", program.zeros(layout));
            let snapshot = program.tensor(id).unwrap();
            out_of_memory("a snapshot's read", snapshot.read_blocking());
            out_of_memory("Program::write_words", program.write_words(id, &[&words]));
        });
        // Nothing is lost by a failure.
        assert_eq!(full.read_blocking().unwrap(), values);
        assert_eq!(row.read_blocking().unwrap(), values[..1024]);
    }
    let buffer = HostBuffer::from_words(&words).unwrap();
    within(MIB, || {
        out_of_memory("HostBuffer::zeroed", HostBuffer::zeroed(1 << 20));
        out_of_memory("HostBuffer::from_words", HostBuffer::from_words(&words));
        out_of_memory("HostBuffer::try_clone", buffer.try_clone());
    });
}

const SHAPE: (usize, usize, usize) = (600, 400, 3000);

fn product_without_memory(cpu: &Cpu, a: &[f32], b: &[f32], halves: &[u16]) {
    let (m, n, k) = SHAPE;
    let mut c = vec![7.0f32; m * n];
    let (a, b16) = (Source::f32(a, k), Source::bf16(halves, n));
    let b = Source::f32(b, n);
    // A task's own panels, which no shape makes larger, fit.
    let refused = within(2 * MIB, || {
        let packed = PackedB::new(cpu, b, k, n, Left::F32);
        assert!(matches!(packed, Err(CpuError::OutOfMemory { .. })), "{cpu}");
        let packed = PackedB::new(cpu, b16, k, n, Left::Bf16);
        assert!(matches!(packed, Err(CpuError::OutOfMemory { .. })), "{cpu}");
        gemm(cpu, &GemmParams::new(m, n, k), a, b, Sink::f32(&mut c, n), None)
    });
    assert!(
        matches!(refused, Err(CpuError::OutOfMemory { .. })),
        "{cpu}: {refused:?}"
    );
    assert!(c.iter().all(|&value| value == 7.0));
    // Few vectors of another type are widened first.
    let wide = Source::bf16(halves, k);
    let few = within(MIB / 64, || {
        gemm(
            cpu,
            &GemmParams::new(4, n, k),
            wide,
            b,
            Sink::f32(&mut c, n),
            None,
        )
    });
    assert!(matches!(few, Err(CpuError::OutOfMemory { .. })), "{cpu}: {few:?}");
    // And the same is done once there is memory.
    gemm(cpu, &GemmParams::new(m, n, k), a, b, Sink::f32(&mut c, n), None).unwrap();
    assert!(c.iter().all(|&value| value == k as f32));
}

#[test]
fn products_without_memory() {
    let _alone = alone();
    let (m, n, k) = SHAPE;
    let (a, b) = (vec![1.0f32; m * k], vec![1.0f32; k * n]);
    let halves = vec![0x3f80u16; k * n];
    for cpu in Cpu::available() {
        // A thread keeps what it once had for packing.
        std::thread::scope(|scope| {
            scope
                .spawn(|| product_without_memory(&cpu, &a, &b, &halves))
                .join()
        })
        .unwrap();
    }
    let device = Device::cpu();
    let weights = device.from_f32(&[k, n], &b).unwrap();
    let kept = weights.clone();
    let codes = device
        .convert(
            &device.from_f32(&[1000, 1000], &vec![1.0; 1_000_000]).unwrap(),
            DType::Bf16,
        )
        .unwrap();
    let tall = device.from_f32(&[400, 1 << 14], &vec![1.0; 400 << 14]).unwrap();
    within(MIB, || {
        out_of_memory("keep_weights", device.keep_weights(kept, DType::F32));
        out_of_memory("fmac_matmul", device.fmac_matmul(&codes, &codes, 1));
    });
    within(MIB / 2, || {
        // The result fits; the sums of blocks of rows do not.
        let mut sums = device.zeros(Layout::dense(DType::F32, &[1 << 14])).unwrap();
        let op = fewbit::kernels::ColumnSums::new(400, 1 << 14, DType::F32, DType::F32);
        out_of_memory(
            "column_sums",
            device.run(&op, &mut [(&tall).into(), (&mut sums).into()]),
        );
    });
}

#[test]
fn sparse_matrices_without_memory() {
    let _alone = alone();
    let (rows, cols) = (1000, 1000);
    let dense = vec![1.0f32; rows * cols];
    let csr = Csr::from_dense(rows, cols, &dense).unwrap();
    let empty = Csr::new(1 << 20, 1, vec![0; (1 << 20) + 1], Vec::new(), Vec::new()).unwrap();
    let wide = Csr::new(1, 1 << 20, vec![0, 0], Vec::new(), Vec::new()).unwrap();
    let device = Device::reference();
    within(MIB, || {
        out_of_memory("from_dense", Csr::from_dense(rows, cols, &dense));
        out_of_memory("to_dense", csr.to_dense());
        out_of_memory("transpose", csr.transpose());
        out_of_memory("to_dense of zeros", empty.to_dense());
        out_of_memory("transpose of no entries", wide.transpose());
        out_of_memory("words", csr.words(DType::U32, DType::F32));
        out_of_memory("packed words", csr.words(DType::U16, DType::Bf16));
        out_of_memory("from_csr", device.from_csr(&csr, DType::U32, DType::F32));
    });
}

#[cfg(feature = "nn")]
#[test]
fn training_without_memory() {
    let _alone = alone();
    use fewbit::nn::data::DataError;
    use fewbit::nn::train::{TrainOptions, Trainer};
    use fewbit::nn::{Model, Recipe, digits};
    let set = within(MIB, || digits::dataset(1, 10, 2000));
    assert!(
        matches!(set, Err(DataError::OutOfMemory { samples: 2000, .. })),
        "{set:?}"
    );
    // Weights of 0.8 MB fit, the f64 numbers that they are rounded from do not.
    let mut options = TrainOptions::default();
    options.model = Model::mlp(&[784, 256, 10]);
    options.batch = 4;
    let trainer = within(MIB, || Trainer::new(&Device::cpu(), &Recipe::f32(), &options));
    out_of_memory("Trainer::new", trainer);
}

#[test]
fn cases_without_memory() {
    let _alone = alone();
    use fewbit::check::{Case, Effort};
    let case = Case::new(Effort::Quick, Copy::new(1 << 20), || {
        vec![vec![0; 1 << 20], Vec::new()]
    });
    within(MIB, || out_of_memory("Case::operands", case.operands()));
}

#[cfg(feature = "io")]
#[test]
fn files_without_memory() {
    let _alone = alone();
    use fewbit::io::safetensors::{self, Dtype, NamedTensor, SafetensorsError};
    let bytes = safetensors::serialize(&[NamedTensor {
        name: "w".to_string(),
        dtype: Dtype::F32,
        shape: vec![1 << 20],
        bytes: vec![0; 4 << 20],
    }])
    .unwrap();
    let read = within(MIB, || safetensors::parse(&bytes));
    assert!(
        matches!(read, Err(SafetensorsError::OutOfMemory { .. })),
        "{:?}",
        read.err()
    );
}

#[test]
fn shapes_that_wrap_are_limits() {
    let _alone = alone();
    for device in [Device::cpu(), Device::reference()] {
        for shape in [
            vec![1 << 32, 1 << 32],
            vec![usize::MAX, 0],
            vec![0, usize::MAX],
            vec![usize::MAX],
            vec![usize::MAX, usize::MAX, 2],
            vec![2, 1 << 63],
            vec![1 << 40, 1],
        ] {
            for dtype in [DType::F32, DType::Bf16, DType::F64] {
                let layout = Layout::dense(dtype, &shape);
                // Nothing panics on the way.
                let _ = (layout.rows(), layout.cols(), layout.bytes(), layout.parts());
                let refused = device.zeros(layout.clone());
                assert!(
                    matches!(refused, Err(Error::Limit { .. })),
                    "{shape:?}: {refused:?}"
                );
                let refused = device.from_words(layout, &[&[]]);
                assert!(
                    matches!(refused, Err(Error::Limit { .. })),
                    "{shape:?}: {refused:?}"
                );
            }
            let refused = device.from_f32(&shape, &[]);
            assert!(
                matches!(refused, Err(Error::Limit { .. })),
                "{shape:?}: {refused:?}"
            );
            let refused = device.from_f64(&shape, &[]);
            assert!(
                matches!(refused, Err(Error::Limit { .. })),
                "{shape:?}: {refused:?}"
            );
        }
        // Rows without elements end at once.
        let none = device.from_f32(&[1 << 39, 0], &[]).unwrap();
        assert!(none.read_blocking().unwrap().is_empty());
        let mut program = Program::new(&device);
        for words in [MAX_WORDS + 1, 1 << 62, u64::MAX] {
            let refused = program.zeros(Layout::dense(DType::U32, &[words as usize]));
            assert!(
                matches!(refused, Err(Error::Limit { .. })),
                "{words}: {refused:?}"
            );
        }
    }
    for words in [MAX_WORDS + 1, u64::MAX] {
        let refused = HostBuffer::zeroed(words);
        assert!(
            matches!(refused, Err(Error::Limit { .. })),
            "{words}: {refused:?}"
        );
    }
    for dtype in [DType::F64, DType::F32, DType::Bf16] {
        let whole = u128::from(u64::MAX) * u128::from(dtype.bits());
        let want = u64::try_from(whole.div_ceil(32)).unwrap_or(u64::MAX);
        assert_eq!(dtype.words(u64::MAX), want, "{dtype}");
    }
}

#[test]
fn leading_dimensions_that_do_not_hold_a_row_are_refused() {
    let _alone = alone();
    let device = Device::reference();
    let layout = |dtype, ld| Layout::Dense {
        dtype,
        shape: vec![3, 5],
        ld,
    };
    let short = device.zeros(layout(DType::F32, 4));
    assert!(matches!(short, Err(Error::Value { .. })), "{short:?}");
    let words = [0; 12];
    let short = device.from_words(layout(DType::F32, 4), &[&words]);
    assert!(matches!(short, Err(Error::Value { .. })), "{short:?}");
    let odd = device.zeros(layout(DType::Bf16, 7));
    assert!(
        matches!(odd, Err(Error::Alignment { multiple: 2, .. })),
        "{odd:?}"
    );
    let far = device.zeros(layout(DType::F32, 1 << 62));
    assert!(matches!(far, Err(Error::Limit { .. })), "{far:?}");
    let typed = device.zeros(Layout::Csr {
        rows: 1,
        cols: 1,
        nnz: 1,
        index: DType::F32,
        values: DType::F32,
        longest_row: None,
    });
    assert!(
        matches!(
            typed,
            Err(Error::DType {
                operand: "col_idx",
                ..
            })
        ),
        "{typed:?}"
    );
}

/// More rows or columns than an index of 32 bits can name.
#[test]
fn sparse_extents_past_32_bits_are_limits() {
    let _alone = alone();
    let wide = Csr::new(1, usize::MAX, vec![0, 1], vec![3], vec![1.0]).unwrap();
    assert!(matches!(wide.transpose(), Err(Error::Limit { .. })));
    assert!(matches!(wide.to_dense(), Err(Error::Limit { .. })));
    let wide = Csr::new(2, 1 << 40, vec![0, 0, 0], Vec::new(), Vec::new()).unwrap();
    assert!(matches!(wide.transpose(), Err(Error::Limit { .. })));
    assert!(matches!(wide.to_dense(), Err(Error::Limit { .. })));
    let none = Csr::new(0, usize::MAX, vec![0], Vec::new(), Vec::new()).unwrap();
    assert!(matches!(none.transpose(), Err(Error::Limit { .. })));
    assert!(none.to_dense().unwrap().is_empty());
    let tall = Csr::from_dense(usize::MAX, 0, &[]);
    assert!(matches!(tall, Err(Error::Limit { .. })), "{tall:?}");
}

/// A file of some 80 bytes may announce any extents as long as one of them is 0.
#[cfg(feature = "io")]
#[test]
fn small_files_of_huge_extents_are_refused() {
    let _alone = alone();
    use fewbit::io::idx::{Idx, IdxError};
    use fewbit::io::safetensors::{self, SafetensorsError};
    for shape in ["[18446744073709551615,0]", "[0,4294967296,4294967296]"] {
        let header = format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let read = safetensors::parse(&bytes);
        assert!(
            matches!(
                read,
                Err(SafetensorsError::TooLarge { .. } | SafetensorsError::Format(_))
            ),
            "{shape}: {read:?}"
        );
    }
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 0];
    bytes.extend([0xff; 8]);
    let read = Idx::parse(&bytes[..]);
    assert!(matches!(read, Err(IdxError::TooLarge { .. })), "{read:?}");
}

/// The limit of this file's helper is real: without it nothing here fails.
#[test]
fn matrices_with_memory() {
    let _alone = alone();
    let device = Device::cpu();
    let a = device.from_f32(&[1024, 1024], &vec![1.0; 1 << 20]).unwrap();
    within(64 * MIB, || device.run(&Matmul::new(0, 0, 0), &mut [])).unwrap_err();
    assert_eq!(within(64 * MIB, || a.read_blocking()).unwrap().len(), 1 << 20);
}
