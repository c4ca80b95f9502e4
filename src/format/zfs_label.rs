//! ZFS labels: what a disk says about the pool it belongs to.
//!
//! A device carries four labels of 256 KiB, two at its start and two at its end. In each, a packed
//! nvlist of 112 KiB describes the pool and the top-level vdev that the device is part of; its last
//! 40 bytes are a checksum. The format is that of OpenZFS' `module/zfs/vdev_label.c`,
//! `include/sys/vdev_impl.h` (`vdev_label_t`, `vdev_phys_t`), `module/zfs/zio_checksum.c`
//! (`ZIO_CHECKSUM_LABEL`); zdb(8) `-l` shows the same.

use sha2::{Digest, Sha256};

use super::ParseError;
use super::nvlist::{self, Nvlist};

#[cfg(any(test, feature = "lab"))]
mod encode;
#[cfg(any(test, feature = "lab"))]
pub use encode::{aside, encode, seal};

#[cfg(test)]
mod tests;

/// The size of a label, in bytes.
pub const LABEL_SIZE: u64 = 256 << 10;
/// Where the nvlist is in a label, in bytes from its start.
pub const NVLIST_OFFSET: u64 = 16 << 10;
/// The size of the nvlist's area, checksum included, in bytes.
pub const NVLIST_SIZE: usize = 112 << 10;

const WHAT: &str = "ZFS label";

/// `ZEC_MAGIC`: what a checksum that is embedded in its block starts with.
const MAGIC: u64 = 0x0210_da7a_b10c_7a11;
const CHECKSUM_SIZE: usize = 32;
const TRAILER_SIZE: usize = 8 + CHECKSUM_SIZE;

/// The byte offsets of the labels on a device of `mediasize` bytes, rising. There are four of them,
/// fewer only when the device is smaller than four labels. What is left when the size is divided by
/// 256 KiB is not used, as in `vdev_label_offset`.
pub fn label_offsets(mediasize: u64) -> Vec<u64> {
    let fit = mediasize / LABEL_SIZE;
    (0..fit.min(2)).chain(fit.saturating_sub(2).max(2)..fit).map(|n| n * LABEL_SIZE).collect()
}

/// The end of a label's nvlist area by which [`is_there`] tells, as an offset from the start of the
/// label, for a device with sectors of this size.
pub fn tail(sectorsize: u64) -> (u64, usize) {
    let length = sectorsize.clamp(4 << 10, 16 << 10);
    (NVLIST_OFFSET + NVLIST_SIZE as u64 - length, length as usize)
}

/// There is a label, good or damaged, where this is the end of its nvlist area: what [`parse`]
/// would not call nothing.
pub fn is_there(tail: &[u8]) -> bool {
    let trailer = tail.len().checked_sub(TRAILER_SIZE).and_then(|at| tail.get(at..));
    let magic = trailer.and_then(<[u8]>::first_chunk::<8>);
    magic.is_some_and(|magic| byte_order(*magic).is_some())
}

/// How words of eight bytes are stored where the magic number is these bytes.
fn byte_order(magic: [u8; 8]) -> Option<fn([u8; 8]) -> u64> {
    match u64::from_le_bytes(magic) {
        MAGIC => Some(u64::from_le_bytes),
        other if other.swap_bytes() == MAGIC => Some(u64::from_be_bytes),
        _ => None,
    }
}

/// What the label says of the pool: `pool_state_t` in OpenZFS' `include/sys/fs/zfs.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolState {
    /// In use, or not exported when it was last used.
    Active,
    /// Exported.
    Exported,
    /// Destroyed; `zpool import -D` would bring it back.
    Destroyed,
    /// Not a pool: the device is a hot spare of one or several.
    Spare,
    /// Not a pool: the device is a cache.
    L2cache,
    /// A state that this version does not know.
    Other(u64),
}

impl PoolState {
    fn from_number(number: u64) -> Self {
        match number {
            0 => PoolState::Active,
            1 => PoolState::Exported,
            2 => PoolState::Destroyed,
            3 => PoolState::Spare,
            4 => PoolState::L2cache,
            other => PoolState::Other(other),
        }
    }
}

