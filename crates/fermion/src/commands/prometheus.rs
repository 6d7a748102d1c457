//! `fermion rules` and `fermion dashboard`: what a Prometheus and a Grafana of somebody's own are given. Neither asks a
//! platform: objectives are in its metrics.

use fermion_telemetry::prometheus::{Dashboard, rules};

use crate::cli::{DashboardArgs, DashboardName};
use crate::output;

/// Prints the rules file.
pub(crate) fn print_rules(json: bool) {
    let rules = rules();
    if json {
        output::json(&serde_json::json!({"rules": rules}));
    } else {
        output::line(rules.trim_end());
    }
}

/// Prints a dashboard, which is JSON whether that is asked for or not.
pub(crate) fn print_dashboard(arguments: &DashboardArgs) {
    let dashboard = match arguments.name {
        DashboardName::Executive => Dashboard::Executive,
        DashboardName::OnCall => Dashboard::OnCall,
        DashboardName::Debug => Dashboard::Debug,
    };
    output::json(&dashboard.json());
}
