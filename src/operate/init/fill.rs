//! The first files of a new `/cfg`: those that the machine has at `/cfg` now, in recovery the
//! recovery copy; else the recovery copy of the OS drive.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::boot::osdrive::OsDrive;
use crate::boot::tree::{self, Existing};
use crate::host::{Host, MountRequest, Source, mounted_at, why};
use crate::upgrade::slot::scratch;

/// Where the first files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// What is mounted on `/cfg`.
    Here(String),
    /// The recovery copy on this provider, which is not mounted.
    RecoveryCopy(String),
    /// Nowhere: it stays empty.
    Nothing,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Here(source) => write!(f, "the files of {CFG}, which is {source}"),
            Origin::RecoveryCopy(provider) => {
                write!(f, "the files of the recovery copy, {provider}")
            }
            Origin::Nothing => write!(f, "no files: there is no recovery copy"),
        }
    }
}

impl Origin {
    /// Looks where files are.
    pub(super) fn look(boot: &Boot<'_, '_>, drive: Option<&OsDrive>) -> Origin {
        let mounts = boot.host.mounts().unwrap_or_default();
        let copy = drive.and_then(OsDrive::recovery_copy);
        match (mounted_at(&mounts, Path::new(CFG)), copy) {
            (Some(mount), _) => Origin::Here(mount.source.clone()),
            (None, Some(provider)) => Origin::RecoveryCopy(provider.to_owned()),
            (None, None) => Origin::Nothing,
        }
    }
}

/// Fills a new dataset, which is mounted aside for that. Files that it has already are compared, so
/// that what a power cut stopped goes on.
///
/// # Errors
///
/// One line: the dataset is not whole then.
pub(super) fn fill(boot: &mut Boot<'_, '_>, dataset: &str, origin: &Origin) -> Result<(), String> {
    if *origin == Origin::Nothing {
        return Ok(());
    }
    if !boot.act {
        boot.console.say(&format!("would fill {dataset} with {origin}"));
        return Ok(());
    }
    let host = boot.host;
    let copied = match origin {
        Origin::RecoveryCopy(provider) => {
            let source = Source::Ufs(provider.clone());
            with_mounted(host, source, Path::new(CFG), true, || aside(host, dataset))
        }
        _ => aside(host, dataset),
    }?;
    boot.console.detail(&format!("{copied} files into {dataset}"));
    boot.changed(copied);
    Ok(())
}

/// Copies `/cfg` to the dataset, mounted aside.
fn aside(host: &dyn Host, dataset: &str) -> Result<usize, String> {
    let mounts = host.mounts().map_err(|error| error.to_string())?;
    if let Some(left) = mounts.iter().find(|mount| mount.source == dataset) {
        // It was in use when an earlier run wanted to unmount it.
        let copied = copy(host, &left.at)?;
        return host.unmount(&left.at).map(|()| copied).map_err(|error| error.to_string());
    }
    let (at, made) = scratch(host)?;
    let source = Source::Dataset(dataset.to_owned());
    let copied = with_mounted(host, source, &at, false, || copy(host, &at));
    if made && let Err(error) = host.files().remove_directory(&at) {
        log::info!("remove {}: {error}", at.display());
    }
    copied
}

/// Does something while a file system is mounted.
fn with_mounted<T>(
    host: &dyn Host,
    source: Source,
    at: &Path,
    read_only: bool,
    does: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    let request = MountRequest { source, at: at.to_path_buf(), read_only };
    host.mount(&request).map_err(|error| error.to_string())?;
    let done = does();
    let unmounted = host.unmount(at).map_err(|error| error.to_string());
    done.and_then(|done| unmounted.map(|()| done))
}

fn copy(host: &dyn Host, to: &Path) -> Result<usize, String> {
    let (files, from) = (host.files(), Path::new(CFG));
    let comparison = tree::compare(files, from, to, Existing::Replace, &[]);
    let laid = tree::lay(files, from, to, comparison.changes, true);
    let mut failed: Vec<(PathBuf, String)> = comparison.failed;
    failed.extend(laid.failed);
    if let Some((path, why)) = failed.first() {
        let more = failed.len() - 1;
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        return Err(format!("{}: {why}{more}", from.join(path).display()));
    }
    files.sync(to).map_err(|error| format!("{}: {}", to.display(), why(&error)))?;
    Ok(laid.made.len())
}
