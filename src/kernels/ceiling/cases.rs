use crate::kernels::{Ceiling, CeilingKind};
use crate::op::{BenchCase, Case, Effort, data::Source};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let chains = |kind, count, steps| {
        (
            Ceiling {
                kind,
                count,
                steps,
                src_words: 0,
            },
            Effort::Quick,
        )
    };
    let read = |count, src_words, effort| {
        (
            Ceiling {
                kind: CeilingKind::Read,
                count,
                steps: 0,
                src_words,
            },
            effort,
        )
    };
    [
        chains(CeilingKind::MultiplyAdd, 0, 3),
        chains(CeilingKind::MultiplyAdd, 1000, 233),
        chains(CeilingKind::Bf16Dot, 1000, 233),
        chains(CeilingKind::Integer, 1, 0),
        chains(CeilingKind::Integer, 1000, 233),
        read(100, 4096, Effort::Quick),
        read(7, 1020, Effort::Quick),
        read(4096, 1 << 20, Effort::Full),
    ]
    .into_iter()
    .map(|(op, effort)| {
        Case::new(effort, op, move || {
            let mut source = Source::new(op.src_words);
            vec![(0..op.src_words).map(|_| source.bits()).collect(), Vec::new()]
        })
    })
    .collect()
}

/// Nothing: it is what others are measured against.
pub(crate) fn bench(_: usize) -> Vec<BenchCase> {
    Vec::new()
}
