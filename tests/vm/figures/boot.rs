//! The figures of a boot: what nanozfs costs in it against the stock scripts.
//!
//! One guest in single-user mode for all that is compared, then boots of the same image with nothing
//! attached. The time that a busy host takes away from QEMU counts as the guest's: ratios are medians
//! of the ratios of each pair, whose two halves were measured right after each other.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use nanozfs::lab::Thing;
use nanozfs::lab::statement::Where;

use super::rows::{Field, PAIRS, Rows};
use super::{Figures, MOMENTS, Series, build, moment};
use crate::maker;
use crate::player::Player;

/// Functions of the guest.
const FUNCTIONS: &str = include_str!("boot.sh");
/// Boots with nothing attached, for each time to wait.
const BOOTS: usize = 5;
/// A boot, or something on its console.
const CONSOLE: Duration = Duration::from_secs(240);
/// Scripts of rc(8) right before and right after nanozfs's, which say so on the console.
const MARKS: [(&str, &str); 2] = [
    ("vmbefore", "# REQUIRE: hostid root\n# BEFORE: nanozfs"),
    ("vmafter", "# REQUIRE: nanozfs\n# BEFORE: zpool mountcritlocal"),
];
/// Seconds to wait for disks in boots with nothing attached.
const WAITS: [u64; 2] = [0, 5];

/// What was measured.
#[derive(Default)]
pub(super) struct Boot(Rows);

impl Figures for Boot {
    const NAME: &'static str = "boot";

    fn measure(&mut self, player: &mut Player<'_>) -> Result<()> {
        machine(player)?;
        player.single_user()?;
        self.ask(player, "prepare; cache /mnt/cache1 tank", 0)?;
        for round in 0..=PAIRS {
            self.ask(player, "boot_round", round)?;
        }
        self.ask(player, "memory", 1)?;
        if let Some(guest) = player.guest.take() {
            guest.cut();
        }
        for disk in &mut player.disks {
            disk.attached = disk.os.is_some();
        }
        for _ in 0..BOOTS {
            for wait in WAITS {
                nothing_attached(player, &mut self.0, wait)?;
            }
        }
        Ok(())
    }

    fn raw(&self) -> String {
        self.0.raw()
    }

    fn table(&self) -> String {
        let mut text = String::new();
        self.early_boot(&mut text);
        self.moments(&mut text);
        text
    }
}

impl Boot {
    fn ask(&mut self, player: &Player<'_>, line: &str, round: usize) -> Result<()> {
        self.0.ask(player, FUNCTIONS, line, round)
    }

    /// What nanozfs takes in a boot, against the stock scripts.
    fn early_boot(&self, text: &mut String) {
        text.push_str(
            "| early boot, without the import itself | nanozfs | stock scripts | ratio |\n\
             |---|---|---|---|\n",
        );
        // The import itself is one fork, too.
        let fields: [(&str, Field); 3] = [
            ("CPU, s", |row| row.cpu - row.import_cpu),
            ("wall, s", |row| row.wall - row.import_wall),
            ("forks", |row| row.forks - if row.import_wall > 0.0 { 1.0 } else { 0.0 }),
        ];
        for (what, field) in fields {
            let of = |name: &str| self.0.series(name, field);
            // What measuring costs, in which true(1) itself is one fork.
            let own = of("empty").median() - if what == "forks" { 1.0 } else { 0.0 };
            let own = Series(vec![own; PAIRS]);
            let nothing = of("rc-nothing");
            let nanozfs = of("nanozfs-rc").with(&nothing, |all, nothing| all - nothing);
            let stock = of("stock-rc").with(&nothing, |all, nothing| all - nothing);
            let etc = of("nanozfs-diskless").with(&own, |all, own| all - own);
            let both = of("stock-diskless").with(&own, |all, own| all - own);
            let stock = stock.with(&both, |one, other| one + other);
            line(text, what, &nanozfs, &stock);
            let nanozfs = nanozfs.with(&etc, |one, other| one + other);
            line(text, &format!("{what}, with memory /etc"), &nanozfs, &stock);
        }
    }

    fn moments(&self, text: &mut String) {
        text.push_str(MOMENTS);
        for wait in WAITS {
            let what = format!("rc.d/nanozfs with nothing attached, wait=\"{wait}\"");
            moment(text, &what, &self.0.wall(&format!("nothing-{wait}")));
        }
        let _ = writeln!(
            text,
            "\nPeak memory of the executable in a boot: {} kB.",
            self.0.series("memory", |row| row.kilobytes).largest()
        );
    }
}

/// Builds the machine.
fn machine(player: &mut Player<'_>) -> Result<()> {
    build(player, "use standard\n")?;
    let here = |name: &str| format!("/etc/rc.d/{name}");
    for (name, order) in MARKS {
        let text = format!("#!/bin/sh\n# PROVIDE: {name}\n{order}\necho '@@{name}@@'\n");
        let thing = Thing::File(text.into_bytes());
        for (below, path) in player.places(&Where::Image, here(name).as_ref())? {
            player.script.line(&maker::put(&below, &path, &thing, 0o555, (0, 0)));
        }
    }
    // What rc.initdiskless makes /etc and /var from where nobody ran prepare-image.
    for (below, _) in player.places(&Where::Image, "/conf".as_ref())? {
        player.script.line(&format!(
            "cd {below}/conf && mkdir stock && cp -Rp base/etc nanozfs/var stock/ && \
             echo 65536 > stock/var/md_size && cd / || die stock"
        ));
    }
    Ok(())
}

/// A boot without any disk of the pool: how long rc(8) is with nanozfs.
fn nothing_attached(player: &mut Player<'_>, rows: &mut Rows, wait: u64) -> Result<()> {
    player.kenv.push(("nanozfs.wait".to_owned(), wait.to_string()));
    player.start("boot")?;
    let guest = player.guest.take().context("it has no power")?;
    let (_, before) = guest.console.wait(&["@@vmbefore@@"], 0, CONSOLE)?;
    let (_, after) = guest.console.wait(&["@@vmafter@@"], before, CONSOLE)?;
    let (before, after) = (guest.console.when(before), guest.console.when(after));
    let took = after.context("no time")?.saturating_duration_since(before.context("no time")?);
    println!("nothing attached, wait {wait}: {:.3} s", took.as_secs_f64());
    rows.push(&format!("nothing-{wait}"), took.as_secs_f64());
    guest.cut();
    Ok(())
}

fn line(text: &mut String, what: &str, nanozfs: &Series, stock: &Series) {
    let ratio = nanozfs.with(stock, |one, other| one / other).median();
    let (nanozfs, stock) = (nanozfs.median(), stock.median());
    let _ = writeln!(text, "| {what} | {nanozfs:.2} | {stock:.2} | {ratio:.2} |");
}
