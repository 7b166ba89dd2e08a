//! What is sent of an image file: the file as it is, or its content in compact form.
//!
//! The compact form is the canonical qcow2, which the service would make of it in any case: without
//! empty space and compressed. It goes over the network in a fraction of the time, and its digest is
//! the one under which the service knows the content, whatever format it came in. Making it is worth
//! its time only where the network is slower than the encoder, so a service on this machine gets the
//! file as it is, and so does everybody if the file is compressed already.

use std::fs::File;

use abbild_convert::{Control, ErrorKind, Options, Progress, encode, estimate_compressed};
use abbild_disk::{Disk as _, FileSource, Limits};
use anyhow::Context as _;

use crate::client::Client;
use crate::failure::{stopped, with_causes};
use crate::input;
use crate::interrupt::Interrupt;
use crate::print::size;
use crate::progress::Steps;

/// What must be saved at least for the compact form to be made.
const WORTH: u64 = 16 << 20;

/// In which form to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The file.
    AsIs,
    /// Its content.
    Compact,
    /// Whichever is faster.
    Faster,
}

/// What is sent.
#[derive(Debug)]
pub struct Content {
    /// The bytes.
    pub file: File,
    /// How many.
    pub size: u64,
    /// Their SHA-256 in hexadecimal.
    pub digest: String,
    /// Whether this is the compact form, which does not change when the image file does.
    pub compact: bool,
}

impl Content {
    /// What to send of `file`.
    ///
    /// # Errors
    /// If the file cannot be read, or on Ctrl-C.
    pub fn new(
        file: &File,
        form: Form,
        client: &Client,
        steps: &mut Steps,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let wanted = match form {
            Form::AsIs => false,
            Form::Compact => true,
            Form::Faster => !client.is_local() && is_worthwhile(file)?,
        };
        if wanted && let Some(compact) = compact(file, steps, interrupt)? {
            return Ok(compact);
        }
        as_is(file, steps, interrupt)
    }

    /// The file as it is, whose digest is known from an earlier run.
    ///
    /// # Errors
    /// Those of `fstat` and `dup`.
    pub fn hashed(file: &File, digest: &str) -> anyhow::Result<Self> {
        Ok(Self {
            file: file.try_clone()?,
            size: file.metadata()?.len(),
            digest: digest.to_owned(),
            compact: false,
        })
    }
}

/// Whether the compact form would be much smaller.
fn is_worthwhile(file: &File) -> anyhow::Result<bool> {
    if input::compression(&mut file.try_clone()?)?.is_some() {
        return Ok(false);
    }
    let len = file.metadata()?.len();
    let compact = estimate_compressed(file).context("reading the image file")?;
    Ok(len.saturating_sub(compact) >= WORTH && compact < len / 5 * 4)
}

fn as_is(file: &File, steps: &mut Steps, interrupt: &Interrupt) -> anyhow::Result<Content> {
    steps.step("hashing");
    let show = |progress: Progress| show(steps, progress);
    let control = Control::none()
        .with_progress(&show)
        .with_cancel(interrupt.flag());
    let digest =
        abbild_convert::sha256_file(file, &control).map_err(|error| match error.kind() {
            ErrorKind::Cancelled => anyhow::Error::from(stopped()),
            _ => anyhow::Error::new(error).context("reading the image file"),
        })?;
    Content::hashed(file, &hex::encode(digest))
}

/// The compact form; `None` if it cannot be made or is not smaller. What is wrong with an image is
/// for the service to say.
fn compact(
    file: &File,
    steps: &mut Steps,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Content>> {
    let source = FileSource::new(file.try_clone()?).context("asking for the size of the file")?;
    let limits = Limits {
        max_virtual_size: abbild_guest::Limits::default().max_virtual_size,
    };
    let Ok(disk) = abbild_disk::open_with(source, &limits) else {
        return Ok(None);
    };
    if disk.verify().is_err() {
        return Ok(None);
    }
    let out = tempfile::tempfile().context("creating a temporary file (TMPDIR says where)")?;
    steps.step("compacting");
    let show = |progress: Progress| show(steps, progress);
    let control = Control::none()
        .with_progress(&show)
        .with_cancel(interrupt.flag());
    let encoded = match encode(&disk, &out, Options::default(), &control) {
        Ok(encoded) => encoded,
        Err(error) if error.kind() == ErrorKind::Cancelled => return Err(stopped().into()),
        Err(error) => {
            let why = with_causes(&error);
            steps.note(&format!("the file is sent as it is: {why}"));
            return Ok(None);
        }
    };
    let len = file.metadata()?.len();
    if encoded.file_size >= len {
        return Ok(None);
    }
    let (from, to) = (size(len), size(encoded.file_size));
    steps.note(&format!(
        "compacted: {from} to {to} (--as-is sends the file as it is)"
    ));
    Ok(Some(Content {
        file: out,
        size: encoded.file_size,
        digest: hex::encode(encoded.sha256),
        compact: true,
    }))
}

fn show(steps: &Steps, progress: Progress) {
    steps.set_of(progress.done, progress.total.unwrap_or(0));
}
