//! File names of SSTables: `nb-48-big-Data.db` is version, generation, format and component.
//! Sources: `Descriptor`, `SSTableFormat.Components`, `BigFormat.Components`.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// What a file of an SSTable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The rows.
    Data,
    /// Header and statistics.
    Statistics,
    /// Where the compressed chunks of Data lie.
    CompressionInfo,
    /// Checksums of the chunks of an uncompressed Data.
    Crc,
    /// Checksum of the whole of Data.
    Digest,
    /// The list of components.
    Toc,
    /// What finds rows: primary index, summary, Bloom filter, secondary index. Reading all rows needs none of it, but
    /// Cassandra takes in no SSTable without its primary index.
    Index,
    /// A name of no known component.
    Unknown,
}

impl Component {
    /// From the last part of a file's name.
    pub fn parse(name: &str) -> Component {
        match name {
            "Data.db" => Component::Data,
            "Statistics.db" => Component::Statistics,
            "CompressionInfo.db" => Component::CompressionInfo,
            "CRC.db" => Component::Crc,
            "Digest.crc32" => Component::Digest,
            "TOC.txt" => Component::Toc,
            "Index.db" | "Summary.db" | "Filter.db" | "Partitions.db" | "Rows.db" => Component::Index,
            _ if (name.starts_with("SAI") || name.starts_with("SI_")) && name.ends_with(".db") => Component::Index,
            _ => Component::Unknown,
        }
    }

    /// The last part of the file's name, for the components that a decoder opens.
    pub fn file(self) -> &'static str {
        match self {
            Component::Data => "Data.db",
            Component::Statistics => "Statistics.db",
            Component::CompressionInfo => "CompressionInfo.db",
            Component::Crc => "CRC.db",
            Component::Digest => "Digest.crc32",
            Component::Toc => "TOC.txt",
            Component::Index | Component::Unknown => "",
        }
    }
}

/// Generation of an SSTable in its table: a number, or a time-ordered id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    /// A number, given in sequence.
    Number(u64),
    /// 28 characters `xxxx_xxxx_xxxxxxxxxxxxxxxxxx`, ordered by time (source: `UUIDBasedSSTableId`).
    Id(String),
}

impl Generation {
    fn parse(text: &str) -> Option<Generation> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().map(Generation::Number);
        }
        let shape = |(i, b): (usize, u8)| if i == 4 || i == 9 { b == b'_' } else { b.is_ascii_alphanumeric() };
        let fits = text.len() == 28 && text.bytes().enumerate().all(shape);
        fits.then(|| Generation::Id(text.to_string()))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Generation::Number(n) => n.fmt(f),
            Generation::Id(id) => id.fmt(f),
        }
    }
}

/// Which SSTable of a table: everything in a file's name but the component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor {
    /// Place in the table's history.
    pub generation: Generation,
    /// Two letters, `nb`.
    pub version: String,
    /// `big` or `bti`.
    pub format: String,
}

impl Descriptor {
    /// Splits a file's name; `None` when it is not that of an SSTable's component.
    pub fn parse(name: &str) -> Option<(Descriptor, Component)> {
        let mut parts = name.splitn(4, '-');
        let (version, generation, format, component) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let letters = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase());
        if !letters(version) || !letters(format) {
            return None;
        }
        let generation = Generation::parse(generation)?;
        let descriptor = Descriptor { generation, version: version.to_string(), format: format.to_string() };
        Some((descriptor, Component::parse(component)))
    }

    /// The name of the file that holds `component`.
    pub fn file(&self, component: Component) -> String {
        format!("{self}-{}", component.file())
    }
}

/// Splits the name of a file of an SSTable from before Cassandra 2.2, `KEYSPACE-TABLE-ka-1-Data.db`, or one that looks like an
/// SSTable's and is none that we know (`nb-1-big-Data.db.part`): what the names of the SSTable's files begin with, and its
/// version where the name tells. `None` for names that [`Descriptor::parse`] knows, and for all others.
pub fn old(name: &str) -> Option<(&str, Option<&str>)> {
    const ENDS: [&str; 5] = [".db", ".txt", ".sha1", ".adler32", ".crc32"];
    if Descriptor::parse(name).is_some() {
        return None;
    }
    let mut parts = name.rsplitn(4, '-');
    if let (Some(component), Some(generation), Some(version), Some(_)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
        && ENDS.iter().any(|end| component.ends_with(end))
        && generation.parse::<u64>().is_ok()
        && version.len() == 2
        && version.bytes().all(|b| b.is_ascii_lowercase())
    {
        return Some((&name[..name.len() - component.len() - 1], Some(version)));
    }
    name.find("-Data.db").map(|at| (&name[..at], None))
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.version, self.generation, self.format)
    }
}

