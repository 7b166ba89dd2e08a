//! Sending an image file: resumable over broken connections, restarts of the service and kills of
//! this program.
//!
//! ```text
//!             ┌───────────── no state, or the service has forgotten it
//!             ▼
//!   content known? ── yes ──▶ POST /v2/images: nothing is sent
//!             │ no
//!             ▼
//!   POST /v2/uploads ──▶ POST /v2/images ──▶ PATCH piece ──▶ … ──▶ all bytes there
//!             ▲ saved ▲           ▲ saved       │    ▲
//!             │                                 │    └── HEAD: where are we? ◀── pause
//!   state ────┴──── HEAD, GET image ────────────┘ fault                            ▲
//!                                               └─────────── passes by itself ─────┘
//! ```
//!
//! The image is created before the first byte is sent, so that it can be seen receiving and a
//! hopeless one is refused early. What the service says it has is the only truth about the offset.

pub mod content;
pub mod state;
pub mod tus;

use std::fs::File;
use std::time::{Duration, Instant};

use abbild_api::{CreateImage, Id, Image, ImageList, ImageOne, ImageStatus, Stage};

use crate::client::{self, Client};
use crate::failure::{Failure, INTERRUPTED, with_causes};
use crate::interrupt::Interrupt;
use crate::print::clean;
use crate::progress::Steps;

use content::Content;
use state::{Identity, State, StateFile};
use tus::Piece;

/// Bytes per request: small enough that a proxy which buffers requests copes.
const PIECE: u64 = 64 << 20;

/// How long faults are put up with.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The first pause; each further one is twice as long, up to 8 seconds.
    pub first_pause: Duration,
    /// Time without any progress after which to give up.
    pub limit: Duration,
}

impl Default for Patience {
    /// Long enough for a service to be upgraded and restarted.
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(500),
            limit: Duration::from_secs(300),
        }
    }
}

/// One image file on its way to the service.
pub struct Upload<'a> {
    /// The service.
    pub client: &'a Client,
    /// The image file.
    pub image_file: &'a File,
    /// What is sent of it.
    pub content: &'a Content,
    /// What it is and shall be called.
    pub identity: &'a Identity,
    /// The image to create; `upload` is filled in here.
    pub request: CreateImage,
    /// Where progress is shown.
    pub steps: &'a mut Steps,
    /// Whether to stop.
    pub interrupt: &'a Interrupt,
    /// How long faults are put up with.
    pub patience: Patience,
}

/// Where an upload stands.
struct Position {
    state: State,
    offset: u64,
}

/// What a stored state is still good for.
enum Resumed {
    /// Bytes are missing.
    At(Position),
    /// Nothing is left to send.
    Complete(Id),
    /// Nothing.
    Gone,
}

