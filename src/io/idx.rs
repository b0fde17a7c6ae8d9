//! IDX, the format of MNIST: a magic number, big-endian sizes, then bytes in row-major order. Unsigned bytes
//! only (type code 0x08), plain or gzipped; which of the two is told from the bytes, not from the name.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use thiserror::Error;

#[cfg(feature = "nn")]
use crate::nn::data::{DataError, Dataset, Part, Split};

/// Most bytes of data in one file: 2 GiB, forty times MNIST. A gzip of a few megabytes can hold as much.
pub const MAX_BYTES: usize = 1 << 31;

/// The type code of unsigned bytes, the only one read.
const UNSIGNED_BYTE: u8 = 0x08;

/// Why an IDX file, or a folder of them, cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdxError {
    /// Opening, reading, unzipping or writing failed.
    #[error("idx: {0}")]
    Io(#[from] std::io::Error),
    /// The first two bytes are not zero: another format.
    #[error("idx: the file starts with {found:02x?}; IDX starts with two zero bytes")]
    Magic {
        /// The four bytes found.
        found: [u8; 4],
    },
    /// Elements other than unsigned bytes.
    #[error("idx: element type 0x{code:02x}; only unsigned bytes (0x08) are read")]
    Type {
        /// The type code found.
        code: u8,
    },
    /// No dimension, or more than the one-byte count of the header can say.
    #[error("idx: {count} dimensions; there must be 1..=255")]
    Dimensions {
        /// The number of dimensions.
        count: usize,
    },
    /// More elements than [`MAX_BYTES`], or a size that does not fit the header's 32 bits.
    #[error("idx: sizes {dims:?} are too large; at most {max} bytes, and 2^32 - 1 along a dimension", max = MAX_BYTES)]
    TooLarge {
        /// The sizes.
        dims: Vec<usize>,
    },
    /// The file ends inside its header.
    #[error("idx: the file ends inside its header of {need} bytes")]
    Header {
        /// Bytes a header of this kind has, as far as is known.
        need: usize,
    },
    /// The data and the sizes disagree: truncated, or bytes follow.
    #[error("idx: sizes {dims:?} ask for {need} bytes of data, found {found}{more}", more = if found > need { " or more" } else { "" })]
    Length {
        /// The sizes.
        dims: Vec<usize>,
        /// Their product.
        need: usize,
        /// Bytes there; counting stops at one too many.
        found: usize,
    },
    /// Any of these, in a file with a name.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<IdxError>,
    },
    /// A folder lacks some of the four files of an MNIST-like set.
    #[error("idx: {} lacks {} (each also accepted as NAME.gz, and with `.idx` for `-idx`)", dir.display(), names.join(", "))]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// The standard names of the missing files.
        names: Vec<String>,
    },
    /// Images must have three dimensions (count, rows, columns) and labels one.
    #[error("idx: {} has {found} dimensions; expected {need}", path.display())]
    Rank {
        /// The file.
        path: PathBuf,
        /// Dimensions found.
        found: usize,
        /// Dimensions expected.
        need: usize,
    },
    /// As many images as labels are needed.
    #[cfg(feature = "nn")]
    #[error("idx: the {part} split has {images} images but {labels} labels")]
    Counts {
        /// The split.
        part: Part,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// Training and test images differ in size.
    #[error("idx: training images are {train:?} pixels, test images {test:?}; they must be the same")]
    ImageSize {
        /// Rows and columns of the training images.
        train: [usize; 2],
        /// Rows and columns of the test images.
        test: [usize; 2],
    },
    /// The files are sound but are no dataset, for instance a label of 10.
    #[cfg(feature = "nn")]
    #[error(transparent)]
    Data(#[from] DataError),
}

impl IdxError {
    fn at(self, path: &Path) -> Self {
        IdxError::File {
            path: path.to_path_buf(),
            source: Box::new(self),
        }
    }
}

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// Sizes, outermost first.
    pub dims: Vec<usize>,
    /// The elements, row-major; as many as the product of `dims`.
    pub data: Vec<u8>,
}

