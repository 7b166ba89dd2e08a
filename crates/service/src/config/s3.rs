//! Where and how a bucket of an S3 service is reached.

use serde::{Deserialize, Serialize};

use super::{Issues, Secret};

/// `[regions.s3]`: a bucket that holds the images of a region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// URL of the service, without the bucket.
    pub endpoint: String,
    /// The bucket, which must be there.
    pub bucket: String,
    /// What all keys begin with; nothing by default.
    #[serde(default)]
    pub prefix: String,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// Who asks.
    pub access_key_id: String,
    /// The proof of it.
    pub secret_access_key: Secret,
    /// Seconds after which a request is given up. One takes 16 MiB at most.
    #[serde(default = "default_request_seconds")]
    pub request_seconds: u64,
    /// Seconds for which a request that fails is made again, before the job that needs it is put off.
    #[serde(default = "default_patience_seconds")]
    pub patience_seconds: u64,
    /// Hours after which the local copy of an image that no machine uses is removed.
    #[serde(default = "default_copy_idle_hours")]
    pub copy_idle_hours: u64,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_request_seconds() -> u64 {
    60
}

fn default_patience_seconds() -> u64 {
    60
}

fn default_copy_idle_hours() -> u64 {
    24
}

impl S3Config {
    /// What TOML's types cannot say; `key` is the path to this section.
    pub fn check(&self, key: &str, issues: &mut Issues) {
        let is_url = reqwest::Url::parse(&self.endpoint)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        issues.require(is_url, format!("{key}.endpoint"), || {
            format!(
                "`endpoint = \"{}\"` is no URL that begins with `http://` or `https://`",
                self.endpoint
            )
        });
        issues.require(!self.bucket.is_empty(), format!("{key}.bucket"), || {
            "`bucket` is empty; name one that is there".to_owned()
        });
        issues.require(
            self.request_seconds > 0,
            format!("{key}.request_seconds"),
            || "`request_seconds` must be at least 1".to_owned(),
        );
    }
}
