//! Files (IDX, MNIST-like folders, safetensors) and the drawn digits.

#![cfg(all(feature = "io", feature = "nn"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::path::{Path, PathBuf};

use fewbit::io::idx::{Idx, IdxError};
use fewbit::io::safetensors::{self as st, Dtype, NamedTensor, SafetensorsError};
use fewbit::nn::data::{DataError, Dataset, Part, Split};
use fewbit::nn::mnist::{self, MnistError};

#[path = "data/classifier.rs"]
mod classifier;
#[path = "data/digits.rs"]
mod digits;
#[path = "data/files.rs"]
mod files;

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("data-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn idx(dims: &[usize]) -> Idx {
    Idx {
        dims: dims.to_vec(),
        data: (0..dims.iter().product())
            .map(|i: usize| (i % 251) as u8)
            .collect(),
    }
}

fn bytes(idx: &Idx) -> Vec<u8> {
    let mut bytes = Vec::new();
    idx.write_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn idx_round_trip_plain_and_gzip() {
    let dir = folder("round");
    for dims in [
        &[1usize][..],
        &[7],
        &[3, 28, 28],
        &[2, 3, 4, 5],
        &[0],
        &[0, 28, 28],
        &[100_000],
    ] {
        let array = idx(dims);
        array.write(dir.join("plain.gz")).unwrap();
        array.write_gz(dir.join("zipped")).unwrap();
        // The names lie on purpose: the bytes decide.
        assert_eq!(Idx::read(dir.join("plain.gz")).unwrap(), array);
        assert_eq!(Idx::read(dir.join("zipped")).unwrap(), array);
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn idx_header_is_the_published_one() {
    assert_eq!(
        bytes(&Idx {
            dims: vec![2, 1],
            data: vec![5, 6]
        }),
        [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 5, 6]
    );
}

#[test]
fn idx_refuses_bad_files() {
    let good = bytes(&idx(&[2, 3]));
    let parse = |bytes: &[u8]| Idx::parse(bytes).unwrap_err();
    assert!(matches!(parse(b""), IdxError::Header { need: 4 }));
    assert!(matches!(parse(&good[..3]), IdxError::Header { need: 4 }));
    assert!(matches!(parse(&good[..11]), IdxError::Header { need: 12 }));
    assert!(matches!(parse(b"PNG\0"), IdxError::Magic { .. }));
    assert!(matches!(
        parse(&[0, 0, 0x0d, 1, 0, 0, 0, 0]),
        IdxError::Type { code: 0x0d }
    ));
    assert!(matches!(parse(&[0, 0, 8, 0]), IdxError::Dimensions { count: 0 }));
    for cut in 12..good.len() {
        let error = parse(&good[..cut]);
        assert!(
            matches!(error, IdxError::Length { need: 6, found, .. } if found == cut - 12),
            "{error}"
        );
    }
    let mut long = good.clone();
    long.extend([0; 100]);
    let error = parse(&long);
    assert!(matches!(
        error,
        IdxError::Length {
            need: 6,
            found: 7,
            ..
        }
    ));
    assert!(error.to_string().contains("7 or more"), "{error}");
    // Products that overflow, even beside a zero; and a header that only lies about 2 GiB, which must be cheap.
    let lies = |dims: &[u32]| {
        let mut file = vec![0, 0, 8, dims.len() as u8];
        file.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        file
    };
    assert!(matches!(
        parse(&lies(&[u32::MAX; 255])),
        IdxError::TooLarge { .. }
    ));
    assert!(matches!(
        parse(&lies(&[u32::MAX, u32::MAX, u32::MAX, 0])),
        IdxError::TooLarge { .. }
    ));
    assert!(matches!(
        parse(&lies(&[1 << 16, 1 << 16])),
        IdxError::TooLarge { .. }
    ));
    assert!(matches!(
        parse(&lies(&[1 << 31])),
        IdxError::Length { found: 0, .. }
    ));
}

#[test]
fn idx_refuses_damaged_gzip() {
    let dir = folder("gzip");
    let path = dir.join("x");
    idx(&[50, 50]).write_gz(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    for cut in 1..good.len() {
        assert!(
            Idx::parse(&good[..cut]).is_err(),
            "cut at {cut} of {}",
            good.len()
        );
    }
    let mut flipped = good.clone();
    let checksum = good.len() - 8;
    flipped[checksum] ^= 1;
    assert!(matches!(Idx::parse(&flipped[..]), Err(IdxError::Io(_))));
    // Members may follow each other in a gzip, so a second one counts as bytes that follow.
    let twice = [good.clone(), good].concat();
    assert!(matches!(Idx::parse(&twice[..]), Err(IdxError::Length { .. })));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn idx_refuses_to_write_nonsense() {
    let fail = |dims: Vec<usize>, data| Idx { dims, data }.write_to(Vec::new()).unwrap_err();
    assert!(matches!(fail(vec![], vec![1]), IdxError::Dimensions { count: 0 }));
    assert!(matches!(
        fail(vec![1; 256], vec![1]),
        IdxError::Dimensions { count: 256 }
    ));
    assert!(matches!(
        fail(vec![2], vec![1]),
        IdxError::Length {
            need: 2,
            found: 1,
            ..
        }
    ));
    assert!(matches!(
        fail(vec![usize::MAX, 0], vec![]),
        IdxError::TooLarge { .. }
    ));
    let error = idx(&[1]).write("no/such/folder/x").unwrap_err().to_string();
    assert!(error.contains("no/such/folder"), "{error}");
}

/// Writes the four files of a small set; `names` in the order train images, train labels, test images, test labels.
fn write_mnist(dir: &Path, names: [&str; 4]) -> [Idx; 4] {
    let labels = |n: usize| Idx {
        dims: vec![n],
        data: (0..n).map(|i| (i % 10) as u8).collect(),
    };
    let files = [idx(&[12, 4, 5]), labels(12), idx(&[3, 4, 5]), labels(3)];
    for (file, name) in files.iter().zip(names) {
        match name.ends_with(".gz") {
            true => file.write_gz(dir.join(name)).unwrap(),
            false => file.write(dir.join(name)).unwrap(),
        }
    }
    files
}

const STANDARD: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

#[test]
fn mnist_folder_in_each_spelling() {
    let mixed = [
        "train-images-idx3-ubyte.gz",
        "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte",
    ];
    for (name, names) in [("standard", STANDARD), ("mixed", mixed)] {
        let dir = folder(name);
        let [images, labels, test_images, test_labels] = write_mnist(&dir, names);
        let set = mnist::load(&dir).unwrap();
        assert_eq!(
            (set.rows(), set.cols(), set.pixels(), set.classes()),
            (4, 5, 20, 10)
        );
        assert_eq!(
            *set.train(),
            Split {
                images: images.data,
                labels: labels.data
            }
        );
        assert_eq!(
            *set.test(),
            Split {
                images: test_images.data,
                labels: test_labels.data
            }
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn mnist_folder_says_what_is_wrong() {
    let dir = folder("wrong");
    match mnist::load(&dir) {
        Err(MnistError::Missing { names, .. }) => assert_eq!(names, STANDARD),
        other => panic!("{other:?}"),
    }
    write_mnist(&dir, STANDARD);
    std::fs::remove_file(dir.join(STANDARD[3])).unwrap();
    let error = mnist::load(&dir).unwrap_err().to_string();
    assert!(
        error.contains(STANDARD[3]) && !error.contains(STANDARD[0]),
        "{error}"
    );

    let with = |which: usize, file: Idx| {
        write_mnist(&dir, STANDARD);
        file.write(dir.join(STANDARD[which])).unwrap();
        mnist::load(&dir).unwrap_err()
    };
    assert!(matches!(
        with(0, idx(&[12, 20])),
        MnistError::Rank {
            found: 2,
            need: 3,
            ..
        }
    ));
    assert!(matches!(
        with(1, idx(&[12, 1])),
        MnistError::Rank {
            found: 2,
            need: 1,
            ..
        }
    ));
    let counts = with(1, idx(&[9]));
    assert!(
        matches!(
            counts,
            MnistError::Counts {
                part: Part::Train,
                images: 12,
                labels: 9
            }
        ),
        "{counts}"
    );
    assert!(matches!(
        with(2, idx(&[3, 5, 4])),
        MnistError::ImageSize {
            train: [4, 5],
            test: [5, 4]
        }
    ));
    let label = with(
        3,
        Idx {
            dims: vec![3],
            data: vec![0, 10, 3],
        },
    );
    let label_10 = DataError::Label {
        part: Part::Test,
        index: 1,
        label: 10,
        classes: 10,
    };
    assert!(
        matches!(&label, MnistError::Data(error) if *error == label_10),
        "{label}"
    );
    write_mnist(&dir, STANDARD);
    idx(&[0, 4, 5]).write(dir.join(STANDARD[2])).unwrap();
    idx(&[0]).write(dir.join(STANDARD[3])).unwrap();
    assert!(matches!(
        mnist::load(&dir),
        Err(MnistError::Data(DataError::Empty { part: Part::Test }))
    ));
    write_mnist(&dir, STANDARD);
    std::fs::write(dir.join(STANDARD[0]), b"not idx").unwrap();
    let error = mnist::load(&dir).unwrap_err().to_string();
    assert!(error.contains(STANDARD[0]), "{error}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn dataset_checks_sizes() {
    let split = || Split {
        images: vec![0; 8],
        labels: vec![0, 1],
    };
    let set = Dataset::new(split(), split(), 2, 2, 2).unwrap();
    assert_eq!((set.train().len(), set.test().is_empty()), (2, false));
    let fail = |rows, cols, classes| Dataset::new(split(), split(), rows, cols, classes).unwrap_err();
    assert_eq!(fail(0, 4, 2), DataError::Shape { rows: 0, cols: 4 });
    assert_eq!(
        fail(usize::MAX, 4, 2),
        DataError::Shape {
            rows: usize::MAX,
            cols: 4
        }
    );
    assert_eq!(fail(2, 2, 0), DataError::Classes { classes: 0 });
    assert_eq!(fail(2, 2, 257), DataError::Classes { classes: 257 });
    assert_eq!(
        fail(2, 2, 1),
        DataError::Label {
            part: Part::Train,
            index: 1,
            label: 1,
            classes: 1
        }
    );
    assert_eq!(
        fail(2, 3, 2),
        DataError::Length {
            part: Part::Train,
            bytes: 8,
            labels: 2,
            pixels: 6
        }
    );
}

fn tensor(name: &str, dtype: Dtype, shape: &[usize]) -> NamedTensor {
    let bytes = shape.iter().product::<usize>() * dtype.bits() / 8;
    NamedTensor {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
        bytes: (0..bytes).map(|i| i as u8).collect(),
    }
}

#[test]
fn safetensors_round_trip() {
    let dir = folder("safetensors");
    let path = dir.join("model.safetensors");
    let tensors = vec![
        tensor("a.weight", Dtype::F32, &[3, 5]),
        tensor("b", Dtype::Bf16, &[7]),
        tensor("empty", Dtype::F32, &[0, 4]),
        tensor("scalar", Dtype::F64, &[]),
        tensor("z", Dtype::U32, &[2, 1, 2]),
    ];
    st::write(&path, &tensors).unwrap();
    assert_eq!(st::read(&path).unwrap(), tensors);
    let reversed: Vec<_> = tensors.iter().rev().cloned().collect();
    assert_eq!(st::serialize(&reversed).unwrap(), std::fs::read(&path).unwrap());
    assert_eq!(
        std::fs::read_dir(&dir).unwrap().count(),
        1,
        "nothing is left beside the file"
    );
    assert_eq!(st::parse(&st::serialize(&[]).unwrap()).unwrap(), []);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn safetensors_metadata() {
    let tensors = [tensor("w", Dtype::F32, &[4])];
    let bytes = st::serialize_with(&tensors, Some(("fewbit", r#"{"a": "b"}"#))).unwrap();
    assert_eq!(st::parse(&bytes).unwrap(), tensors);
    let read = st::parse_metadata(&bytes).unwrap();
    assert_eq!(
        read.into_iter().collect::<Vec<_>>(),
        [("fewbit".into(), r#"{"a": "b"}"#.into())]
    );
    let none = st::serialize(&tensors).unwrap();
    assert!(st::parse_metadata(&none).unwrap().is_empty());
    assert!(matches!(
        st::parse_metadata(&none[..9]),
        Err(SafetensorsError::Format(_))
    ));
}

#[test]
fn safetensors_refuses() {
    let good = st::serialize(&[tensor("w", Dtype::F32, &[4])]).unwrap();
    for cut in 0..good.len() {
        assert!(
            matches!(st::parse(&good[..cut]), Err(SafetensorsError::Format(_))),
            "cut at {cut}"
        );
    }
    let w = || tensor("w", Dtype::F32, &[4]);
    assert!(matches!(
        st::serialize(&[w(), w()]),
        Err(SafetensorsError::Name { .. })
    ));
    let reserved = tensor("__metadata__", Dtype::F32, &[1]);
    assert!(matches!(
        st::serialize(&[reserved]),
        Err(SafetensorsError::Name { .. })
    ));
    for shape in [vec![5], vec![usize::MAX, 2], vec![usize::MAX, 4, 0]] {
        let wrong = NamedTensor { shape, ..w() };
        assert!(matches!(
            st::serialize(&[wrong]),
            Err(SafetensorsError::Length { found: 16, .. })
        ));
    }
    let gone = st::read("no-such-file").unwrap_err().to_string();
    assert!(gone.contains("no-such-file"), "{gone}");
}
