//! What is read from the disks: ZFS labels, UFS superblocks, and zeroes everywhere else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::Inner;
use super::machine::{Leaf, Loader, Part, Pool, Scheme, Top, Trouble};
use super::paths::errno;
use super::providers::{BSD_OFFSET, Provider};
use super::slots::At;
use crate::format::boot0::{self, Boot0};
use crate::format::ufs;
use crate::format::zfs_label::{
    self, LABEL_SIZE, Label, NVLIST_OFFSET, NVLIST_SIZE, PoolState, Vdev, aside,
};

/// One read of a disk takes this long.
const READ: Duration = Duration::from_millis(1);

impl Inner {
    /// Bytes of the device `name`.
    pub(crate) fn read_device(
        &mut self,
        name: &str,
        offset: u64,
        length: usize,
    ) -> io::Result<Vec<u8>> {
        let provider = self.provider(name).ok_or_else(|| errno(libc::ENOENT))?;
        self.machine.uptime += READ;
        let trouble = self.machine.disks.get(provider.disk).map(|disk| disk.trouble);
        if trouble == Some(Trouble::Unreadable) {
            return Err(errno(libc::EIO));
        }
        let (size, _) = self.extent(&provider);
        let rest = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(rest)];
        let end = offset.saturating_add(bytes.len() as u64);
        let touches = |at: u64, length: u64| at < end && offset < at + length;
        let superblock = ufs::SUPERBLOCK_OFFSET;
        let within = offset >= superblock && end <= superblock + ufs::SUPERBLOCK_READ as u64;
        match (self.volume(&provider), self.slot_of(&provider)) {
            // The whole of a slot is made of all its files: not for a look at its superblock, which
            // a slice has further behind.
            (None, Some((at, _))) if within && self.part(&at).is_some_and(|part| !part.raw) => {}
            (Some(name), _) if within => lay(&mut bytes, offset, superblock, &ufs::encode(&name)),
            // In front of a file system that is not booted from.
            (Some(name), Some((at, _))) if self.part(&at).is_some_and(has_area) => {
                self.read_slot(&at, offset, &mut bytes)?;
                lay(&mut bytes, offset, superblock, &ufs::encode(&name));
            }
            (_, Some((at, start))) => self.read_slot(&at, start + offset, &mut bytes)?,
            (Some(name), None) => lay(&mut bytes, offset, superblock, &ufs::encode(&name)),
            (None, None) => {
                if let Some((at, code)) = self.boot_code(&provider) {
                    lay(&mut bytes, offset, at, &code);
                }
            }
        }
        for start in zfs_label::label_offsets(size) {
            if !touches(start, LABEL_SIZE) {
                continue;
            }
            if let Some(label) = self.label(&provider, size) {
                let mut area = encoded(label, start)?;
                if trouble == Some(Trouble::Damaged)
                    && let Some(byte) = Rc::make_mut(&mut area).get_mut(200)
                {
                    *byte ^= 0xff;
                }
                debug_assert_eq!(area.len(), NVLIST_SIZE);
                lay(&mut bytes, offset, start + NVLIST_OFFSET, &area);
            }
        }
        Ok(bytes)
    }

    /// The volume name of the UFS on a provider.
    fn volume(&self, provider: &Provider) -> Option<String> {
        let part = self.part_of(provider)?;
        let here = part.tree.is_some() && !part.raw && part.bsd == provider.inner;
        here.then(|| part.ufs_label.clone())
    }

    /// The slot that a provider shows, from which byte on.
    fn slot_of(&self, provider: &Provider) -> Option<(At, u64)> {
        let part = self.part_of(provider).filter(|part| part.tree.is_some())?;
        let disk = self.machine.disks.get(provider.disk)?;
        let start = if provider.inner { BSD_OFFSET } else { 0 };
        Some(((disk.id.clone(), part.index), start))
    }

    /// The boot code on a drive, as far as somebody may look for it: where, and what.
    fn boot_code(&self, provider: &Provider) -> Option<(u64, Vec<u8>)> {
        let disk = self.machine.disks.get(provider.disk)?;
        let kind = self.part_of(provider).map(|part| part.kind.as_str());
        let words: &[u8] = match (kind, disk.loader) {
            (None, Loader::Boot0) if disk.scheme == Scheme::Mbr => {
                let boot0 = Boot0 { default: disk.default_slice, offered: 3, updates: true };
                return Some((0, boot0::encode(&boot0, true)));
            }
            (Some("freebsd-boot"), Loader::Gptboot) => b"gptboot: No /boot/loader",
            (Some("efi"), Loader::GptbootEfi) => b"gptboot.efi: unable to load GPT",
            (Some("efi"), _) => b"FreeBSD/amd64 EFI loader",
            _ => return None,
        };
        Some((4096, words.to_vec()))
    }

    /// The label of the vdev on a provider, if it is one.
    fn label(&self, provider: &Provider, size: u64) -> Option<Label> {
        let (pool, top, leaf) = self.vdev(provider)?;
        Some(label_of(pool, top, leaf, size))
    }

    /// The vdev on a provider.
    pub(crate) fn vdev(&self, provider: &Provider) -> Option<(&Pool, &Top, &Leaf)> {
        let disk = self.machine.disks.get(provider.disk)?;
        let of = |pool| {
            tops(pool).flat_map(|(pool, top)| top.leaves.iter().map(move |leaf| (pool, top, leaf)))
        };
        self.machine.pools.iter().flat_map(of).find(|(_, _, leaf)| {
            leaf.disk == disk.id && leaf.part == provider.part && !provider.inner
        })
    }
}

