use super::super::release::{Keys, Trust};
use super::*;
use crate::format::manifest;
use crate::host::RealFiles;
use crate::host::command::unpack;

/// A directory to work in.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Runs an order; what it says, or why it failed.
fn say(order: &Order<'_>, act: bool) -> std::result::Result<String, Failure> {
    let mut out = Vec::new();
    run(order, &mut Console::new(&mut out, false), act)?;
    // Paths are long here: lines that were wrapped are one again.
    Ok(String::from_utf8(out).unwrap().replace("\n         ", " "))
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/release/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn test_keys(bench: &Bench) -> Keys {
    let directory = bench.0.path().join("keys");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy(fixture("test.pub"), directory.join("test.pub")).unwrap();
    Keys::load(&RealFiles, &directory)
}

/// A UFS partition, as far as anybody looks at it, of 1 MiB and a bit.
fn partition() -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    bytes.extend(crate::format::ufs::encode("nanoA"));
    bytes.extend((0..1_000_000_u32).map(|n| (n.wrapping_mul(n) / 7) as u8));
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn slice() -> Vec<u8> {
    let mut bytes = partition();
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes[512..516].copy_from_slice(&0x8256_4557_u32.to_le_bytes());
    bytes
}

/// Manifest and trust of a release, and its image, unpacked.
fn read(path: &str, keys: &Keys) -> (Manifest, Trust, Vec<u8>) {
    let mut file = File::open(path).unwrap();
    let mut release = Release::open(&mut file, keys, false).unwrap();
    let mut image = Vec::new();
    unpack(release.manifest.packing(), release.image(), &mut |from| {
        from.read_to_end(&mut image).map(drop)
    })
    .unwrap();
    release.finish().unwrap();
    (release.manifest, release.trust, image)
}

#[test]
fn what_is_made_holds_the_image_however_it_is_packed() {
    for pack in ["none", "gz", "xz", "zst"] {
        if let Some(program) = Packing::ALL
            .into_iter()
            .find(|packing| packing.suffix() == format!(".{pack}"))
            .and_then(packer)
            .map(|command| command.program)
            && !Path::new(&program).exists()
        {
            io::stderr().write_all(format!("SKIPPED: no {program}\n").as_bytes()).unwrap();
            continue;
        }
        let bench = Bench::new();
        let image = bench.file("router.ufs", &partition());
        let output = bench.path("made");
        let order = Order {
            image: &image,
            version: Some("2.4"),
            name: Some("router"),
            min_from: Some("2.0"),
            pack: Some(pack),
            output: Some(&output),
            ..Order::default()
        };
        let said = say(&order, true).unwrap();
        assert!(said.contains("router 2.4, ") && said.contains("not signed"), "{said}");
        assert_eq!(bench.names(), ["made", "router.ufs"]);
        let (manifest, trust, content) = read(&output, &Keys::default());
        assert!(content == partition(), "{pack}");
        assert_eq!(trust, Trust::Unsigned);
        assert_eq!(manifest.layout, Layout::Gpt);
        assert_eq!(manifest.size, content.len() as u64);
        assert_eq!(manifest.sha256, Digest(Sha256::digest(&content).into()));
        assert_eq!(manifest.compat, COMPAT);
        assert_eq!(manifest.min_from, Version::parse("2.0"));
        let suffix = if pack == "none" { String::new() } else { format!(".{pack}") };
        assert_eq!(manifest.image, format!("router.ufs{suffix}"));
        let once = std::fs::read(&output).unwrap();
        say(&order, true).unwrap();
        assert!(std::fs::read(&output).unwrap() == once, "{pack}: not the same twice");
    }
}

#[test]
fn a_signature_can_be_put_in_later_and_again() {
    let bench = Bench::new();
    let image = bench.file("image", &std::fs::read(fixture("image")).unwrap());
    let made = bench.path("made");
    let order = Order {
        image: &image,
        version: Some("2.4"),
        name: Some("router"),
        compat: Some("amd64"),
        layout: Some("gpt"),
        min_from: Some("2.0"),
        pack: Some("none"),
        output: Some(&made),
        ..Order::default()
    };
    say(&order, true).unwrap();
    // The very manifest that the fixture's signature is for.
    let signature = fixture(SIGNATURE);
    let sign = Order { image: &made, signature: Some(&signature), ..Order::default() };
    let unsigned = std::fs::read(&made).unwrap();
    assert!(say(&sign, false).unwrap().contains("made: router 2.4 would be signed"));
    assert!(std::fs::read(&made).unwrap() == unsigned);
    let mut lengths = Vec::new();
    for _ in 0..2 {
        assert!(say(&sign, true).unwrap().contains("made: router 2.4, signed"));
        let (_, trust, content) = read(&made, &test_keys(&bench));
        assert!(matches!(&trust, Trust::Signed { key, .. } if key == "test.pub"), "{trust:?}");
        assert_eq!(content, std::fs::read(fixture("image")).unwrap());
        lengths.push(std::fs::metadata(&made).unwrap().len());
    }
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(lengths[0], unsigned.len() as u64 + 1024);
    assert_eq!(bench.names(), ["image", "keys", "made"]);

    let other = bench.path("other");
    let elsewhere = Order { output: Some(&other), ..sign };
    say(&elsewhere, true).unwrap();
    assert!(std::fs::read(&other).unwrap() == std::fs::read(&made).unwrap());
}

#[test]
fn minisign_signs_when_a_key_is_given() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|directory| directory.join("minisign").is_file()) {
        io::stderr().write_all(b"SKIPPED: minisign is not installed\n").unwrap();
        return;
    }
    let bench = Bench::new();
    let image = bench.file("i", &partition());
    let (made, key) = (bench.path("made"), fixture("test.key"));
    let order = Order {
        image: &image,
        version: Some("1"),
        pack: Some("gz"),
        output: Some(&made),
        sign_with: Some(&key),
        ..Order::default()
    };
    let said = say(&order, true).unwrap();
    assert!(said.contains("packed, signed"), "{said}");
    let (_, trust, content) = read(&made, &test_keys(&bench));
    let expected = Trust::Signed { key: "test.pub".to_owned(), comment: "system 1".to_owned() };
    assert_eq!(trust, expected);
    assert!(content == partition());
    assert_eq!(bench.names(), ["i", "keys", "made"]);

    let nothing = Order { sign_with: Some("/dev/null"), output: Some(&image), ..order };
    assert!(matches!(say(&nothing, true), Err(Failure::Failed(_))));
    assert_eq!(bench.names(), ["i", "keys", "made"]);
    assert!(std::fs::read(&image).unwrap() == partition());
}

