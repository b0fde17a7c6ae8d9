//! The largest index of each array of a shader's own, and of each vector's component: recorded over the cases, and
//! compared with the length.
//!
//! naga finds the indices that are not constant; each is handed through a function, in the text, that keeps the largest
//! it has seen in a storage buffer. wgpu's clamps come after that, so that an index outside does no harm here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use fewbit::Error;
use fewbit::check::{Recording, record, records};
use fewbit::cpu::Cpu;
use fewbit::gpu::{Dispatch, Gpu, Offsets, OperandSpec, Permutation, PlanRequest, Shader, Words};
use fewbit::op::run::on_gpu_blocking;
use fewbit::op::{Args, Entry, Op, Table, Variant, Variants};
use fewbit::tensor::HostBuffer;
use libtest_mimic::Failed;
use naga::valid::{Capabilities, ShaderStages, ValidationFlags, Validator};
use naga::{AddressSpace, ArraySize, Expression, Function, Module, TypeInner};

/// An index that is no constant.
struct Access {
    /// Where its text lies, between the brackets.
    place: Range<usize>,
    /// What it must be below.
    length: u32,
}

/// How many elements or components an index may name; none where it is one of a storage buffer.
fn length(module: &Module, inner: &TypeInner) -> Option<u32> {
    match *inner {
        TypeInner::Array {
            size: ArraySize::Constant(size),
            ..
        } => Some(size.get()),
        TypeInner::Vector { size, .. } => Some(size as u32),
        TypeInner::Matrix { columns, .. } => Some(columns as u32),
        TypeInner::ValuePointer { size: Some(size), .. } => Some(size as u32),
        TypeInner::Pointer { base, space } => match (&module.types[base].inner, space) {
            (TypeInner::Array { .. }, AddressSpace::Storage { .. }) => None,
            (inner, _) => length(module, inner),
        },
        _ => None,
    }
}

/// The indices of a shader's text, in the order of their places.
fn accesses(source: &str) -> Result<Vec<Access>, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(ShaderStages::COMPUTE);
    let info = validator
        .validate(&module)
        .map_err(|error| format!("{error:?}"))?;
    let mut found = BTreeMap::new();
    let mut look = |function: &Function, info: &naga::valid::FunctionInfo| -> Result<(), String> {
        for (handle, expression) in function.expressions.iter() {
            let Expression::Access { base, .. } = expression else {
                continue;
            };
            let Some(length) = length(&module, info[*base].ty.inner_with(&module.types)) else {
                continue;
            };
            let span = function.expressions.get_span(handle).to_range();
            let span = span.ok_or("an index without a place")?;
            let text = source.get(span.clone()).ok_or("a place outside of the text")?;
            let inside = bracketed(text).ok_or_else(|| format!("no index in {text:?}"))?;
            let place = span.start + inside.start..span.start + inside.end;
            found.insert((place.start, place.end), Access { place, length });
        }
        Ok(())
    };
    for (handle, function) in module.functions.iter() {
        look(function, &info[handle])?;
    }
    for (at, entry) in module.entry_points.iter().enumerate() {
        look(&entry.function, info.get_entry_point(at))?;
    }
    Ok(found.into_values().collect())
}

/// What lies between the last pair of brackets.
fn bracketed(text: &str) -> Option<Range<usize>> {
    let end = text.strip_suffix(']')?.len();
    let mut depth = 1;
    for (at, c) in text[..end].char_indices().rev() {
        match c {
            ']' => depth += 1,
            '[' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1..end);
        }
    }
    None
}

/// The text whose indices are recorded, each in a word of its own: 1 more than the largest, 0 where there was none.
fn recorded(_: &Permutation, source: String, binding: u32) -> Result<Recording, String> {
    let found = accesses(&source)?;
    if found.is_empty() {
        return Ok(Recording { source, words: 0 });
    }
    let mut pieces = BTreeMap::new();
    let mut functions = format!(
        "\n@group(0) @binding({binding}) var<storage, read_write> recorded_indices: array<atomic<u32>>;\n"
    );
    for (at, access) in found.iter().enumerate() {
        let opening: &mut String = pieces.entry(access.place.start).or_default();
        let _ = write!(opening, "recorded_index_{at}(");
        pieces.entry(access.place.end).or_default().insert(0, ')');
        let _ = write!(
            functions,
            "fn recorded_index_{at}(index: u32) -> u32 {{
                let seen = min(index, 0xfffffffeu) + 1u;
                if atomicLoad(&recorded_indices[{at}]) < seen {{
                    atomicMax(&recorded_indices[{at}], seen);
                }}
                return index;
            }}\n"
        );
    }
    let (mut text, mut last) = (String::new(), 0);
    for (at, piece) in pieces {
        text += &source[last..at];
        text += &piece;
        last = at;
    }
    text += &source[last..];
    text += &functions;
    let words = found.len() as u64;
    Ok(Recording { source: text, words })
}

/// What devices have recorded.
#[derive(Default)]
struct Seen {
    /// Every index that was outside.
    outside: Vec<String>,
    /// Indices by their texts, and whether some shader of the operation has come there: shaders share files, and need not call
    /// all that is in them.
    indices: BTreeMap<String, bool>,
}

