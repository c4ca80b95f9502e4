//! `/cfg`: from ZFS, else from the recovery copy on the OS drive, and over `/etc`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::layout::{self, KnownPool};
use super::osdrive::OsDrive;
use super::{Action, Boot, overlay};
use crate::configuration::confirm;
use crate::host::{Error, FileKind, Kind, MountRequest, Source, mount_of, mounted_at, why};
use crate::report::{Code, Finding};

/// The mount point.
pub const CFG: &str = "/cfg";
/// A damaged recovery copy is given up after this long: the boot goes on without it.
const REPAIR_LIMIT: Duration = Duration::from_secs(60);

/// Where the configuration of this boot comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This dataset.
    Zfs(String),
    /// The recovery copy on the OS drive.
    Recovery,
    /// `/etc` is as the image has it.
    Image,
}

/// The helper: mounts `/cfg` and lays it over `/etc`.
pub fn step(
    boot: &mut Boot<'_, '_>,
    drive: &Option<OsDrive>,
    pools: &[KnownPool],
) -> (String, Origin) {
    let origin = match from_zfs(boot, pools) {
        Some(dataset) => Origin::Zfs(dataset),
        None => from_recovery_copy(boot, drive),
    };
    let source = match &origin {
        Origin::Zfs(dataset) => format!("{dataset} on {CFG}"),
        Origin::Recovery => format!("recovery copy on {CFG}"),
        Origin::Image => return ("none; /etc is as the image has it".to_owned(), origin),
    };
    let mounts = boot.host.mounts().unwrap_or_default();
    if !boot.act && mounted_at(&mounts, Path::new(CFG)).is_none() {
        return (format!("{source}; what it holds is known once it is mounted"), origin);
    }
    let from = match &origin {
        Origin::Zfs(_) => confirm::before_laying(boot),
        _ => CFG.into(),
    };
    let laid = overlay::lay(boot, &from);
    (format!("{source}; {laid}"), origin)
}

/// Mounts the layout's `cfg`, if there is one and it can be.
fn from_zfs(boot: &mut Boot<'_, '_>, pools: &[KnownPool]) -> Option<String> {
    let parent = boot.config.dataset.clone();
    let Some(holder) = layout::holder(pools, &parent) else {
        if !pools.is_empty() && pools.iter().all(|pool| pool.readable) {
            let what = format!("none of the imported pools holds {parent}/cfg");
            boot.find(Finding::new(Code::E30, what));
        }
        return None;
    };
    for other in pools.iter().filter(|pool| pool.guid != holder.guid) {
        if other.dataset(&parent, "cfg").is_some() {
            let what = format!(
                "both {} and {} hold {parent}/cfg: {} is used",
                holder.name, other.name, holder.name
            );
            boot.find(Finding::new(Code::E39, what));
        }
    }
    let dataset = holder.dataset(&parent, "cfg")?;
    if dataset.encrypted && !dataset.key_available {
        boot.find(locked(&dataset.name));
        return None;
    }
    let name = dataset.name.clone();
    match mount(boot, &name) {
        Ok(()) => Some(name),
        Err(why) => {
            let busy = why.downcast_ref::<Error>().is_some_and(|error| error.kind == Kind::Busy);
            let finding = Finding::new(Code::E31, format!("{name}: {why:#}"));
            boot.find(match busy {
                true => finding.next("fstat -f /cfg; end what it shows, then: nanozfs resume"),
                false => finding,
            });
            None
        }
    }
}

/// A dataset whose key is not loaded.
pub(super) fn locked(dataset: &str) -> Finding {
    let what = format!("{dataset}: encrypted, and its key is not loaded: not mounted");
    Finding::new(Code::E34, what).next(format!("zfs load-key {dataset}; nanozfs resume"))
}

/// Mounts `dataset` on `/cfg`, in the place of a recovery copy if that is there.
fn mount(boot: &mut Boot<'_, '_>, dataset: &str) -> anyhow::Result<()> {
    let at = Path::new(CFG);
    let mounts = boot.host.mounts()?;
    match mounted_at(&mounts, at) {
        Some(mount) if mount.source == dataset => return Ok(()),
        Some(mount) if mount.fstype == "ufs" => {
            boot.perform(&Action::Unmount(at.to_owned()))?;
        }
        Some(mount) => bail!("{} is mounted on {CFG}", mount.source),
        None => {}
    }
    mount_point(boot, at)?;
    boot.hides(at);
    let source = Source::Dataset(dataset.to_owned());
    let request = MountRequest { source, at: at.to_owned(), read_only: false };
    Ok(boot.perform(&Action::Mount(request))?)
}

