//! The figures of a boot: what nanozfs costs in it, and what an import takes.
//!
//! One guest in single-user mode for all that is compared, then boots of the same image with nothing
//! attached. The time that a busy host takes away
//! from QEMU counts as the guest's: ratios are medians of the ratios of each pair, whose two halves
//! were measured right after each other.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nanozfs::lab::Thing;
use nanozfs::lab::statement::Where;

use super::{Figures, Series, add_disks, build, strangers};
use crate::drives::drive_of;
use crate::maker;
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
const FUNCTIONS: &str = include_str!("boot.sh");
/// Pairs; one more before them is not counted.
const PAIRS: usize = 9;
/// Boots with nothing attached, for each time to wait.
const BOOTS: usize = 5;
/// One round of measuring.
const ROUND: Duration = Duration::from_secs(300);
/// A boot, or something on its console.
const CONSOLE: Duration = Duration::from_secs(240);
/// Scripts of rc(8) right before and right after nanozfs's, which say so on the console.
const MARKS: [(&str, &str); 2] = [
    ("vmbefore", "# REQUIRE: hostid root\n# BEFORE: nanozfs"),
    ("vmafter", "# REQUIRE: nanozfs\n# BEFORE: zpool mountcritlocal"),
];
/// Seconds to wait for disks in boots with nothing attached.
const WAITS: [u64; 2] = [0, 5];

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    name: String,
    wall: f64,
    cpu: f64,
    forks: f64,
    kilobytes: f64,
    /// Of these, what the longest zpool(8) took.
    import_wall: f64,
    import_cpu: f64,
}

/// A number in a row.
type Field = fn(&Row) -> f64;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Boot(Vec<Row>);

impl Figures for Boot {
    const NAME: &'static str = "boot";

    fn measure(&mut self, player: &mut Player<'_>) -> Result<()> {
        measure(player, self)
    }

    fn raw(&self) -> String {
        self.0.iter().map(|row| format!("{row:?}\n")).collect()
    }

    fn table(&self) -> String {
        let mut text = String::new();
        self.early_boot(&mut text);
        self.imports(&mut text);
        self.moments(&mut text);
        text
    }
}

fn measure(player: &mut Player<'_>, rows: &mut Boot) -> Result<()> {
    machine(player)?;
    for disk in &mut player.disks {
        disk.attached = disk.device.starts_with("ada");
    }
    player.single_user()?;
    ask(player, rows, "prepare; cache /mnt/cache1 tank", 0)?;
    for round in 0..=PAIRS {
        ask(player, rows, "boot_round", round)?;
    }
    ask(player, rows, "memory", 1)?;
    imports(player, rows, "1-pool", 1)?;
    plug(player, 1..=OTHERS)?;
    ask(player, rows, "cache /mnt/cache3 tank two three", 0)?;
    ask(player, rows, "kenv nanozfs.pools='tank two three'", 0)?;
    imports(player, rows, "3-pools", 3)?;
    plug(player, OTHERS + 1..=OTHERS + STRANGERS)?;
    imports(player, rows, "strangers", 3)?;
    ask(player, rows, "kenv nanozfs.wait=120; kenv nanozfs.pools=two", 0)?;
    for round in 0..=PAIRS {
        last_disk(player, rows, round)?;
    }
    if let Some(guest) = player.guest.take() {
        guest.cut();
    }
    for disk in &mut player.disks {
        disk.attached = disk.os.is_some();
    }
    for _ in 0..BOOTS {
        for wait in WAITS {
            nothing_attached(player, rows, wait)?;
        }
    }
    Ok(())
}

