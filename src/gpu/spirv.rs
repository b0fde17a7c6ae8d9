//! SPIR-V compiled beforehand, for what WGSL cannot say: handed to Vulkan as it is, with its constants set.

use super::Constant;

const HEADER: usize = 5;
const MAGIC: u32 = 0x0723_0203;
const OP_NAME: u32 = 5;
const OP_SPEC_CONSTANT_TRUE: u32 = 48;
const OP_SPEC_CONSTANT_FALSE: u32 = 49;
const OP_SPEC_CONSTANT: u32 = 50;

/// The words of a module with these specialization constants set.
///
/// wgpu sets none in shaders that it passes through, so their defaults are changed in the words: a module names its
/// constants (`OpName`, before everything named), and their values stand in the opcode of `OpSpecConstantTrue` and
/// `OpSpecConstantFalse`, or behind the result of `OpSpecConstant`.
pub(super) fn specialized(bytes: &[u8], constants: &[(&'static str, Constant)]) -> Result<Vec<u32>, String> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    let mut words: Vec<u32> = chunks.iter().copied().map(u32::from_le_bytes).collect();
    if !rest.is_empty() || words.len() < HEADER || words[0] != MAGIC {
        return Err("this is no SPIR-V module".into());
    }
    let mut ids = vec![None; constants.len()];
    let mut set = vec![false; constants.len()];
    let mut at = HEADER;
    while at < words.len() {
        // An instruction begins with its length in words above its opcode.
        let (length, opcode) = ((words[at] >> 16) as usize, words[at] & 0xffff);
        if length == 0 || at + length > words.len() {
            return Err(format!("the instruction at word {at} passes the module's end"));
        }
        match (opcode, length) {
            (OP_NAME, 3..) => {
                let text = words[at + 2..at + length].iter().flat_map(|w| w.to_le_bytes());
                let name: Vec<u8> = text.take_while(|byte| *byte != 0).collect();
                if let Some(index) = constants.iter().position(|(known, _)| known.as_bytes() == name) {
                    ids[index] = Some(words[at + 1]);
                }
            }
            (OP_SPEC_CONSTANT_TRUE | OP_SPEC_CONSTANT_FALSE, 3) | (OP_SPEC_CONSTANT, 4) => {
                if let Some(index) = ids.iter().position(|id| *id == Some(words[at + 2])) {
                    match (constants[index].1, length) {
                        (Constant::Bool(true), 3) => words[at] = 3 << 16 | OP_SPEC_CONSTANT_TRUE,
                        (Constant::Bool(false), 3) => words[at] = 3 << 16 | OP_SPEC_CONSTANT_FALSE,
                        (Constant::U32(value), 4) => words[at + 3] = value,
                        _ => return Err(format!("constant {} has another type", constants[index].0)),
                    }
                    set[index] = true;
                }
            }
            _ => {}
        }
        at += length;
    }
    match set.iter().position(|set| !set) {
        None => Ok(words),
        Some(index) => Err(format!(
            "the module has no specialization constant {}",
            constants[index].0
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header, two names, a boolean and a number.
    fn module() -> Vec<u8> {
        let name = |text: &[u8; 4]| u32::from_le_bytes(*text);
        let words = [
            [MAGIC, 0x1_0500, 0, 9, 0].as_slice(),
            &[3 << 16 | OP_NAME, 7, name(b"ON\0\0")],
            &[4 << 16 | OP_NAME, 8, name(b"SIZE"), 0],
            &[3 << 16 | OP_SPEC_CONSTANT_FALSE, 1, 7],
            &[4 << 16 | OP_SPEC_CONSTANT, 2, 8, 16],
        ];
        words.concat().into_iter().flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn constants_are_set_by_name() -> Result<(), String> {
        let constants = [("SIZE", Constant::U32(8)), ("ON", Constant::Bool(true))];
        let got = specialized(&module(), &constants)?;
        assert_eq!(got[12] & 0xffff, OP_SPEC_CONSTANT_TRUE);
        assert_eq!(got[18], 8);
        let same = specialized(&module(), &[])?;
        assert_eq!(
            same.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>(),
            module()
        );
        Ok(())
    }

    #[test]
    fn what_is_no_module_or_lacks_a_constant_is_refused() {
        for (bytes, constant) in [
            (module(), ("OFF", Constant::Bool(true))),
            (module(), ("ON", Constant::U32(1))),
            (module()[..40].to_vec(), ("ON", Constant::Bool(true))),
            (module()[..39].to_vec(), ("ON", Constant::Bool(true))),
            (b"#version 460".to_vec(), ("ON", Constant::Bool(true))),
        ] {
            assert!(specialized(&bytes, &[constant]).is_err(), "{constant:?}");
        }
    }
}
