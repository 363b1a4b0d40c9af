//! The texts of statements for one table.

use super::Mutation;
use crate::engine::cassandra::rows::Layout;
use crate::engine::cassandra::schema::ColumnRole;
use crate::engine::cassandra::schema::statements::qualified;
use crate::engine::cassandra::types::quote_name;

/// Names as statements write them.
pub(super) struct Texts {
    table: String,
    /// Of the key: those of the partition, then those of the clustering.
    keys: Vec<String>,
    partition: usize,
    /// All columns, in the layout's order.
    columns: Vec<String>,
}

/// A part of a SET or DELETE: its text with a `?` for each value, and the values.
pub(super) struct Part {
    pub(super) text: String,
    pub(super) values: Vec<Vec<u8>>,
}

impl Part {
    /// Bytes of its values.
    pub(super) fn bytes(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }
}

impl Texts {
    pub(super) fn new(layout: &Layout, keyspace: &str, name: &str) -> Texts {
        let columns: Vec<String> = layout.columns().map(|(c, _)| quote_name(&c.name)).collect();
        let is_key = |role| matches!(role, ColumnRole::PartitionKey | ColumnRole::Clustering);
        let keys = layout.columns().zip(&columns).filter(|((c, _), _)| is_key(c.role)).map(|(_, n)| n.clone());
        Texts { table: qualified(keyspace, name), keys: keys.collect(), partition: layout.partition_keys(), columns }
    }

    /// A column by its place in the layout.
    pub(super) fn column(&self, place: usize) -> &str {
        &self.columns[place]
    }

    /// The `n`-th clustering column.
    pub(super) fn clustering(&self, n: usize) -> &str {
        &self.keys[self.partition + n]
    }

    /// `DELETE parts FROM table USING TIMESTAMP time WHERE …`: the partition key, `equal` clustering columns by `=` (their
    /// values stand in `keys` behind the partition's), and further conditions.
    pub(super) fn delete(&self, parts: &[Part], slice: &[Part], time: i64, keys: &[Vec<u8>], equal: usize) -> Mutation {
        let mut mutation = Mutation::default();
        let what: Vec<&str> = parts.iter().map(|p| p.text.as_str()).collect();
        mutation.values.extend(parts.iter().flat_map(|p| p.values.iter().cloned()));
        mutation.values.push(time.to_be_bytes().to_vec());
        let space = if what.is_empty() { "" } else { " " };
        let mut text = format!("DELETE {}{space}FROM {} USING TIMESTAMP ? WHERE ", what.join(", "), self.table);
        text.push_str(&self.equal(self.partition + equal));
        mutation.values.extend(keys.iter().take(self.partition + equal).cloned());
        for condition in slice {
            text.push_str(" AND ");
            text.push_str(&condition.text);
            mutation.values.extend(condition.values.iter().cloned());
        }
        mutation.text = text;
        mutation
    }

    /// `UPDATE table USING TIMESTAMP time AND TTL end SET parts WHERE …`; `end` 0 for none.
    pub(super) fn update(&self, parts: &[Part], (time, end): (i64, u32), keys: &[Vec<u8>]) -> Mutation {
        let sets: Vec<&str> = parts.iter().map(|p| p.text.as_str()).collect();
        let text = format!(
            "UPDATE {} USING TIMESTAMP ? AND TTL ? SET {} WHERE {}",
            self.table,
            sets.join(", "),
            self.equal(keys.len())
        );
        let mut values = vec![time.to_be_bytes().to_vec(), vec![0; 4]];
        values.extend(parts.iter().flat_map(|p| p.values.iter().cloned()));
        values.extend(keys.iter().cloned());
        Mutation { text, values, ttl: (end != 0).then_some((1, end)), append: None }
    }

    /// `INSERT INTO table (keys, columns) VALUES … USING TIMESTAMP time AND TTL end`: with row liveness.
    pub(super) fn insert(&self, cells: &[(usize, &[u8])], (time, end): (i64, u32), keys: &[Vec<u8>]) -> Mutation {
        let columns = cells.iter().map(|(place, _)| self.columns[*place].as_str());
        let names: Vec<&str> = self.keys.iter().map(String::as_str).take(keys.len()).chain(columns).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let text =
            format!("INSERT INTO {} ({}) VALUES ({marks}) USING TIMESTAMP ? AND TTL ?", self.table, names.join(", "));
        let mut values = keys.to_vec();
        values.extend(cells.iter().map(|(_, value)| value.to_vec()));
        values.push(time.to_be_bytes().to_vec());
        values.push(vec![0; 4]);
        let place = values.len() - 1;
        Mutation { text, values, ttl: (end != 0).then_some((place, end)), append: None }
    }

    /// Reads one column of one row.
    pub(super) fn read(&self, place: usize, keys: usize) -> String {
        format!("SELECT {} FROM {} WHERE {}", self.columns[place], self.table, self.equal(keys))
    }

    /// Reads a column of the key and the write times of others.
    pub(super) fn probe(&self, columns: &[String], keys: usize) -> String {
        let times: String = columns.iter().map(|name| format!(", writetime({name})")).collect();
        let key = self.keys.first().map_or("*", String::as_str);
        format!("SELECT {key}{times} FROM {} WHERE {}", self.table, self.equal(keys))
    }

    /// `a = ? AND b = ?` for the first columns of the key.
    fn equal(&self, count: usize) -> String {
        let each: Vec<String> = self.keys.iter().take(count).map(|name| format!("{name} = ?")).collect();
        each.join(" AND ")
    }
}
