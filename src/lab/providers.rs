//! Which devices there are: disks, partitions and labels, the way GEOM makes and unmakes them.
//!
//! A disk with a serial number is there twice, under its own name and below `diskid/`. Of two
//! providers with the same label only the one tasted first has a label node. A label node vanishes
//! while what it lies on is open under another name.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Inner;
use super::disks::number_of;
use super::machine::{Disk, Machine, Part, Scheme};

/// Something in `/dev` that is a disk or a part of one.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    /// Its name below `/dev`.
    pub(crate) name: String,
    /// `DISK`, `PART` or `LABEL`.
    pub(crate) class: &'static str,
    /// The provider it lies on.
    pub(crate) parent: Option<usize>,
    /// Index of the disk in the machine.
    pub(crate) disk: usize,
    /// Index of the partition, none for the whole disk.
    pub(crate) part: Option<u32>,
    /// Of the slice and the BSD partition in it: it is the latter.
    pub(crate) inner: bool,
    /// It is not there at the moment.
    pub(crate) hidden: bool,
    /// It is open: for reading, for writing.
    pub(crate) open: (bool, bool),
}

/// Bytes in front of the partition `a` of a BSD label.
pub(crate) const BSD_OFFSET: u64 = 8192;

/// Everything that is there now, and what is hidden.
pub(crate) fn providers(machine: &Machine) -> Vec<Provider> {
    let mut all = Vec::new();
    let mut labels = BTreeSet::new();
    let mut order: Vec<usize> = (0..machine.disks.len()).collect();
    order.sort_by_key(|at| machine.disks.get(*at).map(|disk| disk.appears));
    for at in order {
        if let Some(disk) = machine.disks.get(at).filter(|disk| machine.present(disk)) {
            taste(&mut all, &mut labels, at, disk, machine.uptime);
        }
    }
    let mut opened = openings(machine);
    opened.sort();
    for (name, write) in opened {
        open(&mut all, &name, write);
    }
    hide(&mut all);
    all
}

/// The providers that are open, by name, and whether for writing.
fn openings(machine: &Machine) -> Vec<(String, bool)> {
    let mounted = machine.mounts.iter().filter(|mounted| mounted.mount.fstype == "ufs");
    let mounted = mounted.filter_map(|mounted| {
        let name = mounted.mount.source.strip_prefix("/dev/")?;
        Some((name.to_owned(), !mounted.mount.read_only))
    });
    let pools = machine.pools.iter().filter(|pool| pool.imported);
    let leaves = pools.flat_map(|pool| &pool.tops).flat_map(|top| &top.leaves);
    let leaves = leaves.filter_map(|leaf| Some((leaf.opened.clone()?, true)));
    let parts = machine.disks.iter().flat_map(|disk| &disk.parts);
    let slots = parts.filter_map(|part| Some((part.open.clone()?, true)));
    mounted.chain(leaves).chain(slots).collect()
}

fn taste(
    all: &mut Vec<Provider>,
    labels: &mut BTreeSet<String>,
    at: usize,
    disk: &Disk,
    now: Duration,
) {
    let first = Provider {
        name: disk.device.clone(),
        class: "DISK",
        parent: None,
        disk: at,
        part: None,
        inner: false,
        hidden: false,
        open: (false, false),
    };
    all.push(first.clone());
    let raw = all.len() - 1;
    cut(all, labels, raw, disk, now);
    if !disk.serial.is_empty() {
        let name = format!("diskid/DISK-{}", disk.serial);
        if labels.insert(name.clone()) {
            all.push(Provider { name, class: "LABEL", parent: Some(raw), ..first });
            cut(all, labels, all.len() - 1, disk, now);
        }
    }
}