/// How rows and their times are stored: what tells old readers from new ones, and what we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// As 3.0 to 4.1 have it, and 5.0 as it comes.
    Nb,
    /// As 5.0 has it with `storage_compatibility_mode: NONE`: local deletion times are unsigned, one byte says that a
    /// partition is not deleted, statistics are laid out anew.
    Oa,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Nb => "nb",
            Version::Oa => "oa",
        })
    }
}

/// The version that a file's name states, oldest first; code asks whether it is at least the one that brought a change.
/// All before `oa` store rows alike. Sources: `BigFormat.BigVersion`, `BtiFormat.BtiVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// 3.0: the first with rows as they still are.
    Ma,
    /// 3.0.7, 3.7: lower bound of the commit log.
    Mb,
    /// 3.0.8, 3.9: intervals of the commit log.
    Mc,
    /// 3.0.18, 3.11.4: other bounds of the clustering.
    Md,
    /// 3.0.25, 3.11.11: the node that wrote the file.
    Me,
    /// 4.0 before its release: checksums in the statistics, chunks that are not packed, pending repairs.
    Na,
    /// 4.0 and 4.1, and 5.0 as it comes: the node that wrote the file.
    Nb,
    /// 5.0 without compatibility, and `da` of format `bti`, which differs in its indexes only.
    Oa,
}

/// The versions of format `big`.
const BIG: [(&str, Revision); 8] = [
    ("ma", Revision::Ma),
    ("mb", Revision::Mb),
    ("mc", Revision::Mc),
    ("md", Revision::Md),
    ("me", Revision::Me),
    ("na", Revision::Na),
    ("nb", Revision::Nb),
    ("oa", Revision::Oa),
];

impl Revision {
    /// The version that `descriptor` names, or `Unsupported` with that name. `subject` is the file.
    pub fn of(descriptor: &Descriptor, subject: impl fmt::Display) -> Result<Revision> {
        let (format, version) = (descriptor.format.as_str(), descriptor.version.as_str());
        let found = match format {
            "big" => BIG.iter().find(|(name, _)| *name == version).map(|(_, version)| *version),
            "bti" if version == "da" => Some(Revision::Oa),
            _ => None,
        };
        found.ok_or_else(|| {
            let known = "only big ma to me, na, nb, oa, and bti da";
            let message = match format {
                "big" if version < "ma" => {
                    format!("an SSTable from before 3.0 (version {version}), which is not supported")
                }
                _ => format!("SSTable format {format}, version {version}, is not understood ({known})"),
            };
            Error::new(Kind::Unsupported, subject, message)
        })
    }

    /// How its rows are stored.
    pub fn rows(self) -> Version {
        if self >= Revision::Oa { Version::Oa } else { Version::Nb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_and_join() {
        let (d, c) = Descriptor::parse("nb-48-big-Data.db").unwrap();
        assert_eq!((d.generation.clone(), c), (Generation::Number(48), Component::Data));
        assert_eq!(d.file(Component::CompressionInfo), "nb-48-big-CompressionInfo.db");
        let (d, c) = Descriptor::parse("da-3fw2_0tj4_46w3k2cpidnirvjy7k-bti-SAI+aa+idx+Meta.db").unwrap();
        assert_eq!(d.generation, Generation::Id("3fw2_0tj4_46w3k2cpidnirvjy7k".into()));
        assert_eq!(c, Component::Index);
        assert_eq!(Revision::of(&d, "x").unwrap(), Revision::Oa);
        let (unknown, _) = Descriptor::parse("zz-1-big-Data.db").unwrap();
        assert_eq!(Revision::of(&unknown, "x").unwrap_err().kind(), Kind::Unsupported);
        for name in ["manifest.json", "schema.cql", "nb-x-big-Data.db", "nb-1-big", "-1-big-Data.db", "1-1-big-Data.db"]
        {
            assert_eq!(Descriptor::parse(name), None, "{name}");
        }
        assert!(Generation::Number(9) < Generation::Number(10));
    }

    #[test]
    fn names_that_are_not_understood_are_still_those_of_sstables() {
        assert_eq!(old("ks-t-ka-1-Data.db"), Some(("ks-t-ka-1", Some("ka"))));
        assert_eq!(old("ks-t-tmp-jb-12-Digest.sha1"), Some(("ks-t-tmp-jb-12", Some("jb"))));
        assert_eq!(old("nb-x-big-Data.db"), Some(("nb-x-big", None)));
        assert_eq!(old("nb-1-big-Data.db.part"), None, "an unknown component of a known SSTable");
        for name in ["nb-1-big-Data.db", "la-1-big-Data.db", "manifest.json", "a-b-c-d", "ks-t-ka-1-x"] {
            assert_eq!(old(name), None, "{name}");
        }
    }
}
