//! The system console, for whoever outlives the one who started it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// console(4).
const CONSOLE: &str = "/dev/console";
/// As long as a line may take: a terminal whose other side has stopped it never takes one.
const LIMIT: Duration = Duration::from_secs(5);
/// How long it is left alone then.
const REST: Duration = Duration::from_secs(60);

/// The system console, opened for each write. When a session ends, rc(8)'s among them, the kernel
/// revokes the terminal that it had (revoke(2)): what was opened before is of no use any more.
///
/// Nothing that is written fails or holds anybody up for long: where there is no console, or one that
/// takes nothing, nobody reads.
#[derive(Debug, Default)]
pub struct SystemConsole {
    stuck: Option<Instant>,
}

impl Write for SystemConsole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stuck.is_some_and(|since| since.elapsed() < REST) {
            return Ok(bytes.len());
        }
        let (text, (done, written)) = (bytes.to_vec(), mpsc::channel());
        // Opening, writing to and closing a terminal may wait for ever.
        let writer = thread::Builder::new().spawn(move || {
            let opened = File::options().append(true).open(CONSOLE);
            let _ = done.send(opened.and_then(|mut console| console.write_all(&text)));
        });
        self.stuck = None;
        match writer.map(|_| written.recv_timeout(LIMIT)) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) | Err(error) => log::debug!("{CONSOLE}: {error}"),
            Ok(Err(_)) => self.stuck = Some(Instant::now()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
