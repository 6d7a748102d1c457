//! `fermion registry`: the registry alone, and its tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use fermion_control::AdminToken;
use fermion_package::{Quotas, Store};
use fermion_registry::{Access, Anonymous, Collector, Listen, NewToken, Registry, TokenFile, TokenView};
use fermion_telemetry::Clock as _;
use tokio_util::sync::CancellationToken;

use crate::cli::{AnonymousRight, QuotaArgs, RegistryAction, RegistryServe, RegistryServerArgs, TokenAction};
use crate::data::DataDirectory;
use crate::output;
use crate::signals::Signals;
use crate::sink::WallClock;

/// Serves until a signal, or does what the action says.
pub(crate) async fn run(arguments: RegistryServerArgs, json: bool) -> Result<()> {
    let data = DataDirectory::open(&arguments.data.directory)?;
    match arguments.action {
        None => serve(&data, &arguments.serve, json).await,
        Some(RegistryAction::Token(action)) => token(&data, action, json),
    }
}

/// The registry over a store, for whoever has the data directory's admin token or one of its own tokens.
pub(crate) fn registry(data: &DataDirectory, store: Store, anonymous: Anonymous) -> Result<Registry> {
    let admin = AdminToken::load_or_create(&data.token(), random)?;
    let access = Access::new(
        Arc::new(move |secret| admin.matches(secret)),
        TokenFile::new(&data.registry_tokens()),
        anonymous,
    );
    Ok(Registry::new(
        store,
        access,
        Arc::new(|| WallClock.now()),
        Arc::new(random),
    ))
}

fn random(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(std::io::Error::other)
}

async fn serve(data: &DataDirectory, arguments: &RegistryServe, json: bool) -> Result<()> {
    let signals = Signals::install()?;
    let store = Store::open_with(&data.store(), quotas(&arguments.quotas))?;
    let anonymous = match arguments.anonymous {
        AnonymousRight::Nothing => Anonymous::Nothing,
        AnonymousRight::Pull => Anonymous::Pull,
        AnonymousRight::Push => Anonymous::Push,
    };
    let registry = registry(data, store.clone(), anonymous)?;
    let bound = registry
        .bind(Listen {
            address: arguments.listen,
            is_plain_http_wanted: arguments.plain_http,
        })
        .await?;
    let address = bound.local_addr();
    if json {
        let ready = serde_json::json!({ "event": "registry", "address": address, "data": data.path() });
        output::line(ready.to_string());
    } else {
        output::line(format!(
            "registry http://{address}/v2/ (admin token in {}; `fermion registry token new` makes others)",
            data.token().display()
        ));
    }
    let shutdown = CancellationToken::new();
    let counted = store.clone();
    let work = async {
        let collecting = async {
            // What a platform's releases need is on its bus, and only the platform reads that.
            if data.bus().exists() {
                output::note("garbage is not collected: this data directory is a platform's, which does it");
            } else {
                collector(store.clone(), arguments).run(shutdown.clone()).await;
            }
        };
        let measuring = tokio::task::spawn_blocking(move || counted.measure());
        let ((), (), measured) = tokio::join!(bound.run(shutdown.clone()), collecting, measuring);
        measured??;
        anyhow::Ok(())
    };
    signals.run(shutdown.clone(), work).await
}

fn quotas(arguments: &QuotaArgs) -> Quotas {
    Quotas {
        bytes: arguments.quota_total,
        repository_bytes: arguments.quota_repository,
        prefix_bytes: arguments.quota_prefix.clone(),
        repositories: arguments.repositories_max,
        tags: arguments.tags_max,
        uploads: Some(arguments.uploads_max),
    }
}

fn collector(store: Store, arguments: &RegistryServe) -> Collector {
    Collector {
        store,
        every: arguments.collect_every,
        grace: arguments.grace,
        pins: Arc::new(|| Box::pin(async { Ok(BTreeSet::new()) })),
        clock: Arc::new(|| WallClock.now()),
    }
}

fn token(data: &DataDirectory, action: TokenAction, json: bool) -> Result<()> {
    let file = TokenFile::new(&data.registry_tokens());
    match action {
        TokenAction::New(new) => {
            let new = NewToken {
                repositories: new.repositories,
                pull: new.pull,
                push: new.push,
            };
            let (view, text) = file.create(&new, WallClock.now(), random)?;
            if json {
                output::json(&serde_json::json!({ "token": text, "id": view.id, "rights": view }));
            } else {
                output::note("use it as the password of any user; it is not shown again");
                output::line(text);
            }
        }
        TokenAction::List => {
            let tokens = file.list()?;
            if json {
                output::json(&serde_json::json!({ "tokens": tokens }));
            } else if tokens.is_empty() {
                output::line(
                    "there are none yet: `fermion registry token new --repo 'acme/*' --pull` makes one",
                );
            } else {
                let rows: Vec<_> = tokens.iter().map(row).collect();
                output::table(["ID", "REPOSITORIES", "RIGHTS"], &rows);
            }
        }
        TokenAction::Revoke { id } => {
            file.revoke(&id)?;
            if json {
                output::json(&serde_json::json!({ "revoked": id }));
            } else {
                output::line(format!("{id} grants nothing any more"));
            }
        }
    }
    Ok(())
}

fn row(view: &TokenView) -> [String; 3] {
    let rights = match (view.pull, view.push) {
        (true, true) => "pull, push",
        (true, false) => "pull",
        (false, _) => "push",
    };
    [view.id.clone(), view.repositories.join(" "), rights.to_owned()]
}
