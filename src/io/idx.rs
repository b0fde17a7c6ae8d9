//! IDX, the format of MNIST: a magic number, big-endian sizes, then bytes in row-major order. Unsigned bytes
//! only (type code 0x08), plain or gzipped; which of the two is told from the bytes, not from the name.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use thiserror::Error;

use crate::file;

/// Most bytes of data in one file: 2 GiB, forty times MNIST. A gzip of a few megabytes can hold as much.
pub const MAX_BYTES: usize = 1 << 31;

/// The first byte of a gzip member.
const GZIP: u8 = 0x1f;

/// The type code of unsigned bytes, the only one read.
const UNSIGNED_BYTE: u8 = 0x08;

/// Why an IDX file cannot be used.
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

/// What the gzip members in a stream hold, one after the other. As gzip does, it skips zeros after the last: tapes
/// and disk images fill their blocks with them.
struct Unzipped<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Unzipped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut rest) = self.0.take().map(GzDecoder::into_inner) else {
                break;
            };
            if rest.fill_buf()?.first() == Some(&GZIP) {
                self.0 = Some(GzDecoder::new(rest));
                continue;
            }
            only_zeros(&mut rest)?;
        }
        Ok(0)
    }
}

fn only_zeros(rest: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = rest.fill_buf()?;
        let count = buffer.len();
        if count == 0 {
            return Ok(());
        }
        if buffer.iter().any(|byte| *byte != 0) {
            let message = "after the compressed data come bytes that are neither gzip nor zeros";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        }
        rest.consume(count);
    }
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
        if reader.fill_buf()?.first() == Some(&GZIP) {
            parse_plain(Unzipped(Some(GzDecoder::new(reader))))
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

    /// How many dimensions there are, where they and the data can be written.
    fn rank(&self) -> Result<u8, IdxError> {
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
        Ok(rank)
    }

    /// Writes the array, plain.
    ///
    /// # Errors
    /// [`IdxError::Dimensions`], [`IdxError::TooLarge`] or [`IdxError::Length`] when `dims` and `data` cannot be
    /// written (nothing is), else the writer's own error.
    pub fn write_to(&self, mut writer: impl Write) -> Result<(), IdxError> {
        let rank = self.rank()?;
        writer.write_all(&[0, 0, UNSIGNED_BYTE, rank])?;
        for &dim in &self.dims {
            // `volume` has checked that each fits.
            writer.write_all(&(dim as u32).to_be_bytes())?;
        }
        writer.write_all(&self.data)?;
        writer.flush()?;
        Ok(())
    }

    /// Writes the array to the file `path`, plain, whole or not at all ([`file::write`]).
    ///
    /// # Errors
    /// As [`Idx::write_to`], inside [`IdxError::File`]; an existing file is then as it was.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), IdxError> {
        self.write_file(path.as_ref(), |writer| self.write_to(writer))
    }

    /// Writes the array to the file `path`, gzipped; see [`Idx::write`].
    ///
    /// # Errors
    /// See [`Idx::write`].
    pub fn write_gz(&self, path: impl AsRef<Path>) -> Result<(), IdxError> {
        self.write_file(path.as_ref(), |writer| {
            let mut encoder = GzEncoder::new(writer, flate2::Compression::default());
            self.write_to(&mut encoder)?;
            encoder.finish()?;
            Ok(())
        })
    }

    fn write_file(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), IdxError>,
    ) -> Result<(), IdxError> {
        // Before anything is opened: a device is written to as it stands.
        let written = self.rank().and_then(|_| file::write_with(path, fill));
        written.map_err(|error| error.at(path))
    }
}
