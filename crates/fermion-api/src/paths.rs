//! The paths of the API, once: the server routes by the templates, the client fills them in.

use fermion_model::{AppName, Digest, Namespace, SourceName};

/// GET: is the process there. The only path without a token.
pub const HEALTH: &str = "/healthz";
/// GET: Prometheus text.
pub const METRICS: &str = "/metrics";
/// GET: [`crate::Status`].
pub const STATUS: &str = "/api/v1/status";
/// GET: [`crate::AppList`].
pub const APPS: &str = "/api/v1/namespaces/{namespace}/apps";
/// GET: [`crate::ReleaseList`]; POST [`crate::DeployRequest`]: [`crate::DeployResult`].
pub const RELEASES: &str = "/api/v1/namespaces/{namespace}/apps/{app}/releases";
/// POST [`crate::RollbackRequest`]: [`crate::DeployResult`].
pub const ROLLBACK: &str = "/api/v1/namespaces/{namespace}/apps/{app}/rollback";
/// GET: the newest [`crate::RolloutView`]; POST [`crate::RolloutOrder`]: the same.
pub const ROLLOUT: &str = "/api/v1/namespaces/{namespace}/apps/{app}/rollout";
/// GET: [`crate::RolloutList`].
pub const ROLLOUTS: &str = "/api/v1/namespaces/{namespace}/apps/{app}/rollouts";
/// GET: [`crate::ObjectiveList`].
pub const OBJECTIVES: &str = "/api/v1/namespaces/{namespace}/apps/{app}/objectives";
/// GET: [`crate::WhyView`].
pub const WHY: &str = "/api/v1/namespaces/{namespace}/apps/{app}/why";
/// GET: [`crate::AlertList`].
pub const ALERTS: &str = "/api/v1/alerts";
/// POST [`crate::AcknowledgeRequest`]: [`crate::AlertView`].
pub const ACKNOWLEDGE: &str = "/api/v1/alerts/ack";
/// GET: a draft of an incident's post-mortem, as Markdown.
pub const POST_MORTEM: &str = "/api/v1/alerts/{incident}/post-mortem";
/// POST [`crate::SilenceRequest`]: [`crate::AlertList`].
pub const SILENCE: &str = "/api/v1/alerts/silence";
/// GET: [`crate::FreezeList`]; POST [`crate::FreezeRequest`]: the same.
pub const FREEZES: &str = "/api/v1/freezes";
/// DELETE: the [`crate::FreezeList`] without it.
pub const FREEZE: &str = "/api/v1/freezes/{id}";
/// GET: one [`crate::LogLine`] a line (`application/x-ndjson`); `follow=true` does not end, `tail=N` begins earlier.
pub const LOGS: &str = "/api/v1/namespaces/{namespace}/apps/{app}/logs";
/// GET: [`crate::TopView`].
pub const TOP: &str = "/api/v1/top";
/// GET: [`crate::TraceList`], the newest first; of one namespace with `namespace=N`, of one app with `app=A`, `limit=N`.
pub const TRACES: &str = "/api/v1/traces";
/// GET: [`crate::TraceView`]; the id, or how it begins.
pub const TRACE: &str = "/api/v1/traces/{trace}";
/// GET: [`crate::TrustView`]; PUT a signed trust root document: [`crate::TrustView`].
pub const TRUST: &str = "/api/v1/trust";
/// GET: [`crate::DecisionList`]; of one app with `namespace=N&app=A`, of one package with `digest=sha256:...`.
pub const DECISIONS: &str = "/api/v1/decisions";
/// POST [`crate::CollectRequest`]: [`crate::CollectResult`].
pub const COLLECT: &str = "/api/v1/gc";
/// POST [`crate::DiffRequest`]: [`crate::DiffResult`].
pub const DIFF: &str = "/api/v1/namespaces/{namespace}/apps/{app}/diff";
/// GET: [`crate::GitSourceList`]; POST [`crate::GitSourceRequest`]: [`crate::GitSourceView`].
pub const GIT_SOURCES: &str = "/api/v1/namespaces/{namespace}/git-sources";
/// GET: [`crate::GitSourceView`]; DELETE: the same, of what was taken away.
pub const GIT_SOURCE: &str = "/api/v1/namespaces/{namespace}/git-sources/{source}";
/// POST [`crate::GitSyncRequest`]: [`crate::GitSourceView`].
pub const GIT_SYNC: &str = "/api/v1/namespaces/{namespace}/git-sources/{source}/sync";
/// HEAD: is it there; PUT: the bytes.
pub const BLOB: &str = "/api/v1/blobs/{digest}";

/// [`APPS`] of one namespace.
pub fn apps(namespace: &Namespace) -> String {
    APPS.replace("{namespace}", namespace.as_str())
}

/// One of the templates that name an app, filled in.
pub fn of_app(template: &str, namespace: &Namespace, app: &AppName) -> String {
    template
        .replace("{namespace}", namespace.as_str())
        .replace("{app}", app.as_str())
}

/// [`FREEZE`] of one name.
pub fn freeze(id: &str) -> String {
    FREEZE.replace("{id}", id)
}

/// [`GIT_SOURCES`] of one namespace.
pub fn git_sources(namespace: &Namespace) -> String {
    GIT_SOURCES.replace("{namespace}", namespace.as_str())
}

/// One of the templates that name a source, filled in.
pub fn of_source(template: &str, namespace: &Namespace, source: &SourceName) -> String {
    template
        .replace("{namespace}", namespace.as_str())
        .replace("{source}", source.as_str())
}

/// [`POST_MORTEM`] of one incident.
pub fn post_mortem(incident: &str) -> String {
    POST_MORTEM.replace("{incident}", incident)
}

/// [`TRACE`] of one id.
pub fn trace(id: &str) -> String {
    TRACE.replace("{trace}", id)
}

/// [`BLOB`] of one digest.
pub fn blob(digest: &Digest) -> String {
    BLOB.replace("{digest}", &digest.to_string())
}
