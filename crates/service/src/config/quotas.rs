//! `[quotas]`: how much each account may have.

use std::fmt;

use abbild_api::Quota;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parse_bytes;

/// How much each account may have, unless its operator said otherwise for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Images, but for those whose import failed.
    pub images: Limit,
    /// Bytes of their canonical files, in each region that has or will have them.
    pub stored_bytes: Limit,
    /// Uploads that wait for bytes.
    pub uploads: Limit,
    /// Machines.
    pub droplets: Limit,
    /// Their virtual processors, running or not.
    pub vcpus: Limit,
    /// Their memory in bytes, running or not.
    pub memory_bytes: Limit,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            images: Limit(None),
            stored_bytes: Limit(None),
            uploads: Limit(Some(1000)),
            droplets: Limit(Some(25)),
            vcpus: Limit(None),
            memory_bytes: Limit(None),
        }
    }
}

impl Quotas {
    /// How much there may be; `None` for no limit.
    pub fn get(&self, quota: Quota) -> Option<u64> {
        let limit = match quota {
            Quota::Images => self.images,
            Quota::StoredBytes => self.stored_bytes,
            Quota::Uploads => self.uploads,
            Quota::Droplets => self.droplets,
            Quota::Vcpus => self.vcpus,
            Quota::MemoryBytes => self.memory_bytes,
        };
        limit.0
    }
}

/// A number, or no limit: `25`, `"500 GiB"` or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<u64>);

/// The word for no limit.
const UNLIMITED: &str = "unlimited";

impl std::str::FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            UNLIMITED => Ok(Self(None)),
            text => parse_bytes(text).map(|number| Self(Some(number))),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str(UNLIMITED),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_u64(number),
            None => serializer.serialize_str(UNLIMITED),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a text such as \"100 GiB\", or \"unlimited\"")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Limit, E> {
                Ok(Limit(Some(number)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Limit, E> {
                let number = u64::try_from(number)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))?;
                Ok(Limit(Some(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_sizes_or_none() {
        assert_eq!("25".parse(), Ok(Limit(Some(25))));
        assert_eq!("2 GiB".parse(), Ok(Limit(Some(2 << 30))));
        assert_eq!("unlimited".parse(), Ok(Limit(None)));
        assert!("many".parse::<Limit>().is_err());
        let quotas: Quotas =
            toml::from_str("images = 3\ndroplets = \"unlimited\"\nstored_bytes = \"1 KiB\"")
                .unwrap();
        assert_eq!(quotas.get(Quota::Images), Some(3));
        assert_eq!(quotas.get(Quota::Droplets), None);
        assert_eq!(quotas.get(Quota::StoredBytes), Some(1024));
        assert_eq!(quotas.get(Quota::Uploads), Some(1000));
        let again: Quotas = toml::from_str(&toml::to_string(&quotas).unwrap()).unwrap();
        assert_eq!(again.get(Quota::Droplets), None);
        assert!(toml::from_str::<Quotas>("images = -1").is_err());
    }
}