/// The number of bytes `dims` ask for, if it is within the limits.
fn volume(dims: &[usize]) -> Result<usize, IdxError> {
    let too_large = || IdxError::TooLarge { dims: dims.to_vec() };
    if dims.iter().any(|&dim| u32::try_from(dim).is_err()) {
        return Err(too_large());
    }
    // A size of 0 counts as 1 at first, so that no loop over the other sizes runs for ever.
    let product = dims
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim.max(1)));
    match product {
        Some(bytes) if bytes <= MAX_BYTES => Ok(if dims.contains(&0) { 0 } else { bytes }),
        _ => Err(too_large()),
    }
}

/// Fills `buffer`, or says that the header is cut short.
fn header(reader: &mut impl Read, buffer: &mut [u8], need: usize) -> Result<(), IdxError> {
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => IdxError::Header { need },
        _ => IdxError::Io(error),
    })
}

fn parse_plain(mut reader: impl Read) -> Result<Idx, IdxError> {
    let mut magic = [0u8; 4];
    header(&mut reader, &mut magic, 4)?;
    let [zero, zero_too, code, rank] = magic;
    if zero != 0 || zero_too != 0 {
        return Err(IdxError::Magic { found: magic });
    }
    if code != UNSIGNED_BYTE {
        return Err(IdxError::Type { code });
    }
    if rank == 0 {
        return Err(IdxError::Dimensions { count: 0 });
    }
    let mut sizes = vec![0u8; 4 * usize::from(rank)];
    let need = 4 + sizes.len();
    header(&mut reader, &mut sizes, need)?;
    let (sizes, _) = sizes.as_chunks::<4>();
    let dims: Vec<usize> = sizes
        .iter()
        .map(|&bytes| u32::from_be_bytes(bytes) as usize)
        .collect();
    let need = volume(&dims)?;
    // The vector grows with what arrives, so a lying header costs nothing. One byte more than announced is
    // asked for, to notice bytes that follow (and to let gzip reach its checksum).
    let mut data = Vec::new();
    let found = reader.take(need as u64 + 1).read_to_end(&mut data)?;
    if found != need {
        return Err(IdxError::Length { dims, need, found });
    }
    data.shrink_to_fit();
    Ok(Idx { dims, data })
}

impl Idx {
    /// Reads one array, plain or gzipped, to the end of `reader`.
    ///
    /// # Errors
    /// [`IdxError`]: another format or type, a header cut short or beyond [`MAX_BYTES`], more or fewer bytes
    /// than announced, gzip damage, or the reader's own error.
    pub fn parse(reader: impl Read) -> Result<Self, IdxError> {
        let mut reader = BufReader::new(reader);
        // A plain IDX file starts with two zeros, so one byte tells; `fill_buf` may hold no more than that.
        if reader.fill_buf()?.first() == Some(&0x1f) {
            parse_plain(MultiGzDecoder::new(reader))
        } else {
            parse_plain(reader)
        }
    }

