//! `schema.cql`, which lies in every snapshot's folder: types, the table and what was dropped from it
//! (`SchemaCQLHelper`). For captures without `system_schema`.

use super::lex::{Lexer, Token};
use super::schema::{Column, ColumnRole, Index, Setting, Table, UserType, number_columns};
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;

/// What one or several files define.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definitions {
    /// User-defined types with their keyspaces. A file may leave one out that its table uses: take those of all files.
    pub types: Vec<(String, UserType)>,
    /// Tables and views; `types` of each are those of its keyspace in the same text.
    pub tables: Vec<Table>,
}

/// Columns a table may have; Cassandra warns at a hundred.
const COLUMNS_MAX: usize = 65_536;

/// Parses statements. Those that define neither type nor table are passed over.
pub fn parse(text: &str) -> Result<Definitions> {
    let mut lexer = Lexer::new(text, "schema.cql", Kind::Damaged)?;
    let mut found = Definitions::default();
    while lexer.peek().is_some() {
        statement(&mut lexer, &mut found)?;
        while lexer.peek().is_some() && !lexer.eat(";")? {
            lexer.next()?;
        }
    }
    for table in &mut found.tables {
        table.types =
            found.types.iter().filter(|(keyspace, _)| *keyspace == table.keyspace).map(|(_, t)| t.clone()).collect();
        table.cql = text.trim().to_string();
        number_columns(&mut table.columns, None);
    }
    Ok(found)
}

fn statement(lexer: &mut Lexer<'_>, found: &mut Definitions) -> Result<()> {
    if lexer.eat_word("create")? {
        if lexer.eat_word("type")? {
            found.types.push(create_type(lexer)?);
        } else if lexer.eat_word("table")? {
            found.tables.push(create_table(lexer)?);
        } else if lexer.eat_word("materialized")? {
            lexer.expect_word("view")?;
            found.tables.push(create_view(lexer)?);
        } else {
            let custom = lexer.eat_word("custom")?;
            if lexer.eat_word("index")? {
                create_index(lexer, custom, &mut found.tables)?;
            }
        }
    } else if lexer.eat_word("alter")? && lexer.eat_word("table")? {
        alter_table(lexer, &mut found.tables)?;
    }
    Ok(())
}

/// Keyspace and name, an `IF NOT EXISTS` before them.
fn qualified(lexer: &mut Lexer<'_>) -> Result<(String, String)> {
    if lexer.eat_word("if")? {
        lexer.expect_word("not")?;
        lexer.expect_word("exists")?;
    }
    let first = lexer.name()?;
    if lexer.eat(".")? { Ok((first, lexer.name()?)) } else { Ok((String::new(), first)) }
}

fn create_type(lexer: &mut Lexer<'_>) -> Result<(String, UserType)> {
    let (keyspace, name) = qualified(lexer)?;
    let mut fields = Vec::new();
    lexer.expect("(")?;
    loop {
        fields.push((lexer.name()?, type_text(lexer)?));
        if !lexer.eat(",")? {
            break;
        }
    }
    lexer.expect(")")?;
    Ok((keyspace, UserType { name, fields }))
}

fn empty_table(lexer: &mut Lexer<'_>, view: bool) -> Result<Table> {
    let (keyspace, name) = qualified(lexer)?;
    Ok(Table { keyspace, name, view, gc_grace: 864_000, ..Table::default() })
}

fn create_table(lexer: &mut Lexer<'_>) -> Result<Table> {
    let mut table = empty_table(lexer, false)?;
    let mut key = Key::default();
    lexer.expect("(")?;
    loop {
        if lexer.eat_word("primary")? {
            lexer.expect_word("key")?;
            key = primary_key(lexer)?;
        } else {
            column(lexer, &mut table, &mut key)?;
        }
        if !lexer.eat(",")? {
            break;
        }
    }
    lexer.expect(")")?;
    let descending = options(lexer, &mut table)?;
    assign_key(lexer, &mut table, &key, &descending)?;
    table.counter = table.columns.iter().any(|c| c.cql_type.eq_ignore_ascii_case("counter"));
    Ok(table)
}

#[derive(Default)]
struct Key {
    partition: Vec<String>,
    clustering: Vec<String>,
}

/// `name type [STATIC] [MASKED WITH …] [PRIMARY KEY]`
fn column(lexer: &mut Lexer<'_>, table: &mut Table, key: &mut Key) -> Result<()> {
    if table.columns.len() >= COLUMNS_MAX {
        return Err(lexer.error(format!("more than {COLUMNS_MAX} columns")));
    }
    let name = lexer.name()?;
    let cql_type = type_text(lexer)?;
    let mut role = ColumnRole::Regular;
    let mut depth = 0_usize;
    loop {
        match lexer.peek() {
            Some(Token::Symbol("," | ")")) if depth == 0 => break,
            Some(Token::Symbol("(")) => depth += 1,
            Some(Token::Symbol(")")) => depth -= 1,
            Some(Token::Word(w)) if depth == 0 && w.eq_ignore_ascii_case("static") => role = ColumnRole::Static,
            Some(Token::Word(w)) if depth == 0 && w.eq_ignore_ascii_case("primary") => {
                key.partition.push(name.clone());
            }
            Some(_) => {}
            None => return Err(lexer.unexpected("the end of the column")),
        }
        lexer.next()?;
    }
    table.columns.push(Column {
        name,
        number: 0,
        role,
        position: 0,
        descending: false,
        cql_type,
        dropped_at: None,
        gone: false,
    });
    Ok(())
}

