//! What receivers are told of.

use fermion_model::{AppName, Namespace, ReleaseNumber};
use serde::{Deserialize, Serialize};

use crate::slo::Notice;

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// An alert has changed.
    Alert(Box<Notice>),
    /// A rollout has moved.
    Rollout(RolloutNotice),
}

/// One transition of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutNotice {
    /// The same for every attempt to deliver this message, and for no other one.
    pub(crate) key: String,
    /// Seconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) namespace: Namespace,
    pub(crate) app: AppName,
    /// Which of the app's rollouts.
    pub(crate) id: u64,
    pub(crate) stable: ReleaseNumber,
    pub(crate) canary: ReleaseNumber,
    /// The phase that was entered.
    pub(crate) phase: String,
    /// The new release's share of traffic, in hundredths of a percent.
    pub(crate) weight: u16,
    pub(crate) by: String,
    /// In words, with figures.
    pub(crate) why: String,
}

impl Message {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Alert(notice) => &notice.key,
            Self::Rollout(notice) => &notice.key,
        }
    }

    pub(super) fn at(&self) -> u64 {
        match self {
            Self::Alert(notice) => notice.at,
            Self::Rollout(notice) => notice.at,
        }
    }

    /// The incident's name, or the app's: by which people find it again.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Alert(notice) => notice.alert.id.clone(),
            Self::Rollout(notice) => format!("{}/{}", notice.namespace, notice.app),
        }
    }
}
