//! The admin API, version 1: the JSON types both sides share, the paths, the OpenAPI document, and the client that
//! the command line uses. Requests refuse fields they do not know, by name; answers may grow fields, so the client
//! ignores those it does not know. Also the listener that the admin API and a registry share.
//! Refuses to do: routing and answering, and sending the token anywhere but to this machine.

mod client;
mod error;
mod freezes;
mod git;
pub mod limits;
pub mod listener;
mod objectives;
mod openapi;
pub mod paths;
mod problem;
mod rollout;
mod top;
mod traces;
mod types;
mod why;

pub use client::{Client, LogLines};
pub use error::Error;
pub use freezes::{FreezeList, FreezeRequest, FreezeView};
pub use git::{
    DiffRequest, DiffResult, FieldChange, GitAppView, GitEventView, GitSourceList, GitSourceRequest,
    GitSourceView, GitSyncRequest,
};
pub use objectives::{
    AcknowledgeRequest, AcknowledgementView, AlertList, AlertView, BlameView, BurnView, ChangedView,
    Indicator, ObjectiveList, ObjectiveSpec, ObjectiveView, ReceiverView, SilenceRequest, SilenceView,
};
pub use openapi::openapi;
pub use problem::{PROBLEM_CONTENT_TYPE, Problem};
pub use rollout::{
    ArmView, CopiesView, CopyExample, ExperimentView, RolloutCommand, RolloutEventView, RolloutFinding,
    RolloutList, RolloutOrder, RolloutStepView, RolloutVerdict, RolloutView,
};
pub use top::{TopApp, TopView};
pub use traces::{SpanView, TraceList, TraceRequest, TraceSummary, TraceView};
pub use types::{
    AppList, AppView, CollectRequest, CollectResult, DecisionList, DecisionView, DeployRequest, DeployResult,
    LogLine, NodeView, Reason, RefTag, Refs, ReleaseList, ReleaseState, ReleaseView, RollbackRequest, Route,
    Status, Step, TrustView,
};
pub use why::{WhyFinding, WhyView};
