//! The state of `/cfg` before a change that is not in `/etc` yet: what `/etc` has of it.
//!
//! Nobody can know what stood in a file of `/cfg` before somebody edited it. But `/etc` still has
//! it, and the machine runs with that. So what the change would put into `/etc` is put into `/cfg`
//! the other way round, until the snapshot is taken.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::undo::{is_of, origin};
use crate::boot::cfg::CFG;
use crate::boot::tree::{self, Change, Existing, What};
use crate::boot::{Boot, action::megabytes};
use crate::configuration::lists;
use crate::configuration::mirror::is_of_time;
use crate::configuration::names::shown;
use crate::host::{Files, mount_of, why};

const ETC: &str = "/etc";
/// The image's, in `/etc` too.
const CONF: &str = "nanozfs.conf";
/// What has to be free beside the files.
const SPARE: u64 = 1 << 20;

/// What applying `/cfg` changes in `/etc`.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// What is written.
    changes: Vec<Change>,
    /// What is removed.
    hidden: Vec<PathBuf>,
    /// What cannot be laid, and so not be taken back either, and why.
    refused: Vec<String>,
}

impl Facts {
    /// Nothing but times: `/etc` has the change already.
    pub(super) fn is_nothing(&self, files: &dyn Files) -> bool {
        let time = |change: &Change| is_of_time(files, change, Path::new(ETC));
        self.changes.iter().all(time) && self.hidden.is_empty()
    }

    /// The first of what cannot be laid, with why.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.first().map(String::as_str)
    }

    /// All the places.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let written = self.changes.iter().map(|change| change.path.clone());
        written.chain(self.hidden.iter().cloned()).collect()
    }
}

/// Looks what laying `/cfg` over `/etc` would change.
pub(super) fn look(boot: &Boot<'_, '_>) -> Facts {
    let files = boot.host.files();
    let (cfg, etc) = (Path::new(CFG), Path::new(ETC));
    let skip = [PathBuf::from(CONF), PathBuf::from(lists::OURS)];
    let found = tree::compare(files, cfg, etc, Existing::Replace, &skip);
    let special =
        found.refused.into_iter().map(|(path, kind)| (path, format!("is a {}", kind.name())));
    let refused = found.failed.into_iter().chain(special);
    let refused = refused.map(|(path, why)| format!("{}: {why}", shown(&path))).collect();
    let is_there = |path: &Path| matches!(files.find(path), Ok(Some(_)));
    let mounts = boot.host.mounts().unwrap_or_default();
    // Nothing is taken from an /etc that would not get it back.
    let in_memory = mount_of(&mounts, etc).is_some_and(|mount| mount.in_memory());
    let hidden = lists::deleted(files, cfg).0.into_iter().filter(|_| in_memory);
    let hidden = hidden.filter(|path| is_there(&etc.join(path)) && !is_there(&cfg.join(path)));
    Facts { changes: found.changes, hidden: hidden.collect(), refused }
}

/// Is there room for the state of before, beside that of now?
pub(super) fn room(boot: &Boot<'_, '_>, facts: &Facts) -> Result<(), String> {
    let files = boot.host.files();
    let size = |path: &Path| files.find(path).ok().flatten().map_or(0, |stat| stat.size);
    let both = |path: &PathBuf| size(&Path::new(CFG).join(path)) + size(&Path::new(ETC).join(path));
    let need = facts.paths().iter().map(both).sum::<u64>().saturating_mul(2).saturating_add(SPARE);
    match files.free_space(Path::new(CFG)) {
        Ok(free) if free < need => {
            let (free, need) = (megabytes(free), megabytes(need));
            Err(format!("/cfg has {free} free, and {need} are needed: nothing was applied"))
        }
        _ => Ok(()),
    }
}

/// Makes `/cfg` what it was before the change.
pub(super) fn write(boot: &mut Boot<'_, '_>, facts: &Facts) -> Result<(), String> {
    let files = boot.host.files();
    let (cfg, etc) = (Path::new(CFG), Path::new(ETC));
    let mut old = BTreeSet::new();
    let mut new = Vec::new();
    for change in &facts.changes {
        match comes_from_cfg(files, change) {
            true => drop(old.insert(change.path.clone())),
            false => new.push(change.path.clone()),
        }
    }
    let wanted = |directory: &Path, name: &OsStr| {
        let path = directory.join(name);
        old.iter().any(|one| one.starts_with(&path))
    };
    let found = tree::compare_some(files, etc, cfg, Existing::Replace, &wanted);
    let changes = found.changes.into_iter().filter(|change| old.contains(&change.path)).collect();
    let laid = tree::lay(files, etc, cfg, changes, true);
    if let Some((path, why)) = laid.failed.first() {
        return Err(format!("{}: {why}", shown(path)));
    }
    new.sort();
    for path in new.iter().rev() {
        let place = cfg.join(path);
        let done = match files.is_directory(&place) {
            true => files.remove_directory(&place),
            false => files.remove_file(&place),
        };
        done.map_err(|error| format!("{}: {}", shown(path), why(&error)))?;
    }
    if !facts.hidden.is_empty() {
        let (mut list, _) = lists::deleted(files, cfg);
        list.retain(|path| !facts.hidden.contains(path));
        lists::write_deleted(files, cfg, &list).map_err(|error| why(&error))?;
    }
    Ok(())
}

/// What `/etc` has at the place of a change was in `/cfg` once, as far as can be told: it is there,
/// and is not the image's.
fn comes_from_cfg(files: &dyn Files, change: &Change) -> bool {
    let there = Path::new(ETC).join(&change.path);
    let own = origin(files, &change.path).map(|(image, _)| image.join(&change.path));
    match &change.what {
        What::Directory(_) => false,
        What::File(_) | What::Link(_) | What::Attributes(_) => {
            matches!(files.find(&there), Ok(Some(_)))
                && !own.is_some_and(|own| is_of(files, &own, &there) && !files.is_directory(&there))
        }
    }
}
