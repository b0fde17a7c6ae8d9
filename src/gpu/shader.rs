//! A kernel's WGSL: its own file, the files that it names, and what the host reads from the text once: parameters,
//! step values and bindings.

use super::library::{File, LIBRARY};
use super::{Binding, BindingKind};

/// A kernel's own WGSL file.
///
/// It stands in the program as text, plain valid WGSL after the files that its `//!use` lines name: those of
/// [`LIBRARY`], its own [`Shader::files`], and, for `//!use $name`, the file that the permutation puts into that slot.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// Its path below `shaders/`.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Files beside those of the library that `//!use` lines and slots may name.
    pub files: &'static [File],
    trusted: bool,
}

impl Shader {
    /// A shader that needs no files but the library's, and is checked.
    #[must_use]
    pub const fn new(path: &'static str, text: &'static str) -> Self {
        Self {
            path,
            text,
            files: &[],
            trusted: false,
        }
    }

    /// The same with files of its own kernel.
    #[must_use]
    pub const fn files(mut self, files: &'static [File]) -> Self {
        self.files = files;
        self
    }

    /// Vouches for the shader: its pipelines go without those of wgpu's runtime checks that cost most. Its loops are not
    /// counted; and on Vulkan with robustBufferAccess2, where reads and writes past a storage binding are the driver's to
    /// stop, its indices are not clamped. CONTRIBUTING.md has what that asks of a kernel, and why the crate's keep it.
    ///
    /// # Safety
    /// For every permutation that is made of this shader, in every dispatch of the plans that its owner makes (who keeps
    /// pipelines and permutations to himself, or hands out [`checked`](super::Permutation::checked) ones), *whatever the
    /// buffers hold*:
    /// - every loop ends: what bounds it is a constant, a parameter, or clamped to one, and its counter cannot wrap;
    /// - every index into workgroup memory, into an array of a function's own, and of a vector's component is inside.
    ///
    /// Indices into storage bindings may be outside.
    #[must_use]
    pub const unsafe fn trusted(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// Whether its author has vouched for it: see [`Shader::trusted`].
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The stem of the file, `vector` for `spmv/vector.wgsl`, with its folder: `spmv/vector`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.strip_suffix(".wgsl").unwrap_or(self.path)
    }

    /// Its text after every file it uses, each once, in the order in which they are named; `slots` says what stands
    /// for `$name`.
    pub(super) fn texts(&self, slots: &[(&'static str, &'static str)]) -> Result<Vec<&'static str>, String> {
        let mut done = Vec::new();
        let mut texts = Vec::new();
        self.add(self.path, self.text, slots, &mut done, &mut texts)?;
        let unused = |slot: &&(&str, &str)| !done.contains(&slot.1);
        match slots.iter().find(unused) {
            Some((slot, path)) => Err(format!("no //!use ${slot} takes {path}")),
            None => Ok(texts),
        }
    }

    /// The paths of its text and of every file it uses, each once.
    pub(super) fn paths(&self, slots: &[(&'static str, &'static str)]) -> Result<Vec<&'static str>, String> {
        let (mut done, mut texts) = (Vec::new(), Vec::new());
        self.add(self.path, self.text, slots, &mut done, &mut texts)?;
        Ok(done)
    }

    fn add(
        &self,
        path: &'static str,
        text: &'static str,
        slots: &[(&'static str, &'static str)],
        done: &mut Vec<&'static str>,
        texts: &mut Vec<&'static str>,
    ) -> Result<(), String> {
        if done.contains(&path) {
            return Ok(());
        }
        done.push(path);
        let text = super::replaced::text(path, text);
        for used in text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("//!use "))
        {
            let used = used.trim();
            let wanted = match used.strip_prefix('$') {
                None => used,
                Some(slot) => match slots.iter().find(|(name, _)| *name == slot) {
                    Some((_, path)) => path,
                    None => return Err(format!("{path}: nothing fills the slot ${slot}")),
                },
            };
            let file = LIBRARY.iter().chain(self.files).find(|file| file.path == wanted);
            let file = file.ok_or_else(|| format!("{path}: there is no file {wanted} to use"))?;
            self.add(file.path, file.text, slots, done, texts)?;
        }
        texts.push(text);
        Ok(())
    }
}

/// What the host takes from a shader's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The fields of `struct Params`, one word each, in order.
    pub params: Vec<&'static str>,
    /// The scalars of `struct Step` after `seed` and `number`, in order.
    pub scalars: Vec<&'static str>,
    /// The bindings of `@group(0)`, in order.
    pub bindings: Vec<Binding>,
}

/// Words of a uniform structure of `words` words: back ends of OpenGL round its size up to 16 bytes.
const fn uniform(words: usize) -> u32 {
    words.next_multiple_of(4) as u32
}

