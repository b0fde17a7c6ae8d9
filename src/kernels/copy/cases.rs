use crate::kernels::Copy;
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes, data::Source};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    [
        (0, Effort::Quick),
        (1, Effort::Quick),
        (1020, Effort::Quick),
        (1021, Effort::Quick),
        (4096, Effort::Quick),
        (1 << 20, Effort::Full),
    ]
    .into_iter()
    .map(|(words, effort)| {
        Case::new(effort, Copy { words }, move || {
            let mut source = Source::new(words);
            vec![(0..words).map(|_| source.awkward()).collect(), Vec::new()]
        })
    })
    .collect()
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let words = (n * n) as u64;
    vec![Case::timed(Copy { words }, &[Fill::F32, Fill::Out]).into()]
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols)| {
        let words = (rows * cols) as u64;
        Case::timed(Copy { words }, &[Fill::F32, Fill::Out]).into()
    };
    awkward_shapes(n).map(case).into()
}
