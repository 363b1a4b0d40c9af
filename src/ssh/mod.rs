//! Files of other machines, and commands on them, over SSH.
//!
//! The transport is the machine's own `ssh`, so that `~/.ssh/config`, known hosts, agents, certificates, hardware keys and jump
//! hosts work as their owner knows them; what it asks on a terminal is refused (`BatchMode`), and no host key is trusted that it
//! does not trust. Over its pipes goes SFTP, version 3, spoken here: blocking, many requests at once on one connection.

mod address;
mod answer;
mod command;
mod connection;
pub mod files;
mod host;
mod packet;
mod refusal;
mod statvfs;

pub use address::Address;
pub use answer::{Answer, Fault, Pending};
pub use command::{Patience, Ran, here, quoted};
pub use connection::Connection;
pub use host::Host;
pub use packet::{Attributes, Name, fuzz, status};
pub use statvfs::Counts;
