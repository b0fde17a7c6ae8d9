//! How C is cut into tiles: as many for each thread, and as little packed as can be.

/// Most rows and columns of a tile: its sums, and a block of what it reads of B, stay in the second-level cache.
const MOST: [usize; 2] = [256, 384];
/// Tiles a thread gets at least, of several: one that starts late, or is held up, then leaves some to the others.
const EACH: usize = 2;
/// Multiply-adds in whose time an element is packed.
const PACKING: usize = 16;
/// Multiply-adds in whose time a tile reads an element that its core has not.
const READING: usize = 8;
/// Multiply-adds in whose time threads meet.
const MEETING: usize = 1 << 19;

/// Most tiles whose threads are followed one by one.
const FOLLOWED: usize = 32;

/// What [`sides`] cuts.
#[derive(Clone, Copy)]
pub(super) struct Plane {
    /// Rows and columns, as the register tile sees them.
    pub(super) outer: [usize; 2],
    /// What a tile's sides are multiples of.
    pub(super) units: [usize; 2],
    /// What the last tiles' sides are multiples of.
    pub(super) steps: [usize; 2],
    /// Whether the operand whose outer index they are has to be packed: by all threads before they start, or, if one
    /// tile alone reads it, by that tile's.
    pub(super) packed: [bool; 2],
    pub(super) k: usize,
    pub(super) threads: usize,
}

/// Rows and columns of C's tiles. They are equal but for the last ones, and every thread gets [`EACH`] or more of them
/// where there are that many units: of the numbers of tiles that may be right, those whose products and packing take
/// the least time.
pub(super) fn sides(plane: &Plane) -> [usize; 2] {
    let &Plane {
        outer,
        units,
        threads,
        ..
    } = plane;
    let least = [0, 1].map(|side| outer[side].div_ceil(MOST[side].next_multiple_of(units[side])));
    let most = [0, 1].map(|side| outer[side].div_ceil(units[side]));
    let wanted = if threads > 1 { EACH * threads } else { 1 };
    let cut = |counts: [usize; 2]| {
        [0, 1].map(|side| outer[side].div_ceil(counts[side]).next_multiple_of(units[side]))
    };
    let mut best = (usize::MAX, outer);
    for bands in least[0]..=most[0].min(least[0] + wanted.min(64)) {
        let fewest = least[1].max(wanted.div_ceil(bands));
        // As few columns of tiles as give every thread its tiles, or one more, or the next that give all as many.
        let alike = fewest.next_multiple_of(threads / divisor(bands, threads));
        for columns in [fewest, fewest + 1, alike] {
            let tile = cut([bands, columns.min(most[1])]);
            let time = plane.time(tile);
            if time < best.0 {
                best = (time, tile);
            }
        }
    }
    best.1
}

impl Plane {
    /// What tiles of this size take, in multiply-adds of one thread.
    fn time(&self, tile: [usize; 2]) -> usize {
        let counts = [0, 1].map(|side| self.outer[side].div_ceil(tile[side]));
        // What a tile takes, by its sides.
        let mut per = [READING; 2];
        let (mut before, mut meets) = (0, false);
        for (side, other) in [(0, 1), (1, 0)] {
            if self.packed[side] && counts[other] == 1 {
                per[side] += PACKING;
            } else if self.packed[side] {
                before += PACKING * self.outer[side].div_ceil(self.threads);
                meets = self.threads > 1;
            }
        }
        let each = |[rows, columns]: [usize; 2]| {
            let sides = per[0] * rows + per[1] * columns;
            rows.saturating_mul(columns).saturating_add(sides)
        };
        let last = [0, 1].map(|side| {
            let left = self.outer[side] - (counts[side] - 1) * tile[side];
            left.next_multiple_of(self.steps[side])
        });
        let number = counts[0] * counts[1];
        let time = if last == tile || number > FOLLOWED {
            number.div_ceil(self.threads).saturating_mul(each(tile))
        } else {
            // The last tiles of a row or a column are smaller: each is taken by the thread that is ready first.
            let mut ready = [0; FOLLOWED];
            let ready = &mut ready[..self.threads.min(FOLLOWED)];
            for i in 0..number {
                let at = [i / counts[1], i % counts[1]];
                let sides = [0, 1].map(|side| {
                    if at[side] + 1 == counts[side] {
                        last[side]
                    } else {
                        tile[side]
                    }
                });
                if let Some(first) = ready.iter_mut().min() {
                    *first += each(sides);
                }
            }
            ready.iter().copied().max().unwrap_or(0)
        };
        let meeting = if meets { MEETING } else { 0 };
        let time = time.saturating_add(before).saturating_mul(self.k);
        time.saturating_add(meeting)
    }
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register tile of 8 x 48 with panels of 16, A in place.
    fn cut(rows: usize, columns: usize, k: usize, threads: usize) -> [usize; 2] {
        let outer = [rows, columns];
        sides(&Plane {
            outer,
            units: [8, 16],
            steps: [8, 16],
            packed: [false, true],
            k,
            threads,
        })
    }

    #[test]
    fn every_thread_gets_as_many_tiles() {
        for threads in [1, 2, 3, 8] {
            for [m, n] in [
                [1024, 1024],
                [128, 1024],
                [256, 256],
                [2000, 72],
                [4096, 4096],
                [32, 768],
            ] {
                let [rows, columns] = cut(m, n, 512, threads);
                assert!(rows.is_multiple_of(8) && columns.is_multiple_of(16));
                let tiles = m.div_ceil(rows) * n.div_ceil(columns);
                let rounds = tiles.div_ceil(threads);
                // What the fullest thread computes, beside an even share.
                let most = rounds * rows * columns * threads;
                assert!(
                    most as f64 <= 1.15 * (m * n) as f64,
                    "{m} x {n} on {threads}: {rows} x {columns}"
                );
            }
        }
    }

    #[test]
    fn few_rows_are_one_band_whose_tiles_pack_their_own_columns() {
        assert_eq!(cut(128, 1024, 1024, 2), [128, 256]);
        assert_eq!(cut(256, 256, 256, 2), [256, 64]);
        assert_eq!(cut(32, 1024, 1024, 2), [32, 256]);
    }

    #[test]
    fn a_packed_operand_is_packed_by_the_tiles_that_read_it_alone() {
        let plane = Plane {
            outer: [4096, 256],
            units: [6, 16],
            steps: [6, 16],
            packed: [true, true],
            k: 4096,
            threads: 2,
        };
        assert_eq!(sides(&plane)[1], 256);
    }

    #[test]
    fn more_threads_than_units() {
        // To meet after packing B would take longer.
        assert_eq!(cut(9, 17, 100, 64), [16, 16]);
        assert_eq!(cut(1, 1, 1, 1024), [8, 16]);
    }
}