#[test]
fn without_acting_the_manifest_is_shown_and_nothing_is_made() {
    let bench = Bench::new();
    let image = bench.file("_.disk.image", &slice());
    let order = Order { image: &image, version: Some("1"), ..Order::default() };
    let said = say(&order, false).unwrap();
    let text = said.lines().filter(|line| line.contains('=')).collect::<Vec<_>>().join("\n");
    let manifest = manifest::parse(&text).unwrap();
    assert_eq!(manifest.layout, Layout::Mbr);
    assert_eq!(manifest.image, "_.disk.image.zst");
    assert!(said.contains("system-1.nzr would get this manifest"), "{said}");
    assert_eq!(bench.names(), ["_.disk.image"]);
}

#[test]
fn an_image_tells_its_layout_and_a_wrong_one_is_refused() {
    let mut gpt_disk = vec![0; 4096];
    gpt_disk[512..520].copy_from_slice(b"EFI PART");
    let mut mbr_disk = partition();
    mbr_disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let whole = "the image of a whole disk, not of a slot";
    for (image, given, layout) in [
        (partition(), None, Ok(Layout::Gpt)),
        (partition(), Some(Layout::Gpt), Ok(Layout::Gpt)),
        (
            partition(),
            Some(Layout::Mbr),
            Err("it is a partition without a BSD label, which is layout gpt"),
        ),
        (slice(), None, Ok(Layout::Mbr)),
        (slice(), Some(Layout::Gpt), Err("it is a slice with a BSD label, which is layout mbr")),
        (gpt_disk, None, Err(whole)),
        (mbr_disk, Some(Layout::Gpt), Err(whole)),
        (vec![0; 512], None, Err("neither UFS nor a slice with a BSD label: say --layout")),
        (vec![0; 512], Some(Layout::Mbr), Ok(Layout::Mbr)),
        (Vec::new(), Some(Layout::Mbr), Ok(Layout::Mbr)),
    ] {
        assert_eq!(fitting(given, &image), layout.map_err(str::to_owned), "{given:?}");
    }
}

#[test]
fn a_mistake_is_told_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let image = bench.file("i", &partition());
    let (odd, empty) = (bench.file("odd", &[1; 513]), bench.file("empty", b""));
    let (packed, key) = (bench.file("i.xz", b"x"), fixture("test.pub"));
    let before = bench.names();
    let order = || Order { image: &image, version: Some("1"), ..Order::default() };
    for (order, why) in [
        (Order { version: None, ..order() }, "release: --version is missing"),
        (Order { version: Some("v1"), ..order() }, "release: --version v1: not a version"),
        (Order { name: Some("a b"), ..order() }, "release: --name a b: not a word"),
        (Order { compat: Some(""), ..order() }, "release: --compat : not a word"),
        (Order { layout: Some("x"), ..order() }, "release: --layout x: neither gpt nor mbr"),
        (Order { min_from: Some("x"), ..order() }, "release: --min-from x: not a version"),
        (Order { pack: Some("zip"), ..order() }, "release: --pack zip: none of zst, xz"),
        (Order { pack: Some(""), ..order() }, "release: --pack : none of zst, xz"),
        (Order { signature: Some("x"), ..order() }, "--signature goes with a release that was"),
        (Order { image: &odd, ..order() }, "/odd: 513 bytes, not a multiple of 512"),
        (Order { image: &empty, ..order() }, "/empty: 0 bytes, not a multiple of 512"),
        (Order { image: &packed, ..order() }, "/i.xz: it ends in .xz: a release packs by itself"),
        (Order { image: "/dev/null", ..order() }, "/dev/null: not a regular file"),
        (Order { image: "/nonexistent", ..order() }, "cannot read /nonexistent: No such file"),
        (Order { output: Some("/nonexistent/x"), ..order() }, "cannot make /nonexistent/x.tmp: No"),
        (
            Order { image: &image, signature: Some(&key), ..Order::default() },
            "test.pub: not a signature of minisign",
        ),
        (
            Order { image: &image, signature: Some("/nonexistent"), ..Order::default() },
            "cannot read /nonexistent: No such file",
        ),
    ] {
        let failure = say(&order, true).unwrap_err();
        let (Failure::Usage(text) | Failure::Failed(text)) = &failure;
        assert!(text.contains(why), "{text}");
        assert_eq!(bench.names(), before, "{text}");
    }
    let signature = fixture(SIGNATURE);
    let no_release = Order { image: &image, signature: Some(&signature), ..Order::default() };
    let Err(Failure::Failed(text)) = say(&no_release, true) else { panic!() };
    assert!(text.ends_with("/i: this is not a release: it is empty"), "{text}");
}
