//! Disk images: partition tables and boot blocks as FreeBSD's own tools write them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::unistd::{Whence, lseek};

/// Bytes in a sector.
pub(crate) const SECTOR: u64 = 512;
/// Bytes in a MiB.
pub(crate) const MIB: u64 = 1 << 20;
/// Where the first slice or partition begins, in sectors.
const FIRST: u64 = 2048;
/// Sectors before partition `a` in a slice: boot blocks and label.
const BEFORE_A: u64 = 16;
/// The slice type of FreeBSD.
const FREEBSD_SLICE: u8 = 0xa5;

/// What is written to an OS drive.
#[derive(Clone, Debug)]
pub(crate) struct Content<'a> {
    /// The boot blocks of the FreeBSD that is tested.
    pub(crate) boot: &'a Path,
    /// File systems of the two slots.
    pub(crate) slots: [&'a Path; 2],
    /// File system of the recovery copy.
    pub(crate) recovery: &'a Path,
    /// How the names in a GPT begin.
    pub(crate) label: &'a str,
    /// Makes identifiers differ between drives.
    pub(crate) seed: &'a str,
}

/// A NanoBSD drive: boot0, two slices with a BSD label and partition `a`, the recovery copy.
pub(crate) fn write_mbr(path: &Path, content: &Content<'_>) -> Result<()> {
    let mut boot0 = fs::read(content.boot.join("boot0")).context("boot0")?;
    boot0.resize(512, 0);
    let boot = fs::read(content.boot.join("boot")).context("boot")?;
    let disk = create(path)?;
    let mut at = FIRST;
    let mut entries = Vec::new();
    for slot in content.slots {
        let sectors = fs::metadata(slot)?.len() / SECTOR;
        let size = sectors + BEFORE_A;
        let mut head = boot.clone();
        head.resize((BEFORE_A * SECTOR) as usize, 0);
        overwrite(&mut head, 512, &bsd_label(size, sectors)?);
        disk.write_all_at(&head, at * SECTOR)?;
        copy_into(slot, &disk, (at + BEFORE_A) * SECTOR)?;
        entries.push((at, size));
        at = align(at + size);
    }
    let size = fs::metadata(content.recovery)?.len() / SECTOR;
    copy_into(content.recovery, &disk, at * SECTOR)?;
    entries.push((at, size));
    at = align(at + size);
    entries.push((at, 64 * MIB / SECTOR));
    at += 64 * MIB / SECTOR;
    disk.set_len(at * SECTOR + MIB)?;

    for (index, (start, size)) in entries.iter().enumerate() {
        let mut entry = [0u8, 0xfe, 0xff, 0xff, FREEBSD_SLICE, 0xfe, 0xff, 0xff].to_vec();
        entry.extend(u32::try_from(*start)?.to_le_bytes());
        entry.extend(u32::try_from(*size)?.to_le_bytes());
        overwrite(&mut boot0, 0x1be + 16 * index, &entry);
    }
    // How long boot0 waits for a key, in 1/18 s.
    overwrite(&mut boot0, 0x1bc, &2u16.to_le_bytes());
    overwrite(&mut boot0, 0x1fe, &[0x55, 0xaa]);
    disk.write_all_at(&boot0, 0)?;
    drop(disk);
    select_mbr(path, 1)
}

/// Makes slice `slot` the one that starts: boot0's default, and the active one.
pub(crate) fn select_mbr(path: &Path, slot: u32) -> Result<()> {
    let disk = open(path)?;
    let mut mbr = [0u8; 512];
    disk.read_exact_at(&mut mbr, 0)?;
    // boot0 keeps its variables behind the word "Drive ", which moved once.
    let drive = mbr.windows(6).position(|bytes| bytes == b"Drive ");
    let option = match drive {
        Some(0x1ae) => 0x1b5,
        Some(0x1b2) => 0x1b9,
        found => bail!("this boot0 is not known: Drive at {found:?}"),
    };
    overwrite(&mut mbr, option, &[u8::try_from(slot - 1)?]);
    for index in 1..=4u32 {
        let flag = if index == slot { 0x80 } else { 0 };
        overwrite(&mut mbr, 0x1be + 16 * (index as usize - 1), &[flag]);
    }
    Ok(disk.write_all_at(&mbr, 0)?)
}

