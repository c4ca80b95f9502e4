//! The manual pages say what the program's tables say: every command, option, exit code, error code
//! and key, and none that does not exist.
//!
//! What is missing is printed as the mdoc(7) lines to put into the page.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nanozfs::boot::{laid, past, pools::memory, record, said};
use nanozfs::cli;
use nanozfs::config;
use nanozfs::configuration::confirm;
use nanozfs::operate::status;
use nanozfs::report::{Code, Exit, Impact};
use nanozfs::upgrade::data;

const PAGES: [&str; 3] = ["nanozfs.8", "nanozfs.conf.5", "nanozfs-layout.7"];

/// Variables that are neither keys nor the loader's form of one.
const OTHER_VARIABLES: [&str; 7] = [
    "nanozfs_enable",
    "nanozfs_settle_enable",
    record::STATE,
    past::BOOT,
    laid::VARIABLE,
    confirm::VARIABLE,
    memory::PROPERTY,
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    let path = root().join("man").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of one section of a page.
fn section(page: &str, name: &str) -> Vec<String> {
    let begin = format!(".Sh {name}");
    let lines = page.lines().skip_while(|line| *line != begin).skip(1);
    let lines: Vec<_> =
        lines.take_while(|line| !line.starts_with(".Sh ")).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "there is no section {name}");
    lines
}

/// One `.It`: what stands beside it, and the lines below it.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    head: String,
    body: Vec<String>,
}

/// The items of the lists in a section; lists inside an item are part of its lines.
fn items(lines: &[String]) -> Vec<Item> {
    let mut items = Vec::<Item>::new();
    let mut depth = 0;
    for line in lines {
        match line.split_whitespace().next() {
            Some(".Bl") => depth += 1,
            Some(".El") => depth -= 1,
            _ => {}
        }
        match (line.strip_prefix(".It "), items.last_mut()) {
            (Some(head), _) if depth == 1 => {
                items.push(Item { head: head.to_owned(), body: Vec::new() });
            }
            (_, Some(item)) if depth > 0 && line != ".El" => item.body.push(line.clone()),
            _ => {}
        }
    }
    items
}

