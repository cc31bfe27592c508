//! What can go wrong with a mailbox: each fault has a stable code and says what to do.

use std::{fmt, io};

use async_imap::{
    error::Error as ClientError,
    imap_proto::{Outcome, ResponseCode},
};

/// Why a mailbox is not worked on, or not as it should be. It is tried again, always.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// No connection.
    #[error("{host}:{port} cannot be reached: {error}; check host, port and firewalls")]
    Unreachable {
        host: String,
        port: u16,
        error: io::Error,
    },
    /// The file of `ca_file`, or the system's certificates.
    #[error("{0}")]
    TrustedCertificates(String),
    /// The server's certificate is not trusted.
    #[error(
        "the certificate of {host} is not trusted: {reason}; if it is the right one, set ca_file to the certificate of its issuer \
         or certificate_sha256 = \"{fingerprint}\""
    )]
    Certificate {
        host: String,
        reason: String,
        fingerprint: String,
    },
    /// TLS failed otherwise.
    #[error(
        "TLS with {host} failed: {error}; check port and security (993 goes with \"tls\", 143 with \"starttls\")"
    )]
    Tls { host: String, error: io::Error },
    /// The server does not offer STARTTLS.
    #[error("the server offers no STARTTLS; use security = \"tls\" if it has a port for that")]
    NoStarttls,
    /// No way to log in that both sides know.
    #[error("the server does not offer {wanted}; it offers {offered}; check auth and security")]
    NoMechanism {
        wanted: &'static str,
        offered: String,
    },
    /// User or password are wrong.
    #[error(
        "the server refuses the credentials of {user}: {text}; correct user and password (many providers want an app password), \
         then restart, or wait for the next try"
    )]
    Credentials { user: String, text: String },
    /// The token endpoint refuses.
    #[error(
        "the token endpoint refuses: {0}; check client_id, client_secret, scope, and give consent anew if the refresh token is no longer valid"
    )]
    TokenRefused(String),
    /// The token endpoint does not work.
    #[error("no access token from the token endpoint: {0}; check token_url")]
    TokenUnavailable(String),
    /// The folder cannot be opened.
    #[error("the folder {folder:?} cannot be opened: {refusal}; check folder")]
    Folder { folder: String, refusal: Refusal },
    /// Nothing can be changed in the folder.
    #[error(
        "the folder {folder:?} is read-only: mail is stored but cannot be marked, moved or deleted; give the account the right to, or set after = \"leave\""
    )]
    ReadOnly { folder: String },
    /// Mail cannot be filed.
    #[error(
        "mail is stored but cannot be moved to {folder:?}: {refusal}; make room or grant the right, or choose another folder (servers may want INBOX.{folder})"
    )]
    Target { folder: String, refusal: Refusal },
    /// A flag cannot be set or a mail not be removed.
    #[error(
        "mail is stored but cannot be marked as dealt with: {0}; check the rights of the account"
    )]
    Mark(Refusal),
    /// Mails that the server does not hand out.
    #[error(
        "{count} mails cannot be fetched, the first has UID {uid}: {text}; all others are taken, these are tried again; look at them with a mail program"
    )]
    Fetch {
        count: usize,
        uid: u32,
        text: String,
    },
    /// Numbers of mails changed under us.
    #[error("the server renumbered its mails (UIDVALIDITY); the folder is read anew")]
    UidValidity,
    /// The server refuses a command.
    #[error("the server refuses {0}")]
    Refused(Refusal),
    /// The server says goodbye.
    #[error("the server ends the session: {0}; it is tried again")]
    Bye(String),
    /// The connection broke.
    #[error("the connection is lost: {0}; it is tried again")]
    ConnectionLost(io::Error),
    /// The server does not answer.
    #[error("the server does not answer any more (timeout_secs); it is tried again")]
    Stalled,
    /// Reading what the server says made a library or ruad stumble.
    #[error("a defect in reading what the server says; please report it; it is tried again")]
    Defect,
    /// What the server says is no IMAP.
    #[error("the server does not speak IMAP as it should; check host and port")]
    Protocol,
    /// The lease ran out unnoticed: the process was frozen, or has far too little time.
    #[error("this process was held up for longer than lease_secs; the mailbox is asked for again")]
    LeaseLost,
    /// The database.
    #[error("nothing can be stored: {0}; nothing was acknowledged, it is tried again")]
    Store(crate::Error),
    /// The name servers do not answer, and mail must be checked.
    #[error(
        "mail must be authentic (require_authentic) and the name servers do not tell whether it is; nothing was acknowledged, \
         it is tried again; check dns.servers"
    )]
    Unverified,
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<crate::Error> for Fault {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Unverified => Self::Unverified,
            error @ (crate::Error::Store(_) | crate::Error::Read(_)) => Self::Store(error),
        }
    }
}

