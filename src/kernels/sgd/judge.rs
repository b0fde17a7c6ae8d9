use super::{Rates, Sgd};
use crate::format::random::Draw;
use crate::format::{Rounding, bf16};
use crate::kernels::shared::kahan;
use crate::op::{Judge, Kept, Output, Within};
use crate::tensor::{DType, View};

impl Sgd {
    /// The exact results of one element, and how far f32 may be from them: of what is `from` at first, `w` or `-c`,
    /// and of the momentum.
    /// `grown` is what two and three roundings may add, as a share.
    fn within([g, w, v]: [f64; 3], from: f64, rates: &Rates, grown: [f64; 2], eta: f64) -> [Within; 2] {
        let [rate, momentum, decay] =
            [rates.learning_rate, rates.momentum, rates.weight_decay].map(f64::from);
        let [grown2, grown3] = grown;
        let (g, mut v_off) = match rates.factor.map(f64::from) {
            None => (g, 0.0),
            Some(factor) => (factor * g, eta * (1.0 + factor.abs() + g.abs())),
        };
        if g.is_finite() && g.abs() > f64::from(f32::MAX) {
            // The product may overflow, and what is added then no longer counts.
            v_off = f64::INFINITY;
        }
        let velocity = momentum * v + (g + decay * w);
        v_off += grown3 * ((momentum * v).abs() + g.abs() + (decay * w).abs())
            + eta * (4.0 + momentum.abs() + decay.abs() + v.abs() + w.abs());
        let w_off = rate.abs() * v_off * (1.0 + grown2)
            + grown2 * (from.abs() + (rate * velocity).abs())
            + eta * (3.0 + rate.abs() + velocity.abs());
        let velocity = Within {
            exact: velocity,
            bound: v_off,
        };
        let weight = Within {
            exact: from - rate * velocity.exact,
            // Momentum that may overflow on the way leaves nothing to promise.
            bound: if velocity.finite(DType::F32) {
                w_off
            } else {
                f64::INFINITY
            },
        };
        [weight, velocity]
    }

    /// Holds weights, momentum and their copies to the bound.
    pub(super) fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let step = judge.step();
        let Ok(rates) = self.rates(step) else {
            // Without its scalars the operation did not run either.
            return judge;
        };
        let arithmetic = judge.arithmetic();
        let [g, w, v] = [("g", self.g()), ("w", self.w()), ("v", self.v())].map(|(name, view)| {
            let words = judge.before(name);
            move |row, col| view.load(words, row, col)
        });
        let from = self.compensation().map(|view| (view, judge.before("c")));
        let grown = [2.0, 3.0].map(|roundings| (roundings * arithmetic.unit.ln_1p()).exp_m1());
        let element = |at: usize| {
            let (row, col) = (at / self.cols, at % self.cols);
            let inputs = [g(row, col), w(row, col), v(row, col)];
            let from = match from {
                Some((view, words)) => -view.load(words, row, col),
                None => inputs[1],
            };
            Self::within(inputs, from, &rates, grown, arithmetic.eta)
        };
        // Once for all the outputs that are held to them.
        let bounds: Vec<_> = (0..self.rows * self.cols).map(element).collect();
        let both = |row: usize, col: usize| bounds[row * self.cols + col];
        let (w_draw, v_draw) = self.draws(step);
        let stored = |dtype: DType, rounding, draw: Draw| {
            move |bits, index| match dtype {
                DType::Bf16 => u32::from(bf16::encode(bits, rounding, draw.bits(index))) << 16,
                DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
            }
        };
        let (w_rounded, v_rounded) = (
            stored(self.w, self.w_rounding(), w_draw),
            stored(self.v, self.rounding, v_draw),
        );
        let nearest = stored(DType::Bf16, Rounding::Nearest, w_draw);
        let of = |operand, view: Option<View>, rounded| {
            view.map(|view| Kept {
                operand,
                view,
                rounded,
            })
        };
        let weight = |row, col| both(row, col)[0];
        let velocity = |row, col| both(row, col)[1];
        let mut judge = judge.composite(
            Output::new("v", self.v()),
            velocity,
            of("v_kept", self.kept(), &v_rounded),
        );
        judge = match self.compensation() {
            None => judge.composite(
                Output::new("w", self.w()),
                weight,
                of("w_kept", self.kept(), &w_rounded),
            ),
            Some(c) => kahan::judge(judge, [self.w(), c], self.kept(), weight, &w_rounded),
        };
        if let Some(copy) = self.copy() {
            judge = judge.composite(
                Output::new("copy", copy),
                weight,
                of("w", Some(self.w()), &nearest),
            );
        }
        if let Some(view) = self.kept() {
            judge = judge
                .composite(Output::new("w_kept", view), weight, None)
                .composite(Output::new("v_kept", view), velocity, None);
        }
        judge
    }
}
