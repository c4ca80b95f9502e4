//! `/var`: from ZFS, parents before children, else from memory; never empty, never without
//! `var/tmp`.
//!
//! An empty dataset is filled from the image's own `/var`. A marker says while that is going on, so
//! that a boot after a power cut goes on with it: the marker is on disk before the first file and
//! goes after the last one is.

use std::path::{Path, PathBuf};

use super::cfg::{locked, mount_point};
use super::layout::{self, KnownPool};
use super::tree::{self, Change, Existing, What};
use super::{Action, Boot, action::megabytes, overlay};
use crate::format::zfs::{CanMount, Dataset, Mountpoint};
use crate::host::{Attributes, Kind, Mount, MountRequest, Source, mount_of, mounted_at, why};
use crate::report::{Code, Finding};

/// The mount point.
pub const VAR: &str = "/var";
/// In the root of a dataset that is being filled.
const MARKER: &str = ".nanozfs.filling";
/// Directories that rc(8) needs before it would make them itself: without `var/tmp`, rc.d/tmp
/// stops at a shell. `empty` is not among them: where it is missing, rc.d/var runs mtree(8).
const NEEDED: [(&str, u32); 4] = [("tmp", 0o1777), ("run", 0o755), ("db", 0o755), ("log", 0o755)];
/// What nanozfs itself keeps in `/var`: its log, and the directory of its records.
const OWN: [&str; 2] = ["log/nanozfs.log", "db/nanozfs"];

/// The helper: mounts `/var` and what belongs on it.
pub fn step(boot: &mut Boot<'_, '_>, pools: &[KnownPool]) -> (String, ()) {
    let (mut line, mounted) = match from_zfs(boot, pools) {
        Some(line) => (line, true),
        None => in_memory(boot),
    };
    if mounted {
        let shown = image_parts(boot);
        if !shown.is_empty() {
            line = format!("{line}; {} from the image", shown.join(" "));
        }
    }
    (line, ())
}

/// A dataset and the place it belongs to.
struct Place<'a> {
    dataset: &'a Dataset,
    at: PathBuf,
}

/// Mounts the layout's `var` and its children. `None` when `/var` does not come from ZFS.
fn from_zfs(boot: &mut Boot<'_, '_>, pools: &[KnownPool]) -> Option<String> {
    let parent = boot.config.dataset.clone();
    let holder = layout::holder(pools, &parent)?;
    let Some(top) = holder.dataset(&parent, "var") else {
        let what = format!("{} holds {parent}/cfg, but no {parent}/var", holder.name);
        let advice = missing(holder, &parent);
        boot.find(Finding::new(Code::E40, what).next(advice));
        return None;
    };
    let top = Place { dataset: top, at: PathBuf::from(VAR) };
    if !mount(boot, &top) {
        return None;
    }
    let children = children_of(holder, &parent, top.dataset);
    let mut names = vec![top.dataset.name.clone()];
    let mut filled = usize::from(fill(boot, &top.at, &children));
    let mut skipped = Vec::<&str>::new();
    for dataset in holder.below(&parent, "var") {
        let Some(at) = place(dataset, top.dataset) else { continue };
        if skipped.iter().any(|name| dataset.name.starts_with(&format!("{name}/"))) {
            continue;
        }
        let child = Place { dataset, at };
        if mount(boot, &child) {
            names.push(dataset.name.clone());
            filled += usize::from(fill(boot, &child.at, &children));
        } else {
            // What is below would land in the wrong dataset.
            skipped.push(&dataset.name);
        }
    }
    needed(boot);
    let mut line = format!("{} on {VAR}", top.dataset.name);
    match names.len() - 1 {
        0 => {}
        1 => line.push_str(", and 1 below it"),
        count => line.push_str(&format!(", and {count} below it")),
    }
    if filled > 0 && boot.act {
        line.push_str("; filled from the image");
    }
    Some(line)
}