/// Compares what a page lists with what the code has, in the code's order; the message is what to
/// change in the page.
fn compare(at: &str, page: &[Item], code: &[Item]) {
    let mut wrong = String::new();
    for item in code {
        let beginning = |other: &Item| {
            other.head == item.head && item.body.iter().zip(&other.body).all(|(a, b)| a == b)
        };
        if !page.iter().any(|other| beginning(other) && other.body.len() >= item.body.len()) {
            let lines = item.body.iter().map(|line| format!("{line}\n")).collect::<String>();
            wrong.push_str(&format!("to put into {at}:\n.It {}\n{lines}", item.head));
        }
    }
    for item in page {
        if !code.iter().any(|other| other.head == item.head) {
            wrong.push_str(&format!("to take out of {at}:\n.It {}\n", item.head));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    let heads = |items: &[Item]| items.iter().map(|item| item.head.clone()).collect::<Vec<_>>();
    assert_eq!(heads(page), heads(code), "{at}: the order");
}

/// Text as an argument of a macro that is not to look for macros in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\e").replace('"', "\\(dq"))
}

/// The exit code of a command line, on a machine that is no appliance.
fn exit_of(words: &[&str]) -> u8 {
    let words: Vec<OsString> =
        std::iter::once(&"nanozfs").chain(words).map(OsString::from).collect();
    cli::run_elsewhere(&words, &mut Vec::new())
}

#[test]
fn every_command_is_in_the_manual_and_no_other() {
    let code: Vec<_> = cli::COMMANDS
        .iter()
        .map(|command| {
            let operands = match command.operands.strip_prefix('[') {
                Some(words) => format!(" Op Ar {}", words.trim_end_matches(']')),
                None if command.operands.is_empty() => String::new(),
                None => format!(" Ar {}", command.operands),
            };
            Item { head: format!("Ic {}{operands}", command.name), body: Vec::new() }
        })
        .collect();
    compare("nanozfs.8, COMMANDS", &items(&section(&page("nanozfs.8"), "COMMANDS")), &code);
}

#[test]
fn every_option_of_a_command_is_in_the_manual_and_no_other() {
    let commands = items(&section(&page("nanozfs.8"), "COMMANDS"));
    for (item, command) in commands.iter().zip(cli::COMMANDS) {
        let page: Vec<_> =
            item.body.iter().filter_map(|line| line.strip_prefix(".It Fl ")).collect();
        let code = command.options.iter().map(|option| {
            // Alternatives are literal words, in the page too.
            let value = option.value.replace('|', " | ");
            let macro_name = if value == option.value { "Ar" } else { "Cm" };
            let short = option.short.map(|letter| format!("{letter} , Fl ")).unwrap_or_default();
            match option.value {
                "" => format!("{short}-{}", option.name),
                _ => format!("{short}-{} {macro_name} {value}", option.name),
            }
        });
        assert_eq!(page, code.collect::<Vec<_>>(), "nanozfs.8, COMMANDS: {}", command.name);
        for option in command.options {
            let words = ["nanozfs", command.name, "-h"].map(OsString::from).to_vec();
            let mut out = Vec::new();
            assert_eq!(cli::run_elsewhere(&words, &mut out), Exit::Done.code());
            let usage = String::from_utf8(out).unwrap();
            assert!(usage.contains(&format!("--{} ", option.name)), "{usage}");
            assert!(usage.lines().all(|line| line.len() < 80), "{usage}");
        }
    }
}

/// Sections that list the verbs of a command.
const VERBS_OF: [(&str, &str); 2] = [("cfg", "CONFIGURATION HISTORY"), ("upgrade", "UPGRADES")];

/// Operands as mdoc has them: `[path ...]` is an option, a bar stands between macros.
fn synopsis(operands: &str) -> String {
    let operands = operands.replace("FILE|-", "file").replace('|', " | ");
    let options: Vec<_> = operands.split("] [").collect();
    let text = match options.as_slice() {
        [one] => one.strip_prefix('[').map(|words| format!(" Op Ar {}", words.trim_matches(']'))),
        [one, two] => {
            let (one, two) = (one.trim_matches('['), two.trim_matches(']'));
            Some(format!(" Oo Ar {one} Oc Op Ar {two}"))
        }
        _ => None,
    };
    text.unwrap_or_else(|| format!(" Ar {operands}"))
}

#[test]
fn every_verb_is_in_the_manual_and_no_other() {
    let text = page("nanozfs.8");
    for command in cli::COMMANDS {
        let verbs = (command.verbs)();
        let Some((name, title)) = VERBS_OF.iter().find(|(name, _)| *name == command.name) else {
            assert!(verbs.is_empty(), "{}: in which section are its verbs?", command.name);
            continue;
        };
        let heads = verbs.iter().map(|verb| match verb.operands {
            "" => format!("Ic {name} {}", verb.name),
            operands => format!("Ic {name} {}{}", verb.name, synopsis(operands)),
        });
        let code: Vec<_> = heads.map(|head| Item { head, body: Vec::new() }).collect();
        compare(&format!("nanozfs.8, {title}"), &items(&section(&text, title)), &code);
    }
}

#[test]
fn every_option_is_in_the_manual_and_no_other() {
    let text = page("nanozfs.8");
    let description = items(&section(&text, "DESCRIPTION"));
    let heads = description.iter().filter_map(|item| item.head.strip_prefix("Fl "));
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for word in heads.flat_map(|head| head.split(" , Fl ")) {
        match word.strip_prefix('-') {
            Some(word) => long.push(word.to_owned()),
            None => short.push(word.to_owned()),
        }
    }
    let taken = |option: &str| exit_of(&[option, "version"]) != Exit::Usage.code();
    let letters = ('a'..='z').chain('A'..='Z').chain('0'..='9');
    let mut known: Vec<_> =
        letters.filter(|letter| taken(&format!("-{letter}"))).map(String::from).collect();
    known.sort();
    short.sort();
    assert_eq!(short, known, "nanozfs.8, DESCRIPTION: .It Fl letter , Fl -word");
    let mut known: Vec<_> = sources()
        .iter()
        .flat_map(|source| source.split("Long(\"").skip(1))
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect();
    known.sort();
    known.dedup();
    long.sort();
    assert_eq!(long, known, "nanozfs.8, DESCRIPTION: .It Fl letter , Fl -word");
    assert!(long.iter().all(|word| taken(&format!("--{word}"))), "{long:?}");
    let synopsis = section(&text, "SYNOPSIS").join("\n");
    assert!(synopsis.contains(&format!(".Op Fl {}\n", short.concat())), "{synopsis}");
}

/// The suite's own sources, without the lab.
fn sources() -> Vec<String> {
    fn walk(directory: &Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("lab") {
                walk(&path, texts);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut texts = Vec::new();
    walk(&root().join("src"), &mut texts);
    texts
}

#[test]
fn every_exit_code_that_can_occur_is_in_the_manual_and_no_other() {
    let sources = sources();
    let occurs = |exit: &Exit| {
        let name = format!("Exit::{exit:?}");
        let mut lines = sources.iter().flat_map(|source| source.lines()).map(str::trim_start);
        // The table of all of them is a list of pairs.
        lines.any(|line| !line.starts_with("(Exit::") && names(line, &name))
    };
    let code: Vec<_> = Exit::ALL
        .iter()
        .filter(|(exit, _)| occurs(exit))
        .map(|(exit, meaning)| Item {
            head: exit.code().to_string(),
            body: vec![(*meaning).to_owned()],
        })
        .collect();
    let text = page("nanozfs.8");
    compare("nanozfs.8, EXIT STATUS", &items(&section(&text, "EXIT STATUS")), &code);
}

/// Does `line` name `name`, and not something longer that begins with it?
fn names(line: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(name)
        .any(|(at, _)| !line.get(at + name.len()..).is_some_and(|rest| rest.starts_with(goes_on)))
}

#[test]
fn every_error_code_is_in_the_manual_word_for_word_and_no_other() {
    let code: Vec<_> = Code::ALL
        .iter()
        .map(|code| {
            let impact = match code.impact() {
                Impact::Note => "note",
                Impact::Degraded => "degraded",
            };
            let next = format!("next: {}", code.next());
            let unchanged = format!("unchanged: {}", code.unchanged());
            Item {
                head: format!("Sy {} Pq {impact}", code.id()),
                body: vec![
                    code.title().to_owned(),
                    format!(".D1 {}", quoted(&unchanged)),
                    format!(".D1 {}", quoted(&next)),
                ],
            }
        })
        .collect();
    let text = page("nanozfs.8");
    compare("nanozfs.8, DIAGNOSTICS", &items(&section(&text, "DIAGNOSTICS")), &code);
}

#[test]
fn every_key_is_in_the_manual_with_its_default_and_no_other() {
    let code: Vec<_> = config::KEYS
        .iter()
        .map(|key| {
            let default = if key.default.is_empty() { "\\&" } else { key.default };
            let head = format!("Va {} Ns = Ns Qq {default}", key.name);
            Item { head, body: Vec::new() }
        })
        .collect();
    compare("nanozfs.conf.5, KEYS", &items(&section(&page("nanozfs.conf.5"), "KEYS")), &code);
}

#[test]
fn no_page_speaks_of_a_command_a_code_or_a_variable_that_does_not_exist() {
    let is_command = |word: &str| cli::COMMANDS.iter().any(|command| command.name == word);
    let is_code = |word: &str| Code::ALL.iter().any(|code| code.id() == word);
    let is_variable = |word: &str| {
        let key = word.strip_prefix(config::KENV).unwrap_or(word);
        OTHER_VARIABLES.contains(&word)
            || [data::ROLLBACK, "KEY"].contains(&key)
            || config::KEYS.iter().any(|one| one.name == key)
    };
    for name in PAGES {
        let text = page(name);
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.starts_with(".\\\"")) {
            let at = format!("{name}:{}: {line}", number + 1);
            let typed = ["# ", ".Dl ", ".D1 \"next: "].iter().any(|begin| line.starts_with(begin));
            let words: Vec<_> = line.split_whitespace().collect();
            for pair in words.windows(2) {
                let word = pair[1].trim_matches([',', ';', '.', ')', '"']);
                match pair[0].trim_start_matches(['.', '(', '"']) {
                    "Ic" => assert!(is_command(word), "{at}"),
                    "Va" => assert!(is_variable(word), "{at}"),
                    "nanozfs" if typed && !word.starts_with('-') => {
                        assert!(is_command(word), "{at}");
                    }
                    _ => {}
                }
            }
            for word in line.split(|c: char| !c.is_ascii_alphanumeric()) {
                let like_a_code = word.len() == 3
                    && word.strip_prefix('E').is_some_and(|rest| rest.parse::<u8>().is_ok());
                assert!(!like_a_code || is_code(word), "{at}");
            }
        }
    }
}

#[test]
fn the_manual_names_the_files_the_variables_and_the_version_of_the_code() {
    let files = section(&page("nanozfs.8"), "FILES").join("\n");
    let paths = ["/sbin/nanozfs", "/etc/rc.d/nanozfs", "/etc/rc.d/nanozfs_settle"];
    for path in [config::PATH, record::RECORD, said::LOG].into_iter().chain(paths) {
        assert!(files.contains(&format!(".It Pa {path}")), "nanozfs.8, FILES: {path}");
    }
    let variables = section(&page("nanozfs.8"), "KERNEL ENVIRONMENT").join("\n");
    let own = [record::STATE, past::BOOT].map(str::to_owned);
    for name in own.into_iter().chain([format!("{}KEY", config::KENV)]) {
        assert!(variables.contains(&format!(".It Va {name}")), "nanozfs.8: {name}");
    }
    let history = section(&page("nanozfs.8"), "HISTORY").join("\n");
    assert!(history.contains(env!("CARGO_PKG_VERSION")), "nanozfs.8, HISTORY: the version");
}

#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    let pages: Vec<PathBuf> = PAGES.iter().map(|name| root().join("man").join(name)).collect();
    let lint = match Command::new("mandoc").args(["-Tlint", "-Wwarning"]).args(&pages).output() {
        Ok(lint) => lint,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "mandoc: {error}");
            // Not by eprintln, which the test runner would keep to itself.
            let line = format!("SKIPPED: the manual pages are not checked: mandoc: {error}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return;
        }
    };
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
}

