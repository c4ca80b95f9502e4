//! The OS drive: which disk carries the image slots, which of them runs, where the recovery copy is.
//!
//! The drive under `/` wins; labels tell when `/` is not on a disk. Within a drive the *place*
//! decides (slice on MBR, GPT name on GPT), because a label inside an image is whatever the image
//! was made with. Where two drives are alike, nothing is guessed.

use std::collections::BTreeMap;
use std::path::Path;

use super::Boot;
use crate::format::geom::{Mesh, ProviderId};
use crate::format::ufs;
use crate::host::{Host, Mount, mounted_at};
use crate::report::{Code, Finding};

/// What a partition of the OS drive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The first image slot.
    SlotA,
    /// The second image slot.
    SlotB,
    /// The recovery copy of `/cfg`.
    RecoveryCopy,
}

impl Role {
    /// The label of this role on a drive whose labels begin with `prefix`: NanoBSD's name on MBR,
    /// the slot's letter on GPT.
    fn of_label(prefix: &str, label: &str) -> Option<Role> {
        match label.strip_prefix(prefix)? {
            "s1a" | "A" => Some(Role::SlotA),
            "s2a" | "B" => Some(Role::SlotB),
            "s3" | "cfg" => Some(Role::RecoveryCopy),
            _ => None,
        }
    }

    /// The role of a place on an MBR drive, as NanoBSD lays it out: slice, and BSD partition index.
    fn of_slice(slice: u32, partition: Option<u32>) -> Option<Role> {
        match (slice, partition) {
            (1, Some(1)) => Some(Role::SlotA),
            (2, Some(1)) => Some(Role::SlotB),
            (3, None) => Some(Role::RecoveryCopy),
            _ => None,
        }
    }

    /// As it is said to people.
    pub fn name(self) -> &'static str {
        match self {
            Role::SlotA => "slot A",
            Role::SlotB => "slot B",
            Role::RecoveryCopy => "recovery copy",
        }
    }
}

/// The OS drive of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsDrive {
    /// The disk: `ada0`.
    pub disk: String,
    /// Its serial number, where it has one.
    pub serial: Option<String>,
    /// The partitions by role: provider names without `/dev/`.
    pub parts: BTreeMap<Role, String>,
    /// The slot that `/` is mounted from; `None` when `/` is not on this drive.
    pub running: Option<Role>,
}

impl OsDrive {
    /// The slot that is not running, where it is known which one is.
    pub fn other(&self) -> Option<(Role, &str)> {
        let other = match self.running? {
            Role::SlotA => Role::SlotB,
            Role::SlotB => Role::SlotA,
            Role::RecoveryCopy => return None,
        };
        self.parts.get(&other).map(|name| (other, name.as_str()))
    }

    /// The provider of the recovery copy.
    pub fn recovery_copy(&self) -> Option<&str> {
        self.parts.get(&Role::RecoveryCopy).map(String::as_str)
    }

    /// `ada0 (serial OS-1)`.
    pub fn name(&self) -> String {
        disk_name(&self.disk, self.serial.as_deref())
    }

    /// The helper's line.
    fn line(&self) -> String {
        let mut parts = vec![self.name()];
        if let Some(running) = self.running {
            parts.push(format!("{} is running", running.name()));
        }
        for (role, provider) in &self.parts {
            if Some(*role) != self.running {
                parts.push(format!("{} {provider}", role.name()));
            }
        }
        parts.join(", ")
    }
}

/// A disk with its serial number, as it is said to people.
pub fn disk_name(disk: &str, serial: Option<&str>) -> String {
    match serial {
        Some(serial) => format!("{disk} (serial {serial})"),
        None => disk.to_owned(),
    }
}

