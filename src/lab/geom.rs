//! `kern.geom.confxml` of the model, in the form in which the kernel prints it (`geom_dump.c`).

use std::fmt::Write;

use super::Inner;
use super::machine::{Disk, Scheme};
use super::providers::{Provider, providers, uuid};

/// Sectors are this long.
const SECTOR: u64 = 512;

/// One geom: its class, name, what it consumes, its configuration and what it offers.
struct Geom<'a> {
    name: &'a str,
    consumes: Option<usize>,
    config: String,
    offers: Vec<usize>,
}

impl Inner {
    /// The whole mesh.
    pub(crate) fn confxml(&self) -> String {
        let all = providers(&self.machine);
        let there: Vec<usize> =
            (0..all.len()).filter(|at| all.get(*at).is_some_and(|one| !one.hidden)).collect();
        let of = |class: &'static str| {
            there
                .iter()
                .copied()
                .filter_map(|at| Some((at, all.get(at)?)))
                .filter(move |(_, one)| one.class == class)
                .collect::<Vec<_>>()
        };
        let mut classes: Vec<(&str, Vec<Geom<'_>>)> = Vec::new();
        let disks = of("DISK").into_iter().map(|(at, one)| Geom {
            name: &one.name,
            consumes: None,
            config: String::new(),
            offers: vec![at],
        });
        classes.push(("DISK", disks.collect()));
        let mut tables: Vec<Geom<'_>> = Vec::new();
        for (at, one) in of("PART") {
            match tables.iter_mut().find(|table| table.consumes == one.parent) {
                Some(table) => table.offers.push(at),
                None => tables.push(Geom {
                    name: one.parent.and_then(|at| all.get(at)).map_or("", |below| &below.name),
                    consumes: one.parent,
                    config: self.table_config(one),
                    offers: vec![at],
                }),
            }
        }
        classes.push(("PART", tables));
        let labels = of("LABEL").into_iter().map(|(at, one)| Geom {
            name: one.parent.and_then(|at| all.get(at)).map_or("", |below| &below.name),
            consumes: one.parent,
            config: String::new(),
            offers: vec![at],
        });
        classes.push(("LABEL", labels.collect()));
        let nodes = there.iter().filter_map(|at| {
            let one = all.get(*at)?;
            let (consumes, config, offers) = (Some(*at), String::new(), Vec::new());
            Some(Geom { name: &one.name, consumes, config, offers })
        });
        classes.push(("DEV", nodes.collect()));
        classes.push(("MD", Vec::new()));

        let mut out = String::from("<mesh>\n");
        let mut number = 0;
        for (class, geoms) in classes {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  <class id=\"0xc-{class}\">\n    <name>{class}</name>");
            for geom in geoms {
                number += 1;
                self.geom(&mut out, &all, class, number, &geom);
            }
            out.push_str("  </class>\n");
        }
        out.push_str("</mesh>\n");
        out
    }

    fn geom(&self, out: &mut String, all: &[Provider], class: &str, id: usize, geom: &Geom<'_>) {
        let _ = write!(
            out,
            "    <geom id=\"0x9{id:04x}\">\n      <class ref=\"0xc-{class}\"/>\n      \
             <name>{}</name>\n      <rank>1</rank>\n      <config>\n{}      </config>\n",
            escaped(geom.name),
            geom.config
        );
        if let Some(below) = geom.consumes {
            let mode = all.get(below).map_or("", |_| "r0w0e0");
            let _ = write!(
                out,
                "\t<consumer id=\"0xc{id:04x}\">\n\t  <geom ref=\"0x9{id:04x}\"/>\n\t  \
                 <provider ref=\"0xp{below:04x}\"/>\n\t  <mode>{mode}</mode>\n\t  <config>\n\t  \
                 </config>\n\t</consumer>\n"
            );
        }
        for at in &geom.offers {
            if let Some(one) = all.get(*at) {
                self.offer(out, *at, id, one);
            }
        }
        out.push_str("    </geom>\n");
    }

    fn offer(&self, out: &mut String, at: usize, geom: usize, one: &Provider) {
        let (size, offset) = self.extent(one);
        let mode = match one.open {
            (false, _) => "r0w0e0",
            (true, false) => "r1w0e0",
            (true, true) => "r1w1e1",
        };
        let _ = write!(
            out,
            "\t<provider id=\"0xp{at:04x}\">\n\t  <geom ref=\"0x9{geom:04x}\"/>\n\t  \
             <mode>{mode}</mode>\n\t  <name>{}</name>\n\t  <mediasize>{size}</mediasize>\n\t  \
             <sectorsize>{SECTOR}</sectorsize>\n\t  <stripesize>0</stripesize>\n\t  \
             <stripeoffset>0</stripeoffset>\n\t  <config>\n",
            escaped(&one.name)
        );
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(out, "\t    <{name}>{}</{name}>", escaped(&value.to_string()));
        };
        match one.class {
            "DISK" => {
                let serial = self.machine.disks.get(one.disk).map_or("", |disk| &disk.serial);
                line("fwheads", &16);
                line("fwsectors", &63);
                line("rotationrate", &"unknown");
                line("ident", &serial);
                line("descr", &"Lab disk");
            }
            "PART" => {
                line("start", &(offset / SECTOR));
                line("end", &((offset + size) / SECTOR - 1));
                if let (Some(part), Some(disk)) = (self.part_of(one), self.disk_of(one)) {
                    line("index", &if one.inner { 1 } else { part.index });
                    line("type", &if one.inner { "freebsd-ufs" } else { &part.kind });
                    line("offset", &offset);
                    line("length", &size);
                    if disk.scheme == Scheme::Gpt {
                        line("label", &part.name);
                        line("rawuuid", &uuid(disk, part));
                    }
                    for attribute in part.attributes.iter().filter(|_| !one.inner) {
                        line("attrib", &attribute);
                    }
                }
            }
            _ => {
                line("index", &0);
                line("length", &size);
                line("seclength", &(size / SECTOR));
                line("offset", &0);
                line("secoffset", &0);
            }
        }
        out.push_str("\t  </config>\n\t</provider>\n");
    }

    fn disk_of(&self, one: &Provider) -> Option<&Disk> {
        self.machine.disks.get(one.disk)
    }

    fn table_config(&self, one: &Provider) -> String {
        let scheme = match (one.inner, self.disk_of(one).map(|disk| disk.scheme)) {
            (true, _) => "BSD",
            (false, Some(Scheme::Gpt)) => "GPT",
            (false, _) => "MBR",
        };
        let damaged = !one.inner && self.disk_of(one).is_some_and(|disk| !disk.table_ok);
        let state = if damaged { "CORRUPT" } else { "OK" };
        format!(
            "\t<scheme>{scheme}</scheme>\n\t<entries>4</entries>\n\t<state>{state}</state>\n\t\
             <modified>false</modified>\n"
        )
    }
}

/// Text as the kernel escapes it in XML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}
