use crate::kernels::Copy;
use crate::op::{Case, Effort, data::Source};

pub(crate) fn cases() -> Vec<Case> {
    [
        (0, Effort::Quick),
        (1, Effort::Quick),
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
