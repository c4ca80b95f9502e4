//! The disks of a new pool: what they hold, and why one cannot be used.
//!
//! A disk that may hold anything is refused. Nothing here writes, and nothing is wiped: what to
//! type is said.

use crate::boot::osdrive::{OsDrive, disk_name};
use crate::boot::pools::scan::{Scan, Scanner};
use crate::format::geom::{Mesh, ProviderId};
use crate::format::zfs_label::PoolState;
use crate::host::{Host, why};

/// Bytes at either end of a device that must hold nothing: tables, labels and superblocks are
/// there.
const END: u64 = 1 << 20;
/// OpenZFS takes no smaller device (`SPA_MINDEVSIZE`).
const SMALLEST: u64 = 64 << 20;
/// Names in front of a `/` that name sectors and say nothing of what is in them.
const PLAIN: [&str; 3] = ["diskid", "gptid", "gpt"];

/// A disk that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The provider, as it was typed, without `/dev/`.
    pub provider: String,
    /// What is said of it: serial number, size.
    pub about: String,
}

/// Why a disk cannot be used, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which, and why.
    pub what: String,
    /// What to type, when its owner wants that.
    pub next: Option<String>,
}

/// Everything that is looked at.
pub struct Survey<'a> {
    host: &'a dyn Host,
    mesh: &'a Mesh,
    scan: Scan,
    drive: Option<&'a OsDrive>,
}

impl<'a> Survey<'a> {
    /// Reads the ZFS labels of all disks.
    pub fn new(host: &'a dyn Host, mesh: &'a Mesh, drive: Option<&'a OsDrive>) -> Self {
        Survey { host, mesh, scan: Scanner::default().scan(host, mesh), drive }
    }

    /// The disks that have labels of a pool of this name.
    pub fn disks_of(&self, pool: &str) -> Vec<String> {
        let in_use = |state: PoolState| matches!(state, PoolState::Active | PoolState::Exported);
        self.scan
            .members
            .iter()
            .filter(|one| in_use(one.label.state) && one.label.pool_name.as_deref() == Some(pool))
            .map(|one| one.disk.clone())
            .collect()
    }

    /// The disks of this pool are these, and no other.
    pub fn is_of(&self, guid: u64, names: &[String]) -> bool {
        let named = names.iter().map(|name| self.mesh.find(name.trim_start_matches("/dev/")));
        let Some(named) = named.collect::<Option<Vec<_>>>() else { return false };
        let members = self.scan.members.iter().filter(|one| one.label.pool_guid == Some(guid));
        let members: Option<Vec<_>> = members.map(|one| self.mesh.find(&one.provider)).collect();
        let same = |one: &ProviderId, all: &[ProviderId]| {
            all.iter().any(|other| self.mesh.same_sectors(*one, *other))
        };
        members.is_some_and(|members| {
            named.iter().all(|one| same(one, &members))
                && members.iter().all(|one| same(one, &named))
        })
    }

    /// Looks at each of these; all that are refused are told.
    pub fn examine(&self, names: &[String]) -> Result<Vec<Disk>, Vec<Refused>> {
        let (mut disks, mut refused) = (Vec::new(), Vec::new());
        let mut taken = Vec::<ProviderId>::new();
        for name in names {
            let name = name.trim_start_matches("/dev/");
            let Some(id) = self.mesh.find(name) else {
                refused.push(Refused { what: format!("{name}: no such disk"), next: None });
                continue;
            };
            let twice = taken.iter().find(|other| self.overlap(**other, id));
            let what = match twice {
                Some(other) => {
                    Err((format!("the same disk as {}", self.mesh.provider(*other).name), None))
                }
                None => self.one(id, name),
            };
            taken.push(id);
            match what {
                Ok(about) => disks.push(Disk { provider: name.to_owned(), about }),
                Err((why, next)) => {
                    let disk = self.mesh.provider(self.mesh.extent(id).disk);
                    let serial = disk.ident.as_deref();
                    let what = format!("{}: {why}", disk_name(name, serial));
                    refused.push(Refused { what, next });
                }
            }
        }
        if refused.is_empty() { Ok(disks) } else { Err(refused) }
    }

