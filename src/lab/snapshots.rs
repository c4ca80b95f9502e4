//! Snapshots and clones of the lab machine's datasets.

use super::Lab;
use crate::format::zfs::{Property, Snapshot};
use crate::host::{Error, Kind, Result, Snapshots};

fn none() -> Error {
    Error::new(Kind::Refused, "lab", "not modelled")
}

impl Snapshots for Lab {
    fn list(&self, _root: &str) -> Result<Vec<Snapshot>> {
        Err(none())
    }

    fn take(&self, _snapshots: &[String]) -> Result<()> {
        Err(none())
    }

    fn rename(&self, _from: &str, _to: &str) -> Result<()> {
        Err(none())
    }

    fn clone_to(&self, _s: &str, _d: &str, _p: &[(String, String)]) -> Result<()> {
        Err(none())
    }

    fn promote(&self, _dataset: &str) -> Result<()> {
        Err(none())
    }

    fn create(&self, _dataset: &str, _properties: &[(String, String)]) -> Result<()> {
        Err(none())
    }

    fn local_properties(&self, _dataset: &str) -> Result<Vec<Property>> {
        Err(none())
    }

    fn destroy(&self, _name: &str) -> Result<()> {
        Err(none())
    }
}
