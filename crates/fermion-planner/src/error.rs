//! What can be wrong with what the planner is given.

/// A refusal of an input. The planner itself never fails: what it cannot tell, it calls inconclusive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A document that is no input of the judge.
    #[error("{path} {what}; expected {expected}")]
    Document {
        /// Which field, like `metrics[0].canary[3]`; `the document` for the whole.
        path: String,
        /// What is wrong there, after the path: `is text`.
        what: String,
        /// What may stand there.
        expected: String,
    },
}

impl Error {
    /// The stable name of the failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Document { .. } => "JUDGE_INPUT_INVALID",
        }
    }
}
