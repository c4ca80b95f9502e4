//! A release: one stream that holds a manifest, the manifest's signature, and a slot image.
//!
//! ```text
//! manifest            what it is and what digest the image has: crate::format::manifest
//! manifest.minisig    the manifest, signed by minisign(1)
//! router.ufs.zst      the image, under the name that the manifest gives it
//! ```
//!
//! It is a tar(5) of these entries in this order. The signature covers the manifest, and the
//! manifest covers the image by its digest: so a release is known for good or bad before its first
//! large byte, and the image is to be believed only when all of it had the digest. Nothing here
//! writes anything, and memory is bounded whatever the stream holds.

use std::cmp::Ordering;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use minisign_verify::{PublicKey, Signature};

use crate::format::ParseError;
use crate::format::manifest::{self, Layout, Manifest, Packing};
use crate::format::tar::{self, Entry, Reader};
use crate::format::version::Version;
use crate::host::{Files, why};

/// Where the keys are that a machine believes: a public key file of minisign(1) each.
pub const KEYS: &str = "/etc/nanozfs.pub.d";
/// The name of the first entry.
pub const MANIFEST: &str = "manifest";
/// The name of the entry with its signature.
pub const SIGNATURE: &str = "manifest.minisig";
/// Bytes of a signature or of a key's file at most; their comments have no bound of their own.
pub const MAX_SIGNATURE: usize = 4 << 10;

/// The keys that a machine believes.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The names of their files, and the keys.
    keys: Vec<(String, PublicKey)>,
    /// What in the directory is not a key, and why, one line each. It counts as if it was not there.
    pub problems: Vec<String>,
}

impl Keys {
    /// Reads the keys in `directory`, those whose names begin with a dot left out. A directory that
    /// is not there holds none.
    pub fn load(files: &dyn Files, directory: &Path) -> Keys {
        let mut keys = Keys::default();
        let names = match files.list(directory) {
            Ok(names) => names,
            Err(error) => {
                if !matches!(files.find(directory), Ok(None)) {
                    keys.problems.push(format!("{}: {}", directory.display(), why(&error)));
                }
                return keys;
            }
        };
        for name in names {
            let path = directory.join(&name);
            let name = name.to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let text = files.read(&path, MAX_SIGNATURE as u64).map_err(|error| why(&error));
            let key = text.and_then(|bytes| {
                let text = std::str::from_utf8(&bytes).ok();
                let key = text.and_then(|text| PublicKey::decode(text).ok());
                key.ok_or_else(|| "not a public key of minisign".to_owned())
            });
            match key {
                Ok(key) => keys.keys.push((name, key)),
                Err(error) => keys.problems.push(format!("{}: {error}", path.display())),
            }
        }
        keys
    }

    /// True when there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whose signature of `text` this is; `None` when none of the keys made it.
    fn verify(&self, text: &str, signature: &Signature) -> Result<Option<String>, Refusal> {
        let mut wrong = None;
        for (name, key) in &self.keys {
            match key.verify(text.as_bytes(), signature, false) {
                Ok(()) => return Ok(Some(name.clone())),
                Err(minisign_verify::Error::UnexpectedKeyId) => {}
                Err(minisign_verify::Error::UnexpectedAlgorithm) => {
                    wrong = Some("it is of the legacy kind, which minisign makes with -l");
                }
                Err(_) => wrong = Some("it was made for something else"),
            }
        }
        wrong.map_or(Ok(None), |why| Err(Refusal::WrongSignature(why)))
    }
}

/// Why a release is believed, or that it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is signed by a key of this machine.
    Signed {
        /// The name of the key's file.
        key: String,
        /// What whoever signed it wrote beside the signature, and signed as well.
        comment: String,
    },
    /// It is signed by a key that this machine does not have. No reason to believe it.
    Unknown,
    /// It is not signed. No reason to believe it.
    Unsigned,
}

