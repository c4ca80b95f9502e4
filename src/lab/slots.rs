//! What slots hold: a tree of real files while it is a file system, bytes while it is open for
//! writing, and bytes as long as they are no file system. And what a drive has in its cache.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disks::number_of;
use super::effects::{Cut, Effect};
use super::image::{self, Entry, Header};
use super::machine::{Disk, Flaw, Part, Scheme};
use super::paths::errno;
use super::tree::{self, Thing};
use super::{Inner, Lab};
use crate::host::{BlockDevice, FileKind, Mount};

/// Where bytes of slots are kept, in the lab's directory.
const KEPT: &str = "slots";
/// As much is in one place on the medium: a power cut tears and reorders writes by these.
const CELL: usize = 32 << 10;
/// Bytes of a sector.
pub(crate) const SECTOR: u32 = 512;
/// The kernel looks at a device again when it was closed, and takes this long.
const TASTE: Duration = Duration::from_millis(300);
/// Writing and reading a MiB takes this long.
const MEBIBYTE: Duration = Duration::from_millis(8);

/// A write that the drive has accepted, but that is not on its medium.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Pending {
    /// To a slot: these bytes were there before.
    Bytes {
        /// The disk's id.
        disk: String,
        /// The partition.
        part: u32,
        /// From this byte on.
        at: u64,
        /// What was there.
        before: Vec<u8>,
    },
    /// To the partition table or to boot0.
    Table {
        /// As the disk was before.
        before: Box<Disk>,
        /// Only the first copy was written.
        half: bool,
    },
}

/// Which slot: the disk's id, and the index of the partition.
pub(crate) type At = (String, u32);

impl Inner {
    pub(crate) fn part(&self, at: &At) -> Option<&Part> {
        let disk = self.machine.disks.iter().find(|disk| disk.id == at.0)?;
        disk.parts.iter().find(|part| part.index == at.1)
    }

    fn part_mut(&mut self, at: &At) -> Option<&mut Part> {
        let disk = self.machine.disks.iter_mut().find(|disk| disk.id == at.0)?;
        disk.parts.iter_mut().find(|part| part.index == at.1)
    }

    fn scheme(&self, at: &At) -> Scheme {
        let disk = self.machine.disks.iter().find(|disk| disk.id == at.0);
        disk.map_or(Scheme::None, |disk| disk.scheme)
    }

    fn kept(&self, at: &At) -> PathBuf {
        self.root.join(KEPT).join(format!("{}.{}", at.0, at.1))
    }

    /// Everything in a file system, for an image.
    pub(crate) fn entries(&self, name: &str) -> io::Result<Vec<Entry>> {
        let mut all = Vec::new();
        for path in tree::paths(&self.root.join(name))? {
            let real = self.real(name, &path);
            let node = self.node(name, &path)?;
            let found = fs::symlink_metadata(&real)?;
            let (kind, content) = match node.kind {
                Some(kind) => (kind, Vec::new()),
                None if found.is_dir() => (FileKind::Directory, Vec::new()),
                None if found.is_symlink() => {
                    let target = fs::read_link(&real)?.to_string_lossy().into_owned();
                    (FileKind::Link, target.into_bytes())
                }
                None => (FileKind::File, fs::read(&real)?),
            };
            let header = Header { path, node, kind, length: content.len() };
            all.push(Entry { header, content });
        }
        Ok(all)
    }

    /// Makes the file system `name` of these, and of nothing else.
    pub(crate) fn lay_entries(&mut self, name: &str, entries: Vec<Entry>) -> io::Result<()> {
        self.remove_tree(name)?;
        self.make_tree(name, false)?;
        for Entry { header, content } in entries {
            let thing = match header.kind {
                FileKind::Directory => Thing::Directory,
                FileKind::File => Thing::File(content),
                FileKind::Link => Thing::Link(String::from_utf8_lossy(&content).as_ref().into()),
                other => Thing::Special(other),
            };
            self.put(name, &header.path, &thing, header.node.attributes)?;
            if let Some(tree) = self.machine.trees.get_mut(name) {
                tree.nodes.insert(header.path, header.node);
            }
        }
        Ok(())
    }

