//! Pipelines that keep a record of what happens inside them: a test rewrites the text of every shader, so that it leaves
//! in a storage buffer of its own what the test wants to know.

#[cfg(feature = "check")]
use super::Permutation;

/// A shader's text with what it records, and the words of memory that it records them in.
#[cfg(feature = "check")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The whole WGSL text.
    pub source: String,
    /// Words of the binding; 0 where the text has none.
    pub words: u64,
}

/// What makes a recording of a permutation's text, given the number of the read-write storage binding that it may add.
#[cfg(feature = "check")]
pub type Rewrite = fn(&Permutation, String, u32) -> Result<Recording, String>;

#[cfg(feature = "check")]
mod kept {
    use std::sync::PoisonError;

    use super::{Recording, Rewrite};
    use crate::gpu::{Gpu, Permutation};

    impl Gpu {
        /// Rewrites the text of every pipeline that is made from now on; all of them are checked ones.
        pub(crate) fn record(&self, rewrite: Rewrite) {
            self.set_checked_shaders(true);
            let mut place = self.0.rewrite.lock().unwrap_or_else(PoisonError::into_inner);
            *place = Some(rewrite);
        }

        /// The pipelines that keep a record, and their buffers.
        pub(crate) fn records(&self) -> Vec<(Permutation, wgpu::Buffer)> {
            let known = self.0.pipelines.0.lock().unwrap_or_else(PoisonError::into_inner);
            let all = known
                .iter()
                .filter_map(|(permutation, made)| Some((permutation, made.as_ref().ok()?)));
            all.filter_map(|(permutation, made)| Some((permutation.clone(), made.recorder()?.clone())))
                .collect()
        }

        /// The text of a permutation as it is compiled, and the words of its record.
        pub(in crate::gpu) fn recording(
            &self,
            permutation: &Permutation,
            source: String,
            binding: u32,
        ) -> Result<(String, u64), String> {
            let rewrite = *self.0.rewrite.lock().unwrap_or_else(PoisonError::into_inner);
            match rewrite {
                Some(rewrite) if permutation.spirv_module().is_none() => {
                    let Recording { source, words } = rewrite(permutation, source, binding)?;
                    Ok((source, words))
                }
                _ => Ok((source, 0)),
            }
        }
    }
}

#[cfg(not(feature = "check"))]
impl super::Gpu {
    pub(super) fn recording(
        &self,
        _: &super::Permutation,
        source: String,
        _: u32,
    ) -> Result<(String, u64), String> {
        Ok((source, 0))
    }
}
