//! Named tensors in safetensors files: a thin layer over the `safetensors` crate, which does the parsing and
//! its checks (sizes, overlaps, gaps, overflow). Elements are little-endian and row-major, as in the file.
//!
//! Tensors of every element type are read and written as bytes, so that a file passes through whole; only the use
//! of one whose type fewbit does not compute with is an error.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{SafeTensorError, SafeTensors, TensorView, serialize as serialize_views};
use thiserror::Error;

use crate::file;
use crate::format::bf16;
use crate::tensor::{MAX_WORDS, alloc};

/// Element types of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// bfloat16, 2 bytes.
    Bf16,
    /// IEEE single precision, 4 bytes.
    F32,
    /// IEEE double precision, 8 bytes.
    F64,
    /// Unsigned integer, 4 bytes; fewbit keeps packed codes in it.
    U32,
    /// Any other that the format has: kept, but not computed with.
    Other(OtherDtype),
}

/// An element type of the format that fewbit does not compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherDtype(safetensors::Dtype);

impl std::hash::Hash for OtherDtype {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // A type is its name.
        self.0.to_string().hash(state);
    }
}

impl Dtype {
    /// Bits of one element.
    pub fn bits(self) -> usize {
        self.to_file().bitsize()
    }

    fn to_file(self) -> safetensors::Dtype {
        match self {
            Dtype::Bf16 => safetensors::Dtype::BF16,
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::F64 => safetensors::Dtype::F64,
            Dtype::U32 => safetensors::Dtype::U32,
            Dtype::Other(other) => other.0,
        }
    }

    fn from_file(dtype: safetensors::Dtype) -> Self {
        match dtype {
            safetensors::Dtype::BF16 => Dtype::Bf16,
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F64 => Dtype::F64,
            safetensors::Dtype::U32 => Dtype::U32,
            other => Dtype::Other(OtherDtype(other)),
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.to_file())
    }
}

/// A tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// Its name, unique in the file.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its elements, little-endian, row-major, without gaps.
    pub bytes: Vec<u8>,
}

impl NamedTensor {
    /// The elements as f32: those of F64 rounded to nearest.
    ///
    /// # Errors
    /// [`SafetensorsError::Unsupported`] for elements that are no floats fewbit computes with.
    pub fn to_f32(&self) -> Result<Vec<f32>, SafetensorsError> {
        match self.dtype {
            Dtype::Bf16 => {
                let (words, _) = self.bytes.as_chunks();
                Ok(words
                    .iter()
                    .map(|&bytes| bf16::widen(u16::from_le_bytes(bytes)))
                    .collect())
            }
            Dtype::F32 => {
                let (words, _) = self.bytes.as_chunks();
                Ok(words.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
            }
            Dtype::F64 => {
                let (words, _) = self.bytes.as_chunks();
                Ok(words
                    .iter()
                    .map(|&bytes| f64::from_le_bytes(bytes) as f32)
                    .collect())
            }
            Dtype::U32 | Dtype::Other(_) => Err(SafetensorsError::Unsupported {
                name: self.name.clone(),
                dtype: self.dtype.to_string(),
            }),
        }
    }
}

/// Why tensors cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Opening, reading or writing the file failed.
    #[error("safetensors: {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The bytes are no sound safetensors file, or the crate refused to write one.
    #[error("safetensors: {0}")]
    Format(#[from] SafeTensorError),
    /// Something in a file with a name.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<SafetensorsError>,
    },
    /// One object of the header says two things of one name.
    #[error("safetensors: the header holds the key `{key}` twice")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// Elements that cannot be used as floats.
    #[error(
        "safetensors: tensor `{name}` has elements of type {dtype}; BF16, F32 and F64 are used as floats"
    )]
    Unsupported {
        /// The tensor.
        name: String,
        /// Its element type, as the file names it.
        dtype: String,
    },
    /// A tensor whose sizes, those of 0 counted as 1, multiply to more than any tensor may have: its file holds no
    /// data for it, and loops over it would not end.
    #[error("safetensors: tensor `{name}` has shape {shape:?}, which is past the limit of 2^40 elements")]
    TooLarge {
        /// The tensor.
        name: String,
        /// Its sizes.
        shape: Vec<usize>,
    },
    /// The host cannot hold a tensor.
    #[error("safetensors: out of memory for the {bytes} bytes of tensor `{name}`")]
    OutOfMemory {
        /// The tensor.
        name: String,
        /// Its size.
        bytes: usize,
    },
    /// Shape and data of a tensor to write disagree.
    #[error(
        "safetensors: tensor `{name}` of type {dtype} and shape {shape:?} has {found} bytes of data, which does not fit"
    )]
    Length {
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: Dtype,
        /// Its sizes.
        shape: Vec<usize>,
        /// Bytes given.
        found: usize,
    },
    /// Two tensors to write have one name, or one has the name the format keeps for itself.
    #[error("safetensors: the name `{name}` is given twice or is `__metadata__`, which the format reserves")]
    Name {
        /// The name.
        name: String,
    },
}

fn is_bounded(shape: &[usize]) -> bool {
    let elements = shape.iter().fold(1u64, |product, &extent| {
        product.saturating_mul(extent.max(1) as u64)
    });
    elements <= MAX_WORDS
}

impl SafetensorsError {
    fn at(self, path: &Path) -> Self {
        SafetensorsError::File {
            path: path.to_path_buf(),
            source: Box::new(self),
        }
    }
}