/// What to type where a pool holds `cfg` and no `var`: one that was put aside is not to be replaced by
/// an empty one.
pub fn missing(pool: &KnownPool, parent: &str) -> String {
    match layout::aside(&pool.datasets, &format!("{}/{parent}", pool.name), "var") {
        Some(_) => "nanozfs upgrade status; reboot".to_owned(),
        None => format!("nanozfs init {}; nanozfs resume", pool.name),
    }
}

/// The places, relative to `/var`, at which children are to be mounted.
fn children_of(holder: &KnownPool, parent: &str, top: &Dataset) -> Vec<PathBuf> {
    let places = holder.below(parent, "var").filter_map(|dataset| place(dataset, top));
    places.filter_map(|at| at.strip_prefix(VAR).ok().map(Path::to_owned)).collect()
}

/// Where a dataset below `top` belongs: where its own mountpoint says, if that is in `/var`;
/// otherwise, and when it has it from `top`, at its name below `/var`. `None` for one that is not to
/// be mounted, or that somebody gave a place elsewhere.
fn place(dataset: &Dataset, top: &Dataset) -> Option<PathBuf> {
    let below = dataset.name.strip_prefix(&top.name)?.trim_start_matches('/');
    let by_name = Path::new(VAR).join(below);
    let inherited = match (&top.mountpoint, &dataset.mountpoint) {
        (Mountpoint::Path(above), Mountpoint::Path(own)) => {
            Path::new(own) == Path::new(above).join(below)
        }
        (above, own) => above == own,
    };
    match &dataset.mountpoint {
        _ if dataset.can_mount == CanMount::Off => None,
        _ if inherited => Some(by_name),
        Mountpoint::Path(own) => Some(PathBuf::from(own)).filter(|own| own.starts_with(VAR)),
        Mountpoint::Legacy => Some(by_name),
        Mountpoint::None => None,
    }
}

/// What belongs below `/var` and is not mounted at its place: dataset and place.
pub fn unmounted(holder: &KnownPool, parent: &str, mounts: &[Mount]) -> Vec<(String, PathBuf)> {
    let Some(top) = holder.dataset(parent, "var") else { return Vec::new() };
    let places = holder.below(parent, "var").filter_map(|one| Some((&one.name, place(one, top)?)));
    places
        .filter(|(name, at)| mounted_at(mounts, at).is_none_or(|mount| mount.source != **name))
        .map(|(name, at)| (name.clone(), at))
        .collect()
}

/// Mounts one dataset. False, with a finding, when it is not there afterwards.
fn mount(boot: &mut Boot<'_, '_>, place: &Place<'_>) -> bool {
    let (dataset, at) = (place.dataset, place.at.as_path());
    if dataset.encrypted && !dataset.key_available {
        boot.find(locked(&dataset.name));
        return false;
    }
    let mounts = boot.host.mounts().unwrap_or_default();
    let mut covers = false;
    match mounted_at(&mounts, at) {
        Some(mount) if mount.source == dataset.name => return true,
        Some(mount) if mount.in_memory() && boot.covers && at == Path::new(VAR) => covers = true,
        Some(mount) if mount.in_memory() && leave_memory(boot, mount, dataset) => {}
        Some(mount) if mount.in_memory() => return false,
        Some(mount) => {
            let what = format!("{}: {} is mounted on {}", dataset.name, mount.source, at.display());
            boot.find(Finding::new(Code::E41, what));
            return false;
        }
        None => {}
    }
    let mounted = match boot.act || at == Path::new(VAR) {
        true => mount_point(boot, at),
        false => Ok(()), // below a dataset that -n has not mounted
    };
    let mounted = mounted.and_then(|()| {
        if !covers {
            boot.hides(at);
        }
        let source = Source::Dataset(dataset.name.clone());
        let request = MountRequest { source, at: at.to_owned(), read_only: false };
        Ok(boot.perform(&Action::Mount(request))?)
    });
    if let Err(why) = mounted {
        boot.find(Finding::new(Code::E41, format!("{}: {why:#}", dataset.name)));
        return false;
    }
    true
}

