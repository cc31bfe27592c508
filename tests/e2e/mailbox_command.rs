//! `ruad mailbox test`: what works is said step by step, what does not with what to do, and nothing is changed.

use server::mailbox;

use crate::{
    harness::{
        Database, Dovecot, DovecotOptions, Ended, Mailbox, PASSWORD, Program, Service, Tokens,
    },
    mailbox::{becomes, config, in_environment, reports, settles, with_mailbox},
};

async fn server() -> (Dovecot, Mailbox) {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver_all("INBOX", reports(3)).await;
    (dovecot, mailbox)
}

/// The command with settings of the mailbox from the environment.
fn testing(dovecot: &Dovecot, name: &str, settings: &[(&str, &str)]) -> Program {
    let program = Program::new(["mailbox", "test", name]);
    in_environment(program, dovecot, settings)
}

/// The first line that says that something failed.
fn failure(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let failed = |line: &&str| line.starts_with("FAILED");
    ended.stdout.lines().find(failed).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_is_said_and_nothing_is_changed() {
    let (dovecot, mailbox) = server().await;
    mailbox.add_flags("INBOX", 1, "\\Seen").await;
    let before = mailbox.folder("INBOX").await;
    let settings = [("AFTER", "move"), ("REJECTED_FOLDER", "bad")];
    for (settings, waiting) in [(&settings[..], 3), (&[], 2)] {
        let ended = testing(&dovecot, "dmarc", settings).run().await.succeeded();
        let said = &ended.stdout;
        for part in [
            &format!("certificate sha256 {}", dovecot.certificates.sha256),
            "tells of new mail (IDLE)",
            "INBOX: 3 mails",
            &format!("{waiting} of 3 mails wait"),
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.lines().all(|line| line.starts_with("ok ")), "{said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
    assert_eq!(mailbox.folder("INBOX").await, before);
    assert_eq!(mailbox.folders().await, ["INBOX"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_said_with_what_to_do() {
    let (dovecot, mailbox) = server().await;
    let stranger = Dovecot::start().await;
    let stranger_ca = stranger.certificates.ca_file.to_str().unwrap();
    mailbox.restrict("INBOX", "lr");
    for (settings, step, advice) in [
        (("PORT", "1"), "connect", "check host, port and firewalls"),
        (
            ("CA_FILE", stranger_ca),
            "connect",
            "certificate_sha256 = \"",
        ),
        (
            ("PASSWORD", "hunter2"),
            "log in",
            "correct user and password",
        ),
        (("FOLDER", "nothing"), "open folder", "check folder"),
        (("AFTER", "delete"), "open folder", "after = \"leave\""),
    ] {
        let ended = testing(&dovecot, "dmarc", &[settings]).run().await;
        let line = failure(&ended);
        assert!(line.contains(step) && line.contains(advice), "{ended:?}");
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
    }
    let ended = testing(&dovecot, "dmrac", &[]).run().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("configured are: dmarc"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_the_test_uses_up_is_replaced_for_the_service() {
    let tokens = Tokens::start().await;
    let dovecot = Dovecot::start_with(DovecotOptions {
        introspection_url: tokens.introspection_url(),
        ..DovecotOptions::default()
    })
    .await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver(&reports(1)[0]).await;
    tokens.allow_client("ruad", "s&cret", "dmarc");
    tokens.rotate();
    let consent = tokens.refresh_token("dmarc");
    let url = tokens.url();
    let settings = [
        ("AUTH", "refresh-token"),
        ("TOKEN_URL", url.as_str()),
        ("CLIENT_ID", "ruad"),
        ("CLIENT_SECRET", "s&cret"),
        ("REFRESH_TOKEN", &consent),
    ];
    let database = Database::fresh().await;
    let test = testing(&dovecot, "dmarc", &settings).on(&database);
    let ended = test.run().await.succeeded();
    assert!(!ended.stdout.contains(&consent), "{ended:?}");

    let service = Service::start_with(
        database,
        with_mailbox(mailbox::Config {
            auth: mailbox::Auth::RefreshToken,
            token_url: url.clone(),
            client_id: "ruad".into(),
            client_secret: "s&cret".into(),
            refresh_token: consent.as_str().into(),
            ..config(&dovecot, "dmarc")
        }),
    )
    .await;
    settles(&service, 1).await;
    let test = testing(&dovecot, "dmarc", &settings).on(&service.database);
    test.run().await.succeeded();
    tokens.revoke_access();
    mailbox.disconnect().await;
    mailbox.deliver(&reports(2)[1]).await;
    settles(&service, 2).await;
    becomes(&service, "waiting").await;
    let statuses = tokens.requests().into_iter().map(|asked| asked.status);
    assert_eq!(statuses.collect::<Vec<_>>(), [200; 4]);
}
