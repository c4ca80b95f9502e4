//! A prompt on a lab machine: `nanozfs` and a few commands of a system, and hands that pull disks.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::play::{self, Player};
use super::statement::Statement;
use super::story;
use super::{Cut, Lab};
use crate::host::{FileKind, Files, Host};

const HELP: &str = "\
On the machine:
  nanozfs ...       the suite itself: nanozfs help
  ls, cat, mount, kenv, zpool, zfs, glabel, uptime
Hands and power:
  boot              power on, and what rc does; the machine is off at first
  single-user       power on, and nothing more
  shutdown          an orderly one
  cut [lost|kept|torn|reordered]  the power goes; that becomes of what was not synced
  disks             every disk, plugged in or not
  detach ada2       pull a disk
  attach ada2 [as=da0] [after=4s]   plug it in
  swap os-drive da0 serial=OS-2     another drive with the same image
  kenv NAME VALUE   type this at the loader prompt before the next boot
Also every statement of a story: file tank/nano/cfg /motd \"hello\\n\"
  help, exit
";

/// Talks with a person, or reads commands from a pipe, until the end.
///
/// # Errors
///
/// When the machine's directory cannot be used.
pub fn start(directory: Option<&Path>) -> io::Result<bool> {
    let mut own = None;
    let root = match directory {
        Some(path) => path.to_path_buf(),
        None => {
            let path = std::env::temp_dir().join(format!("nanozfs-lab.{}", std::process::id()));
            own.insert(path).clone()
        }
    };
    let lab = if Lab::exists(&root) { Lab::open(&root)? } else { play::standard(&root)? };
    let talked = talk(&lab);
    if let Some(path) = own {
        std::fs::remove_dir_all(path)?;
    } else {
        lab.save()?;
    }
    talked
}

fn talk(lab: &Lab) -> io::Result<bool> {
    let mut out = io::stdout();
    let person = io::stdin().is_terminal();
    if person {
        writeln!(
            out,
            "A lab machine in {}. `boot` starts it, `help` helps.",
            lab.root().display()
        )?;
    }
    let mut input = io::stdin().lock();
    loop {
        write!(out, "lab# ")?;
        out.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            writeln!(out)?;
            return Ok(true);
        }
        if !person {
            writeln!(out, "{}", line.trim_end())?;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["exit" | "quit"] => return Ok(true),
            ["help"] => write!(out, "{HELP}")?,
            _ => {
                let answer = command(lab, &words, &line)
                    .unwrap_or_else(|error| format!("{}: {error}\n", words.first().unwrap_or(&"")));
                write!(out, "{answer}")?;
                lab.save()?;
            }
        }
    }
}

