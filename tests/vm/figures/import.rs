//! The figures of imports: nanozfs against the ways of zpool(8), and how soon it begins.
//!
//! One guest in single-user mode, to which more and more disks are attached. The time that a busy host
//! takes away from QEMU counts as the guest's: ratios are medians of the ratios of each round, whose
//! parts were measured right after each other.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::rows::{PAIRS, ROUND, Rows};
use super::{Figures, MOMENTS, add_disks, build, moment, strangers};
use crate::drives::drive_of;
use crate::player::Player;

/// The machine: the common appliance, two more pools, and disks of somebody else's.
const MACHINE: &str = "\
use standard
pool two raidz1 da1 da2 da3
pool three raidz1 da4 da5 da6
";
/// Disks of the two other pools, `da1` and up.
const OTHERS: u32 = 6;
/// Disks of somebody else's, the next ones.
const STRANGERS: u32 = 20;
/// Functions of the guest.
const FUNCTIONS: &str = include_str!("import.sh");
/// Something on its console.
const CONSOLE: Duration = Duration::from_secs(240);
/// What is compared: a name, and what is attached then.
const SETS: [(&str, &str); 3] = [
    ("1-pool", "1 pool on 3 disks"),
    ("3-pools", "3 pools on 9 disks"),
    ("strangers", "3 pools, 20 unrelated disks"),
];

/// What was measured.
#[derive(Default)]
pub(super) struct Import(Rows);

impl Figures for Import {
    const NAME: &'static str = "import";

    fn measure(&mut self, player: &mut Player<'_>) -> Result<()> {
        // Part of what a machine is kept under for the next time.
        let _ = write!(player.built, "{OTHERS} and {STRANGERS} disks");
        add_disks(player, OTHERS + STRANGERS)?;
        build(player, &(MACHINE.to_owned() + &strangers(OTHERS + 1..=OTHERS + STRANGERS)))?;
        for disk in &mut player.disks {
            disk.attached = disk.device.starts_with("ada");
        }
        player.single_user()?;
        self.ask(player, "prepare; cache /mnt/cache1 tank", 0)?;
        self.imports(player, "1-pool", 1)?;
        plug(player, 1..=OTHERS)?;
        self.ask(player, "cache /mnt/cache3 tank two three", 0)?;
        self.ask(player, "kenv nanozfs.pools='tank two three'", 0)?;
        self.imports(player, "3-pools", 3)?;
        plug(player, OTHERS + 1..=OTHERS + STRANGERS)?;
        self.imports(player, "strangers", 3)?;
        self.ask(player, "kenv nanozfs.wait=120; kenv nanozfs.pools=two", 0)?;
        for round in 0..=PAIRS {
            last_disk(player, &mut self.0, round)?;
        }
        Ok(())
    }

    fn raw(&self) -> String {
        self.0.raw()
    }

    fn table(&self) -> String {
        let mut text = String::new();
        self.ways(&mut text);
        self.kernels(&mut text);
        self.last_disks(&mut text);
        text
    }
}

impl Import {
    fn ask(&mut self, player: &Player<'_>, line: &str, round: usize) -> Result<()> {
        self.0.ask(player, FUNCTIONS, line, round)
    }

    fn imports(&mut self, player: &Player<'_>, set: &str, count: u32) -> Result<()> {
        for round in 0..=PAIRS {
            self.ask(player, &format!("import_round {set} {count} /mnt/cache{count}"), round)?;
        }
        Ok(())
    }

    /// The ways to import the same pools.
    fn ways(&self, text: &mut String) {
        text.push_str(
            "| import, wall s | nanozfs, until imported | nanozfs pools | zpool import -a -N | \
             cache file | against scan | against cache |\n|---|---|---|---|---|---|---|\n",
        );
        for (set, what) in SETS {
            let of = |name: &str| self.0.wall(name);
            let way = |way: &str| of(&format!("import-{set}-{way}"));
            let (all, scan, cache) = (way("nanozfs"), way("scan"), way("cache"));
            let ours = all.with(&of(&format!("asked-{set}")), |all, asked| all - asked);
            let _ = writeln!(
                text,
                "| {what} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                ours.median(),
                all.median(),
                scan.median(),
                cache.median(),
                ours.with(&scan, |one, other| one / other).median(),
                ours.with(&cache, |one, other| one / other).median()
            );
        }
    }

