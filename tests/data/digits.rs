//! The drawn digits: fixed, balanced, and hard enough to need a hidden layer.

use fewbit::nn::data::{DataError, Part, Split};
use fewbit::nn::digits::{self, PIXELS};

use crate::classifier;

/// FNV-1a over the labels and pixels of a split.
fn checksum(split: &Split) -> u64 {
    let bytes = split.labels.iter().chain(&split.images);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn digits_are_the_same_everywhere() {
    let set = digits::dataset(42, 1000, 200).unwrap();
    // Pinned: a change here changes what every published accuracy was measured on.
    assert_eq!(
        checksum(set.train()),
        8_567_847_924_532_150_508,
        "training images have changed"
    );
    assert_eq!(
        checksum(set.test()),
        8_220_060_541_451_750_788,
        "test images have changed"
    );
    let longer = digits::dataset(42, 1200, 300).unwrap();
    assert_eq!(
        longer.train().images[..1000 * PIXELS],
        set.train().images,
        "a prefix stays a prefix"
    );
    assert_eq!(longer.test().images[..200 * PIXELS], set.test().images);
    for index in [0, 1, 999] {
        let (image, label) = digits::digit(42, index as u64);
        assert_eq!(image[..], set.train().images[index * PIXELS..][..PIXELS]);
        assert_eq!(label, set.train().labels[index]);
    }
    assert_ne!(digits::digit(43, 0).0, digits::digit(42, 0).0, "the seed matters");
    digits::digit(u64::MAX, u64::MAX);
    assert_eq!(
        digits::dataset(1, 0, 1),
        Err(DataError::Empty { part: Part::Train })
    );
    assert!(matches!(
        digits::dataset(1, 1, usize::MAX),
        Err(DataError::OutOfMemory { part: Part::Test, .. })
    ));
}

#[test]
fn digits_are_balanced_inked_and_distinct() {
    let set = digits::dataset(7, 5000, 10).unwrap();
    for ten in set.train().labels.chunks(10) {
        let mut seen = ten.to_vec();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
    let mut images: Vec<&[u8]> = set.train().images.chunks(PIXELS).collect();
    for image in &images {
        assert!(
            image.iter().filter(|&&pixel| pixel > 128).count() >= 15,
            "a digit must be readable"
        );
    }
    // Mean grey of MNIST: 33; a set far from it would need other learning rates.
    let mean = set
        .train()
        .images
        .iter()
        .map(|&pixel| f64::from(pixel))
        .sum::<f64>()
        / (5000 * PIXELS) as f64;
    assert!((25.0..40.0).contains(&mean), "mean grey {mean}");
    images.sort_unstable();
    images.dedup();
    assert_eq!(images.len(), 5000, "no image twice");
}

// Measured: 85.1 % here; 86.6 % after training on 60,000.
#[test]
fn digits_defeat_a_linear_classifier() {
    let set = digits::dataset(1, 20_000, 5_000).unwrap();
    let accuracy = classifier::train(&set, &[PIXELS, 10], 12, 0.02);
    assert!((0.80..0.92).contains(&accuracy), "linear classifier: {accuracy}");
}

// Measured: 99.2 % here; 98.7 % for 784-2800-2670-10 after two epochs without a falling rate. Some five
// seconds on two cores.
#[test]
fn digits_yield_to_a_perceptron() {
    let set = digits::dataset(1, 60_000, 10_000).unwrap();
    let accuracy = classifier::train(&set, &[PIXELS, 256, 128, 10], 4, 0.05);
    assert!(accuracy > 0.97, "perceptron: {accuracy}");
}
