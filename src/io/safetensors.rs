//! Named tensors in safetensors files: a thin layer over the `safetensors` crate, which does the parsing and
//! its checks (sizes, overlaps, gaps, overflow). Elements are little-endian and row-major, as in the file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safetensors::tensor::{SafeTensorError, SafeTensors, TensorView, serialize as serialize_views};
use thiserror::Error;

use crate::tensor::{MAX_WORDS, alloc};

/// Element types read and written here.
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
}

impl Dtype {
    /// The name in a file's header.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Bf16 => "BF16",
            Dtype::F32 => "F32",
            Dtype::F64 => "F64",
            Dtype::U32 => "U32",
        }
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::Bf16 => 2,
            Dtype::F32 | Dtype::U32 => 4,
            Dtype::F64 => 8,
        }
    }

    fn to_file(self) -> safetensors::Dtype {
        match self {
            Dtype::Bf16 => safetensors::Dtype::BF16,
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::F64 => safetensors::Dtype::F64,
            Dtype::U32 => safetensors::Dtype::U32,
        }
    }

    fn from_file(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::BF16 => Some(Dtype::Bf16),
            safetensors::Dtype::F32 => Some(Dtype::F32),
            safetensors::Dtype::F64 => Some(Dtype::F64),
            safetensors::Dtype::U32 => Some(Dtype::U32),
            _ => None,
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
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
    /// An element type that fewbit has no use for.
    #[error("safetensors: tensor `{name}` has elements of type {dtype}; BF16, F32, F64 and U32 are read")]
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

/// Reads all tensors of a file held in memory, in the order of their names.
///
/// # Errors
/// [`SafetensorsError::Format`], [`SafetensorsError::Unsupported`], [`SafetensorsError::TooLarge`] or
/// [`SafetensorsError::OutOfMemory`].
pub fn parse(bytes: &[u8]) -> Result<Vec<NamedTensor>, SafetensorsError> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let tensor = |(name, view): (String, TensorView<'_>)| match Dtype::from_file(view.dtype()) {
        Some(_) if !is_bounded(view.shape()) => Err(SafetensorsError::TooLarge {
            name,
            shape: view.shape().to_vec(),
        }),
        Some(dtype) => match alloc::copied("safetensors", view.data()) {
            Ok(bytes) => Ok(NamedTensor {
                name,
                dtype,
                shape: view.shape().to_vec(),
                bytes,
            }),
            Err(_) => Err(SafetensorsError::OutOfMemory {
                name,
                bytes: view.data().len(),
            }),
        },
        None => Err(SafetensorsError::Unsupported {
            name,
            dtype: view.dtype().to_string(),
        }),
    };
    views.into_iter().map(tensor).collect()
}

/// Reads all tensors of the file `path`; see [`parse`].
///
/// # Errors
/// [`SafetensorsError`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<NamedTensor>, SafetensorsError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| SafetensorsError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    parse(&bytes)
}

/// Makes a file in memory. The same tensors give the same bytes, whatever their order.
///
/// # Errors
/// [`SafetensorsError::Name`] or [`SafetensorsError::Length`] for a tensor that cannot be written,
/// [`SafetensorsError::Format`] for a header beyond the format's limit of 100 MB.
pub fn serialize(tensors: &[NamedTensor]) -> Result<Vec<u8>, SafetensorsError> {
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
            .try_fold(dtype.bytes(), |product, &dim| product.checked_mul(dim));
        if need != Some(bytes.len()) {
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
    Ok(serialize_views(views, None)?)
}

/// Writes tensors to the file `path`; see [`serialize`]. An existing file is replaced only once the new one is
/// complete, so an interrupted run leaves the old checkpoint whole.
///
/// # Errors
/// [`SafetensorsError`].
pub fn write(path: impl AsRef<Path>, tensors: &[NamedTensor]) -> Result<(), SafetensorsError> {
    let path = path.as_ref();
    let bytes = serialize(tensors)?;
    let fail = |source| SafetensorsError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut beside = path.as_os_str().to_os_string();
    beside.push(".partial");
    let write = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    write.map_err(|source| {
        // Best effort: the error that matters is the one already in hand.
        let _ = std::fs::remove_file(&beside);
        fail(source)
    })
}