#[test]
fn every_member_of_the_json_of_status_is_in_the_manual_and_no_other() {
    let page: Vec<(String, Vec<String>)> = items(&section(&page("nanozfs.8"), "STATUS"))
        .into_iter()
        .map(|item| {
            let below = item.body.iter().filter_map(|line| line.strip_prefix(".It Ql "));
            (item.head.trim_start_matches("Ql ").to_owned(), below.map(str::to_owned).collect())
        })
        .collect();
    let code: Vec<(String, Vec<String>)> = status::MEMBERS
        .iter()
        .map(|(name, below)| {
            ((*name).to_owned(), below.iter().map(|name| (*name).to_owned()).collect())
        })
        .collect();
    assert_eq!(page, code, "nanozfs.8, STATUS: .It Ql member");
    let text = section(&self::page("nanozfs.8"), "STATUS").join("\n");
    assert!(text.contains(&format!("this form, a number: {}.", status::SCHEMA)));
    for (verdict, name) in status::Verdict::ALL {
        assert!(text.contains(&format!(".Dq {name}")), "nanozfs.8, STATUS: {name}");
        let word = name.replace('-', " ").to_ascii_uppercase().replace("UNKNOWN", "NOT KNOWN");
        let exit = verdict.exit().code();
        assert!(text.contains(&format!(".Sy {word}\n.Pq {exit} ")), "{word} {exit}");
    }
}

#[cfg(feature = "lab")]
#[test]
fn the_console_in_the_manual_is_what_the_console_shows() {
    use nanozfs::lab::{play, story::Story};
    let stories = ["01-healthy", "11-one-disk-missing", "b2-status-degraded"].map(|name| {
        let story = Story::read(&root().join("tests/stories").join(name)).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        play::play(&story, &scratch.path().join("lab")).unwrap().text
    });
    for name in ["THE CONSOLE", "STATUS"] {
        let console = section(&page("nanozfs.8"), name).join("\n");
        let examples: Vec<_> = console
            .split("\n.Bd -literal\n")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once("\n.Ed")?.0))
            .collect();
        assert!(!examples.is_empty());
        for example in examples {
            let shown = stories.iter().any(|text| text.contains(example));
            assert!(shown, "nanozfs.8, {name}: no story shows this:\n{example}");
        }
    }
}
