//! Integers out of on-disk structures, without a way to panic.
//!
//! A field that lies past the end of the bytes reads as zero. That is what both the qcow2 and the
//! GPT specification define for fields that a shorter, older structure does not have; whoever
//! needs a field to exist checks the length first.

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|field| field.try_into().ok())
        .unwrap_or([0; N])
}

/// Big-endian `u32` at byte `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// Big-endian `u64` at byte `at`.
pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

/// Little-endian `u16` at byte `at`.
pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

/// Little-endian `u32` at byte `at`.
pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

/// Little-endian `u64` at byte `at`.
pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// Whether `bytes` hold `magic` at byte `at`.
pub(crate) fn has(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|tail| tail.starts_with(magic))
}

/// Text of an image for a message: printable ASCII only, everything else a `?`, at most
/// `max` characters, so that nothing in a header can write to a terminal or a log.
pub(crate) fn printable(bytes: &[u8], max: usize) -> String {
    bytes
        .iter()
        .take_while(|&&byte| byte != 0)
        .take(max)
        .map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '?',
        })
        .collect()
}

/// At most this much of a name is shown.
const MAX_NAME: usize = 48;
/// At most this many names are listed.
const MAX_NAMES: usize = 6;

/// A name out of an image or an archive, for a message.
pub(crate) fn printable_name(name: &[u8]) -> String {
    printable(name, MAX_NAME)
}

/// Names for a message, each in backticks.
pub(crate) fn name_list<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut names = names.into_iter();
    let mut list: Vec<String> = names
        .by_ref()
        .take(MAX_NAMES)
        .map(|name| format!("`{}`", printable_name(name)))
        .collect();
    let more = names.count();
    if more > 0 {
        list.push(format!("{more} more"));
    }
    match list.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => list.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_past_the_end_read_as_zero() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(be32(&bytes, 1), 0x0203_0405);
        assert_eq!(be32(&bytes, 2), 0);
        assert_eq!(le16(&bytes, 3), 0x0504);
        assert_eq!(le64(&bytes, usize::MAX), 0);
        assert!(has(&bytes, 3, &[4, 5]));
        assert!(!has(&bytes, 4, &[5, 6]));
        assert!(!has(&bytes, 9, &[]));
    }

    #[test]
    fn text_of_an_image_is_made_harmless() {
        assert_eq!(printable(b"a\x1b[2Jb\xff\0c", 46), "a?[2Jb?");
        assert_eq!(printable(b"abcdef", 3), "abc");
    }

    #[test]
    fn lists_of_names_are_short_and_read_well() {
        let list = |names: &[&str]| name_list(names.iter().map(|name| name.as_bytes()));
        assert_eq!(list(&[]), "");
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c\n"]), "`a`, `b` and `c?`");
        let many = list(&["n"; 9]);
        assert!(many.ends_with("`n` and 3 more"), "{many}");
        assert_eq!(list(&["x".repeat(99).as_str()]).len(), 50);
    }
}
