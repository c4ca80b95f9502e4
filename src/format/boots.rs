//! What a boot leaves on the OS drive for the next one: a record of one sector, see
//! nanozfs-layout(7).
//!
//! It lies where UFS leaves room for boot code, in a partition that nobody boots from. The record is
//! text, one `key=value` a line, filled up with zeroes to [`SIZE`]; the last line is a checksum of
//! those before it. What differs from it in a single bit is no record.

/// Where the record begins, in bytes from the start of the partition: behind what belongs to a
/// disk label, in front of the superblock of UFS1.
pub const OFFSET: u64 = 4096;
/// Bytes of the record: a sector, or the beginning of a longer one of which the rest is zeroes.
pub const SIZE: usize = 512;
/// As many boots are remembered.
pub const REMEMBERED: usize = 10;
/// So many boots in a row that did not come to their end are too many.
pub const TOO_MANY: u32 = 2;

/// The first line of every record, of whatever version.
const MAGIC: &str = "nanozfs=boots\n";
/// The second one.
const VERSION: &str = "version=1\n";

/// How a machine ran, as one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `n`: normal.
    Normal,
    /// `d`: degraded.
    Degraded,
    /// `r`: recovery.
    Recovery,
    /// `u`: not known.
    Unknown,
}

impl Letter {
    const ALL: [Letter; 4] = [Letter::Normal, Letter::Degraded, Letter::Recovery, Letter::Unknown];

    fn word(self) -> &'static str {
        match self {
            Letter::Normal => "n",
            Letter::Degraded => "d",
            Letter::Recovery => "r",
            Letter::Unknown => "u",
        }
    }
}

/// One boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the machine started: seconds since 1970, by a clock that may be wrong.
    pub began: i64,
    /// How it ended; `None` when it did not come to its end.
    pub end: Option<End>,
}

/// The end of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The mode that the machine was in.
    pub mode: Letter,
    /// Seconds from the start of the machine to the end of rc(8).
    pub seconds: u32,
}

/// What is remembered of the last boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boots {
    /// Boots in a row that began to import pools and did not come to their end. A boot that
    /// imports nothing neither counts nor ends the row.
    pub unfinished: u32,
    /// The last boots, oldest first, at most [`REMEMBERED`].
    pub entries: Vec<Entry>,
}

/// What is in the place of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Zeroes: nobody has written there.
    Nothing,
    /// A record.
    Boots(Boots),
    /// A record that is torn, damaged, or of another version: nothing is known from it.
    Damaged,
    /// Bytes of somebody else, who wants to keep them.
    Foreign,
}

/// What is in the record's place, of which this is the first [`SIZE`] bytes or more.
pub fn parse(area: &[u8]) -> Found {
    // Less than a record: nobody knows what is behind it. Nothing of ours is behind one.
    let Some((record, rest)) = area.split_at_checked(SIZE) else { return Found::Foreign };
    let zeroes = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if !zeroes(rest) {
        return Found::Foreign;
    }
    if zeroes(record) {
        return Found::Nothing;
    }
    if !record.starts_with(MAGIC.as_bytes()) {
        return Found::Foreign;
    }
    match read(record) {
        // There is one way to write a record.
        Some(boots) if encode(&boots).is_some_and(|bytes| bytes == record) => Found::Boots(boots),
        _ => Found::Damaged,
    }
}

fn read(record: &[u8]) -> Option<Boots> {
    let text = record.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    let (text, sum) = text.strip_suffix('\n')?.rsplit_once("sum=")?;
    if u32::from_str_radix(sum, 16).ok()? != checksum(text.as_bytes()) {
        return None;
    }
    let mut lines = text.strip_prefix(MAGIC)?.strip_prefix(VERSION)?.lines();
    let unfinished = lines.next()?.strip_prefix("unfinished=")?.parse().ok()?;
    let entries = lines.map(entry).collect::<Option<Vec<_>>>()?;
    Some(Boots { unfinished, entries })
}