/// Builds the machine.
fn machine(player: &mut Player<'_>) -> Result<()> {
    // Part of what a machine is kept under for the next time.
    let _ = write!(player.built, "{OTHERS} and {STRANGERS} disks");
    add_disks(player, OTHERS + STRANGERS)?;
    build(player, &(MACHINE.to_owned() + &strangers(OTHERS + 1..=OTHERS + STRANGERS)))?;
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

/// Runs functions in the guest; what they measured counts, but for round 0.
fn ask(player: &Player<'_>, rows: &mut Boot, line: &str, round: usize) -> Result<()> {
    let ran = player.sh_for(&format!("{FUNCTIONS}\n{line}"), ROUND)?;
    println!("{line}\n{}", ran.output);
    if ran.output.contains("@@wrong") {
        bail!("{line}: {}", ran.output);
    }
    for words in ran.output.lines().filter_map(|line| line.split_once("@@row ")) {
        let words: Vec<&str> = words.1.split_whitespace().collect();
        let [name, wall, cpu, forks, kilobytes, status, import_wall, import_cpu] = words.as_slice()
        else {
            bail!("{line}: not a row: {words:?}");
        };
        // The last thing that rc.initdiskless does is a test which is not so.
        if *status != "0" && !name.ends_with("-diskless") {
            bail!("{line}: {name}: exit {status}: {}", ran.output);
        }
        if round > 0 {
            rows.0.push(Row {
                name: (*name).to_owned(),
                wall: wall.parse()?,
                cpu: cpu.parse()?,
                forks: forks.parse()?,
                kilobytes: kilobytes.parse()?,
                import_wall: import_wall.parse()?,
                import_cpu: import_cpu.parse()?,
            });
        }
    }
    Ok(())
}

fn imports(player: &Player<'_>, rows: &mut Boot, set: &str, count: u32) -> Result<()> {
    for round in 0..=PAIRS {
        ask(player, rows, &format!("import_round {set} {count} /mnt/cache{count}"), round)?;
    }
    Ok(())
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
fn last_disk(player: &mut Player<'_>, rows: &mut Boot, round: usize) -> Result<()> {
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

/// A boot without any disk of the pool: how long rc(8) is with nanozfs.
fn nothing_attached(player: &mut Player<'_>, rows: &mut Boot, wait: u64) -> Result<()> {
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

impl Boot {
    fn push(&mut self, name: &str, wall: f64) {
        let name = name.to_owned();
        self.0.push(Row { name, wall, ..Row::default() });
    }

    /// What was measured under a name, in the order of the pairs.
    fn series(&self, name: &str, field: Field) -> Series {
        Series(self.0.iter().filter(|row| row.name == name).map(field).collect())
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
            let of = |name: &str| self.series(name, field);
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

    /// The ways to import the same pools, and how much of it is the kernel's alone.
    fn imports(&self, text: &mut String) {
        text.push_str(
            "\n| import, wall s | nanozfs, until imported | nanozfs pools | zpool import -a -N | \
             cache file | against scan | against cache |\n|---|---|---|---|---|---|---|\n",
        );
        let sets = [
            ("1-pool", "1 pool on 3 disks"),
            ("3-pools", "3 pools on 9 disks"),
            ("strangers", "3 pools, 20 unrelated disks"),
        ];
        for (set, what) in sets {
            let of = |name: &str| self.series(name, |row| row.wall);
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
        text.push_str(
            "\n| import, wall s | `zpool import`, which imports none | left of `zpool import -a -N` | \
             share |\n|---|---|---|---|\n",
        );
        for (set, what) in sets {
            let of = |way: &str| self.series(&format!("import-{set}-{way}"), |row| row.wall);
            let (look, scan) = (of("look"), of("scan"));
            // Whoever asks the kernel to import these pools waits for that.
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

    /// Single moments, and the memory.
    fn moments(&self, text: &mut String) {
        text.push_str("\n| | median | largest |\n|---|---|---|\n");
        let mut single = |name: &str, what: &str| {
            let all = self.series(name, |row| row.wall);
            let (median, most) = (all.median(), all.largest());
            let _ = writeln!(text, "| {what} | {median:.2} s | {most:.2} s |");
        };
        single("last-disk-seen", "from the kernel's word of the last disk to the import");
        single("last-disk-plugged", "from plugging it in to the import");
        for wait in WAITS {
            let what = format!("rc.d/nanozfs with nothing attached, wait=\"{wait}\"");
            single(&format!("nothing-{wait}"), &what);
        }
        let _ = writeln!(
            text,
            "\nPeak memory of the executable in a boot: {} kB.",
            self.series("memory", |row| row.kilobytes).largest()
        );
    }
}

fn line(text: &mut String, what: &str, nanozfs: &Series, stock: &Series) {
    let ratio = nanozfs.with(stock, |one, other| one / other).median();
    let (nanozfs, stock) = (nanozfs.median(), stock.median());
    let _ = writeln!(text, "| {what} | {nanozfs:.2} | {stock:.2} | {ratio:.2} |");
}
