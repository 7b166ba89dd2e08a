//! One tree of files over one or more ext filesystems, as the guest would see it.
//!
//! Paths are resolved here, component by component, and not by `ext4-view`: so a symbolic link is
//! looked at before it is read (its size is the guest's claim), loops end, mounts are crossed, and
//! what was looked up once is remembered. Small directories are listed once and then answer from
//! memory, because most questions are "is there such a file", asked many times about few
//! directories.
//!
//! Nothing here returns an error: what is missing is `None`, and what cannot be read is `None` and
//! a [`Fault`].

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use ext4_view::{DirEntry, Ext4, Ext4Error, FileType, Metadata};

use super::code_of;
use crate::facts::{Evidence, Fault};
use crate::text::clean;

/// Symbolic links followed in one path, as in Linux.
const MAX_LINKS: usize = 40;
/// Components resolved in one path, links included.
const MAX_STEPS: usize = 1000;
/// Longest link target (`PATH_MAX`).
const MAX_TARGET: u64 = 4096;
/// Directories up to this size are listed at once; larger ones are asked name by name.
const LISTED: u64 = 32 * 1024;
/// Directories beyond this are not looked into.
const MAX_DIRECTORY: u64 = 8 << 20;
/// Entries returned from one listing.
const MAX_ENTRIES: usize = 4096;
/// Bytes of directories searched during one inspection.
const SEARCH_BUDGET: u64 = 128 << 20;
/// Bytes of file contents read during one inspection.
const READ_BUDGET: u64 = 128 << 20;
/// Faults kept.
const MAX_FAULTS: usize = 20;

/// What kind of file something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// A file found under a path.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Absolute path without links.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// Size in bytes.
    pub(crate) len: u64,
}

/// The contents of a small file.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// Absolute path without links.
    pub(crate) path: String,
    /// Contents; invalid UTF-8 replaced.
    pub(crate) text: String,
}

impl Text {
    /// Lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u32, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Evidence for line `number`, which says `line`.
    pub(crate) fn evidence(&self, number: u32, line: &str) -> Evidence {
        Evidence::path(clean(&self.path))
            .at_line(number)
            .saying(clean(line))
    }
}

enum Directory {
    Listed(HashMap<String, DirEntry>),
    Large,
}

#[derive(Clone)]
struct Lookup {
    kind: Kind,
    len: u64,
}

/// A directory of a filesystem with all below it.
struct Part {
    filesystem: Ext4,
    /// Its path there, without a final slash: empty for all of the filesystem.
    directory: String,
}

/// The guest's files.
pub(crate) struct Tree {
    root: Part,
    mounts: Vec<(String, Part)>,
    directories: RefCell<HashMap<String, Rc<Directory>>>,
    lookups: RefCell<HashMap<String, Option<Lookup>>>,
    searched: Cell<u64>,
    read: Cell<u64>,
    faults: RefCell<Vec<Fault>>,
}

impl Tree {
    pub(crate) fn new(root: Ext4) -> Self {
        Self::at(root, "")
    }

    /// The tree whose root is `directory` of a filesystem, a path without links.
    pub(crate) fn at(filesystem: Ext4, directory: &str) -> Self {
        Self {
            root: Part {
                filesystem,
                directory: directory.to_owned(),
            },
            mounts: Vec::new(),
            directories: RefCell::default(),
            lookups: RefCell::default(),
            searched: Cell::new(0),
            read: Cell::new(0),
            faults: RefCell::default(),
        }
    }

    /// Mounts `filesystem` over the directory `path`, an absolute path without a final slash.
    pub(crate) fn mount(&mut self, path: &str, filesystem: Ext4) {
        self.bind(path, filesystem, "");
    }

    /// Mounts `directory` of `filesystem`, a path without links, in the same way.
    pub(crate) fn bind(&mut self, path: &str, filesystem: Ext4, directory: &str) {
        let part = Part {
            filesystem,
            directory: directory.to_owned(),
        };
        self.mounts.push((path.to_owned(), part));
        self.directories.borrow_mut().clear();
        self.lookups.borrow_mut().clear();
    }

    /// What could not be read so far.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }

    /// The file under `path`, links followed.
    pub(crate) fn stat(&self, path: &str) -> Option<Node> {
        self.resolve(path, true)
    }

    /// The file under `path`; if it is a link, the link itself.
    pub(crate) fn lstat(&self, path: &str) -> Option<Node> {
        self.resolve(path, false)
    }