/// How long to wait before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// As short, for what is nobody's fault.
    Brief,
    /// From a second on.
    Short,
    /// Long: more tries would lock the account.
    Credentials,
}

impl Fault {
    /// Stable name, for the table `mailboxes`, the API and the log.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TrustedCertificates(_) => "trusted_certificates",
            Self::Certificate { .. } => "certificate",
            Self::Tls { .. } => "tls",
            Self::NoStarttls => "no_starttls",
            Self::NoMechanism { .. } => "no_mechanism",
            Self::Credentials { .. } => "credentials",
            Self::TokenRefused(_) => "token_refused",
            Self::TokenUnavailable(_) => "token_unavailable",
            Self::Folder { .. } => "folder",
            Self::ReadOnly { .. } => "read_only",
            Self::Target { refusal, .. } if refusal.is("OVERQUOTA") => "quota",
            Self::Target { .. } => "target_folder",
            Self::Mark(_) => "mark",
            Self::Fetch { .. } => "fetch",
            Self::UidValidity => "uid_validity",
            Self::Refused(_) => "refused",
            Self::Bye(_) => "bye",
            Self::ConnectionLost(_) => "connection_lost",
            Self::Stalled => "stalled",
            Self::Defect => "internal",
            Self::Protocol => "protocol",
            Self::LeaseLost => "lease_lost",
            Self::Store(_) => "database",
            Self::Unverified => "unverified",
        }
    }

    pub(crate) fn pause(&self) -> Pause {
        match self {
            Self::Credentials { .. } | Self::TokenRefused(_) => Pause::Credentials,
            Self::UidValidity => Pause::Brief,
            _ => Pause::Short,
        }
    }

    /// Whether the session ended with it, so that mails in flight may be to blame.
    pub(crate) fn is_disconnect(&self) -> bool {
        matches!(
            self,
            Self::Bye(_) | Self::ConnectionLost(_) | Self::Stalled | Self::Protocol | Self::Defect
        )
    }

    /// What reading or writing came to. Texts of the client may quote mail and go no further.
    pub(crate) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Stalled,
            io::ErrorKind::Other => Self::Protocol,
            _ => Self::ConnectionLost(error),
        }
    }

    /// What running a command came to.
    pub(crate) fn from_client(error: ClientError) -> Self {
        match error {
            ClientError::Io(error) => Self::from_io(error),
            ClientError::ConnectionLost => {
                Self::ConnectionLost(io::ErrorKind::UnexpectedEof.into())
            }
            _ => Self::Protocol,
        }
    }
}

/// A command the server said no to.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The command, without what it was applied to.
    command: String,
    /// The response code (RFC 5530), if any.
    code: Option<String>,
    text: String,
}

impl Refusal {
    pub(crate) fn new(command: &str, outcome: &Outcome<'_>) -> Self {
        let words = if command.starts_with("UID ") { 2 } else { 1 };
        let text = outcome.information.as_deref().unwrap_or_default();
        let code = match &outcome.code {
            Some(ResponseCode::TryCreate) => Some("TRYCREATE".to_owned()),
            Some(ResponseCode::ReadOnly) => Some("READ-ONLY".to_owned()),
            _ => leading_code(text),
        };
        Self {
            command: command.split(' ').take(words).collect::<Vec<_>>().join(" "),
            code,
            text: one_line(text),
        }
    }

    /// Whether the server refuses because of its own state, not because of what it was asked for.
    pub(crate) fn is_passing(&self) -> bool {
        const CODES: [&str; 5] = ["UNAVAILABLE", "INUSE", "LIMIT", "THROTTLED", "ALERT"];
        CODES.iter().any(|code| self.is(code))
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.command, self.text)
    }
}

/// The client leaves codes it does not know in the text.
fn leading_code(text: &str) -> Option<String> {
    let inside = text.strip_prefix('[')?.split(']').next()?;
    Some(inside.split(' ').next()?.to_ascii_uppercase())
}

/// What a server says, fit for a log and a web page.
pub(crate) fn one_line(text: &str) -> String {
    const LENGTH_MAX: usize = 300;
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let line: String = text.trim().chars().map(plain).take(LENGTH_MAX).collect();
    if line.is_empty() {
        return "it gives no reason".into();
    }
    line
}
