//! Mailboxes that are opened with access tokens, as those of Microsoft and Google are.

use std::time::Duration;

use server::{Secret, mailbox};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{
    harness::{
        Database, Dovecot, DovecotOptions, Failure, Mailbox, Program, Service, Serving, Tokens,
        eventually,
    },
    mailbox::{becomes, config, fails, in_environment, reports, serve, settles, with_mailbox},
};

/// A mail server, where it gets its tokens, and a user with a mail.
struct Provider {
    tokens: Tokens,
    dovecot: Dovecot,
    mailbox: Mailbox,
}

impl Provider {
    async fn start() -> Self {
        Self::start_without(&[]).await
    }

    /// Whose mail server does not offer something.
    async fn start_without(capabilities: &'static [&'static str]) -> Self {
        let tokens = Tokens::start().await;
        let dovecot = Dovecot::start_with(DovecotOptions {
            introspection_url: tokens.introspection_url(),
            without: capabilities,
            ..DovecotOptions::default()
        })
        .await;
        let mailbox = dovecot.mailbox("dmarc").await;
        mailbox.deliver(&reports(1)[0]).await;
        tokens.allow_client("ruad", "s&cret", "dmarc");
        Self {
            tokens,
            dovecot,
            mailbox,
        }
    }

    /// With a refresh token that is good.
    fn config(&self) -> mailbox::Config {
        mailbox::Config {
            auth: mailbox::Auth::RefreshToken,
            token_url: self.tokens.url(),
            client_id: "ruad".into(),
            client_secret: Secret::from("s&cret"),
            refresh_token: Secret::from(self.tokens.refresh_token("dmarc").as_str()),
            scope: "https://mail.example/.default".into(),
            password: Secret::default(),
            timeout_secs: 2,
            ..config(&self.dovecot, "dmarc")
        }
    }

    /// How often the mail server refused a token.
    fn refused(&self) -> usize {
        let log = self.dovecot.log();
        let failed = |line: &&str| line.contains("imap-login") && line.contains("auth failed");
        log.lines().filter(failed).count()
    }
}

