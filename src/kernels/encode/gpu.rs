use super::Encode;
use super::tensor;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::Generator;
use crate::gpu::{
    Dispatch, File, Gpu, Offsets, Permutation, Pipeline, Shader, Words, generator, looped, split_rows,
};
use crate::kernels::shared::coded::{KINDS, kind, tensor_scaled};
use crate::kernels::shared::codes::encoding;
use crate::kernels::shared::decoding::words;
use crate::op::{Variant, Variants};
use crate::tensor::DType;
use std::ops::Range;
use std::sync::Arc;

const GROUP: u32 = 64;
/// Columns that a group of the shared variant encodes.
const SHARED_COLS: u64 = 512;

/// A shader of this folder.
macro_rules! shader {
    ($name:literal) => {
        Shader::new(
            concat!("encode/", $name, ".wgsl"),
            include_str!(concat!("../../../shaders/encode/", $name, ".wgsl")),
        )
    };
}

static PARAMS: [File; 1] = [File::new(
    "encode/params.wgsl",
    include_str!("../../../shaders/encode/params.wgsl"),
)];
// SAFETY: loops go through four blocks, a block's columns of those that a row has, and 32 columns, in steps of 1;
// `half_word` masks its index.
static RUNS: Shader = unsafe { shader!("runs").files(&PARAMS).trusted() };
// SAFETY: loops go through eight columns, of which `u` and `r` have a place each, through a block's lanes in steps of 1,
// and through 16 words for each bit of a code in steps of LANES. Eight codes of 16 bits at most end with the fourth word of
// `packed`, and so with their lane's of `octets`. Blocks have 8, 16, 32, 64 or 128 columns: as many lanes as a power of two,
// side by side from a multiple of it on, so that `largest` and `bytes` are read at lanes of one block.
static SHARED: Shader = unsafe { shader!("shared").files(&PARAMS).trusted() };

pub(in crate::kernels) static VARIANTS: Variants<Encode> = Variants(&[
    Variant {
        name: "shared",
        serves: |_, _, _| true,
        rank: |op, gpu| u32::from(prefers_runs(op, gpu)),
        dispatches: shared,
        permutations: || {
            let each = |form| [true, false].map(|vec4| shared_permutation(form, vec4));
            let all = Form::all().into_iter().flat_map(each);
            all.chain(tensor::permutations()).collect()
        },
    },
    Variant {
        name: "runs",
        // A cap on turns below what is usual leaves no room for the longest blocks.
        serves: |op, gpu, _| Entry::Scales.turns(op) <= gpu.turn_cap(),
        rank: |op, gpu| u32::from(!prefers_runs(op, gpu)),
        dispatches: |op, gpu, _| runs(op, gpu),
        permutations: || {
            let each = |form| Entry::BOTH.map(|entry| entry.permutation(form));
            let all = Form::all().into_iter().flat_map(each);
            all.chain(tensor::permutations()).collect()
        },
    },
]);

/// A group of the shared variant takes 512 columns of one row: lanes past its end idle.
fn prefers_runs(op: &Encode, gpu: &Gpu) -> bool {
    gpu.is_software() || op.cols < 256
}

/// The two dispatches of the variant in runs.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// Four blocks' scales per invocation.
    Scales,
    /// 32 columns' codes per invocation.
    Codes,
}

impl Entry {
    const BOTH: [Self; 2] = [Self::Scales, Self::Codes];

    fn permutation(self, form: Form) -> Permutation {
        let entry = match self {
            Self::Scales => "scales_of",
            Self::Codes => "codes_of",
        };
        form.constants(Permutation::new(&RUNS).entry(entry).constant("GROUP", GROUP))
    }

    fn groups(self, op: &Encode, rows: u64) -> u64 {
        let invocations = match self {
            Self::Scales => op.dst().scales().row_words(),
            Self::Codes => (op.cols as u64).div_ceil(32),
        };
        (rows * invocations).div_ceil(u64::from(GROUP))
    }

    fn turns(self, op: &Encode) -> u64 {
        match self {
            // Four blocks and their columns, as far as there are any.
            Self::Scales => {
                looped(4, 1) + (4 * u64::from(op.format.block_size().unwrap_or(0))).min(op.cols as u64)
            }
            // A column a turn.
            Self::Codes => looped(32, 0),
        }
    }
}

fn runs(op: &Encode, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let form = Form::of(op);
    let mut pipelines = Vec::with_capacity(2);
    for entry in Entry::BOTH {
        if matches!(entry, Entry::Scales) && op.format.block_size().is_none() {
            continue;
        }
        pipelines.push((entry, gpu.pipeline(&entry.permutation(form))?));
    }
    let mut dispatches = tensor::dispatches(op, gpu)?;
    for rows in ranges(op, gpu) {
        for (entry, pipeline) in &pipelines {
            let groups = entry.groups(op, rows.end - rows.start);
            let dispatch = dispatch(op, pipeline, &rows).linear_groups(gpu, groups);
            dispatches.push(dispatch.turns(entry.turns(op)));
        }
    }
    Ok(dispatches)
}

