//! Key files on paper (SPEC "On paper"): the same secret in lines that a person types back, each with its own check.

use crate::error::{FormatError, Result};
use crate::id::ObjectHash;
use crate::keyfile::KeyFile;
use std::fmt::Write;
use zeroize::Zeroizing;

/// First line of a key on paper.
pub const PAPER_TITLE: &str = "onefold paper key, version 0";
/// Lines with digits of the secret.
const LINES: usize = 4;
/// Digits of the secret in a line.
const DIGITS: usize = 16;
/// Digits of a line's check, and of that of all lines.
const CHECKS: (usize, usize) = (4, 8);

/// What is wrong with a line that was typed, in words.
pub type Fault = String;

/// The lines to be printed, without remarks.
pub fn to_text(file: &KeyFile) -> Zeroizing<String> {
    let digits = Zeroizing::new(ObjectHash(*file.expose()).to_string());
    let mut text = Zeroizing::new(format!("{PAPER_TITLE}\n"));
    for (at, line) in lines(&digits).enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}  {}  {}", at + 1, *fours(line), line_check(at, line));
    }
    let _ = writeln!(text, "all  {}", *fours(&all_check(&digits)));
    text
}

/// From what was typed. Case, blanks, empty lines and lines that begin with `#` do not matter, nor does the order of the lines.
///
/// Errors: [`FormatError::Unsupported`] for another version; otherwise [`FormatError::Mismatch`], with all that
/// [`faults`] finds to be said by the caller.
pub fn from_text(text: &str) -> Result<KeyFile> {
    if is_of_another_version(text) {
        return Err(FormatError::Unsupported("paper key of another version".into()));
    }
    read(text).map_err(|_| FormatError::Mismatch("paper key"))
}

/// What is wrong with what was typed, line by line; nothing where it is a key.
pub fn faults(text: &str) -> Vec<Fault> {
    read(text).err().unwrap_or_default()
}

/// Whether the text is meant to be a key on paper.
pub fn is_meant(text: &str) -> bool {
    remarks_left_out(text).next().is_some_and(|title| title.to_ascii_lowercase().starts_with("onefold paper key"))
}

fn is_of_another_version(text: &str) -> bool {
    is_meant(text) && !remarks_left_out(text).next().is_some_and(|title| title.eq_ignore_ascii_case(PAPER_TITLE))
}

fn remarks_left_out(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn lines(digits: &str) -> impl Iterator<Item = &str> {
    (0..LINES).map(move |at| digits.get(at * DIGITS..(at + 1) * DIGITS).unwrap_or(""))
}

fn fours(digits: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(digits.len() * 2));
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn check_of(text: &str, digits: usize) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(digits).collect()
}

/// Of line `at`, from 0, as it counts for people: so that two lines that changed places do not fit.
fn line_check(at: usize, digits: &str) -> String {
    check_of(&Zeroizing::new(format!("{} {digits}", at + 1)), CHECKS.0)
}

fn all_check(digits: &str) -> String {
    check_of(digits, CHECKS.1)
}

fn read(text: &str) -> std::result::Result<KeyFile, Vec<Fault>> {
    let mut typed = remarks_left_out(text);
    if !typed.next().is_some_and(|title| title.eq_ignore_ascii_case(PAPER_TITLE)) {
        return Err(vec![format!("the first line is not `{PAPER_TITLE}`")]);
    }
    let mut faults = Vec::new();
    let mut found: [Option<Zeroizing<String>>; LINES] = [const { None }; LINES];
    let mut check = None;
    for line in typed {
        match read_line(line) {
            Ok((None, _)) if check.is_some() => faults.push("line all is there twice".into()),
            Ok((None, digits)) => check = Some(digits),
            Ok((Some(at), digits)) => match found.get_mut(at) {
                Some(place @ None) => *place = Some(digits),
                _ => faults.push(format!("line {} is there twice", at + 1)),
            },
            Err(fault) => faults.push(fault),
        }
    }
    let blamed = |word: &str, faults: &[Fault]| faults.iter().any(|fault| fault.starts_with(&format!("line {word} ")));
    let mut digits = Zeroizing::new(String::with_capacity(LINES * DIGITS));
    for (at, line) in found.iter().enumerate() {
        match line {
            Some(line) => digits.push_str(line),
            None if blamed(&(at + 1).to_string(), &faults) => {}
            None => faults.push(format!("line {} is missing", at + 1)),
        }
    }
    match check {
        None if blamed("all", &faults) => {}
        None => faults.push("line all is missing".into()),
        Some(check) if faults.is_empty() && *check != all_check(&digits) => {
            faults.push("line all does not fit the others".into());
        }
        Some(_) => {}
    }
    match (faults.is_empty(), ObjectHash::from_hex(&digits)) {
        (true, Ok(bytes)) => Ok(KeyFile::from_bytes(bytes.0)),
        (true, Err(_)) => Err(vec!["the lines are no key".into()]),
        (false, _) => Err(faults),
    }
}

/// A line: its place from 0 and its digits; or, without a place, the check of all.
fn read_line(line: &str) -> std::result::Result<(Option<usize>, Zeroizing<String>), Fault> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let word = word.to_ascii_lowercase();
    let rest = Zeroizing::new(rest.chars().filter(|c| !c.is_whitespace()).collect::<String>());
    let digits = Zeroizing::new(rest.to_ascii_lowercase());
    let at = match word.as_str() {
        "all" => None,
        "1" => Some(0),
        "2" => Some(1),
        "3" => Some(2),
        "4" => Some(3),
        _ => return Err("a line begins with none of 1, 2, 3, 4 and `all`".into()),
    };
    let wanted = at.map_or(CHECKS.1, |_| DIGITS + CHECKS.0);
    if let Some(wrong) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("line {word} holds `{}`, which is none of 0-9 and a-f", wrong.escape_debug()));
    }
    if digits.len() != wanted {
        return Err(format!("line {word} has {} digits, not {wanted}", digits.len()));
    }
    let Some(place) = at else { return Ok((None, digits)) };
    let (own, check) = digits.split_at(DIGITS);
    if line_check(place, own) != check {
        return Err(format!(
            "line {word} does not fit its check, the last {} digits: look for a wrong digit",
            CHECKS.0
        ));
    }
    Ok((at, Zeroizing::new(own.to_owned())))
}
