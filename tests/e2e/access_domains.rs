//! Tokens that are restricted to some policy domains: nothing of other domains exists for them.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Value, json};
use store::Scope;

use crate::{
    access::operations,
    harness::{Client, Service},
    reports::{DAY, FIRST_SECOND, Report, zip},
};

const OURS: &str = "ours.example";
const SHARED_IP: &str = "198.51.100.9";

/// What only the other domain's reports say. No answer to us may hold any of it, unless we said it ourselves.
const THEIRS: [&str; 6] = [
    "theirs.example",
    "their-reporter.example",
    "their-report",
    "203.0.113.77",
    "their-file",
    "2024-04",
];

/// A report of the other domain, from a later month.
fn their_report(number: u32) -> Report {
    let begin = FIRST_SECOND + 40 * DAY;
    let report = Report::new("theirs.example", &format!("their-report-{number}"));
    let mut report = report.period(begin, begin + DAY - 1);
    report.org_name = "their-reporter.example".into();
    report.passing("203.0.113.77", 7).failing(SHARED_IP, 3)
}

fn our_report(number: u32) -> Report {
    Report::new(OURS, &format!("our-report-{number}"))
        .passing("192.0.2.1", 10)
        .passing(SHARED_IP, 5)
}

/// A service with reports of both domains, and what the other domain's things are called.
struct Shared {
    service: Service,
    their_report: String,
    their_delivery: String,
    /// A delivery with a report of each domain, both in conflict with what is stored.
    mixed_delivery: String,
    our_delivery: String,
}

impl Shared {
    async fn start() -> Self {
        let service = Service::guarded().await;
        let admin = service.client(Scope::Admin, &[]).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        admin.store(our_report(1).xml()).await;
        // Names below a domain are part of it, names that only look like it are not.
        let below = Report::new("mail.ours.example", "our-report-2");
        admin.store(below.passing("192.0.2.1", 1).xml()).await;
        let alike = Report::new("not-ours.example", "their-report-3");
        admin.store(alike.passing("203.0.113.77", 1).xml()).await;
        let stored = admin.store(their_report(1).xml()).await;
        let conflict = async |report: Report, with: &[(&str, &[u8])]| {
            let other = report.passing("203.0.113.77", 1).xml();
            let mut members = vec![("their-file.xml", other.as_slice())];
            members.extend(with);
            let upload = admin.send(Method::POST, "/api/v1/reports", zip(&members));
            let upload = upload.await.json();
            text(&upload["delivery_id"])
        };
        let our_other = our_report(1).passing("192.0.2.2", 1).xml();
        let our_delivery = admin.send(Method::POST, "/api/v1/reports", our_other.clone());
        let our_delivery = text(&our_delivery.await.json()["delivery_id"]);
        let their_delivery = conflict(their_report(1), &[]).await;
        let ours = ("ours.xml", our_other.as_slice());
        Self {
            their_report: text(&stored["reports"][0]["report_uid"]),
            their_delivery,
            mixed_delivery: conflict(their_report(1), &[ours]).await,
            our_delivery,
            service,
        }
    }

    async fn client(&self, scope: Scope) -> Client {
        self.service.client(scope, &["OURS.example."]).await
    }

