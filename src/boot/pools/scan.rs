//! Reads the ZFS labels of every disk that could carry one.

use std::collections::HashMap;

use crate::boot::osdrive::disk_name;
use crate::format::geom::{Mesh, ProviderId};
use crate::format::zfs_label::{self, Label, PoolState};
use crate::host::{Host, ReadAt, why};

/// OpenZFS uses no device smaller than this (`SPA_MINDEVSIZE`, `sys/fs/zfs.h`).
const SMALLEST: u64 = 64 << 20;
/// Disks read at a time.
const READERS: usize = 8;

/// A device that carries a ZFS label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The provider to open, without `/dev/`: under the name the pool knows it by, if it has that.
    pub provider: String,
    /// The disk it is on, with its serial number.
    pub disk: String,
    /// The disk's serial number.
    pub serial: Option<String>,
    /// What its label says.
    pub label: Label,
}

/// What became of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    Label(Box<Label>),
    Nothing,
    Damaged(String),
}

/// All labels of a machine; devices that were read once are not read again.
#[derive(Debug, Default)]
pub struct Scanner {
    known: HashMap<(String, u64), Reading>,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Devices with a label, in the order of the mesh.
    pub members: Vec<Member>,
    /// Devices that could not be read or whose label is damaged: disk, and why.
    pub damaged: Vec<(String, String)>,
}

impl Scan {
    /// Spare and cache devices, as paths. Their labels name no pool: the pool knows them by GUID.
    pub fn spares(&self) -> Vec<String> {
        let spare =
            |member: &&Member| matches!(member.label.state, PoolState::Spare | PoolState::L2cache);
        self.members
            .iter()
            .filter(spare)
            .map(|member| format!("/dev/{}", member.provider))
            .collect()
    }
}

impl Scanner {
    /// Reads the devices of `mesh` that were not read before, and once more those that could not
    /// be read. Disks are read side by side.
    pub fn scan(&mut self, host: &dyn Host, mesh: &Mesh) -> Scan {
        self.scan_some(host, mesh, &|_| true)
    }

    /// The same for those devices that `wanted` picks.
    pub fn scan_some(
        &mut self,
        host: &dyn Host,
        mesh: &Mesh,
        wanted: &dyn Fn(ProviderId) -> bool,
    ) -> Scan {
        let candidates: Vec<_> = candidates(mesh).into_iter().filter(|id| wanted(*id)).collect();
        self.known.retain(|(name, size), reading| {
            let here = mesh.find(name).map(|id| mesh.provider(id).mediasize);
            here == Some(*size) && !matches!(reading, Reading::Damaged(_))
        });
        let fresh: Vec<_> = candidates
            .iter()
            .map(|id| (*id, mesh.provider(*id)))
            .filter(|(_, p)| !self.known.contains_key(&(p.name.clone(), p.mediasize)))
            .map(|(id, p)| Fresh {
                name: p.name.clone(),
                mediasize: p.mediasize,
                sectorsize: p.sectorsize,
                partitioned: mesh.has_partitions(id),
            })
            .collect();
        let share = fresh.len().div_ceil(READERS).max(1);
        let readings: Vec<_> = std::thread::scope(|scope| {
            let read =
                |part: &[Fresh]| part.iter().map(|fresh| read(host, fresh)).collect::<Vec<_>>();
            let readers: Vec<_> =
                fresh.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
            readers.into_iter().flat_map(|reader| reader.join().unwrap_or_default()).collect()
        });
        let names = fresh.into_iter().map(|fresh| (fresh.name, fresh.mediasize));
        self.known.extend(names.zip(readings));
        self.collect(mesh, &candidates)
    }

    fn collect(&self, mesh: &Mesh, candidates: &[ProviderId]) -> Scan {
        let mut scan = Scan::default();
        for id in candidates {
            let provider = mesh.provider(*id);
            let disk = mesh.provider(mesh.extent(*id).disk);
            match self.known.get(&(provider.name.clone(), provider.mediasize)) {
                Some(Reading::Label(label)) => scan.members.push(Member {
                    provider: preferred_name(mesh, *id, label).to_owned(),
                    disk: disk.name.clone(),
                    serial: disk.ident.clone(),
                    label: (**label).clone(),
                }),
                Some(Reading::Damaged(why)) => {
                    let name = disk_name(&provider.name, disk.ident.as_deref());
                    scan.damaged.push((name, why.clone()));
                }
                Some(Reading::Nothing) | None => {}
            }
        }
        scan
    }
}

/// The providers that may be a vdev, each sector once: not parts of something larger (a mirror, an
/// encrypted device), whose content only looks like theirs.
fn candidates(mesh: &Mesh) -> Vec<ProviderId> {
    let mut seen = std::collections::HashSet::new();
    mesh.iter()
        .filter(|(id, provider)| provider.mediasize >= SMALLEST && !mesh.is_component(*id))
        .filter(|(id, provider)| mesh.names(*id).first() == Some(&provider.name.as_str()))
        .map(|(id, _)| id)
        .filter(|id| seen.insert(mesh.extent(*id)))
        .collect()
}

