//! Flash that lies: a disk that answers one write as done and never does it.
//!
//! QEMU reaches the disk's image through a block server (the NBD protocol, "fixed newstyle", of
//! which it needs the four commands here), and that server is ours.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// Fixed newstyle, and no zeroes behind the answer.
const HANDSHAKE: u16 = 0b11;
/// Of the transmission: flags are there, and it can flush.
const FEATURES: u16 = 0b101;
const OPTION_ABORT: u32 = 2;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const ACKNOWLEDGED: u32 = 1;
const INFORMATION: u32 = 3;
const UNSUPPORTED: u32 = 0x8000_0001;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
/// `EINVAL` and `EIO`, as the protocol counts them.
const INVALID: u32 = 22;
const FAILED: u32 = 5;
/// More than QEMU asks for at once.
const LONGEST: usize = 64 << 20;

/// What is still to be lied about: the next write that covers this byte. `None` when it is done.
type Next = Arc<Mutex<Option<u64>>>;

/// A server for one disk.
#[derive(Clone, Debug)]
pub(crate) struct Liar {
    /// Where QEMU finds it.
    pub(crate) socket: PathBuf,
    next: Next,
}

impl Liar {
    /// Serves `image` at `socket`, honestly until it is told otherwise.
    pub(crate) fn serve(image: &Path, socket: PathBuf) -> Result<Liar> {
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).context("the socket of the lying disk")?;
        let next = Next::default();
        let (image, shared) = (image.to_owned(), Arc::clone(&next));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(disk)) = (client, open(&image)) else { return };
                let next = Arc::clone(&shared);
                // It ends with QEMU, in the middle of a word when the power goes.
                thread::spawn(move || session(client, &disk, &next));
            }
        });
        Ok(Liar { socket, next })
    }

    /// The next write that covers the byte at `offset` is answered as done, and dropped.
    pub(crate) fn drop_write_at(&self, offset: u64) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
    }
}

fn open(image: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).open(image)
}

/// One client, until it goes.
fn session(mut client: UnixStream, disk: &File, next: &Next) -> Result<()> {
    let size = disk.metadata()?.len();
    client.write_all(GREETING)?;
    client.write_all(&HANDSHAKE.to_be_bytes())?;
    take::<4>(&mut client)?;
    while !option(&mut client, size)? {}
    while request(&mut client, disk, next)? {}
    Ok(())
}

/// One option. True when the transmission begins.
fn option(client: &mut UnixStream, size: u64) -> Result<bool> {
    if &take::<8>(client)? != OPTION {
        bail!("no option");
    }
    let kind = u32::from_be_bytes(take(client)?);
    let length = u32::from_be_bytes(take(client)?);
    payload(client, length)?;
    let mut answer = |reply: u32, data: &[u8]| -> Result<()> {
        client.write_all(&OPTION_REPLY.to_be_bytes())?;
        client.write_all(&kind.to_be_bytes())?;
        client.write_all(&reply.to_be_bytes())?;
        client.write_all(&u32::try_from(data.len())?.to_be_bytes())?;
        Ok(client.write_all(data)?)
    };
    match kind {
        OPTION_GO | OPTION_INFO => {
            let mut export = 0u16.to_be_bytes().to_vec();
            export.extend(size.to_be_bytes());
            export.extend(FEATURES.to_be_bytes());
            answer(INFORMATION, &export)?;
            answer(ACKNOWLEDGED, &[])?;
        }
        OPTION_ABORT => {
            answer(ACKNOWLEDGED, &[])?;
            bail!("it goes");
        }
        _ => answer(UNSUPPORTED, &[])?,
    }
    Ok(kind == OPTION_GO)
}

