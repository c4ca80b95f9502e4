//! Snapshots and clones of the real machine.

use super::FreeBsd;
use crate::format::zfs::{Property, Snapshot};
use crate::host::programs::snapshots as zfs;
use crate::host::{Result, Snapshots};

impl Snapshots for FreeBsd {
    fn list(&self, root: &str) -> Result<Vec<Snapshot>> {
        zfs::list(&*self.runner, root)
    }

    fn take(&self, snapshots: &[String]) -> Result<()> {
        zfs::take(&*self.runner, snapshots)
    }

    fn record(&self, snapshot: &str, notes: &[(String, String)]) -> Result<()> {
        zfs::record(&*self.runner, snapshot, notes)
    }

    fn notes(&self, dataset: &str, names: &[&str]) -> Result<Vec<Property>> {
        zfs::notes(&*self.runner, dataset, names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        zfs::rename(&*self.runner, from, to)
    }

    fn clone_to(
        &self,
        snapshot: &str,
        dataset: &str,
        properties: &[(String, String)],
    ) -> Result<()> {
        zfs::clone(&*self.runner, snapshot, dataset, properties)
    }

    fn promote(&self, dataset: &str) -> Result<()> {
        zfs::promote(&*self.runner, dataset)
    }

    fn create(&self, dataset: &str, properties: &[(String, String)]) -> Result<()> {
        zfs::create(&*self.runner, dataset, properties)
    }

    fn properties(&self, root: &str) -> Result<Vec<Property>> {
        zfs::properties(&*self.runner, root)
    }

    fn destroy(&self, name: &str) -> Result<()> {
        zfs::destroy(&*self.runner, name)
    }
}
