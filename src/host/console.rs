//! The system console, for whoever outlives the one who started it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// console(4).
const CONSOLE: &str = "/dev/console";
/// As long as a line may take: a terminal whose other side has stopped it never takes one.
const LIMIT: Duration = Duration::from_secs(2);

/// The system console, opened for each write. When a session ends, rc(8)'s among them, the kernel
/// revokes the terminal that it had (revoke(2)): what was opened before is of no use any more.
///
/// Nothing that is written fails or holds anybody up: where there is no console, or one that takes
/// nothing, nobody reads. One that took nothing once is left alone.
#[derive(Debug, Default)]
pub struct SystemConsole {
    stuck: bool,
}

impl Write for SystemConsole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.stuck {
            let (text, (done, written)) = (bytes.to_vec(), mpsc::channel());
            // Opening and closing a terminal may wait, too.
            thread::spawn(move || {
                let options = File::options().append(true).custom_flags(libc::O_NONBLOCK).clone();
                let opened = options.open(CONSOLE);
                let _ = done.send(opened.and_then(|mut console| console.write_all(&text)));
            });
            match written.recv_timeout(LIMIT) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::debug!("{CONSOLE}: {error}"),
                Err(_) => self.stuck = true,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
