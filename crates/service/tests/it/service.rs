//! A service of its own for each test, on a free port and in a temporary directory. Its database
//! is a file there, or one of its own on the PostgreSQL server that `ABBILD_TEST_POSTGRES` names
//! (see `scripts/with-postgres`). With PostgreSQL, images are kept in buckets of an S3 service, so
//! that all tests run on both pairs of database and store.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use abbild_service::operator::Operator;
use abbild_service::{Addresses, Config};
use serde_json::{Value, json};
use sqlx::{AnyPool, AssertSqlSafe};
use tempfile::TempDir;
use tokio::sync::oneshot;
use ureq::Agent;
use ureq::http::{Method, Request, Response};

use crate::s3::S3;

/// Every image with a partition table is accepted, so that tests need no operating system.
const LENIENT: &str = r#"
[requirements]
operating-system = "note"
root-filesystem = "note"
cloud-init = "note"
datasource-order = "note"
sshd = "note"
"#;

pub struct Service {
    pub directory: TempDir,
    pub url: String,
    pub token: String,
    /// URL of its database on the PostgreSQL server, if there is one.
    database: Option<String>,
    pub addresses: Option<Addresses>,
    /// What keeps its images, if that is no directory.
    pub s3: Option<Arc<S3>>,
    /// Where its uploads are, if that is another service's directory.
    shared: Option<PathBuf>,
    agent: Agent,
    settings: String,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// An answer: status, headers, and the body as text.
pub type Answer = Response<String>;

impl Service {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With further settings, in TOML.
    pub fn start_with(settings: &str) -> Self {
        let s3 = std::env::var_os("ABBILD_TEST_POSTGRES").map(|_| S3::start());
        Self::start_on(s3, settings)
    }

    /// With images in buckets of `s3`.
    pub fn start_on(s3: Option<S3>, settings: &str) -> Self {
        let mut service = Self {
            s3: s3.map(Arc::new),
            shared: None,
            settings: settings.to_owned(),
            directory: tempfile::tempdir().unwrap(),
            url: String::new(),
            token: String::new(),
            database: std::env::var("ABBILD_TEST_POSTGRES")
                .ok()
                .map(|server| create_database(&server)),
            addresses: None,
            agent: agent(),
            running: None,
        };
        service.resume();
        service
    }

    /// A further process on the same database, buckets and uploads. `None` if they are on SQLite,
    /// which takes one.
    pub fn sibling(&self) -> Option<Self> {
        let mut service = Self {
            directory: tempfile::tempdir().unwrap(),
            url: String::new(),
            token: self.token.clone(),
            database: Some(self.database.clone()?),
            s3: self.s3.clone(),
            addresses: None,
            shared: Some(self.shared.clone().unwrap_or_else(|| self.data())),
            agent: self.agent.clone(),
            settings: self.settings.clone(),
            running: None,
        };
        service.resume();
        Some(service)
    }

