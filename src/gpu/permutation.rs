//! A permutation of a kernel: its shader with constants, and the bindings that the text declares.

use std::fmt::Write as _;

#[cfg(feature = "check")]
use super::File;
use super::{Interface, Shader};

/// How a kernel reaches one storage or uniform binding of `@group(0)`, as its text declares it; a test holds what is read
/// there against naga's reflection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The WGSL variable's name.
    pub name: &'static str,
    /// Uniform, read-only or read-write storage.
    pub kind: BindingKind,
    /// `u32` words of one array element for storage (1 for `array<u32>`, 4 for `array<vec4<u32>>`), words of
    /// the whole structure for uniforms.
    pub words: u32,
}

/// The address space and access of a [`Binding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingKind {
    /// `var<uniform>`: the parameters of one step, which never change after planning.
    Params,
    /// `var<uniform>`: the step values (see [`StepValues`](crate::gpu::StepValues)).
    Step,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
}

impl Binding {
    /// Whether this is a storage binding, that is, one that takes an operand.
    #[must_use]
    pub const fn is_storage(self) -> bool {
        matches!(self.kind, BindingKind::Read | BindingKind::Write)
    }
}

/// One permutation of a kernel: the constants prepended to its text. WGSL's `override` cannot size
/// function-local arrays, so tile sizes and compile-time switches are `const` lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permutation {
    shader: &'static Shader,
    /// The entry point.
    pub entry: &'static str,
    /// Language extensions (`f16`): their `enable` lines must stand before everything else.
    pub enables: Vec<&'static str>,
    /// The files that fill the shader's `//!use $slot` lines: slot, path.
    pub slots: Vec<(&'static str, &'static str)>,
    /// The `const` lines.
    pub constants: Vec<(&'static str, Constant)>,
    /// The most bytes of workgroup memory that its variables take; wgpu does not hold them against the limit.
    pub workgroup_memory: u32,
    spirv: Option<&'static [u8]>,
    checked: bool,
}

/// The workgroup memory of every conforming device: what a permutation may use unless it says otherwise.
pub const CORE_WORKGROUP_MEMORY: u32 = 16 << 10;

/// The value of a prepended `const`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// `const NAME: u32 = ..u;`
    U32(u32),
    /// `const NAME: bool = ..;`
    Bool(bool),
}

impl From<u32> for Constant {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<bool> for Constant {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl Permutation {
    /// The kernel with entry point `main` and no constants; as trusted as its shader (see [`Shader::trusted`]).
    #[must_use]
    pub fn new(shader: &'static Shader) -> Self {
        Self {
            shader,
            entry: "main",
            enables: Vec::new(),
            slots: Vec::new(),
            constants: Vec::new(),
            workgroup_memory: CORE_WORKGROUP_MEMORY,
            spirv: None,
            checked: false,
        }
    }

    /// Chooses another entry point.
    #[must_use]
    pub fn entry(mut self, entry: &'static str) -> Self {
        self.entry = entry;
        self
    }

    /// Enables a language extension.
    #[must_use]
    pub fn enable(mut self, extension: &'static str) -> Self {
        self.enables.push(extension);
        self
    }

    /// Fills the slot `//!use $slot` with a file of the library or of the shader's own.
    #[must_use]
    pub fn fill(mut self, slot: &'static str, path: &'static str) -> Self {
        self.slots.push((slot, path));
        self
    }

    /// Its shader's own file and those that it brings along, whether this permutation uses them or not.
    #[cfg(feature = "check")]
    pub(crate) fn own_files(&self) -> impl Iterator<Item = File> {
        let own = File::new(self.shader.path, self.shader.text);
        std::iter::once(own).chain(self.shader.files.iter().copied())
    }

    /// The name of its shader: the path without its ending.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.shader.name()
    }

    /// Adds a `const` line.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: impl Into<Constant>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// Declares more workgroup memory than [`CORE_WORKGROUP_MEMORY`]: devices with less refuse to compile it.
    #[must_use]
    pub fn workgroup_memory(mut self, bytes: u32) -> Self {
        self.workgroup_memory = bytes;
        self
    }

