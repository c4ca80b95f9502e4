//! Which slot boots: what the drive says about it, and how it is changed.
//!
//! On GPT gptboot(8) decides by the attributes `bootme` and `bootonce`; on MBR the active slice
//! does, because boot1 loads from it whatever slice boot0 started. boot0's default says on MBR
//! what is settled: a start of the active slice that is not the default is a trial. So the drive
//! alone tells what a boot is, before any pool is there.
//!
//! The sequences are pure. Each leads from any state to its own end, each of its steps is one
//! write, and once a step made the promised slot the one that boots, no later step undoes that.

use std::fmt;

use crate::boot::osdrive::{OsDrive, Role};
use crate::format::boot0::{self, Boot0};
use crate::format::geom::{Mesh, ProviderId};
use crate::host::{Error, Flag, Host, Kind, Result};

mod loader;
mod sequence;

#[cfg(test)]
#[cfg(feature = "lab")]
mod power_cuts;
#[cfg(test)]
mod tests;

pub use loader::unfit;
pub use sequence::{arm, begin_trial, is_trial, next_boot, settle};

/// A kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// gptboot(8) or gptboot.efi(8) starts a slot; a slot is a partition.
    Gpt,
    /// boot0 starts a slot; a slot is a slice that holds a BSD label.
    Mbr,
}

/// The slots, in the order in which they lie on the drive.
pub const SLOTS: [Role; 2] = [Role::SlotA, Role::SlotB];

/// The slot that is not `role`.
pub fn opposite(role: Role) -> Role {
    if role == Role::SlotA { Role::SlotB } else { Role::SlotA }
}

/// A set of [`Flag`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// All flags, in the order in which they are shown.
    const ALL: [Flag; 4] = [Flag::BootMe, Flag::BootOnce, Flag::BootFailed, Flag::Active];

    /// True when the flag is among them.
    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }

    /// These and the flag.
    #[must_use]
    pub fn with(self, flag: Flag) -> Flags {
        Flags(self.0 | 1 << flag as u8)
    }

    /// These but for the flag.
    #[must_use]
    pub fn without(self, flag: Flag) -> Flags {
        Flags(self.0 & !(1 << flag as u8))
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Flags::ALL.into_iter().filter(|flag| self.has(*flag)).map(Flag::name).collect();
        write!(f, "[{}]", names.join(","))
    }
}

/// A slot in the partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number in the table, from 1.
    pub index: u32,
    /// What the table says about booting it.
    pub flags: Flags,
}

/// Everything on the OS drive that decides which slot boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The disk: `ada0`.
    pub disk: String,
    /// Its partition table.
    pub scheme: Scheme,
    /// Both copies of the table are good. When not, the kernel refuses every change but its repair.
    pub table_ok: bool,
    /// Slot A.
    pub a: Slot,
    /// Slot B.
    pub b: Slot,
    /// What the loader takes when nothing is marked: the first partition of the right type. `None`
    /// when that is no slot.
    pub first: Option<Role>,
    /// boot0, where sector 0 holds one.
    pub boot0: Option<Boot0>,
}

/// A change of a [`Selection`], one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectAction {
    /// Makes both copies of the table good.
    Recover,
    /// Sets a flag of a slot.
    Set(Role, Flag),
    /// Takes a flag from a slot.
    Clear(Role, Flag),
    /// Makes a slot boot0's default.
    Default(Role),
}

impl Selection {
    /// Reads it. An error when the drive has not two slots, or cannot be read.
    pub fn read(host: &dyn Host, mesh: &Mesh, drive: &OsDrive) -> Result<Selection> {
        let disk = &drive.disk;
        let wrong = |why: &str| Error::new(Kind::NotFound, format!("slots of {disk}"), why);
        let slot = |role| {
            let id = whole_slot(mesh, drive, role)?;
            let partition = mesh.provider(id).partition.as_ref()?;
            let set = Flags::ALL.into_iter().filter(|flag| partition.has(flag.name()));
            let flags = set.fold(Flags::default(), Flags::with);
            Some((partition, Slot { index: partition.index, flags }))
        };
        let (Some((table, a)), Some((_, b))) = (slot(Role::SlotA), slot(Role::SlotB)) else {
            return Err(wrong("there are not two of them"));
        };
        let scheme = if table.scheme == "GPT" { Scheme::Gpt } else { Scheme::Mbr };
        let first = bootable(mesh, disk).min_by_key(|(_, index)| *index).map(|(_, index)| index);
        let boot0 = match scheme {
            Scheme::Gpt => None,
            Scheme::Mbr => {
                let sector = mesh.find(disk).map_or(0, |id| mesh.provider(id).sectorsize);
                let length = usize::try_from(sector).unwrap_or_default().max(512);
                let read = host.read_device(disk, 0, length);
                boot0::parse(&read.map_err(|error| Error::io(format!("read {disk}"), &error))?)
            }
        };
        Ok(Selection {
            disk: disk.clone(),
            scheme,
            table_ok: table.table_ok,
            first: SLOTS
                .into_iter()
                .zip([a, b])
                .find_map(|(role, slot)| (Some(slot.index) == first).then_some(role)),
            a,
            b,
            boot0,
        })
    }

    /// The slot of this role.
    pub fn slot(&self, role: Role) -> Slot {
        if role == Role::SlotA { self.a } else { self.b }
    }

    /// True when the slot has the flag.
    pub fn has(&self, role: Role, flag: Flag) -> bool {
        self.slot(role).flags.has(flag)
    }

