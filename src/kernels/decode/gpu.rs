use super::Decode;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Offsets, Words};
use crate::kernels::shared::decoding::{Decoding, permutations};
use crate::op::{Variant, Variants};

pub(in crate::kernels) static VARIANTS: Variants<Decode> = Variants(&[Variant {
    name: "quads",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches,
    permutations,
}]);

fn dispatches(op: &Decode, gpu: &Gpu, offsets: Offsets) -> Result<Vec<Dispatch>> {
    let decoding = Decoding {
        format: op.format,
        dst: op.dst(),
        names: super::NAMES,
        offset: offsets.any(),
    };
    decoding.dispatches(gpu, |words| Words::of("dst", words))
}