/// The name the pool used last, if the device still has it; otherwise the plain one.
fn preferred_name<'a>(mesh: &'a Mesh, id: ProviderId, label: &Label) -> &'a str {
    let names = mesh.names(id);
    let leaf =
        label.tree.as_ref().and_then(|tree| tree.leaves().find(|leaf| leaf.guid == label.guid));
    let last =
        leaf.and_then(|leaf| leaf.path.as_deref()).and_then(|path| path.strip_prefix("/dev/"));
    let same = last.and_then(|last| names.iter().find(|name| **name == last));
    same.or(names.first()).copied().unwrap_or_default()
}

/// A device to read.
struct Fresh {
    name: String,
    mediasize: u64,
    sectorsize: u64,
    partitioned: bool,
}

/// What is on a device.
fn read(host: &dyn Host, device: &Fresh) -> Reading {
    match host.device(&device.name).and_then(|read| first_label(&*read, device)) {
        Ok(reading) => reading,
        // One look is enough at a disk that does not answer: it may take seconds each time.
        Err(error) => Reading::Damaged(format!("cannot be read: {}", why(&error))),
    }
}

/// The first sound label of a device. Where there is none, only the ends of the places for one are
/// read.
///
/// OpenZFS writes the even labels, then the uberblock, then the odd ones (`vdev_config_sync`), so
/// a sound label 0 is never older than what the pool has committed. On a disk that has partitions
/// only label 0 counts: those at its end are leftovers from before it was partitioned.
fn first_label(read: &ReadAt<'_>, device: &Fresh) -> std::io::Result<Reading> {
    let mut damage = None;
    let offsets = zfs_label::label_offsets(device.mediasize);
    let order = if device.partitioned { [0].as_slice() } else { [0, 2, 1, 3].as_slice() };
    let (tail, length) = zfs_label::tail(device.sectorsize);
    for offset in order.iter().filter_map(|number| offsets.get(*number)) {
        if !zfs_label::is_there(&read(offset + tail, length)?) {
            continue;
        }
        let bytes = read(offset + zfs_label::NVLIST_OFFSET, zfs_label::NVLIST_SIZE)?;
        match zfs_label::parse(&bytes, *offset) {
            Ok(Some(label)) => return Ok(Reading::Label(Box::new(label))),
            Ok(None) => {}
            Err(error) => damage = Some(error.to_string()),
        }
    }
    Ok(match damage {
        Some(why) if !device.partitioned => Reading::Damaged(why),
        _ => Reading::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What is found on a device with these labels, some of them damaged, and what was read.
    fn found(sound: &[usize], damaged: &[usize], partitioned: bool) -> (&'static str, Vec<usize>) {
        let device =
            Fresh { name: "ada1".to_owned(), mediasize: SMALLEST, sectorsize: 512, partitioned };
        let offsets = zfs_label::label_offsets(SMALLEST);
        let mut content = vec![0; SMALLEST as usize];
        for number in sound.iter().chain(damaged) {
            let label = zfs_label::aside(PoolState::Spare, 7);
            let mut area = zfs_label::encode(&label, offsets[*number]).unwrap();
            if damaged.contains(number) {
                area[200] ^= 1;
            }
            let at = (offsets[*number] + zfs_label::NVLIST_OFFSET) as usize;
            content[at..at + area.len()].copy_from_slice(&area);
        }
        let reads = RefCell::new(Vec::new());
        let read = |offset: u64, length: usize| {
            reads.borrow_mut().push(length >> 10);
            Ok(content[offset as usize..offset as usize + length].to_vec())
        };
        let reading = match first_label(&read, &device).unwrap() {
            Reading::Label(_) => "label",
            Reading::Nothing => "nothing",
            Reading::Damaged(_) => "damaged",
        };
        (reading, reads.into_inner())
    }

    #[test]
    fn no_more_is_read_than_it_takes() {
        assert_eq!(found(&[0, 1, 2, 3], &[], false), ("label", vec![4, 112]));
        assert_eq!(found(&[], &[], false), ("nothing", vec![4, 4, 4, 4]));
        assert_eq!(found(&[], &[], true), ("nothing", vec![4]));
        assert_eq!(found(&[2], &[], true), ("nothing", vec![4]), "left over");
        assert_eq!(found(&[0], &[], true), ("label", vec![4, 112]));
        assert_eq!(found(&[2, 3], &[], false), ("label", vec![4, 4, 112]), "overwritten in front");
        assert_eq!(found(&[1, 2, 3], &[0], false), ("label", vec![4, 112, 4, 112]));
        assert_eq!(found(&[], &[0], false), ("damaged", vec![4, 112, 4, 4, 4]));
        assert_eq!(found(&[], &[0], true), ("nothing", vec![4, 112]));
    }
}
