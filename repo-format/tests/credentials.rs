//! Credentials, and the text of what opens them.
#![allow(clippy::unwrap_used)]

mod support;

use repo_format::credential::{Credential, Lock, NewLock, PasswordCost, Sets, Unlock};
use repo_format::error::FormatError;
use repo_format::id::*;
use repo_format::key::{ContentPublic, ContentSecret};
use repo_format::keyfile::KeyFile;
use repo_format::paper;
use repo_format::recipient::{Grant, Identity, Recipient};
use support::*;

#[test]
fn credentials_open_with_their_secret_only() {
    let (file, own) = (key_file(), [identity()]);
    let others = [Identity::from_bytes([1; 32])];
    let wrong = KeyFile::from_bytes([0; 32]);
    for (by, unlock) in [
        (by_password(), Unlock::Password(PASSWORD)),
        (NewLock::KeyFile(&file), Unlock::KeyFile(&file)),
        (by_recipient(), Unlock::Identities(&own)),
    ] {
        let made = credential(by);
        let parsed = Credential::parse(&made.id, &made.bytes).unwrap();
        assert_eq!((parsed.sets(), parsed.public()), (Sets::ALL, made.public));
        let opened = parsed.open(unlock).unwrap();
        assert_eq!(opened.own.recipient(), made.public);
        // Whoever makes one for a recipient does not learn its secret; else it is what opening gives.
        assert_eq!(made.own.map(|own| *own.expose()).is_none(), matches!(by, NewLock::Recipient(_)));
        let (opened, own) = (opened.ring, opened.own);
        assert_eq!(opened.repo, ring().repo);
        assert_eq!((opened.writer, opened.admin_key), (ring().writer, ring().admin_key));
        assert_eq!(opened.read[0].expose(), ring().read[0].expose());
        for other in [Unlock::Password(b"wrong"), Unlock::KeyFile(&wrong), Unlock::Identities(&others)] {
            assert!(matches!(parsed.open(other), Err(FormatError::WrongKey(_))));
        }
        damage(&made.bytes, |b| Credential::parse(&made.id, b).is_err());
        // A public key in the object that is not the one of its secret: granted to somebody else.
        if !matches!(by, NewLock::Recipient(_)) {
            let at = made.bytes.windows(32).position(|w| w == made.public.0).unwrap();
            let mut changed = made.bytes.clone();
            changed[at] ^= 1;
            let id = CredentialId(*blake3::hash(&changed).as_bytes());
            assert!(Credential::parse(&id, &changed).unwrap().open(unlock).is_err());
        }
        drop(own);
    }
}

#[test]
fn a_credential_holds_what_it_is_entitled_to() {
    for (sets, text) in [(Sets::WRITE, "write"), (Sets::READ, "read"), (Sets::WRITE.with(Sets::READ), "write+read")] {
        let ring = ring().restricted(sets);
        let made = Credential::seal(&ring, by_password(), [1; 32], &[2; 24]).unwrap();
        let parsed = Credential::parse(&made.id, &made.bytes).unwrap();
        let opened = parsed.open(Unlock::Password(PASSWORD)).unwrap().ring;
        assert_eq!(opened.sets(), sets);
        assert_eq!(sets.to_string(), text);
        assert!(opened.admin_key.is_none());
    }
}

#[test]
fn what_is_granted_opens_for_its_credential_epoch_and_repository_only() {
    let (own, other) = (identity(), Identity::from_bytes([1; 32]));
    let (to, id) = (own.recipient(), CredentialId([5; 32]));
    let grant = second().grant(&to, &repo(), &id, [9; 32]).unwrap();
    let open = |grant: &Grant, own: &Identity, repo: RepoId, id: CredentialId, public: ContentPublic| {
        ContentSecret::from_grant(grant, own, &repo, &id, &public)
    };
    let public = second().public();
    assert_eq!(open(&grant, &own, repo(), id, public).unwrap().expose(), second().expose());
    let third = ContentPublic { epoch: 3, ..public };
    let false_one = ContentPublic { key: [3; 32], ..public };
    for refused in [
        open(&grant, &other, repo(), id, public),
        open(&grant, &own, RepoId([0; 32]), id, public),
        open(&grant, &own, repo(), CredentialId([6; 32]), public),
        open(&grant, &own, repo(), id, third),
        open(&grant, &own, repo(), id, false_one),
        open(&Grant { ephemeral: [0; 32], ..grant }, &own, repo(), id, public),
    ] {
        assert!(refused.is_err());
    }
    // A public key to which every secret gives the same.
    assert!(second().grant(&Recipient([0; 32]), &repo(), &id, [9; 32]).is_err());
}

/// As `age-keygen` writes a file, and the public key that it prints.
const AGE: (&str, &str) = (
    "# created: 2026-11-28T18:59:26Z\n# public key: age19x5ga0a8ykc28e4e82ueguu3m5m6eljzcvdhljpzgf3wjj2rgcnshap2z2\n\
     AGE-SECRET-KEY-13XWW0G3SHM7HK46A6WFPYQTC7398XMGASL7ZGCPMJNREHK6KN04SGPDFJC\n",
    "age19x5ga0a8ykc28e4e82ueguu3m5m6eljzcvdhljpzgf3wjj2rgcnshap2z2",
);