    /// How each operation is asked about the other domain's things, and what somebody with scope admin, restricted to ours,
    /// is answered. `new_route` in the panic below means: add it here.
    fn cases(&self) -> BTreeMap<&'static str, (String, &'static str, u16)> {
        let delivery = format!("/api/v1/deliveries/{}", self.their_delivery);
        let report = format!("/api/v1/reports/{}", self.their_report);
        BTreeMap::from(
            [
                ("get /", "/".to_owned(), "", 200),
                ("get /healthz", "/healthz".into(), "", 200),
                ("get /readyz", "/readyz".into(), "", 200),
                ("get /docs", "/docs".into(), "", 200),
                ("get /docs.css", "/docs.css".into(), "", 200),
                ("get /metrics", "/metrics".into(), "", 403),
                (
                    "get /api/v1/openapi.json",
                    "/api/v1/openapi.json".into(),
                    "",
                    200,
                ),
                ("get /api/v1/session", "/api/v1/session".into(), "", 200),
                (
                    "post /api/v1/session",
                    "/api/v1/session".into(),
                    r#"{"token":"x"}"#,
                    401,
                ),
                ("delete /api/v1/session", "/api/v1/session".into(), "", 204),
                // Here is no provider.
                (
                    "get /api/v1/session/oidc",
                    "/api/v1/session/oidc".into(),
                    "",
                    404,
                ),
                (
                    "get /api/v1/session/oidc/callback",
                    "/api/v1/session/oidc/callback".into(),
                    "",
                    404,
                ),
                ("get /api/v1/domains", "/api/v1/domains".into(), "", 200),
                (
                    "get /api/v1/domains/{domain}/summary",
                    "/api/v1/domains/theirs.example/summary".into(),
                    "",
                    404,
                ),
                (
                    "get /api/v1/domains/{domain}/sources",
                    "/api/v1/domains/theirs.example/sources".into(),
                    "",
                    404,
                ),
                (
                    "get /api/v1/domains/{domain}/sources/{ip}/records",
                    "/api/v1/domains/theirs.example/sources/203.0.113.77/records".into(),
                    "",
                    404,
                ),
                (
                    "get /api/v1/domains/{domain}/reporters",
                    "/api/v1/domains/theirs.example/reporters".into(),
                    "",
                    404,
                ),
                (
                    "get /api/v1/domains/{domain}/policies",
                    "/api/v1/domains/theirs.example/policies".into(),
                    "",
                    404,
                ),
                (
                    "get /api/v1/sources/{ip}",
                    "/api/v1/sources/203.0.113.77".into(),
                    "",
                    200,
                ),
                ("get /api/v1/reports", "/api/v1/reports".into(), "", 200),
                (
                    "post /api/v1/reports",
                    "/api/v1/reports".into(),
                    "<feedback>",
                    422,
                ),
                ("get /api/v1/reports/{report_uid}", report.clone(), "", 404),
                (
                    "get /api/v1/reports/{report_uid}/records",
                    format!("{report}/records"),
                    "",
                    404,
                ),
                (
                    "get /api/v1/deliveries",
                    "/api/v1/deliveries".into(),
                    "",
                    200,
                ),
                (
                    "get /api/v1/deliveries/{delivery_id}",
                    delivery.clone(),
                    "",
                    404,
                ),
                (
                    "delete /api/v1/deliveries/{delivery_id}",
                    delivery.clone(),
                    "",
                    404,
                ),
                (
                    "get /api/v1/deliveries/{delivery_id}/raw",
                    format!("{delivery}/raw"),
                    "",
                    404,
                ),
                (
                    "post /api/v1/deliveries/{delivery_id}/retry",
                    format!("{delivery}/retry"),
                    "",
                    404,
                ),
                ("get /api/v1/mailboxes", "/api/v1/mailboxes".into(), "", 403),
                ("get /api/v1/tokens", "/api/v1/tokens".into(), "", 403),
                (
                    "post /api/v1/tokens",
                    "/api/v1/tokens".into(),
                    r#"{"scope":"admin"}"#,
                    403,
                ),
                (
                    "delete /api/v1/tokens/{token_id}",
                    "/api/v1/tokens/x".into(),
                    "",
                    403,
                ),
                ("get /api/v1/audit", "/api/v1/audit".into(), "", 403),
            ]
            .map(|(operation, path, body, status)| (operation, (path, body, status))),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_tells_of_other_domains() {
    let shared = Shared::start().await;
    let admin = shared.client(Scope::Admin).await;
    let others = [
        shared.client(Scope::Read).await,
        shared.client(Scope::Ingest).await,
    ];
    let cases = shared.cases();

    for operation in operations(&admin).await {
        let (path, body, status) = cases
            .get(operation.as_str())
            .unwrap_or_else(|| panic!("new_route without a case: {operation}"));
        let method = operation.split(' ').next().unwrap().to_uppercase();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for client in others.iter().chain([&admin]) {
            let client = client.header("content-type", "application/json");
            let answer = client.send(method.clone(), path, *body).await;

            let text = String::from_utf8_lossy(&answer.body);
            for theirs in THEIRS.iter().filter(|theirs| !path.contains(**theirs)) {
                assert!(!text.contains(theirs), "{operation} tells {theirs}: {text}");
            }
            assert!(answer.status < 500, "{operation}: {answer:?}");
        }
        let client = admin.header("content-type", "application/json");
        let answer = client.send(method, path, *body).await;
        assert_eq!(answer.status, *status, "{operation}: {answer:?}");
    }
    let kept = format!(
        "select count(*) from quarantine where delivery_id = '{}'",
        shared.their_delivery
    );
    assert_eq!(shared.service.database.value::<i64>(&kept).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_as_unknown_as_what_is_nowhere() {
    let shared = Shared::start().await;
    let client = shared.client(Scope::Admin).await;
    let nowhere = "00000000-0000-7000-8000-000000000000";
    for (method, theirs, unknown) in [
        (
            "GET",
            "/api/v1/domains/theirs.example/summary".to_owned(),
            "/api/v1/domains/nowhere.example/summary".to_owned(),
        ),
        (
            "GET",
            "/api/v1/domains/THEIRS.example./sources".into(),
            "/api/v1/domains/nowhere.example/sources".into(),
        ),
        (
            "GET",
            "/api/v1/sources/203.0.113.77".into(),
            "/api/v1/sources/203.0.113.78".into(),
        ),
        (
            "GET",
            "/api/v1/reports?domain=theirs.example".into(),
            "/api/v1/reports?domain=nowhere.example".into(),
        ),
        (
            "GET",
            "/api/v1/reports?org_name=their-reporter.example".into(),
            "/api/v1/reports?org_name=x".into(),
        ),
        (
            "GET",
            format!("/api/v1/reports/{}", shared.their_report),
            format!("/api/v1/reports/{nowhere}"),
        ),
        (
            "GET",
            format!("/api/v1/reports/{}/records", shared.their_report),
            format!("/api/v1/reports/{nowhere}/records"),
        ),
        (
            "GET",
            format!("/api/v1/deliveries/{}", shared.their_delivery),
            format!("/api/v1/deliveries/{nowhere}"),
        ),
        (
            "GET",
            format!("/api/v1/deliveries/{}/raw", shared.their_delivery),
            format!("/api/v1/deliveries/{nowhere}/raw"),
        ),
        (
            "POST",
            format!("/api/v1/deliveries/{}/retry", shared.their_delivery),
            format!("/api/v1/deliveries/{nowhere}/retry"),
        ),
        (
            "DELETE",
            format!("/api/v1/deliveries/{}", shared.their_delivery),
            format!("/api/v1/deliveries/{nowhere}"),
        ),
    ] {
        let ask = async |path: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = client.send(method, path, "").await;
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            let text = text
                .replace("nowhere.example", "theirs.example")
                .replace("203.0.113.78", "203.0.113.77");
            let text = text
                .replace(nowhere, &shared.their_report)
                .replace(&shared.their_delivery, &shared.their_report);
            (answer.status, text)
        };
        assert_eq!(ask(&theirs).await, ask(&unknown).await, "{method} {theirs}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_and_default_ranges_are_of_our_domains() {
    let shared = Shared::start().await;
    let client = shared.client(Scope::Read).await;

    let domains = client.get("/api/v1/domains").await;
    let names: Vec<&str> = domains["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["domain"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["mail.ours.example", OURS]);
    assert_eq!(domains["to"], "2024-03-01", "the others have later days");

    for merged in [false, true] {
        if merged {
            let store = shared.service.database.store();
            store
                .compact(time::OffsetDateTime::UNIX_EPOCH)
                .await
                .unwrap();
            store.close().await;
        }
        let source = client.get(&format!("/api/v1/sources/{SHARED_IP}")).await;
        assert_eq!(
            (&source["message_count"], &source["to"]),
            (&json!(5), &json!("2024-03-01")),
            "{source}"
        );
        assert_eq!(source["items"].as_array().unwrap().len(), 1, "{source}");
        assert_eq!(source["series"].as_array().unwrap().len(), 1, "{source}");
        let other = client.get("/api/v1/sources/203.0.113.77").await;
        assert_eq!(
            (&other["message_count"], &other["to"]),
            (&json!(0), &Value::Null),
            "{other}"
        );
    }
    let all = shared.service.client(Scope::Read, &[]).await;
    let source = all.get(&format!("/api/v1/sources/{SHARED_IP}")).await;
    assert_eq!(source["to"], "2024-04-10", "{source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_somebody_else_leads_to_nothing_of_theirs() {
    let shared = Shared::start().await;
    let all = shared.service.client(Scope::Read, &[]).await;
    let client = shared.client(Scope::Read).await;
    for path in [
        "/api/v1/domains?",
        "/api/v1/reports?",
        "/api/v1/deliveries?",
        &format!("/api/v1/sources/{SHARED_IP}?from=2024-01-01&to=2024-12-31&"),
    ] {
        let page = all.get(&format!("{path}limit=1")).await;
        let cursor = page["next"]
            .as_str()
            .unwrap_or_else(|| panic!("{path}: {page}"));

        let answer = client.get(&format!("{path}cursor={cursor}&limit=1")).await;

        let items = answer["items"].to_string();
        for theirs in THEIRS {
            assert!(!items.contains(theirs), "{path}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_delivery_with_more_only_our_documents_are_shown() {
    let shared = Shared::start().await;
    let client = shared.client(Scope::Admin).await;
    let mixed = format!("/api/v1/deliveries/{}", shared.mixed_delivery);

    let listed = client.get("/api/v1/deliveries").await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 4, "{listed}");
    assert_eq!(items[0], client.get(&mixed).await);
    let domains: Vec<&Value> = items[0]["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| &document["domain"])
        .collect();
    assert_eq!(domains, [OURS]);
    for hidden in ["name", "sha256", "size_bytes", "mail"] {
        assert_eq!(items[0][hidden], Value::Null, "{hidden}");
    }
    assert_eq!(items[0]["raw_kept"], false);
    for (method, path) in [
        (Method::GET, format!("{mixed}/raw")),
        (Method::POST, format!("{mixed}/retry")),
        (Method::DELETE, mixed.clone()),
    ] {
        assert_eq!(
            client.send(method, &path, "").await.problem(404),
            "not_kept"
        );
    }

    let ours = format!("/api/v1/deliveries/{}", shared.our_delivery);
    let kept = client.get("/api/v1/deliveries?raw_kept=true").await;
    assert_eq!(kept["items"], json!([client.get(&ours).await]));
    let other = client.get("/api/v1/deliveries?raw_kept=false").await;
    assert_eq!(other["items"].as_array().unwrap().len(), 3);
    assert_eq!(client.get(&ours).await["raw_kept"], true);
    assert_eq!(client.ask(&format!("{ours}/raw")).await.status, 200);
    let retried = client
        .send(Method::POST, &format!("{ours}/retry"), "")
        .await;
    assert_eq!(retried.status, 409, "{retried:?}");
    assert_eq!(client.send(Method::DELETE, &ours, "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_delivery_that_is_still_being_read_nothing_is_shown_as_a_whole() {
    let shared = Shared::start().await;
    let client = shared.client(Scope::Admin).await;
    let path = format!("/api/v1/deliveries/{}", shared.our_delivery);
    // As a large report leaves it: what follows in the delivery may be of another domain.
    let update = format!(
        "update deliveries set is_complete = false where delivery_id = '{}'",
        shared.our_delivery
    );
    shared.service.database.execute(&update).await;

    let delivery = client.get(&path).await;

    for hidden in ["name", "sha256", "size_bytes", "mail"] {
        assert_eq!(delivery[hidden], Value::Null, "{hidden}");
    }
    assert_eq!(delivery["raw_kept"], false);
    assert_eq!(delivery["documents"][0]["domain"], OURS);
    let raw = client.ask(&format!("{path}/raw")).await;
    assert_eq!(raw.problem(404), "not_kept");
    let listed = client.get("/api/v1/deliveries").await;
    assert!(listed["items"].as_array().unwrap().contains(&delivery));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_delivery_with_more_came_from_cannot_be_asked() {
    let shared = Shared::start().await;
    let mail = format!(
        "update deliveries set origin = 'imap:their-file', mail_dkim_domains = '{{}}', mail_dmarc_pass = true \
         where delivery_id = '{}'",
        shared.mixed_delivery
    );
    shared.service.database.execute(&mail).await;
    let all = shared.service.client(Scope::Read, &[]).await;
    let client = shared.client(Scope::Read).await;

    let path = format!("/api/v1/deliveries/{}", shared.mixed_delivery);
    assert_eq!(client.get(&path).await["origin"], "imap");
    for (filter, ours) in [
        ("origin=imap:their-file", 0),
        ("mail_dmarc_pass=true", 0),
        ("origin=imap", 1),
        // It is kept, as is what is theirs alone.
        ("raw_kept=true&origin=imap:their-file", 0),
    ] {
        let path = format!("/api/v1/deliveries?{filter}");
        let count = |answer: Value| answer["items"].as_array().unwrap().len();
        assert_eq!(count(client.get(&path).await), ours, "{filter}");
        assert_eq!(count(all.get(&path).await), 1 - ours, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_of_a_delivery_is_that_of_our_documents() {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    admin.store(their_report(1).xml()).await;
    let (ours, theirs) = (
        our_report(1).xml(),
        their_report(1).passing("203.0.113.77", 1).xml(),
    );
    admin
        .store(zip(&[("a.xml", &theirs), ("b.xml", &ours)]))
        .await;
    let client = service.client(Scope::Read, &[OURS]).await;

    let outcomes = async |filter: &str| {
        let listed = client
            .get(&format!("/api/v1/deliveries?outcome={filter}"))
            .await;
        let items = listed["items"].as_array().unwrap().iter();
        items
            .map(|item| item["outcome"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes("conflict").await, [] as [Value; 0]);
    assert_eq!(outcomes("stored").await, ["stored"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_upload_brings_reports_for_its_domains_only() {
    let service = Service::guarded().await;
    let client = service.client(Scope::Ingest, &[OURS]).await;

    client.store(our_report(1).xml()).await;
    let refused = client
        .send(Method::POST, "/api/v1/reports", their_report(1).xml())
        .await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["reports"][0]["code"], "domain_not_allowed");
    let both = zip(&[
        ("a.xml", &their_report(2).xml()),
        ("b.xml", &our_report(2).xml()),
    ]);
    let half = client.send(Method::POST, "/api/v1/reports", both).await;
    assert_eq!(half.outcomes(), ["rejected", "stored"]);
    assert_eq!(service.database.report_count().await, 2);

    // Whoever is not restricted may take in what was rejected.
    let admin = service.client(Scope::Admin, &[]).await;
    let path = format!(
        "/api/v1/deliveries/{}/retry",
        refused.json()["delivery_id"].as_str().unwrap()
    );
    assert_eq!(admin.send(Method::POST, &path, "").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_domains_are_no_patterns() {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    for (number, domain) in [
        "a_b.example",
        "axb.example",
        "x.a_b.example",
        "x.axb.example",
    ]
    .iter()
    .enumerate()
    {
        let report = Report::new(domain, &number.to_string()).passing("192.0.2.1", 1);
        admin.store(report.xml()).await;
    }
    let client = service.client(Scope::Read, &["a_b.example"]).await;

    let listed = client.get("/api/v1/reports").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    let listed = client.get("/api/v1/deliveries").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains("axb"), "{listed}");
}