impl Interface {
    /// Reads the declarations of `texts`. One declaration a line, as the shaders of this crate write them; a test
    /// holds what is read here against naga's reflection of every permutation.
    pub(super) fn read(texts: &[&'static str]) -> Result<Self, String> {
        let mut interface = Self::default();
        let mut bindings = Vec::new();
        for text in texts {
            let mut inside = None;
            for line in text.lines() {
                let line = line.split("//").next().unwrap_or_default().trim();
                match line {
                    "struct Params {" => inside = Some(&mut interface.params),
                    "struct Step {" => inside = Some(&mut interface.scalars),
                    "}" => inside = None,
                    _ => {
                        if let (Some(fields), Some((name, kind))) = (&mut inside, line.split_once(':')) {
                            match kind.trim().trim_end_matches(',') {
                                "u32" | "i32" | "f32" => fields.push(name.trim()),
                                "vec2<u32>" if name.trim() == "seed" => {}
                                kind => return Err(format!("field {name} of type {kind}: fields are words")),
                            }
                        }
                        bindings.extend(binding(line)?);
                    }
                }
            }
        }
        interface.scalars.retain(|name| *name != "number");
        bindings.sort_by_key(|(number, _)| *number);
        if let Some((at, (number, binding))) = bindings.iter().enumerate().find(|(at, entry)| entry.0 != *at)
        {
            return Err(format!(
                "binding {at} is missing before {number} ({})",
                binding.name
            ));
        }
        for (_, mut binding) in bindings {
            match binding.kind {
                BindingKind::Params => binding.words = uniform(interface.params.len()),
                BindingKind::Step => binding.words = uniform(3 + interface.scalars.len()),
                BindingKind::Read | BindingKind::Write => {}
            }
            interface.bindings.push(binding);
        }
        Ok(interface)
    }
}

/// The binding that a line declares, if it declares one.
fn binding(line: &'static str) -> Result<Option<(usize, Binding)>, String> {
    let Some(rest) = line.strip_prefix("@group(0) @binding(") else {
        return Ok(None);
    };
    let parts = || {
        let (number, rest) = rest.split_once(") var<")?;
        let (space, rest) = rest.split_once("> ")?;
        let (name, kind) = rest.trim_end_matches(';').split_once(':')?;
        Some((number.parse().ok()?, space, name, kind.trim()))
    };
    let (number, space, name, kind) = parts().ok_or_else(|| format!("cannot read the binding {line:?}"))?;
    let (kind, words) = match (space, kind) {
        ("uniform", "Params") => (BindingKind::Params, 0),
        ("uniform", "Step") => (BindingKind::Step, 0),
        ("storage, read", "array<u32>") => (BindingKind::Read, 1),
        ("storage, read_write", "array<u32>") => (BindingKind::Write, 1),
        ("storage, read", "array<vec4<u32>>") => (BindingKind::Read, 4),
        ("storage, read_write", "array<vec4<u32>>") => (BindingKind::Write, 4),
        _ => return Err(format!("cannot read the binding {line:?}")),
    };
    Ok(Some((number, Binding { name, kind, words })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "//!use lib/index.wgsl\n//!use $load\nstruct Params {\n    rows: u32, // of it\n    x_offset: u32,\n}\n\
        struct Step {\n    seed: vec2<u32>,\n    number: u32,\n    rate: f32,\n}\n\
        @group(0) @binding(0) var<uniform> params: Params;\n@group(0) @binding(1) var<uniform> step: Step;\n";
    const LOAD: &str =
        "//!use lib/index.wgsl\n@group(0) @binding(2) var<storage, read> x: array<vec4<u32>>;\n";

    #[test]
    fn files_come_once_and_slots_are_filled() {
        static FILES: [File; 1] = [File::new("x/load.wgsl", LOAD)];
        let shader = Shader::new("x/x.wgsl", TEXT).files(&FILES);
        let texts = shader.texts(&[("load", "x/load.wgsl")]);
        let texts = texts.as_deref().map(<[_]>::len);
        assert_eq!(texts, Ok(3), "index, load and the shader itself");
        assert!(shader.texts(&[]).is_err_and(|error| error.contains("$load")));
        assert!(shader.texts(&[("load", "x/none.wgsl")]).is_err());
        let twice = [("load", "x/load.wgsl"), ("more", "lib/bf16.wgsl")];
        assert!(shader.texts(&twice).is_err_and(|error| error.contains("$more")));
    }

    #[test]
    fn the_interface_is_read_from_the_text() {
        let interface = Interface::read(&[LOAD, TEXT]).unwrap_or_default();
        assert_eq!(interface.params, ["rows", "x_offset"]);
        assert_eq!(interface.scalars, ["rate"]);
        let names: Vec<_> = interface
            .bindings
            .iter()
            .map(|b| (b.name, b.kind, b.words))
            .collect();
        let expected = [
            ("params", BindingKind::Params, 4),
            ("step", BindingKind::Step, 4),
            ("x", BindingKind::Read, 4),
        ];
        assert_eq!(names, expected);
        assert!(Interface::read(&[LOAD]).is_err(), "bindings 0 and 1 are missing");
    }
}
