//! The writer against a reader of its own and against other people's.

use super::*;

/// Reads an image back by its Rock Ridge names, as far as this writer's output needs.
fn read(image: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let number = |at: usize| {
        let little = u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        let big = u32::from_be_bytes(image[at + 4..at + 8].try_into().unwrap());
        assert_eq!(little, big, "both byte orders at {at}");
        little as usize
    };
    let root = SECTOR * 16 + 156;
    let mut files = BTreeMap::new();
    let mut open = vec![(String::new(), number(root + 2), number(root + 10))];
    while let Some((prefix, first, len)) = open.pop() {
        let end = first * SECTOR + len;
        let mut at = first * SECTOR;
        let mut last_name = Vec::new();
        while at < end {
            let record_len = usize::from(image[at]);
            if record_len == 0 {
                at = (at + 1).next_multiple_of(SECTOR);
                continue;
            }
            assert!(
                at % SECTOR + record_len <= SECTOR,
                "record straddles a sector"
            );
            let (content, size) = (number(at + 2), number(at + 10));
            let name_len = usize::from(image[at + 32]);
            let iso_name = image[at + 33..at + 33 + name_len].to_vec();
            assert!(last_name < iso_name || iso_name == [0], "names ascend");
            let mut entry = at + 33 + name_len + (1 - name_len % 2);
            let mut name = None;
            while entry + 4 <= at + record_len {
                let len = usize::from(image[entry + 2]);
                if &image[entry..entry + 2] == b"NM" {
                    name = Some(String::from_utf8_lossy(&image[entry + 5..entry + len]));
                }
                entry += len;
            }
            if let Some(name) = name {
                let path = format!("{prefix}{name}");
                if image[at + 25] & 2 != 0 {
                    open.push((format!("{path}/"), content, size));
                } else {
                    let start = content * SECTOR;
                    files.insert(path, image[start..start + size].to_vec());
                }
            }
            last_name = iso_name;
            at += record_len;
        }
    }
    files
}

fn wide_tree() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for number in 0..200 {
        let path = format!(
            "a directory/with-many/file_{number}.{}",
            "x".repeat(number % 100)
        );
        files.insert(path, format!("content {number}").into_bytes());
        files.insert(
            format!("Z{number}/deep/er/and_deeper/leaf"),
            vec![7; number * 41],
        );
    }
    files.insert("n".repeat(MAX_NAME), b"longest".to_vec());
    files.insert("empty".into(), Vec::new());
    files
}

fn image_of(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut tree = Tree::default();
    for (path, content) in files {
        tree.file(path.clone(), content);
    }
    tree.image("config-2").unwrap()
}

#[test]
fn everything_is_read_back() {
    let files = wide_tree();
    let image = image_of(&files);
    assert_eq!(image.len() % SECTOR, 0);
    assert_eq!(read(&image), files);
    assert_eq!(
        image,
        image_of(&files),
        "the same tree gives the same bytes"
    );
}

#[test]
fn equal_contents_share_their_sectors() {
    let content = vec![1; 100 * SECTOR];
    let mut tree = Tree::default();
    tree.file("one/copy", &content).file("other/copy", &content);
    let image = tree.image("x").unwrap();
    assert!(image.len() < 130 * SECTOR, "{} bytes", image.len());
    assert_eq!(read(&image)["other/copy"], content);
}

#[test]
fn impossible_paths_are_named() {
    for bad in [
        "",
        "/etc",
        "a//b",
        "a/../b",
        ".",
        "a/",
        &"n".repeat(MAX_NAME + 1),
    ] {
        let mut tree = Tree::default();
        tree.file(bad, b"");
        assert_eq!(tree.image("x"), Err(Error::Path(bad.into())), "{bad}");
    }
    let mut tree = Tree::default();
    tree.file("a", b"").file("a/b", b"");
    assert_eq!(tree.image("x"), Err(Error::Path("a/b".into())));
}

/// Independent readers: blkid, then libisofs and, as root with loop devices, the kernel.
#[test]
fn other_readers_agree() {
    use std::process::Command;
    let files = wide_tree();
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("drive.iso");
    let [extracted, mounted] = ["extracted", "mounted"].map(|name| scratch.path().join(name));
    std::fs::write(&image, image_of(&files)).unwrap();
    std::fs::create_dir(&mounted).unwrap();
    let succeeds = |command: &mut Command| {
        let done = command.output().is_ok_and(|output| output.status.success());
        if !done {
            eprintln!("skipped: {command:?}");
        }
        done
    };
    let agrees = |root: &std::path::Path| {
        files
            .iter()
            .all(|(path, content)| std::fs::read(root.join(path)).unwrap() == *content)
    };
    match Command::new("blkid")
        .args(["-p", "-o", "export"])
        .arg(&image)
        .output()
    {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("\nLABEL=config-2\n"), "{text}");
            assert!(text.contains("\nTYPE=iso9660\n"), "{text}");
        }
        Err(error) => eprintln!("skipped blkid: {error}"),
    }
    let mut xorriso = Command::new("xorriso");
    xorriso
        .args(["-osirrox", "on", "-indev"])
        .arg(&image)
        .args(["-extract", "/"]);
    if succeeds(xorriso.arg(&extracted)) {
        assert!(agrees(&extracted));
    }
    let mut mount = Command::new("mount");
    if succeeds(mount.args(["-o", "loop,ro"]).arg(&image).arg(&mounted)) {
        let agreed = agrees(&mounted);
        assert!(succeeds(Command::new("umount").arg(&mounted)));
        assert!(agreed);
    }
}
