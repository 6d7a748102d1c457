//! Apps as rows of a table: the same words after `up` and in `status`.

use std::net::SocketAddr;

use fermion_api::{AppView, Route};
use fermion_model::Namespace;

use crate::output;

/// The app's name, with its namespace unless that is the default one.
pub(crate) fn name(app: &AppView) -> String {
    if app.namespace == Namespace::default() {
        app.app.to_string()
    } else {
        format!("{}/{}", app.namespace, app.app)
    }
}

/// The release that serves, or a dash.
pub(crate) fn serving(app: &AppView) -> String {
    app.serving
        .map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The package that should serve, or a dash.
pub(crate) fn package(app: &AppView) -> String {
    let active = app.active.as_ref();
    active.map_or_else(
        || "-".to_owned(),
        |active| format!("{}:{}", active.package, active.version),
    )
}

/// Whether it is well.
pub(crate) fn state(app: &AppView) -> String {
    let wanted = app.active.as_ref().map_or(app.latest, |active| active.number);
    match (&app.problem, app.serving) {
        (None, Some(_))
            if app
                .active
                .as_ref()
                .is_some_and(|active| active.policy_override.is_some()) =>
        {
            "serving; policy passed by".to_owned()
        }
        (None, Some(_)) => match (app.canary, app.canary_weight) {
            (Some(canary), Some(weight)) => {
                format!("serving; {canary} has {} %", f64::from(weight) / 100.0)
            }
            (Some(canary), None) => format!("serving; {canary} is made ready"),
            _ => "serving".to_owned(),
        },
        (Some(problem), Some(_)) => format!("serving; {wanted} refused: {}", problem.code),
        (Some(problem), None) => format!("down: {}", problem.code),
        (None, None) if app.active.is_none() => "out of service".to_owned(),
        (None, None) => "starting".to_owned(),
    }
}

/// Where it is reached.
pub(crate) fn urls(app: &AppView, gateway: SocketAddr) -> String {
    let routes = app.active.iter().flat_map(|active| &active.routes);
    let shown = routes.map(|route| url(route, gateway));
    shown.collect::<Vec<_>>().join("  ")
}

fn url(route: &Route, gateway: SocketAddr) -> String {
    let host = route.host.as_ref().map_or_else(
        || gateway.to_string(),
        |host| format!("{host}:{}", gateway.port()),
    );
    format!("http://{host}{}", route.path.trim_end_matches('*'))
}

/// Says in words, below the table, what is wrong with whom.
pub(crate) fn problems(apps: &[AppView]) {
    for app in apps {
        if let Some(problem) = &app.problem {
            output::line(format!(
                "{}: {}",
                name(app),
                with_code(&problem.code, &problem.message)
            ));
        }
    }
}

fn with_code(code: &str, message: &str) -> String {
    if message.contains(code) {
        message.to_owned()
    } else {
        format!("{code}: {message}")
    }
}
