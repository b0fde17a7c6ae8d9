//! The WGSL files that several kernels share: each bit trick once, its argument above it. A shader names those it
//! needs in lines of its own, `//!use lib/bf16.wgsl`; this is where the names are resolved.

use crate::format::random::Generator;

/// A WGSL file by its path below `shaders/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct File {
    /// The path that `//!use` lines name.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

impl File {
    /// A file that a kernel brings along beside the library's: a part that its own variants share.
    #[must_use]
    pub const fn new(path: &'static str, text: &'static str) -> Self {
        Self { path, text }
    }
}

macro_rules! lib {
    ($($name:literal),+ $(,)?) => {
        &[$(File::new(
            concat!("lib/", $name, ".wgsl"),
            include_str!(concat!("../../shaders/lib/", $name, ".wgsl")),
        )),+]
    };
}

/// The file that fills the slot `$generator` of `lib/random.wgsl`.
#[must_use]
pub const fn generator(generator: Generator) -> &'static str {
    match generator {
        Generator::Threefry => "lib/threefry.wgsl",
        Generator::Philox => "lib/philox.wgsl",
    }
}

/// Every file of `shaders/lib/`; a test holds the list against the folder.
pub const LIBRARY: &[File] = lib![
    "bf16", "csr", "dst_vec4", "dst_word", "element", "fmac", "index", "kahan", "philox", "random",
    "rounding", "src_vec4", "src_word", "step", "threefry", "vector", "wide",
];
