//! An S3 server of its own for a test: `s3s-fs` in this process, with one bucket for each region,
//! whose answers can be made to fail.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abbild_service::config::S3Config;
use axum::Router;
use axum::error_handling::HandleError;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Always with 503.
    Erring,
    /// Never.
    Stalling,
}

struct State {
    mood: Mutex<Mood>,
    /// `METHOD /path?query` of everything that was asked.
    requests: Mutex<Vec<String>>,
}

pub struct S3 {
    endpoint: String,
    directory: TempDir,
    state: Arc<State>,
    /// Ends with the test.
    _runtime: Runtime,
}

impl S3 {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for bucket in ["hal1", "nbg1"] {
            std::fs::create_dir(directory.path().join(bucket)).unwrap();
        }
        let files = s3s_fs::FileSystem::new(directory.path()).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = HandleError::new(service.build(), async |error: s3s::HttpError| {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}"))
        });
        let state = Arc::new(State {
            mood: Mutex::new(Mood::Well),
            requests: Mutex::default(),
        });
        let seen = state.clone();
        let router = Router::new()
            .fallback_service(service)
            .layer(middleware::from_fn(move |request, next| {
                answer(seen.clone(), request, next)
            }));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)));
        let listener = listener.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async { axum::serve(listener, router).await });
        Self {
            endpoint,
            directory,
            state,
            _runtime: runtime,
        }
    }

    /// How a region keeps its images here.
    pub fn settings(&self, bucket: &str) -> S3Config {
        toml::from_str(&self.text(bucket)).unwrap()
    }

    /// As TOML; impatient, so that tests see failures.
    pub fn text(&self, bucket: &str) -> String {
        format!(
            "endpoint = '{}'\nbucket = '{bucket}'\naccess_key_id = '{KEY}'\n\
             secret_access_key = '{SECRET}'\nrequest_seconds = 3\npatience_seconds = 5\n",
            self.endpoint
        )
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.state.requests.lock().unwrap().len()
    }

    /// How many of them brought an image, or a part of one.
    pub fn writes(&self) -> usize {
        let requests = self.state.requests.lock().unwrap();
        requests.iter().filter(|r| r.starts_with("PUT ")).count()
    }

    /// Where the server keeps the objects of a bucket.
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

async fn answer(state: Arc<State>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    state.requests.lock().unwrap().push(line);
    let mood = *state.mood.lock().unwrap();
    match mood {
        Mood::Well => next.run(request).await,
        Mood::Erring => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Stalling => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
