//! Files that outlive a run, one of each per adapter: tuned variants and compiled pipelines. A file that is
//! missing, stale or corrupt means defaults, never an error.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Gpu, Tuning};
use crate::file;

/// The layout of the tuning file; another number is another layout, and stale.
const TUNING_VERSION: u64 = 1;
/// What a pipeline file starts with: name, layout, length and checksum of the driver's data follow.
const PIPELINES_MAGIC: &[u8; 8] = b"fewbitP1";

/// A folder of cache files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// `FEWBIT_CACHE_DIR`, or `fewbit` in the platform's cache folder; `None` where there is no such folder (no
    /// home), or where the variable is set and empty.
    #[must_use]
    pub fn platform() -> Option<Self> {
        use etcetera::BaseStrategy as _;
        match std::env::var_os("FEWBIT_CACHE_DIR") {
            Some(folder) if folder.is_empty() => None,
            Some(folder) => Some(Self::at(PathBuf::from(folder))),
            None => {
                let platform = etcetera::choose_base_strategy().ok()?;
                Some(Self::at(platform.cache_dir().join("fewbit")))
            }
        }
    }

    /// A folder of the caller's choice. It is made when something is saved.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The tuning file of an adapter.
    #[must_use]
    pub fn tuning_path(&self, info: &wgpu::AdapterInfo) -> PathBuf {
        self.folder.join(format!("tuning-{}.json", slug(info)))
    }

    /// The pipeline file of an adapter.
    #[must_use]
    pub fn pipelines_path(&self, info: &wgpu::AdapterInfo) -> PathBuf {
        self.folder.join(format!("pipelines-{}.bin", slug(info)))
    }

    /// What was tuned for this adapter with this driver by this version of fewbit; else nothing.
    #[must_use]
    pub fn tuning(&self, info: &wgpu::AdapterInfo) -> Tuning {
        let path = self.tuning_path(info);
        let Ok(bytes) = file::read_regular(&path) else {
            return Tuning::default();
        };
        parse_tuning(&bytes, info).unwrap_or_else(|why| {
            log::info!("{}: {why}: the default variants serve", path.display());
            Tuning::default()
        })
    }

    /// Replaces the tuning file of an adapter, whole or not at all.
    ///
    /// # Errors
    /// The folder or the file cannot be written; the old file is then as it was.
    pub fn save_tuning(&self, info: &wgpu::AdapterInfo, tuning: &Tuning) -> std::io::Result<PathBuf> {
        let entries = tuning.iter();
        let entries: Vec<_> = entries
            .map(|(op, family, variant)| json!({"op": op, "family": family, "variant": variant}))
            .collect();
        let document = json!({
            "format": "fewbit tuning",
            "version": TUNING_VERSION,
            "fewbit": env!("CARGO_PKG_VERSION"),
            "adapter": identity(info),
            "variants": entries,
        });
        let path = self.tuning_path(info);
        let text = serde_json::to_vec_pretty(&document).map_err(std::io::Error::other)?;
        self.replace(&path, &text)?;
        Ok(path)
    }

    /// Adds what was found to the tuning file of an adapter, and keeps the rest of it: what another program has
    /// added since this one read it too.
    ///
    /// # Errors
    /// The folder or the file cannot be written, or another program has been adding for ten seconds; the old file
    /// is then as it was.
    pub fn add_tuning(&self, info: &wgpu::AdapterInfo, found: &Tuning) -> std::io::Result<PathBuf> {
        let lock = self.lock(info)?;
        let mut tuning = self.tuning(info);
        for (op, family, variant) in found.iter() {
            tuning.set(op, family, variant);
        }
        let saved = self.save_tuning(info, &tuning);
        drop(lock);
        saved
    }

    /// Finds out whether a tuning file could be saved, and changes none.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn probe_tuning(&self, info: &wgpu::AdapterInfo) -> std::io::Result<()> {
        let path = self.tuning_path(info);
        self.free(&path)?;
        file::probe(path)
    }

    /// Keeps other programs from adding to the tuning file of an adapter until it is dropped.
    fn lock(&self, info: &wgpu::AdapterInfo) -> std::io::Result<std::fs::File> {
        let path = self.tuning_path(info).with_extension("lock");
        self.free(&path)?;
        let file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if start.elapsed() < Duration::from_secs(10) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(std::io::Error::other("another program keeps its lock"));
                }
                // Some file systems have no locks: then two programs at once may lose what one of them adds.
                Err(std::fs::TryLockError::Error(error)) => {
                    log::info!("{}: no lock: {error}", self.folder.display());
                    return Ok(file);
                }
            }
        }
    }

    /// The driver's data of pipelines compiled before, if the file is whole.
    #[must_use]
    pub fn pipelines(&self, info: &wgpu::AdapterInfo) -> Option<Vec<u8>> {
        let bytes = file::read_regular(self.pipelines_path(info)).ok()?;
        let data = unwrap_pipelines(&bytes, info);
        if data.is_none() {
            log::info!("the cache of pipelines is stale or damaged: it starts anew");
        }
        data.map(<[u8]>::to_vec)
    }

    /// Saves what the driver compiled on this device, where it supports that (`PIPELINE_CACHE`, Vulkan).
    ///
    /// # Errors
    /// The folder or the file cannot be written; the old file is then as it was.
    pub fn save_pipelines(&self, gpu: &Gpu) -> std::io::Result<()> {
        let Some(data) = gpu
            .0
            .pipeline_cache
            .as_ref()
            .and_then(wgpu::PipelineCache::get_data)
        else {
            return Ok(());
        };
        self.replace(
            &self.pipelines_path(gpu.info()),
            &wrap_pipelines(&data, gpu.info()),
        )
    }

    /// Writes a file of the folder, whole or not at all.
    fn replace(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        self.free(path)?;
        file::write(path, bytes)
    }

    /// Makes the folder. A cache is a file: what else has its name is neither written to nor waited for.
    fn free(&self, path: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        match file::only_regular(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The adapter and its driver in words. A new driver may prefer other variants: it makes the file stale.
fn identity(info: &wgpu::AdapterInfo) -> String {
    format!(
        "{} {:?} {:04x}:{:04x} {:?} {} {}",
        info.name, info.backend, info.vendor, info.device, info.device_type, info.driver, info.driver_info
    )
}

/// A file name for an adapter, whatever its name holds.
fn slug(info: &wgpu::AdapterInfo) -> String {
    let name = info.name.to_lowercase();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let backend = format!("{:?}", info.backend).to_lowercase();
    format!("{backend}-{:04x}-{:04x}-{name}", info.vendor, info.device)
}

fn parse_tuning(bytes: &[u8], info: &wgpu::AdapterInfo) -> Result<Tuning, &'static str> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| "no JSON")?;
    let expected = [
        ("format", json!("fewbit tuning")),
        ("version", json!(TUNING_VERSION)),
        ("fewbit", json!(env!("CARGO_PKG_VERSION"))),
        ("adapter", json!(identity(info))),
    ];
    if expected
        .iter()
        .any(|(key, value)| document.get(key) != Some(value))
    {
        return Err("made for another version, adapter or driver");
    }
    let entries = document.get("variants").and_then(Value::as_array);
    let mut tuning = Tuning::default();
    for entry in entries.ok_or("no list of variants")? {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).ok_or("a damaged entry");
        tuning.set(text("op")?, text("family")?, text("variant")?);
    }
    Ok(tuning)
}

