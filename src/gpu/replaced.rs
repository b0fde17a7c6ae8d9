//! Shader files whose text another stands for: so tests plant a fault and look whether the cases find it, and so a shader
//! is worked on without a build.

use std::sync::OnceLock;

use super::library::File;

/// The replacements of this process, decided once: by [`check::replace_shader`](crate::check) or
/// [`check::replace_shaders`](crate::check), or, with none, by the first look at any shader's text. So no pipeline of the
/// process was made of other text than the rest.
pub(crate) static REPLACED: OnceLock<Vec<File>> = OnceLock::new();

/// Whether some file's text is another: no shader is trusted then, for a fault may be a loop without an end.
pub(super) fn any() -> bool {
    REPLACED.get().is_some_and(|files| !files.is_empty())
}

/// The text of the file at `path`: its own, unless it is one that was replaced.
pub(super) fn text(path: &str, own: &'static str) -> &'static str {
    let replaced = REPLACED.get_or_init(Vec::new);
    replaced
        .iter()
        .find(|file| file.path == path)
        .map_or(own, |file| file.text)
}
