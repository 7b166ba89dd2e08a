//! Sizes in bytes, as people write them.

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// Reads `107374182400`, `100 GiB`, `100G` (binary) or `100GB` (decimal) as bytes.
///
/// # Errors
/// With a sentence that says what is wrong with `text`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` does not begin with a whole number of bytes"))?;
    let (base, power): (u64, u32) = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => (1, 0),
        "k" | "kib" => (1024, 1),
        "m" | "mib" => (1024, 2),
        "g" | "gib" => (1024, 3),
        "t" | "tib" => (1024, 4),
        "kb" => (1000, 1),
        "mb" => (1000, 2),
        "gb" => (1000, 3),
        "tb" => (1000, 4),
        other => return Err(format!("`{other}` is not a unit; use KiB, MiB, GiB or TiB")),
    };
    number
        .checked_mul(base.pow(power))
        .ok_or_else(|| format!("`{text}` is more than can be counted"))
}

/// A setting in bytes: a number, or a text that [`parse_bytes`] reads. For `deserialize_with`.
///
/// # Errors
/// When it is neither.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number of bytes, or a text such as \"100 GiB\"")
        }

        fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
            Ok(bytes)
        }

        fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            parse_bytes(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_limits() {
        let cases = [
            ("0", Some(0)),
            ("107374182400", Some(100 << 30)),
            ("100GiB", Some(100 << 30)),
            ("100 gib", Some(100 << 30)),
            ("1G", Some(1 << 30)),
            ("1GB", Some(1_000_000_000)),
            ("16777216TiB", None),
            ("GiB", None),
            ("", None),
            ("-1", None),
            ("1.5GiB", None),
            ("5 apples", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        }
    }
}