/// The text of a type: a word, and what stands between the brackets behind it.
fn type_text(lexer: &mut Lexer<'_>) -> Result<String> {
    let start = lexer.offset();
    let mut end = start;
    let mut depth = 0_usize;
    loop {
        match lexer.peek() {
            Some(Token::Symbol("<")) if end > start => depth += 1,
            Some(Token::Symbol(">")) if depth > 0 => depth -= 1,
            Some(Token::Symbol("," | ".")) if depth > 0 => {}
            Some(Token::Word(_) | Token::Quoted(_) | Token::Text(_)) if depth > 0 || end == start => {}
            Some(Token::Number(_)) if depth > 0 => {}
            _ if depth > 0 || end == start => return Err(lexer.unexpected("a type")),
            _ => break,
        }
        lexer.next()?;
        end = lexer.consumed();
    }
    Ok(lexer.whole()[start..end].to_string())
}

/// `(a, b)`, `((a, b), c)`
fn primary_key(lexer: &mut Lexer<'_>) -> Result<Key> {
    let mut key = Key::default();
    lexer.expect("(")?;
    if lexer.eat("(")? {
        key.partition = names(lexer)?;
        lexer.expect(")")?;
    } else {
        key.partition.push(lexer.name()?);
    }
    if lexer.eat(",")? {
        key.clustering = names(lexer)?;
    }
    lexer.expect(")")?;
    Ok(key)
}

fn names(lexer: &mut Lexer<'_>) -> Result<Vec<String>> {
    let mut names = vec![lexer.name()?];
    while lexer.eat(",")? {
        names.push(lexer.name()?);
    }
    Ok(names)
}

/// Reads the options; returns the clustering columns whose order is DESC.
fn options(lexer: &mut Lexer<'_>, table: &mut Table) -> Result<Vec<String>> {
    let mut descending = Vec::new();
    if !lexer.eat_word("with")? {
        return Ok(descending);
    }
    loop {
        if lexer.eat_word("id")? {
            lexer.expect("=")?;
            if let Some(Token::Uuid(id)) = lexer.next()? {
                table.id = id.replace('-', "").to_lowercase();
            }
        } else if lexer.eat_word("gc_grace_seconds")? {
            table.gc_grace = seconds(lexer)?;
        } else if lexer.eat_word("default_time_to_live")? {
            table.default_ttl = seconds(lexer)?;
        } else if lexer.eat_word("clustering")? {
            lexer.expect_word("order")?;
            lexer.expect_word("by")?;
            lexer.expect("(")?;
            loop {
                let name = lexer.name()?;
                if lexer.eat_word("desc")? {
                    descending.push(name);
                } else {
                    lexer.eat_word("asc")?;
                }
                if !lexer.eat(",")? {
                    break;
                }
            }
            lexer.expect(")")?;
        } else if lexer.eat_word("compact")? {
            table.compact = true;
        } else if matches!(lexer.peek(), Some(Token::Word(_))) {
            let name = lexer.name()?;
            if lexer.eat("=")? {
                let setting = setting(lexer)?;
                if setting != Setting::Map(BTreeMap::new()) {
                    table.options.0.insert(name, setting);
                }
            }
        }
        while !lexer.eat_word("and")? {
            match lexer.peek() {
                None | Some(Token::Symbol(";")) => return Ok(descending),
                Some(_) => lexer.next()?,
            };
        }
    }
}

fn setting(lexer: &mut Lexer<'_>) -> Result<Setting> {
    Ok(match lexer.eat("{")? {
        true => Setting::Map(entries(lexer)?),
        false => Setting::Text(constant(lexer)?),
    })
}

/// The entries of a map up to its closing bracket.
fn entries(lexer: &mut Lexer<'_>) -> Result<BTreeMap<String, String>> {
    let mut entries = BTreeMap::new();
    while !lexer.eat("}")? {
        let name = constant(lexer)?;
        lexer.expect(":")?;
        entries.insert(name, constant(lexer)?);
        lexer.eat(",")?;
    }
    Ok(entries)
}

fn constant(lexer: &mut Lexer<'_>) -> Result<String> {
    match lexer.next()? {
        Some(Token::Text(text)) => Ok(text),
        Some(Token::Number(text) | Token::Word(text) | Token::Uuid(text)) => Ok(text.to_string()),
        _ => Err(lexer.unexpected("a constant before this")),
    }
}