/// A label with `a` at its usual place and `c` for the whole slice; see bsdlabel(8).
fn bsd_label(slice: u64, a: u64) -> Result<Vec<u8>> {
    const MAGIC: u32 = 0x8256_4557;
    let mut label = vec![0u8; 148 + 8 * 16];
    overwrite(&mut label, 0, &MAGIC.to_le_bytes());
    let words = [
        (40, 512),
        (44, 63),
        (48, 255),
        (52, slice / (63 * 255) + 1),
        (56, 63 * 255),
        (60, slice),
        (140, 8192),
        (144, 8192),
    ];
    for (at, value) in words {
        overwrite(&mut label, at, &u32::try_from(value)?.to_le_bytes());
    }
    overwrite(&mut label, 72, &3600u16.to_le_bytes());
    overwrite(&mut label, 74, &1u16.to_le_bytes());
    overwrite(&mut label, 132, &MAGIC.to_le_bytes());
    overwrite(&mut label, 138, &8u16.to_le_bytes());
    for (index, start, size, kind) in [(0, BEFORE_A, a, 7u8), (2, 0, slice, 0)] {
        let mut entry = u32::try_from(size)?.to_le_bytes().to_vec();
        entry.extend(u32::try_from(start)?.to_le_bytes());
        entry.extend([0, 0, 0, 0, kind]);
        overwrite(&mut label, 148 + 16 * index, &entry);
    }
    let sum = label.chunks_exact(2).fold(0u16, |sum, pair| match pair {
        [low, high] => sum ^ u16::from_le_bytes([*low, *high]),
        _ => sum,
    });
    overwrite(&mut label, 136, &sum.to_le_bytes());
    Ok(label)
}

/// A partition of a GPT.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    kind: [u8; 16],
    start: u64,
    sectors: u64,
    name: String,
    attributes: u64,
}

/// `freebsd-boot`, `freebsd-ufs`, `freebsd-zfs` as a GPT has them on disk.
fn type_guid(kind: &str) -> Result<[u8; 16]> {
    let text = match kind {
        "freebsd-boot" => "9d6bbd83417fdc11be0b001560b84f0f",
        "freebsd-ufs" => "b67c6e51cf6ed6118ff800022d09712b",
        "freebsd-zfs" => "ba7c6e51cf6ed6118ff800022d09712b",
        other => bail!("{other}: not a partition type"),
    };
    Ok(u128::from_str_radix(text, 16)?.to_be_bytes())
}

/// The attribute by which gptboot(8) chooses.
const BOOTME: u64 = 1 << 59;

/// A GPT drive: gptboot, two slots, the recovery copy.
pub(crate) fn write_gpt(path: &Path, content: &Content<'_>) -> Result<()> {
    let gptboot = fs::read(content.boot.join("gptboot")).context("gptboot")?;
    let disk = create(path)?;
    let mut parts = vec![Partition {
        kind: type_guid("freebsd-boot")?,
        start: 40,
        sectors: 1024,
        name: String::new(),
        attributes: 0,
    }];
    disk.write_all_at(&gptboot, 40 * SECTOR)?;
    let mut at = FIRST;
    let files = [content.slots[0], content.slots[1], content.recovery];
    for (file, what) in files.into_iter().zip(["A", "B", "cfg"]) {
        let sectors = fs::metadata(file)?.len() / SECTOR;
        let name = format!("{}{what}", content.label);
        copy_into(file, &disk, at * SECTOR)?;
        let attributes = if what == "A" { BOOTME } else { 0 };
        parts.push(Partition {
            kind: type_guid("freebsd-ufs")?,
            start: at,
            sectors,
            name,
            attributes,
        });
        at = align(at + sectors);
    }
    disk.set_len(at * SECTOR + MIB)?;
    let mut pmbr = fs::read(content.boot.join("pmbr")).context("pmbr")?;
    pmbr.resize(512, 0);
    write_table(&disk, pmbr, &parts, content.seed)
}

/// Makes partition `slot` the only one with `bootme`.
pub(crate) fn select_gpt(path: &Path, slot: u32) -> Result<()> {
    let disk = open(path)?;
    let sectors = disk.metadata()?.len() / SECTOR;
    let mut entries = vec![0u8; 128 * 128];
    disk.read_exact_at(&mut entries, 2 * SECTOR)?;
    for (index, entry) in entries.chunks_exact_mut(128).enumerate() {
        let attributes = if index + 1 == slot as usize { BOOTME } else { 0 };
        overwrite(entry, 48, &attributes.to_le_bytes());
    }
    let mut guid = [0u8; 16];
    disk.read_exact_at(&mut guid, SECTOR + 56)?;
    write_headers(&disk, sectors, &entries, guid)
}

/// A data disk with GPT partitions for ZFS: names and bytes.
pub(crate) fn partition(path: &Path, parts: &[(String, u64)], seed: &str) -> Result<()> {
    let disk = open(path)?;
    let mut at = FIRST;
    let mut all = Vec::new();
    for (name, bytes) in parts {
        let sectors = bytes / SECTOR;
        let (kind, name) = (type_guid("freebsd-zfs")?, name.clone());
        all.push(Partition { kind, start: at, sectors, name, attributes: 0 });
        at = align(at + sectors);
    }
    write_table(&disk, vec![0; 512], &all, seed)
}

