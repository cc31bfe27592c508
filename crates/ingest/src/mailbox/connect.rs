//! From a configuration to a session that is logged in.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_imap::{
    Authenticator, Client, Session,
    error::Error as ClientError,
    imap_proto::{Response, ResponseCode, Status},
    types::UnsolicitedResponse,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::either::Either;

use super::{
    Auth, Config, Security,
    fault::{Fault, one_line},
    imap::{Connection, Imap, is_among, names},
    tls::Trust,
    token::TokenSource,
};

/// A connection whose server has greeted.
pub(crate) struct Greeted {
    client: Client<Connection>,
    /// What the server can do before anybody logs in.
    pub(crate) capabilities: Vec<String>,
    /// SHA-256 of its certificate, where there is TLS.
    pub(crate) fingerprint: Option<String>,
}

/// Connects, secures the connection and reads the greeting.
pub(crate) async fn connect(mailbox: &Config) -> Result<Greeted, Fault> {
    let tcp = reach(mailbox).await?;
    let trust = match mailbox.security {
        Security::Plain => None,
        Security::Tls | Security::Starttls => Some(Trust::new(mailbox)?),
    };
    let mut client = match (&trust, mailbox.security) {
        (Some(trust), Security::Tls) => {
            let mut client = secured(mailbox, trust, tcp).await?;
            greeting(&mut client).await?;
            client
        }
        (Some(trust), _) => {
            let starting = tokio::time::timeout(mailbox.timeout(), start_tls(tcp));
            let tcp = starting.await.unwrap_or(Err(Fault::Stalled))?;
            secured(mailbox, trust, tcp).await?
        }
        (None, _) => {
            let mut client = Client::new(bounded(Either::Left(tcp), mailbox.timeout()));
            greeting(&mut client).await?;
            client
        }
    };
    // Asked for anew: what was said before TLS is not to be trusted (RFC 9051 section 6.2.1).
    let capabilities = ask_capabilities(&mut client).await?;
    Ok(Greeted {
        client,
        capabilities,
        fingerprint: trust.and_then(|trust| trust.fingerprint().map(str::to_owned)),
    })
}

async fn reach(mailbox: &Config) -> Result<TcpStream, Fault> {
    let (host, port) = (mailbox.host.as_str(), mailbox.port());
    let connecting = tokio::time::timeout(mailbox.timeout(), TcpStream::connect((host, port)));
    let unreachable = |error| Fault::Unreachable {
        host: host.into(),
        port,
        error,
    };
    let tcp = match connecting.await {
        Ok(connected) => connected.map_err(unreachable)?,
        Err(_) => return Err(unreachable(std::io::ErrorKind::TimedOut.into())),
    };
    // Commands are small and waited for.
    tcp.set_nodelay(true).map_err(unreachable)?;
    Ok(tcp)
}

fn bounded(
    stream: Either<TcpStream, tokio_rustls::client::TlsStream<TcpStream>>,
    timeout: Duration,
) -> Connection {
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(timeout));
    stream.set_write_timeout(Some(timeout));
    Box::pin(stream)
}

async fn secured(
    mailbox: &Config,
    trust: &Trust,
    tcp: TcpStream,
) -> Result<Client<Connection>, Fault> {
    let host = &mailbox.host;
    let name = ServerName::try_from(host.clone()).map_err(|error| Fault::Tls {
        host: host.clone(),
        error: std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
    })?;
    let connector = TlsConnector::from(Arc::new(trust.config.clone()));
    let shaking = tokio::time::timeout(mailbox.timeout(), connector.connect(name, tcp));
    let stream = match shaking.await {
        Ok(stream) => stream.map_err(|error| trust.fault(host, error))?,
        Err(_) => return Err(Fault::Stalled),
    };
    Ok(Client::new(bounded(
        Either::Right(stream),
        mailbox.timeout(),
    )))
}

