//! Which snapshots are meant.

use clap::Args as ClapArgs;
use clap::builder::NonEmptyStringValueParser;

use crate::snapshot;

/// Which snapshots are listed, or which `latest` may mean.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Snapshots")]
pub struct Filter {
    /// Of this cluster only.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub cluster: Option<String>,
    /// Made by this machine only.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub host: Option<String>,
    /// With this label only; with all of them, where there are several.
    #[arg(long = "tag", value_name = "LABEL", value_parser = NonEmptyStringValueParser::new())]
    pub tags: Vec<String>,
}

impl Filter {
    /// As operations take it.
    pub fn of(&self) -> snapshot::Filter {
        snapshot::Filter { cluster: self.cluster.clone(), host: self.host.clone(), tags: self.tags.clone() }
    }
}
