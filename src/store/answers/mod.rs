//! What servers of stores answer, as text: parsers of bytes from outside. The clients that ask lie in features; these do not, so that
//! every build fuzzes them.

pub mod fuzzing;
pub mod swift;
pub mod versions;
