//! Where a release is read from: a file, or standard input, which may be a network far away.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A sender that sends nothing for this long has gone away.
const STALL: Duration = Duration::from_secs(60);

/// A file or standard input. A read waits for a byte at most 60 s and then fails with
/// [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Input {
    file: File,
    limit: Duration,
}

impl Input {
    /// Opens the file `name`; `-` is standard input.
    pub fn open(name: &str) -> io::Result<Input> {
        let file = match name {
            "-" => io::stdin().as_fd().try_clone_to_owned()?.into(),
            name => File::open(name)?,
        };
        Ok(Input { file, limit: STALL })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = PollTimeout::try_from(self.limit).unwrap_or(PollTimeout::MAX);
        loop {
            let mut waiting = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, limit) {
                Ok(0) => {
                    let why = format!("no byte for {} s", self.limit.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Ok(_) => return self.file.read(buffer),
                // Somebody asked how far things are.
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_read_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"all of it").unwrap();
        let mut text = String::new();
        let mut input = Input::open(file.path().to_str().unwrap()).unwrap();
        input.read_to_string(&mut text).unwrap();
        assert_eq!(text, "all of it");
    }

    #[test]
    fn a_sender_that_stops_sending_is_an_error_and_one_that_ends_is_an_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        let mut input = Input { file, limit: Duration::from_millis(50) };
        writer.write_all(b"x").unwrap();
        assert_eq!(input.read(&mut [0; 9]).unwrap(), 1);
        assert_eq!(input.read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(writer);
        assert_eq!(input.read(&mut [0; 9]).unwrap(), 0);
    }
}