/// FNV-1a of the bytes and of the adapter: finds what was cut short or overwritten, no malice.
fn checksum(data: &[u8], info: &wgpu::AdapterInfo) -> u64 {
    let identity = identity(info);
    identity
        .bytes()
        .chain(data.iter().copied())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

fn wrap_pipelines(data: &[u8], info: &wgpu::AdapterInfo) -> Vec<u8> {
    let mut bytes = PIPELINES_MAGIC.to_vec();
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(checksum(data, info).to_le_bytes());
    bytes.extend(data);
    bytes
}

fn unwrap_pipelines<'a>(bytes: &'a [u8], info: &wgpu::AdapterInfo) -> Option<&'a [u8]> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (sum, data) = rest.split_first_chunk::<8>()?;
    let whole = magic == PIPELINES_MAGIC
        && u64::from_le_bytes(*length) == data.len() as u64
        && u64::from_le_bytes(*sum) == checksum(data, info);
    whole.then_some(data)
}

/// A pipeline cache for the driver, filled with what an earlier run saved.
#[expect(unsafe_code, reason = "wgpu cannot tell data of its own from any other")]
pub(super) fn pipeline_cache(
    device: &wgpu::Device,
    info: &wgpu::AdapterInfo,
    cache: Option<&Cache>,
) -> Option<wgpu::PipelineCache> {
    if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
        return None;
    }
    let data = cache.and_then(|cache| cache.pipelines(info));
    let descriptor = wgpu::PipelineCacheDescriptor {
        label: Some("fewbit"),
        data: data.as_deref(),
        fallback: true,
    };
    // SAFETY: the data, if any, came from `PipelineCache::get_data` on this adapter with this driver: only
    // `save_pipelines` writes such files, and the checksum covers data and adapter. The file lies in the user's
    // own cache folder, as trusted as the program. wgpu checks its own header besides, and falls back to empty.
    Some(unsafe { device.create_pipeline_cache(&descriptor) })
}