fn write_table(disk: &File, mut mbr: Vec<u8>, parts: &[Partition], seed: &str) -> Result<()> {
    let sectors = disk.metadata()?.len() / SECTOR;
    let mut entry = vec![0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0];
    entry.extend(u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes());
    overwrite(&mut mbr, 0x1be, &entry);
    overwrite(&mut mbr, 0x1fe, &[0x55, 0xaa]);
    disk.write_all_at(&mbr, 0)?;
    let mut entries = vec![0u8; 128 * 128];
    for (index, part) in parts.iter().enumerate() {
        let mut entry = part.kind.to_vec();
        entry.extend(made_guid(&format!("{seed} {index}")));
        entry.extend(part.start.to_le_bytes());
        entry.extend((part.start + part.sectors - 1).to_le_bytes());
        entry.extend(part.attributes.to_le_bytes());
        entry.extend(part.name.encode_utf16().flat_map(u16::to_le_bytes));
        overwrite(&mut entries, 128 * index, &entry);
    }
    write_headers(disk, sectors, &entries, made_guid(seed))
}

/// Both headers and both tables.
fn write_headers(disk: &File, sectors: u64, entries: &[u8], guid: [u8; 16]) -> Result<()> {
    let last = sectors - 1;
    for (here, there, table) in [(1, last, 2), (last, 1, last - 32)] {
        let mut header = b"EFI PART".to_vec();
        header.extend([0, 0, 1, 0, 92, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for word in [here, there, 34, last - 33] {
            header.extend(u64::to_le_bytes(word));
        }
        header.extend(guid);
        header.extend(u64::to_le_bytes(table));
        header.extend(128u32.to_le_bytes());
        header.extend(128u32.to_le_bytes());
        header.extend(crc32(entries).to_le_bytes());
        let sum = crc32(&header);
        overwrite(&mut header, 16, &sum.to_le_bytes());
        header.resize(512, 0);
        disk.write_all_at(&header, here * SECTOR)?;
        disk.write_all_at(entries, table * SECTOR)?;
    }
    Ok(())
}

/// A random-looking GUID that is the same for the same seed.
fn made_guid(seed: &str) -> [u8; 16] {
    let (one, two) = (super::hash(seed), super::hash(&format!("{seed}+")));
    let mut guid = [0u8; 16];
    overwrite(&mut guid, 0, &one.to_le_bytes());
    overwrite(&mut guid, 8, &two.to_le_bytes());
    guid
}

/// The sum that GPT uses.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// The next start that is aligned to 1 MiB.
fn align(sector: u64) -> u64 {
    sector.next_multiple_of(MIB / SECTOR)
}

/// Writes `what` over `bytes` from `at` on; what does not fit is a mistake of ours, and left out.
fn overwrite(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.with_context(|| path.display().to_string())
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(path);
    file.with_context(|| path.display().to_string())
}

/// An empty disk.
pub(crate) fn blank(path: &Path, bytes: u64) -> Result<()> {
    Ok(create(path)?.set_len(bytes)?)
}

/// A copy that has holes where the original has.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let disk = create(to)?;
    disk.set_len(fs::metadata(from)?.len())?;
    copy_into(from, &disk, 0)
}

/// Copies a file to a place on a disk, without writing its holes.
fn copy_into(from: &Path, disk: &File, to: u64) -> Result<()> {
    let file = File::open(from).with_context(|| from.display().to_string())?;
    let length = i64::try_from(file.metadata()?.len())?;
    let mut buffer = vec![0u8; 1 << 18];
    let mut at = 0;
    while at < length {
        // No data from here to the end is an error: ENXIO.
        let Ok(start) = lseek(&file, at, Whence::SeekData) else { break };
        let end = lseek(&file, start, Whence::SeekHole).unwrap_or(length);
        at = start;
        while at < end {
            let wanted = usize::try_from(end - at)?.min(buffer.len());
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            file.read_exact_at(chunk, at as u64)?;
            disk.write_all_at(chunk, to + at as u64)?;
            at += wanted as i64;
        }
    }
    Ok(())
}

/// Makes the ZFS labels of a disk hold other bytes than they should.
pub(crate) fn damage(path: &Path) -> Result<()> {
    const LABEL: u64 = 256 << 10;
    let disk = open(path)?;
    let length = disk.metadata()?.len() / LABEL * LABEL;
    for label in [0, LABEL, length - 2 * LABEL, length - LABEL] {
        disk.write_all_at(&[0x5a; 4096], label + (16 << 10) + 200)?;
    }
    Ok(())
}

/// The first two labels of the ZFS on a disk and the uberblocks in them, from `offset` on.
pub(crate) fn labels(path: &Path) -> Result<Vec<u8>> {
    let disk = open(path)?;
    let mut bytes = vec![0u8; 512 << 10];
    disk.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_one_of_gpt() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_bsd_label_sums_up_to_zero() {
        let label = bsd_label(1000, 984).unwrap();
        let sum =
            label.chunks_exact(2).fold(0, |sum, pair| sum ^ u16::from_le_bytes([pair[0], pair[1]]));
        assert_eq!(sum, 0);
    }
}