async fn greeting<T>(client: &mut Client<T>) -> Result<(), Fault>
where
    T: AsyncRead + AsyncWrite + Unpin + Debug + Send,
{
    let answer = match client.read_response().await {
        Ok(Some(answer)) => answer,
        Ok(None) => return Err(Fault::from_client(ClientError::ConnectionLost)),
        Err(error) => return Err(Fault::from_io(error)),
    };
    match answer.parsed() {
        Response::Data {
            status: Status::Ok, ..
        } => Ok(()),
        Response::Data {
            status: Status::Bye,
            outcome,
        } => {
            let text = outcome.information.as_deref().unwrap_or_default();
            Err(Fault::Bye(one_line(text)))
        }
        _ => Err(Fault::Protocol),
    }
}

/// Hands the bare connection back; whatever a stranger may have put behind the server's answer is dropped with the client.
async fn start_tls(tcp: TcpStream) -> Result<TcpStream, Fault> {
    let mut client = Client::new(tcp);
    greeting(&mut client).await?;
    match client.run_command_and_check_ok("STARTTLS", None).await {
        Ok(()) => Ok(client.into_inner()),
        Err(ClientError::No(_) | ClientError::Bad(_)) => Err(Fault::NoStarttls),
        Err(error) => Err(Fault::from_client(error)),
    }
}

