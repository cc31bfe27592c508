//! One IMAP session (RFC 9051, RFC 3501): commands out, answers in, every wait bounded.
//!
//! The client library encodes, decodes and logs in. Commands are run here and not through its functions, because those end
//! a FETCH that was refused, or cut off, as if it had been complete.

use std::{pin::Pin, time::Duration};

use async_imap::{
    Session,
    imap_proto::{
        Capability, MailboxDatum, NameAttribute, Response, ResponseCode, Status, StatusAttribute,
    },
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::fault::{Fault, Refusal, one_line};

/// A connection on which no read and no write takes longer than the configured time.
pub(crate) type Connection = Pin<Box<TimeoutStream<Either<TcpStream, TlsStream<TcpStream>>>>>;

/// A session that is logged in.
pub(crate) struct Imap {
    session: Session<Connection>,
    timeout: Duration,
    capabilities: Vec<String>,
    /// Mails in the folder, as the server last said.
    pub(crate) exists: u32,
    /// Whether mails came in since this was last set back.
    pub(crate) has_news: bool,
    /// UIDVALIDITY of the folder.
    pub(crate) uid_validity: u32,
}

/// What opening a folder told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selected {
    pub(crate) uid_validity: u32,
    pub(crate) exists: u32,
    pub(crate) is_read_only: bool,
    /// Whether keywords can be made (`\*`, RFC 9051 section 7.1).
    pub(crate) takes_keywords: bool,
}

impl Imap {
    pub(crate) async fn new(
        session: Session<Connection>,
        timeout: Duration,
    ) -> Result<Self, Fault> {
        let mut imap = Self {
            session,
            timeout,
            capabilities: Vec::new(),
            exists: 0,
            has_news: false,
            uid_validity: 0,
        };
        // What a server can do may be more once it knows who asks.
        let mut capabilities = Vec::new();
        imap.run("CAPABILITY", |answer| {
            if let Response::Capabilities(list) = answer {
                capabilities = names(list);
            }
        })
        .await?;
        imap.capabilities = capabilities;
        Ok(imap)
    }

    pub(crate) fn can(&self, capability: &str) -> bool {
        is_among(&self.capabilities, capability)
    }

    pub(crate) fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    /// Runs a command to its end. `each` sees every answer, the last one included.
    pub(crate) async fn run(
        &mut self,
        command: &str,
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<(), Fault> {
        let sent = self.session.run_command(command).await;
        let tag = sent.map_err(Fault::from_client)?;
        let mut goodbye = None;
        loop {
            let answer = match self.session.read_response().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err(ended(goodbye)),
                Err(error) => {
                    return Err(match goodbye {
                        Some(_) => ended(goodbye),
                        None => Fault::from_io(error),
                    });
                }
            };
            let answer = answer.parsed();
            self.note(answer)?;
            each(answer);
            match answer {
                Response::Done {
                    tag: done,
                    status,
                    outcome,
                } if *done == tag => {
                    return match status {
                        Status::Ok => Ok(()),
                        _ => Err(Fault::Refused(Refusal::new(command, outcome))),
                    };
                }
                Response::Data {
                    status: Status::Bye,
                    outcome,
                } => goodbye = Some(outcome.information.as_deref().unwrap_or_default().into()),
                _ => {}
            }
        }
    }

