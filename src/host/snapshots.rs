//! Snapshots and clones of datasets: how an upgrade keeps the data it may have to go back to.

use super::Result;
use crate::format::zfs::{Property, Snapshot};

/// Snapshots, clones, renames. Nothing here destroys anything but [`Snapshots::destroy`], which is
/// called only when an operator asks for it by name.
pub trait Snapshots: Send + Sync {
    /// The snapshots of `root` and of everything below it, oldest first within a dataset; empty
    /// when `root` does not exist.
    fn list(&self, root: &str) -> Result<Vec<Snapshot>>;

    /// Takes snapshots, each `DATASET@NAME`, all of one pool: in one transaction, all or none.
    /// Fails when one of them exists.
    fn take(&self, snapshots: &[String]) -> Result<()>;

    /// Takes the snapshot `DATASET@NAME` with these user properties, in one transaction. Fails when
    /// it exists.
    fn record(&self, snapshot: &str, notes: &[(String, String)]) -> Result<()>;

    /// The values that these user properties were given on the snapshots of `dataset` itself;
    /// nothing inherited.
    fn notes(&self, dataset: &str, names: &[&str]) -> Result<Vec<Property>>;

    /// Renames a dataset with everything below it, in one transaction. What is mounted stays mounted
    /// where it is, under the new name (`zfs rename -u`).
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Makes a dataset of a snapshot, with these properties: a clone inherits none from its origin.
    /// Mounts nothing when `canmount=noauto` is among them. *Two* transactions: when the power goes
    /// between them, the dataset is there without any of the properties.
    fn clone_to(
        &self,
        snapshot: &str,
        dataset: &str,
        properties: &[(String, String)],
    ) -> Result<()>;

    /// Lets a clone and its origin change places (`zfs promote`): the snapshots move to the clone.
    fn promote(&self, dataset: &str) -> Result<()>;

    /// Makes an empty dataset with these properties. Mounts nothing. Two transactions, as with
    /// [`Snapshots::clone_to`].
    fn create(&self, dataset: &str, properties: &[(String, String)]) -> Result<()>;

    /// The properties of `root` and of every file system and volume below it, parents first: those
    /// that are set on the dataset itself, native and user ones, and those that cannot be set
    /// (`type`, `origin`, `used`, ...). Nothing inherited, no defaults. Empty when `root` does not
    /// exist.
    fn properties(&self, root: &str) -> Result<Vec<Property>>;

    /// Destroys a dataset with everything below it, or a snapshot with those of its name below it.
    /// Refused while a clone elsewhere depends on it. One transaction for each dataset, or one for
    /// all snapshots: running it again goes on with it.
    fn destroy(&self, name: &str) -> Result<()>;
}
