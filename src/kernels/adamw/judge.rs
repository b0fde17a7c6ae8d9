use super::bound::Near;
use super::{AdamW, Draws, Rates};
use crate::format::random::Draw;
use crate::format::{Rounding, bf16};
use crate::kernels::shared::kahan;
use crate::op::{Arithmetic, Judge, Kept, Output, Within};
use crate::tensor::{DType, View};

impl AdamW {
    /// The exact results of one element, weight, first and second moment, and how far f32 may be from them.
    /// What is `from` at first is `w`, or `-c`; what a compensated second moment has `lost` makes of the third what it
    /// moves by.
    fn within(
        [g, w, m, v]: [f64; 4],
        (from, lost): (f64, Option<f64>),
        rates: &Rates,
        arithmetic: &Arithmetic,
    ) -> [Within; 3] {
        let near = |value| Near::of(value, arithmetic);
        let scalar = |value: f32| near(f64::from(value));
        let [gradient, before] = [g, w].map(near);
        let gradient = match rates.factor {
            None => gradient,
            Some(factor) => scalar(factor).times(gradient),
        };
        let (beta1, beta2) = (scalar(rates.beta1), scalar(rates.beta2));
        let one = scalar(1.0);
        let first = beta1.times(near(m)).plus(one.minus(beta1).times(gradient));
        let square = one.minus(beta2).times(gradient).times(gradient);
        let second = beta2.times(near(v)).plus(square);
        let is_positive = v >= 0.0 && (0.0..=1.0).contains(&rates.beta2) && rates.correction2 >= 0.0;
        let root = second.times(scalar(rates.correction2)).sqrt(is_positive);
        let moved = first.times(scalar(rates.correction1));
        // What a compensated moment moves by.
        let change = one.minus(beta2).times(gradient.times(gradient).minus(near(v)));
        let second = match lost {
            Some(lost) => change.minus(near(lost)),
            None => second,
        };
        let step = moved.over(root.plus(scalar(rates.epsilon)));
        let decayed = step.plus(scalar(rates.weight_decay).times(before));
        let after = near(from).minus(scalar(rates.learning_rate).times(decayed));
        [after, first, second].map(Near::within)
    }

    /// Holds weights, moments and their copies to the bound.
    pub(super) fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let step = judge.step();
        let Ok(rates) = self.rates(step) else {
            // Without its scalars the operation did not run either.
            return judge;
        };
        let arithmetic = judge.arithmetic();
        let views = [("g", self.g()), ("w", self.w()), ("m", self.m()), ("v", self.v())];
        let inputs = views.map(|(name, view)| (view, judge.before(name)));
        let from = self.compensation().map(|view| (view, judge.before("c")));
        let (pairs, second) = (self.v_pairs(), judge.before("v"));
        let element = |at: usize| {
            let (row, col) = (at / self.cols, at % self.cols);
            let mut inputs = inputs.map(|(view, words)| view.load(words, row, col));
            let mut lost = None;
            if let Some(pairs) = pairs {
                inputs[3] = pairs.load(second, row, 2 * col);
                lost = Some(pairs.load(second, row, 2 * col + 1));
            }
            let from = match from {
                Some((view, words)) => -view.load(words, row, col),
                None => inputs[1],
            };
            Self::within(inputs, (from, lost), &rates, arithmetic)
        };
        // Once for all the outputs that are held to them.
        let bounds: Vec<_> = (0..self.rows * self.cols).map(element).collect();
        let at = |result: usize| {
            let bounds = &bounds;
            move |row: usize, col: usize| bounds[row * self.cols + col][result]
        };
        let Draws { w, m, v } = self.draws(step);
        let stored = |dtype: DType, rounding: Rounding, draw: Draw| {
            move |bits, index| match dtype {
                DType::Bf16 => u32::from(bf16::encode(bits, rounding, draw.bits(index))) << 16,
                DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
            }
        };
        let outputs = [
            ("w", "w_kept", self.w(), self.w_rounding, w),
            ("m", "m_kept", self.m(), self.m_rounding, m),
            (
                "v",
                "v_kept",
                self.v_pairs().unwrap_or(self.v()),
                self.v_rounding,
                v,
            ),
        ];
        let mut judge = judge;
        for (result, (name, before, view, rounding, draw)) in outputs.into_iter().enumerate() {
            let rounded = stored(view.dtype, rounding, draw);
            let kept = kept(before, self.kept(), &rounded);
            judge = match self.compensation() {
                Some(c) if result == 0 => kahan::judge(judge, [view, c], self.kept(), at(0), &rounded),
                _ if result == 2 && self.v_compensated => {
                    let kept = (before, self.kept());
                    kahan::judge_pairs(judge, Output::new(name, view), kept, at(2), &rounded)
                }
                _ => judge.composite(Output::new(name, view), at(result), kept),
            };
            if let Some(view) = self.kept() {
                judge = judge.composite(Output::new(before, view), at(result), None);
            }
        }
        if let Some(copy) = self.copy() {
            let nearest = stored(DType::Bf16, Rounding::Nearest, w);
            let kept = kept("w", Some(self.w()), &nearest);
            judge = judge.composite(Output::new("copy", copy), at(0), kept);
        }
        judge
    }
}

fn kept<'a>(
    operand: &'static str,
    view: Option<View>,
    rounded: &'a dyn Fn(u32, u64) -> u32,
) -> Option<Kept<'a>> {
    view.map(|view| Kept {
        operand,
        view,
        rounded,
    })
}
