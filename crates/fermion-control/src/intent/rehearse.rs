//! A deploy that is not carried out: everything that would be checked is checked, so that of many that belong together
//! either all may begin or none.

use std::collections::BTreeMap;

use fermion_model::release::Route;
use fermion_model::{AppName, Digest, Namespace};
use fermion_package::policy::Action;

use super::admit::Applicant;
use super::checks::check_config;
use crate::claims::check_routes;
use crate::{Control, Error};

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Which package, or that it is let in.
    Package,
    Routes,
    Config,
}

/// A deploy that might be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rehearsal<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) app: &'a AppName,
    pub(crate) by: &'a str,
    /// A package that is in the store.
    pub(crate) digest: Digest,
    pub(crate) routes: &'a [Route],
    pub(crate) config: &'a BTreeMap<String, String>,
}

impl Control {
    /// Refuses what the deploy would refuse, except for what others have in the meantime. A denial is on record.
    pub(crate) async fn rehearse(&self, rehearsal: Rehearsal<'_>) -> Result<(), (Subject, Error)> {
        let Rehearsal {
            namespace,
            app,
            by,
            digest,
            routes,
            config,
        } = rehearsal;
        check_routes(routes).map_err(|error| (Subject::Routes, error))?;
        let of_package = |error| (Subject::Package, error);
        let _collecting = self.shared.collecting.read().await;
        let (facts, _) = self.check_package(digest, None, None).await.map_err(of_package)?;
        check_config(config, &facts.config).map_err(|error| (Subject::Config, error))?;
        let applicant = Applicant {
            namespace,
            app,
            by,
            action: Action::Deploy,
            routes,
            config,
        };
        self.admit(applicant, facts.evidence, None)
            .await
            .map(drop)
            .map_err(of_package)
    }
}