/// Why a release is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The stream could not be read.
    Read(io::Error),
    /// The stream ends before the release does, after so many bytes.
    Truncated(u64),
    /// It is something else, or it is damaged.
    NotARelease(String),
    /// It has a format that this nanozfs does not know: that one's number.
    Format(String),
    /// Its manifest makes no sense.
    Manifest(ParseError),
    /// It has no signature and needs one.
    Unsigned,
    /// It has a signature, and the machine has no key at all.
    NoKey,
    /// The machine does not have the key that it was signed with.
    UnknownKey,
    /// The signature is broken, or is not that of this manifest.
    WrongSignature(&'static str),
    /// Where the image should be there is another entry, or none.
    NoImage {
        /// The name that the manifest gives.
        wanted: String,
        /// What is there in its place.
        found: Option<String>,
    },
    /// The image has another size than the manifest says; only of an image that is not packed.
    Size {
        /// Bytes, as the manifest says.
        wanted: u64,
        /// Bytes in the stream.
        found: u64,
    },
    /// Something follows the image: an entry of this name, or bytes after the end.
    Surplus(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Read(error) => write!(f, "the release cannot be read: {}", why(error)),
            Refusal::Truncated(at) => write!(f, "the release is cut off after {at} bytes"),
            Refusal::NotARelease(why) => write!(f, "this is not a release: {why}"),
            Refusal::Format(format) => {
                let known = manifest::FORMAT;
                write!(f, "the release has format {format}, this nanozfs reads format {known}")
            }
            Refusal::Manifest(error) => error.fmt(f),
            Refusal::Unsigned => f.write_str("the release is not signed"),
            Refusal::NoKey => f.write_str("there is no key to verify the signature with"),
            Refusal::UnknownKey => f.write_str("the release is signed by a key that is not known"),
            Refusal::WrongSignature(why) => write!(f, "the signature is wrong: {why}"),
            Refusal::NoImage { wanted, found: None } => write!(f, "the image {wanted} is missing"),
            Refusal::NoImage { wanted, found: Some(found) } => {
                write!(f, "{found} is in the place of the image {wanted}")
            }
            Refusal::Size { wanted, found } => {
                write!(f, "the image has {found} bytes, and the manifest says {wanted}")
            }
            Refusal::Surplus(what) => write!(f, "something follows the image: {what}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<tar::Error> for Refusal {
    fn from(error: tar::Error) -> Refusal {
        match error {
            tar::Error::Read(error) => Refusal::Read(error),
            tar::Error::Truncated(at) => Refusal::Truncated(at),
            tar::Error::Bad(error) => Refusal::NotARelease(error.to_string()),
            tar::Error::Surplus(at) => Refusal::Surplus(format!("byte {at}")),
        }
    }
}

/// A release whose manifest was read and whose signature was verified; its image was not read yet.
pub struct Release<'a> {
    /// What it is.
    pub manifest: Manifest,
    /// The manifest as it was signed.
    pub text: String,
    /// Why it is believed.
    pub trust: Trust,
    /// Bytes of the image in the stream, packed as it is.
    pub packed: u64,
    tar: Reader<'a>,
}

impl<'a> Release<'a> {
    /// Reads the beginning of a release, up to the first byte of the image.
    ///
    /// When `signed` is required, only one is taken that is signed by one of `keys`. When it is not,
    /// one that is not signed or is signed by another key is taken, too; a signature that is wrong
    /// is refused nevertheless.
    pub fn open(
        input: &'a mut (dyn Read + Send),
        keys: &Keys,
        signed: bool,
    ) -> Result<Release<'a>, Refusal> {
        let mut tar = Reader::new(input);
        let text = match tar.next_entry()? {
            Some(entry) if name(&entry) == MANIFEST => content(&mut tar, manifest::MAX_SIZE)?,
            Some(entry) => {
                let found = crate::format::quoted(&entry.name);
                return Err(Refusal::NotARelease(format!("it begins with {found}")));
            }
            None => return Err(Refusal::NotARelease("it is empty".to_owned())),
        };
        match manifest::format_of(&text) {
            Some(manifest::FORMAT) => {}
            Some(other) => return Err(Refusal::Format(other.to_owned())),
            None => {
                let why = "its manifest does not begin with format=".to_owned();
                return Err(Refusal::NotARelease(why));
            }
        }
        let mut entry = tar.next_entry()?;
        let mut trust = Trust::Unsigned;
        if entry.as_ref().is_some_and(|entry| name(entry) == SIGNATURE) {
            trust = believe(&text, &content(&mut tar, MAX_SIGNATURE)?, keys)?;
            entry = tar.next_entry()?;
        }
        match &trust {
            Trust::Unsigned if signed => return Err(Refusal::Unsigned),
            Trust::Unknown if signed && keys.is_empty() => return Err(Refusal::NoKey),
            Trust::Unknown if signed => return Err(Refusal::UnknownKey),
            _ => {}
        }
        let manifest = manifest::parse(&text).map_err(Refusal::Manifest)?;
        let packed = match entry {
            Some(entry) if name(&entry) == manifest.image => entry.size,
            other => {
                let found = other.map(|entry| crate::format::quoted(&entry.name));
                return Err(Refusal::NoImage { wanted: manifest.image, found });
            }
        };
        if manifest.packing() == Packing::None && packed != manifest.size {
            return Err(Refusal::Size { wanted: manifest.size, found: packed });
        }
        Ok(Release { manifest, text, trust, packed, tar })
    }

    /// The image, packed as it is: what [`crate::host::Host::unpack`] takes. When it could not be
    /// read to its end, [`Release::finish`] says why.
    pub fn image(&mut self) -> &mut (dyn Read + Send + 'a) {
        &mut self.tar
    }

    /// Bytes of the image that were read so far, packed as they are.
    pub fn read(&self) -> u64 {
        self.packed - self.tar.left()
    }

    /// Reads the rest, to the end of the stream: nothing may follow the image.
    pub fn finish(&mut self) -> Result<(), Refusal> {
        if let Some(entry) = self.tar.next_entry()? {
            return Err(Refusal::Surplus(crate::format::quoted(&entry.name)));
        }
        Ok(self.tar.tail()?)
    }
}

