//! Which operating system it is: os-release(5), or the older files that name a distribution.

use crate::facts::{Evidence, Fact, Os};
use crate::fs::{Text, Tree};
use crate::text::clean;

use super::MAX_CONFIG;

/// The places of os-release, in the order of os-release(5).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// Files of systems without os-release, and the distribution each tells of.
const LEGACY: [(&str, &str); 6] = [
    ("/etc/debian_version", "debian"),
    ("/etc/redhat-release", "rhel"),
    ("/etc/alpine-release", "alpine"),
    ("/etc/arch-release", "arch"),
    ("/etc/SuSE-release", "suse"),
    ("/etc/gentoo-release", "gentoo"),
];

/// The operating system, if its files tell.
pub(crate) fn probe(tree: &Tree) -> Option<Os> {
    os_release(tree)
        .or_else(|| legacy(tree))
        .or_else(|| freebsd(tree))
}

fn os_release(tree: &Tree) -> Option<Os> {
    let file = OS_RELEASE
        .iter()
        .find_map(|path| tree.read(path, MAX_CONFIG))?;
    let mut os = Os::default();
    let mut plain_name = None;
    for (number, line) in file.lines() {
        let Some((key, value)) = assignment(line) else {
            continue;
        };
        let value = clean(value);
        match key {
            "ID" => os.id = Some(value),
            "ID_LIKE" => os.id_like = value.split_whitespace().map(str::to_owned).collect(),
            "PRETTY_NAME" => os.name = Some(value),
            "NAME" => plain_name = Some(value),
            "VERSION_ID" => os.version = Some(value),
            "SUPPORT_END" if is_date(&value) => {
                os.support_end = Some(Fact::new(value, file.evidence(number, line)));
            }
            _ => continue,
        }
        if matches!(key, "PRETTY_NAME" | "ID") {
            os.evidence.push(file.evidence(number, line));
        }
    }
    os.name = os.name.or(plain_name).or_else(|| os.id.clone());
    os.name.as_ref()?;
    if os.evidence.is_empty() {
        os.evidence.push(Evidence::path(clean(&file.path)));
    }
    os.family = match os.id.as_deref() {
        Some(bsd @ ("freebsd" | "openbsd" | "netbsd" | "dragonfly")) => bsd.to_owned(),
        _ => "linux".to_owned(),
    };
    Some(os)
}

/// `YYYY-MM-DD`, which sorts as the days do.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn legacy(tree: &Tree) -> Option<Os> {
    LEGACY.iter().find_map(|(path, id)| {
        let file = tree.read(path, MAX_CONFIG)?;
        let line = first_line(&file);
        Some(Os {
            family: "linux".to_owned(),
            id: Some((*id).to_owned()),
            name: Some(if line.is_empty() {
                (*id).to_owned()
            } else {
                format!("{id} {line}")
            }),
            evidence: vec![file.evidence(1, &line)],
            ..Os::default()
        })
    })
}

/// FreeBSD writes os-release at boot only; its loader and rc.conf are always there.
fn freebsd(tree: &Tree) -> Option<Os> {
    let loader = tree.first_file(&["/libexec/ld-elf.so.1"])?;
    tree.first_file(&["/etc/rc.conf", "/etc/defaults/rc.conf"])?;
    Some(Os {
        family: "freebsd".to_owned(),
        id: Some("freebsd".to_owned()),
        name: Some("FreeBSD".to_owned()),
        evidence: vec![Evidence::path(clean(loader.path))],
        ..Os::default()
    })
}

fn first_line(file: &Text) -> String {
    clean(file.text.lines().next().unwrap_or(""))
}

/// `KEY=value` with shell quoting, as os-release(5) and many files in `/etc` have it.
pub(crate) fn assignment(line: &str) -> Option<(&str, String)> {
    let (key, value) = line.trim().split_once('=')?;
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    Some((key, unquote(value.trim())))
}

/// The value of a shell word: quotes removed, backslashes resolved, ended by an unquoted blank.
fn unquote(word: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (None | Some('"'), '\\') => out.extend(chars.next()),
            (None, ' ' | '\t') => break,
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words_are_unquoted() {
        let cases = [
            ("A=b", "b"),
            ("A=\"Debian GNU/Linux 12\"", "Debian GNU/Linux 12"),
            ("A='single $x'", "single $x"),
            ("A=\"quo\\\"ted\"", "quo\"ted"),
            ("A=b # comment", "b"),
            ("A=\"unclosed", "unclosed"),
            ("A=", ""),
        ];
        for (line, value) in cases {
            assert_eq!(assignment(line), Some(("A", value.to_owned())), "{line}");
        }
        assert_eq!(assignment("# A=b"), None);
        assert_eq!(assignment("no assignment"), None);
    }
}
