//! One control plane on a folder of its own, with its node and a client.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use fermion_api::{Client, DeployRequest, Route};
use fermion_bus::Bus;
use fermion_control::{AdminToken, Control, ControlConfig, ControlParts, Error, PackageFacts, Verifier};
use fermion_model::{AppName, Digest, Namespace};
use fermion_package::policy::{Evidence, Gate, PolicyFacts};
use fermion_package::{Store, TrustKeeper};
use fermion_telemetry::{BuildInfo, Echo, LogHub, Telemetry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::node::{self, Fates};

pub(crate) const NOW: u64 = 1_795_000_000;
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Platform {
    pub(crate) folder: Arc<tempfile::TempDir>,
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) control: Control,
    pub(crate) client: Client,
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) fates: Fates,
    pub(crate) logs: LogHub,
    /// Seconds since the Unix epoch, as the platform has them.
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: JoinSet<Result<(), Error>>,
    nodes: JoinSet<()>,
}

/// Metrics at zero.
pub(crate) fn telemetry() -> Arc<Telemetry> {
    Arc::new(Telemetry::new(BuildInfo {
        version: "1.2.3",
        commit: "abc",
    }))
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), LONG).await
    }

    pub(crate) async fn start_in(folder: Arc<tempfile::TempDir>, deploy_wait_max: Duration) -> Self {
        let mut platform = Self::without_node(folder, deploy_wait_max).await;
        platform.start_node();
        platform
    }

    pub(crate) async fn without_node(folder: Arc<tempfile::TempDir>, deploy_wait_max: Duration) -> Self {
        Self::checking(folder, deploy_wait_max, |_| Arc::new(verify)).await
    }

    pub(crate) async fn checking(
        folder: Arc<tempfile::TempDir>,
        deploy_wait_max: Duration,
        verifier: impl FnOnce(&Store) -> Verifier,
    ) -> Self {
        let bus = Bus::open(&folder.path().join("bus.redb")).unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let now = Arc::new(AtomicU64::new(NOW));
        let shown = now.clone();
        let clock = move || SystemTime::UNIX_EPOCH + Duration::from_secs(shown.load(Relaxed));
        let logs = LogHub::new(Arc::new(clock.clone()), Echo::Off).unwrap();
        let control = Control::new(ControlParts {
            bus: bus.clone(),
            store: store.clone(),
            verifier: verifier(&store),
            trust: trust(folder.path()),
            registries: registries(),
            gate: Arc::new(Gate::new(
                folder.path().join("policy"),
                folder.path().join("advisories"),
            )),
            count: Arc::new(|_| ()),
            logs: logs.clone(),
            telemetry: telemetry(),
            traces: fermion_telemetry::Traces::new(&Default::default()),
            clock: Arc::new(clock),
            salt: Arc::new(|| Ok("5a".repeat(16))),
            receivers: fermion_control::Receivers::open(folder.path()).unwrap(),
            token: load_token(folder.path()),
            config: ControlConfig {
                listen: "127.0.0.1:0".parse().unwrap(),
                node: "local".to_owned(),
                version: "1.2.3".to_owned(),
                git: folder.path().join("git"),
                deploy_wait_max,
            },
        })
        .unwrap();
        let bound = control.bind().await.unwrap();
        let address = bound.local_addr().to_string();
        let token = AdminToken::read(&folder.path().join("admin.token")).unwrap();
        let client = Client::new(&address, &token).unwrap();
        let shutdown = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(bound.run(shutdown.clone()));
        let (fates, nodes) = (Fates::default(), JoinSet::new());
        Self {
            folder,
            bus,
            store,
            control,
            client,
            address,
            token,
            fates,
            logs,
            now,
            shutdown,
            server,
            nodes,
        }
    }

    pub(crate) fn start_node(&mut self) {
        self.nodes.spawn(node::run(self.bus.clone(), self.fates.clone()));
    }

    /// Ends everything without any goodbye, as a kill would; gives the folder.
    pub(crate) async fn kill(self) -> Arc<tempfile::TempDir> {
        let Self {
            folder,
            mut server,
            mut nodes,
            control,
            bus,
            ..
        } = self;
        server.shutdown().await;
        nodes.shutdown().await;
        drop((control, bus));
        // The last blocking step may still hold the file for a moment.
        while Bus::open(&folder.path().join("bus.redb")).is_err() {
            tokio::task::yield_now().await;
        }
        folder
    }

    pub(crate) async fn deploy(&self, name: &str, request: &DeployRequest) -> Result<u32, String> {
        let result = self
            .client
            .deploy(&Namespace::default(), &app(name), request)
            .await;
        result
            .map(|result| result.release.number.0)
            .map_err(|error| code(&error))
    }

    /// `r2 failed X, r1 active current`
    pub(crate) async fn releases(&self, name: &str) -> String {
        let releases = self
            .client
            .releases(&Namespace::default(), &app(name))
            .await
            .unwrap();
        let words = releases.iter().map(|release| {
            let state = serde_json::to_value(release.state).unwrap();
            let mut text = format!("{} {}", release.number, state.as_str().unwrap());
            if let Some(problem) = &release.problem {
                text.push_str(&format!(" {}", problem.code));
            }
            if release.current {
                text.push_str(" current");
            }
            text
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// Writes `request` as it stands and reads until the server closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// A request with the token, JSON media type and a body.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> String {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        );
        self.raw(head.as_bytes()).await
    }
}

pub(crate) fn load_token(folder: &Path) -> AdminToken {
    let random = |bytes: &mut [u8]| {
        bytes.fill(0x5a);
        Ok(())
    };
    AdminToken::load_or_create(&folder.join("admin.token"), random).unwrap()
}

/// Packages from 200 up are untrusted; those from 100 up ask for a config key.
/// A keeper of a folder in which nobody is trusted.
pub(crate) fn trust(folder: &std::path::Path) -> Arc<TrustKeeper> {
    Arc::new(TrustKeeper::open(&folder.join("keys"), SystemTime::UNIX_EPOCH).unwrap())
}

fn verify(digest: &Digest, _admitted: Option<SystemTime>) -> Result<PackageFacts, fermion_package::Error> {
    let number = digest.as_bytes()[0];
    if number >= 200 {
        return Err(fermion_package::Error::SigUntrusted {
            digest: *digest,
            why: "nobody is trusted here".to_owned(),
        });
    }
    let config = (number >= 100)
        .then(|| "currency".to_owned())
        .into_iter()
        .collect();
    let version = semver::Version::new(1, u64::from(number), 0);
    Ok(PackageFacts {
        name: "acme/thing".parse().unwrap(),
        version: version.clone(),
        config,
        evidence: Evidence::of(facts(digest, &version)),
        judged_at: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
    })
}

/// What the gate is told of a package.
fn facts(digest: &Digest, version: &semver::Version) -> PolicyFacts {
    let text = include_bytes!("../../../fermion-package/src/policy/baseline.json");
    PolicyFacts {
        name: "acme/thing".to_owned(),
        version: version.to_string(),
        digest: *digest,
        ..PolicyFacts::parse(text).unwrap()
    }
}

pub(crate) fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

pub(crate) fn package(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

/// A client that reaches no registry but those of this machine.
pub(crate) fn registries() -> fermion_package::remote::Client {
    fermion_package::remote::Client::new(Default::default()).unwrap()
}

pub(crate) fn request(number: u8, path: &str) -> DeployRequest {
    let route = Route {
        host: None,
        path: path.to_owned(),
        methods: vec![],
        strip_prefix: false,
    };
    DeployRequest {
        digest: Some(package(number)),
        source: None,
        refs: None,
        routes: vec![route],
        config: Default::default(),
        objectives: None,
        expected: None,
        rollout: None,
        retry: false,
        during_freeze: false,
        override_policy: None,
    }
}

pub(crate) fn code(error: &fermion_api::Error) -> String {
    error.code().map_or_else(|| panic!("{error:?}"), str::to_owned)
}