fn shared(op: &Encode, gpu: &Gpu, offsets: Offsets) -> Result<Vec<Dispatch>> {
    let vec4 = !offsets.any() && op.src().row_words().is_multiple_of(4);
    let pipeline = gpu.pipeline(&shared_permutation(Form::of(op), vec4))?;
    // Eight columns for the largest and for the codes; the lanes of a block; the words of all codes.
    let words = (16 * u64::from(op.format.bits())).div_ceil(u64::from(GROUP));
    let across = u64::from(op.format.block_size().unwrap_or(0)) / 8;
    let turns = 2 * looped(8, 0) + looped(across, 0) + looped(words, 0);
    let dispatch = |rows: Range<u64>| {
        let groups = (rows.end - rows.start) * (op.cols as u64).div_ceil(SHARED_COLS);
        dispatch(op, &pipeline, &rows)
            .linear_groups(gpu, groups)
            .turns(turns)
    };
    let mut dispatches = tensor::dispatches(op, gpu)?;
    dispatches.extend(ranges(op, gpu).into_iter().map(dispatch));
    Ok(dispatches)
}

fn ranges(op: &Encode, gpu: &Gpu) -> Vec<Range<u64>> {
    let widest = op.src().row_words().max(op.dst().codes().row_words()) * 4;
    let rows = if op.cols == 0 { 0 } else { op.rows as u64 };
    split_rows(gpu, rows, op.cols as u64 * 2, widest, 1)
}

/// What both variants' dispatches have in common.
fn dispatch(op: &Encode, pipeline: &Arc<Pipeline>, rows: &Range<u64>) -> Dispatch {
    let count = rows.end - rows.start;
    let (src, dst) = (op.src(), op.dst());
    let [codes, scales] = [dst.codes(), dst.scales()];
    let head = dst.head();
    let part = |view: &crate::tensor::View| view.part(rows, &(0..view.cols as u64));
    let blocks = part(&scales);
    encoding(Dispatch::new(pipeline), op.format)
        .set("rows", count)
        .set("cols", op.cols)
        .set("rounding", op.rounding.code())
        .set("stream", op.draw.stream)
        .set("src_ld", src.row_words())
        .set("codes_ld", codes.row_words())
        .set("scales_ld", scales.row_words())
        .set_wide(["base_lo", "base_hi"], op.draw.index(rows.start * op.cols as u64))
        .bind("src", Words::of("src", part(&src)))
        .bind("codes", Words::of("codes", part(&codes)))
        .bind("scales", words("scales", head + blocks.start..head + blocks.end))
        .bind("head", words("scales", 0..head))
        .work(count * op.cols as u64)
}

fn shared_permutation(form: Form, vec4: bool) -> Permutation {
    let src = match vec4 {
        true => "lib/src_vec4.wgsl",
        false => "lib/src_word.wgsl",
    };
    form.constants(Permutation::new(&SHARED).fill("src", src))
}

/// What an operation's permutations differ in.
#[derive(Clone, Copy, Debug)]
struct Form {
    from: DType,
    /// The generator of stochastic rounding.
    drawn: Option<Generator>,
    /// The kind of element.
    kind: u32,
    /// Whether the tensor has a scale.
    tensor: bool,
}

impl Form {
    fn of(op: &Encode) -> Self {
        let drawn = match op.rounding {
            Rounding::Stochastic => Some(op.draw.generator),
            Rounding::Nearest | Rounding::TowardZero => None,
        };
        Self {
            from: op.from,
            drawn,
            kind: kind(op.format.element()),
            tensor: tensor_scaled(op.format),
        }
    }

    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for from in [DType::F32, DType::Bf16] {
            for drawn in [None, Some(Generator::Threefry), Some(Generator::Philox)] {
                for kind in KINDS {
                    all.extend([true, false].map(|tensor| Self {
                        from,
                        drawn,
                        kind,
                        tensor,
                    }));
                }
            }
        }
        all
    }

    fn constants(self, permutation: Permutation) -> Permutation {
        // The text names a generator even where nothing is drawn.
        permutation
            .fill("generator", generator(self.drawn.unwrap_or(Generator::Threefry)))
            .constant("SRC_BF16", self.from == DType::Bf16)
            .constant("STOCHASTIC", self.drawn.is_some())
            .constant("ELEMENT", self.kind)
            .constant("TENSOR_SCALE", self.tensor)
    }
}