/// What a search for the OS drive comes to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Search {
    /// The drive, when there is exactly one that can be meant.
    pub drive: Option<OsDrive>,
    /// Every drive with the labels, when there is more than one.
    pub alike: Vec<String>,
    /// Labels that contradict their place: provider, label.
    pub misplaced: Vec<(String, String)>,
    /// The disk that `/` is on, where it is on one.
    pub under_root: Option<String>,
}

impl Search {
    /// What somebody should know about it.
    pub fn findings(&self, label: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.alike.is_empty() {
            let chosen = match &self.drive {
                Some(drive) => format!("{} is used, because / is on it", drive.disk),
                None => "none is used, because / is on none of them".to_owned(),
            };
            let what = format!("two drives carry the labels {label}*: {chosen}");
            let mut finding = Finding::new(Code::E11, what);
            for name in &self.alike {
                finding = finding.detail("drive", name);
            }
            findings.push(finding);
        }
        for (provider, name) in &self.misplaced {
            let what =
                format!("{provider} carries the label {name}, which belongs to another place");
            findings.push(Finding::new(Code::E14, what));
        }
        match &self.drive {
            Some(drive) if drive.recovery_copy().is_none() => {
                let what = format!("the OS drive {} has no recovery copy of /cfg", drive.name());
                findings.push(Finding::new(Code::E13, what));
            }
            None if self.alike.is_empty() => {
                let what = match &self.under_root {
                    Some(disk) => format!("no OS drive: / is on {disk}, without a label {label}*"),
                    None => {
                        format!("no OS drive: / is on no disk, and no label begins with {label}")
                    }
                };
                findings.push(Finding::new(Code::E10, what));
            }
            _ => {}
        }
        findings
    }
}

/// Decides which disk is the OS drive. `root` is the provider `/` is mounted from, `ufs_name`
/// tells the volume name of a UFS partition where it could be read.
pub fn search(
    mesh: &Mesh,
    root: Option<ProviderId>,
    label: &str,
    ufs_name: &dyn Fn(ProviderId) -> Option<String>,
) -> Search {
    let mut drives = BTreeMap::<ProviderId, OsDrive>::new();
    let mut labelled = Vec::new();
    let mut search = Search::default();
    let root = root.map(|id| mesh.extent(id));
    for (id, provider) in mesh.iter() {
        let Some(partition) = &provider.partition else { continue };
        if mesh.names(id).first() != Some(&provider.name.as_str()) {
            continue; // the same sectors under another name, as below diskid/
        }
        let extent = mesh.extent(id);
        let by_place = match partition.scheme.as_str() {
            "GPT" => None,
            _ => slice(mesh, id).and_then(|(slice, part)| Role::of_slice(slice, part)),
        };
        let named = match &partition.label {
            Some(name) => Some(name.clone()),
            None => label_node(mesh, id).or_else(|| ufs_name(id)),
        };
        let by_label = named.as_deref().and_then(|name| Role::of_label(label, name));
        if by_label.is_some() && !labelled.contains(&extent.disk) {
            labelled.push(extent.disk);
        }
        if let (Some(place), Some(other), Some(name)) = (by_place, by_label, named)
            && place != other
        {
            search.misplaced.push((provider.name.clone(), name));
        }
        let Some(role) = by_place.or(by_label) else { continue };
        let drive = drives.entry(extent.disk).or_insert_with(|| {
            let disk = mesh.provider(extent.disk);
            OsDrive {
                disk: disk.name.clone(),
                serial: disk.ident.clone(),
                parts: BTreeMap::new(),
                running: None,
            }
        });
        if root == Some(extent) {
            drive.running = Some(role);
        }
        drive.parts.entry(role).or_insert_with(|| provider.name.clone());
    }
    let under_root =
        root.and_then(|root| drives.remove(&root.disk).map(|drive| (root.disk, drive)));
    let name = |disk: &ProviderId| {
        let disk = mesh.provider(*disk);
        disk_name(&disk.name, disk.ident.as_deref())
    };
    search.under_root = root.map(|root| name(&root.disk));
    match under_root {
        Some((disk, drive)) => {
            // The drive under / is the one; another with the labels is worth a word.
            if labelled.iter().any(|other| *other != disk) {
                let others = labelled.iter().filter(|other| **other != disk);
                search.alike = std::iter::once(&disk).chain(others).map(name).collect();
            }
            search.drive = Some(drive);
        }
        None if labelled.len() > 1 => {
            search.alike = labelled.iter().map(name).collect();
        }
        None => search.drive = labelled.first().and_then(|disk| drives.remove(disk)),
    }
    search.misplaced.retain(|(provider, _)| {
        search.drive.as_ref().is_some_and(|drive| drive.parts.values().any(|p| p == provider))
    });
    search
}

