//! Counters in the text format of Prometheus.

mod load;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{Display, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{self, MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};

use store::{Histogram, Mailbox, Outcome, Store};

use crate::{State, access};

/// What was counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    /// By outcome.
    uploads: BTreeMap<&'static str, u64>,
    /// By code.
    refusals: BTreeMap<&'static str, u64>,
    /// By what was asked for and class of the status.
    requests: BTreeMap<(Asked, u16), u64>,
    /// By what was asked for.
    durations: BTreeMap<Asked, Histogram>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    route: Cow<'static, str>,
    method: &'static str,
}

/// Why uploads are refused.
const REFUSALS: [&str; 7] = [
    "bad_body",
    "bad_multipart",
    "busy",
    "internal",
    "timeout",
    "too_large",
    "unavailable",
];

/// Classes of status that routes answer with.
const CLASSES: [u16; 3] = [2, 4, 5];

impl Default for Counts {
    /// Whatever may be counted is there from the beginning: Prometheus does not see a counter rise that begins at 1.
    fn default() -> Self {
        let requests = access::routes().flat_map(|(method, route)| {
            let route = Cow::Borrowed(route);
            let asked = Asked { route, method };
            CLASSES.map(|class| ((asked.clone(), class), 0))
        });
        Self {
            uploads: Outcome::ALL.map(|outcome| (outcome.as_str(), 0)).into(),
            refusals: REFUSALS.map(|code| (code, 0)).into(),
            requests: requests.collect(),
            durations: BTreeMap::new(),
        }
    }
}

/// Methods are for clients to make up; labels are not.
fn known_method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"];
    let known = known.into_iter().find(|known| method == known);
    known.unwrap_or("other")
}

impl Asked {
    fn labels(&self) -> [(&'static str, &str); 2] {
        [("route", &*self.route), ("method", self.method)]
    }
}

impl Metrics {
    pub(crate) fn count_upload(&self, outcome: &'static str) {
        *self.counts().uploads.entry(outcome).or_default() += 1;
    }

    pub(crate) fn count_refusal(&self, code: &'static str) {
        *self.counts().refusals.entry(code).or_default() += 1;
    }

    fn count_request(&self, asked: Asked, status: u16, duration: Duration) {
        let mut counts = self.counts();
        let durations = counts.durations.entry(asked.clone()).or_default();
        durations.add(duration);
        *counts.requests.entry((asked, status / 100)).or_default() += 1;
    }

