//! Mailboxes: mail is taken out of them by IMAP and acknowledged after the commit.

mod config;

pub use config::{After, Auth, Config, Security};
