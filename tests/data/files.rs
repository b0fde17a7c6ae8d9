//! What a reader meets in other people's files, and what a writer may find in a file's place.

use std::fs;
use std::io::Write as _;

use fewbit::io::idx::Idx;
use fewbit::io::safetensors::{self as st, Dtype, NamedTensor, SafetensorsError};
use fewbit::nn::mnist::{self, MnistError};

use super::{folder, idx};

/// A safetensors file of this header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..data).map(|i| i as u8));
    bytes
}

fn refusal<T: std::fmt::Debug, E: std::fmt::Display>(outcome: Result<T, E>, words: &[&str]) {
    let message = outcome.map_err(|error| error.to_string()).unwrap_err();
    for word in words {
        assert!(message.contains(word), "{message:?} lacks {word:?}");
    }
}

#[test]
fn tensors_of_other_types_pass_through_and_only_their_use_fails() {
    let header = r#"{"i":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},
        "h":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[16,19]},
        "q":{"dtype":"F4","shape":[2],"data_offsets":[19,20]},
        "w":{"dtype":"BF16","shape":[2],"data_offsets":[20,24]}}"#;
    let tensors = st::parse(&file(header, 24)).unwrap();
    let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["h", "i", "q", "w"]);
    let [_, i, _, w] = tensors.as_slice() else {
        panic!("{tensors:?}")
    };
    assert!(matches!(i.dtype, Dtype::Other(_)) && i.bytes == (0..16).collect::<Vec<u8>>());
    refusal(i.to_f32(), &["`i`", "I64", "BF16"]);
    let values: Vec<_> = w.to_f32().unwrap().iter().map(|value| value.to_bits()).collect();
    assert_eq!(values, [0x1514_0000, 0x1716_0000]);
    // And back, to the bit.
    let again = st::serialize(&tensors).unwrap();
    assert_eq!(st::parse(&again).unwrap(), tensors);
    let short = NamedTensor {
        bytes: vec![0; 15],
        ..i.clone()
    };
    refusal(st::serialize(&[short]), &["`i`", "I64", "15 bytes"]);
}

#[test]
fn a_key_twice_is_refused() {
    let w = r#""w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let spelled = r#""\u0077":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let v = r#""v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let notes = r#""__metadata__":{"a":"{\"w\":1, \"w\":1}\\","b":"a"}"#;
    st::parse(&file(&format!("{{{w}}}"), 4)).unwrap();
    st::parse(&file(&format!("{{{notes}, {w}}}"), 4)).unwrap();
    for header in [
        format!("{{{w},{w}}}"),
        format!("{{{w} ,\n {spelled}}}"),
        format!(r#"{{"__metadata__":{{"a":"1","a":"2"}},{v}}}"#),
    ] {
        match st::parse(&file(&header, 4)) {
            Err(SafetensorsError::Duplicate { .. }) => {}
            other => panic!("{header}: {other:?}"),
        }
    }
    // The crate itself finds this one.
    refusal(
        st::parse(&file(&format!("{{{notes},{v},{notes}}}"), 4)),
        &["duplicate"],
    );
}

#[test]
fn errors_name_the_file() {
    let dir = folder("names");
    let path = dir.join("model.safetensors");
    fs::write(&path, b"none").unwrap();
    refusal(st::read(&path), &["model.safetensors", "safetensors:"]);
    let tensor = NamedTensor {
        name: "__metadata__".into(),
        dtype: Dtype::F32,
        shape: vec![0],
        bytes: Vec::new(),
    };
    refusal(
        st::write(&path, &[tensor]),
        &["model.safetensors", "__metadata__"],
    );
    assert_eq!(fs::read(&path).unwrap(), b"none", "and leave it");
    refusal(st::write(&dir, &[]), &["names", "folder"]);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn writers_keep_what_is_not_theirs() {
    let dir = folder("partial");
    let path = dir.join("a");
    // A file of the user's own, of the name that the writer once took for its unfinished file.
    fs::write(dir.join("a.partial"), b"mine").unwrap();
    st::write(&path, &[]).unwrap();
    assert_eq!(fs::read(dir.join("a.partial")).unwrap(), b"mine");
    assert_eq!(st::read(&path).unwrap(), []);

    // Data that cannot be written is found before the old file is opened.
    idx(&[2, 2]).write(&path).unwrap();
    let wrong = Idx {
        data: vec![1; 3],
        ..idx(&[2, 2])
    };
    for written in [wrong.write(&path), wrong.write_gz(&path)] {
        refusal(written, &["partial", "ask for 4 bytes"]);
        assert_eq!(Idx::read(&path).unwrap(), idx(&[2, 2]));
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a", dir.join("link")).unwrap();
        idx(&[3]).write_gz(dir.join("link")).unwrap();
        st::write(dir.join("link"), &[]).unwrap();
        assert!(dir.join("link").is_symlink());
        assert_eq!(st::read(&path).unwrap(), []);
        st::write("/dev/null", &[]).unwrap();
        idx(&[3]).write("/dev/null").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn gzip_padded_with_zeros_is_read_and_other_rests_are_named() {
    let dir = folder("padded");
    let path = dir.join("a.gz");
    idx(&[50, 50]).write_gz(&path).unwrap();
    for zeros in [1, 7, 100_000] {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&vec![0; zeros]).unwrap();
        assert_eq!(Idx::read(&path).unwrap(), idx(&[50, 50]));
    }
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"x").unwrap();
    refusal(Idx::read(&path), &["a.gz", "neither gzip nor zeros"]);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_folder_that_is_not_there_lacks_no_files() {
    let dir = folder("nowhere");
    for path in [dir.join("none"), dir.join("file")] {
        fs::write(dir.join("file"), b"").unwrap();
        match mnist::load(&path) {
            Err(MnistError::Folder { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(mnist::load(&dir), Err(MnistError::Missing { names, .. }) if names.len() == 4));
    fs::remove_dir_all(dir).unwrap();
}
