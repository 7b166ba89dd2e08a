//! What an account may have.

use serde::{Deserialize, Serialize};

/// Something of which an account may have so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Images, but for those whose import failed.
    Images,
    /// Bytes of their canonical files, in each region that has or will have them.
    StoredBytes,
    /// Uploads that wait for bytes.
    Uploads,
    /// Machines.
    Droplets,
    /// Their virtual processors, running or not.
    Vcpus,
    /// Their memory in bytes, running or not.
    MemoryBytes,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Images,
        Self::StoredBytes,
        Self::Uploads,
        Self::Droplets,
        Self::Vcpus,
        Self::MemoryBytes,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::StoredBytes => "stored_bytes",
            Self::Uploads => "uploads",
            Self::Droplets => "droplets",
            Self::Vcpus => "vcpus",
            Self::MemoryBytes => "memory_bytes",
        }
    }

    /// Whether it is counted in bytes.
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::StoredBytes | Self::MemoryBytes)
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Quota {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let all = Self::ALL.into_iter();
        all.clone()
            .find(|quota| quota.as_str() == word)
            .ok_or_else(|| {
                let words: Vec<_> = all.map(Self::as_str).collect();
                format!("`{word}` is not a quota; there are {}", words.join(", "))
            })
    }
}

/// One quota of an account, and how much of it is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotaUse {
    /// Which.
    pub quota: Quota,
    /// How much there may be; null for no limit.
    pub limit: Option<i64>,
    /// How much there is.
    pub used: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_wire() {
        for quota in Quota::ALL {
            assert_eq!(serde_json::to_value(quota).unwrap(), quota.as_str());
            assert_eq!(quota.as_str().parse(), Ok(quota));
        }
        assert!("bananas".parse::<Quota>().unwrap_err().contains("vcpus"));
    }
}
