//! A control plane for tests of parts that no client reaches: on a bus in a folder, with a clock that is told the time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use fermion_bus::{Bus, Expect};
use fermion_model::release::RELEASE_SCHEMA;
use fermion_model::{Digest, Namespace, Release, ReleaseNumber};
use fermion_package::policy::Gate;
use fermion_package::{Store, TrustKeeper};
use fermion_telemetry::{BuildInfo, Echo, LogHub, Telemetry};

use crate::documents::{AppDocument, Change, ChangeKind, release_key};
use crate::{AdminToken, Control, ControlConfig, ControlParts, Receivers};

/// The time that a control plane is told.
#[derive(Debug, Clone)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, SeqCst);
    }
}

pub(crate) fn control(folder: &Path, hands: &Hands, receivers: Receivers) -> Control {
    let store = Store::open(&folder.join("store")).unwrap();
    let hands = hands.clone();
    let clock = move || SystemTime::UNIX_EPOCH + Duration::from_secs(hands.0.load(SeqCst));
    let random = |bytes: &mut [u8]| {
        bytes.fill(0x5a);
        Ok(())
    };
    Control::new(ControlParts {
        bus: open(folder),
        store,
        verifier: Arc::new(|_, _| panic!("nothing is deployed here")),
        trust: Arc::new(TrustKeeper::open(&folder.join("keys"), SystemTime::UNIX_EPOCH).unwrap()),
        registries: fermion_package::remote::Client::new(Default::default()).unwrap(),
        gate: Arc::new(Gate::new(folder.join("policy"), folder.join("advisories"))),
        count: Arc::new(|_| ()),
        logs: LogHub::new(Arc::new(|| SystemTime::UNIX_EPOCH), Echo::Off).unwrap(),
        telemetry: Arc::new(Telemetry::new(BuildInfo {
            version: "1.2.3",
            commit: "",
        })),
        traces: fermion_telemetry::Traces::new(&Default::default()),
        clock: Arc::new(clock),
        salt: Arc::new(|| Ok("5a".repeat(16))),
        receivers,
        token: AdminToken::load_or_create(&folder.join("admin.token"), random).unwrap(),
        config: ControlConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            node: "local".to_owned(),
            version: "1.2.3".to_owned(),
            git: folder.join("git"),
            deploy_wait_max: Duration::from_secs(1),
        },
    })
    .unwrap()
}

/// The last blocking step of a control plane that was dropped may still hold the file for a moment.
fn open(folder: &Path) -> Bus {
    loop {
        match Bus::open(&folder.join("bus.redb")) {
            Ok(bus) => return bus,
            Err(fermion_bus::Error::InUse { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// An app `tax` whose only release serves, with the objectives that it gets without asking.
pub(crate) async fn app(control: &Control) {
    let change = Change {
        at: 1_000,
        by: "operator".to_owned(),
        kind: ChangeKind::Deploy,
    };
    let release = Release {
        schema: RELEASE_SCHEMA,
        namespace: Namespace::default(),
        app: "tax".parse().unwrap(),
        number: ReleaseNumber(1),
        package: "acme/tax".parse().unwrap(),
        version: semver::Version::new(1, 0, 0),
        digest: Digest::from_bytes([7; 32]),
        routes: Vec::new(),
        config: Default::default(),
        created_at: 1_000,
        created_by: "operator".to_owned(),
        policy_override: None,
        rollout: None,
        objectives: None,
        owner: Some("team-checkout".to_owned()),
        runbook: Some("https://runbooks.example.com/tax".to_owned()),
    };
    let mut document = AppDocument::new(Namespace::default(), release.app.clone(), change.clone());
    document.latest = release.number;
    document.activate(release.number, change);
    document.mark_good(release.number);
    let key = release_key(&release.namespace, &release.app, release.number);
    control.bus().put_json(&key, &release, Expect::Any).await.unwrap();
    let key = document.key();
    control
        .bus()
        .put_json(&key, &document, Expect::Any)
        .await
        .unwrap();
}
