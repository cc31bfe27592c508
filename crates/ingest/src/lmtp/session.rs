//! The conversation with a mail server, command by command.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use report::Body;
use smtp_proto::{MAIL_BODY_BINARYMIME, MailFrom, Request};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    data::Unstuff,
    listener::Stream,
    recipients::Recipients,
    wire::{End, Line, Pace, Wire},
};
use crate::{
    Delivery, Error, Intake, Spool,
    authenticity::{Check, Verifier},
    mail::{accept_mail, name_of},
    refuse::{Refusal, refuse},
};

/// Recipients of one message (RFC 5321 section 4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;

/// How many times as much as a message may have is read, to see how much it has.
const READ_TIMES_MAX: u64 = 4;

/// Commands in one connection that are none, or come out of order.
const MISTAKES_MAX: usize = 20;

/// What holds for every conversation.
pub(super) struct Rules {
    pub(super) intake: Intake,
    pub(super) clock: fn() -> OffsetDateTime,
    pub(super) verifier: Verifier,
    pub(super) check: Check,
    pub(super) recipients: Recipients,
    pub(super) timeout: Duration,
    pub(super) shutdown: CancellationToken,
}

/// A conversation.
pub(super) struct Session {
    wire: Wire,
    rules: Arc<Rules>,
    is_greeted: bool,
    /// Recipients of the message that was begun.
    transaction: Option<usize>,
    mistakes: usize,
}

/// What came behind DATA.
enum Received {
    Message(Body),
    TooLarge(TooLarge),
    /// There is no room to keep it.
    NoRoom(io::Error),
}

/// A message that is over the limit.
struct TooLarge {
    name: Option<String>,
    /// As many as were read.
    size_bytes: u64,
    /// Its end was read.
    is_whole: bool,
}

impl Session {
    pub(super) fn new(stream: Stream, rules: Arc<Rules>) -> Self {
        Self {
            wire: Wire::new(stream, rules.timeout),
            rules,
            is_greeted: false,
            transaction: None,
            mistakes: 0,
        }
    }