    /// Keeps what a server may tell at any time.
    fn note(&mut self, answer: &Response<'_>) -> Result<(), Fault> {
        match answer {
            Response::MailboxData(MailboxDatum::Exists(exists)) => {
                self.has_news |= *exists > self.exists;
                self.exists = *exists;
            }
            Response::Expunge(_) => self.exists = self.exists.saturating_sub(1),
            Response::Vanished { uids, .. } => {
                let gone: usize = uids.iter().map(|range| range.clone().count()).sum();
                self.exists = self.exists.saturating_sub(gone as u32);
            }
            Response::Data {
                status: Status::Ok,
                outcome,
            } => {
                if let Some(ResponseCode::UidValidity(now)) = outcome.code
                    && self.uid_validity != 0
                    && self.uid_validity != now
                {
                    return Err(Fault::UidValidity);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Opens a folder: SELECT, or EXAMINE to change nothing.
    pub(crate) async fn open(&mut self, command: &str, folder: &str) -> Result<Selected, Fault> {
        self.uid_validity = 0;
        let mut selected = Selected::default();
        let command = format!("{command} {}", quoted(folder));
        let opened = self.run(&command, |answer| {
            if let Response::Data { outcome, .. } | Response::Done { outcome, .. } = answer {
                match &outcome.code {
                    Some(ResponseCode::UidValidity(value)) => selected.uid_validity = *value,
                    Some(ResponseCode::ReadOnly) => selected.is_read_only = true,
                    Some(ResponseCode::PermanentFlags(flags)) => {
                        selected.takes_keywords = flags.iter().any(|flag| flag == "\\*");
                    }
                    _ => {}
                }
            }
        });
        match opened.await {
            Ok(()) => {}
            Err(Fault::Refused(refusal)) => {
                return Err(Fault::Folder {
                    folder: folder.into(),
                    refusal,
                });
            }
            Err(fault) => return Err(fault),
        }
        selected.exists = self.exists;
        self.uid_validity = selected.uid_validity;
        Ok(selected)
    }

    /// Whether there is a folder that holds mail.
    pub(crate) async fn has_folder(&mut self, folder: &str) -> Result<bool, Fault> {
        let mut is_there = false;
        let listing = format!("LIST \"\" {}", quoted(folder));
        self.run(&listing, |answer| is_there |= is_listed(answer))
            .await?;
        Ok(is_there)
    }

    /// The UID that the next mail in a folder will have.
    pub(crate) async fn next_uid(&mut self, folder: &str) -> Result<u32, Fault> {
        let mut next = 0;
        let asking = format!("STATUS {} (UIDNEXT)", quoted(folder));
        self.run(&asking, |answer| {
            if let Response::MailboxData(MailboxDatum::Status { status, .. }) = answer {
                for attribute in status {
                    if let StatusAttribute::UidNext(uid) = attribute {
                        next = *uid;
                    }
                }
            }
        })
        .await?;
        Ok(next)
    }

    /// The UIDs that meet the criteria, in order.
    pub(crate) async fn search(&mut self, criteria: &str) -> Result<Vec<u32>, Fault> {
        let mut uids = Vec::new();
        self.run(&format!("UID SEARCH {criteria}"), |answer| {
            if let Response::MailboxData(MailboxDatum::Search(found)) = answer {
                uids.extend_from_slice(found);
            }
        })
        .await?;
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// Waits until the server tells of something, `until`, or `stop`.
    pub(crate) async fn idle(
        &mut self,
        until: Instant,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Fault> {
        let sent = self.session.run_command("IDLE").await;
        let tag = sent.map_err(Fault::from_client)?;
        let mut stop = std::pin::pin!(stop);
        let mut is_idle = false;
        loop {
            let waiting = async {
                if is_idle {
                    tokio::select! {
                        answer = timeout_at(until, self.session.read_response()) => answer.ok(),
                        () = &mut stop => None,
                    }
                } else {
                    Some(self.session.read_response().await)
                }
            };
            let answer = match waiting.await {
                Some(Ok(Some(answer))) => answer,
                Some(Ok(None)) => return Err(ended(None)),
                Some(Err(error)) => return Err(Fault::from_io(error)),
                None => break,
            };
            let answer = answer.parsed();
            self.note(answer)?;
            match answer {
                Response::Continue(_) => {
                    is_idle = true;
                    self.set_read_timeout(None);
                }
                Response::Data {
                    status: Status::Bye,
                    outcome,
                } => {
                    let text = outcome.information.as_deref().unwrap_or_default();
                    return Err(Fault::Bye(one_line(text)));
                }
                Response::Done {
                    status, outcome, ..
                } => {
                    self.set_read_timeout(Some(self.timeout));
                    return match status {
                        Status::Ok => Ok(()),
                        _ => Err(Fault::Refused(Refusal::new("IDLE", outcome))),
                    };
                }
                _ => {}
            }
            if is_idle && self.has_news {
                break;
            }
        }
        self.set_read_timeout(Some(self.timeout));
        self.end_idle(&tag).await
    }

    async fn end_idle(&mut self, tag: &async_imap::imap_proto::RequestId) -> Result<(), Fault> {
        let sent = self.session.run_command_untagged("DONE").await;
        sent.map_err(Fault::from_client)?;
        loop {
            let answer = match self.session.read_response().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err(ended(None)),
                Err(error) => return Err(Fault::from_io(error)),
            };
            let answer = answer.parsed();
            self.note(answer)?;
            if matches!(answer, Response::Done { tag: done, .. } if done == tag) {
                return Ok(());
            }
        }
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        let connection: &mut Connection = self.session.get_mut();
        connection.as_mut().set_read_timeout_pinned(timeout);
    }

    /// Says goodbye, for politeness.
    pub(crate) async fn log_out(mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        // Whatever comes of it, the session is over.
        _ = tokio::time::timeout(PATIENCE, self.run("LOGOUT", |_| {})).await;
    }
}

fn ended(goodbye: Option<String>) -> Fault {
    match goodbye {
        Some(text) => Fault::Bye(one_line(&text)),
        None => Fault::ConnectionLost(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether a server has a capability; their names are not case-sensitive (RFC 9051 section 6.1.1).
pub(crate) fn is_among(capabilities: &[String], capability: &str) -> bool {
    capabilities
        .iter()
        .any(|name| name.eq_ignore_ascii_case(capability))
}

/// The names of capabilities as they are written.
pub(crate) fn names(capabilities: &[Capability<'_>]) -> Vec<String> {
    capabilities
        .iter()
        .map(|capability| match capability {
            Capability::Imap4rev1 => "IMAP4rev1".to_owned(),
            Capability::Auth(mechanism) => format!("AUTH={mechanism}"),
            Capability::Atom(name) => name.to_string(),
        })
        .collect()
}

/// Whether an answer to LIST names a folder that holds mail.
fn is_listed(answer: &Response<'_>) -> bool {
    let Response::MailboxData(MailboxDatum::List(listed)) = answer else {
        return false;
    };
    let is_missing = |attribute: &NameAttribute<'_>| match attribute {
        NameAttribute::NoSelect => true,
        // RFC 5258 section 3.
        NameAttribute::Extension(name) => name.eq_ignore_ascii_case(r"\NonExistent"),
        _ => false,
    };
    !listed.name_attributes.iter().any(is_missing)
}

/// The name of a folder as a quoted string, in modified UTF-7 (RFC 3501 section 5.1.3).
pub(crate) fn quoted(folder: &str) -> String {
    let encoded = utf7_imap::encode_utf7_imap(folder.to_owned());
    format!("\"{}\"", encoded.replace('\\', "\\\\").replace('"', "\\\""))
}

/// UIDs, in order, as a sequence set: `1:3,7`.
pub(crate) fn uid_set(uids: &[u32]) -> String {
    let mut set = String::new();
    let mut rest = uids;
    while let Some(&first) = rest.first() {
        let length = rest
            .iter()
            .zip(u64::from(first)..)
            .take_while(|(uid, expected)| u64::from(**uid) == *expected)
            .count();
        if !set.is_empty() {
            set.push(',');
        }
        set.push_str(&first.to_string());
        if length > 1 {
            set.push(':');
            set.push_str(&rest[length - 1].to_string());
        }
        rest = &rest[length..];
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_make_a_range() {
        assert_eq!(uid_set(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(uid_set(&[u32::MAX - 1, u32::MAX]), "4294967294:4294967295");
        assert_eq!(uid_set(&[5]), "5");
    }

    #[test]
    fn folder_names_are_quoted_and_encoded() {
        assert_eq!(quoted("INBOX"), "\"INBOX\"");
        assert_eq!(quoted("a \"b\" \\ c"), "\"a \\\"b\\\" \\\\ c\"");
        assert_eq!(quoted("Entwürfe & Co"), "\"Entw&APw-rfe &- Co\"");
        assert_eq!(quoted("日本語"), "\"&ZeVnLIqe-\"");
    }
}
