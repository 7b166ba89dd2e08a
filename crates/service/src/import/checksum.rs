//! The checksum of a file as its owner expects it, `ALGORITHM:HEX`.
//!
//! It is of the file as it was sent or fetched, before anything is unpacked, and so the one that
//! distributors publish beside their images.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use abbild_convert::{Control, digest_file};
use anyhow::{Context, bail};
use sha2::{Sha256, Sha384, Sha512};

use crate::retry::Final;

/// An expected digest. Written as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a digest in bytes.
    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "`checksum` must be `sha256:`, `sha384:` or `sha512:` and the digest \
                            in hexadecimal";
        let (name, hex) = text.trim().split_once(':').ok_or(FORM)?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| name.eq_ignore_ascii_case(algorithm.name()))
            .ok_or_else(|| match name.to_ascii_lowercase().as_str() {
                "md5" | "sha1" => format!("{FORM}; {name} proves nothing any longer"),
                _ => FORM.to_owned(),
            })?;
        let digest = hex::decode(hex).map_err(|_| FORM)?;
        if digest.len() != algorithm.len() {
            return Err(format!(
                "`checksum` has {} hexadecimal digits; {} has {}",
                hex.len(),
                algorithm.name(),
                2 * algorithm.len()
            ));
        }
        Ok(Self { algorithm, digest })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), hex::encode(&self.digest))
    }
}

impl Checksum {
    /// Compares the file at `path`. Blocks.
    ///
    /// # Errors
    /// With both digests if they differ; those of reading, and when it is to stop.
    pub fn verify(&self, path: &Path, control: &Control<'_>) -> anyhow::Result<()> {
        let file = File::open(path).context("reading the upload")?;
        let digest = match self.algorithm {
            Algorithm::Sha256 => digest_file::<Sha256>(&file, control)?.to_vec(),
            Algorithm::Sha384 => digest_file::<Sha384>(&file, control)?.to_vec(),
            Algorithm::Sha512 => digest_file::<Sha512>(&file, control)?.to_vec(),
        };
        let found = Self {
            algorithm: self.algorithm,
            digest,
        };
        if found != *self {
            bail!(Final::new(format!(
                "the file has the checksum {found}, but {self} was expected: it was changed on \
                 its way, or the checksum is of another file"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2 appendices B and C: the message `abc`.
    const ABC: [&str; 2] = [
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ];

    #[test]
    fn a_file_is_compared_with_what_was_expected() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, b"abc").unwrap();
        for text in ABC {
            let checksum: Checksum = text.parse().unwrap();
            assert_eq!(checksum.to_string(), text);
            checksum.verify(file.path(), &Control::none()).unwrap();
            let upper: Checksum = text.to_uppercase().parse().unwrap();
            assert_eq!(upper, checksum);
        }
        std::fs::write(&file, b"abd").unwrap();
        let checksum: Checksum = ABC[0].parse().unwrap();
        let error = checksum.verify(file.path(), &Control::none()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sha256:a52d159f") && text.contains(ABC[0]),
            "{text}"
        );
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (text, why) in [
            ("", "sha256:"),
            ("ba7816bf", "sha256:"),
            ("crc32:00000000", "sha256:"),
            ("md5:900150983cd24fb0d6963f7d28e17f72", "proves nothing"),
            ("sha256:ba78", "64"),
            ("sha256:xyz", "hexadecimal"),
        ] {
            let error = text.parse::<Checksum>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
