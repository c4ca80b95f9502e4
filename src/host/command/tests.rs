use std::sync::{Arc, Mutex};
use std::time::Instant;
use std::{env, fs, thread};

use super::system::{Ask, Bounds, run, send};
use super::*;

/// Far more than any of these programs needs, on the slowest machine.
const PLENTY: Duration = Duration::from_secs(60);

/// What a call must never take, whatever the program does.
const TOO_LONG: Duration = Duration::from_secs(30);

fn short() -> Bounds {
    Bounds {
        terminate: Duration::from_millis(200),
        kill: Duration::from_millis(200),
        ..Bounds::SYSTEM
    }
}

fn command(program: &str, args: &[&str]) -> Command {
    Command::new(program, PLENTY).args(args.iter().copied())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn both_outputs_and_the_status_are_returned() {
    let output = System.run(&command("/bin/ls", &["-d", "/dev/null", "/nonexistent"])).unwrap();
    assert_eq!(text(&output.stdout), "/dev/null\n");
    assert!(text(&output.stderr).contains("/nonexistent"));
    assert!(matches!(output.status, Exit::Code(code) if code != 0));
}

#[test]
fn the_environment_is_path_locale_and_time_zone_only() {
    let output = System.run(&command("/usr/bin/env", &[])).unwrap();
    let mut names: Vec<&str> = text(&output.stdout).lines().collect();
    names.retain(|line| !line.starts_with("TZ="));
    names.sort_unstable();
    assert_eq!(names, ["LC_ALL=C", "PATH=/sbin:/bin:/usr/sbin:/usr/bin"]);
    assert_eq!(text(&output.stdout).contains("TZ="), env::var_os("TZ").is_some());
}

#[test]
fn a_daemon_does_not_get_a_pipe_that_nobody_reads_later() {
    let daemon = command("/bin/sh", &["-c", "test -t 1 && test -t 2"]);
    assert!(!System.run(&daemon).unwrap().status.success());
    assert!(System.run(&daemon.starts_daemons()).unwrap().status.success());
    // It says why it failed, and what it leaves behind goes on talking to nobody.
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive");
    let script = format!(
        "(sleep 1; echo one; echo two; echo alive >{}) & echo why; exit 3",
        alive.display()
    );
    let script = command("/bin/sh", &["-c", &script]).starts_daemons();
    let output = System.run(&script).unwrap();
    assert_eq!((text(&output.stdout).trim(), output.status), ("why", Exit::Code(3)));
    let deadline = Instant::now() + PLENTY;
    while !alive.exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(alive.exists());
}

#[test]
fn standard_input_is_empty() {
    let output = System.run(&command("/bin/cat", &[])).unwrap();
    assert_eq!((output.status, output.stdout), (Exit::Code(0), Vec::new()));
}

#[test]
fn the_working_directory_is_the_root() {
    let output = System.run(&command("/bin/pwd", &[])).unwrap();
    assert_eq!(text(&output.stdout), "/\n");
}

#[test]
fn arguments_are_not_looked_at_by_a_shell() {
    let args = ["%s|", "a b", "$HOME", "*", ";exit 3", "", "'"];
    let output = System.run(&command("/usr/bin/printf", &args)).unwrap();
    assert_eq!(text(&output.stdout), "a b|$HOME|*|;exit 3||'|");
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_is_one_process_in_a_group_of_its_own() {
    let output = System.run(&command("/bin/cat", &["/proc/self/stat"])).unwrap();
    let stat: Vec<&str> = text(&output.stdout).split(' ').collect();
    assert_eq!(stat[3], std::process::id().to_string(), "parent");
    assert_eq!(stat[0], stat[4], "process group");
}

#[test]
fn a_program_that_is_not_there_is_missing() {
    let error = System.run(&command("/nonexistent/zpool", &["list"])).unwrap_err();
    assert!(matches!(error, RunError::Missing { .. }));
    assert_eq!(error.to_string(), "cannot run: /nonexistent/zpool list: not found");
}

#[test]
fn a_program_that_may_not_run_says_why() {
    let error = System.run(&command("/dev/null", &[])).unwrap_err();
    assert!(matches!(error, RunError::Spawn { .. }));
    assert_eq!(error.to_string(), "cannot run: /dev/null: Permission denied");
}

#[test]
fn a_program_without_its_directory_is_refused() {
    let error = System.run(&command("env", &[])).unwrap_err();
    assert_eq!(error.to_string(), "cannot run: env: not an absolute path");
}

#[test]
fn a_program_is_stopped_at_its_limit() {
    let start = Instant::now();
    let sleep = Command::new("/bin/sleep", Duration::from_millis(100)).arg("300");
    let error = System.run(&sleep).unwrap_err();
    assert!(matches!(error, RunError::TimedOut { killed: true, .. }));
    assert_eq!(
        error.to_string(),
        "timed out: /bin/sleep 300: took more than 0.1 s and was stopped"
    );
    assert!(start.elapsed() < TOO_LONG);
}

#[test]
fn a_program_that_ignores_the_first_request_is_killed() {
    // What a thread has blocked stays blocked in the programs that it starts.
    let handle = thread::spawn(|| {
        let mut blocked = nix::sys::signal::SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.thread_block().unwrap();
        let asked = Mutex::new(Vec::new());
        let sleep = Command::new("/bin/sleep", Duration::from_millis(50)).arg("300");
        let result = run(&sleep, &short(), &|group, ask| {
            asked.lock().unwrap().push(ask);
            send(group, ask);
        });
        (result, asked.into_inner().unwrap())
    });
    let (result, asked) = handle.join().unwrap();
    assert!(matches!(result, Err(RunError::TimedOut { killed: true, .. })));
    assert_eq!(asked, [Ask::Terminate, Ask::Kill]);
}

#[test]
fn a_program_that_cannot_be_killed_is_left_behind() {
    let group = Arc::new(Mutex::new(None));
    let start = Instant::now();
    let sleep = Command::new("/bin/sleep", Duration::from_millis(50)).arg("300");
    let error = run(&sleep, &short(), &|id, _| *group.lock().unwrap() = Some(id)).unwrap_err();
    assert!(matches!(error, RunError::TimedOut { killed: false, .. }));
    assert!(error.to_string().ends_with("and cannot be killed"));
    assert!(start.elapsed() < TOO_LONG);
    send(group.lock().unwrap().unwrap(), Ask::Kill);
}

#[test]
fn processes_left_behind_do_not_delay_the_answer() {
    let detach: &[&str] = if cfg!(target_os = "freebsd") {
        &["/usr/sbin/daemon", "/bin/sleep", "60"]
    } else {
        &["/usr/bin/setsid", "--fork", "/bin/sleep", "60"]
    };
    let start = Instant::now();
    let output = System.run(&command(detach[0], &detach[1..])).unwrap();
    assert_eq!(output.status, Exit::Code(0));
    assert!(start.elapsed() < TOO_LONG);
}

#[test]
fn the_whole_group_is_stopped_at_the_limit() {
    let start = Instant::now();
    let watched = Command::new("/usr/bin/timeout", Duration::from_millis(100)).args([
        "--foreground",
        "300",
        "/bin/sleep",
        "300",
    ]);
    let error = System.run(&watched).unwrap_err();
    assert!(matches!(error, RunError::TimedOut { killed: true, .. }));
    assert!(start.elapsed() < TOO_LONG);
}

#[test]
fn more_than_a_pipe_holds_is_read_from_both_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let big = folder.path().join("big");
    fs::write(&big, vec![b'x'; 3 << 20]).unwrap();
    let mut args: Vec<String> = (0..4000).map(|n| format!("/nonexistent/{n:050}")).collect();
    args.push(big.to_str().unwrap().to_owned());
    let output = System.run(&Command::new("/bin/cat", PLENTY).args(args)).unwrap();
    assert_eq!(output.stdout.len(), 3 << 20);
    assert_eq!(text(&output.stderr).lines().count(), 4000);
    assert!(!output.truncated);
}

#[test]
fn what_goes_beyond_the_bound_is_dropped_and_said() {
    let bounds = Bounds { keep: 1000, ..Bounds::SYSTEM };
    let head = command("/usr/bin/head", &["-c", "3000000", "/dev/zero"]);
    let output = run(&head, &bounds, &send).unwrap();
    assert_eq!(output.status, Exit::Code(0));
    assert_eq!(output.stdout.len(), 1000);
    assert!(output.truncated);
    let error = output.ok(&head).unwrap_err();
    assert!(error.to_string().contains("more output than can be kept"));
}

#[test]
fn an_endless_flood_does_not_outlive_its_limit() {
    let bounds = Bounds { keep: 1000, ..Bounds::SYSTEM };
    let cat = Command::new("/bin/cat", Duration::from_millis(100)).arg("/dev/zero");
    let error = run(&cat, &bounds, &send).unwrap_err();
    assert!(matches!(error, RunError::TimedOut { killed: true, .. }));
}

#[test]
fn a_failure_names_command_status_and_last_line() {
    let command = command("/sbin/zpool", &["import", "no such"]);
    let output = Output {
        status: Exit::Code(1),
        stdout: Vec::new(),
        stderr: b"first\ncannot import 'no such': no such pool available\n\n".to_vec(),
        truncated: false,
        elapsed: Duration::ZERO,
    };
    assert_eq!(
        output.ok(&command).unwrap_err().to_string(),
        "failed: /sbin/zpool import 'no such': exit 1: cannot import 'no such': no such pool available"
    );
}

#[test]
fn success_gives_standard_output() {
    let command = command("/bin/pwd", &[]);
    let output = System.run(&command).unwrap();
    assert_eq!(output.ok(&command).unwrap(), b"/\n");
}

#[test]
fn a_signal_is_named() {
    assert_eq!(Exit::Signal(9).to_string(), "killed by SIGKILL");
    assert_eq!(Exit::Code(2).to_string(), "exit 2");
}

#[test]
fn a_command_is_shown_as_it_can_be_typed() {
    let shown = command("/bin/echo", &["plain", "two words", "it's", "", "a\nb"]).to_string();
    assert_eq!(shown, r"/bin/echo plain 'two words' 'it'\''s' '' 'a\nb'");
}

mod replay {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, line, out, err, code) in [
            ("list", "zpool list -Hp -o name", "tank\n", "", 0),
            ("import-no", "zpool import nosuch", "", "no such pool\n", 1),
            ("before", "gpart show ada0", "old\n", "", 0),
            ("after", "gpart show ada0", "new\n", "", 0),
        ] {
            for (suffix, content) in [("cmd", line), ("out", out), ("err", err)] {
                fs::write(folder.path().join(format!("{name}.{suffix}")), content).unwrap();
            }
            fs::write(folder.path().join(format!("{name}.rc")), format!("{code}\n")).unwrap();
        }
        folder
    }

    fn stdout(replay: &Replay, program: &str, args: &[&str]) -> String {
        let output = replay.run(&command(program, args)).unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_transcript_answers_its_argument_list_whatever_the_programs_directory() {
        let folder = folder();
        let replay = Replay::folder(folder.path()).unwrap();
        assert_eq!(stdout(&replay, "/sbin/zpool", &["list", "-Hp", "-o", "name"]), "tank\n");
        let output = replay.run(&command("/sbin/zpool", &["import", "nosuch"])).unwrap();
        assert_eq!(output.status, Exit::Code(1));
        assert_eq!(output.stderr, b"no such pool\n");
    }

    #[test]
    fn another_argument_list_has_no_answer_and_is_named() {
        let folder = folder();
        let replay = Replay::folder(folder.path()).unwrap();
        let error = replay.run(&command("/sbin/zpool", &["list", "-Hp"])).unwrap_err();
        assert!(error.to_string().contains("no transcript of: zpool list -Hp"), "{error}");
        assert_eq!(replay.calls(), ["zpool list -Hp"]);
    }

    #[test]
    fn a_command_recorded_twice_has_an_answer_once_one_is_chosen() {
        let folder = folder();
        let replay = Replay::folder(folder.path()).unwrap();
        let show = command("/sbin/gpart", &["show", "ada0"]);
        let error = replay.run(&show).unwrap_err().to_string();
        assert!(error.contains("after, before"), "{error}");

        let replay = Replay::folder(folder.path())
            .and_then(|replay| replay.transcript(folder.path(), "before"))
            .and_then(|replay| replay.transcript(folder.path(), "after"))
            .unwrap();
        for expected in ["old\n", "new\n", "new\n"] {
            assert_eq!(stdout(&replay, "/sbin/gpart", &["show", "ada0"]), expected);
        }
    }

    #[test]
    fn programs_that_are_missing_or_hang_can_be_played() {
        let replay = Replay::new()
            .missing("zdb -l /dev/da0")
            .times_out("zpool import 1", false)
            .answer("kenv", "a=b\n", "", 0);
        let missing = replay.run(&command("/usr/sbin/zdb", &["-l", "/dev/da0"]));
        assert!(matches!(missing, Err(RunError::Missing { .. })));
        let hung = replay.run(&command("/sbin/zpool", &["import", "1"]));
        assert!(matches!(hung, Err(RunError::TimedOut { killed: false, .. })));
        assert_eq!(stdout(&replay, "/bin/kenv", &[]), "a=b\n");
    }
}
