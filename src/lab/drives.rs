//! Slots and partition tables of the lab machine.

use std::io;

use super::Lab;
use crate::host::{BlockDevice, Drives, Error, Flag, Kind, Result};

fn none() -> Error {
    Error::new(Kind::Refused, "lab", "not modelled")
}

impl Drives for Lab {
    fn open(&self, _provider: &str) -> io::Result<Box<dyn BlockDevice + '_>> {
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn set_flag(&self, _disk: &str, _index: u32, _flag: Flag) -> Result<()> {
        Err(none())
    }

    fn clear_flag(&self, _disk: &str, _index: u32, _flag: Flag) -> Result<()> {
        Err(none())
    }

    fn recover_table(&self, _disk: &str) -> Result<()> {
        Err(none())
    }

    fn select_slice(&self, _disk: &str, _slice: u32) -> Result<()> {
        Err(none())
    }

    fn name_volume(&self, _provider: &str, _name: &str) -> Result<()> {
        Err(none())
    }

    fn check_volume(&self, _provider: &str) -> Result<()> {
        Err(none())
    }
}
