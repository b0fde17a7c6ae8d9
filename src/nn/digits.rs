//! Handwritten-looking digits that the program draws itself: 28 x 28 grey images in ten classes, shaped like
//! MNIST's, with no file to download and no licence to ask about.
//!
//! A digit is a pen skeleton (several ways of writing each numeral) whose control points are shaken, joined by
//! smooth curves, bent by a slow wave, turned, sheared, scaled and moved, then inked with a pen of varying width.
//! Each image depends on `(seed, index)` alone, so any one of them can be drawn without the others, in any order
//! and on any thread. The arithmetic is `+ - * /`, `floor` and `sqrt` on `f32` (IEEE 754 fixes their every bit)
//! with a sine of our own, so the pixels are the same on every platform.
//!
//! The variation is chosen so that the task needs a hidden layer: `tests/data.rs` holds a linear classifier under
//! 92 % and asks a perceptron for 97 %.

use super::data::{DataError, Dataset, Split};
use crate::cpu::Cpu;
use crate::tensor::alloc;

/// Height of a drawn image in pixels.
pub const ROWS: usize = 28;
/// Width of a drawn image in pixels.
pub const COLS: usize = 28;
/// Pixels of a drawn image.
pub const PIXELS: usize = ROWS * COLS;
/// Number of classes: the numerals 0 to 9.
pub const CLASSES: usize = 10;

/// Test images are drawn from here on, so that they never change with the size of the training split.
const TEST_START: u64 = 1 << 63;

/// A pen stroke: points of a smooth curve in hundredths of the glyph's box (x right, y down). A point given twice
/// is a corner.
type Stroke = &'static [(u8, u8)];
type Glyph = &'static [Stroke];

/// The ways to write each numeral.
#[rustfmt::skip]
const GLYPHS: [&[Glyph]; CLASSES] = [
    &[ // 0: round, narrow, with a tail inside
        &[&[(50, 0), (25, 12), (12, 50), (25, 88), (50, 100), (75, 88), (88, 50), (75, 12), (50, 0), (40, 3)]],
        &[&[(55, 2), (35, 20), (28, 55), (38, 90), (52, 98), (68, 80), (74, 45), (66, 12), (50, 2), (44, 10)]],
        &[&[(70, 8), (45, 2), (20, 25), (14, 60), (30, 94), (55, 98), (80, 75), (84, 40), (68, 12), (48, 10)]],
    ],
    &[ // 1: a bar, with a flag, with flag and foot
        &[&[(52, 0), (50, 50), (48, 100)]],
        &[&[(32, 22), (52, 0), (52, 0), (52, 50), (52, 100)]],
        &[&[(30, 24), (52, 2), (52, 2), (52, 98)], &[(28, 98), (76, 98)]],
    ],
    &[ // 2: straight foot, looped foot, flat like a Z
        &[&[(18, 24), (30, 6), (52, 0), (74, 12), (76, 34), (58, 60), (18, 98), (18, 98), (50, 97), (86, 98)]],
        &[&[(20, 26), (34, 4), (60, 2), (76, 22), (66, 50), (40, 82), (20, 94), (14, 84), (28, 76), (50, 88),
            (84, 96)]],
        &[&[(16, 12), (48, 2), (78, 10), (70, 40), (14, 96), (14, 96), (50, 100), (84, 90)]],
    ],
    &[ // 3: round, flat top, looped waist
        &[&[(18, 14), (40, 0), (68, 6), (74, 26), (60, 44), (40, 48), (40, 48), (66, 52), (82, 72), (70, 94),
            (42, 100), (14, 88)]],
        &[&[(18, 4), (78, 4), (78, 4), (44, 42), (44, 42), (70, 50), (80, 72), (66, 95), (38, 100), (14, 90)]],
        &[&[(20, 10), (48, 0), (74, 14), (66, 38), (42, 50), (36, 44), (46, 42), (72, 54), (80, 78), (58, 98),
            (24, 96)]],
    ],
    &[ // 4: open, closed, round-shouldered
        &[&[(30, 2), (18, 56), (18, 56), (84, 54)], &[(66, 4), (62, 100)]],
        &[&[(62, 2), (12, 66), (12, 66), (90, 66)], &[(62, 2), (62, 100)]],
        &[&[(26, 6), (22, 40), (38, 52), (70, 44)], &[(72, 2), (66, 50), (58, 100)]],
    ],
    &[ // 5: separate roof, one stroke, like an S
        &[&[(28, 4), (24, 44), (24, 44), (50, 36), (78, 54), (76, 84), (50, 100), (16, 90)], &[(28, 4), (80, 2)]],
        &[&[(80, 4), (32, 6), (32, 6), (26, 44), (26, 44), (56, 38), (80, 60), (68, 92), (38, 100), (14, 88)]],
        &[&[(78, 6), (46, 2), (28, 20), (40, 42), (68, 56), (74, 80), (50, 100), (20, 94)]],
    ],
    &[ // 6: leaning, upright, curled
        &[&[(66, 2), (36, 24), (20, 62), (30, 94), (56, 100), (78, 82), (72, 60), (48, 54), (24, 70)]],
        &[&[(48, 0), (28, 40), (22, 76), (40, 98), (66, 92), (70, 70), (50, 60), (26, 74)]],
        &[&[(76, 12), (54, 2), (28, 24), (18, 64), (36, 98), (66, 94), (76, 70), (54, 56), (28, 66)]],
    ],
    &[ // 7: plain, barred, with a serif, rounded
        &[&[(16, 4), (82, 4), (82, 4), (56, 48), (42, 100)]],
        &[&[(16, 4), (82, 4), (82, 4), (56, 48), (42, 100)], &[(34, 50), (76, 48)]],
        &[&[(18, 20), (20, 4), (20, 4), (82, 6), (82, 6), (52, 54), (46, 100)]],
        &[&[(14, 12), (44, 4), (78, 8), (70, 40), (48, 100)]],
    ],
    &[ // 8: one stroke, two rings, narrow
        &[&[(74, 14), (50, 0), (26, 14), (34, 36), (62, 56), (78, 80), (50, 100), (22, 80), (36, 56), (66, 38),
            (74, 14)]],
        &[&[(50, 0), (28, 10), (28, 34), (50, 46), (72, 34), (72, 10), (50, 0)],
          &[(50, 46), (22, 60), (20, 86), (50, 100), (80, 86), (78, 60), (50, 46)]],
        &[&[(70, 8), (46, 4), (32, 22), (50, 46), (66, 70), (56, 96), (34, 92), (32, 70), (54, 46), (74, 22),
            (68, 6)]],
    ],
    &[ // 9: upright stem, curved tail, leaning stem
        &[&[(76, 20), (52, 2), (26, 14), (24, 40), (46, 52), (72, 40), (78, 16), (78, 16), (76, 60), (70, 100)]],
        &[&[(74, 24), (56, 2), (28, 12), (24, 38), (48, 50), (72, 34), (76, 20), (76, 20), (78, 64), (60, 96),
            (26, 94)]],
        &[&[(72, 10), (44, 2), (22, 24), (36, 48), (62, 40), (74, 8), (74, 8), (56, 100)]],
    ],
];

