//! The OpenAPI document of the admin API: the schemas come from the types, the operations from one table.

mod operations;

use utoipa::ToSchema;
use utoipa::openapi::content::Content;
use utoipa::openapi::path::{HttpMethod, Operation, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Ref, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApiBuilder, RefOr, Required};

use crate::{
    PROBLEM_CONTENT_TYPE, Problem, freezes, git, objectives, paths, rollout, top, traces, types, why,
};

const TOKEN: &str = "token";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const LINES: &str = "application/x-ndjson";
const TEXT: &str = "text/plain";
const MARKDOWN: &str = "text/markdown";

struct Endpoint {
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// Media type and schema name.
    request: Option<(&'static str, Option<&'static str>)>,
    /// Status, media type and schema name of success.
    answer: (&'static str, Option<(&'static str, Option<&'static str>)>),
    /// Statuses of refusals; 400 and 401 go without saying.
    refusals: &'static [&'static str],
}

fn get(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    media: &'static str,
    schema: Option<&'static str>,
) -> Endpoint {
    let answer = ("200", Some((media, schema)));
    Endpoint {
        method: HttpMethod::Get,
        path,
        id,
        summary,
        request: None,
        answer,
        refusals: &[],
    }
}

fn post(path: &'static str, id: &'static str, summary: &'static str, request: &'static str) -> Endpoint {
    Endpoint {
        method: HttpMethod::Post,
        request: Some((JSON, Some(request))),
        refusals: &["404", "409", "413", "422", "503", "504"],
        ..get(path, id, summary, JSON, Some("DeployResult"))
    }
}

fn reads() -> Vec<Endpoint> {
    vec![
        get(
            paths::HEALTH,
            "health",
            "Whether the process answers; needs no token",
            TEXT,
            None,
        ),
        get(
            paths::METRICS,
            "metrics",
            "Metrics as Prometheus text",
            TEXT,
            None,
        ),
        get(
            paths::STATUS,
            "status",
            "The node and every app",
            JSON,
            Some("Status"),
        ),
        get(
            paths::APPS,
            "apps",
            "The apps of a namespace",
            JSON,
            Some("AppList"),
        ),
        get(
            paths::TRUST,
            "trust",
            "Who is trusted with what",
            JSON,
            Some("TrustView"),
        ),
        Endpoint {
            refusals: &["404"],
            ..get(
                paths::RELEASES,
                "releases",
                "The releases of an app, newest first",
                JSON,
                Some("ReleaseList"),
            )
        },
        get(
            paths::DECISIONS,
            "decisions",
            "What the gate decided, newest first",
            JSON,
            Some("DecisionList"),
        ),
        Endpoint {
            refusals: &["404", "503"],
            ..get(
                paths::LOGS,
                "logs",
                "What the app wrote, one object a line",
                LINES,
                Some("LogLine"),
            )
        },
    ]
}

/// What is shown of rollouts.
fn rollouts() -> Vec<Endpoint> {
    vec![
        Endpoint {
            refusals: &["404"],
            ..get(
                paths::ROLLOUT,
                "rollout",
                "The newest rollout of an app",
                JSON,
                Some("RolloutView"),
            )
        },
        Endpoint {
            refusals: &["404"],
            ..get(
                paths::ROLLOUTS,
                "rollouts",
                "The rollouts of an app, newest first",
                JSON,
                Some("RolloutList"),
            )
        },
    ]
}

fn changes() -> Vec<Endpoint> {
    let blob = |summary| get(paths::BLOB, "", summary, BYTES, None);
    vec![
        post(
            paths::RELEASES,
            "deploy",
            "Make a release and wait until it serves",
            "DeployRequest",
        ),
        post(
            paths::ROLLBACK,
            "rollback",
            "Go back to an earlier release",
            "RollbackRequest",
        ),
        Endpoint {
            answer: ("200", Some((JSON, Some("RolloutView")))),
            refusals: &["404", "409", "415"],
            ..post(
                paths::ROLLOUT,
                "order-rollout",
                "Promote, pause, resume or abort a rollout",
                "RolloutOrder",
            )
        },
        Endpoint {
            answer: ("200", Some((JSON, Some("CollectResult")))),
            refusals: &["415"],
            ..post(
                paths::COLLECT,
                "collect",
                "Remove from the store what nothing needs",
                "CollectRequest",
            )
        },
        Endpoint {
            method: HttpMethod::Put,
            id: "set-trust",
            request: Some((JSON, None)),
            answer: ("200", Some((JSON, Some("TrustView")))),
            refusals: &["413", "415", "422"],
            ..get(
                paths::TRUST,
                "",
                "Put a signed trust root document in force",
                JSON,
                None,
            )
        },
        Endpoint {
            method: HttpMethod::Head,
            id: "has-blob",
            answer: ("200", None),
            refusals: &["404"],
            ..blob("Whether the store has a blob")
        },
        Endpoint {
            method: HttpMethod::Put,
            id: "put-blob",
            request: Some((BYTES, None)),
            answer: ("201", None),
            refusals: &["408", "413", "422", "503"],
            ..blob("Store a blob under its digest; 200 if it was there")
        },
    ]
}