/// A label. Those of spares and caches have a version, a state and a guid, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The version of the pool's format: 5000 when it has feature flags.
    pub version: u64,
    /// The state of the pool.
    pub state: PoolState,
    /// The transaction group in which the label was written: of two labels, that with the higher
    /// one is newer. 0 on a device that was never fully added to the pool, or was taken out of it.
    pub txg: u64,
    /// The pool's name when the label was written.
    pub pool_name: Option<String>,
    /// The pool's identity.
    pub pool_guid: Option<u64>,
    /// The hostid of the system that last used the pool.
    pub hostid: Option<u64>,
    /// The name of that system.
    pub hostname: Option<String>,
    /// The identity of this device among the pool's.
    pub guid: u64,
    /// The identity of the top-level vdev that this device is part of.
    pub top_guid: Option<u64>,
    /// How many top-level vdevs the pool has, holes included.
    pub vdev_children: u64,
    /// The numbers of the top-level vdevs that were removed and have left a hole.
    pub holes: Vec<u64>,
    /// The feature flags without which the pool cannot even be read.
    pub features_for_read: Vec<String>,
    /// The top-level vdev that this device is part of.
    pub tree: Option<Vdev>,
}

impl Label {
    /// The device is part of the pool that the label names: it is not a spare or a cache, and not
    /// one that was taken out of the pool. Import looks at no other.
    pub fn is_member(&self) -> bool {
        let in_pool = !matches!(self.state, PoolState::Spare | PoolState::L2cache);
        in_pool && self.txg != 0 && self.pool_guid.is_some()
    }
}

/// A vdev, and those it is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vdev {
    /// `disk`, `file`, `mirror`, `raidz`, `draid`, `replacing`, `spare` …
    pub kind: String,
    /// Its number among its siblings.
    pub id: u64,
    /// Its identity.
    pub guid: u64,
    /// How many of its children may be missing, for raidz and draid; else 0.
    pub nparity: u64,
    /// Where it was when the label was written, for example `/dev/ada0p1`. Devices move: this is a
    /// hint.
    pub path: Option<String>,
    /// It is a log device.
    pub is_log: bool,
    /// An administrator has taken it offline.
    pub offline: bool,
    /// It was pulled.
    pub removed: bool,
    /// It failed.
    pub faulted: bool,
    /// It was away when the pool was last imported.
    pub not_present: bool,
    /// Those it is made of.
    pub children: Vec<Vdev>,
    /// The power of two that is its sector size, of a top-level vdev; else 0.
    pub ashift: u64,
    /// Bytes that it can hold, of a top-level vdev; else 0.
    pub asize: u64,
    /// The transaction group in which it was added to the pool; 0 if the label does not say.
    pub create_txg: u64,
}

impl Vdev {
    /// Those below it, or itself, that have no children: the devices. In the order of the label.
    pub fn leaves(&self) -> impl Iterator<Item = &Vdev> {
        let mut todo = vec![self];
        std::iter::from_fn(move || {
            loop {
                let vdev = todo.pop()?;
                if vdev.children.is_empty() {
                    return Some(vdev);
                }
                todo.extend(vdev.children.iter().rev());
            }
        })
    }
}

/// Parses the nvlist's area, [`NVLIST_SIZE`] bytes that were read at the absolute offset
/// `label_offset + NVLIST_OFFSET` of the device. The offset is part of the checksum: a label that
/// was copied to another place is not valid there.
///
/// `Ok(None)` is: there is no label here.
///
/// # Errors
///
/// There is a label and it is damaged, or `phys` is not as long as it must be.
pub fn parse(phys: &[u8], label_offset: u64) -> Result<Option<Label>, ParseError> {
    let Some(area) = Area::of(phys) else {
        let why = format!("{} bytes, {NVLIST_SIZE} expected", phys.len());
        return Err(ParseError::new(WHAT, why));
    };
    let Some(word) = byte_order(*area.magic) else { return Ok(None) };
    let big_endian = word([0, 0, 0, 0, 0, 0, 0, 1]) == 1;
    if checksum(&area, label_offset, big_endian) != *area.checksum {
        return Err(ParseError::new(WHAT, "the checksum is wrong"));
    }
    let list = nvlist::decode(area.list).map_err(|e| ParseError { what: WHAT.to_owned(), ..e })?;
    label(&list).map(Some)
}

