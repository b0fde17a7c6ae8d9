//! The one shader file whose text another stands for: so tests plant a fault and look whether the cases find it.

use std::sync::OnceLock;

use super::library::File;

/// The replacement of this process, decided once: by [`check::replace_shader`](crate::check), or, with none, by the
/// first look at any shader's text. So no pipeline of the process was made of other text than the rest.
pub(crate) static REPLACED: OnceLock<Option<File>> = OnceLock::new();

/// Whether some file's text is another: no shader is trusted then, for a fault may be a loop without an end.
pub(super) fn any() -> bool {
    matches!(REPLACED.get(), Some(Some(_)))
}

/// The text of the file at `path`: its own, unless it is the one that was replaced.
pub(super) fn text(path: &str, own: &'static str) -> &'static str {
    match REPLACED.get_or_init(|| None) {
        Some(file) if file.path == path => file.text,
        _ => own,
    }
}
