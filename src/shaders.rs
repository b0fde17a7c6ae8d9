//! The shared WGSL files: each bit trick once, its argument above it. Kernels list those they need before
//! their own file.

use crate::format::random::Generator;

/// `linear_group`: where an invocation stands in a dispatch spread over two dimensions.
pub const INDEX: &str = include_str!("../shaders/lib/index.wgsl");
/// `Step`: the structure behind [`Binding::step`](crate::gpu::Binding::step).
pub const STEP: &str = include_str!("../shaders/lib/step.wgsl");
/// bf16 rounding and widening.
pub const BF16: &str = include_str!("../shaders/lib/bf16.wgsl");
/// Counters and half-words; needs a [`generator`].
pub const RANDOM: &str = include_str!("../shaders/lib/random.wgsl");
/// One FMAC step by the f32 unit and in integers, and its rounding.
pub const FMAC: &str = include_str!("../shaders/lib/fmac.wgsl");
/// Integer shifts that round.
pub const ROUNDING: &str = include_str!("../shaders/lib/rounding.wgsl");
/// Block floating point; needs [`ROUNDING`].
pub const BLOCK: &str = include_str!("../shaders/lib/block.wgsl");

/// `src_words` and the binding it reads: four words of the source at once, or one by one for any offset.
pub const SRC: [&str; 2] = [
    include_str!("../shaders/lib/src_word.wgsl"),
    include_str!("../shaders/lib/src_vec4.wgsl"),
];
/// `put_words` and the binding it writes, the same two.
pub const DST: [&str; 2] = [
    include_str!("../shaders/lib/dst_word.wgsl"),
    include_str!("../shaders/lib/dst_vec4.wgsl"),
];

/// `random_block` by the generator asked for.
#[must_use]
pub fn generator(generator: Generator) -> &'static str {
    match generator {
        Generator::Threefry => include_str!("../shaders/lib/threefry.wgsl"),
        Generator::Philox => include_str!("../shaders/lib/philox.wgsl"),
    }
}