/// Its boot area is no part of an image.
fn has_area(part: &Part) -> bool {
    part.boot_area.is_some()
}

/// Puts `content`, which is at byte `at` of a device, into `bytes`, which begin at byte `offset`.
fn lay(bytes: &mut [u8], offset: u64, at: u64, content: &[u8]) {
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (into, from) = (index(at.saturating_sub(offset)), index(offset.saturating_sub(at)));
    let (Some(target), Some(source)) = (bytes.get_mut(into..), content.get(from..)) else { return };
    let length = target.len().min(source.len());
    if let (Some(target), Some(source)) = (target.get_mut(..length), source.get(..length)) {
        target.copy_from_slice(source);
    }
}

/// As many labels are kept encoded: the checksum of one costs more than all the rest of a boot.
const KEPT: usize = 96;

/// A label and its place on the device, encoded.
type Encoded = (Label, u64, Rc<Vec<u8>>);

thread_local! {
    static ENCODED: RefCell<VecDeque<Encoded>> = const { RefCell::new(VecDeque::new()) };
}

/// The bytes of a label for a place on the device.
fn encoded(label: Label, start: u64) -> io::Result<Rc<Vec<u8>>> {
    ENCODED.with_borrow_mut(|kept| {
        if let Some((_, _, area)) = kept.iter().find(|one| one.1 == start && one.0 == label) {
            return Ok(Rc::clone(area));
        }
        let area = Rc::new(zfs_label::encode(&label, start).map_err(io::Error::other)?);
        kept.push_front((label, start, Rc::clone(&area)));
        kept.truncate(KEPT);
        Ok(area)
    })
}

fn tops(pool: &Pool) -> impl Iterator<Item = (&Pool, &Top)> {
    pool.tops.iter().map(move |top| (pool, top))
}

fn label_of(pool: &Pool, top: &Top, leaf: &Leaf, size: u64) -> Label {
    match top.aside.as_deref() {
        Some("spare") => return aside(PoolState::Spare, leaf.guid),
        Some(_) => return aside(PoolState::L2cache, leaf.guid),
        None => {}
    }
    let in_tree = || pool.tops.iter().filter(|top| top.aside.is_none());
    let id = in_tree().position(|other| other.guid == top.guid).unwrap_or(0) as u64;
    let disk = |(id, leaf): (usize, &Leaf)| Vdev {
        kind: "disk".to_owned(),
        id: id as u64,
        guid: leaf.guid,
        path: Some(leaf.path.clone()),
        create_txg: 4,
        ..Vdev::default()
    };
    let children: Vec<Vdev> = top.leaves.iter().enumerate().map(disk).collect();
    let shape = Vdev {
        kind: top.kind.clone(),
        id,
        guid: top.guid,
        nparity: top.parity,
        is_log: top.log,
        ashift: 12,
        asize: size.saturating_sub(4 << 20),
        create_txg: 4,
        ..Vdev::default()
    };
    let tree = match (top.kind.as_str(), children.as_slice()) {
        ("disk", [only]) => Vdev { path: only.path.clone(), ..shape },
        _ => Vdev { children, ..shape },
    };
    Label {
        state: if leaf.state == 1 { PoolState::Exported } else { PoolState::Active },
        txg: leaf.txg,
        pool_name: Some(pool.name.clone()),
        pool_guid: Some(pool.guid),
        hostid: Some(leaf.hostid.into()),
        hostname: Some(leaf.hostname.clone()),
        top_guid: Some(top.guid),
        vdev_children: in_tree().count() as u64,
        features_for_read: vec![
            "com.delphix:hole_birth".to_owned(),
            "com.delphix:embedded_data".to_owned(),
        ],
        tree: Some(tree),
        ..aside(PoolState::Active, leaf.guid)
    }
}