/// One command: what it prints.
fn command(lab: &Lab, words: &[&str], line: &str) -> Result<String, String> {
    let told = |error: io::Error| error.to_string();
    let host = |error: crate::host::Error| error.to_string();
    let on = lab.lock().machine.on;
    match words {
        ["disks"] => Ok(disks(lab)),
        ["nanozfs" | "ls" | "cat" | "mount" | "zpool" | "zfs" | "glabel", ..] if !on => {
            Err("the machine is off: boot".to_owned())
        }
        ["nanozfs", ..] => {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            perform(lab, &Statement::Run(words))
        }
        ["ls"] => ls(lab, Path::new("/")).map_err(told),
        ["ls", path] => ls(lab, Path::new(path)).map_err(told),
        ["cat", path] => {
            let content = lab.read(Path::new(path), 1 << 20).map_err(told)?;
            Ok(String::from_utf8_lossy(&content).into_owned())
        }
        ["mount"] => {
            let mounts = Host::mounts(lab).map_err(host)?;
            let line = |one: crate::host::Mount| {
                let how = if one.read_only { ", read-only" } else { "" };
                format!("{} on {} ({}{how})\n", one.source, one.at.display(), one.fstype)
            };
            Ok(mounts.into_iter().map(line).collect())
        }
        ["kenv"] => {
            let inner = lab.lock();
            let line = |(name, value): (&String, &String)| format!("{name}=\"{value}\"\n");
            Ok(inner.machine.kenv.iter().map(line).collect())
        }
        ["zpool", ..] => {
            let pools = Host::pools(lab).map_err(host)?;
            if pools.is_empty() {
                return Ok("no pools available\n".to_owned());
            }
            let line = |pool: crate::format::zpool::Pool| {
                format!("{}\t{}\t{}\n", pool.name, pool.guid, pool.health)
            };
            Ok(pools.into_iter().map(line).collect())
        }
        ["zfs", ..] => {
            let mut text = String::new();
            let with_snapshots = words.iter().any(|word| ["snapshot", "all"].contains(word));
            for pool in Host::pools(lab).map_err(host)? {
                if with_snapshots {
                    for one in lab.snapshots().list(&pool.name).map_err(host)? {
                        text.push_str(&format!("{}\n", one.full_name()));
                    }
                }
                for dataset in lab.datasets(&pool.name).map_err(host)? {
                    let mounted = if dataset.mounted { "mounted" } else { "-" };
                    text.push_str(&format!("{:<24} {mounted}\n", dataset.name));
                }
            }
            Ok(text)
        }
        ["glabel", ..] => {
            let inner = lab.lock();
            let all = super::providers::providers(&inner.machine);
            let labels = all.iter().filter(|one| one.class == "LABEL" && !one.hidden);
            let below = |one: &super::providers::Provider| {
                one.parent.and_then(|at| all.get(at)).map_or("", |below| &below.name).to_owned()
            };
            Ok(labels.map(|one| format!("{:<40} {}\n", one.name, below(one))).collect())
        }
        ["uptime"] => Ok(format!("{:.1} s\n", lab.uptime().as_secs_f64())),
        ["cut"] => perform(lab, &Statement::Cut(Cut::Lost)),
        _ => {
            let parsed = story::parse(line).map_err(|error| {
                let why = error.split_once(": ").map_or(error.as_str(), |(_, rest)| rest);
                match why.strip_suffix(": not a statement") {
                    Some(_) => "no such command: help".to_owned(),
                    None => why.to_owned(),
                }
            })?;
            parsed.into_iter().map(|(_, statement)| perform(lab, &statement)).collect()
        }
    }
}

/// Does a statement as a story would; the prompt has shown the command already.
fn perform(lab: &Lab, statement: &Statement) -> Result<String, String> {
    let mut player = Player::new(lab);
    let done = player.perform(statement);
    let text = player.played.text;
    let text = text.trim_start_matches('\n');
    let text = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("# ") => rest,
        _ => text,
    };
    done.map(|()| text.to_owned()).map_err(|error| format!("{error}\n{text}"))
}

fn disks(lab: &Lab) -> String {
    let inner = lab.lock();
    let mut text = String::new();
    for disk in &inner.machine.disks {
        let what = if disk.parts.iter().any(|part| part.tree.is_some()) {
            "OS drive".to_owned()
        } else {
            let mine = |pool: &&super::machine::Pool| {
                pool.tops.iter().flat_map(|top| &top.leaves).any(|leaf| leaf.disk == disk.id)
            };
            let pool = inner.machine.pools.iter().find(mine);
            pool.map_or_else(String::new, |pool| format!("pool {}", pool.name))
        };
        let here = match (disk.attached, disk.after) {
            (false, _) => "not plugged in".to_owned(),
            (true, Duration::ZERO) => "plugged in".to_owned(),
            (true, late) => format!("plugged in, {} s late", late.as_secs()),
        };
        text.push_str(&format!("{:<8} {:<12} {:<10} {here}\n", disk.device, disk.serial, what));
    }
    text
}

fn ls(lab: &Lab, path: &Path) -> io::Result<String> {
    let mut text = String::new();
    for name in lab.list(path)? {
        let file: PathBuf = path.join(&name);
        let stat = lab.stat(&file)?;
        let (letter, rest) = match stat.kind {
            FileKind::Directory => ('d', String::new()),
            FileKind::Link => ('l', format!(" -> {}", lab.read_link(&file)?.display())),
            FileKind::File => ('-', String::new()),
            FileKind::Fifo => ('p', String::new()),
            FileKind::Socket => ('s', String::new()),
            FileKind::Device => ('c', String::new()),
        };
        let a = stat.attributes;
        text.push_str(&format!(
            "{letter}{:04o} {:>4} {:>4} {:>8} {}{rest}\n",
            a.mode,
            a.uid,
            a.gid,
            stat.size,
            name.to_string_lossy().escape_debug()
        ));
    }
    Ok(text)
}
