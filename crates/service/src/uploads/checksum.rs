//! Checksums of what is sent: the `Upload-Checksum` header of tus, `algorithm base64-digest`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::digest::DynDigest;

/// The algorithms, in the order in which they are announced. SHA-1 is the one that tus demands.
pub const ALGORITHMS: &str = "sha256,sha1,sha512,md5,crc32c";

/// A digest that a client announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha1,
    Sha512,
    Md5,
    Crc32c,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "sha256" => Self::Sha256,
            "sha1" => Self::Sha1,
            "sha512" => Self::Sha512,
            "md5" => Self::Md5,
            "crc32c" => Self::Crc32c,
            _ => return None,
        })
    }
}

impl Checksum {
    /// Parses the header.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn parse(header: &str) -> Result<Self, String> {
        let (name, digest) = header
            .trim()
            .split_once(' ')
            .ok_or("`Upload-Checksum` must be an algorithm, a space and a digest in base64")?;
        let algorithm = Algorithm::parse(name).ok_or_else(|| {
            format!("the checksum algorithm `{name}` is not known; known are {ALGORITHMS}")
        })?;
        let digest = STANDARD
            .decode(digest.trim())
            .map_err(|e| format!("the digest in `Upload-Checksum` is not base64: {e}"))?;
        Ok(Self { algorithm, digest })
    }

    /// What computes this checksum.
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    /// Whether `hasher` has seen what was announced.
    ///
    /// # Errors
    /// With both digests, if not.
    pub fn verify(&self, hasher: Hasher) -> Result<(), String> {
        let found = hasher.finish();
        if found == self.digest {
            return Ok(());
        }
        Err(format!(
            "the checksum does not match: `Upload-Checksum` says {}, what arrived has {}; nothing of it was kept",
            STANDARD.encode(&self.digest),
            STANDARD.encode(found),
        ))
    }
}

/// A digest in the making.
pub enum Hasher {
    /// Of the cryptographic kind.
    Digest(Box<dyn DynDigest + Send + Sync>),
    /// CRC-32C, big-endian as in other services' headers.
    Crc32c(u32),
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Digest(Box::new(sha2::Sha256::default())),
            Algorithm::Sha1 => Self::Digest(Box::new(sha1::Sha1::default())),
            Algorithm::Sha512 => Self::Digest(Box::new(sha2::Sha512::default())),
            Algorithm::Md5 => Self::Digest(Box::new(md5::Md5::default())),
            Algorithm::Crc32c => Self::Crc32c(0),
        }
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Digest(digest) => digest.update(bytes),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Digest(digest) => digest.finalize().into_vec(),
            Self::Crc32c(crc) => crc.to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests of `hello world`, by openssl and by RFC 3720's CRC.
    const HELLO: [(&str, &str); 5] = [
        ("sha256", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="),
        ("sha1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
        (
            "sha512",
            "MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+YndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==",
        ),
        ("md5", "XrY7u+Ae7tCTyyK7j1rNww=="),
        ("crc32c", "yZRlqg=="),
    ];

    #[test]
    fn every_announced_algorithm_works() {
        let names: Vec<_> = HELLO.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.join(","), ALGORITHMS);
        for (name, digest) in HELLO {
            let checksum = Checksum::parse(&format!("{name} {digest}")).unwrap();
            let mut hasher = checksum.hasher();
            hasher.update(b"hello ");
            hasher.update(b"world");
            assert_eq!(checksum.verify(hasher), Ok(()), "{name}");
            assert!(checksum.verify(checksum.hasher()).is_err(), "{name}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (header, word) in [
            ("sha256", "a space"),
            ("sha3 YWJj", "`sha3` is not known"),
            ("sha256 ###", "not base64"),
        ] {
            let error = Checksum::parse(header).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