/// Unmounts a memory `/var` that rc.initdiskless made a moment ago. One that a running system uses
/// stays: what it collected would be lost.
fn leave_memory(boot: &mut Boot<'_, '_>, mount: &Mount, dataset: &Dataset) -> bool {
    let booted = boot.host.kenv(super::record::STATE).is_some();
    let left = match booted {
        true => Err("the system runs with it".to_owned()),
        false => match boot.perform(&Action::Unmount(mount.at.clone())) {
            Ok(()) => Ok(()),
            Err(error) if error.kind == Kind::Busy => Err("it is in use".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    };
    if let Err(why) = &left {
        let (at, name) = (mount.at.display(), &dataset.name);
        let what = format!("{at} is in memory, and {why}: {name} is not mounted");
        boot.find(Finding::new(Code::E47, what));
    }
    left.is_ok()
}

/// Fills a dataset from the image when it is empty, or when an earlier boot began to.
/// True when it wrote something. `children` are the places in `/var` where other datasets will be
/// mounted.
fn fill(boot: &mut Boot<'_, '_>, at: &Path, children: &[PathBuf]) -> bool {
    let files = boot.host.files();
    let Ok(below) = at.strip_prefix(VAR) else { return false };
    let seed = boot.config.var_seed.join(below);
    let mounts = boot.host.mounts().unwrap_or_default();
    if mounted_at(&mounts, at).is_none() || !files.is_directory(&seed) {
        return false;
    }
    let marker = at.join(MARKER);
    let begun = matches!(files.find(&marker), Ok(Some(_)));
    if !begun && !is_bare(boot, at, below, children) {
        return false;
    }
    if !boot.act {
        boot.console.say(&format!("would fill {} from {}", at.display(), seed.display()));
        return false;
    }
    let done = (|| -> std::io::Result<Vec<String>> {
        if !begun {
            files.create(&marker, b"")?;
            files.sync(&marker)?;
            files.sync(at)?;
        }
        let failed = copy_missing(boot, &seed, at, children, true);
        if failed.is_empty() {
            files.remove_file(&marker)?;
            files.sync(at)?;
        }
        Ok(failed)
    })();
    boot.changed(1);
    match done {
        Ok(failed) => overlay::tell(boot, Code::E44, "not copied from the image", &failed),
        Err(error) => {
            boot.find(Finding::new(Code::E44, format!("{}: {}", at.display(), why(&error))))
        }
    }
    true
}

/// True when a dataset holds nothing but what nanozfs makes in any case: directories to mount on,
/// those that rc needs, what it writes there itself.
fn is_bare(boot: &Boot<'_, '_>, at: &Path, below: &Path, children: &[PathBuf]) -> bool {
    let files = boot.host.files();
    let Ok(names) = files.list(at) else { return false };
    let parts = boot.config.var_image.iter().chain(children).map(PathBuf::as_path);
    let ours: Vec<_> = parts
        .chain(NEEDED.iter().map(|(name, _)| Path::new(name)))
        .chain(OWN.map(Path::new))
        .collect();
    names.iter().all(|name| {
        let (path, inside) = (at.join(name), below.join(name));
        let leads = ours.iter().any(|own| own.starts_with(&inside));
        name == ".zfs"
            || OWN.iter().any(|own| inside == Path::new(own))
            || leads && files.is_directory(&path) && is_bare(boot, &path, &inside, children)
    })
}

/// Copies what `to` lacks of `from`, without the parts that are shown from the image or that other
/// datasets will be mounted on. What could not be copied, with why.
fn copy_missing(
    boot: &mut Boot<'_, '_>,
    from: &Path,
    to: &Path,
    children: &[PathBuf],
    durable: bool,
) -> Vec<String> {
    let below = to.strip_prefix(VAR).unwrap_or(Path::new("")).to_owned();
    let parts = boot.config.var_image.iter().chain(children);
    let skip: Vec<_> =
        parts.filter_map(|part| part.strip_prefix(&below).ok().map(Path::to_owned)).collect();
    let mut comparison = tree::compare(boot.host.files(), from, to, Existing::Complete, &skip);
    overlay::write(boot, from, to, &mut comparison, durable);
    comparison
        .failed
        .iter()
        .map(|(path, why)| format!("{}: {why}", to.join(path).display()))
        .collect()
}

/// Makes the directories that rc needs at once.
fn needed(boot: &mut Boot<'_, '_>) {
    let files = boot.host.files();
    let at = Path::new(VAR);
    if !boot.act || mounted_at(&boot.host.mounts().unwrap_or_default(), at).is_none() {
        return;
    }
    for (name, mode) in NEEDED {
        let Ok(None) = files.find(&at.join(name)) else { continue };
        let (uid, gid, modified) = (0, 0, crate::host::Timestamp::default());
        let modified = files.stat(at).map_or(modified, |stat| stat.attributes.modified);
        let what = What::Directory(Attributes { mode, uid, gid, modified });
        let change = Change { path: PathBuf::from(name), what };
        let laid = tree::lay(files, at, at, vec![change], false);
        boot.changed(laid.made.len());
        for (_, why) in laid.failed {
            boot.find(Finding::new(Code::E44, format!("{VAR}/{name}: {why}")));
        }
    }
}

/// A `/var` in memory, filled from the image. The line, and whether something is mounted there.
fn in_memory(boot: &mut Boot<'_, '_>) -> (String, bool) {
    let at = Path::new(VAR);
    let mounts = boot.host.mounts().unwrap_or_default();
    let own = mounted_at(&mounts, at);
    let bytes = boot.config.var_size;
    match own {
        Some(mount) if mount.in_memory() => {}
        Some(mount) => return (format!("{} stays on {VAR}", mount.source), false),
        None if mount_of(&mounts, at).is_some_and(|mount| !mount.read_only) => {
            return (format!("{VAR} stays on the root file system"), false);
        }
        None => {
            let mounted = mount_point(boot, at).and_then(|()| {
                Ok(boot.perform(&Action::MountMemory { at: at.to_owned(), bytes })?)
            });
            if let Err(why) = mounted {
                boot.find(Finding::new(Code::E43, format!("{why:#}")));
                return ("none".to_owned(), false);
            }
        }
    }
    // E47 has said so, and more.
    if !boot.findings().iter().any(|finding| finding.code == Code::E47) {
        let what = format!("{VAR} is in memory: its content is gone at the next reboot");
        let finding = boot.consequence(Finding::new(Code::E42, what));
        boot.find(finding);
    }
    let seed = boot.config.var_seed.clone();
    if boot.act && boot.host.files().is_directory(&seed) {
        let failed = copy_missing(boot, &seed, at, &[], false);
        overlay::tell(boot, Code::E44, "not copied from the image", &failed);
    }
    needed(boot);
    (format!("{} of memory on {VAR}", megabytes(bytes)), true)
}

/// Shows the parts of `/var` that describe the image from the image. Their names, where shown.
fn image_parts(boot: &mut Boot<'_, '_>) -> Vec<String> {
    let files = boot.host.files();
    let mut shown = Vec::new();
    for part in boot.config.var_image.clone() {
        let (from, at) = (boot.config.var_seed.join(&part), Path::new(VAR).join(&part));
        if !files.is_directory(&from) {
            continue;
        }
        let mounts = boot.host.mounts().unwrap_or_default();
        if mounted_at(&mounts, &at).is_none_or(|mount| mount.fstype != "nullfs") {
            let done = if boot.act { make_directories(boot, &at) } else { Ok(()) };
            let done = done.and_then(|()| {
                // What is below belongs to another image: hiding it is the purpose.
                let source = Source::Directory(from);
                let request = MountRequest { source, at: at.clone(), read_only: true };
                Ok(boot.perform(&Action::Mount(request))?)
            });
            if let Err(why) = done {
                boot.find(Finding::new(Code::E45, format!("{}: {why:#}", at.display())));
                continue;
            }
        }
        shown.push(part.display().to_string());
    }
    shown
}

/// Makes a directory and those above it, up to `/var`.
fn make_directories(boot: &mut Boot<'_, '_>, at: &Path) -> anyhow::Result<()> {
    let mut above: Vec<_> = at.ancestors().take_while(|path| *path != Path::new(VAR)).collect();
    above.reverse();
    for path in above {
        mount_point(boot, path)?;
    }
    Ok(())
}