/// `vdev_phys_t`, taken apart.
struct Area<'a> {
    list: &'a [u8],
    magic: &'a [u8; 8],
    checksum: &'a [u8; CHECKSUM_SIZE],
}

impl<'a> Area<'a> {
    fn of(phys: &'a [u8]) -> Option<Self> {
        let (list, trailer) = phys.split_at_checked(NVLIST_SIZE - TRAILER_SIZE)?;
        let (magic, checksum) = trailer.split_first_chunk()?;
        Some(Area { list, magic, checksum: checksum.try_into().ok()? })
    }
}

/// The checksum of the area as it is stored: SHA-256 over everything, with the place on the device
/// and three zeroes where the checksum will be, as four words in the byte order of the pool's
/// machine.
fn checksum(area: &Area<'_>, label_offset: u64, big_endian: bool) -> [u8; CHECKSUM_SIZE] {
    let place = label_offset.wrapping_add(NVLIST_OFFSET);
    let place = if big_endian { place.to_be_bytes() } else { place.to_le_bytes() };
    let mut digest: [u8; CHECKSUM_SIZE] = Sha256::new()
        .chain_update(area.list)
        .chain_update(area.magic)
        .chain_update(place)
        .chain_update([0; CHECKSUM_SIZE - 8])
        .finalize()
        .into();
    if !big_endian {
        for word in digest.chunks_exact_mut(8) {
            word.reverse();
        }
    }
    digest
}

fn label(list: &Nvlist) -> Result<Label, ParseError> {
    let must = |name: &str| {
        let missing = || ParseError::new(WHAT, format!("it has no {name}"));
        list.u64(name).ok_or_else(missing)
    };
    let features = list.list("features_for_read");
    Ok(Label {
        version: must("version")?,
        state: PoolState::from_number(must("state")?),
        txg: list.u64("txg").unwrap_or(0),
        pool_name: list.text("name").map(str::to_owned),
        pool_guid: list.u64("pool_guid"),
        hostid: list.u64("hostid"),
        hostname: list.text("hostname").map(str::to_owned),
        guid: must("guid")?,
        top_guid: list.u64("top_guid"),
        vdev_children: list.u64("vdev_children").unwrap_or(0),
        holes: list.u64s("hole_array").to_vec(),
        features_for_read: features
            .map(|f| f.0.iter().map(|(name, _)| name.clone()).collect())
            .unwrap_or_default(),
        tree: list.list("vdev_tree").map(vdev).transpose()?,
    })
}

/// A vdev and its children. The depth is bounded by that of the nvlist.
fn vdev(list: &Nvlist) -> Result<Vdev, ParseError> {
    let kind = list.text("type");
    let kind = kind.ok_or_else(|| ParseError::new(WHAT, "a vdev has no type"))?;
    let guid = list.u64("guid");
    let guid = guid.ok_or_else(|| ParseError::new(WHAT, "a vdev has no guid"))?;
    let number = |name: &str| list.u64(name).unwrap_or(0);
    let children: Result<Vec<Vdev>, ParseError> = list.lists("children").iter().map(vdev).collect();
    Ok(Vdev {
        kind: kind.to_owned(),
        id: number("id"),
        guid,
        nparity: number("nparity"),
        path: list.text("path").map(str::to_owned),
        is_log: number("is_log") != 0,
        offline: number("offline") != 0,
        removed: number("removed") != 0,
        faulted: number("faulted") != 0,
        not_present: number("not_present") != 0,
        children: children?,
        ashift: number("ashift"),
        asize: number("asize"),
        create_txg: number("create_txg"),
    })
}