/// Reads all tensors of a file held in memory, in the order of their names, whatever their types.
///
/// # Errors
/// [`SafetensorsError::Format`], [`SafetensorsError::Duplicate`], [`SafetensorsError::TooLarge`] or
/// [`SafetensorsError::OutOfMemory`].
pub fn parse(bytes: &[u8]) -> Result<Vec<NamedTensor>, SafetensorsError> {
    let file = SafeTensors::deserialize(bytes)?;
    // Whose header has been found to be JSON, of the length that stands before it.
    if let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        unique_keys(&rest[..length.min(rest.len())])?;
    }
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let shape = view.shape().to_vec();
        if !is_bounded(&shape) {
            return Err(SafetensorsError::TooLarge { name, shape });
        }
        match alloc::copied("safetensors", view.data()) {
            Ok(bytes) => Ok(NamedTensor {
                name,
                dtype: Dtype::from_file(view.dtype()),
                shape,
                bytes,
            }),
            Err(_) => Err(SafetensorsError::OutOfMemory {
                name,
                bytes: view.data().len(),
            }),
        }
    };
    views.into_iter().map(tensor).collect()
}

/// The metadata of a file held in memory: texts by their keys.
///
/// # Errors
/// [`SafetensorsError::Format`].
pub fn parse_metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, SafetensorsError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let all = header.metadata().iter().flatten();
    Ok(all.map(|(key, text)| (key.clone(), text.clone())).collect())
}

/// Finds a key that one object of sound JSON holds twice: parsers keep the last and say nothing.
fn unique_keys(json: &[u8]) -> Result<(), SafetensorsError> {
    // The keys of every object that is open; `None` for an array.
    let mut open: Vec<Option<BTreeSet<String>>> = Vec::new();
    let mut key_follows = false;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' => open.push(Some(BTreeSet::new())),
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let start = at - 1;
                while json.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(json.len());
                if key_follows && let Some(Some(keys)) = open.last_mut() {
                    // Two spellings of one name are one name.
                    let key: String = serde_json::from_slice(&json[start..at]).unwrap_or_default();
                    if !keys.insert(key.clone()) {
                        return Err(SafetensorsError::Duplicate { key });
                    }
                }
            }
            _ => {}
        }
        key_follows = match byte {
            b'{' | b',' => matches!(open.last(), Some(Some(_))),
            b' ' | b'\n' | b'\r' | b'\t' => key_follows,
            _ => false,
        };
    }
    Ok(())
}

/// Reads all tensors of the file `path`; see [`parse`].
///
/// # Errors
/// [`SafetensorsError::Io`], or [`SafetensorsError::File`], which names the file and holds what is wrong.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<NamedTensor>, SafetensorsError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| SafetensorsError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    parse(&bytes).map_err(|error| error.at(path))
}

/// Makes a file in memory. The same tensors give the same bytes, whatever their order.
///
/// # Errors
/// [`SafetensorsError::Name`] or [`SafetensorsError::Length`] for a tensor that cannot be written,
/// [`SafetensorsError::Format`] for a header beyond the format's limit of 100 MB.
pub fn serialize(tensors: &[NamedTensor]) -> Result<Vec<u8>, SafetensorsError> {
    serialize_with(tensors, None)
}

/// The same with one entry of metadata, a key and its text. One, for the crate writes several in no fixed order, and the
/// same bytes would not come of the same tensors.
///
/// # Errors
/// See [`serialize`].
pub fn serialize_with(
    tensors: &[NamedTensor],
    metadata: Option<(&str, &str)>,
) -> Result<Vec<u8>, SafetensorsError> {
    let mut names = BTreeSet::new();
    let mut views = Vec::with_capacity(tensors.len());
    for NamedTensor {
        name,
        dtype,
        shape,
        bytes,
    } in tensors
    {
        if name == "__metadata__" || !names.insert(name.as_str()) {
            return Err(SafetensorsError::Name { name: name.clone() });
        }
        // Checked here because the crate multiplies the sizes unchecked.
        let need = shape
            .iter()
            .try_fold(dtype.bits(), |product, &dim| product.checked_mul(dim));
        if need.is_none() || need != bytes.len().checked_mul(8) {
            let (name, dtype, shape, found) = (name.clone(), *dtype, shape.clone(), bytes.len());
            return Err(SafetensorsError::Length {
                name,
                dtype,
                shape,
                found,
            });
        }
        views.push((
            name.as_str(),
            TensorView::new(dtype.to_file(), shape.clone(), bytes)?,
        ));
    }
    let views = views.iter().map(|(name, view)| (*name, view));
    let metadata = metadata.map(|(key, text)| HashMap::from([(key.to_string(), text.to_string())]));
    Ok(serialize_views(views, metadata)?)
}

/// Writes tensors to the file `path`; see [`serialize`] and [`file::write`]: an existing file is
/// replaced only once the new one is complete, so an interrupted run leaves the old checkpoint whole.
///
/// # Errors
/// [`SafetensorsError::Io`], or [`SafetensorsError::File`], which names the file and holds what is wrong.
pub fn write(path: impl AsRef<Path>, tensors: &[NamedTensor]) -> Result<(), SafetensorsError> {
    let path = path.as_ref();
    let bytes = serialize(tensors).map_err(|error| error.at(path))?;
    file::write(path, &bytes).map_err(|source| SafetensorsError::Io {
        path: path.to_path_buf(),
        source,
    })
}
