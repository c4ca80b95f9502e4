//! Services, network and restart of the lab machine.

use std::path::Path;
use std::time::Duration;

use super::Lab;
use crate::host::{Ended, Error, Interface, Kind, Result, Services};

fn none() -> Error {
    Error::new(Kind::Refused, "lab", "not modelled")
}

impl Services for Lab {
    fn console_log(&self) -> Result<Vec<u8>> {
        Err(none())
    }

    fn settings(&self) -> Result<Vec<(String, String)>> {
        Err(none())
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        Err(none())
    }

    fn has_default_route(&self) -> Result<bool> {
        Err(none())
    }

    fn run(&self, _executable: &Path, _limit: Duration) -> Result<Ended> {
        Err(none())
    }

    fn guard(&self, _deadline: Duration) -> Result<()> {
        Err(none())
    }

    fn stand_down(&self) -> Result<bool> {
        Err(none())
    }

    fn reboot(&self) -> Result<()> {
        Err(none())
    }
}
