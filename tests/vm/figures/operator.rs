//! The figures of what an operator types: how long the machine takes to say how it is, and to save
//! and bring back one file among many.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::{Figures, Numbers, add_disks, build, strangers};
use crate::player::Player;

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
const FUNCTIONS: &str = include_str!("operator.sh");

/// What was measured.
#[derive(Default)]
pub(super) struct Operator(Numbers);

impl Operator {
    /// Runs a line in the guest; what it measured counts, but for round 0.
    fn ask(&mut self, player: &Player<'_>, line: &str, round: usize) -> Result<()> {
        let mut unused = Numbers::default();
        let numbers = if round > 0 { &mut self.0 } else { &mut unused };
        numbers.ask(player, FUNCTIONS, line, ROUND)
    }
}

impl Figures for Operator {
    const NAME: &'static str = "operator";

    fn measure(&mut self, player: &mut Player<'_>) -> Result<()> {
        let _ = write!(player.built, "{OTHERS} disks");
        add_disks(player, OTHERS)?;
        build(player, &(MACHINE.to_owned() + &strangers(OF_POOLS + 1..=OTHERS)))?;
        player.boot()?;
        self.ask(player, "many", 1)?;
        for round in 0..=PAIRS {
            self.ask(player, "timed status nanozfs status", round)?;
            let change = |who: &str| format!("echo {who} {round} >/etc/many/7/7");
            // A function of the shell, so by its clock.
            let theirs =
                "before=$(date +%s); save_cfg; echo @@figure theirs $(($(date +%s) - before))";
            self.ask(player, &format!("{}; {theirs}", change("theirs")), round)?;
            self.ask(player, &format!("{}; timed save nanozfs cfg save", change("ours")), round)?;
            self.ask(player, "timed revert nanozfs cfg revert @1", round)?;
        }
        Ok(())
    }

    fn raw(&self) -> String {
        self.0.raw()
    }

    fn table(&self) -> String {
        let series = |name: &str| self.0.series(name);
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
        let text = Operator(Numbers(found)).table();
        assert!(text.contains("its own CPU time | 0.04 s | 0.2 s |"), "{text}");
        assert!(text.contains("| times faster | 8.0 | 5 |"), "{text}");
    }
}
