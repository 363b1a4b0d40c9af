//! What requests and bytes cost, by a table of prices that the user gives: providers' lists change, and differ by region and contract.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::store::watched::Requests;
use crate::whole;

/// The longest table, bytes.
const LENGTH_MAX: u64 = 64 << 10;

/// Prices in one currency. What is not named is free.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prices {
    /// What is written after a number.
    #[serde(default)]
    pub currency: String,
    /// A thousand creates or listings.
    #[serde(default)]
    pub writes_per_1000: f64,
    /// A thousand reads.
    #[serde(default)]
    pub reads_per_1000: f64,
    /// A GiB stored for a month.
    #[serde(default)]
    pub storage_gib_month: f64,
    /// A GiB sent to the store.
    #[serde(default)]
    pub upload_gib: f64,
    /// A GiB that comes from it.
    #[serde(default)]
    pub download_gib: f64,
}

/// What something costs.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Cost {
    /// Requests, and bytes on their way: once.
    pub once: f64,
    /// What is stored, each month.
    pub month: f64,
}

impl Prices {
    /// Reads a table: a file of TOML.
    ///
    /// Errors: it cannot be read; by key, what is no price.
    pub fn read(path: &Path) -> Result<Prices> {
        let text = whole::read_text(path, LENGTH_MAX, "is longer than 64 KiB: no table of prices")?;
        Prices::parse(&text).map_err(|e| e.within(path.display()))
    }

    fn parse(text: &str) -> Result<Prices> {
        let hint = "docs/stores.md has an example of a table of prices";
        let prices: Prices = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|at| 1 + text.bytes().take(at.start).filter(|b| *b == b'\n').count());
            let place = line.map_or_else(|| "table of prices".to_owned(), |line| format!("line {line}"));
            Error::new(Kind::Usage, place, e.message()).hint(hint)
        })?;
        for (name, price) in [
            ("writes-per-1000", prices.writes_per_1000),
            ("reads-per-1000", prices.reads_per_1000),
            ("storage-gib-month", prices.storage_gib_month),
            ("upload-gib", prices.upload_gib),
            ("download-gib", prices.download_gib),
        ] {
            if !price.is_finite() || price < 0.0 {
                return Err(Error::new(Kind::Usage, name, format!("{price} is no price")).hint(hint));
            }
        }
        Ok(prices)
    }

    /// What these requests cost, where what they create stays.
    pub fn cost(&self, requests: &Requests) -> Cost {
        let thousands = |n: u64| n as f64 / 1000.0;
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let asked = thousands(requests.creates + requests.lists) * self.writes_per_1000
            + thousands(requests.reads + requests.range_reads) * self.reads_per_1000;
        let moved = gib(requests.bytes_created) * self.upload_gib + gib(requests.bytes_read) * self.download_gib;
        Cost { once: asked + moved, month: gib(requests.bytes_created) * self.storage_gib_month }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "currency = \"USD\"\nwrites-per-1000 = 0.005\nreads-per-1000 = 0.0004\nstorage-gib-month = 0.023\n\
                         download-gib = 0.09\n";

    #[test]
    fn requests_bytes_and_months_are_priced() {
        let prices = Prices::parse(TABLE).unwrap();
        assert_eq!((prices.currency.as_str(), prices.upload_gib), ("USD", 0.0));
        let requests = Requests {
            creates: 1_900,
            lists: 100,
            reads: 500,
            range_reads: 500,
            bytes_created: 10 << 30,
            bytes_read: 1 << 29,
            ..Requests::default()
        };
        let cost = prices.cost(&requests);
        assert!((cost.once - (0.01 + 0.0004 + 0.045)).abs() < 1e-12, "{cost:?}");
        assert!((cost.month - 0.23).abs() < 1e-12, "{cost:?}");
        assert_eq!(Prices::parse("").unwrap().cost(&requests), Cost { once: 0.0, month: 0.0 });
    }

    #[test]
    fn what_is_no_price_is_refused_by_its_key_or_line() {
        for (text, name) in [
            ("storage-gib-month = -1", "storage-gib-month"),
            ("upload-gib = nan", "upload-gib"),
            ("download-gib = inf", "download-gib"),
            ("currency = \"USD\"\nputs = 3", "line 2"),
            ("reads-per-1000 = \"cheap\"", "line 1"),
            ("currency", "line 1"),
        ] {
            let refused = Prices::parse(text).unwrap_err();
            assert!(refused.kind() == Kind::Usage && refused.to_string().contains(name), "{text}: {refused}");
        }
    }
}
