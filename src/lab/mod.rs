//! The lab: an appliance that lives in a directory and behaves.
//!
//! Disks, GEOM, pools, mounts and time are modelled; `/etc`, `/cfg`, `/var` and the image slots are
//! real files below the lab's directory, so that they can be looked at with any tool. Everything
//! that changes the machine passes one gate ([`effects`]), which is where faults are injected and
//! where the power goes. What was not synced by then may be lost ([`unsynced`]).
//!
//! The lab runs unprivileged, on any system, and is no part of the installed executable.

#[cfg(test)]
mod boots;
mod build;
mod check;
pub mod cuts;
mod disks;
mod drives;
mod effects;
mod files;
mod geom;
mod grammar;
mod history;
mod host;
mod image;
mod labels;
mod loader;
pub mod machine;
mod mounts;
mod paths;
mod people;
pub mod play;
mod pools;
mod power;
mod providers;
mod releases;
mod services;
pub mod shell;
mod slots;
mod snapshots;
mod state;
pub mod statement;
pub mod story;
#[cfg(test)]
mod tests;
mod tree;
mod unsynced;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use disks::OsDrive;
use effects::Run;
pub use effects::{Cut, Failure, Fault, Hung, Plan, PowerCut, Target};
use machine::Machine;
pub use state::State;
pub use tree::Thing;

/// The file in the lab's directory that holds the machine.
const MACHINE: &str = "machine.json";

/// A machine in a directory.
#[derive(Debug)]
pub struct Lab {
    root: PathBuf,
    inner: Mutex<Inner>,
}

/// What the lab keeps in memory.
#[derive(Debug)]
pub(crate) struct Inner {
    /// The lab's directory.
    pub(crate) root: PathBuf,
    /// The machine itself.
    pub(crate) machine: Machine,
    /// The run of nanozfs that is under way.
    pub(crate) run: Run,
}

impl Lab {
    /// A machine without anything, in the empty directory `root`.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    pub fn create(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        Ok(Lab::with(root, Machine::default()))
    }

    /// The machine that [`Lab::save`] left in `root`.
    ///
    /// # Errors
    ///
    /// When there is none, or its file is damaged.
    pub fn open(root: &Path) -> io::Result<Self> {
        let text = std::fs::read(root.join(MACHINE))?;
        let machine = serde_json::from_slice(&text)?;
        Ok(Lab::with(root, machine))
    }

    /// True when `root` holds a machine.
    pub fn exists(root: &Path) -> bool {
        root.join(MACHINE).is_file()
    }

    /// Writes the machine down, so that another process can go on with it.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    pub fn save(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.lock().machine)?;
        let new = self.root.join("machine.new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, self.root.join(MACHINE))
    }

    /// The same machine once more, in the directory `root`, which is made.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    pub fn copy_to(&self, root: &Path) -> io::Result<Self> {
        let machine = self.lock().machine.clone();
        tree::copy(&self.root, root)?;
        Ok(Lab::with(root, machine))
    }

    /// The lab's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn with(root: &Path, machine: Machine) -> Self {
        let root = root.to_path_buf();
        let inner = Inner { root: root.clone(), machine, run: Run::default() };
        Lab { root, inner: Mutex::new(inner) }
    }

    /// The machine. A power cut unwinds through this lock and leaves nothing half-done behind, so
    /// a poisoned lock means nothing here.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
