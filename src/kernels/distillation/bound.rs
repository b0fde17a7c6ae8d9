//! How far a device's f32 may be from the exact loss and gradient of one row: the derivation is in `mod.rs`.

use super::Distillation;
use crate::op::{Arithmetic, Within};

/// One ulp of 1.
const ULP: f64 = 1.0 / 8_388_608.0;

/// A value, and how far the device's may be from it.
#[derive(Clone, Copy, Debug, Default)]
struct Near {
    value: f64,
    off: f64,
}

/// What may be assumed of a device's arithmetic.
#[derive(Clone, Copy)]
struct Rounds {
    u: f64,
    eta: f64,
}

impl Rounds {
    /// A sum of two, rounded once.
    fn add(self, a: Near, b: Near) -> Near {
        let (value, off) = (a.value + b.value, a.off + b.off);
        Near {
            value,
            off: off + self.u * (value.abs() + off) + self.eta,
        }
    }

    /// A difference, rounded once.
    fn sub(self, a: Near, b: Near) -> Near {
        self.add(
            a,
            Near {
                value: -b.value,
                off: b.off,
            },
        )
    }

    /// A product, rounded once.
    fn mul(self, a: Near, b: Near) -> Near {
        let value = a.value * b.value;
        let reach = (a.value.abs() + a.off) * (b.value.abs() + b.off);
        Near {
            value,
            off: reach - value.abs() + self.u * reach + self.eta,
        }
    }

    /// A constant that the host has rounded to f32.
    fn constant(self, value: f64) -> Near {
        Near {
            value,
            off: self.u * value.abs() + self.eta,
        }
    }

    /// exp, within 3 + 2 abs(x) ulp.
    fn exp(self, x: Near) -> Near {
        if x.value == f64::NEG_INFINITY {
            return Near {
                value: 0.0,
                off: self.eta,
            };
        }
        let (value, high) = (x.value.exp(), (x.value + x.off).exp());
        let ulps = 3.0 + 2.0 * (x.value.abs() + x.off);
        let off = high - value + ulps * (ULP * high).max(2f64.powi(-149)) + self.eta;
        Near { value, off }
    }

    /// The sum of terms that are not negative, in any order.
    fn sum(self, terms: &[Near]) -> Near {
        let value: f64 = terms.iter().map(|term| term.value).sum();
        let size: f64 = terms.iter().map(|term| term.value.abs()).sum();
        let off: f64 = terms.iter().map(|term| term.off).sum();
        let gamma = (terms.len() as f64 * self.u.ln_1p()).exp_m1();
        Near {
            value,
            off: off + gamma * (size + off),
        }
    }

    /// The logarithm of a sum.
    fn log(self, sum: Near) -> Near {
        let low = sum.value - sum.off;
        let (value, moved) = (sum.value.ln(), sum.value.ln() - low.ln());
        let absolute = if low < 2.0 { 2f64.powi(-21) } else { 0.0 };
        Near {
            value,
            off: moved + absolute.max(3.0 * ULP * (value.abs() + moved)),
        }
    }

    /// A share of a sum, divided within 2.5 ulp.
    fn share(self, part: Near, sum: Near) -> Near {
        let value = part.value / sum.value;
        let high = (part.value + part.off) / (sum.value - sum.off);
        Near {
            value,
            off: high * (1.0 + 2.5 * ULP) - value + self.eta,
        }
    }

    /// d by a temperature, within 2.5 ulp.
    fn soften(self, d: Near, temperature: f64) -> Near {
        let (value, off) = (d.value / temperature, d.off / temperature);
        Near {
            value,
            off: off + 2.5 * ULP * (value.abs() + off) + self.eta,
        }
    }

    /// p h(d), whichever way it is taken.
    fn divergence(self, q: Near, p: Near, d: Near) -> Near {
        let value = p.value * (d.value + (-d.value).exp_m1());
        let size = d.value.abs();
        let mut off = 0.0f64;
        if size - d.off < 0.25 {
            let moved = d.off * (size + d.off).exp_m1();
            let h = d.value + (-d.value).exp_m1();
            let series = Near {
                value: h,
                off: moved + 5.0 * self.u * (h + moved) + 3.0 * self.eta,
            };
            off = off.max(self.mul(p, series).off);
        }
        if size + d.off >= 0.25 {
            off = off.max(self.add(self.mul(p, d), self.sub(q, p)).off);
            // p d, where p is so small that d overflows in h, is the value.
            let value = p.value * d.value + (q.value - p.value);
            return Near { value, off };
        }
        Near { value, off }
    }
}

/// The student's or the teacher's logits of one row.
struct Side {
    /// Below their maximum.
    below: Vec<Near>,
    softened: Vec<Near>,
    /// The softmax of the softened ones.
    shares: Vec<Near>,
    /// The logarithm of their sum.
    log: Near,
}

impl Rounds {
    fn side(self, x: &[f64], temperature: f64) -> Side {
        let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let below: Vec<_> = x
            .iter()
            .map(|x| Near {
                value: x - top,
                off: self.u * (x - top).abs() + 3.0 * self.eta,
            })
            .collect();
        let softened: Vec<_> = below.iter().map(|&d| self.soften(d, temperature)).collect();
        let terms: Vec<_> = softened.iter().map(|&x| self.exp(x)).collect();
        let sum = self.sum(&terms);
        Side {
            shares: terms.iter().map(|&term| self.share(term, sum)).collect(),
            log: self.log(sum),
            below,
            softened,
        }
    }
}

/// Loss and gradient of a row with finite logits; without a label, of the teacher alone.
pub(super) fn row(
    op: &Distillation,
    [z, v]: [&[f64]; 2],
    label: Option<usize>,
    arithmetic: &Arithmetic,
) -> (Within, Vec<Within>) {
    let rounds = Rounds {
        u: arithmetic.unit,
        eta: arithmetic.eta,
    };
    let exactly = |value: f64| Near { value, off: 0.0 };
    let temperature = f64::from(op.temperature);
    let (student, teacher) = (rounds.side(z, temperature), rounds.side(v, temperature));
    let terms: Vec<_> = (0..op.classes)
        .map(|col| {
            let d = rounds.sub(
                rounds.sub(teacher.softened[col], teacher.log),
                rounds.sub(student.softened[col], student.log),
            );
            rounds.divergence(student.shares[col], teacher.shares[col], d)
        })
        .collect();
    let plain: Vec<_> = student.below.iter().map(|&d| rounds.exp(d)).collect();
    let plain_sum = rounds.sum(&plain);
    let alpha = exactly(op.alpha.into());
    let mut loss = rounds.mul(rounds.constant(op.soft()), rounds.sum(&terms));
    if let Some(label) = label {
        let hard = rounds.sub(rounds.log(plain_sum), student.below[label]);
        loss = rounds.add(rounds.mul(alpha, hard), loss);
    }
    let gradient = (0..op.classes).map(|col| {
        let apart = rounds.sub(student.shares[col], teacher.shares[col]);
        let mut slope = rounds.mul(rounds.constant(op.pull()), apart);
        if let Some(label) = label {
            let onehot = if col == label { 1.0 } else { 0.0 };
            let hard = rounds.sub(rounds.share(plain[col], plain_sum), exactly(onehot));
            slope = rounds.add(slope, rounds.mul(alpha, hard));
        }
        within(rounds.mul(slope, exactly(op.scale.into())))
    });
    (within(loss), gradient.collect())
}

fn within(near: Near) -> Within {
    Within {
        exact: near.value,
        bound: near.off,
    }
}
