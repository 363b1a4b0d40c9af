//! A partition key in one word, as `nodetool getendpoints` takes it, to conditions.

use super::literal;
use crate::engine::cassandra::lex::Lexer;
use crate::engine::cassandra::rows::Layout;
use crate::engine::cassandra::schema::Column;
use crate::engine::cassandra::types::{CqlType, quote_name};
use crate::error::{Error, Kind, Result};

/// Conditions on the partition called `text`: the value of its key, texts without quotes; where the key has several columns, their
/// values with a `:` between, and a `\:` where one has a colon in it.
///
/// Errors: `Usage` where that is no key of the table.
pub fn of_key(text: &str, layout: &Layout) -> Result<String> {
    let columns: Vec<(&Column, &CqlType)> = layout.columns().take(layout.partition_keys()).collect();
    let values = if columns.len() == 1 { vec![text.to_owned()] } else { split(text) };
    if values.len() != columns.len() {
        let names: Vec<&str> = columns.iter().map(|(column, _)| column.name.as_str()).collect();
        let (given, wanted) = (values.len(), names.join(", "));
        let message = format!("is {given} of {} values: the key is ({wanted})", names.len());
        return Err(Error::new(Kind::Usage, format_args!("key {text:?}"), message)
            .hint(format_args!("write {}, and a colon within a value as \\:", names.join(":"))));
    }
    let conditions = columns.iter().zip(&values).map(|((column, t), value)| {
        let no_value = || {
            let message = format!("{value:?} is no value of type {t}");
            Error::new(Kind::Usage, format_args!("column {}", column.name), message).hint(hint(t))
        };
        let value = literal_of(t, value).ok_or_else(no_value)?;
        Ok(format!("{} = {value}", quote_name(&column.name)))
    });
    Ok(conditions.collect::<Result<Vec<_>>>()?.join(" AND "))
}

/// At colons, but for those behind a backslash.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, parts.last_mut()) {
            ('\\', Some(part)) if rest.next_if_eq(&':').is_some() => part.push(':'),
            (':', _) => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts
}

/// The value as a condition writes it: as it is, or as a text.
fn literal_of(t: &CqlType, value: &str) -> Option<String> {
    let quoted = format!("'{}'", value.replace('\'', "''"));
    let is_value = |written: &str| {
        let mut lexer = Lexer::new(written, "key", Kind::Usage).ok()?;
        let from = lexer.offset();
        let token = lexer.next().ok()??;
        // One token and nothing else, not even a comment, which would hide what follows.
        let is_all = (from, lexer.consumed()) == (0, written.len());
        literal::parse(t, &token).filter(|_| is_all)
    };
    let is_text = matches!(t, CqlType::Text | CqlType::Ascii);
    let plain = (!is_text && is_value(value).is_some()).then(|| value.to_owned());
    plain.or_else(|| is_value(&quoted).map(|_| quoted))
}

fn hint(t: &CqlType) -> &'static str {
    match t {
        CqlType::Text | CqlType::Ascii => "write it as it is, without quotes",
        CqlType::Inet => "write it as 10.0.0.1",
        CqlType::Timestamp => "write it as 2026-01-31 23:59:59.999Z; between other values a colon is \\:",
        CqlType::Date => "write it as 2026-01-31",
        CqlType::Time => "write it as 23:59:59.999999999; between other values a colon is \\:",
        t => literal::hint(t),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cassandra::cql;
    use crate::engine::cassandra::filter::Filter;

    fn of(columns: &str, key: &str, text: &str) -> Result<String> {
        let table = format!("CREATE TABLE ks.t ({columns}, v int, PRIMARY KEY (({key})))");
        let table = cql::parse(&table).unwrap().into_table().unwrap();
        let layout = Layout::of(&table).unwrap();
        let conditions = of_key(text, &layout)?;
        // What comes of it is understood, and looks one partition up.
        assert!(Filter::parse(&conditions, &table, &layout).unwrap().looks_up(), "{conditions}");
        Ok(conditions)
    }

    #[test]
    fn a_key_in_one_word_is_conditions() {
        for (t, text, expected) in [
            ("int", "42", "a = 42"),
            ("int", "-1", "a = -1"),
            ("text", "42", "a = '42'"),
            ("text", "O'Hara: 'x' \\ AND b", "a = 'O''Hara: ''x'' \\ AND b'"),
            ("text", "", "a = ''"),
            ("ascii", "x", "a = 'x'"),
            ("boolean", "true", "a = true"),
            ("double", "1e3", "a = 1e3"),
            ("blob", "0xcafe", "a = 0xcafe"),
            ("date", "2026-01-31", "a = '2026-01-31'"),
            ("timestamp", "2026-01-31 23:59:59Z", "a = '2026-01-31 23:59:59Z'"),
            ("timestamp", "1000", "a = 1000"),
            ("inet", "10.0.0.1", "a = '10.0.0.1'"),
            ("uuid", "01234567-89ab-cdef-0123-456789abcdef", "a = 01234567-89ab-cdef-0123-456789abcdef"),
        ] {
            assert_eq!(of(&format!("a {t}"), "a", text).unwrap(), expected);
        }
        let two = |text| of("a int, \"B\" text", "a, \"B\"", text);
        assert_eq!(two("1:x").unwrap(), "a = 1 AND \"B\" = 'x'");
        assert_eq!(two("1:a\\:b\\").unwrap(), "a = 1 AND \"B\" = 'a:b\\'");
        assert_eq!(two("1:").unwrap(), "a = 1 AND \"B\" = ''");
    }

    #[test]
    fn what_is_no_key_is_named() {
        for (t, text, words) in [
            ("int", "x", &["column a", "\"x\" is no value of type int"][..]),
            ("int", "1 2", &["\"1 2\" is no value"]),
            ("int", "", &["\"\" is no value"]),
            ("int", "1 OR", &["is no value"]),
            ("int", "1--", &["is no value"]),
            ("int", "/**/1", &["is no value"]),
            ("uuid", "1", &["type uuid", "write it as 01234567"]),
            ("ascii", "größe", &["type ascii", "without quotes"]),
            ("frozen<list<int>>", "[1]", &["conditions on collections"]),
        ] {
            let refused = of(&format!("a {t}"), "a", text).unwrap_err();
            let said = format!("{refused} {:?}", refused.advice());
            assert!(refused.kind() == Kind::Usage && words.iter().all(|word| said.contains(word)), "{said}");
        }
        for text in ["1", "1:2:3"] {
            let refused = of("a int, b int", "a, b", text).unwrap_err();
            assert!(refused.message().contains("the key is (a, b)"), "{refused}");
            assert!(refused.advice().unwrap().contains("write a:b"));
        }
    }
}