    fn overlap(&self, one: ProviderId, other: ProviderId) -> bool {
        let (one, other) = (self.mesh.extent(one), self.mesh.extent(other));
        one.disk == other.disk
            && one.offset < other.offset + other.length
            && other.offset < one.offset + one.length
    }

    /// What is said of a disk that can be used; otherwise why it cannot.
    fn one(&self, id: ProviderId, name: &str) -> Result<String, (String, Option<String>)> {
        let mesh = self.mesh;
        let provider = mesh.provider(id);
        let disk = mesh.provider(mesh.extent(id).disk);
        let refuse = |why: &str| Err((why.to_owned(), None));
        if self.drive.is_some_and(|drive| drive.disk == disk.name) {
            return refuse("it is the OS drive, or a part of it");
        }
        let label = self.scan.members.iter().find(|member| {
            mesh.find(&member.provider).is_some_and(|other| mesh.same_sectors(other, id))
        });
        if let Some(label) = label.map(|member| &member.label) {
            let pool = label.pool_name.as_deref().unwrap_or("a pool that is not named");
            let host = label.hostname.as_deref().filter(|host| !host.is_empty());
            let host = host.map(|host| format!(", last used by {host}")).unwrap_or_default();
            let clear = format!("zpool labelclear -f /dev/{name}");
            return Err((format!("it belongs to the pool {pool}{host}"), Some(clear)));
        }
        if mesh.has_partitions(id) {
            let next = Some(format!("gpart destroy -F {name}"));
            return Err(("it has a partition table".to_owned(), next));
        }
        if mesh.is_component(id) {
            return refuse("it is part of a mirror, a stripe or an encrypted device");
        }
        let named = mesh
            .names(id)
            .into_iter()
            .find(|name| name.split_once('/').is_some_and(|(class, _)| !PLAIN.contains(&class)));
        if let Some(named) = named {
            return Err((format!("it holds something: {named}"), Some(zero_first(name))));
        }
        let open = |id: &ProviderId| {
            let access = mesh.provider(*id).access;
            access.r > 0 || access.w > 0 || access.e > 0
        };
        if mesh.aliases(id).iter().any(open) {
            return refuse("it is in use");
        }
        let size = provider.mediasize;
        if size < SMALLEST {
            return refuse("it is smaller than 64 MB");
        }
        let last = size.saturating_sub(END);
        let blocks = last / END;
        let zero_last = format!("dd if=/dev/zero of=/dev/{name} bs=1m oseek={blocks}");
        for (at, place, next) in [(0, "first", zero_first(name)), (last, "last", zero_last)] {
            let length = usize::try_from(END).unwrap_or(usize::MAX);
            match self.host.read_device(&provider.name, at, length) {
                Ok(bytes) if bytes.iter().all(|byte| *byte == 0) && !bytes.is_empty() => {}
                Ok(_) => return Err((format!("its {place} MB holds data"), Some(next))),
                Err(error) => return refuse(&format!("it cannot be read: {}", why(&error))),
            }
        }
        let serial = match &disk.ident {
            Some(serial) => format!("serial {serial}"),
            None => "without a serial number".to_owned(),
        };
        Ok(format!("{serial}, {} MB", size >> 20))
    }
}

fn zero_first(name: &str) -> String {
    format!("dd if=/dev/zero of=/dev/{name} bs=1m count=1")
}

/// The vdev that is asked for, and how many disks it has at least: a kind that zpool(8) knows.
pub fn fewest(kind: &str) -> Option<usize> {
    match kind {
        "disk" => Some(1),
        "mirror" | "raidz1" => Some(2),
        "raidz2" => Some(3),
        "raidz3" => Some(4),
        _ => None,
    }
}

/// Could a pool have this name? The rest is zpool(8)'s business.
pub fn is_name(name: &str) -> bool {
    let reserved = ["mirror", "raidz", "draid", "spare", "log", "cache", "special", "dedup"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(plain)
        && !reserved.iter().any(|word| name.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_zpool_would_take_for_something_else_are_none() {
        for (name, good) in [
            ("tank", true),
            ("data-2", true),
            ("raidz1", false),
            ("mirror0", false),
            ("2tank", false),
            ("-f", false),
            ("tank/nano", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
    }
}
