//! Keeping what a guest printed, in the form of the fixtures: they are copied to
//! `tests/fixtures/freebsd-RELEASE/guest` by hand, when they say something new.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::player::Player;

/// Where the kernel is through.
const KERNEL_DONE: &str = "Trying to mount root";
/// Where what a program says on standard error goes meanwhile.
const ERRORS: &str = "/var/run/vm-errors";

impl Player<'_> {
    fn records(&self) -> Result<PathBuf> {
        let site = self.site;
        let directory = site.work.join(format!("recorded/freebsd-{}", site.world.release));
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// A transcript of one command: `NAME.cmd`, `NAME.out`, `NAME.err`, `NAME.rc`.
    pub(crate) fn record(&self, name: &str, command: &str) -> Result<()> {
        let ran = self.sh(&format!("{command} 2>{ERRORS}"))?;
        let errors = self.sh(&format!("cat {ERRORS}; rm {ERRORS}"))?;
        let directory = self.records()?;
        let parts = [
            ("cmd", format!("{command}\n")),
            ("out", ran.output),
            ("err", errors.output),
            ("rc", format!("{}\n", ran.exit)),
        ];
        for (part, text) in parts {
            fs::write(directory.join(format!("{name}.{part}")), text)?;
        }
        Ok(())
    }

    /// The console of the last boot: `NAME.console`.
    pub(crate) fn record_console(&self, name: &str) -> Result<()> {
        let guest = self.guest.as_ref().context("it has no power")?;
        let text = guest.console.text(0);
        let from = text.find(KERNEL_DONE).unwrap_or(0);
        let text = text.get(from..).unwrap_or_default();
        Ok(fs::write(self.records()?.join(format!("{name}.console")), text)?)
    }
}
