//! The dataset of `/cfg` and its snapshots: what there is, and one more.

use std::path::{Path, PathBuf};

use super::names::Named;
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::boot::laid::Laid;
use crate::format::zfs::Snapshot;
use crate::host::mounted_at;
use crate::report::{Code, Exit, Finding};
use crate::upgrade::journal::id_of;

/// What a save notes on its snapshot.
pub(super) const WHO: &str = "org.nanozfs:who";
/// When, in seconds since 1970, by the clock of the machine.
pub(super) const WHEN: &str = "org.nanozfs:when";
/// The administrator's own words, or ours.
pub(super) const WHY: &str = "org.nanozfs:why";
/// The names of these snapshots begin so.
const PREFIX: &str = "cfg-";
/// A reason is cut after so many characters.
const LONGEST: usize = 1000;

/// Where the history is.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// The dataset that is mounted on `/cfg`.
    pub(super) dataset: String,
    /// Its snapshots, oldest first.
    pub(super) snapshots: Vec<Snapshot>,
}

/// Looks for the history; without one, a finding, and what the command ends with.
pub(super) fn find(boot: &mut Boot<'_, '_>) -> Result<Home, Exit> {
    let dataset = match dataset(boot) {
        Ok(dataset) => dataset,
        Err(what) => {
            boot.find(Finding::new(Code::E90, what));
            return Err(Exit::Recovery);
        }
    };
    match boot.host.snapshots().list(&dataset) {
        Ok(mut snapshots) => {
            snapshots.retain(|one| one.dataset == dataset);
            Ok(Home { dataset, snapshots })
        }
        Err(error) => {
            boot.find(Finding::failed(Code::E92, "the snapshots could not be listed", &error));
            Err(Exit::Failed)
        }
    }
}

/// The dataset that is mounted on `/cfg`, or why there is none.
fn dataset(boot: &Boot<'_, '_>) -> Result<String, String> {
    let mounts = boot.host.mounts();
    let mounts = mounts.map_err(|error| format!("what is on {CFG} is not known: {error}"))?;
    match mounted_at(&mounts, Path::new(CFG)) {
        Some(mount) if mount.fstype == "zfs" && !mount.read_only => Ok(mount.source.clone()),
        Some(mount) if mount.fstype == "zfs" => {
            Err(format!("{CFG} is {}, mounted read-only", mount.source))
        }
        Some(mount) => Err(format!("{CFG} is {}, not from ZFS", mount.source)),
        None => Err(format!("nothing is mounted on {CFG}")),
    }
}

/// `/etc` was laid from this dataset; otherwise a finding, because then everything in which the
/// two differ would look like somebody's work. What is known of it, for the decisions.
pub(super) fn laid(boot: &mut Boot<'_, '_>, home: &Home) -> Option<super::decide::Laid> {
    match Laid::read(boot.host) {
        None => {
            boot.console.detail("when /cfg was laid over /etc is not known");
            Some(super::decide::Laid::default())
        }
        Some(laid) if laid.is_of(&home.dataset) => {
            let at = Some(laid.time(boot.host));
            Some(super::decide::Laid { at, whole: laid.failed == 0 })
        }
        Some(laid) => {
            let what =
                format!("/etc has the /cfg of {}, not that of {}", laid.source, home.dataset);
            boot.find(Finding::new(Code::E90, what).next("nanozfs cfg"));
            None
        }
    }
}

impl Home {
    /// The snapshot with this name, as it was typed: with `@`, and with or without the dataset; or
    /// with the number that the log shows: `@1` is the oldest, so that a number that was read aloud
    /// stays right when somebody saves.
    pub(super) fn snapshot(&self, typed: &str) -> Option<&Snapshot> {
        let name = match typed.split_once('@') {
            Some((dataset, name)) if dataset.is_empty() || dataset == self.dataset => name,
            _ => return None,
        };
        let named = self.snapshots.iter().find(|one| one.name == name);
        let at = || name.parse::<usize>().ok()?.checked_sub(1);
        named.or_else(|| self.snapshots.get(at()?))
    }

    /// A name that no snapshot has.
    fn fresh(&self, now: i64) -> String {
        let mut now = now;
        loop {
            let name = format!("{PREFIX}{}", id_of(now));
            if !self.snapshots.iter().any(|one| one.name == name) {
                return name;
            }
            now += 1;
        }
    }

    /// Takes a snapshot of `/cfg` that says who took it, when, and why. Its name; otherwise a
    /// finding.
    pub(super) fn record(&mut self, boot: &mut Boot<'_, '_>, why: &str) -> Option<Snapshot> {
        let now = boot.host.services().now();
        let name = self.fresh(now);
        let snapshot = Snapshot { dataset: self.dataset.clone(), name, taken: now, used: 0 };
        let note = |name: &str, value: &str| (name.to_owned(), plain(value));
        let notes =
            [note(WHO, &boot.host.people().who()), note(WHEN, &now.to_string()), note(WHY, why)];
        match boot.host.snapshots().record(&snapshot.full_name(), &notes) {
            Ok(()) => {
                boot.changed(1);
                self.snapshots.push(snapshot.clone());
                Some(snapshot)
            }
            Err(error) => {
                let what = format!("@{} could not be taken", snapshot.name);
                boot.find(Finding::failed(Code::E92, &what, &error));
                None
            }
        }
    }
}

/// Where the files of a snapshot of `/cfg` are seen.
pub(super) fn directory(snapshot: &Snapshot) -> PathBuf {
    Path::new(CFG).join(".zfs/snapshot").join(&snapshot.name)
}

/// What a person named: a snapshot, and paths.
///
/// # Errors
///
/// What cannot be meant, in words.
pub(super) fn named(operands: &[std::ffi::OsString]) -> Result<(Option<String>, Named), String> {
    let (mut snapshot, mut paths) = (None, Vec::new());
    for word in operands {
        match word.to_str().filter(|word| word.contains('@') && !word.starts_with('/')) {
            Some(word) if snapshot.is_none() => snapshot = Some(word.to_owned()),
            Some(word) => return Err(format!("more than one snapshot: {word}")),
            None => paths.push(super::names::operand(word)?),
        }
    }
    Ok((snapshot, Named(paths)))
}

/// A word or two that fit into a property, whatever they were made of.
fn plain(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(clean).take(LONGEST).collect()
}
