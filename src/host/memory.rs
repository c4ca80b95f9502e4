//! A file system in memory: tmpfs(5), or, in a kernel without it, md(4) with a new UFS.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::command::{Command, Runner};
use crate::sys;

const NEWFS: &str = "/sbin/newfs";
const NEWFS_LIMIT: Duration = Duration::from_secs(120);

/// Mounts one of `bytes` on `at`. A memory disk whose file system cannot be made is taken away
/// again.
pub(super) fn mount(runner: &dyn Runner, at: &Path, bytes: u64) -> Result<()> {
    let (size, mode) = (bytes.to_string(), "755");
    let options = [("size", Some(size.as_str())), ("mode", Some(mode))];
    match sys::mount::nmount("tmpfs", "tmpfs", at, false, &options) {
        Ok(()) => return Ok(()),
        Err(error) => log::info!("tmpfs: {error}: trying a memory disk"),
    }
    let unit = sys::md::attach(bytes).context("no memory disk")?;
    let mounted = on_md(runner, at, unit);
    if mounted.is_err()
        && let Err(error) = sys::md::detach(unit)
    {
        log::warn!("{error}");
    }
    mounted
}

fn on_md(runner: &dyn Runner, at: &Path, unit: u32) -> Result<()> {
    let device = format!("/dev/md{unit}");
    let command = Command::new(NEWFS, NEWFS_LIMIT).args(["-U", &device]);
    runner.run(&command)?.ok(&command)?;
    sys::mount::nmount("ufs", &device, at, false, &[]).context("no file system in memory")
}
