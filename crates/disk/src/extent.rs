//! Which parts of a disk hold data, so that readers can skip the rest.

/// What a run of a virtual disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Stored bytes, which may of course all be zero.
    Data,
    /// Reads as zeros without anything being stored.
    Zero,
}

/// A run of bytes of a virtual disk, all of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First byte on the virtual disk.
    pub offset: u64,
    /// Length in bytes, never zero.
    pub len: u64,
    /// What is there.
    pub kind: ExtentKind,
}
