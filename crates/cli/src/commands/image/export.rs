//! `abbild image export`: an image as a file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use abbild_api::Image;
use abbild_convert::{Control, Target, sha256_file};
use anyhow::Context as _;
use serde_json::json;
use ureq::http::{HeaderMap, Response};
use ureq::{Body, SendBody};

use crate::args::ExportArgs;
use crate::client::{self, Client};
use crate::commands::convert::by_suffix;
use crate::failure::{Failure, stopped};
use crate::interrupt::Interrupt;
use crate::names;
use crate::new_file::NewFile;
use crate::print::{clean, size};
use crate::progress::Steps;
use crate::session::Session;

/// How long the service may be away.
const PATIENCE: Duration = Duration::from_secs(300);
/// Before a download that broke off goes on.
const PAUSE: Duration = Duration::from_secs(1);
const BUFFER: usize = 1 << 20;
/// Zeros that fill an aligned block of this many bytes are left out of the file.
const HOLE: usize = 4096;

/// Downloads an image into a file.
///
/// # Errors
/// If there is no such image, it is not available, or the file cannot be written.
pub fn run(session: &Session, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let image = names::image(&client, &args.image)?;
    let target = args.format.unwrap_or_else(|| by_suffix(&args.output));
    let compress = match (args.compress, args.no_compress) {
        (false, false) => target == Target::Qcow2,
        (compress, _) => compress,
    };
    let new = NewFile::create(&args.output, args.force)?;
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    steps.step("downloading");
    let mut download = Download {
        client: &client,
        path: format!(
            "/v2/images/{}/export?format={target}&compress={compress}",
            image.id
        ),
        file: new.file(),
        have: 0,
        version: None,
    };
    download.run(&steps, &interrupt)?;
    let length = download.have;
    new.file().set_len(length).context("writing the file")?;
    if target == Target::Qcow2 && compress {
        steps.step("verifying");
        verify(&image, new.file())?;
    }
    new.file().sync_all().context("flushing the file to disk")?;
    new.publish(true)?;
    steps.finish();

    let name = args.output.display().to_string();
    let result = json!({
        "name": name, "image": image.id, "format": target.name(), "compressed": compress,
        "file_size": length,
    });
    session.show(&result, |out| {
        let compressed = if compress { "compressed " } else { "" };
        writeln!(
            out,
            "{}: {compressed}{target}, {}",
            clean(&name),
            size(length)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The canonical image is named by its digest.
fn verify(image: &Image, file: &File) -> anyhow::Result<()> {
    let expected = image
        .extra
        .as_ref()
        .and_then(|extra| extra.digest.as_deref());
    let Some(expected) = expected else {
        return Ok(());
    };
    let found = hex::encode(sha256_file(file, &Control::none())?);
    if expected.strip_prefix("sha256:") == Some(&found) {
        return Ok(());
    }
    let message = format!(
        "what came is sha256:{found}, but the image is {}",
        clean(expected)
    );
    Err(Failure::new(message)
        .hint("try again; if it stays so, the operator should run `abbild admin fsck`")
        .into())
}

/// A download that goes on where it was.
struct Download<'a> {
    client: &'a Client,
    path: String,
    file: &'a File,
    /// Bytes that are in the file.
    have: u64,
    /// The entity tag of the file that they belong to.
    version: Option<String>,
}

/// How an attempt ended.
enum End {
    Complete,
    Broken(std::io::Error),
}

impl Download<'_> {
    fn run(&mut self, steps: &Steps, interrupt: &Interrupt) -> anyhow::Result<()> {
        let mut moved = Instant::now();
        loop {
            let before = self.have;
            let mut pause = PAUSE;
            match self.attempt(steps, interrupt) {
                Ok(End::Complete) => return Ok(()),
                Ok(End::Broken(error)) => {
                    if self.have > before {
                        moved = Instant::now();
                    }
                    if moved.elapsed() > PATIENCE {
                        return Err(error).context("the download broke off again and again");
                    }
                }
                Err(error) => {
                    let passes = error.downcast_ref::<client::Error>().is_some_and(|error| {
                        pause = pause.max(error.retry_after().unwrap_or_default());
                        // 409: it is not available yet, which is for the user to know.
                        error.is_transient() && error.status() != Some(409)
                    });
                    if !passes || moved.elapsed() > PATIENCE {
                        return Err(error);
                    }
                }
            }
            interrupt.sleep(pause);
            if interrupt.is_set() {
                return Err(stopped().into());
            }
        }
    }

    fn attempt(&mut self, steps: &Steps, interrupt: &Interrupt) -> anyhow::Result<End> {
        let range = format!("bytes={}-", self.have);
        let mut headers = Vec::new();
        if self.have > 0
            && let Some(version) = &self.version
        {
            headers.extend([("range", range.as_str()), ("if-range", version)]);
        }
        let response = self
            .client
            .run("GET", &self.path, &headers, SendBody::none())?;
        if response.status() != 206 {
            // From the beginning, or of another version.
            self.have = 0;
            self.file.set_len(0).context("writing the file")?;
        }
        self.version = text(response.headers(), "etag");
        let length = text(response.headers(), "content-length").and_then(|l| l.parse().ok());
        let total = length.map(|length: u64| self.have + length);
        match total {
            Some(total) => steps.begin(self.have, total),
            None => steps.set_of(self.have, 0),
        }
        self.receive(response, total, steps, interrupt)
    }

    fn receive(
        &mut self,
        response: Response<Body>,
        total: Option<u64>,
        steps: &Steps,
        interrupt: &Interrupt,
    ) -> anyhow::Result<End> {
        let mut body = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            if interrupt.is_set() {
                return Err(stopped().into());
            }
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Ok(End::Broken(error)),
            };
            self.write(&buffer[..count]).context("writing the file")?;
            steps.set_of(self.have, total.unwrap_or(0));
        }
        match total {
            Some(total) if self.have < total => {
                Ok(End::Broken(std::io::ErrorKind::UnexpectedEof.into()))
            }
            _ => Ok(End::Complete),
        }
    }

    /// Appends `bytes`; where they are zeros the file gets holes.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for block in bytes.chunks(HOLE) {
            if block.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(block, self.have)?;
            }
            self.have += block.len() as u64;
        }
        Ok(())
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
