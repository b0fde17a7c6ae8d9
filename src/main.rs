//! fewbit program
fn main() {}