    fn remove_tree(&mut self, name: &str) -> io::Result<()> {
        self.machine.trees.remove(name);
        let path = self.root.join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { Ok(()) }
    }

    /// The bytes of a slot, up to where it is all zeroes.
    pub(crate) fn slot_bytes(&self, at: &At) -> io::Result<Vec<u8>> {
        let part = self.part(at).ok_or_else(|| errno(libc::ENXIO))?;
        match &part.tree {
            _ if part.raw => fs::read(self.kept(at)),
            Some(tree) => Ok(image::encode(self.scheme(at), &part.ufs_label, &self.entries(tree)?)),
            None => Ok(Vec::new()),
        }
    }

    /// The slot holds these bytes; what they mean is not asked.
    fn keep_raw(&mut self, at: &At, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(self.root.join(KEPT))?;
        fs::write(self.kept(at), bytes)?;
        let part = self.part_mut(at).ok_or_else(|| errno(libc::ENXIO))?;
        part.raw = true;
        match part.tree.clone() {
            Some(tree) => self.remove_tree(&tree),
            None => Ok(()),
        }
    }

    /// The slot holds what its bytes mean: a file system, if they are one.
    fn interpret(&mut self, at: &At) -> io::Result<()> {
        let Some(tree) = self.part(at).filter(|part| part.raw).and_then(|part| part.tree.clone())
        else {
            return Ok(());
        };
        let kept = self.kept(at);
        let Some((volume, entries)) = image::decode(self.scheme(at), &fs::read(&kept)?) else {
            return Ok(());
        };
        self.lay_entries(&tree, entries)?;
        if let Some(part) = self.part_mut(at) {
            (part.raw, part.ufs_label) = (false, volume);
        }
        fs::remove_file(kept)
    }

    /// What the cache of a drive held when the power went.
    pub(crate) fn lose_cache(&mut self, cut: Cut) -> io::Result<()> {
        let seed = self.machine.seed.wrapping_add(self.run.done.len() as u64);
        let lost = |record: usize, cell: usize, cells: usize| match cut {
            Cut::Lost => true,
            Cut::Kept => false,
            Cut::Torn => cell >= cells.div_ceil(2),
            Cut::Reordered => number_of(&format!("{seed} {record} {cell}")) & 2 == 0,
        };
        let mut touched: Vec<At> = Vec::new();
        for disk in &mut self.machine.disks {
            for part in &mut disk.parts {
                if part.open.take().is_some() {
                    touched.push((disk.id.clone(), part.index));
                }
            }
        }
        let pending = std::mem::take(&mut self.machine.pending);
        for (record, one) in pending.into_iter().enumerate().rev() {
            match one {
                Pending::Bytes { disk, part, at, before } => {
                    let slot = (disk, part);
                    if let Some(area) = self.boot_area(&slot) {
                        if lost(record, 0, 1) {
                            lay(area, at as usize, &before);
                        }
                        continue;
                    }
                    let mut bytes = self.slot_bytes(&slot)?;
                    let cells = before.len().div_ceil(CELL);
                    for (cell, old) in before.chunks(CELL).enumerate() {
                        if lost(record, cell, cells) {
                            lay(&mut bytes, at as usize + cell * CELL, old);
                        }
                    }
                    self.keep_raw(&slot, &bytes)?;
                    touched.push(slot);
                }
                Pending::Table { before, half } => self.tear_table(*before, half, cut, seed),
            }
        }
        for slot in touched {
            self.interpret(&slot)?;
        }
        Ok(())
    }

    /// The boot area of a partition that has one of its own.
    fn boot_area(&mut self, at: &At) -> Option<&mut Vec<u8>> {
        self.part_mut(at)?.boot_area.as_mut()
    }