fn entry(line: &str) -> Option<Entry> {
    let (began, end) = line.strip_prefix("boot=")?.split_once(' ')?;
    let end = match end {
        "-" => None,
        end => {
            let (letter, seconds) = end.split_once(' ')?;
            let mode = Letter::ALL.into_iter().find(|one| one.word() == letter)?;
            Some(End { mode, seconds: seconds.parse().ok()? })
        }
    };
    Some(Entry { began: began.parse().ok()?, end })
}

/// The record, [`SIZE`] bytes of it. `None` for more than [`REMEMBERED`] boots.
pub fn encode(boots: &Boots) -> Option<[u8; SIZE]> {
    if boots.entries.len() > REMEMBERED {
        return None;
    }
    let mut text = format!("{MAGIC}{VERSION}unfinished={}\n", boots.unfinished);
    for entry in &boots.entries {
        let end = match entry.end {
            None => "-".to_owned(),
            Some(end) => format!("{} {}", end.mode.word(), end.seconds),
        };
        text.push_str(&format!("boot={} {end}\n", entry.began));
    }
    let sum = checksum(text.as_bytes());
    text.push_str(&format!("sum={sum:08x}\n"));
    let mut record = [0; SIZE];
    record.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(record)
}

/// CRC-32, as Ethernet and gzip(1) have it: it sees every change of up to three bits.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

impl Boots {
    /// A boot is about to import pools.
    pub fn begin(&mut self, began: i64) {
        self.unfinished = self.unfinished.saturating_add(1);
        self.push(Entry { began, end: None });
    }

    /// A boot came to its end. When it had `imported` pools, the row of unfinished boots is over;
    /// a boot that imported nothing proves nothing about it.
    pub fn finish(&mut self, began: i64, end: End, imported: bool) {
        let own = |last: &&mut Entry| imported && last.end.is_none() && last.began == began;
        match self.entries.last_mut().filter(own) {
            Some(last) => last.end = Some(end),
            // Its beginning could not be written.
            None => self.push(Entry { began, end: Some(end) }),
        }
        if imported {
            self.unfinished = 0;
        }
    }

