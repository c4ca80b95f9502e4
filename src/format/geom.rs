//! The storage of the machine as GEOM sees it: the sysctl(8) `kern.geom.confxml`, see geom(4).
//!
//! The format is that of FreeBSD's `sys/geom/geom_dump.c`, with what the classes add:
//! `geom_disk.c`, `geom_slice.c`, `part/g_part.c`, `part/g_part_gpt.c`, `label/g_label.c`.
//!
//! The same sectors have many names: `ada0p2`, `gpt/nanoA`, `ufs/nanoA`, `diskid/DISK-1234p2`. Here
//! a name is only a name; what they are is an [`Extent`].

use std::collections::HashMap;

use super::ParseError;

mod extent;
mod xml;

#[cfg(test)]
mod tests;

pub use extent::Extent;

/// Classes whose geoms do not make something new out of their consumer's content: they cut it, name
/// it, or use it as it is.
const TRANSPARENT: [&str; 8] = ["PART", "LABEL", "DEV", "VFS", "SWAP", "DISK", "MD", "FD"];

/// A provider of a [`Mesh`]: its index in [`Mesh::providers`]. It has no meaning for another mesh,
/// not even for a later one of the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(pub usize);

/// Everything GEOM knew at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// The providers, in the order in which they were printed.
    pub providers: Vec<Provider>,
    /// The geoms, in the order in which they were printed.
    pub geoms: Vec<Geom>,
    places: Vec<extent::Place>,
    by_name: HashMap<String, ProviderId>,
    by_extent: HashMap<Extent, Vec<ProviderId>>,
    /// For each provider, the indexes of the geoms on top of it.
    consumers: Vec<Vec<usize>>,
}

/// An instance of a class: it consumes providers and offers others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Geom {
    /// The class, for example `PART`.
    pub class: String,
    /// Its name; not unique.
    pub name: String,
    /// The providers it is attached to.
    pub consumes: Vec<ProviderId>,
    /// Of a partition table: `OK`, or `CORRUPT` when only one of its copies is good.
    pub state: Option<String>,
    /// Of a partition table: `GPT`, `MBR`, `BSD` …
    pub scheme: Option<String>,
}

/// Something that can be read and written: a device in `/dev`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider {
    /// Its name below `/dev`. Labels are mangled: see [`demangle`].
    pub name: String,
    /// The index in [`Mesh::geoms`] of the geom that offers it.
    pub geom: usize,
    /// Its size in bytes; 0 when it has no medium or GEOM did not say.
    pub mediasize: u64,
    /// The size of its sectors in bytes; 0 when GEOM did not say.
    pub sectorsize: u64,
    /// Who has it open.
    pub access: Access,
    /// The serial number of a disk, if it has one.
    pub ident: Option<String>,
    /// What a disk says it is, if it says anything.
    pub descr: Option<String>,
    /// Of a partition: what its table says about it.
    pub partition: Option<Partition>,
    /// Of a partition or a label: where it starts, in bytes from the start of the provider that its
    /// geom consumes.
    pub offset: Option<u64>,
    /// Other names of the same device in `/dev`. FreeBSD 15 prints them, 13 does not.
    pub aliases: Vec<String>,
}

/// How many openings for reading, for writing, and how many that allow no other writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// Openings for reading.
    pub r: u32,
    /// Openings for writing.
    pub w: u32,
    /// Exclusive openings.
    pub e: u32,
}

/// A partition, as its table describes it: see gpart(8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// The kind of its table: `GPT`, `MBR`, `BSD` …
    pub scheme: String,
    /// Its number in the table, from 1.
    pub index: u32,
    /// Its type, for example `freebsd-ufs`, or `!` and a number or UUID for one without a name.
    pub kind: String,
    /// Where it starts, in bytes from the start of its parent.
    pub offset: u64,
    /// Its size in bytes.
    pub length: u64,
    /// Its GPT label, not mangled. It is there even while the provider `gpt/…` is not.
    pub label: Option<String>,
    /// The attributes that are set: `active`, `bootme`, `bootonce`, `bootfailed`.
    pub attributes: Vec<String>,
    /// The table is not damaged; a table that is can only be recovered, not changed.
    pub table_ok: bool,
}

impl Partition {
    /// This attribute is set.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a == attribute)
    }
}

impl Geom {
    /// It makes something new out of what it consumes: a mirror, a stripe, an encrypted device …
    fn composes(&self) -> bool {
        // A class that looks for its metadata does so with a geom of this name, which is gone at
        // once.
        let tasting = self.name.contains(":taste");
        let class = self.class.as_str();
        let transparent = TRANSPARENT.contains(&class) || class.starts_with("ZFS::");
        !tasting && !transparent
    }
}

impl Mesh {
    /// Parses the value of `kern.geom.confxml`: XML, up to the first NUL byte. What is broken in it
    /// is left out, and what is being torn down is, too; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    ///
    /// It is not XML, or not a mesh. A value that was cut off is not XML.
    pub fn parse(text: &[u8]) -> Result<Mesh, ParseError> {
        xml::parse(text)
    }

