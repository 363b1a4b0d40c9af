//! The databases onefold knows. A new engine is one folder and one line here.

pub mod cassandra;