/// One request. False when the client says goodbye.
fn request(client: &mut UnixStream, disk: &File, next: &Next) -> Result<bool> {
    if u32::from_be_bytes(take(client)?) != REQUEST {
        bail!("no request");
    }
    let _flags = take::<2>(client)?;
    let kind = u16::from_be_bytes(take(client)?);
    let cookie = take::<8>(client)?;
    let offset = u64::from_be_bytes(take(client)?);
    let length = u32::from_be_bytes(take(client)?);
    let mut data = Vec::new();
    let done = match kind {
        READ => {
            data.resize(usize::try_from(length)?.min(LONGEST), 0);
            let read = disk.read_exact_at(&mut data, offset).map_err(|_| FAILED);
            read.and(if u32::try_from(data.len())? == length { Ok(()) } else { Err(INVALID) })
        }
        WRITE => {
            let bytes = payload(client, length)?;
            match lies(next, offset, u64::from(length)) {
                true => Ok(()),
                false => disk.write_all_at(&bytes, offset).map_err(|_| FAILED),
            }
        }
        DISCONNECT => return Ok(false),
        FLUSH => Ok(()),
        _ => Err(INVALID),
    };
    client.write_all(&REPLY.to_be_bytes())?;
    client.write_all(&done.err().unwrap_or(0).to_be_bytes())?;
    client.write_all(&cookie)?;
    if done.is_ok() {
        client.write_all(&data)?;
    }
    Ok(true)
}

/// This is the write to be dropped: it happens once.
fn lies(next: &Next, offset: u64, length: u64) -> bool {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    let meant = next.is_some_and(|at| (offset..offset.saturating_add(length)).contains(&at));
    if meant {
        *next = None;
    }
    meant
}

fn take<const N: usize>(client: &mut UnixStream) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn payload(client: &mut UnixStream, length: u32) -> Result<Vec<u8>> {
    let length = usize::try_from(length)?;
    if length > LONGEST {
        bail!("{length} bytes at once");
    }
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(client: &mut UnixStream, kind: u16, offset: u64, length: u32, data: &[u8]) -> u32 {
        client.write_all(&REQUEST.to_be_bytes()).unwrap();
        client.write_all(&[0, 0]).unwrap();
        client.write_all(&kind.to_be_bytes()).unwrap();
        client.write_all(&7u64.to_be_bytes()).unwrap();
        client.write_all(&offset.to_be_bytes()).unwrap();
        client.write_all(&length.to_be_bytes()).unwrap();
        client.write_all(data).unwrap();
        assert_eq!(u32::from_be_bytes(take(client).unwrap()), REPLY);
        let error = u32::from_be_bytes(take(client).unwrap());
        assert_eq!(u64::from_be_bytes(take(client).unwrap()), 7);
        error
    }

    #[test]
    fn one_write_is_answered_and_never_done() {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("disk");
        std::fs::write(&image, vec![b'.'; 4096]).unwrap();
        let liar = Liar::serve(&image, scratch.path().join("socket")).unwrap();
        let mut client = UnixStream::connect(&liar.socket).unwrap();
        assert_eq!(&take::<16>(&mut client).unwrap(), GREETING);
        take::<2>(&mut client).unwrap();
        client.write_all(&[0, 0, 0, 3]).unwrap();
        client.write_all(OPTION).unwrap();
        client.write_all(&OPTION_GO.to_be_bytes()).unwrap();
        client.write_all(&[0, 0, 0, 6, 0, 0, 0, 0, 0, 0]).unwrap();
        // The size is in the first of two answers: 20 bytes before it, 2 of what kind it is.
        let answer: [u8; 20 + 12 + 20] = take(&mut client).unwrap();
        assert_eq!(answer[22..30], 4096u64.to_be_bytes());

        assert_eq!(ask(&mut client, WRITE, 0, 3, b"one"), 0);
        liar.drop_write_at(1025);
        assert_eq!(ask(&mut client, WRITE, 512, 3, b"two"), 0);
        assert_eq!(ask(&mut client, WRITE, 1024, 3, b"six"), 0);
        assert_eq!(ask(&mut client, WRITE, 1030, 3, b"ten"), 0);
        assert_eq!(ask(&mut client, FLUSH, 0, 0, b""), 0);
        assert_eq!(ask(&mut client, READ, 1024, 3, b""), 0);
        assert_eq!(&take::<3>(&mut client).unwrap(), b"...");
        assert_eq!(ask(&mut client, READ, 4095, 3, b""), FAILED);
        let disk = std::fs::read(&image).unwrap();
        assert_eq!(&disk[..3], b"one");
        assert_eq!(&disk[512..515], b"two");
        assert_eq!(&disk[1024..1033], b"......ten");
    }
}