    /// The same with all of wgpu's runtime checks, whatever its shader is trusted with.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// Whether its pipeline goes without checks where that is safe: see [`Shader::trusted`]. Permutations that the crate
    /// hands out are [`checked`](Self::checked), those that its plans take need not be.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.shader.is_trusted() && !self.checked && !super::replaced::any()
    }

    /// Whether its shader is trusted, even if this permutation is checked.
    #[must_use]
    pub fn has_trusted_shader(&self) -> bool {
        self.shader.is_trusted()
    }

    /// Takes a SPIR-V module, compiled beforehand, in the place of WGSL: for Vulkan devices with
    /// `PASSTHROUGH_SHADERS`; others refuse to compile it. Constants are set by name in its specialization
    /// constants; enables and libraries are not looked at.
    ///
    /// # Safety
    /// Nothing checks the module. It must be valid for every device that it is compiled on, with the extensions
    /// that it uses enabled there, have the kernel's bindings and this entry point, and stay inside its bindings
    /// and its workgroup memory for all parameters that plans give it.
    #[must_use]
    pub unsafe fn spirv(mut self, module: &'static [u8]) -> Self {
        self.spirv = Some(module);
        self
    }

    /// The SPIR-V module that stands in the place of WGSL, if there is one.
    #[must_use]
    pub fn spirv_module(&self) -> Option<&'static [u8]> {
        self.spirv
    }

    /// Whether its products are those of matrix units: it enables cooperative matrices, or its SPIR-V was compiled for
    /// them, which is what SPIR-V is taken for.
    #[must_use]
    pub fn on_matrix_unit(&self) -> bool {
        self.spirv.is_some() || self.enables.contains(&"wgpu_cooperative_matrix")
    }

    /// The WGSL files it is made of, in order, each once.
    fn texts(&self) -> Result<Vec<&'static str>, String> {
        self.shader.texts(&self.slots)
    }

    /// The WGSL files it is made of, by their paths below `shaders/`.
    ///
    /// # Errors
    /// A slot that nothing fills, or a file that is not there, in words.
    pub fn paths(&self) -> Result<Vec<&'static str>, String> {
        self.shader.paths(&self.slots)
    }

    /// Parameters, step values and bindings, as the text declares them.
    ///
    /// # Errors
    /// A slot that nothing fills, a file that is not there, or a declaration that cannot be read, in words.
    pub fn interface(&self) -> Result<Interface, String> {
        Interface::read(&self.texts()?)
    }

    /// The whole WGSL text; empty where there is SPIR-V in its place.
    ///
    /// # Errors
    /// A slot that nothing fills, or a file that is not there, in words.
    pub fn source(&self) -> Result<String, String> {
        let mut text = String::new();
        if self.spirv.is_some() {
            return Ok(text);
        }
        // naga has subgroups without their line, and refuses the line.
        for extension in self.enables.iter().filter(|name| **name != "subgroups") {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "enable {extension};");
        }
        for (name, value) in &self.constants {
            let _ = match value {
                Constant::U32(value) => writeln!(text, "const {name}: u32 = {value}u;"),
                Constant::Bool(value) => writeln!(text, "const {name}: bool = {value};"),
            };
        }
        for part in self.texts()? {
            text.push_str(part);
            text.push('\n');
        }
        Ok(text)
    }

    /// A short name for labels and error messages: `convert[STOCHASTIC=true]`.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = self.name().to_string();
        for (i, (name, value)) in self.constants.iter().enumerate() {
            let open = if i == 0 { '[' } else { ',' };
            // Writing to a String cannot fail.
            let _ = match value {
                Constant::U32(value) => write!(label, "{open}{name}={value}"),
                Constant::Bool(value) => write!(label, "{open}{name}={value}"),
            };
        }
        if !self.constants.is_empty() {
            label.push(']');
        }
        label
    }
}
