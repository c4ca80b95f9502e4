//! The end of a boot: the closing lines, and the record of it for programs.

use std::path::Path;
use std::time::Duration;

use super::cfg::Origin;
use super::{Boot, past, replace};
use crate::host::{mounted_at, why};
use crate::report::json::{array, object, seconds, text};
use crate::report::{Code, Finding, Impact, Mode};

/// The kernel environment variable that holds the mode of the last boot. It is not `nanozfs.mode`,
/// which is how the mode is asked for at the loader prompt.
pub const STATE: &str = "nanozfs.state";
/// The record. Not below `/var/run`, which rc.d/cleanvar empties after us.
pub const RECORD: &str = "/var/db/nanozfs/boot.json";
/// Version of the record's form; it grows when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// Writes the record and says how the boot ended.
pub fn step(boot: &mut Boot<'_, '_>, took: Duration) {
    keep(boot, took);
    close(boot, took);
}

/// Writes the record, and the mode into the kernel's environment.
pub fn keep(boot: &mut Boot<'_, '_>, took: Duration) {
    if !boot.act {
        return;
    }
    write(boot, took);
    let mode = boot.mode();
    if boot.host.kenv(STATE).as_deref() != Some(mode.name())
        && let Err(error) = boot.host.set_kenv(STATE, mode.name())
    {
        boot.find(Finding::new(Code::E06, format!("kenv {STATE}: {error}")));
    }
    past::leave_word(boot);
}

/// Writes the record, unless this run changed nothing and there is one.
fn write(boot: &mut Boot<'_, '_>, took: Duration) {
    let files = boot.host.files();
    let path = Path::new(RECORD);
    let unchanged = boot.outcomes().iter().all(|outcome| outcome.changes == 0);
    if unchanged && matches!(files.find(path), Ok(Some(_))) {
        return;
    }
    let mounts = boot.host.mounts().unwrap_or_default();
    let Some(var) = mounted_at(&mounts, Path::new(super::var::VAR)).filter(|var| !var.read_only)
    else {
        return; // said already: there is no /var, and one below a later mount is of no use
    };
    let durable = !var.in_memory();
    let content = json(boot, took);
    let written = path
        .ancestors()
        .skip(1)
        .take(2)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .try_for_each(|directory| match files.find(directory)? {
            Some(_) => Ok(()),
            None => files.make_directory(directory),
        })
        .and_then(|()| replace::write(files, path, content.as_bytes(), durable));
    if let Err(error) = written {
        boot.find(Finding::new(Code::E06, format!("{RECORD}: {}", why(&error))));
    }
}

/// The record of this boot, on one line.
fn json(boot: &Boot<'_, '_>, took: Duration) -> String {
    let helpers = boot.outcomes().iter().map(|outcome| {
        object(&[
            ("helper", text(outcome.helper.name())),
            ("line", text(&outcome.line)),
            ("changes", outcome.changes.to_string()),
            ("seconds", seconds(outcome.took)),
        ])
    });
    let findings = boot.findings().iter().map(|finding| {
        let details = finding.details.iter().map(|(word, line)| text(&format!("{word}: {line}")));
        object(&[
            ("code", text(finding.code.id())),
            ("what", text(&finding.what)),
            ("details", array(details)),
            ("unchanged", text(finding.code.unchanged())),
            ("next", text(finding.advice())),
        ])
    });
    let record = object(&[
        ("schema", SCHEMA.to_string()),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("mode", text(boot.mode().name())),
        ("seconds", seconds(took)),
        ("helpers", array(helpers)),
        ("findings", array(findings)),
    ]);
    format!("{record}\n")
}

/// The closing lines: one when all is well, a screen to be read aloud in recovery.
fn close(boot: &mut Boot<'_, '_>, took: Duration) {
    let mode = boot.mode();
    let seconds = took.as_secs_f64();
    let verb = if boot.act { "mode" } else { "would be in mode" };
    let mut codes: Vec<_> = boot
        .findings()
        .iter()
        .filter(|finding| {
            finding.code.impact() == Impact::Degraded || finding.code.is_cause_of_recovery()
        })
        .map(|finding| finding.code.id())
        .collect();
    codes.dedup();
    if boot.barrier {
        return boot.console.say("boot: the mode is known once the pools are imported");
    }
    match mode {
        Mode::Normal => boot.console.say(&format!("boot: {verb} normal, {seconds:.1} s")),
        Mode::Degraded => {
            let text = format!("boot: {verb} DEGRADED, {seconds:.1} s: see {}", codes.join(" "));
            boot.console.say(&text);
        }
        Mode::Recovery => {
            boot.console
                .say(&format!("boot: {verb} RECOVERY, {seconds:.1} s: see {}", codes.join(" ")));
            if boot.act {
                screen(boot);
            }
        }
    }
}

/// What a person at the console reads aloud over the phone.
fn screen(boot: &mut Boot<'_, '_>) {
    const RULE: usize = 72;
    let cfg = match &boot.cfg {
        Some(Origin::Recovery) => "The configuration is the recovery copy.",
        _ => "The configuration is what the image brought: there is no /cfg.",
    };
    let memory = boot.findings().iter().any(|finding| finding.code == Code::E42);
    let mut lines = vec![cfg.to_owned()];
    if memory {
        lines.push("/var is in memory. It is empty again after a reboot.".to_owned());
    }
    let causes: Vec<_> =
        boot.findings().iter().filter(|finding| finding.code.is_cause_of_recovery()).collect();
    for cause in &causes {
        lines.push(format!("{} {}", cause.code.id(), cause.what));
        // What was called is for those who can read the console; a disk's name is for everybody.
        let spoken = cause.details.iter().filter(|(word, _)| *word != "command");
        lines.extend(spoken.map(|(word, text)| format!("{word}: {text}")));
    }
    lines.push("No data was changed. The machine goes on booting.".to_owned());
    let advice = causes.first().map_or("nanozfs boot -v", |cause| cause.advice()).to_owned();
    boot.console.plain(&"-".repeat(RULE));
    boot.console.plain(" RECOVERY MODE: this machine started without its own /cfg.");
    for (number, line) in lines.iter().enumerate() {
        boot.console.item(number + 1, line, RULE);
    }
    boot.console.item_named("To do", &advice, RULE);
    boot.console.plain(&"-".repeat(RULE));
}
