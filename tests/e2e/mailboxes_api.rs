//! Mailboxes as the API shows them, and the lease that keeps two processes apart.

use std::time::Duration;

use hyper::Method;
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, types::Uuid};
use store::{MailboxPosition, MailboxState, Store};

use crate::harness::{Cluster, Service, eventually};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

/// A process that works on mailboxes.
struct Holder {
    store: Store,
    id: Uuid,
    name: &'static str,
}

impl Holder {
    fn new(service: &Service, name: &'static str) -> Self {
        Self {
            store: service.database.store(),
            id: Uuid::now_v7(),
            name,
        }
    }

    async fn lease(&self, mailbox: &str, lease: Duration) -> bool {
        let leased = self.store.lease_mailbox(mailbox, self.id, self.name, lease);
        leased.await.unwrap()
    }

    async fn says(&self, mailbox: &str, state: MailboxState) {
        let said = self.store.set_mailbox_state(mailbox, self.id, state);
        said.await.unwrap();
    }

    async fn progress(&self, mailbox: &str, taken: u64, backlog: u64) {
        let said = self
            .store
            .set_mailbox_progress(mailbox, self.id, taken, backlog);
        said.await.unwrap();
    }

    async fn fails(&self, mailbox: &str, code: &str, error: &str) {
        let failed = MailboxState::Failed;
        let said = self
            .store
            .set_mailbox_error(mailbox, self.id, failed, code, error);
        said.await.unwrap();
    }

    async fn release(&self, mailbox: &str) {
        let released = self.store.release_mailbox(mailbox, self.id);
        released.await.unwrap();
    }
}

async fn mailboxes(service: &Service) -> Vec<Value> {
    service.list("/api/v1/mailboxes").await
}

/// The only mailbox.
async fn mailbox(service: &Service) -> Value {
    let mailboxes = mailboxes(service).await;
    assert_eq!(mailboxes.len(), 1, "{mailboxes:?}");
    mailboxes.into_iter().next().unwrap()
}

