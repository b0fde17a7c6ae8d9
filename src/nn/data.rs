//! A labelled set of grey images, split into training and test parts.

use thiserror::Error;

/// Which half of a [`Dataset`] an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The samples to train on.
    Train,
    /// The samples held back.
    Test,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Train => "training",
            Part::Test => "test",
        })
    }
}

/// Why images and labels do not make a [`Dataset`].
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataError {
    /// An image would have no pixels, or more than an address holds.
    #[error(
        "dataset: images of {rows} x {cols} pixels; both sides and their product must be in 1..=usize::MAX"
    )]
    Shape {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// Fewer than one class, or more than a byte can tell apart.
    #[error("dataset: {classes} classes; a label is one byte, so 1..=256")]
    Classes {
        /// Number of classes asked for.
        classes: usize,
    },
    /// A split without a sample.
    #[error("dataset: the {part} split is empty; at least 1 sample is needed")]
    Empty {
        /// The split.
        part: Part,
    },
    /// Pixels and labels of a split disagree.
    #[error(
        "dataset: the {part} split has {bytes} bytes of pixels for {labels} labels of {pixels} pixels each"
    )]
    Length {
        /// The split.
        part: Part,
        /// Bytes of pixels found.
        bytes: usize,
        /// Labels found.
        labels: usize,
        /// Pixels of one image.
        pixels: usize,
    },
    /// Nothing would be left to train on.
    #[error("dataset: {count} samples {what} leave none of {samples} to train on")]
    TooFew {
        /// What they are wanted for.
        what: &'static str,
        /// How many are wanted.
        count: usize,
        /// How many there are to train on.
        samples: usize,
    },
    /// The host cannot hold a split.
    #[error("dataset: out of memory for {samples} samples of the {part} split")]
    OutOfMemory {
        /// The split.
        part: Part,
        /// Samples it was to hold.
        samples: usize,
    },
    /// A label outside the classes.
    #[error("dataset: the {part} split's label {index} is {label}; labels must be below {classes}")]
    Label {
        /// The split.
        part: Part,
        /// Which sample.
        index: usize,
        /// Its label.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
}

/// A number that tells bytes from others: FNV-1a's 64 bits. It finds mistakes, not forgeries.
#[must_use]
pub fn fingerprint<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325;
    bytes.into_iter().fold(start, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Images and their labels, in step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Pixels, one byte each (0 is paper, 255 is ink), row-major, image after image without gaps.
    pub images: Vec<u8>,
    /// One class number per image.
    pub labels: Vec<u8>,
}

impl Split {
    /// How many samples it holds.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// A number that tells this split from others: [`fingerprint`] over its counts, images and labels.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let counts = [self.images.len() as u64, self.labels.len() as u64].map(u64::to_le_bytes);
        fingerprint(
            counts
                .as_flattened()
                .iter()
                .chain(&self.images)
                .chain(&self.labels),
        )
    }

    fn check(&self, part: Part, pixels: usize, classes: usize) -> Result<(), DataError> {
        if self.labels.is_empty() {
            return Err(DataError::Empty { part });
        }
        if self.labels.len().checked_mul(pixels) != Some(self.images.len()) {
            let (bytes, labels) = (self.images.len(), self.labels.len());
            return Err(DataError::Length {
                part,
                bytes,
                labels,
                pixels,
            });
        }
        match self
            .labels
            .iter()
            .position(|&label| usize::from(label) >= classes)
        {
            Some(index) => Err(DataError::Label {
                part,
                index,
                label: self.labels[index],
                classes,
            }),
            None => Ok(()),
        }
    }
}

/// A classification task over grey images of one size. Valid by construction: both splits have samples, every
/// image has `rows * cols` bytes and every label is below `classes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    train: Split,
    test: Split,
    rows: usize,
    cols: usize,
    classes: usize,
}

impl Dataset {
    /// Joins two splits of images of `rows x cols` pixels with labels in `0..classes`.
    ///
    /// # Errors
    /// [`DataError`] for an empty split, sizes that disagree, or a label that is no class.
    pub fn new(
        train: Split,
        test: Split,
        rows: usize,
        cols: usize,
        classes: usize,
    ) -> Result<Self, DataError> {
        let pixels = match rows.checked_mul(cols) {
            Some(pixels) if pixels > 0 => pixels,
            _ => return Err(DataError::Shape { rows, cols }),
        };
        if classes == 0 || classes > 256 {
            return Err(DataError::Classes { classes });
        }
        train.check(Part::Train, pixels, classes)?;
        test.check(Part::Test, pixels, classes)?;
        Ok(Self {
            train,
            test,
            rows,
            cols,
            classes,
        })
    }

    /// Moves the last `count` samples to train on behind those to test on.
    ///
    /// # Errors
    /// [`DataError::TooFew`] where none would be left to train on.
    pub fn hold_out(mut self, count: usize) -> Result<Self, DataError> {
        let held = self.take(count, "to hold out")?;
        self.test.images.extend(held.images);
        self.test.labels.extend(held.labels);
        Ok(self)
    }

    /// Puts the last `count` samples to train on in the place of those to test on: to choose learning rates by, and
    /// whatever else is not to be chosen by test samples.
    ///
    /// # Errors
    /// [`DataError::TooFew`] where none would be left to train on, or `count` is 0.
    pub fn validation(mut self, count: usize) -> Result<Self, DataError> {
        self.test = self.take(count, "to validate on")?;
        match count {
            0 => Err(DataError::Empty { part: Part::Test }),
            _ => Ok(self),
        }
    }

    /// The last samples to train on, which are no longer among them.
    fn take(&mut self, count: usize, what: &'static str) -> Result<Split, DataError> {
        let (samples, pixels) = (self.train.len(), self.pixels());
        let Some(left) = samples.checked_sub(count).filter(|left| *left > 0) else {
            return Err(DataError::TooFew { what, count, samples });
        };
        Ok(Split {
            images: self.train.images.split_off(left * pixels),
            labels: self.train.labels.split_off(left),
        })
    }

    /// The samples to train on.
    pub fn train(&self) -> &Split {
        &self.train
    }

    /// The samples held back.
    pub fn test(&self) -> &Split {
        &self.test
    }

    /// Height of an image in pixels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Width of an image in pixels.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Pixels of one image: `rows * cols`.
    pub fn pixels(&self) -> usize {
        self.rows * self.cols
    }

    /// Number of classes; labels are below it.
    pub fn classes(&self) -> usize {
        self.classes
    }
}
