//! What `onefold pin`, `unpin` and `tag` take.

use clap::Args as ClapArgs;

use crate::forget::remarks::Labels;

/// `pin`
#[derive(Debug, ClapArgs)]
pub struct Pin {
    /// Beginnings of ids, or `latest`.
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Why: shown wherever the snapshot is listed or kept.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `unpin`
#[derive(Debug, ClapArgs)]
pub struct Unpin {
    /// Beginnings of ids, or `latest`.
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
}

/// `tag`
#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["set", "add", "remove"]))]
pub struct Tag {
    /// Beginnings of ids, or `latest`.
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// These labels in place of all others; --set "" for none at all.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', conflicts_with_all = ["add", "remove"])]
    pub set: Vec<String>,
    /// These labels besides.
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub add: Vec<String>,
    /// Without these labels.
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub remove: Vec<String>,
}

impl Tag {
    /// What becomes of labels.
    pub fn labels(&self) -> Labels {
        let all = |labels: &[String]| labels.iter().filter(|label| !label.is_empty()).cloned().collect();
        let set = (!self.set.is_empty()).then(|| all(&self.set));
        Labels { set, add: all(&self.add), remove: all(&self.remove) }
    }
}
