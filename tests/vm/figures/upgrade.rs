//! The figures of upgrades: what an install costs against doing the same by hand, what it writes when
//! little has changed, and how long the way back takes.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Figures, Numbers, build};
use crate::player::Player;

const MACHINE: &str = "\
use standard os-drive ada0 serial=OS-1 layout=gpt label=nano
config require_signature no
";
/// Pairs; one more before them is not counted.
const PAIRS: usize = 5;
/// One install, by either way.
const INSTALL: Duration = Duration::from_secs(900);
/// What is new in the second image, of the 256 MB of a slot: 2 %.
const CHANGE: &str = "dd if=/dev/random of=more bs=1m count=5 2>/dev/null";
/// Bytes of a slot, in kB.
const SLOT: f64 = 262_144.0;

/// Functions of the guest.
const FUNCTIONS: &str = include_str!("upgrade.sh");

/// What was measured.
#[derive(Default)]
pub(super) struct Upgrade(Numbers);

impl Figures for Upgrade {
    const NAME: &'static str = "upgrade";

    fn measure(&mut self, player: &mut Player<'_>) -> Result<()> {
        build(player, MACHINE)?;
        player.boot()?;
        player.make_release("2.1", "")?;
        player.make_release("2.2", CHANGE)?;
        for round in 0..=PAIRS {
            let mut pair = Numbers::default();
            ask(player, &mut pair, "wipe; timed install nanozfs upgrade install $first")?;
            ask(player, &mut pair, "wipe; timed hand sh -c \"$HAND\"")?;
            if round > 0 {
                self.0.0.append(&mut pair.0);
            }
        }
        // Most of the second image is there already.
        let both = "nanozfs upgrade install $first >/dev/null 2>&1 && before=$(written) && \
            nanozfs upgrade $second >/dev/null 2>&1 && echo @@figure changed $(($(written) - before))";
        ask(player, &mut self.0, both)?;
        player.shutdown()?;
        player.boot()?;
        let kept =
            "until nanozfs upgrade log | grep kept; do sleep 2; done; nanozfs upgrade rollback";
        ask(player, &mut self.0, kept)?;
        player.shutdown()?;
        player.boot()?;
        let took = player.last.output.split("mode normal, ").nth(1);
        let took = took.and_then(|rest| rest.split(' ').next()?.parse().ok());
        self.0.push("boot", took.context("the boot after a rollback was not normal")?);
        self.0.push("rollback", exchanged(player)?);
        Ok(())
    }

    fn raw(&self) -> String {
        self.0.raw()
    }

    fn table(&self) -> String {
        let series = |name: &str| self.0.series(name);
        // Throughput is compared: the ratio is that of the times, the other way round.
        let (ours, hand) = (series("install"), series("hand"));
        let ratio = hand.with(&ours, |hand, ours| hand / ours).median();
        let mut text = String::from("| an upgrade | | goal |\n|---|---|---|\n");
        let mut row = |what: &str, number: String, goal: &str| {
            let _ = writeln!(text, "| {what} | {number} | {goal} |");
        };
        row("install into an empty slot", format!("{:.1} s", ours.median()), "");
        row("dd, fsck_ffs -n and sha256 by hand", format!("{:.1} s", hand.median()), "");
        row("throughput against that", format!("{ratio:.2}"), "0.9");
        let memory = series("install-memory").median() / 1024.0;
        row("peak memory of an install", format!("{memory:.1} MB"), "16 MB");
        let changed = series("changed").median() / SLOT * 100.0;
        row("written for an image that differs by 2 %", format!("{changed:.1} %"), "3 %");
        let rollback = series("rollback").median();
        row("rollback, until the data of before are mounted", format!("{rollback:.1} s"), "2 s");
        let boot = series("boot").median();
        row(
            "all of nanozfs in that boot, import and promotions included",
            format!("{boot:.1} s"),
            "",
        );
        text
    }
}

/// Runs a line in the guest, and takes the figures that it prints.
fn ask(player: &Player<'_>, numbers: &mut Numbers, line: &str) -> Result<()> {
    numbers.ask(player, FUNCTIONS, line, INSTALL)
}

/// From where the boot begins to exchange the data until they are mounted.
fn exchanged(player: &Player<'_>) -> Result<f64> {
    let console = &player.guest.as_ref().context("it has no power")?.console;
    let (_, began) = console.wait(&["nanozfs: boot: TRIAL of"], 0, Duration::ZERO)?;
    let (_, mounted) = console.wait(&["nanozfs: var: "], began, Duration::ZERO)?;
    let took = console.when(mounted).zip(console.when(began)).context("no time")?;
    Ok((took.0 - took.1).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_and_the_ratio_is_that_of_the_pairs() {
        let found = [
            ("install", 10.0),
            ("hand", 9.0),
            ("install", 20.0),
            ("hand", 22.0),
            ("install-memory", 5120.0),
            ("changed", 5242.88),
            ("rollback", 1.5),
            ("boot", 4.0),
        ];
        let found = found.map(|(name, number)| (name.to_owned(), number)).to_vec();
        let text = Upgrade(Numbers(found)).table();
        assert!(text.contains("| throughput against that | 1.00 | 0.9 |"), "{text}");
        assert!(text.contains("| peak memory of an install | 5.0 MB | 16 MB |"), "{text}");
        assert!(text.contains("differs by 2 % | 2.0 % | 3 % |"), "{text}");
    }
}
