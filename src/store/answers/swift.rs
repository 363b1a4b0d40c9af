//! What Swift and Keystone answer.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

/// An object as listings show it.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// With the prefix.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// In UTC, without saying so: `2026-11-29T08:15:30.123456`.
    #[serde(default)]
    pub last_modified: String,
}

impl Listed {
    /// When it was written, milliseconds since 1970, if the server says so.
    pub fn date(&self) -> Option<u64> {
        let civil: DateTime = self.last_modified.parse().ok()?;
        u64::try_from(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()).ok()
    }
}

/// What became of objects that were to be removed.
#[derive(Debug, Deserialize)]
pub struct Removed {
    /// Of all: `200 OK`, or what went wrong.
    #[serde(rename = "Response Status")]
    pub status: String,
    /// Of objects that stay, path and status.
    #[serde(rename = "Errors", default)]
    pub errors: Vec<(String, String)>,
}

/// A page of a container's listing.
///
/// Errors: in words, what is wrong with it. Names begin with `prefix`, and come in order, after `marker`.
pub fn listing(bytes: &[u8], prefix: &str, marker: &str) -> Result<Vec<Listed>, String> {
    let page: Vec<Listed> = serde_json::from_slice(bytes).map_err(|e| format!("the answer is no listing: {e}"))?;
    let mut before = marker;
    for found in &page {
        if !found.name.starts_with(prefix) || *found.name <= *before {
            return Err("the server lists what was not asked for".to_string());
        }
        before = &found.name;
    }
    Ok(page)
}

/// What became of objects that were to be removed by one request.
pub fn removed(bytes: &[u8]) -> Option<Removed> {
    serde_json::from_slice(bytes).ok()
}

/// The object store that Keystone's catalog names.
pub fn endpoint(answer: &[u8], interface: &str, region: Option<&str>) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let catalog = answer.get("token")?.get("catalog")?.as_array()?;
    let services = catalog.iter().filter(|service| service.get("type").and_then(Value::as_str) == Some("object-store"));
    let mut endpoints = services.filter_map(|service| service.get("endpoints")?.as_array()).flatten();
    let is = |endpoint: &Value, key: &str, value: &str| endpoint.get(key).and_then(Value::as_str) == Some(value);
    let fits = |endpoint: &&Value| {
        let here = region.is_none_or(|region| is(endpoint, "region", region) || is(endpoint, "region_id", region));
        here && is(endpoint, "interface", interface)
    };
    endpoints.find(fits)?.get("url")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_catalog_says_where_the_account_is() {
        let one = |interface: &str, region: &str| json!({ "interface": interface, "region": region, "url": format!("http://{interface}.{region}") });
        let all = json!([one("admin", "a"), one("public", "a"), one("public", "b")]);
        let answer = json!({ "token": { "catalog": [
            { "type": "identity", "endpoints": [one("public", "z")] }, { "type": "object-store", "endpoints": all } ] } });
        let answer = answer.to_string();
        let of = |interface, region| endpoint(answer.as_bytes(), interface, region);
        assert_eq!(of("public", None).unwrap(), "http://public.a");
        assert_eq!(of("public", Some("b")).unwrap(), "http://public.b");
        assert_eq!(of("admin", Some("b")), None);
        for odd in ["", "[]", "{\"token\":7}", "{\"token\":{\"catalog\":[7,{\"type\":\"object-store\"}]}}"] {
            assert_eq!(endpoint(odd.as_bytes(), "public", None), None);
        }
    }

    #[test]
    fn a_listing_comes_forward() {
        let names = |text: &str| {
            listing(text.as_bytes(), "p/", "p/b")
                .map(|page| page.into_iter().map(|found| found.name).collect::<Vec<_>>())
        };
        let of = |all: &[&str]| {
            json!(all.iter().map(|name| json!({ "name": name, "bytes": 7 })).collect::<Vec<_>>()).to_string()
        };
        assert_eq!(names(&of(&["p/c", "p/d"])).unwrap(), ["p/c", "p/d"]);
        assert!(names("[]").unwrap().is_empty());
        for odd in [&["p/b"][..], &["p/a"], &["q/c"], &["p/d", "p/c"], &["p/c", "p/c"]] {
            assert!(names(&of(odd)).unwrap_err().contains("not asked for"), "{odd:?}");
        }
        for odd in ["", "{}", "[{\"name\":\"p/c\"}]", "[{\"name\":\"p/c\",\"bytes\":-1}]"] {
            assert!(names(odd).unwrap_err().contains("no listing"), "{odd}");
        }
    }
}