/// The partitions on provider `on`, and their labels. What is in a slot is seen after the kernel
/// has looked at it.
fn cut(
    all: &mut Vec<Provider>,
    labels: &mut BTreeSet<String>,
    on: usize,
    disk: &Disk,
    now: Duration,
) {
    let Some(parent) = all.get(on).cloned() else { return };
    let letter = match disk.scheme {
        Scheme::None => return,
        Scheme::Mbr => 's',
        Scheme::Gpt => 'p',
    };
    for part in &disk.parts {
        let made = Provider {
            name: format!("{}{letter}{}", parent.name, part.index),
            class: "PART",
            parent: Some(on),
            part: Some(part.index),
            ..parent.clone()
        };
        all.push(made.clone());
        let mut at = all.len() - 1;
        let seen = !part.raw && part.tasted <= now;
        if part.bsd && !seen {
            continue;
        }
        if part.bsd {
            let name = format!("{}a", made.name);
            all.push(Provider { name, inner: true, parent: Some(at), ..made.clone() });
            at = all.len() - 1;
        }
        let Some(base) = all.get(at).cloned() else { return };
        for name in names(disk, part, seen) {
            if labels.insert(name.clone()) {
                let parent = Some(at);
                all.push(Provider { name, class: "LABEL", parent, ..base.clone() });
            }
        }
    }
}

/// The labels that a partition carries, and that its file system does when it is `seen`.
fn names(disk: &Disk, part: &Part, seen: bool) -> Vec<String> {
    let mut names = Vec::new();
    if disk.scheme == Scheme::Gpt {
        names.push(format!("gptid/{}", uuid(disk, part)));
        if !part.name.is_empty() {
            names.push(format!("gpt/{}", part.name));
        }
    }
    if seen && !part.ufs_label.is_empty() && (part.tree.is_some() || part.kind == "freebsd-ufs") {
        names.push(format!("ufs/{}", part.ufs_label));
    }
    names
}

/// The UUID of a GPT partition.
pub(crate) fn uuid(disk: &Disk, part: &Part) -> String {
    let number = number_of(&format!("{}{}", disk.id, part.index));
    let (high, low) = (number >> 32, number & 0xffff_ffff);
    format!("{high:08x}-e530-11f1-8b2f-3336{low:08x}")
}

/// Opens the provider `name`. A label, or anything for writing, opens what it lies on exclusively;
/// a plain read-only opening is felt by its own labels only.
fn open(all: &mut [Provider], name: &str, write: bool) {
    let Some(mut at) = all.iter().position(|provider| provider.name == name) else { return };
    let whole_way = write || all.get(at).is_some_and(|provider| provider.class == "LABEL");
    loop {
        let Some(provider) = all.get_mut(at) else { return };
        provider.open = (true, provider.open.1 || write);
        match provider.parent {
            Some(parent) if whole_way => at = parent,
            _ => return,
        }
    }
}

/// Takes away the labels of what is open under another name, and what lies on them.
fn hide(all: &mut [Provider]) {
    for at in 0..all.len() {
        let Some(provider) = all.get(at) else { return };
        let below = provider.parent.and_then(|parent| all.get(parent));
        let gone = below.is_some_and(|below| {
            below.hidden || (provider.class == "LABEL" && below.open.0 && !provider.open.0)
        });
        if let Some(provider) = all.get_mut(at) {
            provider.hidden = gone;
        }
    }
}

impl Inner {
    /// The device with this name (with or without `/dev/`), if it is there.
    pub(crate) fn provider(&self, name: &str) -> Option<Provider> {
        let name = name.strip_prefix("/dev/").unwrap_or(name);
        let all = providers(&self.machine);
        all.into_iter().find(|provider| provider.name == name && !provider.hidden)
    }

    /// The partition that a provider shows.
    pub(crate) fn part_of(&self, provider: &Provider) -> Option<&Part> {
        let disk = self.machine.disks.get(provider.disk)?;
        disk.parts.iter().find(|part| Some(part.index) == provider.part)
    }

    /// Bytes of a provider, and where it starts on what it lies on.
    pub(crate) fn extent(&self, provider: &Provider) -> (u64, u64) {
        let disk = self.machine.disks.get(provider.disk).map_or(0, |disk| disk.size);
        let Some(part) = self.part_of(provider) else { return (disk, 0) };
        let size = if provider.inner { part.size - BSD_OFFSET } else { part.size };
        let offset = match (provider.class, provider.inner) {
            ("LABEL", _) => 0,
            (_, true) => BSD_OFFSET,
            (_, false) => part.offset,
        };
        (size, offset)
    }
}