    /// A mesh of these. An index that leads nowhere is as if it were not there.
    pub fn new(providers: Vec<Provider>, geoms: Vec<Geom>) -> Mesh {
        let places = extent::places(&providers, &geoms);
        let mut by_name = HashMap::new();
        let all = || providers.iter().enumerate();
        let names = all().map(|(n, p)| (n, &p.name));
        let aliases = all().flat_map(|(n, p)| p.aliases.iter().map(move |alias| (n, alias)));
        for (n, name) in names.chain(aliases) {
            by_name.entry(name.clone()).or_insert(ProviderId(n));
        }
        let mut by_extent: HashMap<Extent, Vec<ProviderId>> = HashMap::new();
        for (n, place) in places.iter().enumerate() {
            by_extent.entry(place.extent).or_default().push(ProviderId(n));
        }
        for same in by_extent.values_mut() {
            same.sort_by_key(|id| places.get(id.0).map(|place| place.labels));
        }
        let mut consumers = vec![Vec::new(); providers.len()];
        for (n, geom) in geoms.iter().enumerate() {
            for id in &geom.consumes {
                if let Some(on_top) = consumers.get_mut(id.0) {
                    on_top.push(n);
                }
            }
        }
        Mesh { providers, geoms, places, by_name, by_extent, consumers }
    }

    /// The provider. An id of another mesh may give one without a name and without sectors.
    pub fn provider(&self, id: ProviderId) -> &Provider {
        static NOTHING: Provider = Provider {
            name: String::new(),
            geom: usize::MAX,
            mediasize: 0,
            sectorsize: 0,
            access: Access { r: 0, w: 0, e: 0 },
            ident: None,
            descr: None,
            partition: None,
            offset: None,
            aliases: Vec::new(),
        };
        self.providers.get(id.0).unwrap_or(&NOTHING)
    }

    /// The provider of this name, with or without `/dev/`, or of this alias. Where a name is there
    /// twice, the first.
    pub fn find(&self, name: &str) -> Option<ProviderId> {
        let name = name.strip_prefix("/dev/").unwrap_or(name);
        self.by_name.get(name).copied()
    }

    /// Every provider with its id, in the order of the kernel's list.
    pub fn iter(&self) -> impl Iterator<Item = (ProviderId, &Provider)> {
        self.providers.iter().enumerate().map(|(id, provider)| (ProviderId(id), provider))
    }

    /// The provider that a partition or label lies on: what its geom consumes. Of what is made of
    /// several, the first of them.
    pub fn parent(&self, id: ProviderId) -> Option<ProviderId> {
        self.geoms.get(self.provider(id).geom)?.consumes.first().copied()
    }

    /// The sectors that the provider shows.
    pub fn extent(&self, id: ProviderId) -> Extent {
        match self.places.get(id.0) {
            Some(place) => place.extent,
            None => Extent { disk: id, offset: 0, length: 0 },
        }
    }

    /// Both show the very same sectors, from the first to the last.
    pub fn same_sectors(&self, a: ProviderId, b: ProviderId) -> bool {
        self.extent(a) == self.extent(b)
    }

    /// All providers that show the same sectors, this one included: those that lie directly on the
    /// disk first (`ada0p2`), then their labels (`gpt/nanoA`), then what lies on a label
    /// (`diskid/DISK-1234p2`).
    pub fn aliases(&self, id: ProviderId) -> &[ProviderId] {
        self.by_extent.get(&self.extent(id)).map_or(&[], Vec::as_slice)
    }

    /// All names of the same sectors, in the order of [`Mesh::aliases`], then the other names of
    /// the devices.
    pub fn names(&self, id: ProviderId) -> Vec<&str> {
        let same = || self.aliases(id).iter().map(|id| self.provider(*id));
        let others = same().flat_map(|p| &p.aliases);
        same().map(|p| &p.name).chain(others).map(String::as_str).collect()
    }

    /// The class of the geom that offers the provider; empty if the mesh does not know.
    pub fn class(&self, id: ProviderId) -> &str {
        let geom = self.geoms.get(self.provider(id).geom);
        geom.map_or("", |geom| &geom.class)
    }

    /// The geoms on top of the provider.
    pub fn consumers(&self, id: ProviderId) -> impl Iterator<Item = &Geom> {
        let on_top = self.consumers.get(id.0);
        on_top.into_iter().flatten().filter_map(|n| self.geoms.get(*n))
    }

    /// These sectors, under whatever name, are a component of a mirror, stripe, encrypted device or
    /// the like: what is read from them must not be taken for the content of a device.
    pub fn is_component(&self, id: ProviderId) -> bool {
        self.on_any_name(id, Geom::composes)
    }

    /// These sectors, under whatever name, start with a partition table that the kernel
    /// understands, be it an empty one.
    pub fn has_partitions(&self, id: ProviderId) -> bool {
        self.on_any_name(id, |geom| geom.class == "PART" && geom.scheme.is_some())
    }

    fn on_any_name(&self, id: ProviderId, is: impl Fn(&Geom) -> bool) -> bool {
        self.aliases(id).iter().any(|id| self.consumers(*id).any(&is))
    }

    /// The disks and memory disks.
    pub fn disks(&self) -> impl Iterator<Item = ProviderId> {
        let all = (0..self.providers.len()).map(ProviderId);
        all.filter(|id| matches!(self.class(*id), "DISK" | "MD"))
    }
}

/// The label that GEOM made a name of: white space, quotes, per cent signs and bytes that are not
/// ASCII are `%XX` in names (`g_label_mangle_name`). Bytes that are not UTF-8 are replaced.
pub fn demangle(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, behind @ ..] => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, behind))
            }
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((*first, behind));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}