/// That all is well with the mailbox of the provider.
async fn takes_mail(service: &Service) {
    settles(service, 1).await;
    becomes(service, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_and_client_credentials_open_a_mailbox() {
    let provider = Provider::start().await;
    let refreshing = provider.config();
    let own = mailbox::Config {
        auth: mailbox::Auth::ClientCredentials,
        refresh_token: Secret::default(),
        ..refreshing.clone()
    };
    takes_mail(&serve(refreshing).await).await;
    provider.mailbox.deliver(&reports(1)[0]).await;
    takes_mail(&serve(own).await).await;
    let requests = provider.tokens.requests();
    let types: Vec<&str> = requests.iter().map(|one| one.grant_type.as_str()).collect();
    assert_eq!(types, ["refresh_token", "client_credentials"]);
    assert!(
        requests
            .iter()
            .all(|one| one.scope == "https://mail.example/.default")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn oauthbearer_is_used_where_xoauth2_is_not_offered() {
    let provider = Provider::start_without(&["AUTH=XOAUTH2"]).await;
    takes_mail(&serve(provider.config()).await).await;
    let log = provider.dovecot.log();
    assert!(log.contains("method=OAUTHBEARER"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_before_they_expire() {
    let provider = Provider::start().await;
    provider.tokens.set_lifetime(Duration::from_secs(3));
    let service = serve(provider.config()).await;
    let more = reports(5);
    for (number, mail) in more.iter().enumerate().skip(1) {
        let granted = provider.tokens.requests().len();
        eventually("the token is renewed", async || {
            provider.tokens.requests().len() > granted
        })
        .await;
        provider.mailbox.deliver(mail).await;
        settles(&service, number + 1).await;
    }
    assert_eq!(provider.refused(), 0, "{}", provider.dovecot.log());
    let state = becomes(&service, "waiting").await;
    assert_eq!(state["last_error"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_that_rotate_survive_a_restart() {
    let provider = Provider::start().await;
    provider.tokens.rotate();
    let settings = provider.config();
    let service = serve(settings.clone()).await;
    takes_mail(&service).await;
    let database = service.stop().await;
    let sealed: Vec<u8> = database
        .value("select sealed_refresh_token from mailboxes")
        .await;
    assert!(!sealed.windows(7).any(|window| window == b"refresh"));

    let service = Service::start_with(database, with_mailbox(settings.clone())).await;
    takes_mail(&service).await;
    let database = service.stop().await;
    let statuses = || {
        provider
            .tokens
            .requests()
            .into_iter()
            .map(|asked| asked.status)
    };
    assert_eq!(statuses().collect::<Vec<_>>(), [200, 200]);

    // Consent that was given anew counts, whatever is kept.
    let anew = mailbox::Config {
        refresh_token: Secret::from(provider.tokens.refresh_token("dmarc").as_str()),
        ..settings
    };
    let service = Service::start_with(database, with_mailbox(anew)).await;
    takes_mail(&service).await;
    assert!(statuses().all(|status| status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_access_token_is_replaced_once() {
    let provider = Provider::start().await;
    let service = serve(provider.config()).await;
    takes_mail(&service).await;
    provider.tokens.revoke_access();
    provider.mailbox.disconnect().await;
    provider.mailbox.deliver(&reports(2)[1]).await;
    settles(&service, 2).await;
    assert_eq!(provider.tokens.requests().len(), 2);
    assert_eq!(provider.refused(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_that_is_withdrawn_is_not_asked_for_again_and_again() {
    let provider = Provider::start().await;
    provider.tokens.fail(Some(Failure::InvalidGrant));
    let service = serve(provider.config()).await;
    let detail = fails(&service, "token_refused").await;
    assert!(
        detail.contains("invalid_grant") && detail.contains("consent"),
        "{detail}"
    );
    // Longer than any other fault would pause.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(provider.tokens.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_is_asked_again() {
    let provider = Provider::start().await;
    provider.mailbox.expunge("INBOX", 1).await;
    for (failure, said) in [
        (Failure::Down, "it answers 500 Internal Server Error"),
        (Failure::Stall, "timed out"),
    ] {
        provider.tokens.fail(Some(failure));
        let service = serve(provider.config()).await;
        let detail = fails(&service, "token_unavailable").await;
        assert!(
            detail.contains(said) && detail.contains("token_url"),
            "{detail}"
        );
        provider.tokens.fail(None);
        provider.mailbox.deliver(&reports(1)[0]).await;
        takes_mail(&service).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_do_not_follow_a_redirect() {
    let provider = Provider::start().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = elsewhere.local_addr().unwrap();
    let token_url = redirect_to(&format!("http://{there}/token")).await;
    let service = serve(mailbox::Config {
        token_url,
        ..provider.config()
    })
    .await;
    let detail = fails(&service, "token_unavailable").await;
    assert!(detail.contains("307"), "{detail}");
    let came = tokio::time::timeout(Duration::from_millis(100), elsewhere.accept()).await;
    assert!(came.is_err(), "nobody goes there");
}

/// An endpoint that sends everybody away. Returns its URL.
async fn redirect_to(url: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            _ = stream.read(&mut request).await;
            _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
        }
    });
    format!("http://{address}/token")
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_secrets_are_not_logged() {
    let provider = Provider::start().await;
    provider.tokens.rotate();
    let database = Database::fresh().await;
    let (url, consent) = (
        provider.tokens.url(),
        provider.tokens.refresh_token("dmarc"),
    );
    let settings = [
        ("AUTH", "refresh-token"),
        ("TOKEN_URL", url.as_str()),
        ("CLIENT_ID", "ruad"),
        ("CLIENT_SECRET", "s&cret"),
        ("REFRESH_TOKEN", &consent),
    ];
    let program = Program::new(["serve"]).on(&database);
    let program = in_environment(program, &provider.dovecot, &settings);
    let serving = Serving::start(program.env("RUAD_LOG__LEVEL", "trace")).await;
    eventually("the mail is stored", async || {
        database.report_count().await == 1
    })
    .await;
    let shown: String = database
        .value("select mailboxes::text from mailboxes")
        .await;
    let said = serving.process.said() + &shown;
    // As they are and as they are written in a form.
    for secret in [
        "s&cret",
        "s%26cret",
        "access+",
        "access%2B",
        "refresh+",
        "refresh%2B",
    ] {
        assert!(!said.contains(secret), "{secret}");
    }
    serving.process.kill().await;
}
