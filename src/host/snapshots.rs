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

    /// Renames a dataset with everything below it, in one transaction. [`super::Kind::Busy`] when it
    /// cannot be unmounted and its mount point would change.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Makes a dataset of a snapshot, with these properties: a clone inherits none from its origin.
    /// Mounts nothing.
    fn clone_to(
        &self,
        snapshot: &str,
        dataset: &str,
        properties: &[(String, String)],
    ) -> Result<()>;

    /// Lets a clone and its origin change places (`zfs promote`): the snapshots move to the clone.
    fn promote(&self, dataset: &str) -> Result<()>;

    /// Makes an empty dataset with these properties. Mounts nothing.
    fn create(&self, dataset: &str, properties: &[(String, String)]) -> Result<()>;

    /// The properties that are set on `dataset` itself, native and user ones; nothing inherited.
    fn local_properties(&self, dataset: &str) -> Result<Vec<Property>>;

    /// Destroys a dataset with everything below it, or a snapshot.
    fn destroy(&self, name: &str) -> Result<()>;
}
