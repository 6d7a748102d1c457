//! Policy as code: facts of a verified package, Cedar policies over them, and decisions that say who decided and what
//! to do. The only place that knows Cedar. Deciding is pure; what reads files is the gate, and it keeps the last set of
//! policies that was sound.

mod cases;
mod decide;
mod egress;
mod evidence;
mod facts;
mod gate;
mod set;
#[cfg(test)]
mod tests;

pub use cases::{CaseResult, DEFAULT_CASES, run_cases};
pub use decide::{
    Action, Deciding, Decision, Effect, Failed, POLICY_DENIED, Place, Question, SECRET_FOUND, Subject,
    Verdict,
};
pub use evidence::Evidence;
pub use facts::{
    AdvisoryFacts, AdvisoryHit, CapabilityFacts, DatabaseState, EgressFacts, Engine, FACTS_SCHEMA,
    InstanceFacts, LimitFacts, PolicyFacts, ProvenanceFacts, SecretFacts, TelemetryFacts,
};
pub use gate::Gate;
pub use set::{DEFAULT, DEFAULT_FILE, Policies, SCHEMA, Sources, read_file, read_folder};
