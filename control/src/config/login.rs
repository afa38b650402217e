//! Who calls on a trunk, and who we are there: `auth`, `username` and what proves it.
//!
//! No message names a secret, however wrong it is.

use super::model::Trunk;
use super::reader::{Located, Reader, Section, quoted};
use super::sections::distinct_list;
use super::value;
use crate::sip::digest::{Algorithm, Auth, Login, Proof, Secret};

/// The keys that prove a username; one of them is to be written.
const PROOFS: [&str; 3] = ["password", "password_file", "ha1"];

/// Reads the keys of a trunk. `allowed` is whether it names networks.
pub(super) fn read(section: &mut Section<'_>, allowed: bool) -> (Auth, Option<Login>) {
    let line = section.line;
    let written: Vec<&str> = PROOFS.into_iter().filter(|key| section.has(key)).collect();
    if let [_, second, ..] = written.as_slice() {
        let message = format!("is written beside trunk.{}; keep one of them", written[0]);
        section.report(line, second, message);
    }
    let auth = section.text("auth", auth);
    let has_username = section.has("username");
    let username = section.text("username", username).map(|username| username.value);
    match (has_username, written.first()) {
        (true, None) => section.report(
            line,
            "password",
            "is missing; write password = \"${NAME}\", password_file = \"PATH\" or ha1 = { MD5 = \"…\" }",
        ),
        (false, Some(key)) => section.report(line, key, "proves no username; write username = \"…\""),
        (true, Some(_)) | (false, None) => {}
    }
    let realm = section.text("realm", quotable).map(|realm| realm.value);
    let algorithms = distinct_list(section, "algorithms", algorithm);
    if section.has("ha1") && realm.is_none() {
        section.report(
            line,
            "realm",
            "is missing; ha1 is made with one: write the same realm = \"…\"",
        );
    }
    if section.has("ha1") && algorithms.is_some() {
        section.report(line, "algorithms", "are those of ha1 already; remove one of the two");
    }
    let proof = proof(section, algorithms);
    let auth = check(section, auth, has_username, allowed);
    let login = username
        .zip(proof)
        .map(|(username, proof)| Login { username, realm, proof });
    (auth, login)
}

fn proof(section: &mut Section<'_>, algorithms: Option<Vec<Algorithm>>) -> Option<Proof> {
    let mut algorithms = algorithms.unwrap_or_else(|| Algorithm::ALL.to_vec());
    algorithms.sort_unstable_by(|a, b| b.cmp(a));
    let literal = section.text("password", secret);
    let from_file = section.text("password_file", secret_file);
    let hashes = hashes(section);
    match (literal.or(from_file), hashes.is_empty()) {
        (Some(password), _) => Some(Proof::Password(password.value, algorithms)),
        (None, false) => Some(Proof::Ha1(hashes)),
        (None, true) => None,
    }
}

/// What goes with `auth` and what does not.
fn check(section: &Section<'_>, auth: Option<Located<Auth>>, has_username: bool, allowed: bool) -> Auth {
    let Some(Located { value: auth, line }) = auth else {
        return Auth::Ip;
    };
    let credentials = matches!(auth, Auth::Digest | Auth::All | Auth::Any);
    if credentials && !has_username {
        section.report(
            line,
            "auth",
            "asks for credentials; write username = \"…\" and a password",
        );
    }
    match (auth, allowed) {
        (Auth::Digest, true) => section.report(
            line,
            "auth",
            "is \"digest\", which takes calls from anywhere; write \"all\" to ask for trunk.allow, too, or \"any\" for either, or remove trunk.allow",
        ),
        (Auth::All | Auth::Any, false) => section.report(
            line,
            "auth",
            "needs networks; write allow = [\"ADDRESS/PREFIX\"], or auth = \"digest\"",
        ),
        (Auth::Digest, false) | (Auth::All | Auth::Any, true) | (Auth::Ip, _) => {}
    }
    auth
}

fn auth(text: &str) -> Result<Auth, String> {
    match text {
        "ip" => Ok(Auth::Ip),
        "digest" => Ok(Auth::Digest),
        "all" => Ok(Auth::All),
        "any" => Ok(Auth::Any),
        _ => Err(format!("{text:?} is none of \"ip\", \"digest\", \"all\", \"any\"")),
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::named(text).ok_or_else(|| format!("{text:?} is not an algorithm; there is {}", quoted(&Algorithm::ALL)))
}

/// A text that stands in a quoted string as it is.
fn quotable(text: &str) -> Result<String, String> {
    match value::line(text)? {
        text if text.contains(['"', '\\']) => Err(format!("{text:?} has a quote or backslash; write it without")),
        text => Ok(text),
    }
}

fn username(text: &str) -> Result<String, String> {
    match quotable(text)? {
        // A colon ends the username where it is hashed.
        text if text.contains(':') => Err(format!("{text:?} has a colon, which no username has")),
        text => Ok(text),
    }
}

/// A text that proves something; no message names it.
pub(super) fn secret(text: &str) -> Result<Secret, String> {
    match text {
        "" => Err("is empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("has a line break or control character".to_owned()),
        _ => Ok(Secret::new(text.to_owned())),
    }
}

/// The one line of a file.
pub(super) fn secret_file(path: &str) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?} cannot be read: {error}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    secret(line).map_err(|error| format!("what is in {path:?} {error}"))
}

/// `ha1 = { MD5 = "…", SHA-256 = "…" }`, the strongest first.
fn hashes(section: &mut Section<'_>) -> Vec<(Algorithm, Secret)> {
    let mut hashes = Vec::new();
    for (name, Located { value, line }) in section.pairs("ha1") {
        match algorithm(&name) {
            Err(message) => section.report(line, "ha1", message),
            Ok(algorithm) => {
                let digits = algorithm.digits();
                if value.len() == digits && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    hashes.push((algorithm, Secret::new(value.to_ascii_lowercase())));
                } else {
                    let message = format!("of {algorithm} has not {digits} hexadecimal digits");
                    section.report(line, "ha1", message);
                }
            }
        }
    }
    hashes.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    hashes
}

/// Reports a trunk whose callers cannot be told from another's.
pub(super) fn check_told_apart(reader: &Reader<'_>, trunk: &Trunk, line: usize, before: &[Trunk]) {
    let asks = |trunk: &Trunk| trunk.auth != Auth::Ip;
    let Some(login) = trunk.login.as_ref().filter(|_| asks(trunk)) else {
        return;
    };
    let same = |other: &&Trunk| {
        let theirs = other.login.as_ref().filter(|_| asks(other));
        theirs.is_some_and(|theirs| theirs.username == login.username && theirs.realm == login.realm)
    };
    if let Some(other) = before.iter().find(same) {
        let message = format!(
            "{:?} calls on trunk {:?}, too, in the same realm; a username names one trunk",
            login.username, other.name
        );
        reader.report(line, "trunk.username", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_has_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let path = path.to_str().unwrap();
        for (text, expected) in [
            ("s3cret", true),
            ("s3cret\n", true),
            ("s3cret\r\n", true),
            ("a\nb", false),
            ("\n", false),
        ] {
            std::fs::write(path, text).unwrap();
            let read = secret_file(path);
            assert_eq!(read == Ok(Secret::new("s3cret".into())), expected, "{text:?}");
            if let Err(message) = read {
                assert!(
                    message.starts_with("what is in") && !message.contains("a\nb"),
                    "{message}"
                );
            }
        }
    }
}
