//! Power on, power off, and what the kernel and rc.initdiskless do before rc starts us.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::tree::{Thing, plain};
use super::{Cut, Inner, Lab};
use crate::host::FileKind;

/// From power-on until rc starts us.
const KERNEL: Duration = Duration::from_secs(5);

impl Lab {
    /// Switches the machine on: when this comes back, rc is about to start nanozfs.
    ///
    /// # Errors
    ///
    /// When nothing starts: the machine is off again.
    pub fn power_on(&self) -> io::Result<()> {
        let mut inner = self.lock();
        match inner.machine.on {
            true => Ok(()),
            false => {
                let root = inner.power_up(false)?;
                inner.diskless(&root)
            }
        }
    }

    /// Switches the machine on in single-user mode: a read-only `/` and `/dev`, and no more. What
    /// rc.initdiskless and rc.d/root do comes after it.
    ///
    /// # Errors
    ///
    /// When there is nothing to start from.
    pub fn single_user(&self) -> io::Result<()> {
        self.lock().power_up(true).map(drop)
    }

    /// The power goes, and comes not back by itself.
    ///
    /// # Errors
    ///
    /// When the lab's directory cannot be written to.
    pub fn power_cut(&self, cut: Cut) -> io::Result<()> {
        let mut inner = self.lock();
        inner.lose(cut)?;
        inner.off()
    }

    /// Nothing waits to be written: whenever the power goes now, the same is on the disks.
    pub fn is_all_on_disk(&self) -> bool {
        let inner = self.lock();
        inner.machine.unsynced.is_empty() && inner.machine.pending.is_empty()
    }

    /// An orderly shutdown: everything is written, and no pool is exported, as rc does it.
    ///
    /// # Errors
    ///
    /// When the lab's directory cannot be written to.
    pub fn shutdown(&self) -> io::Result<()> {
        let mut inner = self.lock();
        for mounted in inner.machine.mounts.clone() {
            inner.leave_clean(&mounted);
        }
        drop(inner);
        self.power_cut(Cut::Kept)
    }
}

impl Inner {
    /// The loader and the kernel: `/` and `/dev`. The file system of `/`.
    fn power_up(&mut self, single_user: bool) -> io::Result<String> {
        let machine = &mut self.machine;
        machine.on = true;
        machine.uptime = KERNEL;
        machine.said.clear();
        for disk in &mut machine.disks {
            // Those that are late are late for rc; all others are there before it.
            disk.appears = if disk.after.is_zero() { Duration::ZERO } else { KERNEL + disk.after };
        }
        let (name, tree) = match self.load() {
            Ok(root) => root,
            Err(why) => {
                self.machine.on = false;
                return Err(io::Error::other(why));
            }
        };
        let machine = &mut self.machine;
        machine.kenv.insert("vfs.root.mountfrom".to_owned(), format!("ufs:/dev/{name}"));
        let loader = std::mem::take(&mut machine.loader);
        machine.kenv.extend(loader);
        let read_only = single_user || !machine.start.root_writable;
        self.show("ufs", &format!("/dev/{name}"), &tree, PathBuf::from("/"), read_only);
        self.devices()?;
        Ok(tree)
    }

    /// `/dev`, with the nodes that every system has.
    fn devices(&mut self) -> io::Result<()> {
        let tree = self.memory(0)?;
        for (name, mode) in [("null", 0o666), ("zero", 0o666), ("console", 0o600)] {
            let thing = Thing::Special(FileKind::Device);
            self.put(&tree, Path::new(name), &thing, plain(mode))?;
        }
        self.show("devfs", "devfs", &tree, PathBuf::from("/dev"), false);
        Ok(())
    }

    /// rc.initdiskless: `/etc` in memory, from `/conf/base/etc` and then `/conf/default/etc`.
    fn diskless(&mut self, root: &str) -> io::Result<()> {
        let base = Path::new("conf/base/etc");
        let Some(bytes) = self.machine.start.memory_etc else { return Ok(()) };
        if !self.real(root, base).is_dir() {
            return Ok(());
        }
        let etc = self.memory(bytes)?;
        for from in [base, Path::new("conf/default/etc")] {
            if self.real(root, from).is_dir() {
                self.copy_tree((root, from), (&etc, Path::new("")))?;
            }
        }
        self.show("tmpfs", "tmpfs", &etc, PathBuf::from("/etc"), false);
        Ok(())
    }

    /// Everything that needs power is gone.
    fn off(&mut self) -> io::Result<()> {
        self.services_stop();
        let machine = &mut self.machine;
        machine.before += machine.uptime;
        machine.uptime = Duration::ZERO;
        machine.on = false;
        machine.under_rc = false;
        machine.mounts.clear();
        machine.kenv.clear();
        machine.in_use.clear();
        for part in machine.disks.iter_mut().flat_map(|disk| &mut disk.parts) {
            part.tasted = Duration::ZERO;
        }
        for pool in &mut machine.pools {
            pool.imported = false;
            for leaf in pool.tops.iter_mut().flat_map(|top| &mut top.leaves) {
                leaf.opened = None;
            }
        }
        machine.trees.retain(|_, tree| !tree.memory);
        let memory = self.root.join("memory");
        if memory.is_dir() { std::fs::remove_dir_all(memory) } else { Ok(()) }
    }
}