    /// Reads the file `path`; see [`Idx::parse`].
    ///
    /// # Errors
    /// [`IdxError::File`], which names the file and holds what is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, IdxError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| IdxError::Io(error).at(path))?;
        Self::parse(file).map_err(|error| error.at(path))
    }

    /// Writes the array, plain.
    ///
    /// # Errors
    /// [`IdxError::Dimensions`], [`IdxError::TooLarge`] or [`IdxError::Length`] when `dims` and `data` cannot be
    /// written (nothing is), else the writer's own error.
    pub fn write_to(&self, mut writer: impl Write) -> Result<(), IdxError> {
        let count = self.dims.len();
        let rank = match u8::try_from(count) {
            Ok(rank) if rank > 0 => rank,
            _ => return Err(IdxError::Dimensions { count }),
        };
        let (need, found) = (volume(&self.dims)?, self.data.len());
        if need != found {
            return Err(IdxError::Length {
                dims: self.dims.clone(),
                need,
                found,
            });
        }
        writer.write_all(&[0, 0, UNSIGNED_BYTE, rank])?;
        for &dim in &self.dims {
            // `volume` has checked that each fits.
            writer.write_all(&(dim as u32).to_be_bytes())?;
        }
        writer.write_all(&self.data)?;
        writer.flush()?;
        Ok(())
    }

    /// Writes the array to the file `path`, plain; an existing file is replaced.
    ///
    /// # Errors
    /// As [`Idx::write_to`], inside [`IdxError::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), IdxError> {
        let path = path.as_ref();
        let file = File::create(path).map_err(|error| IdxError::Io(error).at(path))?;
        self.write_to(BufWriter::new(file))
            .map_err(|error| error.at(path))
    }

    /// Writes the array to the file `path`, gzipped; an existing file is replaced.
    ///
    /// # Errors
    /// As [`Idx::write_to`], inside [`IdxError::File`].
    pub fn write_gz(&self, path: impl AsRef<Path>) -> Result<(), IdxError> {
        let path = path.as_ref();
        let file = File::create(path).map_err(|error| IdxError::Io(error).at(path))?;
        let mut encoder = GzEncoder::new(BufWriter::new(file), flate2::Compression::default());
        self.write_to(&mut encoder).map_err(|error| error.at(path))?;
        let end = encoder.finish().and_then(|mut file| file.flush());
        end.map_err(|error| IdxError::Io(error).at(path))
    }
}

/// The names under which one file of the set may lie, the standard one first.
#[cfg(feature = "nn")]
fn names(stem: &str, kind: &str) -> [String; 4] {
    [
        format!("{stem}-{kind}-ubyte"),
        format!("{stem}-{kind}-ubyte.gz"),
        format!("{stem}.{kind}-ubyte"),
        format!("{stem}.{kind}-ubyte.gz"),
    ]
}

/// Reads an array of `need` dimensions.
#[cfg(feature = "nn")]
fn read_rank(path: &Path, need: usize) -> Result<Idx, IdxError> {
    let idx = Idx::read(path)?;
    let found = idx.dims.len();
    if found != need {
        return Err(IdxError::Rank {
            path: path.to_path_buf(),
            found,
            need,
        });
    }
    Ok(idx)
}

/// Reads MNIST, or any set in its four files: ten classes, grey images of one size. Each file is looked for as
/// `train-images-idx3-ubyte`, then with `.gz`, then as `train-images.idx3-ubyte` without and with `.gz`; so for
/// `train-labels` (idx1), `t10k-images` and `t10k-labels`.
///
/// # Errors
/// [`IdxError::Missing`] names all files that are not there; [`IdxError::File`] wraps what is wrong with one;
/// [`IdxError::Rank`], [`IdxError::Counts`], [`IdxError::ImageSize`] and [`IdxError::Data`] say how they
/// disagree.
#[cfg(feature = "nn")]
pub fn load_mnist(dir: impl AsRef<Path>) -> Result<Dataset, IdxError> {
    let dir = dir.as_ref();
    let mut missing = Vec::new();
    let mut find = |stem: &str, kind: &str| -> PathBuf {
        let names = names(stem, kind);
        match names
            .iter()
            .map(|name| dir.join(name))
            .find(|path| path.is_file())
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
        return Err(IdxError::Missing {
            dir: dir.to_path_buf(),
            names: missing,
        });
    }
    let [train_images, train_labels, test_images, test_labels] = paths;
    let load = |part: Part, images: &Path, labels: &Path| {
        let (images, labels) = (read_rank(images, 3)?, read_rank(labels, 1)?);
        if images.dims[0] != labels.dims[0] {
            return Err(IdxError::Counts {
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
        return Err(IdxError::ImageSize {
            train: size,
            test: test_size,
        });
    }
    let [rows, cols] = size;
    Ok(Dataset::new(train, test, rows, cols, 10)?)
}
