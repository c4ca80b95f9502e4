//! One walk over `/etc`, `/cfg`, snapshots of it and the image, for whatever is compared then.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::look::{IMAGE, Look, compare};
use super::names::Named;
use super::places::{CONF, Places};
use super::{history, lists};
use crate::boot::cfg::CFG;
use crate::boot::tree::is_reserved;
use crate::format::zfs::Snapshot;
use crate::host::{FileKind, Files};

/// Where the trees stand in [`Places`].
const AT_ETC: usize = 0;
const AT_CFG: usize = 1;

/// What was walked.
pub(super) struct Walk {
    places: Places,
    /// The snapshot that was named; without one, `/cfg` as it is.
    then: usize,
    /// The newest snapshot, and where it stands if it was walked.
    newest: Option<(PathBuf, Option<usize>)>,
    image: Vec<usize>,
}

impl Walk {
    /// Looks at what is meant. `newest`: the newest snapshot of `/cfg`, where somebody will ask for
    /// it; `then`: the one that was named.
    pub(super) fn new(
        files: &dyn Files,
        named: &Named,
        newest: Option<&Snapshot>,
        then: Option<&Snapshot>,
    ) -> Walk {
        let mut trees = vec![PathBuf::from("/etc"), PathBuf::from(CFG)];
        let mut place = |tree: PathBuf| match trees.iter().position(|one| *one == tree) {
            Some(at) => at,
            None => {
                trees.push(tree);
                trees.len() - 1
            }
        };
        let then = then.map_or(AT_CFG, |one| place(history::directory(one)));
        let newest = newest.map(history::directory);
        let newest = newest.map(|one| (one.clone(), (!named.any()).then(|| place(one))));
        let image = IMAGE.iter().map(PathBuf::from).filter(|tree| files.is_directory(tree));
        let image = image.map(place).collect();
        Walk { places: Places::walk(files, trees, named), then, newest, image }
    }

    /// `/etc` with `/cfg` and the image: what is not saved yet.
    pub(super) fn unsaved(&self, files: &dyn Files) -> Look {
        compare(files, &self.places, (AT_ETC, AT_CFG), &self.image, &[])
    }

    /// `/etc` with the snapshot that was named and the image; `unsaved` was looked at before.
    pub(super) fn back(&self, files: &dyn Files, unsaved: &Look) -> Look {
        compare(files, &self.places, (AT_ETC, self.then), &self.image, &unsaved.facts)
    }

    /// `/cfg` with the snapshot that was named.
    pub(super) fn rewind(&self, files: &dyn Files) -> Look {
        compare(files, &self.places, (AT_CFG, self.then), &[], &[])
    }

    /// What was named and none of the trees has.
    pub(super) fn missing<'a>(&self, named: &'a Named) -> Option<&'a Path> {
        let there = |path: &Path| {
            self.places.is_unknown(path)
                || self.places.places.iter().any(|place| place.path.starts_with(path))
        };
        let mut named = named.0.iter().filter(|path| !path.as_os_str().is_empty());
        named.find(|path| !there(path)).map(PathBuf::as_path)
    }

    /// [`Walk::is_ahead`] as it is now: somebody may have worked in `/cfg` since it was walked.
    pub(super) fn is_ahead_by_now(&self, files: &dyn Files) -> bool {
        let Some((newest, _)) = &self.newest else { return true };
        !same(files, Path::new(CFG), newest).unwrap_or(false)
    }

    /// `/cfg` holds something that its newest snapshot has not; so it does when nobody knows. Files
    /// are compared by their times: a snapshot keeps all times of what it has, and nobody can set the
    /// time of the last change.
    pub(super) fn is_ahead(&self, files: &dyn Files) -> bool {
        let Some((newest, at)) = &self.newest else { return true };
        let cfg = Path::new(CFG);
        let Some(at) = *at else { return self.is_ahead_by_now(files) };
        let differs =
            |name: &str| !same_place(files, &cfg.join(name), &newest.join(name)).unwrap_or(false);
        self.places.failed(&[AT_CFG, at]).next().is_some()
            || self.places.places.iter().any(|place| place.stat(AT_CFG) != place.stat(at))
            || differs(lists::OURS)
    }
}

/// Two directories hold the very same files.
fn same(files: &dyn Files, one: &Path, two: &Path) -> io::Result<bool> {
    let top = if one == Path::new(CFG) { Path::new("") } else { one };
    let listed = |directory: &Path| -> io::Result<Vec<OsString>> {
        let mut names = files.list(directory)?;
        names.retain(|name| !(is_reserved(top, name) || top == Path::new("") && name == CONF));
        Ok(names)
    };
    let names = listed(one)?;
    if names != listed(two)? {
        return Ok(false);
    }
    for name in names {
        if !same_place(files, &one.join(&name), &two.join(&name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// They are one, seen in a snapshot and beside it, or both are missing.
fn same_place(files: &dyn Files, one: &Path, two: &Path) -> io::Result<bool> {
    let (here, there) = (files.find(one)?, files.find(two)?);
    let directory = here.is_some_and(|stat| stat.kind == FileKind::Directory);
    Ok(here == there && (!directory || same(files, one, two)?))
}
