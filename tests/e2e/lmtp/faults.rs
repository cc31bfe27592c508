//! Clients that are slow, too many or gone, and a server that is killed or stopped.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Client, Post, RECIPIENT, assert_code, report_mail, stuffed};
use crate::{
    generated::assert_true,
    harness::{Database, Program, Service, Serving, eventually},
    reports::{Generated, Options, Truth, generate, mail},
};

/// Generated deliveries, each in a mail of its own if it is none.
fn mails(options: Options) -> (Generated, Vec<Vec<u8>>) {
    let generated = generate(options);
    let mails = generated
        .deliveries
        .iter()
        .map(|(name, bytes)| match name.ends_with(".eml") {
            true => bytes.clone(),
            false => mail(bytes),
        });
    let mails = mails.collect();
    (generated, mails)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_to_come_back() {
    let post = Post::start_with(Database::fresh().await, |config| {
        config.lmtp.connections_max = 2;
    })
    .await;
    let mut first = post.client().await;
    let _second = post.client().await;
    let mut third = Client::connect(&post.socket).await.unwrap();
    assert_code(&third.answer().await, "421 4.3.2");
    assert!(third.is_closed().await);

    assert_code(&first.say("QUIT").await, "221");
    eventually("there is room again", async || {
        let mut client = Client::connect(&post.socket).await.unwrap();
        client.answer().await.starts_with("220")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stands_still_is_shut_out() {
    let post = Post::start_with(Database::fresh().await, |config| {
        config.lmtp.timeout_secs = 1;
    })
    .await;
    let mut idle = post.client().await;
    let mut sending = post.client().await;
    sending.begin(&[RECIPIENT]).await;
    sending.send(b"Subject: half").await;
    let mut dribbling = post.client().await;
    let start = Instant::now();
    let dribble = async {
        // A byte now and then keeps no connection alive.
        loop {
            dribbling.send(b"x").await;
            if let Some(answer) = dribbling.try_answer(Duration::from_millis(200)).await {
                return answer;
            }
        }
    };
    let (idle, sending, dribbling) = tokio::join!(idle.answer(), sending.answer(), dribble);
    for answer in [idle, sending, dribbling] {
        assert_code(&answer, "421 4.4.2");
    }
    assert!(start.elapsed() > Duration::from_millis(500));
    assert_eq!(post.delivery_count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_message_that_breaks_off_nothing_is_taken() {
    let post = Post::start().await;
    let whole = stuffed(&report_mail("1"));
    for length in [0, 1, whole.len() / 2, whole.len() - 3, whole.len() - 1] {
        let mut client = post.client().await;
        client.begin(&[RECIPIENT]).await;
        client.send(&whole[..length]).await;
    }
    let mut client = post.client().await;
    assert_code(&client.deliver(&report_mail("2")).await, "250 2.0.0 stored");
    assert_eq!(post.delivery_count().await, 1);
    assert_eq!(post.service.stop().await.report_count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_senders_at_a_time_are_counted_right() {
    let (generated, mails) = mails(Options {
        seed: 51,
        reports: 400,
        records_max: 6,
        duplicates: 20,
        malformed: 5,
    });
    let post = Post::start().await;
    let next = AtomicUsize::new(0);
    let rejected = AtomicUsize::new(0);
    join_all((0..20).map(|_| async {
        let mut client = post.client().await;
        while let Some(mail) = mails.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = client.deliver(mail).await;
            assert_code(&answer, "250");
            rejected.fetch_add(usize::from(answer.contains("rejected")), Ordering::Relaxed);
        }
    }))
    .await;
    assert_eq!(rejected.into_inner(), generated.malformed);
    assert_eq!(post.delivery_count().await as usize, mails.len());
    assert_true(&post.service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills() {
    let (generated, mails) = mails(Options {
        seed: 52,
        reports: 600,
        records_max: 4,
        duplicates: 0,
        malformed: 0,
    });
    let database = Database::fresh().await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let socket = folder.path().join("lmtp.sock");
    let serve = || {
        Program::new(["serve"])
            .on(&database)
            .env("RUAD_LMTP__LISTEN", format!("unix:{}", socket.display()))
            .env("RUAD_LMTP__RECIPIENTS", RECIPIENT)
            .env("RUAD_LMTP__AUTHENTICITY", "off")
    };
    let next = AtomicUsize::new(0);
    let sender = async || {
        while let Some(mail) = mails.get(next.fetch_add(1, Ordering::Relaxed)) {
            // As a mail server does: again until it is acknowledged.
            eventually("the mail is acknowledged", async || {
                let answer = Client::try_deliver(&socket, mail).await;
                answer.is_some_and(|answer| answer.starts_with("250"))
            })
            .await;
        }
    };
    let chaos = async {
        let mut kills = 0;
        while next.load(Ordering::Relaxed) < mails.len() {
            let serving = Serving::start(serve()).await;
            let before = next.load(Ordering::Relaxed);
            eventually("some more are on their way", async || {
                next.load(Ordering::Relaxed) >= (before + 80).min(mails.len())
            })
            .await;
            serving.process.kill().await;
            kills += 1;
        }
        (kills, Serving::start(serve()).await)
    };
    let senders = join_all((0..6).map(|_| sender()));
    let (_, (kills, serving)) = tokio::join!(senders, chaos);
    assert!(kills > 2, "{kills}");
    serving.process.signal(rustix::process::Signal::TERM);
    assert_eq!(serving.process.end().await.code, Some(0));
    assert!(!socket.exists(), "the socket is removed at the end");
    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_the_message_at_hand_is_finished() {
    let post = Post::start().await;
    let mut idle = post.client().await;
    let mut busy = post.client().await;
    let message = stuffed(&report_mail("1"));
    busy.begin(&[RECIPIENT]).await;
    busy.send(&message[..100]).await;

    let stopping = tokio::spawn(post.service.stop());
    assert_code(&idle.answer().await, "421 4.3.2");
    assert!(idle.is_closed().await);
    sleep(Duration::from_millis(50)).await;
    busy.send(&message[100..]).await;
    assert_code(&busy.answer().await, "250 2.0.0 stored");
    assert_code(&busy.answer().await, "421 4.3.2");
    assert_eq!(stopping.await.unwrap().report_count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_on_tcp_as_well() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let database = Database::fresh().await;
    let serve = Program::new(["serve"])
        .on(&database)
        .env("RUAD_LMTP__LISTEN", "127.0.0.1:0")
        .env("RUAD_LMTP__RECIPIENTS", RECIPIENT);
    let serving = Serving::start(serve).await;
    let said = serving.process.said();
    let (_, address) = said.split_once("\"lmtp.address\":\"").unwrap();
    let address = address.split('"').next().unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"LHLO x\r\nQUIT\r\n").await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert!(
        answers.starts_with("220 ruad LMTP\r\n250-ruad\r\n"),
        "{answers}"
    );
    assert!(answers.ends_with("\r\n221 2.0.0 bye\r\n"), "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_used_is_said_at_once() {
    let database = Database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a-file");
    std::fs::write(&path, "").unwrap();
    for (listen, recipients, said) in [
        ("nonsense", RECIPIENT, "lmtp.listen must be"),
        ("127.0.0.1:0", "", "lmtp.recipients must"),
        (
            "127.0.0.1:0",
            "example.com",
            "lmtp.recipients must be addresses",
        ),
        (
            &format!("unix:{}", path.display()),
            RECIPIENT,
            "a file that is no socket",
        ),
    ] {
        let ended = Program::new(["serve"])
            .on(&database)
            .env("RUAD_LISTEN", "127.0.0.1:0")
            .env("RUAD_LMTP__LISTEN", listen)
            .env("RUAD_LMTP__RECIPIENTS", recipients)
            .run()
            .await;
        assert_ne!(ended.code, Some(0));
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
}
