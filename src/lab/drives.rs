//! gpart(8), boot0cfg(8), tunefs(8) and fsck_ffs(8) of the lab machine.

use std::io;
use std::time::Duration;

use super::Lab;
use super::effects::{Effect, Failure};
use super::machine::{Damage, Disk, Loader, Part, Scheme};
use super::providers::Provider;
use super::slots::{OpenSlot, Pending};
use crate::host::{BlockDevice, Drives, Error, Flag, Kind, Result};

/// What changing a table takes.
const TABLE: Duration = Duration::from_millis(60);
/// Reading all of the metadata takes longer.
const CHECK: Duration = Duration::from_secs(2);
/// None of these programs takes that long.
const LIMIT: Duration = Duration::from_secs(30);

impl Drives for Lab {
    fn open(&self, provider: &str) -> io::Result<Box<dyn BlockDevice + '_>> {
        let (at, size) = self.lock().open_slot(provider)?;
        Ok(Box::new(OpenSlot { lab: self, name: provider.to_owned(), at, size }))
    }

    fn set_flag(&self, disk: &str, index: u32, flag: Flag) -> Result<()> {
        self.lock().gpart("set", disk, index, flag)
    }

    fn clear_flag(&self, disk: &str, index: u32, flag: Flag) -> Result<()> {
        self.lock().gpart("unset", disk, index, flag)
    }

    fn recover_table(&self, disk: &str) -> Result<()> {
        let mut inner = self.lock();
        inner.table("gpart", format!("recover {disk}"), disk, &|disk| {
            disk.table_ok = true;
            Ok(())
        })
    }

    fn select_slice(&self, disk: &str, slice: u32) -> Result<()> {
        let mut inner = self.lock();
        inner.table("boot0cfg", format!("-s {slice} {disk}"), disk, &|disk| {
            if disk.loader != Loader::Boot0 {
                return Err("unknown or incompatible boot code");
            }
            disk.default_slice = slice;
            Ok(())
        })
    }

    fn name_volume(&self, provider: &str, name: &str) -> Result<()> {
        let words = format!("-L {name} /dev/{provider}");
        let mut inner = self.lock();
        inner.on_volume("tunefs", words, provider, TABLE, &|part| {
            name.clone_into(&mut part.ufs_label);
        })
    }

    fn check_volume(&self, provider: &str) -> Result<()> {
        let words = format!("-n /dev/{provider}");
        self.lock().on_volume("fsck_ffs", words, provider, CHECK, &|_| {})
    }

    fn repair_volume(&self, provider: &str, _limit: Duration) -> Result<()> {
        self.lock().repair(provider)
    }

    fn flush_volume(&self, provider: &str) -> Result<()> {
        self.lock().gate_host(Effect::new("flush", provider), LIMIT)
    }
}

fn refused(doing: &str, why: &str) -> Error {
    Error::new(Kind::Refused, doing, why)
}

impl super::Inner {
    /// Runs a program that changes something, up to where it does.
    fn run_program(
        &mut self,
        program: &'static str,
        words: &str,
        takes: Duration,
    ) -> Result<String> {
        let doing = format!("{program} {words}");
        if let Some(how) = self.program(program) {
            return Err(self.failed(&how, &doing, LIMIT));
        }
        self.machine.uptime += takes;
        match self.gate(Effect::new(program, words)) {
            None => Ok(doing),
            // A program says so in its own words.
            Some(Failure::Errno(number)) => {
                let why = crate::host::why(&io::Error::from_raw_os_error(number));
                Err(refused(&doing, &format!("{program}: {why}")))
            }
            Some(how) => Err(self.failed(&how, &doing, LIMIT)),
        }
    }

    fn gpart(&mut self, verb: &str, disk: &str, index: u32, flag: Flag) -> Result<()> {
        let words = format!("{verb} -a {} -i {index} {disk}", flag.name());
        self.table("gpart", words, disk, &|disk| {
            let fits = (disk.scheme == Scheme::Gpt) == (flag != Flag::Active);
            if disk.scheme == Scheme::None || !fits {
                return Err("Invalid argument");
            }
            if !disk.parts.iter().any(|part| part.index == index) {
                return Err("No such partition");
            }
            for part in &mut disk.parts {
                let mut mark = |flag: Flag, on: bool| {
                    part.attributes.retain(|name| name != flag.name());
                    if on {
                        part.attributes.push(flag.name().to_owned());
                    }
                };
                match (part.index == index, verb) {
                    (true, "set") => {
                        mark(flag, true);
                        if flag == Flag::BootOnce {
                            mark(Flag::BootMe, true);
                        }
                    }
                    (true, _) => mark(flag, false),
                    (false, "set") if flag == Flag::Active => mark(flag, false),
                    (false, _) => {}
                }
            }
            Ok(())
        })
    }

