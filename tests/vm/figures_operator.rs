//! The figures of what an operator types: how long the machine takes to say how it is, and to save
//! and bring back one file among many.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nanozfs::lab::story;

use super::figures::Series;
use super::player::{Player, Site};

/// The machine: three pools on 9 disks, 11 disks of somebody else's, and room for many files in `/etc`.
const MACHINE: &str = "\
use standard
file image /conf/base/etc/md_size \"65536\\n\"
pool two raidz1 da1 da2 da3
pool three raidz1 da4 da5 da6
config pools \"tank two three\"
";
/// Disks besides those of the first pool.
const OTHERS: u32 = 17;
/// Those of them that belong to pools.
const OF_POOLS: u32 = 6;
/// Pairs; one more before them is not counted.
const PAIRS: usize = 5;
/// A round of measuring.
const ROUND: Duration = Duration::from_secs(600);
/// Functions of the guest.
const FUNCTIONS: &str = include_str!("figures_operator.sh");

type Found = Vec<(String, f64)>;

/// Measures, and prints the table.
pub(crate) fn all(site: &Site) -> Result<()> {
    let mut player = Player::new(site, "figures-operator")?;
    let mut found = Vec::new();
    let measured = measure(&mut player, &mut found);
    let release = &site.world.release;
    let raw: String = found.iter().map(|(name, number)| format!("{name} {number}\n")).collect();
    fs::write(site.work.join(format!("figures-operator-{release}.raw")), raw)?;
    measured?;
    player.finish();
    let text = table(&found);
    fs::write(site.work.join(format!("figures-operator-{release}.md")), &text)?;
    println!("{text}");
    Ok(())
}

fn measure(player: &mut Player<'_>, found: &mut Found) -> Result<()> {
    let _ = write!(player.built, "{OTHERS} disks");
    for number in 1..=OTHERS {
        let (device, serial) = (format!("da{number}"), format!("MORE-{number:02}"));
        player.add_disk(&device, &serial, 256 << 20, Duration::ZERO)?;
    }
    let strangers = (OF_POOLS + 1..=OTHERS).map(|n| format!("partition da{n} data{n}\n"));
    let text = MACHINE.to_owned() + &strangers.collect::<String>();
    for (_, statement) in story::parse(&text).map_err(anyhow::Error::msg)? {
        player.perform(&statement)?;
    }
    player.boot()?;
    ask(player, found, "many", 1)?;
    for round in 0..=PAIRS {
        ask(player, found, "timed status nanozfs status", round)?;
        let change = |who: &str| format!("echo {who} {round} >/etc/many/7/7");
        // A function of the shell, so by its clock.
        let theirs = "before=$(date +%s); save_cfg; echo @@figure theirs $(($(date +%s) - before))";
        ask(player, found, &format!("{}; {theirs}", change("theirs")), round)?;
        ask(player, found, &format!("{}; timed save nanozfs cfg save", change("ours")), round)?;
        ask(player, found, "timed revert nanozfs cfg revert @1", round)?;
    }
    Ok(())
}

/// Runs a line in the guest, and takes the figures that it prints, but for those of round 0.
fn ask(player: &Player<'_>, found: &mut Found, line: &str, round: usize) -> Result<()> {
    let ran = player.sh_for(&format!("{FUNCTIONS}\n{line}"), ROUND)?;
    println!("{line}\n{}", ran.output);
    if ran.exit != 0 {
        bail!("{line}: exit {}: {}", ran.exit, ran.output);
    }
    for line in ran.output.lines().filter_map(|line| line.strip_prefix("@@figure ")) {
        let (name, number) = line.split_once(' ').with_context(|| line.to_owned())?;
        let number = number.trim().parse().with_context(|| line.to_owned())?;
        if round > 0 {
            found.push((name.to_owned(), number));
        }
    }
    Ok(())
}

/// Everything, as a table in Markdown.
fn table(found: &[(String, f64)]) -> String {
    let series = |name: &str| {
        Series(found.iter().filter(|(other, _)| other == name).map(|(_, number)| *number).collect())
    };
    let (save, theirs) = (series("save"), series("theirs"));
    let ratio = theirs.with(&save, |theirs, save| theirs / save).median();
    let mut text = String::from("| what is typed | | goal |\n|---|---|---|\n");
    let mut row = |what: &str, number: String, goal: &str| {
        let _ = writeln!(text, "| {what} | {number} | {goal} |");
    };
    let seconds = |name: &str| format!("{:.2} s", series(name).median());
    row("`status`, 3 pools and 20 disks: its own CPU time", seconds("status-own"), "0.2 s");
    row("`status`, by the clock, with zpool and zfs", seconds("status"), "");
    row("`cfg save`, 1 of 3,000 files changed, with its snapshot", seconds("save"), "");
    row("a cmp for each file, as save_cfg", seconds("theirs"), "");
    row("times faster", format!("{ratio:.1}"), "5");
    row("`cfg revert @1`, 1 of 3,000 files", seconds("revert"), "1 s");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_times_faster_is_of_the_pairs() {
        let found = [
            ("status", 0.5),
            ("status-own", 0.04),
            ("save", 1.0),
            ("theirs", 9.0),
            ("save", 2.0),
            ("theirs", 14.0),
            ("revert", 0.8),
        ];
        let found = found.map(|(name, number)| (name.to_owned(), number)).to_vec();
        let text = table(&found);
        assert!(text.contains("its own CPU time | 0.04 s | 0.2 s |"), "{text}");
        assert!(text.contains("| times faster | 8.0 | 5 |"), "{text}");
    }
}
