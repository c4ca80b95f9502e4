//! Disks and partitions: `sys/disk.h`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use libc::{c_uint, off_t};

use super::cannot;

mod request {
    use super::{c_uint, off_t};

    nix::ioctl_read!(sector_size, b'd', 128, c_uint);
    nix::ioctl_read!(media_size, b'd', 129, off_t);
    nix::ioctl_none!(flush, b'd', 135);
}

/// Bytes of a sector (`DIOCGSECTORSIZE`).
pub fn sector_size(device: &File) -> io::Result<u32> {
    let mut size: c_uint = 0;
    // SAFETY: the descriptor is open as long as `device` lives; the kernel writes one integer.
    unsafe { request::sector_size(device.as_raw_fd(), &raw mut size) }
        .map_err(|error| cannot("sector size", &error.into()))?;
    Ok(size)
}

/// Bytes in it (`DIOCGMEDIASIZE`).
pub fn media_size(device: &File) -> io::Result<u64> {
    let mut size: off_t = 0;
    // SAFETY: the descriptor is open as long as `device` lives; the kernel writes one off_t.
    unsafe { request::media_size(device.as_raw_fd(), &raw mut size) }
        .map_err(|error| cannot("size", &error.into()))?;
    u64::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Has the drive write its cache to the medium (`DIOCGFLUSH`). A drive that knows no such order
/// has no cache to be flushed.
pub fn flush(device: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `device` lives; the call takes no memory.
    match unsafe { request::flush(device.as_raw_fd()) } {
        Ok(_) => Ok(()),
        Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOTTY) => Ok(()),
        Err(error) => Err(cannot("flush", &error.into())),
    }
}
