//! What `onefold maintain` takes.

use clap::Args as ClapArgs;

use super::{Age, Prune};
use crate::repo::check::Share;

/// `maintain`
#[derive(Debug, ClapArgs)]
pub struct Maintain {
    /// End after so long, at the next safe place: 30m, 2h.
    #[arg(long, value_name = "AGE", default_value = "30m")]
    pub time: Age,
    /// Forget what the policy in the profile's [forget] does not keep, too.
    #[arg(long)]
    pub forget: bool,
    /// How much of the data is read and verified, what was verified longest ago first: 5%, 3/10, 20G.
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub read_data_subset: Share,
    /// How what nobody needs is taken away.
    #[command(flatten)]
    pub prune: Prune,
}