    /// A table of which `half` says whether only its first copy was under way.
    fn tear_table(&mut self, before: Disk, half: bool, cut: Cut, seed: u64) {
        let Some(disk) = self.machine.disks.iter_mut().find(|disk| disk.id == before.id) else {
            return;
        };
        let chance = number_of(&format!("table {seed}")) & 2 == 0;
        let one_sector = disk.scheme != Scheme::Gpt;
        // What the first copy says counts when it is good, otherwise what the second one says.
        let (old, ok) = match cut {
            Cut::Lost => (true, before.table_ok),
            Cut::Kept => (false, !half),
            Cut::Torn | Cut::Reordered if one_sector => (chance, true),
            Cut::Torn => (half, false),
            Cut::Reordered => (chance, false),
        };
        disk.table_ok = ok || one_sector;
        if old {
            disk.default_slice = before.default_slice;
            for (part, before) in disk.parts.iter_mut().zip(before.parts) {
                part.attributes = before.attributes;
            }
        }
    }

    /// Counts down to what is wrong with the flash; true when it happens now.
    fn flaw(&mut self, at: &At, is_write: bool) -> bool {
        let disk = self.machine.disks.iter_mut().find(|disk| disk.id == at.0);
        let Some(disk) = disk else { return false };
        match &mut disk.flaw {
            Some(Flaw::DropsWrite(left)) if is_write && *left > 0 => *left -= 1,
            Some(Flaw::FailsRead(left)) if !is_write && *left > 0 => *left -= 1,
            Some(Flaw::DropsWrite(_)) if is_write => disk.flaw = None,
            Some(Flaw::FailsRead(_)) if !is_write => disk.flaw = None,
            _ => return false,
        }
        disk.flaw.is_none()
    }

    /// Reads a slot as bytes.
    pub(crate) fn read_slot(&mut self, at: &At, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.machine.uptime += MEBIBYTE * (buffer.len() >> 20) as u32;
        if self.flaw(at, false) {
            return Err(errno(libc::EIO));
        }
        buffer.fill(0);
        if let Some(area) = self.boot_area(at) {
            lay(buffer, 0, area.get(offset as usize..).unwrap_or_default());
            return Ok(());
        }
        if self.part(at).is_some_and(|part| part.raw) {
            return read_from(&fs::File::open(self.kept(at))?, offset, buffer);
        }
        let all = self.slot_bytes(at)?;
        lay(buffer, 0, all.get((offset as usize).min(all.len())..).unwrap_or_default());
        Ok(())
    }

    fn write_slot(&mut self, at: &At, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.machine.uptime += MEBIBYTE * (bytes.len() >> 20) as u32;
        if self.flaw(at, true) {
            return Ok(());
        }
        if let Some(area) = self.boot_area(at) {
            let place = area.get_mut(offset as usize..offset as usize + bytes.len());
            // The file system behind it is nobody's to write to.
            let place = place.ok_or_else(|| errno(libc::EIO))?;
            let before = place.to_vec();
            place.copy_from_slice(bytes);
            let (disk, part) = at.clone();
            self.machine.pending.push(Pending::Bytes { disk, part, at: offset, before });
            return Ok(());
        }
        let file = fs::OpenOptions::new().read(true).write(true).open(self.kept(at))?;
        let mut before = vec![0; bytes.len()];
        read_from(&file, offset, &mut before)?;
        file.write_all_at(bytes, offset)?;
        let (disk, part) = at.clone();
        self.machine.pending.push(Pending::Bytes { disk, part, at: offset, before });
        Ok(())
    }

    /// Everything that a disk has accepted is on its medium.
    pub(crate) fn flushed(&mut self, disk: &str) {
        self.machine.pending.retain(|one| match one {
            Pending::Bytes { disk: other, .. } => other != disk,
            Pending::Table { before, .. } => before.id != disk,
        });
    }

    /// Opens a slot for writing.
    pub(crate) fn open_slot(&mut self, name: &str) -> io::Result<(At, u64)> {
        let provider = self.provider(name).ok_or_else(|| errno(libc::ENOENT))?;
        let part = self.part_of(&provider).ok_or_else(|| errno(libc::EPERM))?.clone();
        let (Some(tree), false) = (&part.tree, provider.inner && part.bsd) else {
            return Err(errno(libc::EPERM));
        };
        // What is mounted read-only by this very name has room for a writer; a label has not.
        let own = format!("/dev/{}", provider.name);
        let shares = |mount: &Mount| mount.read_only && mount.source == own;
        let mut mounts = self.machine.mounts.iter().filter(|one| one.tree == *tree);
        if mounts.any(|one| part.boot_area.is_none() || !shares(&one.mount)) {
            return Err(errno(libc::EPERM));
        }
        if part.open.is_some() {
            return Err(errno(libc::EBUSY));
        }
        let disk = self.machine.disks.get(provider.disk).ok_or_else(|| errno(libc::ENXIO))?;
        let at = (disk.id.clone(), part.index);
        self.gate_io(Effect::new("open", name))?;
        if part.boot_area.is_none() {
            let bytes = self.slot_bytes(&at)?;
            self.keep_raw(&at, &bytes)?;
        }
        if let Some(part) = self.part_mut(&at) {
            part.open = Some(provider.name);
        }
        Ok((at, part.size))
    }

