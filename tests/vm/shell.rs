//! Commands in the guest, as root: written to a disk that the guest's shell reads, started and
//! answered over the second serial line.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::qemu::Guest;

/// The word by which the shell says that it is there.
pub(crate) const READY: &str = "@@ready@@";
/// Bytes of the disk with the command.
const SIZE: usize = 65536;
/// A line that is not heard by then is typed again.
const HEARD: Duration = Duration::from_secs(15);

/// What a command came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ran {
    pub(crate) exit: u8,
    pub(crate) output: String,
}

/// Puts a command on the disk.
pub(crate) fn write(script: &Path, text: &str) -> Result<()> {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() >= SIZE {
        bail!("a command of {} bytes", bytes.len());
    }
    bytes.resize(SIZE, b'\n');
    // In place: QEMU has the file open.
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(script)?;
    Ok(std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0)?)
}

/// Runs one line of sh(1); its output holds both streams.
pub(crate) fn run(guest: &Guest, script: &Path, line: &str, limit: Duration) -> Result<Ran> {
    let from = guest.commands.length();
    let (begin, end) = (format!("@@begin@@{from}@@"), format!("@@end@@{from} "));
    // The status is that of the command, not of the empty line after its output.
    write(
        script,
        &format!(
            "[ \"$last\" = {from} ] || {{\nlast={from}; echo '{begin}'\n( {line} ) </dev/null 2>&1\n\
         status=$?; echo; echo '{end}'$status @@\n}}\n"
        ),
    )?;
    let deadline = Instant::now() + limit;
    let start = loop {
        guest.commands.send("\n")?;
        match guest.commands.wait(&[&begin], from, HEARD) {
            Ok((_, start)) => break start,
            Err(_) if Instant::now() < deadline => {}
            Err(error) => return Err(error).with_context(|| line.to_owned()),
        }
    };
    let (_, stop) = guest.commands.wait(&[&end], start, limit).with_context(|| line.to_owned())?;
    guest.commands.wait(&["@@\n"], stop, limit)?;
    let text = guest.commands.text(start);
    let (output, status) = text.split_once(&end).unwrap_or((&text, ""));
    let exit = status.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(255);
    let output = output.strip_prefix('\n').unwrap_or(output);
    let output = output.strip_suffix('\n').unwrap_or(output);
    Ok(Ran { exit, output: output.to_owned() })
}
