//! The WGSL twins parse and validate.

#[test]
#[cfg_attr(miri, ignore = "too much work for Miri")]
fn shader_libraries_are_valid() {
    macro_rules! lib {
        ($name:literal) => {
            include_str!(concat!("../../shaders/lib/", $name, ".wgsl"))
        };
    }
    let common = [lib!("bf16"), lib!("rounding"), lib!("random"), lib!("element")].concat();
    let flags = naga::valid::ValidationFlags::all();
    let validate = |source: &str| {
        let module =
            naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
        let mut validator = naga::valid::Validator::new(flags, naga::valid::Capabilities::default());
        validator.validate(&module).unwrap_or_else(|e| panic!("{e:?}"));
        assert!(module.global_variables.is_empty() && module.entry_points.is_empty());
        module.functions.len()
    };
    assert!(validate(&[&common, lib!("threefry")].concat()) > 20);
    assert!(validate(&[&common, lib!("wide"), lib!("philox")].concat()) > 20);
    let philox = [lib!("wide"), lib!("philox")].concat();
    for alone in [lib!("bf16"), lib!("rounding"), lib!("threefry"), &philox] {
        validate(alone);
    }
}
