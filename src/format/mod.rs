//! Number formats and rounding. Pure: no GPU, no I/O.
