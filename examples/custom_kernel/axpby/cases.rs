use fewbit::op::{Case, Effort, data::Source};

use super::Axpby;

pub(crate) fn cases() -> Vec<Case> {
    let case = |len: usize, alpha: f32, beta: f32, value: fn(&mut Source) -> f32| {
        let (alpha, beta) = (alpha.into(), beta.into());
        Case::new(Effort::Quick, Axpby { len, alpha, beta }, move || {
            let mut source = Source::new(len as u64);
            let mut vector = || (0..len).map(|_| value(&mut source).to_bits()).collect();
            vec![vector(), vector()]
        })
    };
    [0, 1, 63, 65, 4097]
        .into_iter()
        .flat_map(|len| {
            [
                case(len, 1.0, -1.0, Source::small_integer),
                case(len, 0.1, 3.5, Source::unit),
            ]
        })
        .collect()
}