    /// Changes a partition table or the sector that it is in. A GPT is written twice, its second
    /// copy after the first; then the drive's cache is flushed.
    fn table(
        &mut self,
        program: &'static str,
        words: String,
        name: &str,
        change: &dyn Fn(&mut Disk) -> std::result::Result<(), &'static str>,
    ) -> Result<()> {
        let doing = self.run_program(program, &words, TABLE)?;
        let there = |disk: &Disk| self.machine.present(disk) && disk.device == name;
        let Some(at) = self.machine.disks.iter().position(there) else {
            return Err(refused(&doing, &format!("{program}: arg0 '{name}': Invalid argument")));
        };
        let Some(disk) = self.machine.disks.get_mut(at) else { return Ok(()) };
        if !disk.table_ok && !words.starts_with("recover") {
            let why = format!("gpart: table '{name}' is corrupt: Operation not permitted");
            return Err(refused(&doing, &why));
        }
        let before = Box::new(disk.clone());
        change(disk).map_err(|why| refused(&doing, &format!("{program}: {why}")))?;
        let (id, twice) = (disk.id.clone(), disk.scheme == Scheme::Gpt);
        self.machine.pending.push(Pending::Table { before, half: twice });
        if twice {
            let written = self.gate_host(Effect::new("backup-table", name), LIMIT);
            if written.is_err() {
                self.flushed(&id);
                if let Some(disk) = self.machine.disks.get_mut(at) {
                    disk.table_ok = false;
                }
                return written;
            }
            if let Some(Pending::Table { half, .. }) = self.machine.pending.last_mut() {
                *half = false;
            }
        }
        self.gate_host(Effect::new("flush", name), LIMIT)?;
        self.flushed(&id);
        Ok(())
    }

    /// `fsck_ffs -p -f`.
    fn repair(&mut self, name: &str) -> Result<()> {
        let words = format!("-p -f /dev/{name}");
        self.on_volume("fsck_ffs", words.clone(), name, CHECK, &|_| {})?;
        let refuse = |why: &str| Err(refused(&format!("fsck_ffs {words}"), why));
        let part = self.provider(name).and_then(|provider| self.part_of(&provider).cloned());
        let tree = part.and_then(|part| part.tree);
        if self.machine.mounts.iter().any(|one| Some(&one.tree) == tree.as_ref()) {
            return refuse("NO WRITE ACCESS");
        }
        match tree.and_then(|tree| self.machine.trees.get_mut(&tree)) {
            Some(tree) if tree.damage == Damage::Hopeless => refuse("DIRECTORY CORRUPTED  I=2"),
            Some(tree) => {
                (tree.unclean, tree.damage) = (false, Damage::None);
                Ok(())
            }
            None => refuse("BAD SUPER BLOCK: MAGIC NUMBER WRONG"),
        }
    }

    /// Runs a program on the UFS of a provider that is not mounted.
    fn on_volume(
        &mut self,
        program: &'static str,
        words: String,
        name: &str,
        takes: Duration,
        change: &dyn Fn(&mut Part),
    ) -> Result<()> {
        let doing = self.run_program(program, &words, takes)?;
        let Some(provider) = self.provider(name) else {
            return Err(refused(&doing, &format!("{program}: {name}: No such file or directory")));
        };
        let good = |part: &&Part| part.tree.is_some() && !part.raw;
        let has_ufs = |provider: &Provider| {
            self.part_of(provider).is_some_and(|part| good(&part) && part.bsd == provider.inner)
        };
        if !has_ufs(&provider) {
            return Err(refused(&doing, &format!("{program}: {name}: could not find superblock")));
        }
        let tree = self.part_of(&provider).and_then(|part| part.tree.clone());
        let mounted = |one: &super::machine::Mounted| Some(&one.tree) == tree.as_ref();
        if program == "tunefs" && self.machine.mounts.iter().any(mounted) {
            return Err(refused(&doing, "tunefs: /dev: failed to open disk for writing"));
        }
        let disk = self.machine.disks.get_mut(provider.disk);
        let parts = disk.into_iter().flat_map(|disk| &mut disk.parts);
        for part in parts.filter(|part| Some(part.index) == provider.part) {
            change(part);
        }
        Ok(())
    }
}