impl Upload<'_> {
    /// Sends what the service does not have yet and returns the image. `keep` is the state, which
    /// held `stored`; it is returned, to be removed when the image needs no more attention.
    ///
    /// # Errors
    /// If the service refuses, faults outlast the patience, the file changes, or on Ctrl-C.
    pub fn run(
        &mut self,
        mut keep: StateFile,
        stored: Option<State>,
    ) -> anyhow::Result<(Id, StateFile)> {
        self.check_unmodified()?;
        let resumed = match stored {
            Some(state) if self.is_another(&state) => self.forget(&state)?,
            Some(state) => self.resume(state)?,
            None => Resumed::Gone,
        };
        let mut position = match resumed {
            Resumed::Complete(image) => {
                return Ok((image, keep));
            }
            Resumed::At(position) => {
                let percent = percent(position.offset, self.content.size);
                self.steps.note(&format!("continuing at {percent}%"));
                position
            }
            Resumed::Gone => match self.create_known(&mut keep)? {
                Some(image) => return Ok((image, keep)),
                None => self.begin(&mut keep)?,
            },
        };
        let image = match position.state.image {
            Some(image) => image,
            None => match self.create_image(&mut position.state, &mut keep) {
                Ok(image) => image,
                Err(error) => {
                    self.abandon(&position.state);
                    keep.remove()?;
                    return Err(error);
                }
            },
        };
        match self.transfer(&position.state, image, position.offset) {
            Ok(()) => Ok((image, keep)),
            Err(Ended::Resumable(error)) => Err(error),
            Err(Ended::Useless(error)) => {
                self.abandon(&position.state);
                keep.remove()?;
                Err(error)
            }
        }
    }

    fn begin(&mut self, keep: &mut StateFile) -> anyhow::Result<Position> {
        let file_name = self.identity.path.file_name().unwrap_or_default();
        let file_name = file_name.to_string_lossy();
        let Content { size, digest, .. } = self.content;
        let upload = tus::create(self.client, *size, &file_name, digest)?;
        let state = self.state(upload, None);
        keep.save(&state)?;
        Ok(Position { state, offset: 0 })
    }

    fn state(&self, upload: String, image: Option<Id>) -> State {
        State {
            upload,
            image,
            file: self.identity.path.display().to_string(),
            digest: Some(self.content.digest.clone()),
            compact: self.content.compact,
        }
    }

    /// Makes the image without sending anything, if the account has its content already.
    fn create_known(&mut self, keep: &mut StateFile) -> anyhow::Result<Option<Id>> {
        let digest = format!("sha256:{}", self.content.digest);
        let query = format!("/v2/images?per_page=1&digest={digest}");
        let known: ImageList = self.client.get(&query)?;
        if known.images.is_empty() {
            return Ok(None);
        }
        self.request.digest = Some(digest);
        let created = self.client.post::<ImageOne>("/v2/images", &self.request);
        self.request.digest = None;
        match created {
            Ok(created) => {
                let id = created.image.id;
                keep.save(&self.state(String::new(), Some(id)))?;
                self.steps
                    .note("the account has this content already: nothing is sent");
                Ok(Some(id))
            }
            // It is gone by now, or the service is older and does not know what was asked. If
            // anything else is wrong, it is wrong with an upload as well.
            Err(error) if error.status() == Some(422) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether `state` is of other bytes than those that would be sent now.
    fn is_another(&self, state: &State) -> bool {
        state.compact != self.content.compact
            || state
                .digest
                .as_ref()
                .is_some_and(|digest| *digest != self.content.digest)
    }

    /// Gives up what an earlier run began.
    fn forget(&self, state: &State) -> client::Result<Resumed> {
        self.abandon(state);
        if let Some(image) = state.image
            && self.find_image(image)?.is_some()
        {
            self.client.delete(&format!("/v2/images/{image}"))?;
        }
        Ok(Resumed::Gone)
    }

    fn check_unmodified(&self) -> Result<(), Failure> {
        if self.identity.matches(self.image_file) {
            return Ok(());
        }
        let message = "the file was modified while it was being sent";
        let hint = "run the command again to send it as it is now";
        Err(Failure::new(message).hint(hint))
    }

    fn create_image(&mut self, state: &mut State, keep: &mut StateFile) -> anyhow::Result<Id> {
        self.request.upload = Some(tus::id(&state.upload).to_owned());
        let created: ImageOne = self.client.post("/v2/images", &self.request)?;
        state.image = Some(created.image.id);
        keep.save(state)?;
        Ok(created.image.id)
    }

    /// Asks the service what it still knows of `state`.
    fn resume(&self, mut state: State) -> client::Result<Resumed> {
        let image = match state.image {
            Some(id) => self.find_image(id)?,
            None => None,
        };
        let offset = self.offset_of(&state)?;
        Ok(match (image, offset) {
            (Some(image), _) if image.status == ImageStatus::Deleted => Resumed::Gone,
            (Some(image), _) if has_all_bytes(&image) => Resumed::Complete(image.id),
            (Some(image), None) => {
                // Its bytes expired; an image that can never be completed is of no use to anyone.
                self.client.delete(&format!("/v2/images/{}", image.id))?;
                Resumed::Gone
            }
            (None, None) => Resumed::Gone,
            (image, Some(offset)) => {
                state.image = image.map(|image| image.id);
                Resumed::At(Position { state, offset })
            }
        })
    }

    /// Where the service is with the upload; `None` if there is none.
    fn offset_of(&self, state: &State) -> client::Result<Option<u64>> {
        if state.upload.is_empty() {
            return Ok(None);
        }
        match tus::offset(self.client, &state.upload) {
            Ok(offset) => Ok(Some(offset)),
            Err(error) if matches!(error.status(), Some(403 | 404 | 410)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn find_image(&self, id: Id) -> client::Result<Option<Image>> {
        match self.client.get::<ImageOne>(&format!("/v2/images/{id}")) {
            Ok(answer) => Ok(Some(answer.image)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn transfer(&mut self, state: &State, image: Id, from: u64) -> Result<(), Ended> {
        let size = self.content.size;
        let mut offset = from;
        self.steps.step("sending");
        self.steps.begin(offset, size);
        while offset < size {
            if !self.content.compact {
                self.check_unmodified()
                    .map_err(|failure| Ended::Useless(failure.into()))?;
            }
            let steps = &*self.steps;
            let sent = |position| steps.set(position);
            let length = PIECE.min(size - offset);
            let mut piece = Piece::new(&self.content.file, offset, length, &sent, self.interrupt);
            match tus::append(self.client, &state.upload, &mut piece) {
                Ok(now) if now > offset && now <= size => offset = now,
                Ok(now) => {
                    let problem = format!("offset {now} after {offset} of {size}");
                    return Err(Ended::Resumable(
                        client::Error::malformed("PATCH", problem).into(),
                    ));
                }
                Err(_) if self.interrupt.is_set() => return Err(self.interrupted(offset)),
                Err(error) => {
                    if let Some(fault) = piece.fault() {
                        let error = anyhow::Error::new(fault).context("reading the image file");
                        return Err(Ended::Resumable(error));
                    }
                    offset = self.recover(error, state, image, offset)?;
                }
            }
            self.steps.set(offset);
        }
        Ok(())
    }

    /// Waits until the service can be asked where it is, and returns that.
    fn recover(
        &mut self,
        mut error: client::Error,
        state: &State,
        image: Id,
        before: u64,
    ) -> Result<u64, Ended> {
        let begin = Instant::now();
        let mut pause = self.patience.first_pause;
        loop {
            self.refused(image)?;
            if !error.is_transient() || begin.elapsed() >= self.patience.limit {
                return Err(match error.status() {
                    Some(404 | 410 | 413 | 422) => Ended::Useless(error.into()),
                    _ => Ended::Resumable(error.into()),
                });
            }
            let seconds = pause.as_secs_f32();
            let what = with_causes(&error);
            self.steps
                .note(&format!("{what}; trying again in {seconds:.1} s"));
            self.interrupt.sleep(pause);
            if self.interrupt.is_set() {
                return Err(self.interrupted(before));
            }
            pause = (pause * 2).min(Duration::from_secs(8));
            match tus::offset(self.client, &state.upload) {
                Ok(offset) => {
                    self.steps.begin(offset, self.content.size);
                    return Ok(offset);
                }
                Err(next) => error = next,
            }
        }
    }

    /// Whether the service gave the image up while its bytes were arriving.
    fn refused(&self, image: Id) -> Result<(), Ended> {
        match self.find_image(image) {
            Ok(Some(image)) if image.status == ImageStatus::Deleted => {
                let reason = clean(&image.error_message);
                let message = if reason.is_empty() {
                    format!("image {} was deleted meanwhile", image.id)
                } else {
                    format!("the image was refused: {reason}")
                };
                Err(Ended::Useless(Failure::new(message).into()))
            }
            // Anything else is not for this question to answer.
            _ => Ok(()),
        }
    }

    fn interrupted(&self, offset: u64) -> Ended {
        let percent = percent(offset, self.content.size);
        let failure = Failure::new(format!("stopped at {percent}%"))
            .hint("run the same command again to continue from there")
            .code(INTERRUPTED);
        Ended::Resumable(failure.into())
    }

    /// Frees the service's space; if that fails, the upload expires there by itself.
    fn abandon(&self, state: &State) {
        if state.upload.is_empty() {
            return;
        }
        if let Err(error) = tus::terminate(self.client, &state.upload)
            && error.status().is_none()
        {
            self.steps.note(&format!(
                "the incomplete upload stays there until it expires: {error}"
            ));
        }
    }
}

/// How sending ended before the last byte.
enum Ended {
    /// The same command can continue.
    Resumable(anyhow::Error),
    /// What was sent is worth nothing.
    Useless(anyhow::Error),
}

fn has_all_bytes(image: &Image) -> bool {
    let receiving = image
        .extra
        .as_ref()
        .is_none_or(|extra| extra.stage == Stage::Receiving);
    image.status != ImageStatus::New || !receiving
}

/// `done` of `total` in whole percent, rounded down.
pub fn percent(done: u64, total: u64) -> u64 {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    u64::try_from(percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_rounded_down_and_never_fails() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(43_999, 100_000), 43);
        assert_eq!(percent(7, 7), 100);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
