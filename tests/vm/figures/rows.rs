//! Measurements in a guest in single-user mode: a row each, with the time, the processor and the forks
//! of a command.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Series;
use crate::player::Player;

/// Functions of that guest.
const FUNCTIONS: &str = include_str!("rows.sh");
/// One round of measuring.
pub(super) const ROUND: Duration = Duration::from_secs(300);
/// Pairs; one more before them is not counted.
pub(super) const PAIRS: usize = 9;

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) wall: f64,
    pub(super) cpu: f64,
    pub(super) forks: f64,
    pub(super) kilobytes: f64,
    /// Of these, what the longest zpool(8) took.
    pub(super) import_wall: f64,
    pub(super) import_cpu: f64,
}

/// A number in a row.
pub(super) type Field = fn(&Row) -> f64;

/// All that were measured.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<Row>);

impl Rows {
    /// A row that is a time alone.
    pub(super) fn push(&mut self, name: &str, wall: f64) {
        let name = name.to_owned();
        self.0.push(Row { name, wall, ..Row::default() });
    }

    /// What was measured under a name, in the order of the pairs.
    pub(super) fn series(&self, name: &str, field: Field) -> Series {
        Series(self.0.iter().filter(|row| row.name == name).map(field).collect())
    }

    /// The same of the time that it took.
    pub(super) fn wall(&self, name: &str) -> Series {
        self.series(name, |row| row.wall)
    }

    pub(super) fn raw(&self) -> String {
        self.0.iter().map(|row| format!("{row:?}\n")).collect()
    }

    /// Runs a line in the guest, after the functions that all share and these; what it measured
    /// counts, but for round 0.
    pub(super) fn ask(
        &mut self,
        player: &Player<'_>,
        functions: &str,
        line: &str,
        round: usize,
    ) -> Result<()> {
        let ran = player.sh_for(&format!("{FUNCTIONS}\n{functions}\n{line}"), ROUND)?;
        println!("{line}\n{}", ran.output);
        if ran.output.contains("@@wrong") {
            bail!("{line}: {}", ran.output);
        }
        for words in ran.output.lines().filter_map(|line| line.split_once("@@row ")) {
            let words: Vec<&str> = words.1.split_whitespace().collect();
            let [name, wall, cpu, forks, kilobytes, status, import_wall, import_cpu] =
                words.as_slice()
            else {
                bail!("{line}: not a row: {words:?}");
            };
            // The last thing that rc.initdiskless does is a test which is not so.
            if *status != "0" && !name.ends_with("-diskless") {
                bail!("{line}: {name}: exit {status}: {}", ran.output);
            }
            if round > 0 {
                self.0.push(Row {
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
}