/// Adds what a device has recorded.
fn look(gpu: &Gpu, all: &mut Seen) -> Result<(), Failed> {
    for (permutation, words) in records(gpu)? {
        let words = words.read_blocking()?;
        let source = permutation.source()?;
        for (access, &seen) in accesses(&source)?.iter().zip(words.words()) {
            let line = source[..access.place.start].rfind('\n').map_or(0, |at| at + 1);
            let line = source[line..].lines().next().unwrap_or_default().trim();
            let index = &source[access.place.clone()];
            let place = format!("[{index}] of {line:?}");
            *all.indices.entry(place).or_default() |= seen > 0;
            if seen > access.length {
                let (label, length) = (permutation.label(), access.length);
                all.outside
                    .push(format!("{label}: index {} of {length} in {line:?}", seen - 1));
            }
        }
    }
    Ok(())
}

/// Every case on every variant of a device that records.
pub(crate) fn inside(entry: &'static Entry, whole: bool) -> Result<(), Failed> {
    let mut seen = Seen::default();
    for &weak in if whole { &[false, true][..] } else { &[false] } {
        let gpu = super::open(weak)?;
        record(&gpu, recorded);
        for case in super::cases(entry, whole) {
            if weak && case.effort > fewbit::op::Effort::Quick {
                continue;
            }
            let operands = case.operands()?;
            for offsets in [Offsets::Vec4, Offsets::Any] {
                for variant in case.op.variants(&gpu, offsets) {
                    let request = PlanRequest::default().variant(variant).offsets(offsets);
                    match on_gpu_blocking(&gpu, &*case.op, &request, &operands, 4) {
                        // More than the caps let any variant do.
                        Err(Error::Limit { .. }) if weak => {}
                        outcome => drop(outcome?),
                    }
                }
            }
        }
        look(&gpu, &mut seen)?;
    }
    let missed = seen.indices.iter().filter(|(_, reached)| whole && !**reached);
    let missed = missed.map(|(index, _)| format!("no case comes to {index}"));
    let found: Vec<_> = seen.outside.iter().cloned().chain(missed).collect();
    match found.is_empty() {
        true => Ok(()),
        false => Err(found.join("\n").into()),
    }
}

/// Of four places, one past the last is written where a word of `x` says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Planted;

static PLANTED: Shader = Shader::new(
    "planted/planted.wgsl",
    "
struct Params {
    x_offset: u32,
    y_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
var<workgroup> places: array<u32, 4>;
@compute @workgroup_size(4)
fn main(@builtin(local_invocation_index) lane: u32) {
    let v = vec4<u32>(1u, 2u, 3u, 4u);
    places[lane + x[params.x_offset]] = v[lane & 3u];
    workgroupBarrier();
    y[params.y_offset + lane] = places[lane];
}",
);

static VARIANTS: Variants<Planted> = Variants(&[Variant {
    name: "only",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches: |_, gpu, _| {
        let dispatch = Dispatch::new(&gpu.pipeline(&Permutation::new(&PLANTED))?)
            .bind("x", Words::of("x", 0..1))
            .bind("y", Words::of("y", 0..4));
        Ok(vec![dispatch])
    },
    permutations: || vec![Permutation::new(&PLANTED)],
}]);

impl Op for Planted {
    fn name(&self) -> &'static str {
        "planted"
    }
    fn operands(&self) -> Vec<OperandSpec> {
        vec![OperandSpec::read("x", 1), OperandSpec::write("y", 4)]
    }
    fn check(&self) -> fewbit::Result<()> {
        Ok(())
    }
    fn table(&self) -> &'static dyn Table {
        &VARIANTS
    }
    fn cpu(&self, _: &Cpu, _: Args<'_>) -> fewbit::Result<()> {
        Ok(())
    }
    fn reference(&self, _: Args<'_>) -> fewbit::Result<()> {
        Ok(())
    }
}

/// The record of a shader that keeps inside, then outside by one.
pub(crate) fn planted() -> Result<(), Failed> {
    let gpu = super::open(false)?;
    record(&gpu, recorded);
    for (first, expected) in [(0, None), (1, Some("index 4 of 4 in \"places[lane + x["))] {
        let operands = [vec![first], vec![0; 4]];
        let operands = operands
            .iter()
            .map(|words| HostBuffer::from_words(words))
            .collect::<fewbit::Result<Vec<_>>>()?;
        on_gpu_blocking(&gpu, &Planted, &PlanRequest::default(), &operands, 0)?;
        let mut seen = Seen::default();
        look(&gpu, &mut seen)?;
        let found = match expected {
            None => seen.outside.is_empty(),
            Some(text) => seen.outside.len() == 1 && seen.outside[0].contains(text),
        };
        let reached = seen.indices.values().filter(|reached| **reached).count();
        if !found || reached != 3 {
            return Err(format!("{reached} of 3 indices reached, {:?}", seen.outside).into());
        }
    }
    Ok(())
}