async fn metrics(service: &Service) -> String {
    let answer = service.request(Method::GET, "/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// Times are replaced where there is one.
fn steady(mut body: Value) -> Value {
    for item in body["items"].as_array_mut().unwrap() {
        for key in [
            "/state_at",
            "/last_connected_at",
            "/last_poll_at",
            "/last_delivery_at",
            "/lease_until",
            "/last_error/at",
        ] {
            if let Some(time) = item.pointer_mut(key).filter(|time| time.is_string()) {
                *time = "[time]".into();
            }
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_each_mailbox_and_what_went_wrong() {
    let service = Service::start().await;
    assert_eq!(
        service.get("/api/v1/mailboxes").await,
        json!({"items": [], "next": null})
    );
    let process = Holder::new(&service, "mx1:4711");
    for mailbox in ["broken", "fine", "new"] {
        assert!(process.lease(mailbox, LONG).await);
    }

    process.says("fine", MailboxState::Waiting).await;
    process.progress("fine", 3, 0).await;
    let advice =
        "the server refuses the credentials of dmarc@example.org; correct user and password";
    process.fails("broken", "credentials", advice).await;

    assert_json_snapshot!("mailboxes", steady(service.get("/api/v1/mailboxes").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_stays_visible_after_it_is_over() {
    let service = Service::start().await;
    let process = Holder::new(&service, "mx1:1");
    process.lease("dmarc", LONG).await;
    process
        .fails("dmarc", "unreachable", "connection refused")
        .await;
    assert_eq!(mailbox(&service).await["state"], "failed");
    assert_eq!(mailbox(&service).await["last_connected_at"], Value::Null);

    process.says("dmarc", MailboxState::Connecting).await;
    process.says("dmarc", MailboxState::Working).await;
    process.progress("dmarc", 100, 250).await;

    let shown = mailbox(&service).await;
    assert_eq!(
        (&shown["state"], &shown["backlog"]),
        (&json!("working"), &json!(250))
    );
    assert_eq!(shown["last_error"]["code"], "unreachable");
    assert_eq!(shown["last_error"]["detail"], "connection refused");
    for key in ["last_connected_at", "last_poll_at", "last_delivery_at"] {
        assert!(shown[key].is_string(), "{key}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_held_by_one_process_at_a_time() {
    let service = Service::start().await;
    let first = Holder::new(&service, "mx1:1");
    let second = Holder::new(&service, "mx2:2");

    assert!(first.lease("dmarc", LONG).await);
    assert!(!second.lease("dmarc", LONG).await, "it is held");
    assert!(second.lease("other", LONG).await, "another one is free");
    assert!(first.lease("dmarc", LONG).await, "renewed");

    first.release("dmarc").await;
    let released = &mailboxes(&service).await[0];
    assert_eq!(
        (
            &released["state"],
            &released["holder"],
            &released["lease_until"]
        ),
        (&json!("stopped"), &Value::Null, &Value::Null)
    );
    assert!(second.lease("dmarc", LONG).await, "free at once");
    assert!(!first.lease("dmarc", LONG).await);
    assert_eq!(mailboxes(&service).await[0]["holder"], "mx2:2");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_want_a_mailbox_at_once_one_gets_it() {
    let service = Service::start().await;
    let holders: Vec<Holder> = (0..8).map(|_| Holder::new(&service, "mx:1")).collect();

    let leases = holders.iter().map(|holder| holder.lease("dmarc", LONG));
    let leased = futures_util::future::join_all(leases).await;

    assert_eq!(leased.iter().filter(|leased| **leased).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailbox_of_a_process_that_died_is_unattended_and_taken_over() {
    let service = Service::start().await;
    let dead = Holder::new(&service, "mx1:1");
    assert!(dead.lease("dmarc", SHORT).await);
    dead.says("dmarc", MailboxState::Working).await;
    eventually("the lease ends", async || {
        mailbox(&service).await["state"] == "unattended"
    })
    .await;
    assert!(
        metrics(&service)
            .await
            .contains("ruad_mailbox_up{mailbox=\"dmarc\"} 0\n")
    );

    let heir = Holder::new(&service, "mx2:2");
    assert!(heir.lease("dmarc", LONG).await);

    assert_eq!(mailbox(&service).await["holder"], "mx2:2");
    assert!(
        !dead.lease("dmarc", LONG).await,
        "should it live after all, it is too late"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_is_not_heard_any_more() {
    let service = Service::start().await;
    let late = Holder::new(&service, "mx1:1");
    late.lease("dmarc", SHORT).await;
    let heir = Holder::new(&service, "mx2:2");
    eventually("the lease ends", async || heir.lease("dmarc", LONG).await).await;
    heir.says("dmarc", MailboxState::Waiting).await;
    let position = MailboxPosition {
        uid_validity: 7,
        next_uid: 100,
    };
    let store = &heir.store;
    let kept = store.set_mailbox_position("dmarc", heir.id, position);
    kept.await.unwrap();
    let before = mailbox(&service).await;

    late.says("dmarc", MailboxState::Working).await;
    late.progress("dmarc", 9, 9).await;
    late.fails("dmarc", "unreachable", "too late").await;
    late.release("dmarc").await;
    let stale = MailboxPosition {
        uid_validity: 7,
        next_uid: 50,
    };
    let refused = store.set_mailbox_position("dmarc", late.id, stale);
    refused.await.unwrap();

    assert_eq!(mailbox(&service).await, before);
    let kept = store.mailbox_position("dmarc").await.unwrap();
    assert_eq!(kept, Some(position));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_mailboxes() {
    let service = Service::start().await;
    let process = Holder::new(&service, "mx1:1");
    process.lease("fine", LONG).await;
    process.says("fine", MailboxState::Working).await;
    process.progress("fine", 3, 17).await;
    process.lease("broken", LONG).await;
    process.fails("broken", "unreachable", "refused").await;

    let text = metrics(&service).await;

    for line in [
        "# TYPE ruad_mailbox_up gauge\n",
        "ruad_mailbox_up{mailbox=\"fine\"} 1\n",
        "ruad_mailbox_up{mailbox=\"broken\"} 0\n",
        "ruad_mailbox_backlog{mailbox=\"fine\"} 17\n",
        "ruad_mailbox_last_poll_timestamp_seconds{mailbox=\"fine\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let unknown = "ruad_mailbox_backlog{mailbox=\"broken\"}";
    assert!(!text.contains(unknown), "not known is not zero: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_answer_without_the_database() {
    let mut cluster = Cluster::start().await;
    let service = Service::start_with(cluster.database(), |_| {}).await;
    let process = Holder::new(&service, "mx1:1");
    process.lease("dmarc", LONG).await;
    let sample = "ruad_mailbox_up{mailbox=\"dmarc\"}";
    assert!(metrics(&service).await.contains(sample));

    cluster.stop().await;
    let away = metrics(&service).await;
    assert!(away.contains("ruad_uploads_in_progress 0\n"), "{away}");
    assert!(!away.contains(sample), "{away}");

    cluster.restart().await;
    eventually("mailboxes are told of again", async || {
        metrics(&service).await.contains(sample)
    })
    .await;
    process.store.close().await;
    service.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_do_not_wait_for_a_database_that_stalls() {
    let service = Service::start().await;
    let process = Holder::new(&service, "mx1:1");
    process.lease("dmarc", LONG).await;
    let sample = "ruad_mailbox_up{mailbox=\"dmarc\"}";
    let mut other = PgConnection::connect(&service.database.url).await.unwrap();
    let lock = "begin; lock table mailboxes in access exclusive mode";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();

    let scrape = tokio::time::timeout(Duration::from_secs(10), metrics(&service));
    let without = scrape.await.expect("an answer within a scrape's time");
    other.close().await.unwrap();

    assert!(!without.contains(sample), "{without}");
    eventually("mailboxes are told of again", async || {
        metrics(&service).await.contains(sample)
    })
    .await;
}
