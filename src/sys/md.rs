//! Memory disks: md(4), through `/dev/mdctl`.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_char, c_int, c_uint, off_t};

use super::cannot;

const MDCTL: &str = "/dev/mdctl";
const MDIOVERSION: c_uint = 0;
const MD_SWAP: c_int = 3;
const MD_AUTOUNIT: c_uint = 0x04;
const PAGE: u64 = 4096;

/// `struct md_ioctl` of sys/mdioctl.h, the same in 13 and 15.
#[repr(C)]
struct MdIoctl {
    version: c_uint,
    unit: c_uint,
    kind: c_int,
    file: *mut c_char,
    mediasize: off_t,
    sectorsize: c_uint,
    options: c_uint,
    base: u64,
    fwheads: c_int,
    fwsectors: c_int,
    label: *mut c_char,
    pad: [c_int; 96],
}

/// The size is part of the ioctl's number.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(mem::size_of::<MdIoctl>() == 448);

mod request {
    use super::MdIoctl;

    nix::ioctl_readwrite!(attach, b'm', 0, MdIoctl);
    nix::ioctl_readwrite!(detach, b'm', 1, MdIoctl);
}

impl MdIoctl {
    fn new() -> Self {
        Self {
            version: MDIOVERSION,
            unit: 0,
            kind: MD_SWAP,
            file: ptr::null_mut(),
            mediasize: 0,
            sectorsize: 0,
            options: 0,
            base: 0,
            fwheads: 0,
            fwsectors: 0,
            label: ptr::null_mut(),
            pad: [0; 96],
        }
    }
}

/// Makes a swap-backed memory disk of `size` bytes, rounded up to whole pages, with the next free
/// unit number, and returns that number: 3 for `/dev/md3`.
///
/// The disk takes memory, or swap, only for what is written to it. It stays until [`detach`] or the
/// end of the system.
pub fn attach(size: u64) -> io::Result<u32> {
    make(size)
        .map_err(|error| cannot(format_args!("cannot make a memory disk of {size} bytes"), &error))
}

/// Destroys the memory disk `unit` and what is on it. Fails with `ResourceBusy` while it is mounted
/// or open.
pub fn detach(unit: u32) -> io::Result<()> {
    destroy(unit)
        .map_err(|error| cannot(format_args!("cannot destroy memory disk md{unit}"), &error))
}

fn make(size: u64) -> io::Result<u32> {
    let mediasize = size
        .max(1)
        .checked_next_multiple_of(PAGE)
        .and_then(|size| off_t::try_from(size).ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let control = open()?;
    let mut md = MdIoctl { mediasize, options: MD_AUTOUNIT, ..MdIoctl::new() };
    // SAFETY: the number is made from the structure's size, the structure is the kernel's, and its
    // pointers are null, which the kernel takes for "not given".
    unsafe { request::attach(control.as_raw_fd(), &raw mut md) }?;
    Ok(md.unit)
}

fn destroy(unit: u32) -> io::Result<()> {
    let control = open()?;
    let mut md = MdIoctl { unit, ..MdIoctl::new() };
    // SAFETY: as in `make`.
    unsafe { request::detach(control.as_raw_fd(), &raw mut md) }?;
    Ok(())
}

fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(MDCTL).map_err(|error| cannot(MDCTL, &error))
}
