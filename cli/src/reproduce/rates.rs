//! Learning rates and epochs of the claims. All train by SGD with momentum 0.9 in batches of 128, and the rate falls to 0
//! along half a cosine.
//!
//! The rates are of [`GRID`] and known to work: all formats of a claim share one, so that what differs is the format alone.
//! None was chosen on test images; `--tune` shows the whole grid, on validation images.

/// The rates that are chosen from.
pub(super) const GRID: [f32; 5] = [0.02, 0.05, 0.1, 0.2, 0.5];

/// A network's rate and epochs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) rate: f32,
    pub(super) epochs: usize,
}

/// 784-2800-2670-10; the rate of `TrainOptions::default`.
pub(super) const TABLE1: Rate = Rate {
    rate: 0.05,
    epochs: 2,
};

/// 784-512-512-10; the rate was chosen on validation images of MNIST for f32, and it is the README's.
pub(super) const SMALL: Rate = Rate {
    rate: 0.1,
    epochs: 10,
};

/// The same network for a few epochs.
pub(super) const FMAC: Rate = Rate { rate: 0.1, epochs: 3 };

/// LeNet-5: half the rate of `SMALL`, since the steps of a filter are sums over all its places.
pub(super) const LENET: Rate = Rate {
    rate: 0.05,
    epochs: 5,
};

/// Teachers of a small student: the network and the rate of `SMALL`.
pub(super) const TEACHER: Rate = SMALL;

/// A small student's epochs; its rates are [`STUDENT_RATES`].
pub(super) const STUDENT_EPOCHS: usize = 10;

/// The grid of a student's rates; each kind of student gets the best of its own on validation images.
pub(super) const STUDENT_RATES: [f32; 5] = GRID;

/// The grid of temperatures.
pub(super) const TEMPERATURES: [f32; 5] = [1.0, 2.0, 4.0, 8.0, 20.0];

/// Hinton's teacher, with dropout and moved images: wide layers want less than `SMALL`, dropout more epochs.
pub(super) const HINTON_TEACHER: Rate = Rate {
    rate: 0.05,
    epochs: 40,
};

/// Hinton's student.
pub(super) const HINTON_STUDENT: Rate = Rate {
    rate: 0.05,
    epochs: 20,
};
