//! How long things take and what waits.

use std::collections::BTreeMap;

use store::{DURATION_CLASSES, Histogram, Store};

use super::{Asked, describe, sample};

pub(super) fn write_durations(text: &mut String, durations: &BTreeMap<Asked, Histogram>) {
    let name = "ruad_http_request_duration_seconds";
    let help = "Time from a request to the beginning of its answer, by route and method.";
    describe(text, name, "histogram", help);
    for (asked, histogram) in durations {
        write_histogram(text, name, &asked.labels(), histogram);
    }
}

pub(super) fn write_store(text: &mut String, store: &Store, rollup_backlog: Option<i64>) {
    let figures = store.figures();
    let name = "ruad_documents_total";
    let help =
        "Documents of deliveries from everywhere, by outcome, and by code where there is one.";
    describe(text, name, "counter", help);
    for ((outcome, code), count) in figures.documents() {
        sample(text, name, &[("outcome", outcome), ("code", &code)], count);
    }
    let name = "ruad_commit_duration_seconds";
    let help = "Time to store the deliveries of one commit.";
    describe(text, name, "histogram", help);
    write_histogram(text, name, &[], &figures.commits);
    let load = store.load();
    let name = "ruad_database_connections";
    describe(text, name, "gauge", "Connections to the database.");
    let connections = [("read", load.reading), ("write", load.writing)];
    for (work, connections) in connections {
        let labels = |state| [("work", work), ("state", state)];
        sample(text, name, &labels("busy"), connections.busy);
        sample(text, name, &labels("idle"), connections.idle);
    }
    let name = "ruad_database_connections_max";
    let help = "Connections to the database at most.";
    describe(text, name, "gauge", help);
    for (work, connections) in connections {
        sample(text, name, &[("work", work)], connections.max);
    }
    let mut gauge = |name: &str, help: &str, value: u64| {
        describe(text, name, "gauge", help);
        sample(text, name, &[], value);
    };
    gauge(
        "ruad_waiting_deliveries",
        "Deliveries that wait to be written.",
        load.waiting_deliveries,
    );
    if let Some(backlog) = rollup_backlog.and_then(|sums| u64::try_from(sums).ok()) {
        gauge(
            "ruad_rollup_backlog",
            "Sums that wait to be merged into the rollup.",
            backlog,
        );
    }
}

fn write_histogram(text: &mut String, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
    let ends = DURATION_CLASSES.iter().map(f64::to_string);
    let mut below = 0;
    for (end, count) in ends.chain(["+Inf".into()]).zip(histogram.counts()) {
        below += count;
        let labels = [labels, &[("le", end.as_str())]].concat();
        sample(text, &format!("{name}_bucket"), &labels, below);
    }
    sample(text, &format!("{name}_sum"), labels, histogram.sum_secs());
    sample(text, &format!("{name}_count"), labels, below);
}
