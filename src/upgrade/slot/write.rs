//! The bytes: compared, written, read back; and only then the head, which makes a system of them.
//!
//! Three things go on at once: one thread reads the stream, one reads what the slot holds, and this
//! one writes what differs. What is hashed is what the drive gives back: that proves the release and
//! the drive at once, and a sum of what was written tells which of them it was.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};

use super::{BLOCK, Counts, Failed, GRAIN, HEAD, Image, Left, Progress, Stage, Target, zero_head};
use crate::host::{BlockDevice, Host, why};

/// What a thread hands on.
type Block = io::Result<Vec<u8>>;

/// Writes the image and reads it back: what was written and spared.
pub(super) fn image(
    host: &dyn Host,
    target: &Target,
    image: &mut Image<'_>,
    tell: &mut dyn FnMut(Progress),
) -> Result<Counts, Failed> {
    let mut device = target.open(host).map_err(|why| Failed::new(Left::Untouched, why))?;
    let zeroed = zero_head(&mut *device);
    zeroed.map_err(|why| Failed::new(Left::Unknown, format!("{}: {why}", target.whole)))?;
    let mut counts = Counts::default();
    let written = body(host, target, image, &mut *device, &mut counts, tell);
    let (head, sum) = written.map_err(|why| Failed::new(Left::Invalid, why))?;
    let flushed = device.flush();
    flushed
        .map_err(|error| format!("write {}: {}", target.whole, why(&error)))
        .and_then(|()| prove(host, target, image, (&head, sum), &counts, tell))
        .and_then(|()| {
            counts.written += head.len() as u64;
            last(host, target, &mut *device, &head)
        })
        .map_err(|why| {
            // What the drive holds is not what it was told: make sure that nothing starts from it.
            let left = match zero_head(&mut *device) {
                Ok(()) => Left::Invalid,
                Err(error) => {
                    log::warn!("{}: {error}", target.whole);
                    Left::Unknown
                }
            };
            Failed::new(left, why)
        })?;
    Ok(counts)
}

/// Everything behind the head. The head, which nobody has seen yet, and the sum of it all.
fn body(
    host: &dyn Host,
    target: &Target,
    image: &mut Image<'_>,
    device: &mut dyn BlockDevice,
    counts: &mut Counts,
    tell: &mut dyn FnMut(Progress),
) -> Result<(Vec<u8>, Sum), String> {
    let size = image.size;
    let stream = &mut *image.stream;
    std::thread::scope(|scope| {
        let (to_new, new) = sync_channel(2);
        let (to_old, old) = sync_channel::<Block>(1);
        let taken = scope.spawn(move || take(stream, size, &to_new));
        let whole = target.whole.as_str();
        scope.spawn(move || read(host, whole, size, &to_old));
        let (mut head, mut sum) = (Vec::new(), Sum::default());
        let mut offset = 0;
        while offset < size {
            let block = next(&new).map_err(|error| format!("read the image: {}", why(&error)))?;
            sum.add(&block);
            // What cannot be read is written anew, which is what mends a sector of a disk.
            let there = next(&old).unwrap_or_default();
            let from = if offset == 0 { block.len().min(HEAD as usize) } else { 0 };
            if let Some(front) = block.get(..from).filter(|front| !front.is_empty()) {
                head = front.to_vec();
            }
            for (at, run) in differing(&block, &there, from) {
                let at = offset + at as u64;
                let written = device.write_at(run, at);
                written.map_err(|error| format!("write {whole} at byte {at}: {}", why(&error)))?;
                counts.written += run.len() as u64;
            }
            offset += block.len() as u64;
            counts.spared = offset - head.len() as u64 - counts.written;
            tell(Progress { stage: Stage::Writing, done: offset, size, counts: *counts });
        }
        // Nothing more is asked for: the thread sees whether the stream ends here.
        drop(new);
        let taken = taken.join().map_err(|_| "the stream's thread was lost".to_owned())?;
        taken.map_err(|error| format!("read the image: {}", why(&error)))?;
        Ok((head, sum))
    })
}

/// Reads everything back and hashes it, as if the head were there already.
fn prove(
    host: &dyn Host,
    target: &Target,
    image: &Image<'_>,
    (head, written): (&[u8], Sum),
    counts: &Counts,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), String> {
    let (whole, size) = (target.whole.as_str(), image.size);
    let (mut digest, mut sum) = (Sha256::new(), Sum::default());
    std::thread::scope(|scope| {
        let (to_back, back) = sync_channel::<Block>(2);
        scope.spawn(move || read(host, whole, size, &to_back));
        let mut done = 0;
        while done < size {
            let block = next(&back);
            let mut block = block.map_err(|error| format!("read back {whole}: {}", why(&error)))?;
            if let Some(front) = block.get_mut(..head.len()).filter(|_| done == 0) {
                if front.iter().any(|byte| *byte != 0) {
                    return Err(unlike(whole));
                }
                front.copy_from_slice(head);
            }
            digest.update(&block);
            sum.add(&block);
            done += block.len() as u64;
            tell(Progress { stage: Stage::Verifying, done, size, counts: *counts });
        }
        Ok::<(), String>(())
    })?;
    match (sum == written, <[u8; 32]>::from(digest.finalize()) == image.sha256) {
        (true, true) => Ok(()),
        (true, false) => Err("the image is not the one that its manifest describes".to_owned()),
        (false, _) => Err(unlike(whole)),
    }
}

