//! User-defined types, as a schema has them.

/// A user-defined type.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserType {
    /// Name in its keyspace.
    pub name: String,
    /// Field names and CQL types, in order.
    pub fields: Vec<(String, String)>,
}

impl UserType {
    /// Whether it is `other` or what `other` has become since: fields are only ever added behind the others.
    pub fn extends(&self, other: &UserType) -> bool {
        self.name == other.name && self.fields.get(..other.fields.len()) == Some(&other.fields[..])
    }
}
