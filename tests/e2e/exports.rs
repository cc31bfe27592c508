//! Lists as CSV and NDJSON: whole, harmless in a spreadsheet, and never cut off in silence.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use hyper::Method;
use serde_json::Value;
use sqlx::types::Uuid;
use store::{MailboxState, Scope};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    generated::imported,
    harness::{Client, Database, Service, eventually, id_of, make_token, query, raw_exchange},
    reports::{Record, Report},
};

const DAYS: &str = "from=2020-01-01&to=2026-12-31";

/// Lines of CSV, each by the names of its columns.
fn table(body: &[u8]) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_reader(body);
    reader.deserialize().map(Result::unwrap).collect()
}

async fn export(service: &Service, path: &str, format: &str) -> Vec<u8> {
    let path = format!("{path}&format={format}");
    let answer = service.request(Method::GET, &path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let disposition = answer.header("content-disposition").unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\""),
        "{disposition}"
    );
    assert!(
        disposition.ends_with(&format!(".{format}\"")),
        "{disposition}"
    );
    answer.body.to_vec()
}

fn lines(body: &[u8]) -> Vec<Value> {
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The fields of an answer, those of the objects that are written flat into it included.
fn fields(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return fields(document, target.unwrap());
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let parts = parts.flat_map(|part| fields(document, part));
    let own = schema["properties"].as_object().into_iter().flatten();
    own.map(|(name, _)| name.clone()).chain(parts).collect()
}

/// The addresses of all lists that the OpenAPI document knows, and of some that are filtered: a new one has to be added here.
async fn lists(service: &Service) -> Vec<String> {
    let document = service.get("/api/v1/openapi.json").await;
    let report = &service.list("/api/v1/reports?domain=example.com").await[0];
    let source = &service.list("/api/v1/domains/example.com/sources").await[0];
    let report = report["report_uid"].as_str().unwrap();
    let source = source["source_ip"].as_str().unwrap();
    let mut lists = vec![
        format!("/api/v1/domains/example.com/sources?{DAYS}&pass=false&sort=failures"),
        "/api/v1/deliveries?outcome=rejected".into(),
        "/api/v1/reports?domain=example.com".into(),
    ];
    for (path, operations) in document["paths"].as_object().unwrap() {
        let answer = &operations["get"]["responses"]["200"]["content"]["application/json"];
        let fields = fields(&document, &answer["schema"]);
        if !fields.contains(&"items".to_owned()) {
            continue;
        }
        let days = match path.as_str() {
            "/api/v1/domains"
            | "/api/v1/domains/{domain}/sources"
            | "/api/v1/domains/{domain}/sources/{ip}/records"
            | "/api/v1/domains/{domain}/reporters"
            | "/api/v1/sources/{ip}" => DAYS,
            "/api/v1/domains/{domain}/policies"
            | "/api/v1/reports"
            | "/api/v1/reports/{report_uid}/records"
            | "/api/v1/deliveries"
            | "/api/v1/mailboxes"
            | "/api/v1/tokens"
            | "/api/v1/audit" => "",
            path => panic!("{path} is a new list: say how it is asked"),
        };
        let path = path
            .replace("{domain}", "example.com")
            .replace("{ip}", source)
            .replace("{report_uid}", report);
        lists.push(format!("{path}?{days}"));
    }
    assert!(lists.len() > 12, "{lists:?}");
    lists
}

/// What reports do not bring: a token, a change, a mailbox in trouble.
async fn others(database: &Database, name: &str) {
    make_token(database, Scope::Read, &["example.com"]).await;
    let store = database.store();
    let (holder, lease) = (Uuid::now_v7(), Duration::from_secs(600));
    let leased = store.lease_mailbox(name, holder, name, lease).await;
    assert!(leased.unwrap());
    let state = MailboxState::Failed;
    let error = store.set_mailbox_error(name, holder, state, name, name);
    error.await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_exported_whole() {
    let (_, database) = imported().await;
    others(&database, "dmarc").await;
    let service = Service::start_with(database, |_| {}).await;
    for path in lists(&service).await {
        let items = service.list(&path).await;
        assert!(!items.is_empty(), "{path}");
        assert_eq!(
            lines(&export(&service, &path, "ndjson").await),
            items,
            "{path}"
        );
        let rows = table(&export(&service, &path, "csv").await);
        assert_eq!(rows.len(), items.len(), "{path}");
        for (row, item) in rows.iter().zip(&items) {
            assert_same(row, item, "");
        }
    }
}

/// Each value of an item stands in its cell.
#[track_caller]
fn assert_same(row: &HashMap<String, String>, item: &Value, prefix: &str) {
    for (key, value) in item.as_object().unwrap() {
        let column = format!("{prefix}{key}");
        let cell = row.get(&column).map(String::as_str);
        match value {
            Value::Null => assert!(matches!(cell, None | Some("")), "{column}: {cell:?}"),
            Value::Object(_) if cell.is_none() => assert_same(row, value, &format!("{column}_")),
            Value::Array(list) if list.is_empty() => assert_eq!(cell, Some(""), "{column}"),
            Value::String(text) => assert_eq!(cell, Some(text.as_str()), "{column}"),
            value => assert_eq!(cell, Some(value.to_string().as_str()), "{column}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_has_its_columns() {
    let service = Service::start().await;
    for path in [
        "/api/v1/mailboxes?",
        "/api/v1/reports?",
        "/api/v1/domains?",
        "/api/v1/deliveries?",
    ] {
        let body = String::from_utf8(export(&service, path, "csv").await).unwrap();
        assert!(
            body.ends_with("\r\n") && body.lines().count() == 1,
            "{path}: {body}"
        );
        assert!(body.contains(','), "{path}: {body}");
        assert!(export(&service, path, "ndjson").await.is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_accept_asks_too() {
    let service = Service::start().await;
    service
        .store(
            Report::new("example.com", "1")
                .passing("192.0.2.1", 5)
                .xml(),
        )
        .await;
    let get = async |path: &str, accept: &str| {
        let host = service.address;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        raw_exchange(host, request.as_bytes()).await
    };

    let answer = get("/api/v1/reports", "text/csv").await;
    assert!(
        answer.contains("content-type: text/csv; charset=utf-8; header=present\r\n"),
        "{answer}"
    );
    assert!(answer.contains("vary: accept\r\n"), "{answer}");
    assert!(answer.contains("content-length: "), "{answer}");
    let answer = get("/api/v1/reports", "application/x-ndjson").await;
    assert!(
        answer.contains("content-type: application/x-ndjson\r\n"),
        "{answer}"
    );
    let answer = get("/api/v1/reports?format=json", "text/csv").await;
    assert!(
        answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
    let answer = get("/api/v1/domains/example.com/summary", "text/csv").await;
    assert!(
        answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_text_in_a_spreadsheet() {
    let service = Service::start().await;
    let names = [
        "=HYPERLINK(\"http://example.org\",\"x\")",
        "+1",
        "-2+3",
        "@SUM(A1)",
        "\" =1+1\"",
        "\u{ff1d}1+1",
        "\u{200b}=1",
        "a,b;\"c\"",
        "<script>alert(1)</script>",
    ];
    for (number, name) in names.iter().enumerate() {
        let mut report = Report::new("example.com", &format!("-{number}")).passing("192.0.2.1", 1);
        report.org_name = (*name).into();
        service.store(report.xml()).await;
    }

    let rows = table(&export(&service, "/api/v1/reports?", "csv").await);

    let mut cells: Vec<&str> = rows.iter().map(|row| row["org_name"].as_str()).collect();
    cells.sort_unstable();
    let mut expected: Vec<String> = names.iter().map(|name| format!("'{name}")).collect();
    let texts = expected.len() - 2..;
    for text in &mut expected[texts] {
        text.remove(0);
    }
    expected.sort_unstable();
    assert_eq!(cells, expected);
    assert!(
        rows.iter().all(|row| row["report_id"].starts_with("'-")),
        "{rows:?}"
    );
    assert!(
        rows.iter().all(|row| row["message_count"] == "1"),
        "{rows:?}"
    );
}

/// A report about this domain that has the formula in every place for text.
fn formulas(domain: &str, formula: &str) -> String {
    format!(
        "<feedback><version>{formula}</version><report_metadata><org_name>{formula}</org_name><email>{formula}</email>\
         <extra_contact_info>{formula}</extra_contact_info><report_id>{formula}</report_id>\
         <date_range><begin>1709251200</begin><end>1709337599</end></date_range><error>{formula}</error><generator>{formula}</generator>\
         </report_metadata><policy_published><domain>{domain}</domain><p>none</p><fo>{formula}</fo></policy_published>\
         <record><row><source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated><disposition>{formula}</disposition>\
         <dkim>pass</dkim><spf>fail</spf><reason><type>{formula}</type><comment>{formula}</comment></reason></policy_evaluated></row>\
         <identifiers><header_from>{formula}</header_from><envelope_from>{formula}</envelope_from><envelope_to>{formula}</envelope_to></identifiers>\
         <auth_results><dkim><domain>{formula}</domain><selector>{formula}</selector><result>pass</result></dkim>\
         <spf><domain>{formula}</domain><result>pass</result></spf></auth_results></record></feedback>"
    )
}

/// Whatever text a list has, of whomever it comes.
#[tokio::test(flavor = "multi_thread")]
async fn no_column_of_any_list_holds_a_formula() {
    const FORMULA: &str = "=cmd|' /C calc'!A0";
    let service = Service::start().await;
    for body in [
        formulas("example.com", FORMULA),
        formulas(FORMULA, FORMULA),
        "no report".into(),
    ] {
        let form = format!(
            "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{FORMULA}\"\r\n\r\n{body}\r\n--x--\r\n"
        );
        let form_data = "multipart/form-data; boundary=x";
        service.upload_as(form_data, form).await;
    }
    others(&service.database, FORMULA).await;
    let text = FORMULA.replace('\'', "''");
    for change in [
        format!("update tokens set name = '{text}'"),
        format!(
            "update deliveries set mail_from_domain = '{text}', mail_dkim_domains = '{{}}', origin = '{text}'"
        ),
        format!("update reports set mail_from_domain = '{text}', mail_dkim_domains = '{{}}'"),
        format!(
            "insert into audit (actor, actor_name, action, subject, detail) values ('{text}', '{text}', '{text}', '{text}', to_jsonb('{text}'::text))"
        ),
    ] {
        assert!(service.database.execute(&change).await > 0, "{change}");
    }
    let mut harmless = BTreeMap::<String, BTreeSet<String>>::new();
    for path in lists(&service).await {
        for row in table(&export(&service, &path, "csv").await) {
            for (column, cell) in row {
                let begin = cell.trim_start().trim_start_matches('"');
                assert!(
                    !begin.starts_with(['=', '+', '-', '@']),
                    "{path}: {column}: {cell}"
                );
                if cell.starts_with("'=") {
                    let list = path.split('?').next().unwrap().to_owned();
                    harmless.entry(list).or_default().insert(column);
                }
            }
        }
    }
    insta::assert_json_snapshot!(harmless);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_what_its_token_sees() {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    for domain in ["ours.example", "theirs.example"] {
        let report = Report::new(domain, domain).passing("192.0.2.1", 4);
        admin.store(report.xml()).await;
    }
    let client = service.client(Scope::Read, &["ours.example"]).await;
    for format in ["csv", "ndjson"] {
        for list in ["domains", "sources/192.0.2.1", "reports", "deliveries"] {
            let answer = client.ask(&format!("/api/v1/{list}?format={format}")).await;
            assert_eq!(answer.status, 200, "{list}: {answer:?}");
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(text.contains("ours.example"), "{list}: {text}");
            assert!(!text.contains("theirs.example"), "{list}: {text}");
        }
        for (list, status) in [
            ("domains/theirs.example/sources", 404),
            ("domains/theirs.example/reporters", 404),
            ("mailboxes", 403),
            ("tokens", 403),
            ("audit", 403),
        ] {
            let path = format!("/api/v1/{list}?format={format}");
            assert_eq!(client.ask(&path).await.status, status, "{list}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_from_a_cursor_and_ends_at_a_limit() {
    let (_, database) = imported().await;
    let service = Service::start_with(database, |_| {}).await;
    let items = service.list("/api/v1/reports").await;
    let next = service.get("/api/v1/reports?limit=3").await["next"].clone();
    let next = query(next.as_str().unwrap());

    let rest = export(
        &service,
        &format!("/api/v1/reports?cursor={next}"),
        "ndjson",
    )
    .await;
    assert_eq!(lines(&rest), items[3..]);
    let path = format!("/api/v1/reports?format=ndjson&limit=2&cursor={next}");
    let two = service.request(Method::GET, &path).await;
    assert_eq!(lines(&two.body), items[3..5]);
    let link = two.header("link").unwrap();
    let path = link
        .strip_prefix('<')
        .and_then(|link| link.split_once('>'))
        .unwrap()
        .0;
    let path = format!("/api/v1/reports{path}");
    assert_eq!(lines(&export(&service, &path, "ndjson").await), items[5..7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let service = Service::start().await;
    for (path, code) in [
        ("/api/v1/reports?format=xml", "bad_query"),
        ("/api/v1/reports?format=csv&format=json", "bad_query"),
        ("/api/v1/reports?format=csv&limit=0", "bad_query"),
        ("/api/v1/reports?format=csv&limit=1001", "bad_query"),
        ("/api/v1/reports?format=csv&cursor=x", "bad_cursor"),
        ("/api/v1/reports?format=csv&unheard=of", "bad_query"),
    ] {
        let answer = service.request(Method::GET, path).await;
        assert_eq!(answer.problem(422), code, "{path}");
    }
    let answer = service.request(
        Method::GET,
        "/api/v1/domains/example.net/sources?format=csv",
    );
    assert_eq!(answer.await.problem(404), "unknown_domain");
}

/// Records of a report that does not fit into the buffers of a connection.
const RECORDS: usize = 30_000;

/// A service with such a report, and the path of its export.
async fn with_long_report() -> (Service, String) {
    let service = Service::start().await;
    let path = store_long_report(&service.nobody()).await;
    (service, path)
}

async fn store_long_report(client: &Client) -> String {
    let mut report = Report::new("example.com", "long");
    report.records = (0..RECORDS as u32)
        .map(|number| {
            let source_ip = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            Record::new(
                &source_ip.to_string(),
                1,
                &format!("{}.example.com", "x".repeat(60)),
            )
        })
        .collect();
    let stored = client.store(report.xml()).await;
    let uid = stored["reports"][0]["report_uid"].as_str().unwrap();
    format!("/api/v1/reports/{uid}/records?format=ndjson")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_long_report_is_all_that_is_read() {
    let (service, path) = with_long_report().await;
    let path = path.replace("format=ndjson", "limit=1");
    let read = "select coalesce(sum(idx_tup_fetch + seq_tup_read), 0)::bigint from pg_stat_user_tables \
        where schemaname = current_schema and relname like 'record_blocks%'";
    // Of a table that it knows nothing about, the server reads all and sorts it.
    service.database.execute("analyze record_blocks").await;
    assert_eq!(service.database.value::<i64>(read).await, 0);

    service.get(&path).await;

    let mut blocks = 0;
    eventually("the server says what it read", async || {
        blocks = service.database.value::<i64>(read).await;
        blocks > 0
    })
    .await;
    assert!(blocks < 10, "{blocks} of 30");
}

/// Asks with this head, and leaves the answer in the connection, of which little fits into the buffer of the client.
async fn ask_slowly(service: &Service, head: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let mut stream = socket.connect(service.address).await.unwrap();
    let host = service.address;
    let request = format!("GET {head}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

async fn rest_of(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_no_connection_to_the_database() {
    let (service, path) = with_long_report().await;
    let mut slow = Vec::new();
    // More of them than the store has connections.
    for _ in 0..25 {
        slow.push(ask_slowly(&service, &format!("{path} HTTP/1.1")).await);
    }

    eventually("idle connections", async || {
        let busy = "select count(*) from pg_stat_activity where datname = current_database() \
                    and pid <> pg_backend_pid() and state <> 'idle'";
        service.database.value::<i64>(busy).await == 0
    })
    .await;
    assert_eq!(
        service.get("/api/v1/reports").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let answer = rest_of(slow.pop().unwrap()).await;
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "the export is complete");
    let lines = answer
        .windows(12)
        .filter(|bytes| bytes == b"{\"position\":");
    assert_eq!(lines.count(), RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_breaks_off_does_not_look_complete() {
    let (service, path) = with_long_report().await;
    let slow = ask_slowly(&service, &format!("{path} HTTP/1.1")).await;

    service
        .database
        .execute("alter table record_blocks rename to gone")
        .await;
    let answer = rest_of(slow).await;

    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!answer.ends_with(b"0\r\n\r\n"), "there is no last chunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_the_token_that_asked_for_it() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Admin, &[]).await;
    let path = store_long_report(&service.nobody().bearer(&token)).await;
    let head = format!("{path} HTTP/1.1\r\nAuthorization: Bearer {token}");
    let complete = rest_of(ask_slowly(&service, &head).await).await;
    assert!(complete.ends_with(b"\r\n0\r\n\r\n"), "it is good");
    let slow = ask_slowly(&service, &head).await;

    let admin = service.client(Scope::Admin, &[]).await;
    let path = format!("/api/v1/tokens/{}", id_of(&token));
    assert_eq!(admin.send(Method::DELETE, &path, "").await.status, 204);
    let answer = rest_of(slow).await;

    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!answer.ends_with(b"0\r\n\r\n"), "there is no last chunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_ends_with_the_token_that_asked_for_it() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Admin, &[]).await;
    let client = service.nobody().bearer(&token);
    let bytes = "no report ".repeat(2 * 1024 * 1024);
    let rejected = client.send(Method::POST, "/api/v1/reports", bytes.clone());
    let delivery_id = rejected.await.json()["delivery_id"].clone();
    let path = format!("/api/v1/deliveries/{}/raw", delivery_id.as_str().unwrap());
    assert_eq!(client.ask(&path).await.body.len(), bytes.len());
    let head = format!("{path} HTTP/1.1\r\nAuthorization: Bearer {token}");
    let slow = ask_slowly(&service, &head).await;

    let admin = service.client(Scope::Admin, &[]).await;
    let path = format!("/api/v1/tokens/{}", id_of(&token));
    assert_eq!(admin.send(Method::DELETE, &path, "").await.status, 204);

    assert!(rest_of(slow).await.len() < bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_could_not_tell_is_sent_no_long_export() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Admin, &[]).await;
    let path = store_long_report(&service.nobody().bearer(&token)).await;
    let head = format!("{path} HTTP/1.0\r\nAuthorization: Bearer {token}");

    let old = rest_of(ask_slowly(&service, &head).await).await;

    let old = String::from_utf8_lossy(&old).into_owned();
    assert!(
        old.contains(" 505 ") && old.contains("\"code\":\"old_http\""),
        "{old}"
    );
}