    /// How much of it is the kernel's own import, which takes as long whoever asks for it.
    fn kernels(&self, text: &mut String) {
        text.push_str(
            "\n| import, wall s | `zpool import`, which imports none | left of `zpool import -a -N` | \
             share |\n|---|---|---|---|\n",
        );
        for (set, what) in SETS {
            let of = |way: &str| self.0.wall(&format!("import-{set}-{way}"));
            let (look, scan) = (of("look"), of("scan"));
            let left = scan.with(&look, |scan, look| scan - look);
            let _ = writeln!(
                text,
                "| {what} | {:.2} | {:.2} | {:.2} |",
                look.median(),
                left.median(),
                left.with(&scan, |left, scan| left / scan).median()
            );
        }
    }

    fn last_disks(&self, text: &mut String) {
        text.push_str(MOMENTS);
        let seen = "from the kernel's word of the last disk to the import";
        moment(text, seen, &self.0.wall("last-disk-seen"));
        moment(text, "from plugging it in to the import", &self.0.wall("last-disk-plugged"));
    }
}

/// Plugs in the disks with these numbers and waits until GEOM has them.
fn plug(player: &mut Player<'_>, numbers: std::ops::RangeInclusive<u32>) -> Result<()> {
    let last = *numbers.end();
    for number in numbers {
        let drive = drive_of(player.disk(&format!("da{number}"))?, "");
        player.guest.as_mut().context("it has no power")?.plug(&drive)?;
    }
    let line =
        format!("until [ -c /dev/da{last} ]; do sleep 1; done; sleep 5; sysctl -n kern.disks");
    let ran = player.sh_for(&line, ROUND)?;
    println!("{}", ran.output);
    Ok(())
}

/// nanozfs waits for the last disk of a pool, and it is plugged in: how long until it imports.
fn last_disk(player: &mut Player<'_>, rows: &mut Rows, round: usize) -> Result<()> {
    let drive = drive_of(player.disk("da3")?, "");
    player.guest.as_mut().context("it has no power")?.pull("da3")?;
    player.sh_for("while [ -c /dev/da3 ]; do sleep 1; done; sleep 2", ROUND)?;
    let guest = player.guest.as_ref().context("it has no power")?;
    let from = guest.console.length();
    player.sh("/sbin/nanozfs pools -v >/dev/console 2>&1 &")?;
    let guest = player.guest.as_mut().context("it has no power")?;
    guest.console.wait(&["waiting up to"], from, CONSOLE)?;
    // Not in step with its looking.
    std::thread::sleep(Duration::from_millis(1500 + 137 * round as u64));
    let plugged = Instant::now();
    guest.plug(&drive)?;
    let (_, seen) = guest.console.wait(&["da3 at vtscsi"], from, CONSOLE)?;
    let (_, began) = guest.console.wait(&["nanozfs: import two"], from, CONSOLE)?;
    guest.console.wait(&["imported from 3 disks"], from, CONSOLE)?;
    let seen = guest.console.when(seen).context("no time")?;
    let began = guest.console.when(began).context("no time")?;
    let seconds = |from: Instant| began.saturating_duration_since(from).as_secs_f64();
    println!("last disk: plugged in {:.3} s, seen {:.3} s", seconds(plugged), seconds(seen));
    if round > 0 {
        rows.push("last-disk-plugged", seconds(plugged));
        rows.push("last-disk-seen", seconds(seen));
    }
    player.sh("sleep 2; zpool export two")?;
    Ok(())
}
