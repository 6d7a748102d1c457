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
    /// A file that is no JSON.
    #[error("line {line}, column {column} is no JSON: {what}; a sample that is missing is null or \"NaN\"")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// A file that is too large to be read.
    #[error("the document has more than {bytes_max} bytes; take fewer samples, a thousand an arm are plenty")]
    Size {
        /// How many are read.
        bytes_max: u64,
    },
}

impl Error {
    /// The stable name of the failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Document { .. } | Self::Syntax { .. } | Self::Size { .. } => "JUDGE_INPUT_INVALID",
        }
    }
}