/// The head, on the drive when it comes back.
fn last(
    host: &dyn Host,
    target: &Target,
    device: &mut dyn BlockDevice,
    head: &[u8],
) -> Result<(), String> {
    let whole = target.whole.as_str();
    let written = device.write_at(head, 0).and_then(|()| device.flush());
    written.map_err(|error| format!("write {whole}: {}", why(&error)))?;
    let back = host.read_device(whole, 0, head.len());
    let back = back.map_err(|error| format!("read back {whole}: {}", why(&error)))?;
    if back == head { Ok(()) } else { Err(unlike(whole)) }
}

fn unlike(whole: &str) -> String {
    format!("{whole} does not hold what was written to it")
}

/// A sum that tells what was read back from what was written. It protects from nobody: the digest
/// does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    /// Of the words.
    words: u64,
    /// Of the sums so far, so that their order counts.
    sums: u64,
}

impl Sum {
    fn add(&mut self, block: &[u8]) {
        let words = block.chunks_exact(8);
        let mut rest = words.remainder().to_vec();
        rest.resize(8, 0);
        let rest = Some(rest.as_slice()).filter(|_| !block.len().is_multiple_of(8));
        for word in words.chain(rest) {
            let word = word.try_into().map(u64::from_le_bytes).unwrap_or_default();
            self.words = self.words.wrapping_add(word);
            self.sums = self.sums.wrapping_add(self.words);
        }
    }
}

fn next(from: &Receiver<Block>) -> Block {
    from.recv().map_err(|_| io::ErrorKind::BrokenPipe)?
}

/// Reads the stream to its end and hands it on in blocks.
fn take(stream: &mut dyn Read, size: u64, to: &SyncSender<Block>) -> io::Result<()> {
    for offset in (0..size).step_by(BLOCK as usize) {
        let mut block = vec![0; BLOCK.min(size - offset) as usize];
        if let Err(error) = stream.read_exact(&mut block) {
            let error = match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::other("it ends too early"),
                _ => error,
            };
            let _ = to.send(Err(error)); // Nobody waits for it when writing failed.
            return Ok(());
        }
        if to.send(Ok(block)).is_err() {
            return Ok(());
        }
    }
    match io::copy(&mut stream.take(1), &mut io::sink())? {
        0 => Ok(()),
        _ => Err(io::Error::other("it is longer than its manifest says")),
    }
}

/// Reads the slot and hands it on in blocks, as long as somebody wants them.
fn read(host: &dyn Host, whole: &str, size: u64, to: &SyncSender<Block>) {
    for offset in (0..size).step_by(BLOCK as usize) {
        let length = BLOCK.min(size - offset) as usize;
        let block = host.read_device(whole, offset, length).and_then(|block| {
            let whole = block.len() == length;
            if whole { Ok(block) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        });
        if to.send(block).is_err() {
            return;
        }
    }
}

/// The runs of grains from byte `from` on in which two blocks differ.
fn differing<'a>(new: &'a [u8], old: &[u8], from: usize) -> Vec<(usize, &'a [u8])> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for start in (from..new.len()).step_by(GRAIN) {
        let end = (start + GRAIN).min(new.len());
        if new.get(start..end) == old.get(start..end) {
            continue;
        }
        match runs.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => runs.push((start, end)),
        }
    }
    runs.into_iter().filter_map(|(start, end)| Some((start, new.get(start..end)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_tells_what_was_lost_or_exchanged() {
        let sum = |blocks: &[&[u8]]| {
            let mut sum = Sum::default();
            blocks.iter().for_each(|block| sum.add(block));
            sum
        };
        let (one, two) = ([1; 512], [2; 512]);
        assert_eq!(sum(&[&one, &two]), sum(&[&[one, two].concat()]));
        assert_ne!(sum(&[&one, &two]), sum(&[&two, &one]));
        assert_ne!(sum(&[&one, &two]), sum(&[&one, &[0; 512]]));
        assert_ne!(sum(&[b"0123456789"]), sum(&[b"0123456788"]));
    }

    #[test]
    fn grains_that_differ_are_written_together_and_no_others() {
        let old = vec![0; 5 * GRAIN + 512];
        let mut new = old.clone();
        for at in [GRAIN, 3 * GRAIN - 1, 5 * GRAIN + 511] {
            new[at] = 1;
        }
        let found: Vec<_> =
            differing(&new, &old, 0).into_iter().map(|(at, run)| (at, run.len())).collect();
        assert_eq!(found, [(GRAIN, 2 * GRAIN), (5 * GRAIN, 512)]);
        assert_eq!(differing(&new, &old, 3 * GRAIN), [(5 * GRAIN, &new[5 * GRAIN..])]);
        assert_eq!(differing(&new, &[], 0), [(0, &new[..])]);
    }
}