async fn ask_capabilities(client: &mut Client<Connection>) -> Result<Vec<String>, Fault> {
    // More answers than one are not expected; what does not fit is dropped.
    const ANSWERS_MAX: usize = 16;
    let (sender, answers) = async_channel::bounded(ANSWERS_MAX);
    let asked = client.run_command_and_check_ok("CAPABILITY", Some(sender));
    asked.await.map_err(Fault::from_client)?;
    let mut capabilities = Vec::new();
    while let Ok(answer) = answers.try_recv() {
        if let UnsolicitedResponse::Other(answer) = answer {
            match answer.parsed() {
                Response::Capabilities(list) => capabilities = names(list),
                Response::Data { outcome, .. } => {
                    if let Some(ResponseCode::Capabilities(list)) = &outcome.code {
                        capabilities = names(list);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(capabilities)
}

/// Logs in. A token that the server refuses is replaced once: it may have been revoked before its time.
pub(crate) async fn log_in(
    mailbox: &Config,
    greeted: Greeted,
    tokens: &mut TokenSource,
) -> Result<Imap, Fault> {
    let session = match mailbox.auth {
        Auth::Password => log_in_with_password(mailbox, greeted).await?,
        Auth::RefreshToken | Auth::ClientCredentials => {
            let is_fresh = !tokens.has_usable();
            let token = tokens.token(mailbox).await?;
            match log_in_with_token(mailbox, greeted, &token).await {
                Err(Fault::Credentials { .. }) if !is_fresh => {
                    tokens.forget();
                    let token = tokens.token(mailbox).await?;
                    let again = log_in_with_token(mailbox, connect(mailbox).await?, &token).await;
                    if again.is_err() {
                        tokens.forget();
                    }
                    again?
                }
                tried => tried?,
            }
        }
    };
    Imap::new(session, mailbox.timeout()).await
}

async fn log_in_with_password(
    mailbox: &Config,
    greeted: Greeted,
) -> Result<Session<Connection>, Fault> {
    let Greeted {
        client,
        capabilities,
        ..
    } = greeted;
    let has = |name| is_among(&capabilities, name);
    let (user, password) = (&mailbox.user, mailbox.password.reveal());
    let tried = if has("AUTH=PLAIN") {
        // RFC 4616. Unlike LOGIN it takes any characters.
        let answers = Answers::new(format!("\0{user}\0{password}").into_bytes(), b"");
        client.authenticate("PLAIN", answers).await
    } else if !has("LOGINDISABLED") {
        client.login(user, password).await
    } else {
        return Err(Fault::NoMechanism {
            wanted: "a password (AUTH=PLAIN or LOGIN)",
            offered: offered(&capabilities),
        });
    };
    tried.map_err(|(error, _)| refused(mailbox, error))
}

async fn log_in_with_token(
    mailbox: &Config,
    greeted: Greeted,
    token: &str,
) -> Result<Session<Connection>, Fault> {
    let Greeted {
        client,
        capabilities,
        ..
    } = greeted;
    let has = |name| is_among(&capabilities, name);
    let user = &mailbox.user;
    let tried = if has("AUTH=XOAUTH2") {
        let answer = format!("user={user}\x01auth=Bearer {token}\x01\x01");
        let answers = Answers::new(answer.into_bytes(), b"");
        client.authenticate("XOAUTH2", answers).await
    } else if has("AUTH=OAUTHBEARER") {
        // RFC 7628 section 3.1; "," and "=" in names are escaped (RFC 5801 section 4).
        let name = user.replace('=', "=3D").replace(',', "=2C");
        let (host, port) = (&mailbox.host, mailbox.port());
        let answer =
            format!("n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01");
        let answers = Answers::new(answer.into_bytes(), b"\x01");
        client.authenticate("OAUTHBEARER", answers).await
    } else {
        return Err(Fault::NoMechanism {
            wanted: "OAuth (AUTH=XOAUTH2 or AUTH=OAUTHBEARER)",
            offered: offered(&capabilities),
        });
    };
    tried.map_err(|(error, _)| refused(mailbox, error))
}

fn offered(capabilities: &[String]) -> String {
    let mechanisms: Vec<&str> = capabilities
        .iter()
        .filter_map(|name| name.strip_prefix("AUTH="))
        .collect();
    if mechanisms.is_empty() {
        return "none".into();
    }
    mechanisms.join(", ")
}

/// What to say: the credentials first; then, where the server explains a failure and waits for a reaction, the end of it.
struct Answers {
    first: Option<Vec<u8>>,
    last: &'static [u8],
}

impl Answers {
    fn new(first: Vec<u8>, last: &'static [u8]) -> Self {
        Self {
            first: Some(first),
            last,
        }
    }
}

impl Authenticator for Answers {
    type Response = Vec<u8>;

    fn process(&mut self, _challenge: &[u8]) -> Self::Response {
        self.first.take().unwrap_or_else(|| self.last.to_vec())
    }
}

/// Tells wrong credentials from a server that has troubles of its own (RFC 5530).
fn refused(mailbox: &Config, error: ClientError) -> Fault {
    const PASSING: [&str; 5] = [
        "[UNAVAILABLE]",
        "[SERVERBUG]",
        "[INUSE]",
        "[LIMIT]",
        "[CONTACTADMIN]",
    ];
    match error {
        ClientError::No(text) | ClientError::Bad(text) => {
            let text = server_text(&text);
            if PASSING.iter().any(|code| text.contains(code)) {
                return Fault::Bye(text);
            }
            Fault::Credentials {
                user: mailbox.user.clone(),
                text,
            }
        }
        // An explanation (RFC 7628 section 3.2.3) that is not base64 is an answer to our credentials all the same.
        ClientError::Parse(_) => Fault::Credentials {
            user: mailbox.user.clone(),
            text: "it explains why in words that cannot be read".into(),
        },
        other => Fault::from_client(other),
    }
}

/// The server's words out of the client's `code: ..., info: Some("...")`.
fn server_text(text: &str) -> String {
    let words = text
        .split_once("info: Some(\"")
        .and_then(|(_, rest)| rest.rsplit_once("\")"))
        .map_or("", |(words, _)| words);
    one_line(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_found() {
        let text = "code: None, info: Some(\"[AUTHENTICATIONFAILED] Wrong.\")";
        assert_eq!(server_text(text), "[AUTHENTICATIONFAILED] Wrong.");
        assert_eq!(server_text("code: None, info: None"), "it gives no reason");
    }

    #[test]
    fn troubles_of_the_server_are_no_wrong_password() {
        let refused = |text: &str| refused(&Config::default(), ClientError::No(text.into()));
        let busy = refused("code: None, info: Some(\"[UNAVAILABLE] Temporary failure\")");
        assert_eq!(busy.code(), "bye");
        let wrong = refused("code: None, info: Some(\"[AUTHENTICATIONFAILED] No\")");
        assert_eq!(wrong.code(), "credentials");
    }
}
