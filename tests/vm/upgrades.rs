//! What stories of upgrades need of a guest: releases made in it, starts that do not come to a shell,
//! power cuts in the middle of a command.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::drives::Disk;
use super::liar::Liar;
use super::maker::quote;
use super::player::Player;
use super::power::random;

/// Reading, packing and hashing a slot on an emulated processor.
const RELEASE: Duration = Duration::from_secs(900);
/// A command that the power goes in.
const COMMAND: Duration = Duration::from_secs(600);
/// From power-on to what a boot says late, or to a restart that somebody else asks for.
const RESTART: Duration = Duration::from_secs(600);

/// Makes a release of the running slot, changed by `change` in the directory that it is mounted on.
/// It is changed in the other slot, which holds zeroes where it began afterwards: nothing of the
/// release is there before it is installed.
const MAKE: &str = r#"
set -e
case $(mount -p | awk '$2 == "/" { print $1 }') in
*gpt/nanoA) own=gpt/nanoA other=gpt/nanoB files=gpt/nanoB layout=gpt ;;
*gpt/nanoB) own=gpt/nanoB other=gpt/nanoA files=gpt/nanoA layout=gpt ;;
*nanos1a) own=ada0s1 other=ada0s2 files=ada0s2a layout=mbr ;;
*nanos2a) own=ada0s2 other=ada0s1 files=ada0s1a layout=mbr ;;
*) mount; exit 9 ;;
esac
mkdir -p /var/tmp/release
cd /var/tmp/release
dd if=/dev/$own of=/dev/$other bs=1m 2>/dev/null
mount /dev/$files /mnt
( cd /mnt; eval "$change" )
umount /mnt
sum=$(dd if=/dev/$other bs=1m 2>/dev/null | sha256 -q)
dd if=/dev/$other bs=1m 2>/dev/null | gzip -1 > slot.img.gz
size=$(diskinfo /dev/$other | cut -f 3)
printf 'format=1\nname=gate\nversion=%s\ncompat=generic\nlayout=%s\nsize=%s\nsha256=%s\nimage=slot.img.gz\nmin_version=0.1.0\n' \
    $version $layout $size $sum > manifest
tar -cf ../gate-$version.nzr manifest slot.img.gz
cd ..
rm -r release
dd if=/dev/zero of=/dev/$other bs=1m count=32 2>/dev/null
"#;

/// The partition is one of the disk's: `ada1p3` or `ada1s2a`, not `ada10p3`.
fn is_on(partition: &str, disk: &str) -> bool {
    partition.strip_prefix(disk).is_some_and(|rest| rest.starts_with(['p', 's']))
}

impl Player<'_> {
    /// Makes `/var/tmp/gate-VERSION.nzr` in the guest.
    pub(crate) fn make_release(&mut self, version: &str, change: &str) -> Result<()> {
        let change = if change.is_empty() { ":" } else { change };
        let (version, change) = (quote(version.as_bytes()), quote(change.as_bytes()));
        let made = self.sh_for(&format!("version={version}; change={change}; {MAKE}"), RELEASE)?;
        if made.exit != 0 {
            bail!("the release could not be made: {}", made.output);
        }
        Ok(())
    }

    /// From the next power-on the disk is one whose writes can be lost.
    pub(crate) fn lying_flash(&mut self, device: &str) -> Result<()> {
        self.flush()?;
        let socket = self.directory.join(format!("{device}.nbd"));
        let disk = self.disk(device)?;
        disk.liar = Some(Liar::serve(&disk.file, socket)?);
        Ok(())
    }

    /// The next write to this byte of a partition is answered as done, and is lost.
    pub(crate) fn lie(&mut self, partition: &str, offset: u64) -> Result<()> {
        let line = format!("gpart show -p | awk '$3 == \"{partition}\" {{ print $1 * 512 }}'");
        let start: u64 = self.sh(&line)?.output.trim().parse().context(line)?;
        let of = |disk: &&Disk| disk.attached && is_on(partition, &disk.device);
        let liar = self.disks.iter().find(of).and_then(|disk| disk.liar.as_ref());
        liar.with_context(|| format!("{partition} is on no lying flash"))?
            .drop_write_at(start + offset);
        Ok(())
    }

    /// Power on, until the console says a word; what becomes of it is another line's business.
    pub(crate) fn start_until(&mut self, word: &str) -> Result<()> {
        self.ready()?;
        self.start("boot")?;
        let guest = self.guest.as_ref().context("it has no power")?;
        let (_, at) = guest.console.wait(&[word], 0, RESTART)?;
        self.seen = at;
        Ok(())
    }

    /// The machine restarts by itself after what was last waited for, and comes up.
    pub(crate) fn again(&mut self) -> Result<()> {
        let guest = self.guest.as_ref().context("it has no power")?;
        let (_, at) = guest.console.wait(&["Trying to mount root"], self.seen, RESTART)?;
        self.come_up(at)
    }

    /// The power goes at random moments of a command, so many times; after each the machine has to
    /// come up as after any boot. How long the command takes is found out first.
    pub(crate) fn cuts_during(&mut self, count: u32, line: &str) -> Result<()> {
        let began = Instant::now();
        let whole = self.sh_for(line, COMMAND)?;
        if whole.exit != 0 {
            bail!("{line}: exit {}: {}", whole.exit, whole.output);
        }
        let takes = u64::try_from(began.elapsed().as_millis())?.max(1);
        let seed = self.seed()?;
        for round in 0..count {
            self.sh(&format!("( {line} ) >/dev/null 2>&1 </dev/null &"))?;
            std::thread::sleep(Duration::from_millis(random(seed, round) % takes));
            self.guest.take().context("it has no power")?.cut();
            self.boot()?;
            if self.last.exit != Some(0) {
                bail!("after cut {round} of {line}: exit {:?}", self.last.exit);
            }
        }
        Ok(())
    }
}