/// Makes sure that there is a directory to mount on.
pub(crate) fn mount_point(boot: &mut Boot<'_, '_>, at: &Path) -> anyhow::Result<()> {
    match boot.host.files().find(at).with_context(|| at.display().to_string())? {
        Some(stat) if stat.kind == FileKind::Directory => return Ok(()),
        Some(stat) => bail!("{} is a {}", at.display(), stat.kind.name()),
        None => {}
    }
    let mounts = boot.host.mounts().unwrap_or_default();
    if mount_of(&mounts, at).is_some_and(|mount| mount.read_only) {
        bail!("the image has no directory {}", at.display());
    }
    Ok(boot.perform(&Action::MakeDirectory(at.to_owned()))?)
}

/// Mounts the recovery copy, read-only, if there is one. What is on `/cfg` from ZFS stays.
fn from_recovery_copy(boot: &mut Boot<'_, '_>, drive: &Option<OsDrive>) -> Origin {
    let at = Path::new(CFG);
    let mounts = boot.host.mounts().unwrap_or_default();
    let here = mounted_at(&mounts, at);
    if let Some(mount) = here.filter(|mount| mount.fstype == "zfs") {
        return Origin::Zfs(mount.source.clone());
    }
    let Some(drive) = drive else {
        boot.find(Finding::new(Code::E33, "no recovery copy: the OS drive was not found"));
        return Origin::Image;
    };
    let Some(provider) = drive.recovery_copy() else {
        let what = format!("no recovery copy on the OS drive {}", drive.name());
        boot.find(Finding::new(Code::E33, what));
        return Origin::Image;
    };
    let mounted = match here {
        Some(mount) if mount.fstype == "ufs" => Ok(()),
        Some(mount) => Err(anyhow!("{} is mounted on {CFG}", mount.source)),
        None => mount_point(boot, at).and_then(|()| {
            boot.hides(at);
            mount_copy(boot, provider, at)
        }),
    };
    match mounted {
        Ok(()) => {
            let what = format!("/cfg is the recovery copy on the OS drive {}", drive.name());
            let finding = boot.consequence(Finding::new(Code::E32, what));
            boot.find(finding);
            Origin::Recovery
        }
        Err(why) => {
            let finding = Finding::new(Code::E33, format!("recovery copy {provider}: {why:#}"));
            boot.find(finding.next(format!("fsck_ffs -y /dev/{provider}; nanozfs cfg")));
            Origin::Image
        }
    }
}

/// Mounts the recovery copy. One that the power left unclean can be looked at as it is; one that
/// cannot be mounted or read is put right first, as far as that goes without a question.
fn mount_copy(boot: &mut Boot<'_, '_>, provider: &str, at: &Path) -> anyhow::Result<()> {
    let source = Source::Ufs(provider.to_owned());
    let request = MountRequest { source, at: at.to_owned(), read_only: true };
    let mount = Action::Mount(request);
    let damage = match boot.perform(&mount) {
        Ok(()) => match boot.host.files().list(at).map_err(|error| why(&error)) {
            Err(why) if boot.act => {
                boot.perform(&Action::Unmount(at.to_owned()))?;
                why
            }
            _ => return Ok(()),
        },
        Err(error) => error.why,
    };
    let repair = Action::Repair { provider: provider.to_owned(), limit: REPAIR_LIMIT };
    if let Err(error) = boot.perform(&repair) {
        bail!("{damage}; fsck_ffs -p: {}", error.why);
    }
    boot.perform(&mount).with_context(|| format!("{damage}; after fsck_ffs -p"))?;
    let what = format!("the recovery copy {provider} could not be used, and fsck_ffs put it right");
    let finding = Finding::new(Code::E97, what).detail("why", damage);
    boot.find(finding.next("when the pool is back: nanozfs cfg recovery save"));
    Ok(())
}
