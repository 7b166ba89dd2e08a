//! The innermost layer of bzip2: after four equal bytes, the next byte says how many more follow.

/// Bytes of expanded data that are handed over at a time, about.
const PIECE: usize = 128 << 10;
/// What may come on top of a piece: four bytes with the largest count, and one byte.
const SLACK: usize = 4 + 255 + 1;

/// Expands `bytes`, which are a whole block, and hands the result to `take`, piece by piece.
///
/// # Errors
/// The first error of `take`.
pub(super) fn expand<E>(
    bytes: &[u8],
    buffer: &mut Vec<u8>,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    buffer.clear();
    buffer.resize(PIECE + SLACK, 0);
    let mut filled = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        if filled >= PIECE {
            take(&buffer[..filled])?;
            filled = 0;
        }
        let plain = plain_len(&rest[..rest.len().min(PIECE - filled + 4)]);
        buffer[filled..filled + plain].copy_from_slice(&rest[..plain]);
        filled += plain;
        rest = &rest[plain..];
        // Four equal bytes, unless the piece is full or the block ends.
        if let [a, b, c, d, tail @ ..] = rest
            && a == b
            && b == c
            && c == d
        {
            let (count, tail) = match tail {
                [count, tail @ ..] => (usize::from(*count), tail),
                [] => (0, tail),
            };
            buffer[filled..filled + 4 + count].fill(*a);
            filled += 4 + count;
            rest = tail;
        }
    }
    take(&buffer[..filled])
}

/// How many bytes there are before four equal ones. Without any, three are kept back if more may
/// follow: up to the whole of `bytes` if there are fewer.
fn plain_len(bytes: &[u8]) -> usize {
    let found = bytes
        .windows(4)
        .position(|w| w[0] == w[1] && w[1] == w[2] && w[2] == w[3]);
    found.unwrap_or(match bytes.len() {
        len @ 0..4 => len,
        len => len - 3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        expand::<()>(bytes, &mut Vec::new(), |piece| {
            all.extend(piece);
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn counts_follow_four_equal_bytes() {
        assert_eq!(
            expanded(b"abbbccccc"),
            [b"abbbcccc".as_slice(), &[b'c'; 99]].concat()
        );
        assert_eq!(expanded(b"aaaa\0aaaa\x02b"), b"aaaaaaaaaab");
        assert_eq!(
            expanded(b"xaaaa"),
            b"xaaaa",
            "a block that ends before the count"
        );
        assert_eq!(expanded(b""), b"");
    }

    #[test]
    fn pieces_may_be_cut_anywhere() {
        for lead in PIECE - 9..PIECE + 9 {
            let mut bytes: Vec<u8> = (0..lead).map(|n| (n % 251) as u8).collect();
            let mut expected = bytes.clone();
            for count in [255, 0, 7, 255, 255] {
                bytes.extend([9, 9, 9, 9, count]);
                expected.resize(expected.len() + 4 + usize::from(count), 9);
            }
            bytes.extend(b"end");
            expected.extend(b"end");
            assert!(expanded(&bytes) == expected, "{lead}");
        }
    }
}