/// `CREATE [CUSTOM] INDEX name ON table (target) [USING 'class' [WITH OPTIONS = {…}]]`
fn create_index(lexer: &mut Lexer<'_>, custom: bool, tables: &mut [Table]) -> Result<()> {
    let (_, name) = qualified(lexer)?;
    lexer.expect_word("on")?;
    let (keyspace, of) = qualified(lexer)?;
    lexer.expect("(")?;
    let start = lexer.offset();
    let mut depth = 0_usize;
    while depth > 0 || lexer.peek() != Some(&Token::Symbol(")")) {
        match lexer.next()? {
            Some(Token::Symbol("(")) => depth += 1,
            Some(Token::Symbol(")")) => depth -= 1,
            Some(_) => {}
            None => return Err(lexer.unexpected("the target of an index")),
        }
    }
    let target = lexer.whole()[start..lexer.consumed()].to_string();
    lexer.expect(")")?;
    let mut options = BTreeMap::new();
    if lexer.eat_word("using")? {
        options.insert("class_name".to_string(), constant(lexer)?);
    }
    if lexer.eat_word("with")? && lexer.eat_word("options")? {
        lexer.expect("=")?;
        lexer.expect("{")?;
        options.extend(entries(lexer)?);
    }
    options.insert("target".to_string(), target);
    if let Some(table) = tables.iter_mut().find(|t| t.keyspace == keyspace && t.name == of) {
        let kind = if custom { "CUSTOM" } else { "COMPOSITES" };
        table.indexes.push(Index { name, kind: kind.to_string(), options });
    }
    Ok(())
}

fn seconds(lexer: &mut Lexer<'_>) -> Result<u32> {
    lexer.expect("=")?;
    match lexer.next()? {
        Some(Token::Number(n)) => n.parse().map_err(|_| lexer.error(format!("{n} is no number of seconds"))),
        _ => Err(lexer.unexpected("a number of seconds")),
    }
}

fn assign_key(lexer: &Lexer<'_>, table: &mut Table, key: &Key, descending: &[String]) -> Result<()> {
    let roles = [(&key.partition, ColumnRole::PartitionKey), (&key.clustering, ColumnRole::Clustering)];
    for (names, role) in roles {
        for (position, name) in (0_u32..).zip(names) {
            let Some(column) = table.columns.iter_mut().find(|c| c.name == *name) else {
                return Err(lexer.error(format!("key column {name:?} of table {} is not defined", table.name)));
            };
            column.role = role;
            column.position = position;
            column.descending = descending.contains(name);
        }
    }
    if key.partition.is_empty() {
        return Err(lexer.error(format!("table {} has no primary key", table.name)));
    }
    Ok(())
}

/// A view is kept as schema only: keyspace, name and id.
fn create_view(lexer: &mut Lexer<'_>) -> Result<Table> {
    let mut table = empty_table(lexer, true)?;
    while !matches!(lexer.peek(), None | Some(Token::Symbol(";"))) {
        if matches!(lexer.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case("with")) {
            options(lexer, &mut table)?;
            break;
        }
        lexer.next()?;
    }
    Ok(table)
}

/// `DROP c USING TIMESTAMP t`, and `ADD c type [STATIC]` of one that was added again.
fn alter_table(lexer: &mut Lexer<'_>, tables: &mut [Table]) -> Result<()> {
    let (keyspace, name) = qualified(lexer)?;
    let missing = |lexer: &Lexer<'_>, what: &str| lexer.error(format!("{what} is altered before it is defined"));
    let Some(table) = tables.iter_mut().find(|t| t.keyspace == keyspace && t.name == name) else {
        return Err(missing(lexer, &format!("table {name}")));
    };
    if lexer.eat_word("drop")? {
        let dropped = lexer.name()?;
        let Some(column) = table.columns.iter_mut().find(|c| c.name == dropped) else {
            return Err(missing(lexer, &format!("column {dropped}")));
        };
        column.gone = true;
        if lexer.eat_word("using")? {
            lexer.expect_word("timestamp")?;
            column.dropped_at = match lexer.next()? {
                Some(Token::Number(n)) => n.parse().ok(),
                _ => return Err(lexer.unexpected("a time stamp")),
            };
        }
    } else if lexer.eat_word("add")? {
        let added = lexer.name()?;
        let cql_type = type_text(lexer)?;
        let Some(column) = table.columns.iter_mut().find(|c| c.name == added) else {
            return Err(missing(lexer, &format!("column {added}")));
        };
        column.cql_type = cql_type;
        column.gone = false;
    }
    Ok(())
}

impl Definitions {
    /// The one table that a file of a snapshot defines.
    pub fn into_table(mut self) -> Result<Table> {
        match (self.tables.pop(), self.tables.is_empty()) {
            (Some(table), true) => Ok(table),
            _ => Err(Error::damaged("schema.cql", "it does not define exactly one table")),
        }
    }
}

#[cfg(test)]
mod tests;
