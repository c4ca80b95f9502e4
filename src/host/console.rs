//! The system console, for whoever outlives the one who started it.

use std::fs::File;
use std::io::{self, Write};

/// console(4).
pub const CONSOLE: &str = "/dev/console";

/// The system console, opened for every line. When a session ends, rc(8)'s among them, the kernel
/// revokes the terminal that it had (revoke(2)): what was opened before is of no use any more.
///
/// Nothing that is written fails: where there is no console, nobody reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemConsole;

impl Write for SystemConsole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let opened = File::options().append(true).open(CONSOLE);
        if let Err(error) = opened.and_then(|mut console| console.write_all(bytes)) {
            log::debug!("{CONSOLE}: {error}");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
