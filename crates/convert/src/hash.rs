//! Digests of files, and copies that are proven to be what they should be.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::digest::Output;
use sha2::{Digest, Sha256};

use crate::pipe::{self, CHUNK, Sink};
use crate::{Control, Error, ErrorKind, Result};

/// The SHA-256 of the whole of `file`, whatever its cursor.
///
/// # Errors
/// Those of reading, and [`ErrorKind::Cancelled`].
pub fn sha256_file(file: &File, control: &Control<'_>) -> Result<[u8; 32]> {
    Ok(digest_file::<Sha256>(file, control)?.into())
}

/// The digest of the whole of `file` by any algorithm, whatever its cursor.
///
/// # Errors
/// Those of reading, and [`ErrorKind::Cancelled`].
pub fn digest_file<D: Digest + Send>(file: &File, control: &Control<'_>) -> Result<Output<D>> {
    let mut hash = D::new();
    pipe::overlapped(
        |bytes| {
            hash.update(bytes);
            Ok(())
        },
        |sink| read_through(file, sink, control, |_, _| Ok(())),
    )?;
    Ok(hash.finalize())
}

/// Copies the whole of `from` into the emptied file `to`, proves that what was copied has the
/// digest `expected`, and makes it durable. Returns the number of bytes.
///
/// Each byte is read once, so what was hashed is what was written.
///
/// # Errors
/// Those of reading and writing; [`ErrorKind::Corrupt`] with code `digest-mismatch`, after which
/// `to` is empty again; [`ErrorKind::Cancelled`].
pub fn copy_verified(
    from: &File,
    to: &File,
    expected: &[u8; 32],
    control: &Control<'_>,
) -> Result<u64> {
    let doing = |e| Error::io("writing the copy", e);
    to.set_len(0).map_err(doing)?;
    let mut hash = Sha256::new();
    let copied = pipe::overlapped(
        |bytes| {
            hash.update(bytes);
            Ok(())
        },
        |sink| {
            read_through(from, sink, control, |offset, bytes| {
                to.write_all_at(bytes, offset).map_err(doing)
            })
        },
    )?;
    let found: [u8; 32] = hash.finalize().into();
    if found != *expected {
        to.set_len(0).map_err(doing)?;
        return Err(Error::new(
            ErrorKind::Corrupt,
            "digest-mismatch",
            format!(
                "the file has the SHA-256 {} but should have {}",
                hex::encode(found),
                hex::encode(expected)
            ),
        )
        .with_hint("the stored file is damaged: import the image again"));
    }
    to.sync_all()
        .map_err(|e| Error::io("flushing the copy to disk", e))?;
    Ok(copied)
}

/// Reads `file` from start to end, shows each chunk to `each` and then pushes it into `sink`.
fn read_through(
    file: &File,
    sink: &Sink,
    control: &Control<'_>,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<u64> {
    let doing = |e| Error::io("reading the file", e);
    let total = file.metadata().map_err(doing)?.len();
    let mut offset = 0;
    while offset < total {
        control.step(offset, Some(total))?;
        let mut buffer = sink.buffer();
        let len = usize::try_from(total - offset).map_or(CHUNK, |left| left.min(CHUNK));
        let bytes = &mut buffer[..len];
        file.read_exact_at(bytes, offset).map_err(doing)?;
        each(offset, bytes)?;
        sink.push(buffer, len)?;
        offset += len as u64;
    }
    control.step(offset, Some(total))?;
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    /// From FIPS 180-2 appendix B and the empty message of the NIST test vectors.
    #[test]
    fn known_digests() {
        let none = Control::none();
        let abc = sha256_file(&file_of(b"abc"), &none).unwrap();
        assert_eq!(
            hex::encode(abc),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let million = sha256_file(&file_of(&vec![b'a'; 1_000_000]), &none).unwrap();
        assert_eq!(
            hex::encode(million),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
        let empty = sha256_file(&file_of(b""), &none).unwrap();
        assert_eq!(
            hex::encode(empty),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn a_copy_is_whole_and_replaces_what_was_there() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 17).map(|n| (n % 251) as u8).collect();
        let (from, to) = (file_of(&bytes), file_of(&vec![1; 5 * CHUNK]));
        let digest = Sha256::digest(&bytes).into();
        let last = Cell::new(0);
        let progress = |p: crate::Progress| last.set(p.done);
        let control = Control::none().with_progress(&progress);
        let copied = copy_verified(&from, &to, &digest, &control).unwrap();
        assert_eq!(copied, bytes.len() as u64);
        assert_eq!(last.get(), copied);
        assert_eq!(to.metadata().unwrap().len(), copied);
        assert_eq!(sha256_file(&to, &Control::none()).unwrap(), digest);
    }

    #[test]
    fn a_wrong_digest_leaves_nothing() {
        let (from, to) = (file_of(b"abd"), file_of(b""));
        let wrong = Sha256::digest(b"abc").into();
        let error = copy_verified(&from, &to, &wrong, &Control::none()).unwrap_err();
        assert_eq!(error.code(), "digest-mismatch");
        assert!(error.to_string().contains("ba7816bf8f01"), "{error}");
        assert_eq!(to.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_set_flag_stops_it() {
        let stop = AtomicBool::new(true);
        let control = Control::none().with_cancel(&stop);
        let error = sha256_file(&file_of(b"abc"), &control).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
