//! Writing an image to a slot.
//!
//! From the first write to the last the slot holds nothing that can be started: its head (boot
//! code, label, superblock) is zeroed first, written last, and zeroed again when anything is not
//! as it should be. The running slot is never opened for writing.

use std::fmt;
use std::io::Read;

use crate::host::{BlockDevice, Host, why};

mod finish;
pub(crate) use finish::scratch;

pub mod fstab;
mod target;
mod write;

#[cfg(test)]
#[cfg(feature = "lab")]
pub(crate) mod tests;

pub use target::Target;

/// What is zeroed first and written last: boot1, the BSD label, boot2, and the UFS superblock.
const HEAD: u64 = 256 << 10;
/// Read, and kept in memory, at once.
const BLOCK: u64 = 1 << 20;
/// As much is written when anything in it differs: a block of a UFS.
const GRAIN: usize = 32 << 10;

/// The slot's own record of what it holds: the release's manifest.
pub const RELEASE: &str = "conf/nanozfs/release";

/// What is to be written.
pub struct Image<'a> {
    /// The raw image, [`Image::size`] bytes and no more.
    pub stream: &'a mut (dyn Read + Send),
    /// Its length.
    pub size: u64,
    /// Its digest.
    pub sha256: [u8; 32],
    /// The manifest, which the slot keeps.
    pub release: &'a [u8],
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes of the image that are behind, of this stage.
    pub done: u64,
    /// Bytes of the image.
    pub size: u64,
    /// What was written so far.
    pub counts: Counts,
}

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The image is compared with the slot, and written where it differs.
    Writing,
    /// Everything is read back.
    Verifying,
    /// The file system gets its name, its fstab and the manifest, and is checked.
    Finishing,
}

/// Bytes of the image by what became of them. Together they are the whole image in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Written.
    pub written: u64,
    /// In the slot already.
    pub spared: u64,
}

/// Why a slot does not hold the new image, and what it holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What went wrong.
    pub why: String,
    /// What the slot is now.
    pub slot: Left,
}

/// What a slot is after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// As it was.
    Untouched,
    /// Nothing that can be started.
    Invalid,
    /// What is on the drive is not known: zeroing the slot's head failed, too.
    Unknown,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = match self.slot {
            Left::Untouched => "the slot is as it was",
            Left::Invalid => "the slot holds nothing that can be started",
            Left::Unknown => "what the slot holds now is not known: do not start it",
        };
        write!(f, "{}; {slot}", self.why)
    }
}

impl std::error::Error for Failed {}

impl Failed {
    fn new(slot: Left, why: impl fmt::Display) -> Failed {
        Failed { why: why.to_string(), slot }
    }
}

/// Writes `image` to the slot, reads it back, and makes it fit for its place: volume name, both
/// fstabs, the manifest, a check of the file system. `tell` is called at least every MiB.
///
/// The drive's marks are not looked at: they must be settled before, because boot0 starts no other
/// slot when its default holds nothing. About 8 MiB of memory are used.
///
/// # Errors
///
/// Says what went wrong and what the slot holds then.
pub fn install(
    host: &dyn Host,
    target: &Target,
    image: &mut Image<'_>,
    tell: &mut dyn FnMut(Progress),
) -> Result<Counts, Failed> {
    target.accepts(image.size).map_err(|why| Failed::new(Left::Untouched, why))?;
    let counts = write::image(host, target, image, tell)?;
    tell(Progress { stage: Stage::Finishing, done: 0, size: image.size, counts });
    match finish::slot(host, target, image.release) {
        Ok(()) => Ok(counts),
        Err(why) => Err(Failed::new(discard(host, target), why)),
    }
}

/// Makes sure that the slot cannot be started.
///
/// # Errors
///
/// [`Left::Untouched`] when it could not be opened, because it is mounted for example.
pub fn invalidate(host: &dyn Host, target: &Target) -> Result<(), Failed> {
    let mut device = target.open(host).map_err(|why| Failed::new(Left::Untouched, why))?;
    zero_head(&mut *device).map_err(|why| Failed::new(Left::Unknown, why))
}

/// After a failure: what the slot is then.
fn discard(host: &dyn Host, target: &Target) -> Left {
    match invalidate(host, target) {
        Ok(()) => Left::Invalid,
        Err(error) => {
            log::warn!("{}: {}", target.whole, error.why);
            Left::Unknown
        }
    }
}

/// Zeroes the head, and looks whether the drive did it.
fn zero_head(device: &mut dyn BlockDevice) -> Result<(), String> {
    let length = usize::try_from(HEAD.min(device.size())).unwrap_or_default();
    let mut head = vec![0; length];
    let zeroed = device.write_at(&head, 0).and_then(|()| device.flush());
    zeroed.map_err(|error| format!("zero its head: {}", why(&error)))?;
    device.read_at(&mut head, 0).map_err(|error| format!("read its head: {}", why(&error)))?;
    match head.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err("the drive does not keep what is written to it".to_owned()),
    }
}
