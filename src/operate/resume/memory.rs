//! What becomes of a `/var` in memory when the one on ZFS takes its place.
//!
//! Daemons have files open in it, so it cannot be unmounted, and nobody is killed for it: ZFS's
//! `/var` is mounted over it. Its `run` is shown at `/var/run` again, because pid files and sockets
//! describe what is running, and all of it, read-only, at [`VIEW`], until the machine stops. What
//! it collected is copied to [`KEPT`], where it stays.

use std::path::{Path, PathBuf};

use crate::boot::tree::{self, Change, Comparison, Existing, What};
use crate::boot::{Boot, overlay, var::VAR};
use crate::host::{FileKind, HeldDirectory, mounted_at, why};
use crate::report::{Code, Finding};

/// Where the memory `/var` is shown.
pub const VIEW: &str = "/var/db/nanozfs/memory";
/// Below it, by time: what a memory `/var` collected.
pub const KEPT: &str = "/var/db/nanozfs/memory-var";
/// In `/var`: what describes the running system and stays visible.
const RUN: &str = "run";
/// In `/var`: temporary files, and our own record.
const LEFT_OUT: [&str; 3] = [RUN, "tmp", "db/nanozfs"];
/// Bytes that stay free on the pool.
const RESERVE: u64 = 16 << 20;

/// What is on `/var` is in memory.
pub fn is_memory(boot: &Boot<'_, '_>) -> bool {
    let mounts = boot.host.mounts().unwrap_or_default();
    mounted_at(&mounts, Path::new(VAR)).is_some_and(|mount| mount.in_memory())
}

/// A memory `/var` of this boot was mounted over, and is shown.
pub fn is_shown(boot: &Boot<'_, '_>) -> bool {
    let mounts = boot.host.mounts().unwrap_or_default();
    mounted_at(&mounts, Path::new(VIEW)).is_some()
}

/// Shows what the new `/var` hides. What cannot be shown is a finding.
pub fn show(boot: &mut Boot<'_, '_>, held: &dyn HeldDirectory) {
    let run = Path::new(VAR).join(RUN);
    for (part, at, read_only) in [(RUN, run.as_path(), false), ("", Path::new(VIEW), true)] {
        let what = if part.is_empty() { "the memory /var" } else { "its run" };
        boot.console.detail(&format!("show {what} at {}", at.display()));
        let shown = directories(boot, at).map_err(|error| why(&error));
        let shown = shown.and_then(|()| {
            held.show(Path::new(part), at, read_only).map_err(|error| error.to_string())
        });
        match shown {
            Ok(()) => boot.changed(1),
            Err(why) => boot.find(Finding::new(Code::E82, format!("{}: {why}", at.display()))),
        }
    }
}

/// Copies what the memory `/var` collected to a directory of this name. How many files it was, and
/// where they are; `None` when there was nothing.
pub fn keep(boot: &mut Boot<'_, '_>, name: &str) -> Option<(usize, PathBuf)> {
    let (files, view) = (boot.host.files(), Path::new(VIEW));
    let target = Path::new(KEPT).join(name);
    let mut skip: Vec<_> = LEFT_OUT.iter().map(PathBuf::from).collect();
    skip.extend(boot.config.var_image.iter().cloned());
    let mut comparison = tree::compare(files, view, &target, Existing::Replace, &skip);
    collected(boot, &mut comparison);
    let size = |change: &Change| match change.what {
        What::File(_) => files.stat(&view.join(&change.path)).map_or(0, |stat| stat.size),
        _ => 0,
    };
    let bytes: u64 = comparison.changes.iter().map(size).sum();
    let room = files.free_space(Path::new(VAR)).unwrap_or(0).saturating_sub(RESERVE);
    if bytes > room {
        let what = format!("the memory /var holds {bytes} bytes, and there is room for {room}");
        boot.find(Finding::new(Code::E81, what));
        return None;
    }
    if !comparison.changes.is_empty() {
        if let Err(error) = directories(boot, &target) {
            let what = format!("{}: {}", target.display(), why(&error));
            boot.find(Finding::new(Code::E81, what));
            return None;
        }
        overlay::write(boot, view, &target, &mut comparison, true);
    }
    let failed: Vec<_> = comparison
        .failed
        .iter()
        .map(|(path, why)| format!("{}: {why}", view.join(path).display()))
        .collect();
    overlay::tell(boot, Code::E81, "not copied", &failed);
    let kept = count(boot, &target);
    (kept > 0).then_some((kept, target))
}

/// Leaves of a comparison what somebody wrote: no file that the image brought and nobody changed,
/// no empty one, no directory without anything in it.
fn collected(boot: &Boot<'_, '_>, comparison: &mut Comparison) {
    let (files, view) = (boot.host.files(), Path::new(VIEW));
    let seed = &boot.config.var_seed;
    let seeded = |change: &Change| {
        let (here, there) = (view.join(&change.path), seed.join(&change.path));
        match &change.what {
            What::File(_) => {
                let stat = |path: &Path| files.stat(path).ok();
                let size = stat(&here).map_or(0, |stat| stat.size);
                let same_size = stat(&there)
                    .is_some_and(|stat| stat.kind == FileKind::File && stat.size == size);
                size == 0 || same_size && files.same_content(&here, &there).unwrap_or(false)
            }
            What::Link(reads) => files.read_link(&there).is_ok_and(|other| other == *reads),
            What::Directory(_) | What::Attributes(_) => false,
        }
    };
    comparison.changes.retain(|change| !seeded(change));
    let is_directory = |change: &Change| matches!(change.what, What::Directory(_));
    let inside: Vec<PathBuf> = comparison
        .changes
        .iter()
        .filter(|change| !is_directory(change))
        .map(|change| change.path.clone())
        .collect();
    let leads = |change: &Change| inside.iter().any(|path| path.starts_with(&change.path));
    comparison.changes.retain(|change| !is_directory(change) || leads(change));
}

/// Files and links at and below a directory.
fn count(boot: &Boot<'_, '_>, directory: &Path) -> usize {
    let files = boot.host.files();
    let names = files.list(directory).unwrap_or_default();
    let one = |name| {
        let path = directory.join(name);
        match files.is_directory(&path) {
            true => count(boot, &path),
            false => 1,
        }
    };
    names.into_iter().map(one).sum()
}

/// Makes a directory in `/var`, and those above it.
fn directories(boot: &mut Boot<'_, '_>, at: &Path) -> std::io::Result<()> {
    let mut above: Vec<_> = at.ancestors().take_while(|path| *path != Path::new(VAR)).collect();
    above.reverse();
    for path in above {
        if boot.host.files().is_directory(path) {
            continue;
        }
        boot.host.files().make_directory(path)?;
        if let Some(parent) = path.parent() {
            boot.host.files().sync(parent)?;
        }
        boot.changed(1);
    }
    Ok(())
}
