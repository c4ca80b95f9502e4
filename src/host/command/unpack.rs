//! Packing and unpacking by the programs of the base system: xz(1), zstd(1), gzip(1).

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::Command;
use super::filter::{Consume, filter, surplus_of, taking};
use crate::format::manifest::Packing;
use crate::host::Result;

/// A program that neither takes nor gives a byte for this long has stopped for good.
const STALL: Duration = Duration::from_secs(60);

/// Lets `consume` take what is packed in `input`, to its end, by the program for the packing, as
/// [`filter`] runs it; without a packing, `input` itself. Uses no temporary space.
///
/// # Errors
///
/// Those of [`filter`].
pub fn unpack(
    packing: Packing,
    input: &mut (dyn Read + Send),
    consume: &mut Consume<'_>,
) -> Result<()> {
    let args: &[&str] = match packing {
        Packing::None => {
            consume(input).map_err(|error| taking("the image", &error))?;
            return match input.read(&mut [0]) {
                Ok(0) => Ok(()),
                Ok(_) => Err(surplus_of("the image")),
                Err(error) => Err(taking("the image", &error)),
            };
        }
        // More than one thread would hold more than one block in memory.
        Packing::Xz => &["-dc", "-T1"],
        Packing::Zst | Packing::Gz => &["-dc"],
    };
    filter(&program(packing).args(args.iter().copied()), input, consume)
}

/// The command that packs its standard input; `None` where nothing is to be done. What it makes can
/// be unpacked in 16 MB of memory.
pub fn packer(packing: Packing) -> Option<Command> {
    let args: &[&str] = match packing {
        Packing::None => return None,
        Packing::Xz => &["-c", "-6", "-T0"],
        Packing::Zst => &["-c", "-q", "-15", "-T0"],
        Packing::Gz => &["-c", "-n", "-9"],
    };
    Some(program(packing).args(args.iter().copied()))
}

/// The program for a packing, which is in one of two places.
fn program(packing: Packing) -> Command {
    let name = match packing {
        Packing::Xz => "xz",
        Packing::Zst => "zstd",
        Packing::None | Packing::Gz => "gzip",
    };
    let usual = format!("/usr/bin/{name}");
    let other = format!("/bin/{name}");
    let there = |path: &str| Path::new(path).exists();
    Command::new(if there(&other) && !there(&usual) { other } else { usual }, STALL)
}
