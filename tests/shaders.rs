//! Every permutation of every kernel: valid WGSL, and the bindings written on the host are those in the text.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use fewbit::gpu::{BindingKind, Permutation};
use naga::valid::Capabilities;
use naga::{AddressSpace, StorageAccess, TypeInner};

/// What a permutation may use beyond core WebGPU: nothing, unless it enables extensions.
fn needed(permutation: &Permutation) -> Capabilities {
    let mut needed = Capabilities::empty();
    for extension in &permutation.enables {
        needed |= match *extension {
            "f16" => Capabilities::SHADER_FLOAT16,
            "subgroups" => Capabilities::SUBGROUP,
            // Its values belong to subgroups, whose builtins have no extension in naga.
            "wgpu_cooperative_matrix" => Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP,
            other => panic!("{}: unknown extension {other}", permutation.label()),
        };
    }
    needed
}

fn reflect(permutation: &Permutation) -> naga::Module {
    let source = permutation
        .source()
        .unwrap_or_else(|error| panic!("{}: {error}", permutation.label()));
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{}: {}", permutation.label(), error.emit_to_string(&source)));
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), needed(permutation));
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
    validator
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}: {error:?}", permutation.label()));
    module
}

#[test]
fn bindings_match_the_shaders() {
    let permutations = fewbit::kernels::permutations();
    assert!(
        permutations.len() > 10,
        "the list of permutations is empty or nearly so"
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for share in permutations.chunks(permutations.len().div_ceil(cores)) {
            scope.spawn(move || share.iter().for_each(bindings_match));
        }
    });
}

fn bindings_match(permutation: &Permutation) {
    if permutation.spirv_module().is_some() {
        // tests/spirv.rs has those.
        return;
    }
    let label = permutation.label();
    let module = reflect(permutation);
    let interface = permutation
        .interface()
        .unwrap_or_else(|error| panic!("{label}: {error}"));
    let entry = module
        .entry_points
        .iter()
        .find(|entry| entry.name == permutation.entry);
    let entry = entry.unwrap_or_else(|| panic!("{label}: no entry point {}", permutation.entry));
    let size: u32 = entry.workgroup_size.iter().product();
    assert!(size <= 256, "{label}: {size} invocations per workgroup");

    let mut globals: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, global)| Some((global.binding.as_ref()?.binding, global)))
        .collect();
    globals.sort_by_key(|(binding, _)| *binding);
    assert_eq!(
        globals.len(),
        interface.bindings.len(),
        "{label}: number of bindings"
    );
    let storage = interface
        .bindings
        .iter()
        .filter(|binding| binding.is_storage())
        .count();
    assert!(storage <= 8, "{label}: {storage} storage bindings");
    for (expected, (desc, (binding, global))) in (0..).zip(interface.bindings.iter().zip(globals)) {
        assert_eq!(binding, expected, "{label}: binding numbers have a gap");
        assert_eq!(
            global.name.as_deref(),
            Some(desc.name),
            "{label}: name of binding {binding}"
        );
        let ty = &module.types[global.ty].inner;
        match (desc.kind, global.space) {
            (BindingKind::Params | BindingKind::Step, AddressSpace::Uniform) => {
                let bytes = ty.size(module.to_ctx()).next_multiple_of(16);
                assert!(bytes <= desc.words * 4, "{label}: bytes of {}", desc.name);
                let TypeInner::Struct { members, .. } = ty else {
                    panic!("{label}: {} is no structure", desc.name)
                };
                let expected: Vec<_> = match desc.kind {
                    BindingKind::Params => (0..).step_by(4).zip(interface.params.clone()).collect(),
                    _ => [(0, "seed"), (8, "number")]
                        .into_iter()
                        .chain((12..).step_by(4).zip(interface.scalars.clone()))
                        .collect(),
                };
                let fields = members
                    .iter()
                    .map(|member| (member.offset, member.name.as_deref().unwrap_or_default()));
                // A kernel that lists its bindings by hand names no parameters.
                if !expected.is_empty() {
                    assert_eq!(
                        fields.collect::<Vec<_>>(),
                        expected,
                        "{label}: fields of {}",
                        desc.name
                    );
                }
            }
            (kind, AddressSpace::Storage { access }) => {
                let writes = access.contains(StorageAccess::STORE);
                assert_eq!(
                    kind == BindingKind::Write,
                    writes,
                    "{label}: access of {}",
                    desc.name
                );
                let TypeInner::Array { base, .. } = *ty else {
                    panic!("{label}: {} is no array", desc.name)
                };
                let words = module.types[base].inner.size(module.to_ctx()) / 4;
                assert_eq!(words, desc.words, "{label}: element words of {}", desc.name);
            }
            (kind, space) => panic!("{label}: {} is {kind:?} on the host, {space:?} here", desc.name),
        }
    }

    // naga does not check workgroup memory against the limit, and neither does wgpu.
    let workgroup: u32 = module
        .global_variables
        .iter()
        .filter(|(_, global)| global.space == AddressSpace::WorkGroup)
        .map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx()))
        .sum();
    assert!(
        workgroup <= permutation.workgroup_memory,
        "{label}: {workgroup} bytes of workgroup memory"
    );
}