    fn close_slot(&mut self, at: &At) -> io::Result<()> {
        let tasted = self.machine.uptime + TASTE;
        match self.part_mut(at) {
            // The power went meanwhile.
            None | Some(Part { open: None, .. }) => return Ok(()),
            Some(part) => (part.open, part.tasted) = (None, tasted),
        }
        self.interpret(at)
    }
}

/// Fills the buffer from a file, as far as the file goes.
fn read_from(file: &fs::File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let count = file.read_at(buffer, offset)?;
        if count == 0 {
            break;
        }
        offset += count as u64;
        buffer = buffer.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

/// Puts `what` at `at`, as far as there is room.
fn lay(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..) {
        let length = place.len().min(what.len());
        if let (Some(to), Some(from)) = (place.get_mut(..length), what.get(..length)) {
            to.copy_from_slice(from);
        }
    }
}

/// A slot that is open for writing.
pub(crate) struct OpenSlot<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) name: String,
    pub(crate) at: At,
    pub(crate) size: u64,
}

impl OpenSlot<'_> {
    fn fits(&self, offset: u64, length: usize) -> io::Result<()> {
        let aligned =
            offset.is_multiple_of(SECTOR.into()) && length.is_multiple_of(SECTOR as usize);
        match aligned && offset.saturating_add(length as u64) <= self.size {
            true => Ok(()),
            false => Err(errno(libc::EINVAL)),
        }
    }
}

impl BlockDevice for OpenSlot<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn sector(&self) -> u32 {
        SECTOR
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.fits(offset, buffer.len())?;
        self.lab.lock().read_slot(&self.at, offset, buffer)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.fits(offset, bytes.len())?;
        let mut inner = self.lab.lock();
        let done = inner.gate_io(Effect::new("write", format!("{} at {offset}", self.name)));
        // A write that failed may have got half way.
        let half = bytes.len() / 2 / SECTOR as usize * SECTOR as usize;
        let length = if done.is_ok() { bytes.len() } else { half };
        inner.write_slot(&self.at, offset, bytes.get(..length).unwrap_or_default())?;
        done
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut inner = self.lab.lock();
        inner.gate_io(Effect::new("flush", &self.name))?;
        inner.flushed(&self.at.0);
        Ok(())
    }
}

impl Drop for OpenSlot<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.lab.lock().close_slot(&self.at) {
            log::error!("lab: close {}: {error}", self.name);
        }
    }
}

impl Lab {
    /// The bytes of the image of this name, as it is made for slot A of the drive that the machine
    /// starts from.
    ///
    /// # Errors
    ///
    /// When there is no such image.
    pub fn image(&self, name: &str) -> io::Result<Vec<u8>> {
        let inner = self.lock();
        let start = &inner.machine.start.disk;
        let disk = inner.machine.disks.iter().find(|disk| disk.id == *start);
        let disk = disk.ok_or_else(|| io::Error::other("there is no OS drive"))?;
        // Whoever made it knew slot A only, and perhaps another drive.
        let volume = if disk.scheme == Scheme::Gpt { "nanoA" } else { "nanos1a" };
        let tree = image_tree(name);
        if !inner.root.join(&tree).is_dir() {
            return Err(io::Error::other(format!("there is no image {name}")));
        }
        Ok(image::encode(disk.scheme, volume, &inner.entries(&tree)?))
    }
}

/// The file system of an image that is in no slot.
pub(crate) fn image_tree(name: &str) -> String {
    Path::new("images").join(name).display().to_string()
}
