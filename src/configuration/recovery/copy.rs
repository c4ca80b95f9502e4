//! The file system of the recovery copy: found, checked, mounted, unmounted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Result;
use crate::boot::cfg::{self, CFG};
use crate::boot::{Action, Boot, osdrive};
use crate::format::geom::Mesh;
use crate::host::{Mount, MountRequest, Source, mounted_at};
use crate::report::{Code, Finding};

/// Where it is mounted while a command works: a directory in the image, since the image is all that
/// is there in every mode of the system.
const PLACE: &str = "/conf/nanozfs/recovery";
/// In an image without it, the directory that every FreeBSD has for this.
const OTHER_PLACE: &str = "/mnt";
/// A copy is small: checking it takes seconds.
const REPAIR_LIMIT: Duration = Duration::from_secs(600);

/// The recovery copy of this machine.
#[derive(Debug)]
pub(super) struct Copy {
    /// The provider: `ada0s3`.
    pub(super) provider: String,
    /// The OS drive, as it is said to people.
    pub(super) drive: String,
    /// Where it is mounted, when it is.
    mount: Option<Mount>,
}

/// Finds it, and whether it is mounted.
pub(super) fn find(boot: &mut Boot<'_, '_>) -> Result<Copy> {
    let mesh = osdrive::mesh(boot);
    let (Some(drive), Some(mesh)) = (osdrive::look(boot), mesh) else {
        return Err(refused("the OS drive was not found"));
    };
    let Some(provider) = drive.recovery_copy().map(str::to_owned) else {
        return Err(refused(format!("the OS drive {} has no recovery copy", drive.name())));
    };
    let mounts = boot.host.mounts().map_err(|error| {
        Box::new(Finding::failed(Code::E96, "what is mounted is not known", &error))
    })?;
    let is_it = |mount: &&Mount| mount.fstype == "ufs" && same(&mesh, &mount.source, &provider);
    let mount = mounts.iter().rev().find(is_it).cloned();
    Ok(Copy { provider, drive: drive.name(), mount })
}

/// Two names of the same sectors.
fn same(mesh: &Mesh, one: &str, other: &str) -> bool {
    let extent = |name: &str| mesh.find(name).map(|id| mesh.extent(id));
    extent(one).is_some() && extent(one) == extent(other)
}

/// That something is in the way of using the copy.
pub(super) fn refused(what: impl Into<String>) -> Box<Finding> {
    Box::new(Finding::new(Code::E96, what))
}

/// The `/cfg` that is in use, when it is the machine's own; otherwise why not.
pub(super) fn live(boot: &Boot<'_, '_>) -> Result<PathBuf> {
    let mounts = boot.host.mounts().unwrap_or_default();
    match mounted_at(&mounts, Path::new(CFG)) {
        Some(mount) if mount.fstype == "zfs" => Ok(CFG.into()),
        Some(mount) if mount.fstype == "ufs" => {
            let what =
                format!("{CFG} is {}, not the machine's own: it is in recovery", mount.source);
            let advice = "zpool status; nanozfs resume; and the same command again";
            Err(Box::new(Finding::new(Code::E96, what).next(advice)))
        }
        Some(mount) => Err(refused(format!("{CFG} is {}, not from ZFS", mount.source))),
        None => {
            let finding = Finding::new(Code::E96, format!("nothing is mounted on {CFG}"));
            Err(Box::new(finding.next("nanozfs boot; and the same command again")))
        }
    }
}

impl Copy {
    /// `recovery copy ada0s3`.
    pub(super) fn name(&self) -> String {
        format!("recovery copy {}", self.provider)
    }

    /// Takes away the mount that a command of ours left when it was killed. Any other mount of the
    /// copy is somebody's, and is named.
    fn free(&mut self, boot: &mut Boot<'_, '_>) -> Result<()> {
        let Some(mount) = self.mount.take() else { return Ok(()) };
        if mount.at != Path::new(PLACE) {
            let at = mount.at.display();
            let finding = refused(format!("the {} is mounted on {at} already", self.name()));
            return Err(Box::new(finding.next(format!("umount {at}; and the same command again"))));
        }
        boot.perform(&Action::Unmount(mount.at)).map_err(|error| {
            Box::new(Finding::failed(Code::E96, &format!("the {}", self.name()), &error))
        })
    }

    /// Has it put right what a crash left, so that it can be written to.
    pub(super) fn repair(&mut self, boot: &mut Boot<'_, '_>) -> Result<()> {
        self.free(boot)?;
        boot.perform(&Action::Repair { provider: self.provider.clone(), limit: REPAIR_LIMIT })
            .map_err(|error| {
                let provider = &self.provider;
                let what = format!("the {} needs a person to mend it", self.name());
                Box::new(
                    Finding::failed(Code::E97, &what, &error)
                        .next(format!("fsck_ffs -y /dev/{provider}; nanozfs cfg recovery save")),
                )
            })
    }

    /// Lets `work` look at it: where it is mounted, or where it is mounted for that alone. With `-n`
    /// it is not mounted, and there may be nothing to look at.
    pub(super) fn look<T>(
        &mut self,
        boot: &mut Boot<'_, '_>,
        work: impl FnOnce(&mut Boot<'_, '_>, &Path) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.mount.as_ref().filter(|mount| mount.at != Path::new(PLACE)) {
            Some(mount) => work(boot, &mount.at).map(Some),
            None => self.with(boot, true, work),
        }
    }

    /// Mounts it and lets `work` at it; unmounts it, whatever comes of that. With `-n` it is not
    /// mounted.
    pub(super) fn with<T>(
        &mut self,
        boot: &mut Boot<'_, '_>,
        read_only: bool,
        work: impl FnOnce(&mut Boot<'_, '_>, &Path) -> Result<T>,
    ) -> Result<Option<T>> {
        self.free(boot)?;
        let at = place(boot)?;
        let source = Source::Ufs(self.provider.clone());
        let request = MountRequest { source, at: at.clone(), read_only };
        boot.perform(&Action::Mount(request)).map_err(|error| {
            let what = format!("the {} cannot be mounted", self.name());
            Box::new(
                Finding::failed(Code::E97, &what, &error).next(format!(
                    "fsck_ffs -p /dev/{}; and the same command again",
                    self.provider
                )),
            )
        })?;
        if !boot.act {
            return Ok(None);
        }
        let done = work(boot, &at);
        let unmounted = boot.perform(&Action::Unmount(at.clone()));
        if let Err(error) = unmounted {
            let what = format!("the {} is still mounted", self.name());
            let finding = Finding::failed(Code::E96, &what, &error);
            boot.find(finding.next(format!("fstat -f {0}; umount {0}", at.display())));
        } else if !read_only && let Err(error) = boot.host.drives().flush_volume(&self.provider) {
            boot.console.detail(&error.to_string());
        }
        done.map(Some)
    }
}

/// An empty directory to mount it on.
fn place(boot: &mut Boot<'_, '_>) -> Result<PathBuf> {
    let own = PathBuf::from(PLACE);
    let why = match cfg::mount_point(boot, &own) {
        Ok(()) => return Ok(own),
        Err(why) => why,
    };
    let other = PathBuf::from(OTHER_PLACE);
    let mounts = boot.host.mounts().unwrap_or_default();
    let used = mounts.iter().any(|mount| mount.at.starts_with(&other));
    if !used && boot.host.files().is_empty(&other, &[]).unwrap_or(false) {
        return Ok(other);
    }
    Err(refused(format!("there is no place to mount the recovery copy: {why:#}")))
}