    /// Starts the service on the data that is there.
    pub fn resume(&mut self) {
        let mut config: Config = toml::from_str(&format!("{}\n{LENIENT}", self.settings)).unwrap();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        if !self.settings.contains("requests_per_") {
            // Tests ask far more often than people do.
            config.limits.requests_per_hour = 0;
            config.limits.requests_per_minute = 0;
        }
        config.data = self.data();
        config.shared = self.shared.clone();
        self.set_stores(&mut config);
        config.database = self.database.clone().map(Into::into);
        config.vm.kvm = false;
        // Tests run beside each other, and none may depend on an address that another has.
        config.vm.first_address = Ipv4Addr::new(127, 90, rand::random(), 2);
        config.vm.addresses = 200;
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime
                .block_on(abbild_service::serve(
                    config,
                    async {
                        let _ = stopped.await;
                    },
                    |s| started.send((s.addresses, s.first_token.clone())).unwrap(),
                ))
                .unwrap();
        });
        let (addresses, token) = ready.recv_timeout(Duration::from_secs(30)).unwrap();
        self.url = format!("http://{}", addresses.plain);
        self.addresses = Some(addresses);
        self.token = token.unwrap_or_else(|| self.token.clone());
        self.running = Some((stop, thread));
    }

    fn set_stores(&self, config: &mut Config) {
        if let Some(s3) = &self.s3 {
            for region in &mut config.regions {
                region.s3 = Some(s3.settings(&region.slug));
            }
        }
    }

    /// Other settings, from the next start on.
    pub fn set(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
    }

    pub fn stop(&mut self) {
        // Idle connections would hold up the end.
        self.agent = agent();
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }

    pub fn database_url(&self) -> String {
        self.database
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data().join("abbild.db").display()))
    }

    /// What leads to its database and stores.
    pub fn config(&self) -> Config {
        let mut config: Config = toml::from_str("").unwrap();
        config.data = self.data();
        self.set_stores(&mut config);
        if self.database_url().starts_with("postgres") {
            config.database = Some(self.database_url().into());
        }
        config
    }

    /// What an operator does on its machine.
    pub fn operate<T>(&self, work: impl AsyncFnOnce(&Operator) -> T) -> T {
        operate(&self.config(), work)
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Any request; `headers` as pairs.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{path}", self.url));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_vec()).unwrap();
        let (parts, mut body) = self.agent.run(request).unwrap().into_parts();
        let bytes = body.read_to_vec().unwrap();
        Response::from_parts(parts, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The lines of a `GET` as they come.
    pub fn lines(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> impl Iterator<Item = String> + use<> {
        use std::io::BufRead;
        let mut request = Request::get(format!("{}{path}", self.url));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.agent.run(request.body(()).unwrap()).unwrap();
        assert_eq!(answer.status(), 200);
        let reader = answer.into_body().into_reader();
        std::io::BufReader::new(reader)
            .lines()
            .map_while(Result::ok)
    }

    /// A `GET` whose answer is not text. The body is what came before the connection ended.
    pub fn download(&self, path: &str, headers: &[(&str, &str)]) -> Response<Vec<u8>> {
        let mut request = Request::get(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.agent.run(request.body(()).unwrap()).unwrap();
        let (parts, body) = answer.into_parts();
        let mut bytes = Vec::new();
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
        Response::from_parts(parts, bytes)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[], body.to_string().as_bytes())
    }

    /// The body of a `GET` that succeeds.
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status(), 200, "{}", answer.body());
        body(&answer)
    }

    /// Makes an upload and returns its id.
    pub fn upload(&self, length: usize) -> String {
        let length = length.to_string();
        let headers = [
            ("tus-resumable", "1.0.0"),
            ("upload-length", length.as_str()),
        ];
        let answer = self.send("POST", "/v2/uploads", &headers, b"");
        assert_eq!(answer.status(), 201, "{}", answer.body());
        let location = answer.headers()["location"].to_str().unwrap();
        location.rsplit('/').next().unwrap().to_owned()
    }

    pub fn patch(&self, upload: &str, offset: usize, bytes: &[u8]) -> Answer {
        let offset = offset.to_string();
        let headers = [
            ("tus-resumable", "1.0.0"),
            ("upload-offset", offset.as_str()),
            ("content-type", "application/offset+octet-stream"),
        ];
        self.send("PATCH", &format!("/v2/uploads/{upload}"), &headers, bytes)
    }

    /// Uploads `bytes` as an image and returns it once its import has ended.
    pub fn import(&self, name: &str, region: &str, bytes: &[u8]) -> Value {
        let upload = self.upload(bytes.len());
        let request = json!({"name": name, "upload": upload, "region": region});
        let answer = self.call("POST", "/v2/images", &request);
        assert_eq!(answer.status(), 202, "{}", answer.body());
        let id = body(&answer)["image"]["id"].as_i64().unwrap();
        if !bytes.is_empty() {
            // 422 if the first bytes show what the import would find.
            let status = self.patch(&upload, 0, bytes).status();
            assert!(matches!(status.as_u16(), 204 | 422), "{status}");
        }
        self.ended(id)
    }

    /// The image, once its import has ended.
    pub fn ended(&self, id: i64) -> Value {
        wait_for(|| {
            let image = self.json(&format!("/v2/images/{id}"))["image"].clone();
            let status = image["status"].as_str().unwrap();
            matches!(status, "available" | "deleted").then_some(image)
        })
    }

    /// Files of an import go a moment after everybody can see that it has ended.
    #[track_caller]
    pub fn nothing_left(&self) {
        wait_for(|| self.leftovers().is_empty().then_some(()));
    }

    /// Files that exist only while an import runs.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let regions =
            ["hal1", "nbg1"].map(|r| self.data().join("regions").join(r).join("incoming"));
        [self.data().join("uploads"), self.data().join("staging")]
            .into_iter()
            .chain(regions)
            .flat_map(|directory| std::fs::read_dir(directory).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    /// Bytes that the database counts for all uploads.
    pub fn received(&self) -> i64 {
        let sum = "SELECT CAST(COALESCE(SUM(received_bytes), 0) AS BIGINT) FROM uploads";
        self.with_database(async |pool| {
            let sum = sqlx::query_scalar(sum).fetch_one(pool).await;
            sum.unwrap()
        })
    }

    /// Changes the database behind the service's back.
    pub fn execute(&self, text: &str) {
        self.with_database(async |pool| {
            let text = AssertSqlSafe(text.to_owned());
            sqlx::raw_sql(text).execute(pool).await.unwrap();
        });
    }

    /// Works on the database beside the service.
    pub fn with_database<T>(&self, work: impl AsyncFnOnce(&AnyPool) -> T) -> T {
        block_on(async {
            sqlx::any::install_default_drivers();
            let pool = AnyPool::connect(&self.database_url()).await.unwrap();
            let result = work(&pool).await;
            pool.close().await;
            result
        })
    }

    /// How many images the store of a region has.
    pub fn stored(&self, region: &str) -> usize {
        self.objects(region).len()
    }

    /// The files that hold them.
    pub fn objects(&self, region: &str) -> Vec<PathBuf> {
        match &self.s3 {
            Some(s3) => files(&s3.bucket(region).join("images")),
            None => self.copies(region),
        }
    }

    /// The images of a region that lie on this host, because its store is a directory or because
    /// they were used.
    pub fn copies(&self, region: &str) -> Vec<PathBuf> {
        files(&self.data().join("regions").join(region).join("images"))
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    // A bucket has no directories until there is something in them.
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Makes an empty database on a PostgreSQL server, and returns its URL.
fn create_database(server: &str) -> String {
    use sqlx::Connection;
    let name = format!("test_{:032x}", rand::random::<u128>());
    let url = |database: &str| {
        let (host, query) = server.split_once('?').unwrap();
        format!("{host}/{database}?{query}")
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut admin = sqlx::PgConnection::connect(&url("postgres")).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
    });
    url(&name)
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
        // Machines outlive the service, but not the test.
        for region in ["hal1", "nbg1"] {
            let machines = std::fs::read_dir(self.data().join("regions").join(region).join("vms"));
            for machine in machines.into_iter().flatten().flatten() {
                if let Ok(pid) = std::fs::read_to_string(machine.path().join("qemu.pid")) {
                    let _ = std::process::Command::new("kill").arg(pid.trim()).status();
                }
            }
        }
    }
}

/// What an operator does with a configuration.
pub fn operate<T>(config: &Config, work: impl AsyncFnOnce(&Operator) -> T) -> T {
    block_on(async {
        let operator = Operator::open(config).await.unwrap();
        work(&operator).await
    })
}

/// Waits for what is no request.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

/// Every answer is an answer, redirections too.
fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into()
}

pub fn body(answer: &Answer) -> Value {
    serde_json::from_str(answer.body()).unwrap_or_else(|e| panic!("{e}: {}", answer.body()))
}

/// Waits until `condition` has a value.
#[track_caller]
pub fn wait_for<T>(condition: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A raw disk of `mib` MiB with one MBR partition whose first bytes are `mark`.
pub fn raw_disk(mib: usize, mark: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; mib << 20];
    let sectors = u32::try_from((mib << 20) / 512 - 2048).unwrap();
    disk[446] = 0x80;
    disk[450] = 0x83;
    disk[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    disk[458..462].copy_from_slice(&sectors.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[1 << 20..][..mark.len()].copy_from_slice(mark);
    disk
}
