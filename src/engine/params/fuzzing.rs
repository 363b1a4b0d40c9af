//! Body of the fuzz target of parameters.

use super::{Param, Params, Takes};

/// One of each kind.
const OF: [Param; 9] = [
    Param::flag("flag", ""),
    Param::new("text", Takes::Text, "", "").with(&["word"]),
    Param::new("word", Takes::Word, "", "").many(),
    Param::new("list", Takes::List, "", ""),
    Param::new("path", Takes::Path, "", "").without(&["flag"]),
    Param::new("node", Takes::Node, "", "").many(),
    Param::new("number", Takes::Number(-5, 5), "", "").or("3"),
    Param::new("time", Takes::Time, "", ""),
    Param::new("choice", Takes::Choice(&[("one", ""), ("two", "")]), "", ""),
];

/// Parameters as a JSON object: what is taken is in its bounds.
pub fn params(bytes: &[u8]) {
    let Ok(params) = Params::from_json(&OF.each_ref(), bytes) else { return };
    assert!(params.number("number").is_some_and(|number| (-5..=5).contains(&number)));
    assert!(params.texts("word").all(|word| !word.is_empty()) && params.texts("list").all(|one| !one.contains(',')));
    let fits = !params.has("text") || params.has("word");
    let fits = fits && !(params.has("path") && params.has("flag"));
    assert_eq!(params.check(&OF.each_ref()).is_ok(), fits);
}
