//! `fermion policy`: what operators do with policies before they take effect, and when one has said no.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fermion_model::{AppName, Namespace};
use fermion_package::policy::{
    self, Decision, Evidence, Gate, Policies, PolicyFacts, Question, Sources, Verdict, run_cases,
};
use fermion_package::secrets::{ALLOW_FILE, AllowList, Scan};
use fermion_package::{VerifiedPackage, load};

use super::inspect;
use crate::cli::{DataArgs, PolicyAction, PolicyArgs, PolicyExplain};
use crate::data::DataDirectory;
use crate::output;
use crate::sink::seconds_now;

/// The folder of tests in a policy folder.
const TESTS: &str = "tests";

/// Runs one of the policy commands.
pub(crate) fn run(arguments: &PolicyArgs, json: bool) -> Result<()> {
    let data = &arguments.data;
    match &arguments.action {
        PolicyAction::Check { paths } => check(paths, data, json),
        PolicyAction::Test { folder } => test(folder.as_deref(), data, json),
        PolicyAction::Explain(explained) => explain(explained, data, json),
        PolicyAction::Secrets { what } => secrets(what, data, json),
        PolicyAction::Default => print(policy::DEFAULT),
        PolicyAction::Schema => print(policy::SCHEMA),
    }
}

fn print(text: &str) -> Result<()> {
    output::line(text.trim_end());
    Ok(())
}

fn folder_of(data: &DataArgs) -> PathBuf {
    data.directory.join("policy")
}

/// Files stand beside the default policy, as they would in the policy folder.
fn sources(paths: &[PathBuf], data: &DataArgs) -> Result<(PathBuf, Sources)> {
    match paths {
        [] => Ok((folder_of(data), policy::read_folder(&folder_of(data))?)),
        [folder] if folder.is_dir() => Ok((folder.clone(), policy::read_folder(folder)?)),
        files => {
            let mut sources = Sources::from([(policy::DEFAULT_FILE.to_owned(), policy::DEFAULT.to_owned())]);
            for file in files {
                let name = file.file_name().and_then(|name| name.to_str());
                let name = name.with_context(|| format!("{} has no name that is text", file.display()))?;
                sources.insert(name.to_owned(), policy::read_file(file)?);
            }
            let folder = files
                .first()
                .and_then(|file| file.parent())
                .unwrap_or(Path::new(""));
            Ok((folder.to_owned(), sources))
        }
    }
}

fn check(paths: &[PathBuf], data: &DataArgs, json: bool) -> Result<()> {
    let (folder, sources) = sources(paths, data)?;
    let policies = Policies::parse(&folder, &sources)?;
    AllowList::read(&folder)?;
    if json {
        let names: Vec<_> = policies
            .names()
            .map(|(id, file)| serde_json::json!({ "id": id, "file": file }))
            .collect();
        output::json(&serde_json::json!({ "policies": names, "policy_hash": policies.hash() }));
        return Ok(());
    }
    output::line(format!(
        "{} policies in {} files are sound\n  {}",
        policies.len(),
        sources.len(),
        policies.hash()
    ));
    let rows: Vec<_> = policies.names().map(|(id, file)| [id, file.to_owned()]).collect();
    output::table(["POLICY", "FILE"], &rows);
    Ok(())
}

fn test(folder: Option<&Path>, data: &DataArgs, json: bool) -> Result<()> {
    let folder = folder.map_or_else(|| folder_of(data), Path::to_owned);
    let sources = policy::read_folder(&folder)?;
    let policies = Policies::parse(&folder, &sources)?;
    let mut results = Vec::new();
    if sources
        .get(policy::DEFAULT_FILE)
        .is_some_and(|text| text == policy::DEFAULT)
    {
        // Alone, because what others add makes it stricter.
        let own = run_cases(&Policies::builtin(), policy::DEFAULT_CASES)?;
        results.extend(own.into_iter().map(|result| ("default".to_owned(), result)));
    }
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder.join(TESTS)) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list {}", folder.join(TESTS).display()));
        }
    };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    for file in files {
        let cases = run_cases(&policies, &policy::read_file(&file)?);
        let cases = cases.with_context(|| format!("{} is no file of cases", file.display()))?;
        let name = file
            .file_stem()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        results.extend(cases.into_iter().map(|result| (name.clone(), result)));
    }
    let failed = results.iter().filter(|(_, result)| !result.passed).count();
    if json {
        let results: Vec<_> = results
            .iter()
            .map(|(file, result)| serde_json::json!({ "file": file, "case": result }))
            .collect();
        output::json(&serde_json::json!({ "results": results, "failed": failed }));
    } else {
        for (file, result) in &results {
            match &result.found {
                None => output::line(format!("ok      {file}: {}", result.name)),
                Some(found) => output::line(format!("FAILED  {file}: {}\n        {found}", result.name)),
            }
        }
        output::line(format!("{} passed, {failed} failed", results.len() - failed));
    }
    if failed > 0 {
        bail!("{failed} of {} cases failed", results.len());
    }
    Ok(())
}