    /// Speaks until the client is done or must be stopped.
    pub(super) async fn run(mut self) {
        self.wire.answer("220 ruad LMTP");
        let Err(end) = self.converse().await;
        match end {
            End::Closed => {}
            End::Lost(error) => {
                tracing::debug!(%error, "an LMTP connection ended early");
                return;
            }
            End::Slow => self.wire.answer("421 4.4.2 timeout"),
            End::Stopping => self.wire.answer("421 4.3.2 shutting down"),
            End::Nonsense => self
                .wire
                .answer("421 4.7.0 too many mistakes, or not LMTP at all"),
        }
        self.wire.close().await;
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            match self.wire.line(&self.rules.shutdown).await? {
                Line::Command(line) => match Request::parse(&mut line.iter()) {
                    Ok(request) => self.command(request).await?,
                    Err(error) => self.not_understood(&error)?,
                },
                Line::TooLong => self.mistake("500 5.5.2 the line is too long")?,
                Line::Malformed => self.mistake("500 5.5.2 a line ends with CR LF")?,
            }
        }
    }

    async fn command(&mut self, request: Request<std::borrow::Cow<'_, str>>) -> Result<(), End> {
        match request {
            Request::Lhlo { .. } => self.lhlo(),
            // RFC 2033 section 4.1: a client that says these has taken us for an SMTP server.
            Request::Helo { .. } | Request::Ehlo { .. } => {
                return self.mistake("500 5.5.1 this is LMTP: say LHLO");
            }
            Request::Mail { from } => return self.mail(&from),
            Request::Rcpt { to } => return self.rcpt(&to.address),
            Request::Data => return self.data().await,
            Request::Rset => {
                self.transaction = None;
                self.wire.answer("250 2.0.0 forgotten");
            }
            Request::Noop { .. } => self.wire.answer("250 2.0.0 nothing done"),
            Request::Vrfy { .. } => self.wire.answer("252 2.0.0 try and see"),
            Request::Quit => {
                self.wire.answer("221 2.0.0 bye");
                return Err(End::Closed);
            }
            // What follows is a message that would be read as commands.
            Request::Bdat { .. } | Request::Burl { .. } => return Err(End::Nonsense),
            Request::Auth { .. }
            | Request::Expn { .. }
            | Request::Help { .. }
            | Request::Etrn { .. }
            | Request::Atrn { .. }
            | Request::StartTls => return self.mistake("502 5.5.1 not offered"),
        }
        Ok(())
    }

    fn lhlo(&mut self) {
        self.is_greeted = true;
        self.transaction = None;
        for line in [
            "250-ruad",
            "250-PIPELINING",
            "250-8BITMIME",
            "250-SMTPUTF8",
            "250-ENHANCEDSTATUSCODES",
        ] {
            self.wire.answer(line);
        }
        let message_bytes_max = self.rules.intake.limits.message_bytes;
        self.wire.answer(&format!("250 SIZE {message_bytes_max}"));
    }

    fn mail(&mut self, from: &MailFrom<std::borrow::Cow<'_, str>>) -> Result<(), End> {
        if !self.is_greeted {
            return self.mistake("503 5.5.1 say LHLO first");
        }
        if self.transaction.is_some() {
            return self.mistake("503 5.5.1 a message was begun already");
        }
        if from.flags & MAIL_BODY_BINARYMIME != 0 {
            return self.mistake("555 5.5.4 BODY=BINARYMIME is not offered");
        }
        if from.size as u64 > self.rules.intake.limits.message_bytes {
            self.wire.answer(&self.too_large());
            return Ok(());
        }
        self.transaction = Some(0);
        self.wire.answer("250 2.1.0 sender taken");
        Ok(())
    }

    fn rcpt(&mut self, address: &str) -> Result<(), End> {
        let Some(count) = &mut self.transaction else {
            return self.mistake("503 5.5.1 say MAIL first");
        };
        let answer = if !self.rules.recipients.take(address) {
            "550 5.1.1 this address takes no mail here"
        } else if *count == RECIPIENTS_MAX {
            "452 4.5.3 too many recipients"
        } else {
            *count += 1;
            "250 2.1.5 recipient taken"
        };
        self.wire.answer(answer);
        Ok(())
    }

    async fn data(&mut self) -> Result<(), End> {
        let recipients = match self.transaction {
            Some(recipients) if recipients > 0 => recipients,
            // RFC 2033 section 4.2: 503, not 554 as in SMTP.
            Some(_) => return self.mistake("503 5.5.1 no recipient was taken"),
            None => return self.mistake("503 5.5.1 say MAIL and RCPT first"),
        };
        self.transaction = None;
        self.wire.answer("354 end with a dot on a line of its own");
        self.wire.flush().await?;
        let received = self.receive().await?;
        let is_whole = !matches!(&received, Received::TooLarge(large) if !large.is_whole);
        let answer = match received {
            Received::Message(body) => self.take(body).await,
            Received::TooLarge(large) => self.refuse(large).await,
            Received::NoRoom(error) => {
                tracing::error!(%error, "a mail could not be kept in a temporary file; the mail server will try again");
                "452 4.3.1 no room, try again later".into()
            }
        };
        // RFC 2033 section 4.2: an answer for every recipient.
        for _ in 0..recipients {
            self.wire.answer(&answer);
        }
        // What comes next is a command, or else more of the message.
        if is_whole { Ok(()) } else { Err(End::Closed) }
    }

    /// Reads a message to its end, or until it is many times too large. What is over the limit is not kept.
    async fn receive(&mut self) -> Result<Received, End> {
        let message_bytes_max = self.rules.intake.limits.message_bytes;
        let read_bytes_max = message_bytes_max.saturating_mul(READ_TIMES_MAX);
        let (mut unstuff, mut pace) = (Unstuff::default(), Pace::default());
        let mut piece = Vec::new();
        let (mut size_bytes, mut is_whole) = (0, false);
        let mut spool = Ok(Spool::default());
        while !is_whole && size_bytes <= read_bytes_max {
            is_whole = self.wire.piece(&mut unstuff, &mut pace, &mut piece).await?;
            size_bytes += piece.len() as u64;
            if size_bytes <= message_bytes_max
                && let Ok(kept) = &mut spool
                && let Err(error) = kept.write(&piece).await
            {
                spool = Err(error);
            }
        }
        let body = match spool {
            Ok(kept) => kept.finish().await,
            Err(error) => Err(error),
        };
        if size_bytes > message_bytes_max {
            let name = match body {
                Ok(start) => name_of(&start).await,
                Err(_) => None,
            };
            return Ok(Received::TooLarge(TooLarge {
                name,
                size_bytes,
                is_whole,
            }));
        }
        Ok(match body {
            Ok(body) => Received::Message(body),
            Err(error) => Received::NoRoom(error),
        })
    }

    /// Takes a message in and says what became of it.
    async fn take(&self, body: Body) -> String {
        let rules = &self.rules;
        let name = name_of(&body).await;
        let delivery = self.delivery(name, body);
        match accept_mail(&rules.intake, &rules.verifier, &rules.check, delivery).await {
            Ok(accepted) => format!(
                "250 2.0.0 {} as delivery {}",
                accepted.outcome().as_str(),
                accepted.delivery_id
            ),
            Err(error) => try_again(&error),
        }
    }

    /// Records that a message was too large and says so. That it was refused is only true once it is recorded.
    async fn refuse(&self, large: TooLarge) -> String {
        let delivery = self.delivery(large.name, Body::Memory(Bytes::new()));
        let refusal = Refusal::TooLarge {
            size_bytes: large.size_bytes,
        };
        match refuse(&self.rules.intake, delivery, refusal).await {
            Ok(_) => self.too_large(),
            Err(error) => try_again(&error),
        }
    }

    fn delivery(&self, name: Option<String>, body: Body) -> Delivery {
        Delivery {
            delivery_id: Uuid::now_v7(),
            origin: "lmtp".into(),
            name,
            received_at: (self.rules.clock)(),
            body,
            authenticity: None,
        }
    }

    fn too_large(&self) -> String {
        let message_bytes_max = self.rules.intake.limits.message_bytes;
        format!("552 5.3.4 a message has at most {message_bytes_max} bytes here")
    }

    fn not_understood(&mut self, error: &smtp_proto::Error) -> Result<(), End> {
        use smtp_proto::Error;
        let answer = match error {
            Error::UnknownCommand => {
                // Before LHLO this is another protocol, a web page's request maybe, and what follows must not be obeyed.
                if !self.is_greeted {
                    return Err(End::Nonsense);
                }
                "500 5.5.1 no such command"
            }
            Error::InvalidSenderAddress => "501 5.1.7 no address",
            Error::InvalidRecipientAddress => "501 5.1.3 no address",
            Error::SyntaxError { syntax } => {
                return self.mistake(&format!("501 5.5.4 the syntax is {syntax}"));
            }
            Error::InvalidParameter { .. } => "501 5.5.4 a parameter has no such value",
            Error::UnsupportedParameter { .. } => "555 5.5.4 a parameter is not offered",
            Error::NeedsMoreData { .. }
            | Error::ResponseTooLong
            | Error::InvalidResponse { .. } => "501 5.5.2 not understood",
        };
        self.mistake(answer)
    }

    fn mistake(&mut self, answer: &str) -> Result<(), End> {
        self.wire.answer(answer);
        self.mistakes += 1;
        if self.mistakes == MISTAKES_MAX {
            return Err(End::Nonsense);
        }
        Ok(())
    }
}

/// The answer to mail that stays with the mail server.
fn try_again(error: &Error) -> String {
    tracing::warn!(%error, "a mail cannot be taken in now; the mail server will try again");
    match error {
        Error::Store(_) => "451 4.3.0 the database is away, try again later".into(),
        Error::Read(_) => "451 4.3.0 local error, try again later".into(),
        Error::Unverified => {
            "451 4.7.5 where the mail comes from cannot be found out now, try again later".into()
        }
    }
}
