//! With real programs: what they do at their ends is what matters.

use std::io::{self, Cursor, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::{Command, packer, unpack};
use super::filter;
use crate::format::manifest::Packing;
use crate::host::{Kind, Result};

/// Far more than any of these programs needs.
const PLENTY: Duration = Duration::from_secs(60);
/// What a call must never take here.
const TOO_LONG: Duration = Duration::from_secs(30);

fn command(program: &str, args: &[&str]) -> Command {
    Command::new(program, PLENTY).args(args.iter().copied())
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// All that comes out of `command`.
fn through(command: &Command, input: &mut (dyn Read + Send)) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    filter(command, input, &mut |from| from.read_to_end(&mut out).map(drop))?;
    Ok(out)
}

/// An input that counts what was read of it and never ends.
struct Endless(AtomicU64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

#[test]
fn what_goes_in_comes_out() {
    for length in [0, 1, 3 << 20] {
        let bytes = noise(length);
        let out = through(&command("/bin/cat", &[]), &mut bytes.as_slice()).unwrap();
        assert!(out == bytes, "{length}");
    }
}

#[test]
fn a_program_that_answers_only_at_the_end_and_one_that_only_talks_are_no_deadlock() {
    let bytes = noise(1 << 20);
    let out = through(&command("/usr/bin/tail", &["-c", "1"]), &mut bytes.as_slice()).unwrap();
    assert_eq!(out, bytes[bytes.len() - 1..]);
    let head = command("/usr/bin/head", &["-c", "5000000", "/dev/zero"]);
    assert_eq!(through(&head, &mut io::empty()).unwrap().len(), 5_000_000);
}

#[test]
fn a_program_that_ends_before_its_input_has_not_read_all_of_it() {
    let start = Instant::now();
    let mut input = Endless(AtomicU64::new(0));
    let error = through(&command("/usr/bin/head", &["-c", "10"]), &mut input).unwrap_err();
    assert_eq!(error.kind, Kind::Nonsense);
    assert_eq!(error.to_string(), "/usr/bin/head -c 10: ended before its input did");
    assert!(start.elapsed() < TOO_LONG && input.0.into_inner() < 10 << 20);
}

#[test]
fn a_failing_program_is_an_error_with_its_last_words_and_not_an_end() {
    let cat = command("/bin/cat", &["/dev/null", "/nonexistent"]);
    let mut seen = None;
    let error = filter(&cat, &mut io::empty(), &mut |from| {
        seen = Some(from.read(&mut [0; 9]).is_err());
        Ok(())
    });
    let error = error.unwrap_err();
    assert_eq!((error.kind, seen), (Kind::Refused, Some(true)));
    assert!(error.why.starts_with("exit 1: ") && error.why.contains("/nonexistent"), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_missing() {
    let error = through(&command("/nonexistent/xz", &[]), &mut io::empty()).unwrap_err();
    assert_eq!(error.kind, Kind::ProgramMissing);
}

#[test]
fn a_program_that_neither_takes_nor_gives_is_stopped() {
    let start = Instant::now();
    let sleep = Command::new("/bin/sleep", Duration::from_millis(100)).arg("300");
    let error = through(&sleep, &mut Endless(AtomicU64::new(0))).unwrap_err();
    assert_eq!(error.kind, Kind::TimedOut(Duration::from_millis(100)));
    assert_eq!(error.to_string(), "/bin/sleep 300: no byte for 0.1 s");
    assert!(start.elapsed() < TOO_LONG);
}

#[test]
fn a_program_may_take_longer_than_its_limit_while_bytes_move() {
    let cat = Command::new("/bin/cat", Duration::from_millis(400));
    let mut pieces = 0;
    let mut slow = SlowRead(&mut pieces);
    let start = Instant::now();
    let out = through(&cat, &mut slow).unwrap();
    assert_eq!(out, b"xxxxxxxx");
    assert!(start.elapsed() > Duration::from_millis(700));
}

/// Eight bytes, one every tenth of a second.
struct SlowRead<'a>(&'a mut usize);

impl Read for SlowRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if *self.0 == 8 {
            return Ok(0);
        }
        std::thread::sleep(Duration::from_millis(100));
        *self.0 += 1;
        buffer[0] = b'x';
        Ok(1)
    }
}

#[test]
fn when_the_taker_fails_the_program_is_gone() {
    let start = Instant::now();
    let mut input = Endless(AtomicU64::new(0));
    let error = filter(&command("/bin/cat", &[]), &mut input, &mut |from| {
        from.read_exact(&mut [0; 100])?;
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::Errno(libc::ENOSPC));
    assert_eq!(error.to_string(), "what /bin/cat gives: No space left on device");
    assert!(start.elapsed() < TOO_LONG);
}

#[test]
fn what_the_taker_leaves_is_an_error() {
    let take = &mut |from: &mut (dyn Read + Send)| from.read_exact(&mut [0; 10]);
    let error = filter(&command("/bin/cat", &[]), &mut noise(11).as_slice(), take).unwrap_err();
    assert_eq!(error.kind, Kind::Nonsense);
    filter(&command("/bin/cat", &[]), &mut noise(10).as_slice(), take).unwrap();
    for (length, fine) in [(10, true), (11, false)] {
        let result = unpack(Packing::None, &mut Cursor::new(noise(length)), take);
        assert_eq!(result.is_ok(), fine, "{length}");
    }
}

#[test]
fn when_the_input_fails_that_is_the_error() {
    struct Fails(usize);
    impl Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Ok(buffer.len()),
                2 => Err(io::ErrorKind::Interrupted.into()),
                _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "cut off")),
            }
        }
    }
    let error = through(&command("/bin/cat", &[]), &mut Fails(0)).unwrap_err();
    assert_eq!(error.to_string(), "input of /bin/cat: cut off");
    let error =
        unpack(Packing::None, &mut Fails(0), &mut |from| io::copy(from, &mut io::sink()).map(drop));
    assert_eq!(error.unwrap_err().to_string(), "what the image gives: cut off");
}

#[test]
fn each_packing_is_undone_by_its_program_and_damage_is_noticed() {
    let bytes = noise(700_000);
    for packing in [Packing::Xz, Packing::Zst, Packing::Gz] {
        let packer = packer(packing).unwrap();
        if !std::path::Path::new(&packer.program).exists() {
            io::stderr().write_all(format!("SKIPPED: no {}\n", packer.program).as_bytes()).unwrap();
            continue;
        }
        let packed = through(&packer, &mut bytes.as_slice()).unwrap();
        let unpacked = |packed: &[u8]| {
            let mut out = Vec::new();
            unpack(packing, &mut Cursor::new(packed), &mut |from| {
                from.read_to_end(&mut out).map(drop)
            })
            .map(|()| out)
        };
        assert!(unpacked(&packed).unwrap() == bytes, "{packing:?}");

        let error = unpacked(&packed[..packed.len() / 2]).unwrap_err();
        assert_eq!(error.kind, Kind::Refused, "{packing:?}: {error}");
        assert!(error.why.starts_with("exit 1: "), "{packing:?}: {error}");
        assert!(unpacked(b"no such thing").is_err(), "{packing:?}");
        let mut longer = packed.clone();
        longer.extend(b"surplus");
        assert!(unpacked(&longer).is_err(), "{packing:?}");
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 1;
        assert!(unpacked(&damaged).is_err(), "{packing:?}");
    }
}