fn explain(arguments: &PolicyExplain, data: &DataArgs, json: bool) -> Result<()> {
    let gate = gate(data);
    let facts = match (&arguments.package, &arguments.facts) {
        (Some(package), None) => gate.weigh(evidence(package, data)?, seconds_now())?,
        (None, Some(file)) => {
            let text = policy::read_file(file)?;
            PolicyFacts::parse(text.as_bytes()).with_context(|| format!("cannot use {}", file.display()))?
        }
        _ => bail!("say which: a package (acme/hello:1.2.3), or --facts FILE"),
    };
    let app = match &arguments.app {
        Some(app) => app.clone(),
        None => facts
            .name
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .parse::<AppName>()?,
    };
    let question = Question {
        by: arguments.by.clone(),
        action: arguments.action.into(),
        namespace: arguments.namespace.clone(),
        app,
        hosts: Default::default(),
        paths: Default::default(),
        config_keys: facts.capabilities.config.clone(),
    };
    let decision = gate.policies()?.decide(&facts, &question);
    if json {
        output::json(&serde_json::json!({
            "decision": decision, "explanation": decision.explanation(), "overridable": decision.is_overridable(),
            "facts": facts,
        }));
    } else {
        show(&decision, &facts, &arguments.namespace);
    }
    Ok(())
}

fn show(decision: &Decision, facts: &PolicyFacts, namespace: &Namespace) {
    let verdict = match decision.verdict {
        Verdict::Allow => "may run",
        Verdict::Deny => "is denied",
    };
    output::line(format!(
        "{}:{} {verdict} in namespace {namespace}\n  policies {}",
        facts.name, facts.version, decision.policy_hash
    ));
    for failed in &decision.failed {
        output::line(format!("  {} cannot be evaluated: {}", failed.id, failed.why));
    }
    for deciding in &decision.policies {
        let file = deciding.file.as_deref().unwrap_or("built in");
        output::line(format!("  {} ({file})", deciding.id));
        for (what, text) in [("why ", &deciding.reason), ("next", &deciding.next)] {
            if let Some(text) = text {
                output::line(format!("    {what}  {text}"));
            }
        }
    }
    if decision.is_overridable() {
        output::line("  in an emergency: fermion deploy --override-policy REASON");
    }
}

/// Lists what a scan finds, with the hashes that the list of allowed findings names them by.
fn secrets(what: &str, data: &DataArgs, json: bool) -> Result<()> {
    let scan = if Path::new(what).is_file() {
        let wasm = std::fs::read(what).with_context(|| format!("cannot read {what}"))?;
        let mut scan = Scan::default();
        scan.component(&wasm);
        scan
    } else {
        evidence(what, data)?.scan
    };
    let folder = folder_of(data);
    let allow = AllowList::read(&folder)?;
    let now = seconds_now();
    let found: Vec<_> = scan
        .found()
        .map(|found| (found, allow.allows(&found.finding.rule, &found.fingerprint, now)))
        .collect();
    if json {
        let found: Vec<_> = found
            .iter()
            .map(|(found, allowed)| serde_json::json!({ "found": found, "allowed": allowed }))
            .collect();
        output::json(&serde_json::json!({ "findings": found }));
        return Ok(());
    }
    if found.is_empty() {
        output::line("nothing looks like a secret");
        return Ok(());
    }
    let row = |(found, allowed): &(&fermion_package::secrets::Found, bool)| {
        let weight = match (allowed, found.weight) {
            (true, _) => "allowed",
            (false, fermion_package::secrets::Weight::Blocking) => "blocks",
            (false, fermion_package::secrets::Weight::Warning) => "warns",
        };
        [
            weight.to_owned(),
            found.finding.rule.clone(),
            found.finding.place.clone(),
            found.finding.offset.to_string(),
            found.fingerprint.hex(),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    output::table(["", "RULE", "PLACE", "OFFSET", "SHA-256 OF THE MATCH"], &rows);
    output::line(format!(
        "one that is no secret is allowed in {}:\n  {{\"allow\": [{{\"rule\": \"...\", \"sha256\": \"...\", \"until\": \
         \"2027-01-31\", \"reason\": \"...\"}}]}}",
        folder.join(ALLOW_FILE).display()
    ));
    Ok(())
}

fn gate(data: &DataArgs) -> Gate {
    Gate::new(folder_of(data), data.directory.join("advisories"))
}

fn evidence(package: &str, data: &DataArgs) -> Result<Evidence> {
    DataDirectory::open(&data.directory)?;
    let found = inspect::find(package, data)?;
    let package: VerifiedPackage = load::load(&found.store, &found.digest, &found.trust, found.when)?;
    Ok(Evidence::gather(
        &found.store,
        &package,
        &found.trust,
        found.when,
    )?)
}
