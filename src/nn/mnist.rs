//! MNIST, and any set of small grey images in its four IDX files.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::data::{DataError, Dataset, Part, Split};
use crate::io::idx::{Idx, IdxError};

/// Why a folder of IDX files cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MnistError {
    /// There is no such folder, or it cannot be looked into.
    #[error("mnist: {}: {source}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// One of the files cannot be used.
    #[error(transparent)]
    File(#[from] IdxError),
    /// A folder lacks some of the four files of an MNIST-like set.
    #[error("mnist: {} lacks {} (each also accepted as NAME.gz, and with `.idx` for `-idx`)", dir.display(), names.join(", "))]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// The standard names of the missing files.
        names: Vec<String>,
    },
    /// Images must have three dimensions (count, rows, columns) and labels one.
    #[error("mnist: {} has {found} dimensions; expected {need}", path.display())]
    Rank {
        /// The file.
        path: PathBuf,
        /// Dimensions found.
        found: usize,
        /// Dimensions expected.
        need: usize,
    },
    /// As many images as labels are needed.
    #[error("mnist: the {part} split has {images} images but {labels} labels")]
    Counts {
        /// The split.
        part: Part,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// Training and test images differ in size.
    #[error("mnist: training images are {train:?} pixels, test images {test:?}; they must be the same")]
    ImageSize {
        /// Rows and columns of the training images.
        train: [usize; 2],
        /// Rows and columns of the test images.
        test: [usize; 2],
    },
    /// The files are sound but are no dataset, for instance a label of 10.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// The names under which one file of the set may lie, the standard one first.
fn names(stem: &str, kind: &str) -> [String; 4] {
    [
        format!("{stem}-{kind}-ubyte"),
        format!("{stem}-{kind}-ubyte.gz"),
        format!("{stem}.{kind}-ubyte"),
        format!("{stem}.{kind}-ubyte.gz"),
    ]
}

/// Reads an array of `need` dimensions.
fn read_rank(path: &Path, need: usize) -> Result<Idx, MnistError> {
    let idx = Idx::read(path)?;
    let found = idx.dims.len();
    if found != need {
        return Err(MnistError::Rank {
            path: path.to_path_buf(),
            found,
            need,
        });
    }
    Ok(idx)
}

/// Whether there is a file, or something that cannot be looked at: reading it says why.
fn is_there(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(found) => found.is_file(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Reads MNIST, or any set in its four files: ten classes, grey images of one size. Each file is looked for as
/// `train-images-idx3-ubyte`, then with `.gz`, then as `train-images.idx3-ubyte` without and with `.gz`; so for
/// `train-labels` (idx1), `t10k-images` and `t10k-labels`.
///
/// # Errors
/// [`MnistError::Missing`] names all files that are not there; [`MnistError::File`] holds what is wrong with one;
/// [`MnistError::Rank`], [`MnistError::Counts`], [`MnistError::ImageSize`] and [`MnistError::Data`] say how they
/// disagree.
pub fn load(dir: impl AsRef<Path>) -> Result<Dataset, MnistError> {
    let dir = dir.as_ref();
    // That there is no such folder is not that it lacks four files.
    let folder = |source| MnistError::Folder {
        dir: dir.to_path_buf(),
        source,
    };
    if !std::fs::metadata(dir).map_err(folder)?.is_dir() {
        let error = std::io::Error::new(std::io::ErrorKind::NotADirectory, "this is no folder");
        return Err(folder(error));
    }
    // Nor is one that may not be looked into.
    std::fs::read_dir(dir).map_err(folder)?;
    let mut missing = Vec::new();
    let mut find = |stem: &str, kind: &str| -> PathBuf {
        let names = names(stem, kind);
        match names
            .iter()
            .map(|name| dir.join(name))
            .find(|path| is_there(path))
        {
            Some(path) => path,
            None => {
                missing.extend(names.into_iter().next());
                PathBuf::new()
            }
        }
    };
    let paths = [
        find("train-images", "idx3"),
        find("train-labels", "idx1"),
        find("t10k-images", "idx3"),
        find("t10k-labels", "idx1"),
    ];
    if !missing.is_empty() {
        return Err(MnistError::Missing {
            dir: dir.to_path_buf(),
            names: missing,
        });
    }
    let [train_images, train_labels, test_images, test_labels] = paths;
    let load = |part: Part, images: &Path, labels: &Path| {
        let (images, labels) = (read_rank(images, 3)?, read_rank(labels, 1)?);
        if images.dims[0] != labels.dims[0] {
            return Err(MnistError::Counts {
                part,
                images: images.dims[0],
                labels: labels.dims[0],
            });
        }
        let size = [images.dims[1], images.dims[2]];
        Ok((
            Split {
                images: images.data,
                labels: labels.data,
            },
            size,
        ))
    };
    let (train, size) = load(Part::Train, &train_images, &train_labels)?;
    let (test, test_size) = load(Part::Test, &test_images, &test_labels)?;
    if size != test_size {
        return Err(MnistError::ImageSize {
            train: size,
            test: test_size,
        });
    }
    let [rows, cols] = size;
    Ok(Dataset::new(train, test, rows, cols, 10)?)
}
