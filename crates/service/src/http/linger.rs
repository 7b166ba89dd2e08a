//! Answering a request whose body is still being sent, so that the client reads the answer.
//!
//! A connection that is closed while bytes are on their way is reset, and a reset can destroy an
//! answer that the client has not read yet, or its next request. So a body that a handler leaves
//! unread is not dropped: the answer goes out at once, and what comes is thrown away for a while.
//! After a short body the connection is as good as before; after a long one it is closed ("lingering
//! close"). Clients that read while they send see the answer immediately; the others when their next
//! write fails, with the answer received.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Version};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// Bytes that are thrown away: if this is the rest, the connection stays usable.
const MAX_BYTES: usize = 8 << 20;

/// After an error the rest of a body up to this size is waited for, because that is quicker than
/// another connection. In bytes.
const SHORT: u64 = 1 << 20;

/// How long a connection is kept open for a client that goes on sending.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the bodies of requests linger.
pub async fn layer(request: Request, next: Next) -> Response {
    let http1 = request.version() < Version::HTTP_2;
    // Draining would ask a client to send that waits to be asked.
    let waits = request.headers().contains_key(EXPECT);
    let size = request.body().size_hint().upper();
    let short = size.is_some_and(|size| size == 0 || (size <= SHORT && !waits));
    let request = match http1 {
        true => request.map(|body| {
            Body::new(Lingering {
                body: Some(body),
                asked: !waits,
            })
        }),
        // Streams are ended one by one, without harm to the answer.
        false => request,
    };
    let mut response = next.run(request).await;
    let early = response.status().is_client_error() || response.status().is_server_error();
    if http1 && early && !short {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that is drained for a while when it is dropped before its end.
struct Lingering {
    /// Absent at the end.
    body: Option<Body>,
    /// Whether the client sends, or has been asked to.
    asked: bool,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.asked = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && self.asked
            && !body.is_end_stream()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(PATIENCE, drain(body)));
        }
    }
}

async fn drain(mut body: Body) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > MAX_BYTES {
            // No more is read; the client notices that nobody does, or reads the answer.
            tokio::time::sleep(PATIENCE).await;
        }
    }
}
