//! The tar(5) of a release: a few regular files, read from a stream and written to one.
//!
//! [`Reader`] takes what tar(1) of FreeBSD and of GNU write unless told otherwise: ustar headers,
//! those of GNU with long names and sizes in base 256, and pax headers for one entry. Whatever else
//! a tar can hold is refused: directories, links, devices, sparse files, global headers.
//!
//! It is total on any bytes, reads every byte once, and holds one block and at most 64 KiB of an
//! extended header. The checksum of every header is verified.

use std::fmt;
use std::io::{self, Read};

use super::ParseError;

mod extended;
mod header;
#[cfg(test)]
mod tests;

use extended::Extended;
pub use header::encode;
use header::{Header, Type};

/// Everything in a tar is in blocks of this many bytes.
pub const BLOCK: usize = 512;
/// Bytes of an extended header at most.
const LARGEST_EXTENSION: u64 = 64 << 10;
/// Zero bytes after the end at most; tar(1) fills up to 10 KiB.
const LARGEST_TAIL: u64 = 1 << 20;

const WHAT: &str = "tar";

/// What ends a tar.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Bytes between a content of `size` bytes and what follows it: up to the next block.
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// An entry: a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it stands there.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a tar cannot be read on.
#[derive(Debug)]
pub enum Error {
    /// The stream itself could not be read.
    Read(io::Error),
    /// The stream ends before the tar does, after this many bytes.
    Truncated(u64),
    /// This is no tar, or one with something in it that is not taken.
    Bad(ParseError),
    /// Something other than zeros follows the end; at this byte.
    Surplus(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => f.write_str(&crate::sys::why(error)),
            Error::Truncated(at) => write!(f, "ends after {at} bytes, before its end"),
            Error::Bad(error) => error.fmt(f),
            Error::Surplus(at) => write!(f, "something follows its end, at byte {at}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Read(error) => error.kind(),
            Error::Truncated(_) => io::ErrorKind::UnexpectedEof,
            Error::Bad(_) | Error::Surplus(_) => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error.to_string())
    }
}

/// A tar that is read from a stream, entry by entry. Reading from it gives the content of the
/// entry that [`Reader::next_entry`] returned last.
pub struct Reader<'a> {
    input: &'a mut (dyn Read + Send),
    /// Bytes read so far.
    at: u64,
    /// Bytes of the entry's content that were not read yet.
    left: u64,
    /// Bytes between that content and the next header.
    padding: u64,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// A tar that begins with the next byte of `input`. Nothing is read yet.
    pub fn new(input: &'a mut (dyn Read + Send)) -> Self {
        Reader { input, at: 0, left: 0, padding: 0, ended: false }
    }

    /// Bytes of the stream that were read so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Bytes of the entry's content that were not read yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next entry, past what was not read of the one before; `None` at the end.
    ///
    /// # Errors
    ///
    /// After an error there is no next entry: what follows has no meaning.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip()?;
        let mut extended: Option<Extended> = None;
        while !self.ended {
            let start = self.at;
            let bad = |why: &str| {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                Error::Bad(ParseError::offset(WHAT, start, why))
            };
            let block = self.block()?;
            if block == [0; BLOCK] {
                if extended.is_some() {
                    return Err(bad("an extended header without an entry"));
                }
                if self.block()? != [0; BLOCK] {
                    return Err(bad("one block of zeros, where the end has two"));
                }
                self.ended = true;
                break;
            }
            let header = Header::parse(&block).map_err(bad)?;
            if header.kind == Type::File {
                let Extended { name, size } = extended.unwrap_or_default();
                let size = size.unwrap_or(header.size);
                self.left = size;
                self.padding = padding(size);
                return Ok(Some(Entry { name: name.unwrap_or(header.name), size }));
            }
            // Two cannot both be meant, and there may be no end to them.
            if extended.is_some() {
                return Err(bad("two extended headers for one entry"));
            }
            if header.size > LARGEST_EXTENSION {
                return Err(bad("an extended header of more than 64 KiB"));
            }
            let mut text = vec![0; usize::try_from(header.size).unwrap_or_default()];
            self.fill(&mut text)?;
            self.padding = padding(header.size);
            self.skip()?;
            let read = match header.kind {
                Type::LongName => extended::long_name(text),
                _ => extended::pax(&text),
            };
            extended = Some(read.map_err(bad)?);
        }
        Ok(None)
    }

    /// Reads what follows the end, up to the end of the stream: zeros, or nothing.
    pub fn tail(&mut self) -> Result<(), Error> {
        let mut block = [0; BLOCK];
        let limit = self.at + LARGEST_TAIL;
        loop {
            let count = self.some(&mut block)?;
            let read = block.get(..count).unwrap_or_default();
            if read.is_empty() {
                return Ok(());
            }
            if read.iter().any(|byte| *byte != 0) || self.at > limit {
                return Err(Error::Surplus(self.at - count as u64));
            }
        }
    }

    /// Goes past what was not read of an entry.
    fn skip(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 16 << 10];
        let mut left = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = self.some(buffer.get_mut(..most).unwrap_or_default())?;
            if count == 0 {
                return Err(Error::Truncated(self.at));
            }
            left -= count as u64;
        }
        Ok(())
    }

    /// The next block.
    fn block(&mut self) -> Result<[u8; BLOCK], Error> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    /// Fills `buffer` from the stream.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.some(rest)? {
                0 => return Err(Error::Truncated(self.at)),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// One read from the stream; 0 at its end.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.input.read(buffer) {
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }
}

impl Read for Reader<'_> {
    /// The content of an entry never ends early: that the stream ends before it does is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(room) = buffer.get_mut(..most).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        match self.some(room)? {
            0 => Err(Error::Truncated(self.at).into()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}