#[test]
fn keys_of_age_are_read_and_written_as_age_does() {
    let found = Identity::all_from_text(AGE.0).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].recipient().to_text(), AGE.1);
    assert_eq!(Recipient::from_text(&format!(" {}\r\n", AGE.1)).unwrap(), found[0].recipient());
    assert_eq!(*found[0].to_text(), AGE.0.lines().last().unwrap());
    for (at, _) in AGE.1.char_indices() {
        let mut text = AGE.1.to_owned();
        let other = if text.as_bytes()[at] == b'q' { "p" } else { "q" };
        text.replace_range(at..=at, other);
        assert!(Recipient::from_text(&text).is_err(), "{text}");
    }
    assert!(Recipient::from_text(&Recipient([0; 32]).to_text()).is_err(), "every secret gives the same with it");
    let upper = AGE.1.to_uppercase();
    for (text, word) in [
        (upper.as_str(), "recipient is not valid"),
        ("", "recipient is not valid"),
        ("age1yubikey1qwerty", "another kind"),
        ("ssh-ed25519 AAAA", "another kind"),
    ] {
        assert!(Recipient::from_text(text).unwrap_err().to_string().contains(word), "{text}");
    }
    let twice = format!("{}{}", AGE.0, AGE.0);
    assert_eq!(Identity::all_from_text(&twice).unwrap().len(), 2);
    let lower = AGE.0.to_lowercase();
    for (text, word) in [
        ("# nothing\n", "file of identities is not valid"),
        (AGE.1, "identity is not valid"),
        (lower.as_str(), "identity is not valid"),
        ("AGE-PLUGIN-YUBIKEY-1QQQQ", "another kind"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "another kind"),
        ("age-encryption.org/v1\n", "itself encrypted"),
        ("-----BEGIN AGE ENCRYPTED FILE-----", "itself encrypted"),
    ] {
        assert!(Identity::all_from_text(text).unwrap_err().to_string().contains(word), "{text}");
    }
}

#[test]
fn what_is_typed_from_paper_is_the_key_or_the_line_is_named() {
    let text = paper::to_text(&key_file());
    let read = |text: &str| KeyFile::from_text(text).map(|file| *file.expose());
    assert_eq!(read(&text), Ok(*key_file().expose()));
    // As people type: in capitals, without blanks, with remarks, in another order.
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    let typed = format!("# from the safe\n\n{}\n", lines.join("\r\n").to_uppercase().replace("  ", " "));
    assert_eq!(read(&typed), Ok(*key_file().expose()));
    // Each wrong digit is found, and its line named.
    for (at, line) in text.lines().enumerate().skip(1) {
        let word = line.split(' ').next().unwrap();
        for (place, digit) in line.char_indices().skip(word.len()).filter(|(_, c)| c.is_ascii_hexdigit()) {
            let mut wrong: Vec<String> = text.lines().map(str::to_owned).collect();
            let other = if digit == '7' { "8" } else { "7" };
            wrong[at].replace_range(place..=place, other);
            let wrong = wrong.join("\n");
            assert!(matches!(read(&wrong), Err(FormatError::Mismatch("paper key"))));
            let faults = paper::faults(&wrong);
            assert!(faults.len() == 1 && faults[0].starts_with(&format!("line {word} does not fit")), "{faults:?}");
        }
    }
    let without = |n: usize| text.lines().enumerate().filter(|(at, _)| *at != n).map(|(_, l)| l).collect::<Vec<_>>();
    assert_eq!(paper::faults(&without(0).join("\n")), [format!("the first line is not `{}`", paper::PAPER_TITLE)]);
    assert_eq!(paper::faults(&without(2).join("\n")), ["line 2 is missing"]);
    assert_eq!(paper::faults(&without(5).join("\n")), ["line all is missing"]);
    let twice = format!("{}{}", *text, text.lines().nth(3).unwrap());
    assert_eq!(paper::faults(&twice), ["line 3 is there twice"]);
    let (odd, short) = (text.replace("2  e", "2  o"), text.replace("4  e", "4  "));
    assert_eq!(paper::faults(&odd), ["line 2 holds `o`, which is none of 0-9 and a-f"]);
    assert_eq!(paper::faults(&short), ["line 4 has 19 digits, not 20"]);
    let newer = text.replace("version 0", "version 1");
    assert!(matches!(read(&newer), Err(FormatError::Unsupported(_))));
}

#[test]
fn an_unknown_lock_is_known_as_such() {
    let mut bytes = credential(by_password()).bytes;
    bytes[10] = 77;
    let id = CredentialId(*blake3::hash(&bytes).as_bytes());
    let parsed = Credential::parse(&id, &bytes).unwrap();
    assert_eq!(parsed.lock(), Lock::Unknown(77));
    let error = parsed.open(Unlock::Password(PASSWORD)).unwrap_err();
    assert_eq!(error, FormatError::Unsupported("credential lock 77".into()));
}

#[test]
fn a_costly_credential_is_refused_before_memory_is_taken() {
    let cost = PasswordCost { memory_kib: u32::MAX, passes: 1, lanes: 1 };
    let sealed = Credential::seal(&ring(), NewLock::Password(PASSWORD, cost), [1; 32], &[2; 24]);
    assert!(matches!(sealed, Err(FormatError::TooLarge(_))));
}