/// The MBR slice that a partition is or lies in, and its own number when it lies in one.
fn slice(mesh: &Mesh, id: ProviderId) -> Option<(u32, Option<u32>)> {
    let partition = mesh.provider(id).partition.as_ref()?;
    match partition.scheme.as_str() {
        "MBR" => Some((partition.index, None)),
        "BSD" => {
            let above = mesh.provider(mesh.parent(id)?).partition.as_ref()?;
            (above.scheme == "MBR").then_some((above.index, Some(partition.index)))
        }
        _ => None,
    }
}

/// The name under `ufs/`, `gpt/` or `label/` that GEOM shows for a partition.
fn label_node(mesh: &Mesh, id: ProviderId) -> Option<String> {
    mesh.names(id).into_iter().find_map(|name| {
        let (class, label) = name.split_once('/')?;
        matches!(class, "ufs" | "gpt" | "label").then(|| label.to_owned())
    })
}

/// Reads the kernel's mesh. What goes wrong is a finding.
pub fn mesh(boot: &mut Boot<'_, '_>) -> Option<Mesh> {
    let mesh = boot.host.geom().map_err(|error| error.to_string());
    let mesh = mesh.and_then(|xml| Mesh::parse(&xml).map_err(|error| error.to_string()));
    match mesh {
        Ok(mesh) => Some(mesh),
        Err(error) => {
            if !boot.findings().iter().any(|finding| finding.code == Code::E12) {
                boot.find(Finding::new(Code::E12, error));
            }
            None
        }
    }
}

/// Looks for the OS drive, without a line.
pub fn look(boot: &mut Boot<'_, '_>) -> Option<OsDrive> {
    find(boot).and_then(|(search, _)| search.drive)
}

fn find(boot: &mut Boot<'_, '_>) -> Option<(Search, Mesh)> {
    let mesh = mesh(boot)?;
    let mounts = boot.host.mounts().unwrap_or_default();
    let search = search_on(boot.host, &mesh, &mounts, &boot.config.label);
    Some((search, mesh))
}

/// The search on this machine. Reads the names of UFS partitions whose labels are hidden.
pub fn search_on(host: &dyn Host, mesh: &Mesh, mounts: &[Mount], label: &str) -> Search {
    let root = mounted_at(mounts, Path::new("/")).and_then(|mount| mesh.find(&mount.source));
    let ufs_name = |id: ProviderId| {
        let name = &mesh.provider(id).name;
        let block = host.read_device(name, ufs::SUPERBLOCK_OFFSET, ufs::SUPERBLOCK_READ);
        ufs::volume_name(&block.ok()?)
    };
    search(mesh, root, label, &ufs_name)
}

/// The helper: finds the drive and says what it is.
pub fn step(boot: &mut Boot<'_, '_>) -> (String, Option<OsDrive>) {
    let Some((search, mesh)) = find(boot) else { return ("not found".to_owned(), None) };
    boot.mesh = Some(mesh);
    for finding in search.findings(&boot.config.label) {
        boot.find(finding);
    }
    match search.drive {
        Some(drive) => (drive.line(), Some(drive)),
        None => ("not found".to_owned(), None),
    }
}

#[cfg(test)]
mod tests;
