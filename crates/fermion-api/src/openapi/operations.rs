//! Endpoints of objectives and alerts, of freezes, of Git, and of what people ask when an app is not well.

use utoipa::openapi::path::HttpMethod;

use super::{Endpoint, JSON, MARKDOWN, get, post};
use crate::paths;

pub(super) fn of_objectives() -> Vec<Endpoint> {
    vec![
        Endpoint {
            refusals: &["404"],
            ..get(
                paths::OBJECTIVES,
                "objectives",
                "What an app promises, and how it stands",
                JSON,
                Some("ObjectiveList"),
            )
        },
        get(
            paths::ALERTS,
            "alerts",
            "Incidents, silences and receivers",
            JSON,
            Some("AlertList"),
        ),
        Endpoint {
            answer: ("200", Some((JSON, Some("AlertView")))),
            refusals: &["404", "413", "415"],
            ..post(
                paths::ACKNOWLEDGE,
                "acknowledge-alert",
                "Take an incident on",
                "AcknowledgeRequest",
            )
        },
        Endpoint {
            answer: ("200", Some((JSON, Some("AlertList")))),
            refusals: &["413", "415", "503"],
            ..post(
                paths::SILENCE,
                "silence-alerts",
                "Keep alerts from people for a time",
                "SilenceRequest",
            )
        },
    ]
}

pub(super) fn of_freezes() -> Vec<Endpoint> {
    vec![
        get(
            paths::FREEZES,
            "freezes",
            "Times in which no release goes forward",
            JSON,
            Some("FreezeList"),
        ),
        Endpoint {
            answer: ("200", Some((JSON, Some("FreezeList")))),
            refusals: &["413", "415", "503"],
            ..post(paths::FREEZES, "freeze", "Order a freeze", "FreezeRequest")
        },
        Endpoint {
            method: HttpMethod::Delete,
            refusals: &["404"],
            ..get(paths::FREEZE, "thaw", "End a freeze", JSON, Some("FreezeList"))
        },
    ]
}

pub(super) fn of_git() -> Vec<Endpoint> {
    let source = Some((JSON, Some("GitSourceView")));
    vec![
        Endpoint {
            answer: ("200", Some((JSON, Some("DiffResult")))),
            refusals: &["413", "415", "422"],
            ..post(paths::DIFF, "diff", "What a deploy would change", "DiffRequest")
        },
        get(
            paths::GIT_SOURCES,
            "git-sources",
            "The Git sources of a namespace",
            JSON,
            Some("GitSourceList"),
        ),
        Endpoint {
            answer: ("200", source),
            refusals: &["413", "415", "422"],
            ..post(
                paths::GIT_SOURCES,
                "add-git-source",
                "Hand a Git source over, or another version of one",
                "GitSourceRequest",
            )
        },
        Endpoint {
            refusals: &["404"],
            ..get(
                paths::GIT_SOURCE,
                "git-source",
                "A Git source, its apps and what happened",
                JSON,
                Some("GitSourceView"),
            )
        },
        Endpoint {
            method: HttpMethod::Delete,
            refusals: &["404"],
            ..get(
                paths::GIT_SOURCE,
                "remove-git-source",
                "Take a Git source away; its apps stay",
                JSON,
                Some("GitSourceView"),
            )
        },
        Endpoint {
            answer: ("200", source),
            refusals: &["404", "415"],
            ..post(
                paths::GIT_SYNC,
                "sync-git-source",
                "Look at a Git source now",
                "GitSyncRequest",
            )
        },
    ]
}

/// What people ask when an app is not well.
pub(super) fn of_people() -> Vec<Endpoint> {
    vec![
        Endpoint {
            refusals: &["404"],
            ..get(
                paths::POST_MORTEM,
                "post-mortem",
                "A draft of an incident's post-mortem, as Markdown",
                MARKDOWN,
                None,
            )
        },
        Endpoint {
            refusals: &["404"],
            ..get(
                paths::WHY,
                "why",
                "What is wrong with an app, the gravest first",
                JSON,
                Some("WhyView"),
            )
        },
        get(
            paths::TOP,
            "top",
            "How all apps are at this moment, the busiest first",
            JSON,
            Some("TopView"),
        ),
        get(
            paths::TRACES,
            "traces",
            "Traces that are kept, newest first",
            JSON,
            Some("TraceList"),
        ),
        Endpoint {
            refusals: &["404", "409"],
            ..get(
                paths::TRACE,
                "trace",
                "One trace, by its id or how that begins",
                JSON,
                Some("TraceView"),
            )
        },
    ]
}