    /// The slot that boot0 starts by itself.
    pub fn default(&self) -> Option<Role> {
        let default = self.boot0?.default;
        SLOTS.into_iter().find(|role| self.slot(*role).index == default)
    }

    /// What it is after `action`.
    #[must_use]
    pub fn after(&self, action: SelectAction) -> Selection {
        let mut new = self.clone();
        match action {
            SelectAction::Recover => new.table_ok = true,
            SelectAction::Set(role, flag) => {
                if flag == Flag::Active {
                    new.flags(opposite(role), |flags| flags.without(flag));
                }
                new.flags(role, |flags| {
                    let flags = flags.with(flag);
                    if flag == Flag::BootOnce { flags.with(Flag::BootMe) } else { flags }
                });
            }
            SelectAction::Clear(role, flag) => new.flags(role, |flags| flags.without(flag)),
            SelectAction::Default(role) => {
                let slice = self.slot(role).index;
                new.boot0 = self.boot0.map(|boot0| Boot0 { default: slice, ..boot0 });
            }
        }
        new
    }

    fn flags(&mut self, role: Role, change: impl Fn(Flags) -> Flags) {
        let slot = if role == Role::SlotA { &mut self.a } else { &mut self.b };
        slot.flags = change(slot.flags);
    }

    /// The line that a person would type for `action`.
    pub fn command(&self, action: SelectAction) -> String {
        let disk = &self.disk;
        let attribute = |verb, role, flag: Flag| {
            format!("gpart {verb} -a {} -i {} {disk}", flag.name(), self.slot(role).index)
        };
        match action {
            SelectAction::Recover => format!("gpart recover {disk}"),
            SelectAction::Set(role, flag) => attribute("set", role, flag),
            SelectAction::Clear(role, flag) => attribute("unset", role, flag),
            SelectAction::Default(role) => {
                format!("boot0cfg -s {} {disk}", self.slot(role).index)
            }
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot A {}, slot B {}", self.a.flags, self.b.flags)?;
        if let Some(boot0) = self.boot0 {
            write!(f, ", boot0 F{}", boot0.default)?;
        }
        if !self.table_ok {
            f.write_str(", table CORRUPT")?;
        }
        Ok(())
    }
}

/// Does `actions`, and after each reads the drive again: it must be as the action makes it, or
/// nothing more is done. The drive as it is at the end.
pub fn perform(
    host: &dyn Host,
    drive: &OsDrive,
    mut now: Selection,
    actions: &[SelectAction],
) -> Result<Selection> {
    let drives = host.drives();
    for action in actions {
        let disk = &now.disk;
        match *action {
            SelectAction::Recover => drives.recover_table(disk),
            SelectAction::Set(role, flag) => drives.set_flag(disk, now.slot(role).index, flag),
            SelectAction::Clear(role, flag) => drives.clear_flag(disk, now.slot(role).index, flag),
            SelectAction::Default(role) => drives.select_slice(disk, now.slot(role).index),
        }?;
        let wanted = now.after(*action);
        let nonsense = |why: String| Error::new(Kind::Nonsense, now.command(*action), why);
        let mesh = Mesh::parse(&host.geom()?).map_err(|error| nonsense(error.to_string()))?;
        let found = Selection::read(host, &mesh, drive)?;
        if found != wanted {
            return Err(nonsense(format!("then there was {found}, not {wanted}")));
        }
        now = found;
    }
    Ok(now)
}

/// The whole of a slot: the partition on GPT, the slice on MBR, whatever is in it.
///
/// A slot that is being written has neither a BSD label nor a UFS label: on MBR its place is enough,
/// and on GPT it is the one UFS partition of the running slot's size that is nothing else.
pub fn whole_slot(mesh: &Mesh, drive: &OsDrive, role: Role) -> Option<ProviderId> {
    let disk = drive.disk.as_str();
    let table = |id| mesh.provider(id).partition.as_ref();
    let known = drive.parts.get(&role).and_then(|name| mesh.find(name));
    match known.and_then(table).map(|partition| partition.scheme.as_str()) {
        Some("BSD") => return mesh.parent(known?),
        Some(_) => return known,
        None => {}
    }
    let slice = if role == Role::SlotA { 1 } else { 2 };
    let at = bootable(mesh, disk).find(|(id, index)| {
        *index == slice && table(*id).is_some_and(|partition| partition.scheme == "MBR")
    });
    if let Some((id, _)) = at {
        return Some(id);
    }
    let other =
        drive.parts.get(&opposite(role)).and_then(|name| mesh.find(name)).and_then(table)?;
    let unnamed = |id: &ProviderId| {
        let name = &mesh.provider(*id).name;
        let alike = table(*id).is_some_and(|partition| partition.length == other.length);
        alike && drive.parts.values().all(|part| part != name)
    };
    let mut found = bootable(mesh, disk).map(|(id, _)| id).filter(unnamed);
    found.next().filter(|_| other.scheme == "GPT" && found.next().is_none())
}

/// What the loader may take for a slot: GPT partitions with a UFS, FreeBSD slices.
fn bootable<'a>(mesh: &'a Mesh, disk: &str) -> impl Iterator<Item = (ProviderId, u32)> + use<'a> {
    let disk = mesh.find(disk);
    mesh.iter().filter_map(move |(id, provider)| {
        let partition = provider.partition.as_ref()?;
        let kind = match partition.scheme.as_str() {
            "GPT" => "freebsd-ufs",
            "MBR" => "freebsd",
            _ => return None,
        };
        (mesh.parent(id) == disk && partition.kind == kind).then_some((id, partition.index))
    })
}