    /// Too many boots in a row did not come to their end. Where none ever did, nobody tells when
    /// one does (rc.d/nanozfs_settle is not started): then that says nothing.
    pub fn is_loop(&self) -> bool {
        self.unfinished >= TOO_MANY && self.entries.iter().any(|entry| entry.end.is_some())
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        let old = self.entries.len().saturating_sub(REMEMBERED);
        self.entries.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: End = End { mode: Letter::Normal, seconds: 42 };

    fn longest() -> Boots {
        let end = Some(End { mode: Letter::Unknown, seconds: u32::MAX });
        let entries = vec![Entry { began: i64::MIN, end }; REMEMBERED];
        Boots { unfinished: u32::MAX, entries }
    }

    fn usual() -> Boots {
        let mut boots = Boots::default();
        boots.begin(1_700_000_000);
        boots.finish(1_700_000_000, END, true);
        boots.begin(1_700_086_400);
        boots
    }

    #[test]
    fn a_record_is_text_that_a_person_can_read() {
        let record = encode(&usual()).unwrap();
        let end = record.iter().position(|byte| *byte == 0).unwrap();
        assert_eq!(
            std::str::from_utf8(&record[..end]).unwrap(),
            "nanozfs=boots\nversion=1\nunfinished=1\nboot=1700000000 n 42\n\
             boot=1700086400 -\nsum=cf473477\n"
        );
    }

    #[test]
    fn every_record_fits_and_is_read_back() {
        for boots in [Boots::default(), usual(), longest()] {
            let record = encode(&boots).unwrap();
            assert_eq!(parse(&record), Found::Boots(boots.clone()));
            // A sector may be longer.
            let mut sector = record.to_vec();
            sector.resize(4096, 0);
            assert_eq!(parse(&sector), Found::Boots(boots));
        }
        let one_more = vec![Entry { began: 0, end: None }; REMEMBERED + 1];
        assert_eq!(encode(&Boots { unfinished: 0, entries: one_more }), None);
    }

    #[test]
    fn the_checksum_is_the_one_that_everybody_has() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        for boots in [Boots::default(), usual(), longest()] {
            let record = encode(&boots).unwrap();
            for bit in 0..SIZE * 8 {
                let mut other = record;
                other[bit / 8] ^= 1 << (bit % 8);
                let wanted = if bit / 8 < MAGIC.len() { Found::Foreign } else { Found::Damaged };
                assert_eq!(parse(&other), wanted, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_torn_record_is_the_old_one_the_new_one_or_nothing_known() {
        let (old, mut new) = (usual(), usual());
        new.finish(1_700_086_400, END, true);
        let (a, b) = (encode(&old).unwrap(), encode(&new).unwrap());
        for at in 0..=SIZE {
            let torn = [&b[..at], &a[at..]].concat();
            let found = parse(&torn);
            let good = [Found::Boots(old.clone()), Found::Boots(new.clone()), Found::Damaged];
            assert!(good.contains(&found), "{at}: {found:?}");
        }
    }

    #[test]
    fn zeroes_are_free_and_other_bytes_are_somebody_elses() {
        assert_eq!(parse(&[0; SIZE]), Found::Nothing);
        assert_eq!(parse(&[0; 4096]), Found::Nothing);
        let mut sector = [0; 4096];
        sector[4095] = 1;
        assert_eq!(parse(&sector), Found::Foreign);
        let record = encode(&usual()).unwrap();
        sector[..SIZE].copy_from_slice(&record);
        assert_eq!(parse(&sector), Found::Foreign);
        // Less than a record can be no record, and nothing is known to be free.
        assert_eq!(parse(&[]), Found::Foreign);
        assert_eq!(parse(&[0; SIZE - 1]), Found::Foreign);
        assert_eq!(parse(&record[..SIZE - 1]), Found::Foreign);
    }

    #[test]
    fn what_is_written_in_another_way_is_no_record() {
        let text = |body: &str| {
            let body = format!("{MAGIC}{body}");
            let sum = checksum(body.as_bytes());
            let mut sector = format!("{body}sum={sum:08x}\n").into_bytes();
            sector.resize(SIZE, 0);
            parse(&sector)
        };
        assert_eq!(text("version=1\nunfinished=0\n"), Found::Boots(Boots::default()));
        for body in [
            "",
            "version=2\nunfinished=0\n",
            "version=1\n",
            "version=1\nunfinished=00\n",
            "version=1\nunfinished=+1\n",
            "version=1\nunfinished=-1\n",
            "version=1\nunfinished=1\n\n",
            "version=1\nunfinished=1\nboot=1\n",
            "version=1\nunfinished=1\nboot=1 n\n",
            "version=1\nunfinished=1\nboot=1 x 1\n",
            "version=1\nunfinished=1\nboot=1 n 1 2\n",
            "version=1\nunfinished=1\nboot=99999999999999999999 -\n",
        ] {
            assert_eq!(text(body), Found::Damaged, "{body:?}");
        }
    }

    #[test]
    fn two_boots_in_a_row_without_an_end_are_a_loop() {
        let mut boots = usual();
        assert!(!boots.is_loop());
        boots.begin(1);
        assert!(boots.is_loop());
        // A boot in recovery comes to its end, and ends nothing.
        boots.finish(2, END, false);
        assert_eq!((boots.unfinished, boots.is_loop()), (2, true));
        boots.begin(3);
        boots.finish(3, END, true);
        assert_eq!((boots.unfinished, boots.is_loop()), (0, false));
        // One whose beginning could not be written, too.
        boots.begin(4);
        boots.finish(5, END, true);
        let last: Vec<_> = boots.entries.iter().rev().take(2).map(|one| one.end).collect();
        assert_eq!((boots.unfinished, last), (0, vec![Some(END), None]));
    }

    #[test]
    fn where_no_boot_ever_came_to_its_end_there_is_no_loop() {
        let mut boots = Boots::default();
        for began in 0..20 {
            boots.begin(began);
            assert!(!boots.is_loop());
        }
        assert_eq!((boots.unfinished, boots.entries.len()), (20, REMEMBERED));
        assert_eq!(boots.entries.last().map(|last| last.began), Some(19));
    }
}