/// The document, as pretty JSON with a final newline.
pub fn openapi() -> String {
    let mut items = PathsBuilder::new();
    let endpoints = [
        reads(),
        rollouts(),
        operations::of_freezes(),
        changes(),
        operations::of_objectives(),
        operations::of_git(),
        operations::of_people(),
    ];
    for endpoint in endpoints.into_iter().flatten() {
        // Two operations on one path are merged by the builder.
        items = items.path(
            endpoint.path,
            PathItem::new(endpoint.method.clone(), operation(&endpoint)),
        );
    }
    let mut schemas = Vec::new();
    with_parts::<types::Status>(&mut schemas);
    with_parts::<types::AppList>(&mut schemas);
    with_parts::<types::ReleaseList>(&mut schemas);
    with_parts::<types::DeployRequest>(&mut schemas);
    with_parts::<types::DeployResult>(&mut schemas);
    with_parts::<types::RollbackRequest>(&mut schemas);
    with_parts::<rollout::RolloutList>(&mut schemas);
    with_parts::<rollout::RolloutOrder>(&mut schemas);
    with_parts::<freezes::FreezeList>(&mut schemas);
    with_parts::<freezes::FreezeRequest>(&mut schemas);
    with_parts::<types::DecisionList>(&mut schemas);
    with_parts::<types::LogLine>(&mut schemas);
    with_parts::<objectives::ObjectiveList>(&mut schemas);
    with_parts::<why::WhyView>(&mut schemas);
    with_parts::<objectives::AlertList>(&mut schemas);
    with_parts::<objectives::AcknowledgeRequest>(&mut schemas);
    with_parts::<objectives::SilenceRequest>(&mut schemas);
    with_parts::<git::GitSourceList>(&mut schemas);
    with_parts::<git::GitSourceRequest>(&mut schemas);
    with_parts::<git::GitSyncRequest>(&mut schemas);
    with_parts::<git::DiffRequest>(&mut schemas);
    with_parts::<git::DiffResult>(&mut schemas);
    with_parts::<top::TopView>(&mut schemas);
    with_parts::<traces::TraceList>(&mut schemas);
    with_parts::<traces::TraceView>(&mut schemas);
    with_parts::<types::TrustView>(&mut schemas);
    with_parts::<types::CollectRequest>(&mut schemas);
    with_parts::<types::CollectResult>(&mut schemas);
    with_parts::<Problem>(&mut schemas);
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(TOKEN, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .build();
    let info = InfoBuilder::new()
        .title("Fermion admin API")
        .version("1")
        .description(Some(
            "Plain HTTP on loopback; the token is the content of `admin.token` in the data directory.",
        ))
        .build();
    let document = OpenApiBuilder::new()
        .info(info)
        .paths(items)
        .components(Some(components))
        .build();
    let mut text = document
        .to_pretty_json()
        .expect("a document made of strings and maps is valid JSON");
    text.push('\n');
    text
}

fn with_parts<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

fn operation(endpoint: &Endpoint) -> Operation {
    let mut operation = Operation::builder()
        .operation_id(Some(endpoint.id))
        .summary(Some(endpoint.summary));
    for name in ["namespace", "app", "source", "digest", "incident", "trace", "id"] {
        if endpoint.path.contains(&format!("{{{name}}}")) {
            operation = operation.parameter(parameter(name, ParameterIn::Path, Type::String));
        }
    }
    if endpoint.path == paths::LOGS {
        operation = operation.parameter(parameter("follow", ParameterIn::Query, Type::Boolean));
        operation = operation.parameter(parameter("tail", ParameterIn::Query, Type::Integer));
    }
    if endpoint.path == paths::TRACES {
        operation = operation.parameter(parameter("namespace", ParameterIn::Query, Type::String));
        operation = operation.parameter(parameter("app", ParameterIn::Query, Type::String));
        operation = operation.parameter(parameter("limit", ParameterIn::Query, Type::Integer));
    }
    if let Some((media, schema)) = endpoint.request {
        let body = RequestBodyBuilder::new()
            .content(media, content(schema))
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    let (status, answer) = endpoint.answer;
    let mut success = ResponseBuilder::new().description(endpoint.summary);
    if let Some((media, schema)) = answer {
        success = success.content(media, content(schema));
    }
    operation = operation.response(status, success.build());
    if endpoint.path != paths::HEALTH {
        operation = operation.security(SecurityRequirement::new(TOKEN, Vec::<String>::new()));
        for status in ["400", "401"].iter().chain(endpoint.refusals) {
            let refusal = ResponseBuilder::new()
                .description("Refused")
                .content(PROBLEM_CONTENT_TYPE, content(Some("Problem")));
            operation = operation.response(*status, refusal.build());
        }
    }
    operation.build()
}

fn parameter(name: &str, place: ParameterIn, kind: Type) -> utoipa::openapi::path::Parameter {
    let required = if place == ParameterIn::Path {
        Required::True
    } else {
        Required::False
    };
    let schema = ObjectBuilder::new().schema_type(kind).build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(schema))
        .build()
}

fn content(schema: Option<&str>) -> Content {
    let schema: RefOr<Schema> = match schema {
        Some(name) => Ref::from_schema_name(name).into(),
        None => ObjectBuilder::new().schema_type(Type::String).build().into(),
    };
    Content::new(Some(schema))
}
