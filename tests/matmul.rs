//! The judge of matmul finds what it is there for.

#![cfg(feature = "check")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use fewbit::check::{self, Case, Effort, Expected};
use fewbit::op::Arithmetic;
use fewbit::op::run::Host;
use fewbit::tensor::HostBuffer;

fn cases() -> impl Iterator<Item = Case> {
    let all = check::cases(Effort::Quick).into_iter();
    all.filter(|case| case.op.name() == "matmul" && case.effort == Effort::Quick)
}

/// What the reference leaves in every operand.
fn reference(case: &Case) -> Vec<HostBuffer> {
    let mut operands = case.operands().expect("memory");
    let step = case.op.step_values();
    Host::Reference
        .run(&*case.op, &mut operands, &step)
        .expect("the reference runs");
    operands
}

/// The word of C that holds the last output.
fn last_word(case: &Case) -> usize {
    case.op.operands()[2].words as usize - 1
}

/// Elements whose sums may overflow are left out: no case may hide behind that.
#[test]
fn every_case_is_compared() {
    for case in cases() {
        let expected = Expected::new(&case).expect("the reference runs");
        let verdict = check::judge(&case, &expected, &reference(&case), Arithmetic::CPU);
        assert!(verdict.passed(), "{case:?}: {:?}", verdict.failure);
        let outputs = case.op.work().flops / 2.0;
        assert!(
            outputs == 0.0 || verdict.compared > 0,
            "{case:?}: nothing was compared"
        );
    }
}

/// A last output without its sign or with another exponent, a word past the end, and a finite number in the place of a
/// NaN or an infinity are found in every case that has them.
#[test]
fn wrong_results_are_found() {
    let (mut signs, mut numbers) = (0, 0);
    for case in cases().filter(|case| case.op.operands()[2].words > 0) {
        let expected = Expected::new(&case).expect("the reference runs");
        let want = reference(&case);
        let judge = |change: &dyn Fn(&mut [u32])| {
            let mut got: Vec<_> = want
                .iter()
                .map(|operand| operand.try_clone().expect("memory"))
                .collect();
            change(got[2].words_mut());
            check::judge(&case, &expected, &got, Arithmetic::CPU)
        };
        let last = last_word(&case);
        let guard = judge(&|words| words[last + 1] ^= 1);
        assert!(!guard.passed(), "{case:?}: a word past the end");
        let text = case.op.describe();
        if !text.contains("-> f32") {
            continue;
        }
        let value = f32::from_bits(want[2].words()[last]);
        if !value.is_finite() {
            let number = judge(&|words| words[last] = 1f32.to_bits());
            assert!(!number.passed(), "{case:?}: 1 in the place of {value}");
            numbers += 1;
        } else if value.abs() > 1e-3 && value.abs() < 1e30 {
            for change in [0x8000_0000, 0x0080_0000] {
                let changed = judge(&|words| words[last] ^= change);
                assert!(!changed.passed(), "{case:?}: {change:#x} of {value}");
            }
            signs += 1;
        }
    }
    assert!(signs > 40 && numbers > 3, "{signs} signs, {numbers} numbers");
}