    /// Whether `path` leads to anything.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.stat(path).is_some()
    }

    /// The first of `paths` that leads to a file.
    pub(crate) fn first_file(&self, paths: &[&str]) -> Option<Node> {
        paths
            .iter()
            .filter_map(|path| self.stat(path))
            .find(|node| node.kind == Kind::File)
    }

    /// Where the link `path` points to, as written; `None` if it is no link.
    pub(crate) fn link_target(&self, path: &str) -> Option<String> {
        let node = self.lstat(path)?;
        if node.kind == Kind::Symlink {
            self.read_link(&node.path, node.len)
        } else {
            None
        }
    }

    /// The contents of the file under `path`, if it is at most `max` bytes long.
    pub(crate) fn read(&self, path: &str, max: u64) -> Option<Text> {
        let node = self.stat(path).filter(|node| node.kind == Kind::File)?;
        if node.len > max {
            self.fault(
                &node.path,
                "file-too-large",
                format!("it has {} bytes; at most {max} are read", node.len),
            );
            return None;
        }
        let bytes = self.head(&node, max);
        Some(Text {
            path: node.path,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// The first `max` bytes of a file, fewer if it is shorter or damaged.
    pub(crate) fn head(&self, node: &Node, max: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        self.stream(node, |chunk| {
            let wanted = chunk.len().min(max.saturating_sub(bytes.len()));
            bytes.extend_from_slice(chunk.get(..wanted).unwrap_or(chunk));
            bytes.len() < max
        });
        bytes
    }

    /// Hands the contents of a file to `consume` in pieces, until that returns false.
    pub(crate) fn stream(&self, node: &Node, mut consume: impl FnMut(&[u8]) -> bool) {
        let (fs, inner) = self.locate(&node.path);
        let mut file = match fs.open(inner.as_str()) {
            Ok(file) => file,
            Err(error) => return self.report(&node.path, &error),
        };
        let mut chunk = [0; 4096];
        loop {
            match file.read_bytes(&mut chunk) {
                Ok(0) => return,
                Ok(count) => {
                    let total = self.read.get() + count as u64;
                    self.read.set(total);
                    if total > READ_BUDGET {
                        let detail = "more than 128 MiB of files would have to be read";
                        return self.fault(&node.path, "inspection-limit", detail.to_owned());
                    }
                    if !consume(chunk.get(..count).unwrap_or(&chunk)) {
                        return;
                    }
                }
                Err(error) => return self.report(&node.path, &error),
            }
        }
    }

    /// The names in the directory `path`, sorted by their bytes; empty if there is none.
    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let Some(node) = self.stat(path).filter(|node| node.kind == Kind::Directory) else {
            return Vec::new();
        };
        let mut names: Vec<String> = match &*self.directory(&node.path, node.len) {
            Directory::Listed(entries) => entries.keys().cloned().collect(),
            Directory::Large => self.entries(&node.path, node.len).into_keys().collect(),
        };
        names.sort_unstable();
        names
    }

    fn resolve(&self, path: &str, follow_last: bool) -> Option<Node> {
        let mut todo: VecDeque<String> = components(path).collect();
        let mut at = String::new();
        let mut node = self.root_lookup("")?;
        let mut links = 0;
        for _ in 0..MAX_STEPS {
            let Some(name) = todo.pop_front() else {
                let path = if at.is_empty() { "/".to_owned() } else { at };
                return Some(Node {
                    path,
                    kind: node.kind,
                    len: node.len,
                });
            };
            if node.kind != Kind::Directory {
                return None;
            }
            if name == ".." {
                let parent = at.rfind('/').unwrap_or(0);
                at.truncate(parent);
                node = self.known(&at)?;
                continue;
            }
            let child = format!("{at}/{name}");
            let found = self.lookup(&at, node.len, &name, &child)?;
            if found.kind == Kind::Symlink && (follow_last || !todo.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    let detail = "too many symbolic links".to_owned();
                    self.fault(path, "symlink-loop", detail);
                    return None;
                }
                let target = self.read_link(&child, found.len)?;
                if target.starts_with('/') {
                    at.clear();
                    node = self.root_lookup("")?;
                }
                for component in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(component);
                }
            } else {
                at = child;
                node = found;
            }
        }
        None
    }

    /// A directory that was passed on the way down.
    fn known(&self, at: &str) -> Option<Lookup> {
        if at.is_empty() {
            return self.root_lookup("");
        }
        self.lookups.borrow().get(at).cloned().flatten()
    }

    fn root_lookup(&self, mount: &str) -> Option<Lookup> {
        if let Some(known) = self.lookups.borrow().get(mount) {
            return known.clone();
        }
        let (fs, inner) = self.locate(mount);
        let found = match fs.symlink_metadata(inner.as_str()) {
            Ok(metadata) => Some(to_lookup(&metadata)),
            Err(error) => {
                self.report("/", &error);
                None
            }
        };
        self.lookups
            .borrow_mut()
            .insert(mount.to_owned(), found.clone());
        found
    }

    /// The entry `name` of directory `at`, whose size is `size`. `child` is its path.
    fn lookup(&self, at: &str, size: u64, name: &str, child: &str) -> Option<Lookup> {
        if let Some(known) = self.lookups.borrow().get(child) {
            return known.clone();
        }
        if self.mounts.iter().any(|(mount, _)| mount == child) {
            return self.root_lookup(child);
        }
        let metadata = match &*self.directory(at, size) {
            Directory::Listed(entries) => match entries.get(name) {
                Some(entry) => entry.metadata(),
                None => Err(Ext4Error::NotFound),
            },
            Directory::Large if self.may_search(at, size) => {
                let (fs, inner) = self.locate(child);
                fs.symlink_metadata(inner.as_str())
            }
            Directory::Large => Err(Ext4Error::NotFound),
        };
        let found = match metadata {
            Ok(metadata) => Some(to_lookup(&metadata)),
            Err(Ext4Error::NotFound) => None,
            Err(error) => {
                self.report(child, &error);
                None
            }
        };
        self.lookups
            .borrow_mut()
            .insert(child.to_owned(), found.clone());
        found
    }

    fn directory(&self, path: &str, size: u64) -> Rc<Directory> {
        if let Some(known) = self.directories.borrow().get(path) {
            return Rc::clone(known);
        }
        let directory = Rc::new(if size > LISTED {
            Directory::Large
        } else {
            Directory::Listed(self.entries(path, size))
        });
        self.directories
            .borrow_mut()
            .insert(path.to_owned(), Rc::clone(&directory));
        directory
    }

    fn entries(&self, path: &str, size: u64) -> HashMap<String, DirEntry> {
        let mut entries = HashMap::new();
        if !self.may_search(path, size) {
            return entries;
        }
        let (fs, inner) = self.locate(path);
        let listing = match fs.read_dir(inner.as_str()) {
            Ok(listing) => listing,
            Err(error) => {
                self.report(path, &error);
                return entries;
            }
        };
        for entry in listing {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name();
                    // None of the names that are looked for is anything but UTF-8.
                    if let Ok(name) = name.as_str().map(str::to_owned)
                        && name != "."
                        && name != ".."
                    {
                        entries.insert(name, entry);
                    }
                }
                Err(error) => {
                    self.report(path, &error);
                    break;
                }
            }
            if entries.len() >= MAX_ENTRIES {
                let detail = format!("only its first {MAX_ENTRIES} entries were read");
                self.fault(path, "directory-too-large", detail);
                break;
            }
        }
        entries
    }

    /// Accounts for a search through a directory of `size` bytes.
    fn may_search(&self, path: &str, size: u64) -> bool {
        if size > MAX_DIRECTORY {
            let detail = format!("the directory has {size} bytes");
            self.fault(path, "directory-too-large", detail);
            return false;
        }
        let total = self.searched.get() + size;
        if total > SEARCH_BUDGET {
            let detail = "more than 128 MiB of directories would have to be searched";
            self.fault(path, "inspection-limit", detail.to_owned());
            return false;
        }
        self.searched.set(total);
        true
    }

    fn read_link(&self, path: &str, len: u64) -> Option<String> {
        if len > MAX_TARGET {
            let detail = format!("the target of the link has {len} bytes");
            self.fault(path, "file-unreadable", detail);
            return None;
        }
        let (fs, inner) = self.locate(path);
        match fs.read_link(inner.as_str()) {
            Ok(target) => target.to_str().ok().map(str::to_owned),
            Err(error) => {
                self.report(path, &error);
                None
            }
        }
    }

    /// The filesystem that holds `path`, and the path within it.
    fn locate(&self, path: &str) -> (&Ext4, String) {
        let mounted = self
            .mounts
            .iter()
            .filter_map(|(mount, part)| Some((part, path.strip_prefix(mount.as_str())?)))
            .filter(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
            .min_by_key(|(_, rest)| rest.len());
        let (part, rest) = mounted.unwrap_or((&self.root, path));
        let inner = format!("{}{rest}", part.directory);
        let inner = if inner.is_empty() {
            "/".to_owned()
        } else {
            inner
        };
        (&part.filesystem, inner)
    }

    fn report(&self, path: &str, error: &Ext4Error) {
        if !matches!(error, Ext4Error::NotFound | Ext4Error::NotADirectory) {
            self.fault(path, code_of(error), error.to_string());
        }
    }

    fn fault(&self, path: &str, code: &str, detail: String) {
        let path = if path.is_empty() { "/" } else { path };
        let fault = Fault {
            code: code.to_owned(),
            detail: clean(detail),
            evidence: Evidence::path(clean(path)),
        };
        let mut faults = self.faults.borrow_mut();
        if faults.len() < MAX_FAULTS && !faults.contains(&fault) {
            faults.push(fault);
        }
    }
}

fn components(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
}

fn to_lookup(metadata: &Metadata) -> Lookup {
    Lookup {
        kind: match metadata.file_type() {
            FileType::Regular => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        },
        len: metadata.len(),
    }
}