/// The name of an entry, however whoever made the tar named the directory that it was in.
fn name(entry: &Entry) -> &str {
    entry.name.strip_prefix("./").unwrap_or(&entry.name)
}

/// The whole text of the entry that comes next in `tar`, which has at most `limit` bytes.
fn content(tar: &mut Reader<'_>, limit: usize) -> Result<String, Refusal> {
    if tar.left() > limit as u64 {
        return Err(Refusal::NotARelease(format!("an entry of more than {limit} bytes")));
    }
    let mut bytes = Vec::new();
    if let Err(error) = tar.read_to_end(&mut bytes) {
        return Err(match error.kind() {
            io::ErrorKind::UnexpectedEof => Refusal::Truncated(tar.position()),
            _ => Refusal::Read(error),
        });
    }
    String::from_utf8(bytes).map_err(|_| Refusal::NotARelease("an entry is not text".to_owned()))
}

/// Why `text` is believed that comes with this signature.
fn believe(text: &str, signature: &str, keys: &Keys) -> Result<Trust, Refusal> {
    let broken = |_| Refusal::WrongSignature("it cannot be understood");
    let signature = Signature::decode(signature).map_err(broken)?;
    let comment = signature.trusted_comment().to_owned();
    Ok(keys.verify(text, &signature)?.map_or(Trust::Unknown, |key| Trust::Signed { key, comment }))
}

/// What a release is compared with before it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The version of the nanozfs that is to install it.
    pub nanozfs: Version,
    /// The version of the running system, where that is known.
    pub system: Option<Version>,
    /// What the running system is compatible with.
    pub compat: String,
    /// The partition table of the OS drive.
    pub layout: Layout,
}

/// A reason why a release does not fit a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is for other machines.
    Compat {
        /// What it is for.
        release: String,
        /// What this one is.
        running: String,
    },
    /// Its image is for the other kind of partition table.
    Layout {
        /// What the image is for.
        release: Layout,
        /// What the OS drive has.
        running: Layout,
    },
    /// It needs a newer nanozfs than the one that is to install it.
    Nanozfs {
        /// The oldest that can.
        needed: Version,
        /// The one that is running.
        running: Version,
    },
    /// It needs a newer system to start from than the one that is running.
    From {
        /// The oldest that it can be installed from.
        needed: Version,
        /// The one that is running; `None` when that is not known.
        running: Option<Version>,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Compat { release, running } => {
                write!(f, "the release is for {release}, this machine is {running}")
            }
            Unfit::Layout { release, running } => {
                let (release, running) = (release.name(), running.name());
                write!(f, "the release is for a drive with {release}, this one has {running}")
            }
            Unfit::Nanozfs { needed, running } => {
                write!(f, "the release needs nanozfs {needed}, this is {running}")
            }
            Unfit::From { needed, running: Some(running) } => {
                write!(
                    f,
                    "the release can be installed from version {needed} on, this is {running}"
                )
            }
            Unfit::From { needed, running: None } => {
                write!(
                    f,
                    "the release can be installed from version {needed} on, and the version that is running is not known"
                )
            }
        }
    }
}

/// Every reason why a release does not fit a machine; none when it does.
pub fn unfit(manifest: &Manifest, running: &Running) -> Vec<Unfit> {
    let older = |one: &Version, other: &Version| one.order(other) == Ordering::Less;
    let mut reasons = Vec::new();
    if manifest.compat != running.compat {
        let (release, running) = (manifest.compat.clone(), running.compat.clone());
        reasons.push(Unfit::Compat { release, running });
    }
    if manifest.layout != running.layout {
        reasons.push(Unfit::Layout { release: manifest.layout, running: running.layout });
    }
    if older(&running.nanozfs, &manifest.min_version) {
        let (needed, running) = (manifest.min_version.clone(), running.nanozfs.clone());
        reasons.push(Unfit::Nanozfs { needed, running });
    }
    if let Some(needed) = &manifest.min_from
        && running.system.as_ref().is_none_or(|system| older(system, needed))
    {
        reasons.push(Unfit::From { needed: needed.clone(), running: running.system.clone() });
    }
    reasons
}

#[cfg(test)]
mod tests;
