//! The figures: what nanozfs costs, each against something else in the same guest. What is printed
//! are the tables of `RESULTS.md`.

mod boot;
mod import;
mod operator;
mod rows;
mod upgrade;

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nanozfs::lab::story;

use super::player::{Player, Site};
use super::qemu;

/// Figures that are measured together, in one guest after another.
trait Figures: Default {
    /// What they are asked for by, and what the files are called in which they are kept.
    const NAME: &'static str;

    /// Measures all of them.
    fn measure(&mut self, player: &mut Player<'_>) -> Result<()>;

    /// Every single measurement, a line each.
    fn raw(&self) -> String;

    /// All of it, as tables in Markdown.
    fn table(&self) -> String;
}

/// Measures one kind of figures.
type Measure = fn(&Site) -> Result<()>;

/// Measures the figures of this name, or all where it is empty, keeps every measurement below the
/// harness's directory, and prints the tables.
pub(crate) fn measure(site: &Site, name: &str) -> Result<()> {
    let kinds: [(&str, Measure); 4] = [
        (boot::Boot::NAME, all::<boot::Boot>),
        (import::Import::NAME, all::<import::Import>),
        (upgrade::Upgrade::NAME, all::<upgrade::Upgrade>),
        (operator::Operator::NAME, all::<operator::Operator>),
    ];
    let mut meant = kinds.iter().filter(|(kind, _)| name.is_empty() || *kind == name).peekable();
    if meant.peek().is_none() {
        bail!("no figures are called {name}");
    }
    meant.try_for_each(|(_, measure)| measure(site))
}

fn all<F: Figures>(site: &Site) -> Result<()> {
    let mut player = Player::new(site, &format!("figures-{}", F::NAME))?;
    let mut figures = F::default();
    let measured = figures.measure(&mut player);
    let release = &site.world.release;
    let file = |ending: &str| site.work.join(format!("figures-{}-{release}.{ending}", F::NAME));
    fs::write(file("raw"), figures.raw())?;
    measured?;
    player.finish();
    let how = if site.kvm { "KVM" } else { "TCG" };
    let qemu = qemu::version();
    let text = format!("FreeBSD {release}, {qemu} with {how}\n\n{}", figures.table());
    fs::write(file("md"), &text)?;
    println!("{text}");
    Ok(())
}

/// Builds the machine that a story's text describes.
fn build(player: &mut Player<'_>, text: &str) -> Result<()> {
    for (_, statement) in story::parse(text).map_err(anyhow::Error::msg)? {
        player.perform(&statement)?;
    }
    Ok(())
}

/// Attaches this many more disks, `da1` and up.
fn add_disks(player: &mut Player<'_>, count: u32) -> Result<()> {
    for number in 1..=count {
        let (device, serial) = (format!("da{number}"), format!("MORE-{number:02}"));
        player.add_disk(&device, &serial, 256 << 20, Duration::ZERO)?;
    }
    Ok(())
}

/// Statements that put somebody else's partition on each of these disks.
fn strangers(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|number| format!("partition da{number} data{number}\n")).collect()
}

/// The head of a table of single moments.
const MOMENTS: &str = "\n| | median | largest |\n|---|---|---|\n";

/// A line of it, in seconds.
fn moment(text: &mut String, what: &str, all: &Series) {
    let _ = writeln!(text, "| {what} | {:.2} s | {:.2} s |", all.median(), all.largest());
}

/// Numbers by name, in the order in which they were measured.
#[derive(Debug, Default)]
struct Numbers(Vec<(String, f64)>);

impl Numbers {
    fn push(&mut self, name: &str, number: f64) {
        self.0.push((name.to_owned(), number));
    }

    /// Runs `line` in the guest, after these functions, and takes what it prints as
    /// `@@figure NAME NUMBER`.
    fn ask(
        &mut self,
        player: &Player<'_>,
        functions: &str,
        line: &str,
        limit: Duration,
    ) -> Result<()> {
        let ran = player.sh_for(&format!("{functions}\n{line}"), limit)?;
        println!("{line}\n{}", ran.output);
        if ran.exit != 0 {
            bail!("{line}: exit {}: {}", ran.exit, ran.output);
        }
        for line in ran.output.lines().filter_map(|line| line.strip_prefix("@@figure ")) {
            let (name, number) = line.split_once(' ').with_context(|| line.to_owned())?;
            self.push(name, number.trim().parse().with_context(|| line.to_owned())?);
        }
        Ok(())
    }

    /// What was measured under a name.
    fn series(&self, name: &str) -> Series {
        let named = self.0.iter().filter(|(other, _)| other == name);
        Series(named.map(|(_, number)| *number).collect())
    }

    fn raw(&self) -> String {
        self.0.iter().map(|(name, number)| format!("{name} {number}\n")).collect()
    }
}

/// A number per pair.
#[derive(Clone, Debug)]
struct Series(Vec<f64>);

impl Series {
    /// The two, pair by pair.
    fn with(&self, other: &Series, of: fn(f64, f64) -> f64) -> Series {
        Series(self.0.iter().zip(&other.0).map(|(one, other)| of(*one, *other)).collect())
    }

    fn median(&self) -> f64 {
        let mut all = self.0.clone();
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or(f64::NAN);
        match all.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => at(count / 2),
            count => f64::midpoint(at(count / 2 - 1), at(count / 2)),
        }
    }

    fn largest(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let series = Series(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(series.median(), 2.5);
        assert_eq!(Series(vec![3.0, 9.0, 1.0]).median(), 3.0);
        assert_eq!(series.largest(), 4.0);
        assert!(Series(Vec::new()).median().is_nan());
    }

    #[test]
    fn a_ratio_is_that_of_each_pair() {
        let (one, other) = (Series(vec![1.0, 10.0, 3.0]), Series(vec![2.0, 40.0, 6.0]));
        assert_eq!(one.with(&other, |one, other| one / other).median(), 0.5);
    }
}