// How much a hand varies. Lengths are in glyph boxes (1 is the height of a digit) unless they say pixels; angles
// in radians. "Most" is the end of a triangular distribution around zero.

/// Most displacement of a control point.
const SHAKE: f32 = 0.105;
/// Most amplitude of each bending wave.
const BEND: f32 = 0.08;
/// Most turn.
const TURN: f32 = 0.45;
/// Most shear: x moves by this share of y. Writers lean to the right more than to the left.
const SHEAR: f32 = 0.45;
/// Mean lean to the right.
const LEAN: f32 = 0.08;
/// Least and most height in pixels.
const HEIGHT: (f32, f32) = (15.0, 21.0);
/// Least and most width, as a share of the height.
const WIDTH: (f32, f32) = (0.75, 1.2);
/// Most move away from the middle, in pixels, each way.
const MOVE: f32 = 2.75;
/// Least and most radius of the pen, in pixels.
const PEN: (f32, f32) = (0.8, 1.7);
/// Straight pieces that a span of a curve is cut into.
const PIECES: usize = 6;

/// SplitMix64: a counter with a strong mixer, so every (seed, index) starts an unrelated sequence.
struct Draw(u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Draw {
    fn new(seed: u64, purpose: u64, index: u64) -> Self {
        Self(mix(
            mix(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ index
        ))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// An integer below `n` (the bias of 2^-64 * n does not matter here).
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Evenly in [0, 1), in steps of 2^-24: exact in f32.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    fn between(&mut self, (low, high): (f32, f32)) -> f32 {
        low + (high - low) * self.unit()
    }

    /// In (-most, most), triangular around zero.
    fn about(&mut self, most: f32) -> f32 {
        (self.unit() - self.unit()) * most
    }
}

/// Sine to about 1e-4, the same on every platform, unlike libm's.
fn sin(x: f32) -> f32 {
    let turns = x * (0.5 / std::f32::consts::PI);
    // Into [-1/4, 1/4] turns, where the series below is good.
    let mut t = turns - (turns + 0.5).floor();
    if t > 0.25 {
        t = 0.5 - t;
    } else if t < -0.25 {
        t = -0.5 - t;
    }
    let r = t * (2.0 * std::f32::consts::PI);
    let s = r * r;
    r * (1.0 - s / 6.0 * (1.0 - s / 20.0 * (1.0 - s / 42.0)))
}

fn cos(x: f32) -> f32 {
    sin(x + 0.5 * std::f32::consts::PI)
}

type Point = (f32, f32);

/// The numeral of image `index`: each aligned run of ten indices holds every numeral once, in shuffled order.
fn label(seed: u64, index: u64) -> u8 {
    let mut order: [u8; CLASSES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let mut draw = Draw::new(seed, 1, index / CLASSES as u64);
    for i in (1..CLASSES).rev() {
        order.swap(i, draw.below(i + 1));
    }
    order[(index % CLASSES as u64) as usize]
}

/// Where a hand puts the points of an ideal glyph.
struct Hand {
    /// Columns of the linear part, then the centre, in pixels.
    affine: [f32; 6],
    /// Per wave: how far it moves x and y, its direction and its phase.
    waves: [[f32; 5]; 2],
}

impl Hand {
    fn new(draw: &mut Draw) -> Self {
        let turn = draw.about(TURN);
        let shear = draw.about(SHEAR) - LEAN;
        let height = draw.between(HEIGHT);
        let width = height * draw.between(WIDTH);
        let (s, c) = (sin(turn), cos(turn));
        let affine = [
            width * c,
            width * s,
            height * (shear * c - s),
            height * (shear * s + c),
            COLS as f32 * 0.5 + draw.about(MOVE),
            ROWS as f32 * 0.5 + draw.about(MOVE),
        ];
        let mut wave = || {
            [
                draw.about(BEND),
                draw.about(BEND),
                draw.about(7.0),
                draw.about(7.0),
                draw.between((0.0, 2.0 * std::f32::consts::PI)),
            ]
        };
        let waves = [wave(), wave()];
        Self { affine, waves }
    }

    /// From the glyph's box, its middle at (0, 0), to pixels.
    fn place(&self, (x, y): Point) -> Point {
        let (mut u, mut v) = (x, y);
        for [dx, dy, kx, ky, phase] in self.waves {
            let w = sin(kx * x + ky * y + phase);
            u += dx * w;
            v += dy * w;
        }
        let [a, b, c, d, e, f] = self.affine;
        (a * u + c * v + e, b * u + d * v + f)
    }
}

/// The Catmull-Rom curve from `b` to `c`.
fn curve(a: Point, b: Point, c: Point, d: Point, t: f32) -> Point {
    let blend = |a: f32, b: f32, c: f32, d: f32| {
        let (q, r, s) = (c - a, 2.0 * a - 5.0 * b + 4.0 * c - d, 3.0 * (b - c) + d - a);
        0.5 * (2.0 * b + t * (q + t * (r + t * s)))
    };
    (blend(a.0, b.0, c.0, d.0), blend(a.1, b.1, c.1, d.1))
}

/// The pen: its radius in pixels along a stroke.
struct Pen {
    radius: f32,
    swell: f32,
    rate: f32,
    phase: f32,
}

impl Pen {
    fn new(draw: &mut Draw) -> Self {
        Self {
            radius: draw.between(PEN),
            swell: draw.about(0.3),
            rate: draw.between((0.5, 1.5)),
            phase: draw.between((0.0, 2.0 * std::f32::consts::PI)),
        }
    }

    /// `at` counts control points.
    fn radius(&self, at: f32) -> f32 {
        self.radius * (1.0 + self.swell * sin(self.rate * at + self.phase))
    }
}

/// Inks the segment `p`-`q` into `ink` (0 paper, 1 black), one pixel of soft edge.
fn segment(ink: &mut [f32; PIXELS], p: Point, q: Point, radius: f32) {
    let reach = radius + 0.5;
    let span = |a: f32, b: f32, limit: usize| {
        // Float to integer saturates: off the sheet on the left becomes 0.
        let low = (a.min(b) - reach).floor() as usize;
        let high = (a.max(b) + reach).floor() + 1.0;
        (low.min(limit), (high as usize).min(limit))
    };
    let (left, right) = span(p.0, q.0, COLS);
    let (top, bottom) = span(p.1, q.1, ROWS);
    let (dx, dy) = (q.0 - p.0, q.1 - p.1);
    let length2 = dx * dx + dy * dy;
    for row in top..bottom {
        for col in left..right {
            let (x, y) = (col as f32 + 0.5 - p.0, row as f32 + 0.5 - p.1);
            let t = if length2 > 0.0 {
                ((x * dx + y * dy) / length2).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let (u, v) = (x - t * dx, y - t * dy);
            let cover = (reach - (u * u + v * v).sqrt()).clamp(0.0, 1.0);
            let pixel = &mut ink[row * COLS + col];
            *pixel = pixel.max(cover);
        }
    }
}

/// Draws one stroke of a glyph into `ink`.
fn stroke(ink: &mut [f32; PIXELS], points: Stroke, hand: &Hand, pen: &Pen, draw: &mut Draw) {
    let mut shaken: Vec<(Point, bool)> = Vec::with_capacity(points.len());
    for (i, &(x, y)) in points.iter().enumerate() {
        if i > 0 && points[i - 1] == (x, y) {
            if let Some(last) = shaken.last_mut() {
                last.1 = true;
            }
            continue;
        }
        let (dx, dy) = (draw.about(SHAKE), draw.about(SHAKE));
        shaken.push((
            (f32::from(x) / 100.0 - 0.5 + dx, f32::from(y) / 100.0 - 0.5 + dy),
            false,
        ));
    }
    for i in 1..shaken.len() {
        let ((b, corner_b), (c, corner_c)) = (shaken[i - 1], shaken[i]);
        // At an end or a corner the curve leaves along its own chord.
        let a = if i >= 2 && !corner_b { shaken[i - 2].0 } else { b };
        let d = if i + 1 < shaken.len() && !corner_c {
            shaken[i + 1].0
        } else {
            c
        };
        let mut from = hand.place(b);
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            let to = hand.place(curve(a, b, c, d, t));
            segment(ink, from, to, pen.radius(i as f32 + t));
            from = to;
        }
    }
}

/// Draws image `index` of the endless set `seed`: [`PIXELS`] bytes, row-major, 0 paper and 255 ink, and its
/// numeral. Every aligned run of ten indices holds each numeral once.
pub fn digit(seed: u64, index: u64) -> ([u8; PIXELS], u8) {
    let label = label(seed, index);
    let mut draw = Draw::new(seed, 2, index);
    let styles = GLYPHS[usize::from(label)];
    let glyph = styles[draw.below(styles.len())];
    let hand = Hand::new(&mut draw);
    let pen = Pen::new(&mut draw);
    let mut ink = [0.0f32; PIXELS];
    for points in glyph {
        stroke(&mut ink, points, &hand, &pen, &mut draw);
    }
    let strength = 255.0 * draw.between((0.75, 1.0));
    let mut image = [0u8; PIXELS];
    for (pixel, ink) in image.iter_mut().zip(ink) {
        *pixel = (ink * strength + 0.5).floor() as u8;
    }
    (image, label)
}

/// Draws `count` images from index `start` on; once `go_on` says no, the rest stay blank. `None` where the host cannot
/// hold them.
fn split(seed: u64, start: u64, count: usize, go_on: &(dyn Fn() -> bool + Sync)) -> Option<Split> {
    let mut images = alloc::filled("digits", count.checked_mul(PIXELS)?, 0u8).ok()?;
    let mut labels = alloc::filled("digits", count, 0u8).ok()?;
    // Some images a task, so that the list of tasks is short.
    const TASK: usize = 64;
    let tasks = images.chunks_mut(TASK * PIXELS).zip(labels.chunks_mut(TASK));
    Cpu::detect().items(tasks.collect(), |task, (images, labels)| {
        let first = start.wrapping_add((task * TASK) as u64);
        for ((i, pixels), label) in (0..).zip(images.chunks_mut(PIXELS)).zip(labels) {
            if !go_on() {
                return;
            }
            let (image, class) = digit(seed, first.wrapping_add(i));
            pixels.copy_from_slice(&image);
            *label = class;
        }
    });
    Some(Split { images, labels })
}

/// Draws `train` training and `test` test images. Training image `i` is `digit(seed, i)`; test images come from
/// the far half of the index space, so they are never training images, and neither split's size moves the other.
///
/// About 10 microseconds an image on one core; with the feature `cpu`, on all cores. The result does not depend
/// on the number of threads.
///
/// # Errors
/// [`DataError::Empty`] when a split is asked to hold nothing, [`DataError::OutOfMemory`] when the host cannot hold
/// one.
pub fn dataset(seed: u64, train: usize, test: usize) -> Result<Dataset, DataError> {
    draw(seed, train, test, &|| true)
}

/// [`dataset`] that asks before every image whether to go on, and gives `None` once the answer is no: many images
/// take minutes. The answer must not turn back to yes.
///
/// # Errors
/// See [`dataset`].
pub fn dataset_while(
    seed: u64,
    train: usize,
    test: usize,
    go_on: impl Fn() -> bool + Sync,
) -> Result<Option<Dataset>, DataError> {
    let drawn = draw(seed, train, test, &go_on)?;
    Ok(go_on().then_some(drawn))
}

fn draw(
    seed: u64,
    train: usize,
    test: usize,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Dataset, DataError> {
    use super::data::Part;
    let split = |part, start, samples| {
        split(seed, start, samples, go_on).ok_or(DataError::OutOfMemory { part, samples })
    };
    Dataset::new(
        split(Part::Train, 0, train)?,
        split(Part::Test, TEST_START, test)?,
        ROWS,
        COLS,
        CLASSES,
    )
}
