//! The dataset of `/cfg` and its snapshots.

use std::path::Path;

use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::format::zfs::Snapshot;
use crate::host::mounted_at;
use crate::report::{Code, Finding};

/// The dataset that is mounted on `/cfg`; otherwise a finding.
pub(super) fn dataset(boot: &mut Boot<'_, '_>) -> Option<String> {
    let what = match boot.host.mounts() {
        Err(error) => format!("what is on {CFG} is not known: {error}"),
        Ok(mounts) => match mounted_at(&mounts, Path::new(CFG)) {
            Some(mount) if mount.fstype == "zfs" && !mount.read_only => {
                return Some(mount.source.clone());
            }
            Some(mount) if mount.fstype == "zfs" => {
                format!("{CFG} is {}, mounted read-only", mount.source)
            }
            Some(mount) => format!("{CFG} is {}, not from ZFS", mount.source),
            None => format!("nothing is mounted on {CFG}"),
        },
    };
    boot.find(Finding::new(Code::E90, what));
    None
}

/// The snapshots of `dataset`, oldest first; otherwise a finding.
pub(super) fn snapshots(boot: &mut Boot<'_, '_>, dataset: &str) -> Option<Vec<Snapshot>> {
    match boot.host.snapshots().list(dataset) {
        Ok(all) => Some(all.into_iter().filter(|one| one.dataset == dataset).collect()),
        Err(error) => {
            boot.find(Finding::failed(Code::E92, "the snapshots could not be listed", &error));
            None
        }
    }
}