    /// The text for Prometheus.
    pub(crate) fn text(
        &self,
        uploads_in_progress: usize,
        store: Option<(&Store, Option<i64>)>,
        mailboxes: &[Mailbox],
    ) -> String {
        let counts = self.counts();
        let mut text = String::new();
        describe(
            &mut text,
            "ruad_build_info",
            "gauge",
            "The version of ruad.",
        );
        sample(
            &mut text,
            "ruad_build_info",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1,
        );
        describe(
            &mut text,
            "ruad_uploads_total",
            "counter",
            "Deliveries uploaded or tried again, by outcome.",
        );
        for (outcome, &count) in &counts.uploads {
            sample(
                &mut text,
                "ruad_uploads_total",
                &[("outcome", outcome)],
                count,
            );
        }
        describe(
            &mut text,
            "ruad_uploads_refused_total",
            "counter",
            "Uploads without an outcome, by reason.",
        );
        for (code, &count) in &counts.refusals {
            sample(
                &mut text,
                "ruad_uploads_refused_total",
                &[("code", code)],
                count,
            );
        }
        describe(
            &mut text,
            "ruad_uploads_in_progress",
            "gauge",
            "Uploads that are read or stored right now.",
        );
        sample(
            &mut text,
            "ruad_uploads_in_progress",
            &[],
            uploads_in_progress as u64,
        );
        describe(
            &mut text,
            "ruad_http_requests_total",
            "counter",
            "Answered requests by route, method and class of the status.",
        );
        for ((asked, class), &count) in &counts.requests {
            let [route, method] = asked.labels();
            let labels = [route, method, ("status", &format!("{class}xx"))];
            sample(&mut text, "ruad_http_requests_total", &labels, count);
        }
        load::write_durations(&mut text, &counts.durations);
        if let Some((store, rollup_backlog)) = store {
            load::write_store(&mut text, store, rollup_backlog);
        }
        write_mailboxes(&mut text, mailboxes);
        text
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing is left half done while the lock is held, so a panic elsewhere spoils no count.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request when it is answered.
pub(crate) async fn count_requests(
    extract::State(state): extract::State<State>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begin = Instant::now();
    let asked = Asked {
        route: route.map_or("unknown".into(), |route| route.as_str().to_owned().into()),
        method: known_method(request.method()),
    };
    let response = next.run(request).await;
    state
        .metrics
        .count_request(asked, response.status().as_u16(), begin.elapsed());
    response
}

/// What the database says of mailboxes: the same from each process that shares it.
fn write_mailboxes(text: &mut String, mailboxes: &[Mailbox]) {
    let mut gauge = |name: &str, help: &str, value: fn(&Mailbox) -> Option<u64>| {
        describe(text, name, "gauge", help);
        for mailbox in mailboxes {
            if let Some(value) = value(mailbox) {
                sample(text, name, &[("mailbox", &mailbox.name)], value);
            }
        }
    };
    gauge(
        "ruad_mailbox_up",
        "Whether a process works on the mailbox without trouble.",
        |mailbox| {
            let in_order = ["connecting", "working", "waiting"].contains(&mailbox.state.as_str());
            Some(u64::from(mailbox.is_held && in_order))
        },
    );
    gauge(
        "ruad_mailbox_backlog",
        "Mails that waited in the mailbox when it was last looked at.",
        |mailbox| u64::try_from(mailbox.backlog?).ok(),
    );
    gauge(
        "ruad_mailbox_last_poll_timestamp_seconds",
        "When the mailbox was last looked at.",
        |mailbox| u64::try_from(mailbox.last_poll_at?.unix_timestamp()).ok(),
    );
}

fn describe(text: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Label values are words and routes of ours and names of mailboxes, which are a-z, 0-9, - and _, so nothing in them needs escaping.
fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    text.push_str(name);
    if !labels.is_empty() {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        _ = write!(text, "{{{}}}", labels.join(","));
    }
    _ = writeln!(text, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_with_their_labels() {
        let metrics = Metrics::default();
        metrics.count_upload("stored");
        metrics.count_upload("stored");
        let asked = |route: &'static str, method: &str| Asked {
            route: route.into(),
            method: known_method(&method.parse().unwrap()),
        };
        let sources = asked("/api/v1/sources/{ip}", "GET");
        metrics.count_request(sources, 422, Duration::from_millis(20));
        metrics.count_request(asked("unknown", "BREW"), 404, Duration::ZERO);
        let text = metrics.text(3, None, &[]);
        for line in [
            "ruad_uploads_total{outcome=\"stored\"} 2\n",
            "ruad_uploads_in_progress 3\n",
            "ruad_uploads_total{outcome=\"rejected\"} 0\n",
            "ruad_uploads_refused_total{code=\"busy\"} 0\n",
            "ruad_http_requests_total{route=\"/api/v1/sources/{ip}\",method=\"GET\",status=\"4xx\"} 1\n",
            "ruad_http_requests_total{route=\"/api/v1/reports\",method=\"POST\",status=\"5xx\"} 0\n",
            "ruad_http_requests_total{route=\"unknown\",method=\"other\",status=\"4xx\"} 1\n",
            "ruad_http_request_duration_seconds_bucket{route=\"/api/v1/sources/{ip}\",method=\"GET\",le=\"0.01\"} 0\n",
            "ruad_http_request_duration_seconds_bucket{route=\"/api/v1/sources/{ip}\",method=\"GET\",le=\"+Inf\"} 1\n",
            "ruad_http_request_duration_seconds_count{route=\"/api/v1/sources/{ip}\",method=\"GET\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
