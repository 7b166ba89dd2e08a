//! Reading what should be a public key, and being kind when it is not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::failure::Failure;

/// Longest file that can be a public key; RSA with 16384 bits has under 3 KiB.
const MAX_BYTES: u64 = 16 * 1024;

/// The public key in the file at `path`, or on standard input for `-`.
///
/// # Errors
/// If it cannot be read or is something else, above all a private key, which is never sent.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let reading = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    if path == Path::new("-") {
        io::stdin().lock().take(MAX_BYTES).read_to_end(&mut text)
    } else {
        File::open(path)
            .map_err(reading)?
            .take(MAX_BYTES)
            .read_to_end(&mut text)
    }
    .map_err(reading)?;
    Ok(parse(&text, path)?)
}

/// Algorithm and data of a key line, without options and comment: what makes two keys the same.
pub fn essence(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let algorithm = words.find(|word| is_algorithm(word))?;
    Some((algorithm, words.next()?))
}

/// The comment of a key line, which is often `user@host`.
pub fn comment(line: &str) -> Option<&str> {
    let (_, data) = essence(line)?;
    let (_, comment) = line.split_once(data)?;
    Some(comment.trim()).filter(|comment| !comment.is_empty())
}

fn parse(text: &[u8], path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let text = String::from_utf8_lossy(text);
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
        return Err(Failure::new(format!(
            "{shown} is a private key, which must stay with you"
        ))
        .hint(format!("give its public half, usually {shown}.pub")));
    }
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().filter(|line| essence(line).is_some());
    match (line, lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        (Some(_), Some(_)) => Err(Failure::new(format!("{shown} holds more than one line"))
            .hint("add the keys one by one")),
        (None, _) => Err(Failure::new(format!("{shown} is not a public key in OpenSSH's format"))
            .hint("such a key is one line that begins with ssh-ed25519, ssh-rsa or ecdsa-…; `ssh-keygen` makes one")),
    }
}

fn is_algorithm(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@home pc";

    #[test]
    fn a_public_key_is_one_line() {
        let path = Path::new("id.pub");
        assert_eq!(
            parse(format!("# mine\n{KEY}\n").as_bytes(), path).unwrap(),
            KEY
        );
        assert_eq!(comment(KEY), Some("me@home pc"));
        let (algorithm, data) = essence(KEY).unwrap();
        assert_eq!(
            (algorithm, data),
            ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAA")
        );
        assert_eq!(essence(&format!("no-pty {KEY}")), essence(KEY));
        assert!(parse(format!("{KEY}\n{KEY}").as_bytes(), path).is_err());
        for bad in ["", "ssh-ed25519", "hello world", "\u{0}\u{1}"] {
            assert!(parse(bad.as_bytes(), path).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_private_key_is_refused_with_the_name_of_the_public_one() {
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n";
        let error = parse(private.as_bytes(), Path::new("/home/me/.ssh/id_rsa")).unwrap_err();
        let hint = crate::failure::hint(&error.into()).unwrap();
        assert!(hint.contains("/home/me/.ssh/id_rsa.pub"), "{hint}");
    }
}
